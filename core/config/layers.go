package config

import (
	"maps"
	"slices"
	"strconv"
)

// Source says where a value comes from, with the numbers of the DescribeConfigs answer.
type Source int8

// The sources.
const (
	SourceTopic          Source = 1 // DYNAMIC_TOPIC_CONFIG
	SourceBroker         Source = 2 // DYNAMIC_BROKER_CONFIG
	SourceClusterDefault Source = 3 // DYNAMIC_DEFAULT_BROKER_CONFIG
	SourceStatic         Source = 4 // STATIC_BROKER_CONFIG
	SourceDefault        Source = 5 // DEFAULT_CONFIG
	SourceLogger         Source = 6 // DYNAMIC_BROKER_LOGGER_CONFIG
	SourceClientMetrics  Source = 7 // DYNAMIC_CLIENT_METRICS_CONFIG
	SourceGroup          Source = 8 // DYNAMIC_GROUP_CONFIG
)

// Layers are the sources of values, each a map of overrides: a topic's own, those of this broker and of all
// brokers that were set at run time, and the file's. Any may be nil. Their values have been validated.
type Layers struct {
	Topic   map[string]string
	Broker  map[string]string
	Cluster map[string]string
	Static  map[string]string
}

// Synonym is one of the values that a config could have, with where it is from.
type Synonym struct {
	Name   string
	Value  *string // nil for null, and when sensitive
	Source Source
}

// Entry is what DescribeConfigs says about one config.
type Entry struct {
	Name      string
	Value     *string // nil for null, and when sensitive
	Source    Source
	ReadOnly  bool
	Sensitive bool
	Type      Type
	Doc       string
	Synonyms  []Synonym // the value in effect first
}

// IsDefault reports whether the value is the default (the answer of version 0).
func (e *Entry) IsDefault() bool { return e.Source == SourceDefault }

// find returns a broker property's value from the layers, and where it is from.
func (l *Layers) find(name string) (string, Source, bool) {
	for _, s := range []struct {
		m   map[string]string
		src Source
	}{{l.Broker, SourceBroker}, {l.Cluster, SourceClusterDefault}, {l.Static, SourceStatic}} {
		if v, ok := s.m[name]; ok {
			return v, s.src, true
		}
	}
	return "", SourceDefault, false
}

// brokerValue returns a broker property's value in effect, nil for null.
func (l *Layers) brokerValue(k *Key) *string {
	s, _, ok := l.find(k.Name)
	if !ok {
		if k.Default == nil {
			return nil
		}
		s = *k.Default
	}
	return shown(k, s)
}

// shown renders a valid value as Kafka shows it; nil for sensitive ones.
func shown(k *Key, s string) *string {
	if k.Sensitive() {
		return nil
	}
	v, problem := parse(k.Type, s)
	if problem != "" {
		return &s
	}
	out := v.String()
	return &out
}

// topicValue returns a topic config's value in effect.
func (l *Layers) topicValue(k *Key) string {
	if s, ok := l.Topic[k.Name]; ok {
		return *shown(k, s)
	}
	for _, o := range topicOrigins[k.Name] {
		if v := l.brokerValue(BrokerKeys.Key(o.name)); v != nil {
			return o.convert(*v)
		}
	}
	return *k.Default
}

