package schemaregistry

import (
	"maps"
	"slices"
	"strings"
)

// in says whether the version is within a filter.
func (v *version) in(f Filter) bool {
	return f == WithDeleted || v.deleted == (f == OnlyDeleted)
}

func (v *version) schema() Schema {
	return Schema{Subject: v.subject, Version: v.number, ID: v.id, GUID: v.content.hash.guid(), SchemaType: v.content.kind, References: v.content.refs,
		Metadata: v.content.metadata, RuleSet: v.content.rules, Schema: v.content.text, Timestamp: v.time, Deleted: v.deleted}
}

// has says whether the subject has a version within the filter.
func (s *State) has(subject string, f Filter) bool {
	sub := s.subjects[subject]
	return sub != nil && slices.ContainsFunc(sub.versions, func(v *version) bool { return v.in(f) })
}

// versions returns the subject's versions within the filter, ascending.
func (s *State) versions(subject string, f Filter) []*version {
	sub := s.subjects[subject]
	if sub == nil {
		return nil
	}
	var out []*version
	for _, v := range sub.versions {
		if v.in(f) {
			out = append(out, v)
		}
	}
	return out
}

// find returns a version of a subject, Latest the newest within the filter, or nil.
func (s *State) find(subject string, number int, f Filter) *version {
	sub := s.subjects[subject]
	if sub == nil {
		return nil
	}
	if number == Latest {
		for _, v := range slices.Backward(sub.versions) {
			if v.in(f) {
				return v
			}
		}
		return nil
	}
	if i, ok := sub.find(number); ok && sub.versions[i].in(f) {
		return sub.versions[i]
	}
	return nil
}

// get is find with the errors of the API.
func (s *State) get(subject string, number int, f Filter) (*version, error) {
	if v := s.find(subject, number, f); v != nil {
		return v, nil
	}
	if !s.has(subject, f) {
		return nil, errSubjectNotFound(subject)
	}
	return nil, errVersionNotFound(number)
}

// byID returns what an id stands for. subject chooses the context; a subject without one is also looked for in all others, if the
// default context does not know the id. A subject that has the id is preferred as the answer's version.
func (s *State) byID(id int, subject string) (*identity, *version) {
	q := qualify(subject)
	if i := s.idIn(q.context, id); i != nil && (q.context != defaultContext || subject == "" || s.subjectHas(i, q)) {
		return i, i.pick(q)
	}
	if q.context == defaultContext && q.name != "" {
		for _, name := range slices.Sorted(maps.Keys(s.contexts)) {
			other := qualified{name, q.name}
			if i := s.idIn(name, id); i != nil && name != defaultContext && s.subjectHas(i, other) {
				return i, i.pick(other)
			}
		}
	}
	if i := s.idIn(q.context, id); i != nil {
		return i, i.pick(q)
	}
	return nil, nil
}

func (s *State) idIn(context string, id int) *identity {
	if c := s.contexts[context]; c != nil {
		return c.ids[id]
	}
	return nil
}

func (s *State) subjectHas(i *identity, q qualified) bool {
	v := i.pick(q)
	return v != nil && v.subject == q.String()
}

// pick returns one of the versions with the id: of the subject if it has one, live before deleted, the newest.
func (i *identity) pick(q qualified) *version {
	var best *version
	better := func(v *version) bool {
		if best == nil {
			return true
		}
		if mine, other := v.subject == q.String(), best.subject == q.String(); mine != other {
			return mine
		}
		if v.deleted != best.deleted {
			return !v.deleted
		}
		if v.subject != best.subject {
			return v.subject < best.subject
		}
		return v.number > best.number
	}
	for _, v := range i.versions {
		if better(v) {
			best = v
		}
	}
	return best
}

// versionsOf returns the subjects and versions of an id within the filter, in order.
func (i *identity) versionsOf(f Filter) []SubjectVersion {
	out := []SubjectVersion{}
	for sv, v := range i.versions {
		if v.in(f) {
			out = append(out, sv)
		}
	}
	slices.SortFunc(out, compareVersions)
	return out
}

func compareVersions(a, b SubjectVersion) int {
	if c := strings.Compare(a.Subject, b.Subject); c != 0 {
		return c
	}
	return a.Version - b.Version
}

// subjectNames returns the subjects within prefix that have a version within the filter, sorted.
func (s *State) subjectNames(prefix string, f Filter) []string {
	out := []string{}
	for name := range s.subjects {
		if qualify(name).matches(prefix) && s.has(name, f) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// aliases returns the subjects that are stood for by others, those of them that begin with the prefix, and are within the filter.
func (s *State) aliases(prefix string, f Filter) map[string][]string {
	out := map[string][]string{}
	for _, scope := range slices.Sorted(maps.Keys(s.configs)) {
		q := qualify(scope)
		if alias := s.configs[scope].Alias; alias != "" && q.name != "" && q.matches(prefix) {
			if subject := q.in(alias).String(); s.has(subject, f) {
				out[subject] = append(out[subject], scope)
			}
		}
	}
	return out
}

// contextNames returns the contexts, the default first.
func (s *State) contextNames() []string {
	out := []string{defaultContext}
	for name, c := range s.contexts {
		if name != defaultContext && (c.declared || len(c.ids) > 0) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// referring returns the versions within the filter that refer to a version.
func (s *State) referring(sv SubjectVersion, f Filter) []*version {
	var out []*version
	for from := range s.referrers[sv] {
		if v := s.version(from); v != nil && v.in(f) {
			out = append(out, v)
		}
	}
	return out
}

// referredBy returns the ids of the schemas within the filter that refer to a version, ascending.
func (s *State) referredBy(sv SubjectVersion, f Filter) []int {
	out := []int{}
	for _, v := range s.referring(sv, f) {
		out = append(out, v.id)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// scopes returns where config and mode of a subject are looked for, the nearest first: the subject, its context, all contexts.
func (q qualified) scopes() []string {
	if q.context == defaultContext {
		if q.name == "" {
			return []string{"", ":" + globalContext + ":"}
		}
		return []string{q.name, "", ":" + globalContext + ":"}
	}
	if q.name == "" {
		return []string{q.String(), ":" + globalContext + ":"}
	}
	return []string{q.String(), q.contextSubject(), ":" + globalContext + ":"}
}

// configInScope returns what applies to a subject.
func (s *State) configInScope(q qualified) Config {
	var out Config
	for _, scope := range q.scopes() {
		out = inherit(out, s.configs[scope])
	}
	return inherit(out, Config{CompatibilityLevel: s.level})
}

// modeInScope returns what applies to a subject. The deprecated READONLY_OVERRIDE of the registry outweighs the rest.
func (s *State) modeInScope(q qualified) Mode {
	if s.modes[""] == ReadOnlyOverride {
		return ReadOnlyOverride
	}
	for _, scope := range q.scopes() {
		if m, ok := s.modes[scope]; ok {
			return m
		}
	}
	return s.mode
}
