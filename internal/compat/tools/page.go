package tools

import (
	"fmt"
	"slices"
	"strings"
)

// left are tools that the script does not run, and why.
var left = [][2]string{
	{"kafka-console-share-consumer, kafka-share-consumer-perf-test, kafka-verifiable-share-consumer", "share groups are off"},
	{"kafka-streams-groups, kafka-streams-application-reset", "streams groups are off; the reset tool only uses what kafka-consumer-groups and kafka-delete-records use"},
	{"kafka-storage, kafka-server-start, kafka-server-stop, kafka-metadata-shell", "they make and read Apache Kafka's own metadata log; moldau formats its directory by itself"},
	{"kafka-jmx, kafka-run-class", "they look into a JVM"},
	{"connect-*, kafka-mirror-maker", "Kafka Connect's and MirrorMaker's processes, not tools"},
}

// Page is docs/compatibility-tools.md.
func Page() string {
	var b strings.Builder
	b.WriteString(`# Apache Kafka's own tools

<!-- generated: go test ./internal/compat/tools -run TestPage -args -update -->

Kafka's own command-line tools, from Apache Kafka 4.3.1 and unchanged, are run with the same script against moldau and against Apache Kafka, each on a new broker; ` + "`kafka-acls`" + ` and others run
again on brokers with an authorizer, as somebody who may do little.
What they print and their exit codes are compared after ids, times, addresses and measured figures are taken out. "go test ./internal/compat/tools"
does it and fails when an output differs that is not listed here, and when one that is listed does not differ any more.

| tool | runs | the same |
|---|--:|--:|
`)
	type count struct{ runs, same int }
	counts := map[string]*count{}
	var names []string
	for _, s := range append(slices.Clone(Script), SecuredScript...) {
		c := counts[s.Tool]
		if c == nil {
			c = &count{}
			counts[s.Tool] = c
			names = append(names, s.Tool)
		}
		c.runs++
		if s.Differs == "" {
			c.same++
		}
	}
	slices.Sort(names)
	for _, n := range names {
		fmt.Fprintf(&b, "| `%s` | %d | %d |\n", n, counts[n].runs, counts[n].same)
	}
	b.WriteString("\n## What differs, and why\n\n| run | why |\n|---|---|\n")
	for _, s := range append(slices.Clone(Script), SecuredScript...) {
		if s.Differs != "" {
			fmt.Fprintf(&b, "| `%s` | %s |\n", strings.ReplaceAll(s.String(), "|", "\\|"), s.Differs)
		}
	}
	b.WriteString("\n## Not run\n\n| tools | why |\n|---|---|\n")
	for _, l := range left {
		fmt.Fprintf(&b, "| %s | %s |\n", l[0], l[1])
	}
	return b.String()
}

// String is the command line, without the address.
func (s Step) String() string {
	var l []string
	for i := 0; i < len(s.Args); i++ {
		if (s.Args[i] == "--bootstrap-server" || s.Args[i] == "--broker-list") && i+1 < len(s.Args) && (s.Args[i+1] == "$BROKER" || s.Args[i+1] == "$SASL") {
			i++
			continue
		}
		l = append(l, s.Args[i])
	}
	return s.Tool + " " + strings.Join(l, " ")
}