// convert turns a value in the origin's unit into the topic's.
func (o origin) convert(v string) string {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || o.factor == 0 {
		return v
	}
	if n < 0 {
		return "-1" // Kafka: every negative time is no limit
	}
	return itoa(n * o.factor)
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// TopicConfig returns all of a topic's values in effect, every supported key with a value.
func TopicConfig(l Layers) map[string]string {
	out := make(map[string]string, len(TopicKeys.keys))
	for i := range TopicKeys.keys {
		k := &TopicKeys.keys[i]
		out[k.Name] = l.topicValue(k)
	}
	return out
}

// TopicDefaults returns the values that a topic without overrides has.
func TopicDefaults(l Layers) map[string]string {
	l.Topic = nil
	return TopicConfig(l)
}

// TopicValue returns one value of a topic in effect; ok is false when there is no such key.
func TopicValue(l Layers, name string) (value string, ok bool) {
	k := TopicKeys.Key(name)
	if k == nil {
		return "", false
	}
	return l.topicValue(k), true
}

// synonyms lists the values a broker property could have, as Kafka does: all forms of it, layer by layer, from the
// first that has the property's own name on.
func (l *Layers) synonyms(name string) []Synonym {
	family := brokerFamily[name]
	if family == nil {
		family = []string{name}
	}
	var out []Synonym
	add := func(m map[string]string, src Source) {
		for _, n := range family {
			if s, ok := m[n]; ok {
				out = append(out, Synonym{n, shown(BrokerKeys.Key(n), s), src})
			}
		}
	}
	add(l.Broker, SourceBroker)
	add(l.Cluster, SourceClusterDefault)
	add(l.Static, SourceStatic)
	for _, n := range family {
		if k := BrokerKeys.Key(n); k.Default != nil && !onlyWhenSet(n) {
			out = append(out, Synonym{n, shown(k, *k.Default), SourceDefault})
		}
	}
	for len(out) > 0 && out[0].Name != name {
		out = out[1:]
	}
	return out
}

// DescribeTopic answers DescribeConfigs for a topic: the named keys, or all when names is nil. Unknown names are
// left out, as Kafka does.
func DescribeTopic(l Layers, names []string) []Entry {
	return describe(TopicKeys, names, func(k *Key) Entry {
		v := l.topicValue(k)
		e := Entry{Value: &v, Source: SourceDefault}
		if s, ok := l.Topic[k.Name]; ok {
			e.Synonyms = append(e.Synonyms, Synonym{k.Name, shown(k, s), SourceTopic})
		}
		if os := topicOrigins[k.Name]; len(os) > 0 {
			e.Synonyms = append(e.Synonyms, l.synonyms(os[0].name)...)
		}
		if len(e.Synonyms) > 0 {
			e.Source = e.Synonyms[0].Source
		}
		return e
	})
}

// DescribeBroker answers DescribeConfigs for this broker: the named keys, or all when names is nil.
func DescribeBroker(l Layers, names []string) []Entry {
	entries := describe(BrokerKeys, names, func(k *Key) Entry {
		e := Entry{Value: l.brokerValue(k), Source: SourceDefault, ReadOnly: k.Update == ReadOnly, Synonyms: l.synonyms(k.Name)}
		if len(e.Synonyms) > 0 {
			e.Source = e.Synonyms[0].Source
		}
		return e
	})
	entries = slices.DeleteFunc(entries, func(e Entry) bool { return e.Source == SourceDefault && onlyWhenSet(e.Name) })
	return append(entries, describeListeners(l, names, true)...)
}

// onlyWhenSet says whether Kafka shows a property only while it is set: the throttles of replication and of moves.
func onlyWhenSet(name string) bool {
	return name == leaderThrottle || name == followerThrottle || name == moveThrottle
}

// DescribeCluster answers DescribeConfigs for the broker resource with the empty name: what was set at run time
// for all brokers.
func DescribeCluster(l Layers, names []string) []Entry {
	if names == nil {
		names = slices.Sorted(maps.Keys(l.Cluster))
	}
	entries := describe(BrokerKeys, names, func(k *Key) Entry {
		s, ok := l.Cluster[k.Name]
		if !ok {
			return Entry{}
		}
		v := shown(k, s)
		return Entry{Value: v, Source: SourceClusterDefault, ReadOnly: k.Update == ReadOnly, Synonyms: []Synonym{{k.Name, v, SourceClusterDefault}}}
	})
	return append(slices.DeleteFunc(entries, func(e Entry) bool { return e.Source == 0 }), describeListeners(l, names, false)...)
}

// DescribeGroup answers DescribeConfigs for a group with these overrides, on the broker of these layers.
func DescribeGroup(overrides map[string]string, broker Layers, names []string) []Entry {
	return describe(GroupKeys, names, func(k *Key) Entry {
		var e Entry
		if s, ok := overrides[k.Name]; ok {
			e.Synonyms = append(e.Synonyms, Synonym{k.Name, shown(k, s), SourceGroup})
		}
		if origin := BrokerKeys.Key("group." + k.Name); origin != nil {
			e.Synonyms = append(e.Synonyms, broker.synonyms(origin.Name)...)
		} else {
			e.Synonyms = append(e.Synonyms, Synonym{k.Name, shown(k, *k.Default), SourceDefault})
		}
		e.Value, e.Source = e.Synonyms[0].Value, e.Synonyms[0].Source
		return e
	})
}

func describe(t *Table, names []string, entry func(*Key) Entry) []Entry {
	if names == nil {
		names = t.Names()
	}
	out := make([]Entry, 0, len(names))
	for _, n := range names {
		k := t.Key(n)
		if k == nil {
			continue
		}
		e := entry(k)
		e.Name, e.Type, e.Sensitive, e.Doc = k.Name, k.Type, k.Sensitive(), k.Doc
		out = append(out, e)
	}
	return out
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
