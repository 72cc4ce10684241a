package tools

import (
	"regexp"
	"slices"
	"strings"
)

// rules take out what differs from run to run, in this order.
var rules = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\[\d{4}-\d\d-\d\d [0-9:,]+\] `), ""},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[.:,]?\d*Z?`), "<time>"},
	{regexp.MustCompile(`\b1[78]\d{11}\b`), "<ms>"},
	{regexp.MustCompile(`console-consumer-\d+`), "console-consumer-<n>"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "<uuid>"},
	{regexp.MustCompile(`\b[A-Za-z0-9_-]{22}(==)?(\b|$)`), "<id>"},
	{regexp.MustCompile(`/[^\s"',:]*/(data|log)\b`), "<log dir>"},
	{regexp.MustCompile(`Request Request\(.*?needs [A-Z_]+ permission\.`), "Cluster authorization failed."}, // Kafka shows of itself what it is made of
	{regexp.MustCompile(`(?m)Epoch: \d+$`), "Epoch: <n>"},
	{regexp.MustCompile(`"avg_throughput":[0-9.E]+`), `"avg_throughput":<n>`},
}

// figures are the numbers of a perf tool.
var (
	figures = regexp.MustCompile(`\d+(\.\d+)?`)
	blanks  = regexp.MustCompile(`[ \t]+`)
)

// normalise makes outputs of different runs comparable. Lines are sorted when the tool's own order is that of a hash map.
func normalise(s, bootstrap string, st Step) string {
	host, port, _ := strings.Cut(bootstrap, ":")
	s = strings.NewReplacer(bootstrap, "<broker>", host, "<host>", port, "<port>").Replace(s)
	for _, r := range rules {
		s = r.re.ReplaceAllString(s, r.with)
	}
	if st.Figures {
		s = figures.ReplaceAllString(s, "<n>")
	}
	if st.Figures || st.Sorted { // columns are as wide as what was taken out
		s = blanks.ReplaceAllString(s, " ")
	}
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " \t")
	}
	lines = slices.DeleteFunc(lines, func(l string) bool { return l == "" || strings.HasPrefix(l, "log4j:") })
	if st.Sorted {
		slices.Sort(lines)
	}
	if st.Figures {
		lines = slices.Compact(lines)
	}
	return strings.Join(lines, "\n")
}
