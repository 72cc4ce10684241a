// Package predicates holds the predicates that ship, those of Apache Kafka Connect: they decide whether a transform applies to a
// record.
package predicates

import (
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/javaregex"
)

// Version is the release of Kafka Connect that the predicates follow.
const Version = "4.3.1"

const javaPackage = "org.apache.kafka.connect.transforms.predicates."

// Register adds the predicates to r, by their Java class name and their simple name.
func Register(r *plugins.Registry) {
	add := func(name string, def *configdef.Def, create func() plugins.Predicate) {
		r.AddPredicate(&plugins.Spec[plugins.Predicate]{Class: javaPackage + name, Aliases: []string{name}, Version: Version, Config: def, New: create})
	}
	add("TopicNameMatches", topicNameMatchesDef, func() plugins.Predicate { return &topicNameMatches{} })
	add("HasHeaderKey", hasHeaderKeyDef, func() plugins.Predicate { return &hasHeaderKey{} })
	add("RecordIsTombstone", configdef.NewDef(), func() plugins.Predicate { return recordIsTombstone{} })
}

var topicNameMatchesDef = configdef.NewDef(
	configdef.Key{Name: "pattern", Type: configdef.String, Required: true, Importance: configdef.Medium, Check: configdef.All(configdef.NonEmpty, javaregex.Check),
		Doc: "A Java regular expression for matching against the name of a record's topic."},
)

// topicNameMatches is true for records whose topic matches a pattern as a whole.
type topicNameMatches struct {
	pattern *javaregex.Regexp
	topic   string
	matches bool
}

func (p *topicNameMatches) Configure(cfg configdef.Values) (err error) {
	p.pattern, err = javaregex.Compile(cfg.Str("pattern"))
	return err
}

// Test remembers the last topic, as records come in runs of one. A match that runs into the pattern's time limit is no match.
func (p *topicNameMatches) Test(r *plugins.Record) bool {
	if r.Topic == "" {
		return false
	}
	if r.Topic != p.topic {
		ok, err := p.pattern.Matches(r.Topic)
		p.topic, p.matches = r.Topic, ok && err == nil
	}
	return p.matches
}

func (p *topicNameMatches) Close() error { return nil }

var hasHeaderKeyDef = configdef.NewDef(
	configdef.Key{Name: "name", Type: configdef.String, Required: true, Importance: configdef.Medium, Check: configdef.NonEmpty, Doc: "The header name."},
)

// hasHeaderKey is true for records with at least one header of a name.
type hasHeaderKey struct{ name string }

func (p *hasHeaderKey) Configure(cfg configdef.Values) error {
	p.name = cfg.Str("name")
	return nil
}

func (p *hasHeaderKey) Test(r *plugins.Record) bool {
	for i := range r.Headers {
		if r.Headers[i].Key == p.name {
			return true
		}
	}
	return false
}

func (p *hasHeaderKey) Close() error { return nil }

// recordIsTombstone is true for records without a value.
type recordIsTombstone struct{}

func (recordIsTombstone) Configure(configdef.Values) error { return nil }
func (recordIsTombstone) Test(r *plugins.Record) bool      { return r.Value.IsNull() }
func (recordIsTombstone) Close() error                     { return nil }
