package connect

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/javaregex"
)

// The keys that the worker itself reads from a connector's configuration.

const (
	groupCommon     = "Common"
	groupTransforms = "Transforms"
	groupPredicates = "Predicates"
	groupErrors     = "Error Handling"
	groupTopics     = "Topic Creation"
	groupEOS        = "Exactly Once Support"
	groupOffsets    = "offsets.topic"
)

// workerDefaults are the converters of connectors that name none.
type workerDefaults struct{ key, value, header string }

func checkName(v any) string {
	s, _ := v.(string)
	if s == "" {
		return "String may not be empty"
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return fmt.Sprintf("String may not contain control sequences but had the following ASCII chars: %d", r)
		}
	}
	return ""
}

// anyCase accepts the given texts in upper and lower case, and refuses others in the words of Kafka's case-insensitive checks.
func anyCase(allowed ...string) func(any) string {
	return func(v any) string {
		s, _ := v.(string)
		for _, a := range allowed {
			if strings.EqualFold(s, a) {
				return ""
			}
		}
		return "String must be one of (case insensitive): " + strings.Join(allowed, ", ")
	}
}

func uniqueNames(v any) string {
	list, _ := v.([]string)
	seen := map[string]bool{}
	for _, s := range list {
		if s == "" {
			return "alias must not be empty"
		}
		if seen[s] {
			return "Duplicate alias provided."
		}
		seen[s] = true
	}
	return ""
}

const oneVersion = "one version of each plugin is compiled in"

func commonKeys(w workerDefaults) []configdef.Key {
	version := func(name, group, display string) configdef.Key {
		return configdef.Key{Name: name, Type: configdef.String, Importance: configdef.Low, Group: group, Width: configdef.WidthShort, Display: display,
			Doc: "Version of the plugin.", Unsupported: oneVersion}
	}
	return []configdef.Key{
		{Name: "name", Type: configdef.String, Required: true, Importance: configdef.High, Group: groupCommon, Width: configdef.WidthMedium, Display: "Connector name", Check: checkName,
			Doc: "Name of the connector, unique in the cluster."},
		{Name: "connector.class", Type: configdef.String, Required: true, Importance: configdef.High, Group: groupCommon, Width: configdef.WidthLong, Display: "Connector class",
			Doc: "Class of the connector: its full name, its simple name with or without \"Connector\", or moldau's short name."},
		version("connector.plugin.version", groupCommon, "Connector version"),
		{Name: "tasks.max", Type: configdef.Int, Default: 1, Importance: configdef.High, Group: groupCommon, Width: configdef.WidthShort, Display: "Tasks max", Check: configdef.AtLeast(1),
			Doc: "Most tasks to use for this connector."},
		{Name: "tasks.max.enforce", Type: configdef.Boolean, Default: true, Importance: configdef.Low, Group: groupCommon, Width: configdef.WidthShort, Display: "Enforce tasks max",
			Doc: "Fail a connector that asks for more tasks than tasks.max. Deprecated."},
		{Name: "key.converter", Type: configdef.Class, Default: w.key, Importance: configdef.Low, Group: groupCommon, Width: configdef.WidthShort, Display: "Key converter class",
			Doc: "Converter between the data of record keys and their bytes in the log."},
		version("key.converter.plugin.version", groupCommon, "Key converter version"),
		{Name: "value.converter", Type: configdef.Class, Default: w.value, Importance: configdef.Low, Group: groupCommon, Width: configdef.WidthShort, Display: "Value converter class",
			Doc: "Converter between the data of record values and their bytes in the log."},
		version("value.converter.plugin.version", groupCommon, "Value converter version"),
		{Name: "header.converter", Type: configdef.Class, Default: w.header, Importance: configdef.Low, Group: groupCommon, Width: configdef.WidthShort, Display: "Header converter class",
			Doc: "Converter between the data of header values and their bytes in the log."},
		version("header.converter.plugin.version", groupCommon, "Header converter version"),
		{Name: "transforms", Type: configdef.List, Default: "", Importance: configdef.Low, Group: groupTransforms, Width: configdef.WidthLong, Display: "Transforms", Check: uniqueNames,
			Doc: "Aliases of the transforms to apply to records, in this order."},
		{Name: "predicates", Type: configdef.List, Default: "", Importance: configdef.Low, Group: groupPredicates, Width: configdef.WidthLong, Display: "Predicates", Check: uniqueNames,
			Doc: "Aliases of the predicates that transforms use."},
		{Name: "config.action.reload", Type: configdef.String, Default: "restart", Importance: configdef.Low, Group: groupCommon, Width: configdef.WidthMedium, Display: "Reload Action", Check: configdef.OneOf(true, "none", "restart"),
			Doc: "What to do when a config provider says that a value has expired. The providers of moldau have no expiry, so that values are read again when a connector or task starts."},
		{Name: "errors.retry.timeout", Type: configdef.Long, Default: 0, Importance: configdef.Medium, Group: groupErrors, Width: configdef.WidthMedium, Display: "Retry Timeout for Errors",
			Doc: "For how many milliseconds a failed operation is tried again; -1: without end."},
		{Name: "errors.retry.delay.max.ms", Type: configdef.Long, Default: 60000, Importance: configdef.Medium, Group: groupErrors, Width: configdef.WidthMedium, Display: "Maximum Delay Between Retries for Errors",
			Doc: "Longest pause between two tries; once reached, it is jittered."},
		{Name: "errors.tolerance", Type: configdef.String, Default: "none", Importance: configdef.Medium, Group: groupErrors, Width: configdef.WidthShort, Display: "Error Tolerance", Check: configdef.OneOf(false, "none", "all"),
			Doc: "none: a record that cannot be handled fails the task. all: it is skipped."},
		{Name: "errors.log.enable", Type: configdef.Boolean, Default: false, Importance: configdef.Medium, Group: groupErrors, Width: configdef.WidthShort, Display: "Log Errors",
			Doc: "Log each record that cannot be handled, tolerated or not."},
		{Name: "errors.log.include.messages", Type: configdef.Boolean, Default: false, Importance: configdef.Medium, Group: groupErrors, Width: configdef.WidthShort, Display: "Log Error Details",
			Doc: "Whether that log names the record: its topic, partition, offset and timestamp."},
	}
}

