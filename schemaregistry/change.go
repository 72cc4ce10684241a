package schemaregistry

import (
	"encoding/json"
	"slices"
)

// deleteVersion decides the deletion of a version. asked is the version as the client wrote it.
func (d *decider) deleteVersion(s *State, q qualified, number int, asked string, permanent bool) (int, []Record, error) {
	subject := q.String()
	if !permanent && s.find(subject, number, WithDeleted) != nil && s.find(subject, number, Live) == nil {
		return 0, nil, errorf(40406, "Subject '%s' Version %s was soft deleted.Set permanent=true to delete permanently", subject, asked)
	}
	v, err := s.get(subject, number, WithDeleted)
	if err != nil {
		return 0, nil, err
	}
	if !permanent && number == Latest {
		v = s.find(subject, Latest, Live)
	}
	if readOnly(s.modeInScope(q)) {
		return 0, nil, errReadOnly(q)
	}
	if len(s.referring(v.key(), referrers(permanent))) > 0 {
		return 0, nil, errReferenced(v.key())
	}
	if !permanent {
		return v.number, []Record{schemaRecord(subject, v.number, v.id, v.content, true)}, nil
	}
	if !v.deleted {
		return 0, nil, errorf(40407, "Subject '%s' Version %d was not deleted first before being permanently deleted", subject, v.number)
	}
	records := s.tombstones(key{kind: keySchema, subject: subject, version: v.number})
	if len(s.versions(subject, WithDeleted)) == 1 {
		records = append(records, s.settingsTombstones(subject)...)
		records = append(records, s.markTombstones(subject)...)
	}
	return v.number, records, nil
}

// referrers are the versions that keep a version from being deleted: a soft-deleted one may come back, but not without what it
// refers to.
func referrers(permanent bool) Filter {
	if permanent {
		return WithDeleted
	}
	return Live
}

// settingsTombstones removes the subject's own mode and config.
func (s *State) settingsTombstones(subject string) []Record {
	var records []Record
	if _, ok := s.modes[subject]; ok && subject != "" {
		records = append(records, s.tombstones(key{kind: keyMode, subject: subject})...)
	}
	if _, ok := s.configs[subject]; ok && subject != "" {
		records = append(records, s.tombstones(key{kind: keyConfig, subject: subject})...)
	}
	return records
}

// markTombstones removes the subject's DELETE_SUBJECT record, which means nothing once its versions are gone. They are written
// before it, so no compaction can drop the mark and keep a version.
func (s *State) markTombstones(subject string) []Record {
	if _, ok := s.marks[subject]; !ok {
		return nil
	}
	return s.tombstones(key{kind: keyDeleteSubject, subject: subject})
}

// deleteSubject decides the deletion of a subject. It returns the versions deleted.
func (d *decider) deleteSubject(s *State, q qualified, permanent bool) ([]int, []Record, error) {
	subject := q.String()
	if !s.has(subject, WithDeleted) {
		return nil, nil, errSubjectNotFound(subject)
	}
	if !permanent && !s.has(subject, Live) {
		return nil, nil, errorf(40404, "Subject '%s' was soft deleted.Set permanent=true to delete permanently", subject)
	}
	if readOnly(s.modeInScope(q)) {
		return nil, nil, errReadOnly(q)
	}
	f := Live
	if permanent {
		f = WithDeleted
	}
	versions := s.versions(subject, f)
	numbers := make([]int, len(versions))
	for i, v := range versions {
		numbers[i] = v.number
		if permanent && !v.deleted {
			return nil, nil, errorf(40405, "Subject '%s' was not deleted first before being permanently deleted", subject)
		}
		for _, from := range s.referring(v.key(), referrers(permanent)) {
			if from.subject != subject {
				return nil, nil, errReferenced(v.key())
			}
		}
	}
	if !permanent {
		return numbers, []Record{deleteRecord(subject, numbers[len(numbers)-1])}, nil
	}
	var records []Record
	for _, v := range slices.Backward(versions) {
		records = append(records, s.tombstones(key{kind: keySchema, subject: subject, version: v.number})...)
	}
	records = append(records, s.settingsTombstones(subject)...)
	return numbers, append(records, s.markTombstones(subject)...), nil
}

// scopeOf returns the subject under which config and mode are kept: ":.:" means the registry's own.
func scopeOf(subject string) string {
	if q := qualify(subject); q.context == defaultContext {
		return q.name
	}
	return normalSubject(subject)
}

// setConfig decides a PUT of config. The answer is the configuration that it makes.
func (d *decider) setConfig(s *State, subject string, body map[string]json.RawMessage) (Config, []Record, error) {
	scope := scopeOf(subject)
	c, err := updateConfig(s.configs[scope], body)
	if err != nil {
		return Config{}, nil, err
	}
	if !validScope(subject) {
		return Config{}, nil, errInvalidSubject(subject)
	}
	if err := s.checkScopeWritable(scope); err != nil {
		return Config{}, nil, err
	}
	return c, []Record{configRecord(scope, c)}, nil
}

