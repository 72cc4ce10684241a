package transforms

import (
	"strings"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/javaregex"
	"github.com/moldau-io/moldau/plugins/javatime"
)

var regexRouterDef = configdef.NewDef(
	configdef.Key{Name: "regex", Type: configdef.String, Required: true, Importance: configdef.High, Check: javaregex.Check, Doc: "Regular expression to use for matching."},
	configdef.Key{Name: "replacement", Type: configdef.String, Required: true, Importance: configdef.High, Doc: "Replacement string."},
)

// regexRouter renames the topics that match a pattern as a whole.
type regexRouter struct {
	regex       *javaregex.Regexp
	replacement javaregex.Replacement
	known       map[string]string // topic -> topic
}

func (t *regexRouter) Configure(cfg configdef.Values) (err error) {
	if t.regex, err = javaregex.Compile(cfg.Str("regex")); err != nil {
		return err
	}
	t.replacement, err = t.regex.Replacement(cfg.Str("replacement"))
	return err
}

func (t *regexRouter) Apply(r *plugins.Record) (bool, error) {
	to, ok := t.known[r.Topic]
	if !ok {
		var err error
		if to, err = rename(t.regex, t.replacement, r.Topic); err != nil {
			return false, err
		}
		if t.known == nil || len(t.known) >= maxPlans {
			t.known = map[string]string{}
		}
		t.known[r.Topic] = to
	}
	r.Topic = to
	return true, nil
}

// rename replaces the first match in a name that matches as a whole, and leaves others alone.
func rename(re *javaregex.Regexp, with javaregex.Replacement, name string) (string, error) {
	ok, err := re.Matches(name)
	if err != nil || !ok {
		return name, err
	}
	return re.ReplaceFirst(name, with)
}

func (t *regexRouter) Close() error { return nil }

var timestampRouterDef = configdef.NewDef(
	configdef.Key{Name: "topic.format", Type: configdef.String, Default: "${topic}-${timestamp}", Importance: configdef.High,
		Doc: "Format string which can contain ${topic} and ${timestamp} as placeholders for the topic and timestamp, respectively."},
	configdef.Key{Name: "timestamp.format", Type: configdef.String, Default: "yyyyMMdd", Importance: configdef.High, Check: javatime.Check,
		Doc: "Format string for the timestamp that is compatible with java.text.SimpleDateFormat."},
)

// timestampRouter puts the record's time into its topic's name.
type timestampRouter struct {
	topicFormat string
	format      *javatime.Format
	// The last topic made, since most records share theirs with the one before.
	fromTopic, stamp, toTopic string
	buf                       []byte
}

func (t *timestampRouter) Configure(cfg configdef.Values) (err error) {
	t.topicFormat = cfg.Str("topic.format")
	t.format, err = javatime.Compile(cfg.Str("timestamp.format"))
	return err
}

func (t *timestampRouter) Apply(r *plugins.Record) (bool, error) {
	if r.Timestamp == plugins.NoTimestamp {
		return false, plugins.Dataf("Timestamp missing on record of topic %s", r.Topic)
	}
	t.buf = t.format.Append(t.buf[:0], r.Timestamp)
	if t.toTopic == "" || r.Topic != t.fromTopic || string(t.buf) != t.stamp {
		t.fromTopic, t.stamp = r.Topic, string(t.buf)
		t.toTopic = strings.ReplaceAll(strings.ReplaceAll(t.topicFormat, "${topic}", r.Topic), "${timestamp}", t.stamp)
	}
	r.Topic = t.toTopic
	return true, nil
}

func (t *timestampRouter) Close() error { return nil }

// filter drops every record; with a predicate, those that the predicate picks.
type filter struct{}

func (filter) Configure(configdef.Values) error    { return nil }
func (filter) Apply(*plugins.Record) (bool, error) { return false, nil }
func (filter) Close() error                        { return nil }