func sourceKeys() []configdef.Key {
	return []configdef.Key{
		{Name: "topic.creation.groups", Type: configdef.List, Default: "", Importance: configdef.Low, Group: groupTopics, Width: configdef.WidthLong, Display: "Topic Creation Groups", Check: uniqueNames,
			Doc: "Aliases of groups of settings for topics that are created, beside the group default."},
		{Name: "exactly.once.support", Type: configdef.String, Default: "requested", Importance: configdef.Medium, Group: groupEOS, Width: configdef.WidthShort, Display: "Exactly once support", Check: anyCase("REQUIRED", "REQUESTED"),
			Doc: "required: the configuration is refused unless the worker writes exactly once and the connector says that it can. requested: it is taken as it is."},
		{Name: "transaction.boundary", Type: configdef.String, Default: "poll", Importance: configdef.Medium, Group: groupEOS, Width: configdef.WidthShort, Display: "Transaction Boundary", Check: anyCase("INTERVAL", "POLL", "CONNECTOR"),
			Doc: "Where transactions end. poll: at the end of what a poll of the connector returns; polls that wait for the transaction before them share the next one. interval: at the end of a poll after a time. connector: where the connector says so, if it can."},
		{Name: "transaction.boundary.interval.ms", Type: configdef.Long, Importance: configdef.Low, Group: groupEOS, Width: configdef.WidthShort, Display: "Transaction boundary interval", Check: configdef.AtLeast(0),
			Doc: "Time between commits with transaction.boundary=interval; the worker's offset.flush.interval.ms by default."},
		{Name: "offsets.storage.topic", Type: configdef.String, Importance: configdef.Low, Group: groupOffsets, Width: configdef.WidthLong, Display: "Offsets topic", Check: configdef.NonEmpty,
			Doc: "An offset topic of the connector's own, made when it does not exist, on the cluster that the connector's producer writes to. The worker's offset topic is read for what it does not hold, and kept up to date."},
	}
}