// checkScopeWritable refuses changes of config where schemas are read-only. No subject prints as in Java.
func (s *State) checkScopeWritable(scope string) error {
	q := qualify(scope)
	if !readOnly(s.modeInScope(q)) {
		return nil
	}
	if scope == "" {
		scope = "null"
	}
	return errorf(42205, "Subject %s in context %s is in read-only mode", scope, q.contextSubject())
}

// deleteConfig decides a DELETE of config, and returns what was configured.
func (d *decider) deleteConfig(s *State, subject string) (Config, []Record, error) {
	scope := scopeOf(subject)
	old, ok := s.configs[scope]
	if !ok && scope != "" {
		return Config{}, nil, errSubjectNotFound(scope)
	}
	if err := s.checkScopeWritable(scope); err != nil {
		return Config{}, nil, err
	}
	old = inherit(old, Config{CompatibilityLevel: s.configInScope(qualify(scope)).CompatibilityLevel})
	if !ok {
		return old, nil, nil
	}
	return old, s.tombstones(key{kind: keyConfig, subject: scope}), nil
}

// setMode decides a PUT of a mode; "" takes the mode away.
func (d *decider) setMode(s *State, subject, mode string, force bool) ([]Record, error) {
	scope := scopeOf(subject)
	q := qualify(scope)
	if !validScope(subject) {
		return nil, errInvalidSubject(subject)
	}
	m, ok := parseMode(mode)
	switch {
	case mode == "":
	case !ok:
		return nil, errInvalidMode()
	case m == Forward && q.context != globalContext:
		return nil, errorf(42204, "Forward mode only supported on global level")
	}
	if !d.mutableMode {
		return nil, errorf(42205, "Mode changes are not allowed")
	}
	var records []Record
	if m == Import && s.modeInScope(q) != Import && !force {
		inScope := s.inScope(q)
		for _, v := range inScope {
			if !v.deleted {
				return nil, errorf(42205, "Cannot import since found existing subjects")
			}
			if len(s.referring(v.key(), WithDeleted)) > 0 {
				return nil, errReferenced(v.key())
			}
		}
		for _, v := range slices.Backward(inScope) {
			records = append(records, s.tombstones(key{kind: keySchema, subject: v.subject, version: v.number})...)
		}
		records = append(records, clearRecord(scope))
	}
	if mode == "" {
		return s.tombstones(key{kind: keyMode, subject: scope}), nil
	}
	return append(records, modeRecord(scope, m)), nil
}

// inScope returns the versions of a subject, or of all subjects of a context, in order.
func (s *State) inScope(q qualified) []*version {
	var out []*version
	for name, sub := range s.subjects {
		if o := qualify(name); q.context == globalContext || o.context == q.context && (q.name == "" || o.name == q.name) {
			out = append(out, sub.versions...)
		}
	}
	slices.SortFunc(out, func(a, b *version) int { return compareVersions(a.key(), b.key()) })
	return out
}

// deleteMode decides a DELETE of a mode, and returns what it was. recursive removes the modes of a context's subjects too.
func (d *decider) deleteMode(s *State, subject string, recursive bool) (Mode, []Record, error) {
	scope := scopeOf(subject)
	q := qualify(scope)
	old, ok := s.modes[scope]
	if !ok && scope != "" && !recursive {
		return "", nil, errSubjectNotFound(scope)
	}
	if !d.mutableMode {
		return "", nil, errorf(42205, "Mode changes are not allowed")
	}
	var records []Record
	if ok {
		records = s.tombstones(key{kind: keyMode, subject: scope})
	} else if scope == "" {
		old = s.mode
	}
	if recursive && q.name == "" {
		for name := range s.modes {
			if o := qualify(name); o.name != "" && o.context == q.context {
				records = append(records, s.tombstones(key{kind: keyMode, subject: name})...)
			}
		}
	}
	return old, records, nil
}

// deleteContext decides the deletion of a context.
func (d *decider) deleteContext(s *State, context string) ([]Record, error) {
	if c := s.contexts[context]; c != nil && len(c.ids) > 0 {
		return nil, errorf(42211, "The specified context '%s' is not empty.", context)
	}
	if context == defaultContext {
		return nil, errorf(42205, "The default context cannot be deleted")
	}
	scope := ":" + context + ":"
	records := s.tombstones(key{kind: keyContext, context: context})
	if _, ok := s.modes[scope]; ok {
		records = append(records, s.tombstones(key{kind: keyMode, subject: scope})...)
	}
	if _, ok := s.configs[scope]; ok {
		records = append(records, s.tombstones(key{kind: keyConfig, subject: scope})...)
	}
	return records, nil
}