func sinkKeys() []configdef.Key {
	return []configdef.Key{
		{Name: "topics", Type: configdef.List, Default: "", Importance: configdef.High, Group: groupCommon, Width: configdef.WidthLong, Display: "Topics", Doc: "Topics to read."},
		{Name: "topics.regex", Type: configdef.String, Default: "", Importance: configdef.High, Group: groupCommon, Width: configdef.WidthLong, Display: "Topics regex", Check: javaregex.Check,
			Doc: "Regular expression, in Java's syntax, that the whole name of the topics to read must match."},
		{Name: "errors.deadletterqueue.topic.name", Type: configdef.String, Default: "", Importance: configdef.Medium, Group: groupErrors, Width: configdef.WidthMedium, Display: "Dead Letter Queue Topic Name",
			Doc: "Topic for the records that cannot be handled, as they lie in the log; empty: they are only skipped."},
		{Name: "errors.deadletterqueue.topic.replication.factor", Type: configdef.Short, Default: 3, Importance: configdef.Medium, Group: groupErrors, Width: configdef.WidthMedium, Display: "Dead Letter Queue Topic Replication Factor",
			Doc: "Replication factor of that topic when it is created. The default is lowered to the number of brokers."},
		{Name: "errors.deadletterqueue.context.headers.enable", Type: configdef.Boolean, Default: false, Importance: configdef.Medium, Group: groupErrors, Width: configdef.WidthMedium, Display: "Enable Error Context Headers",
			Doc: "Add headers that tell what went wrong where; their names start with __connect.errors."},
	}
}

func sourceDef(w workerDefaults) *configdef.Def {
	return configdef.NewDef(commonKeys(w)...).Add(sourceKeys()...)
}

func sinkDef(w workerDefaults) *configdef.Def {
	return configdef.NewDef(commonKeys(w)...).Add(sinkKeys()...)
}

// checkSink sets the errors that concern several keys of a sink.
func checkSink(raw map[string]string, group string, r *configdef.Result) {
	name := strings.TrimSpace(raw["name"])
	topics, pattern := splitList(raw["topics"]), strings.TrimSpace(raw["topics.regex"])
	both := func(format string, args ...any) {
		r.Error("topics", format, args...)
		r.Error("topics.regex", format, args...)
	}
	if len(topics) == 0 && pattern == "" {
		both("Must configure one of topics or topics.regex")
	}
	if len(topics) > 0 && pattern != "" {
		both("topics and topics.regex are mutually exclusive options, but both are set.")
	}
	if dlq := strings.TrimSpace(raw["errors.deadletterqueue.topic.name"]); dlq != "" {
		for _, t := range topics {
			if t == dlq {
				r.Error("topics", "The DLQ topic '%s' may not be included in the list of topics ('topics=[%s]') consumed by the connector", dlq, strings.Join(topics, ", "))
				break
			}
		}
		if pattern != "" && fullMatch(pattern, dlq) {
			r.Error("topics.regex", "The DLQ topic '%s' may not be matched by the regex for the topics ('topics.regex=%s') consumed by the connector", dlq, pattern)
		}
	}
	if "connect-"+name == group {
		r.Error("name", "Consumer group for sink connector named %s conflicts with Connect worker group %s", name, group)
	}
}

// fullMatch reports whether a whole name matches a pattern in Java's syntax; a pattern that is none matches nothing.
func fullMatch(pattern, name string) bool {
	re, err := javaregex.Compile(pattern)
	if err != nil {
		return false
	}
	ok, err := re.Matches(name)
	return err == nil && ok
}

func splitList(s string) []string {
	var out []string
	for _, p := range strings.Split(s, ",") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// topicRule says how to create topics whose name matches.
type topicRule struct {
	name             string
	include, exclude []*javaregex.Regexp
	all              bool  // every topic, whatever include says
	partitions       int32 // -1: the broker's default
	replication      int16 // likewise
	configs          map[string]*string
}

// topicRules parses topic.creation.*; nil when the connector has no default group, which leaves creation to the broker. Errors are
// set on r when it is not nil.
func topicRules(raw map[string]string, r *configdef.Result) []topicRule {
	fail := func(key, format string, args ...any) {
		if r != nil {
			r.Error(key, format, args...)
		}
	}
	groups := splitList(raw["topic.creation.groups"])
	const prefix = "topic.creation."
	some := false
	for k := range raw {
		if strings.HasPrefix(k, prefix) && k != "topic.creation.groups" {
			some = true
		}
	}
	if !some && len(groups) == 0 {
		return nil
	}
	var rules []topicRule
	hasDefault := false
	for _, g := range append(groups, "default") {
		if g == "default" && hasDefault {
			continue
		}
		hasDefault = hasDefault || g == "default"
		p := prefix + g + "."
		rule := topicRule{name: g, partitions: -1, replication: -1, configs: map[string]*string{}}
		number := func(name string, bits int) int64 {
			s, ok := raw[p+name]
			if !ok {
				if g == "default" {
					fail(p+name, "Missing required configuration %q which has no default value.", p+name)
				}
				return -1
			}
			n, err := strconv.ParseInt(strings.TrimSpace(s), 10, bits)
			if err != nil {
				fail(p+name, "Invalid value %s for configuration %s: Not a number of type %s", s, p+name, map[int]string{16: "SHORT", 32: "INT"}[bits])
			} else if n == 0 || n < -1 {
				fail(p+name, "Invalid value %s for configuration %s: Value must be at least 1, or -1 for the broker's default", s, p+name)
			}
			return n
		}
		rule.partitions, rule.replication = int32(number("partitions", 32)), int16(number("replication.factor", 16))
		regexes := func(name string) (out []*javaregex.Regexp) {
			for _, s := range splitList(raw[p+name]) {
				re, err := javaregex.Compile(s)
				if err != nil {
					fail(p+name, "Invalid value %s for configuration %s: %v", s, p+name, err)
					continue
				}
				out = append(out, re)
			}
			return out
		}
		if g == "default" {
			rule.all = true
		} else {
			rule.include, rule.exclude = regexes("include"), regexes("exclude")
			if len(rule.include) == 0 {
				fail(p+"include", "Missing required configuration %q which has no default value.", p+"include")
			}
		}
		for k, v := range raw {
			if name, ok := strings.CutPrefix(k, p); ok {
				switch name {
				case "partitions", "replication.factor", "include", "exclude":
				default:
					rule.configs[name] = &v
				}
			}
		}
		rules = append(rules, rule)
	}
	for k := range raw {
		if rest, ok := strings.CutPrefix(k, prefix); ok && k != "topic.creation.groups" {
			g, _, _ := strings.Cut(rest, ".")
			known := g == "default"
			for _, n := range groups {
				known = known || n == g
			}
			if !known {
				fail(k, "Invalid value %s for configuration %s: there is no group %q in topic.creation.groups", raw[k], k, g)
			}
		}
	}
	return rules
}

func (t *topicRule) matches(topic string) bool {
	some := func(list []*javaregex.Regexp) bool {
		for _, re := range list {
			if ok, err := re.Matches(topic); err == nil && ok { // a pattern that takes too long on a name does not match it
				return true
			}
		}
		return false
	}
	return !some(t.exclude) && (t.all || some(t.include))
}

func kindOf(reg *plugins.Registry, class string) string {
	if s, ok := reg.Connector(class); ok {
		return string(s.Kind)
	}
	return "unknown"
}
