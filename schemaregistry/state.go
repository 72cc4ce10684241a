package schemaregistry

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// content is what a schema says, apart from the subjects that hold it. One content is kept once, however many subjects, versions
// and contexts use it.
type content struct {
	hash     contentHash
	kind     string
	text     string
	refs     []Reference
	metadata *Metadata
	rules    *RuleSet
	md5      string
	uses     int
}

// version is a version of a subject.
type version struct {
	subject string
	number  int
	id      int
	content *content
	deleted bool
	time    int64
}

func (v *version) key() SubjectVersion { return SubjectVersion{Subject: v.subject, Version: v.number} }

// subjectState is a subject's versions in ascending order, soft-deleted ones among them.
type subjectState struct {
	versions []*version
}

func (s *subjectState) find(number int) (int, bool) {
	return slices.BinarySearchFunc(s.versions, number, func(v *version, n int) int { return v.number - n })
}

// identity is what an id stands for in a context, and the versions that have it.
type identity struct {
	content  *content
	versions map[SubjectVersion]*version
}

type contextState struct {
	ids map[int]*identity
	// byHash holds the ids of a content, ascending. Only an import gives it more than one.
	byHash map[contentHash][]int
	// maxID is the highest id ever seen, so that the next is new.
	maxID int
	// declared by a CONTEXT record.
	declared bool
}

// Outcome says what became of a record.
type Outcome int

// The outcomes of Apply.
const (
	// Applied records changed the state or confirmed it.
	Applied Outcome = iota
	// Ignored records mean nothing to this registry or cannot be read.
	Ignored
	// Rejected records were decided without knowing an earlier one, or contradict it; the earlier one wins.
	Rejected
)

// State is what the schemas topic says. It is not safe for concurrent use.
type State struct {
	contexts map[string]*contextState
	subjects map[string]*subjectState
	contents map[contentHash]*content
	configs  map[string]Config
	modes    map[string]Mode
	// marks are the subjects with a DELETE_SUBJECT record, and up to which version it deletes.
	marks map[string]int
	// referrers are the versions, soft-deleted ones among them, that refer to a version.
	referrers map[SubjectVersion]map[SubjectVersion]int
	// spellings are the key bytes seen for a key, by its canonical bytes, if they are others.
	spellings map[string][]string
	// rejected are the keys whose newest record was rejected and must be overwritten.
	rejected map[string]key
	// deletes counts tombstones of versions: whoever keeps something parsed must look whether it changed.
	deletes int
	live    int
	deleted int
	// defaults for what no record configures.
	level string
	mode  Mode
}

// NewState returns the state of an empty topic. level and mode apply where no record configures others.
func NewState(level string, mode Mode) *State {
	return &State{contexts: map[string]*contextState{}, subjects: map[string]*subjectState{}, contents: map[contentHash]*content{},
		configs: map[string]Config{}, modes: map[string]Mode{}, marks: map[string]int{}, referrers: map[SubjectVersion]map[SubjectVersion]int{},
		spellings: map[string][]string{}, rejected: map[string]key{}, level: level, mode: mode}
}

func (s *State) context(name string) *contextState {
	c := s.contexts[name]
	if c == nil {
		c = &contextState{ids: map[int]*identity{}, byHash: map[contentHash][]int{}}
		s.contexts[name] = c
	}
	return c
}

// maxSpellings bounds how many spellings of one key are remembered. There were three formats in the history of the topic.
const maxSpellings = 16

// Apply applies the next record of the topic. The error says why a record was ignored or rejected.
func (s *State) Apply(r Record) (Outcome, error) {
	k, err := parseKey(r.Key)
	if err != nil {
		return Ignored, err
	}
	canonical := k.canonical()
	if r.Decided && r.Expected != r.Offset {
		if k.kind != keyNoop {
			s.rejected[canonical] = k
		}
		return Rejected, fmt.Errorf("%s of subject %q was decided for offset %d", k.kind, k.subject, r.Expected)
	}
	if raw := string(r.Key); raw != canonical {
		seen := s.spellings[canonical]
		i := slices.Index(seen, raw)
		switch {
		case r.Value == nil && i >= 0:
			seen = slices.Delete(seen, i, i+1)
		case r.Value != nil && i < 0 && len(seen) < maxSpellings:
			seen = append(seen, raw)
		}
		if len(seen) == 0 {
			delete(s.spellings, canonical)
		} else {
			s.spellings[canonical] = seen
		}
	}
	if k.kind == keySchema {
		return s.applySchema(k, canonical, r)
	}
	delete(s.rejected, canonical)
	switch k.kind {
	case keyConfig:
		if r.Value == nil {
			delete(s.configs, k.subject)
			return Applied, nil
		}
		var c Config
		if err := json.Unmarshal(r.Value, &c); err != nil {
			return Ignored, fmt.Errorf("config of subject %q: %w", k.subject, err)
		}
		s.configs[k.subject] = c
	case keyMode:
		if r.Value == nil {
			delete(s.modes, k.subject)
			return Applied, nil
		}
		var v modeValue
		if err := json.Unmarshal(r.Value, &v); err != nil {
			return Ignored, fmt.Errorf("mode of subject %q: %w", k.subject, err)
		}
		mode, ok := parseMode(v.Mode)
		if !ok {
			return Ignored, fmt.Errorf("mode of subject %q is %q", k.subject, v.Mode)
		}
		s.modes[k.subject] = mode
	case keyDeleteSubject:
		return s.applyDelete(k, r)
	case keyClearSubject:
		if r.Value != nil {
			s.clear(k.subject)
		}
	case keyContext:
		c := s.context(k.context)
		c.declared = r.Value != nil
		s.tidyContext(k.context)
	case keyNoop, keySchema:
	}
	return Applied, nil
}

func (s *State) applyDelete(k key, r Record) (Outcome, error) {
	if r.Value == nil {
		delete(s.marks, k.subject)
		return Applied, nil
	}
	var v deleteValue
	if err := json.Unmarshal(r.Value, &v); err != nil {
		return Ignored, fmt.Errorf("delete of subject %q: %w", k.subject, err)
	}
	s.marks[k.subject] = v.Version
	if sub := s.subjects[k.subject]; sub != nil {
		for _, ver := range sub.versions {
			if ver.number <= v.Version {
				s.setDeleted(ver, true)
			}
		}
	}
	return Applied, nil
}

// clear drops the soft-deleted versions of a subject, or of all subjects in the scope of a context or of the default context.
func (s *State) clear(subject string) {
	scope := qualify(subject)
	for name, sub := range s.subjects {
		if q := qualify(name); name != subject && (scope.name != "" || q.context != scope.context) {
			continue
		}
		for _, v := range slices.Clone(sub.versions) {
			if v.deleted {
				s.remove(v)
			}
		}
	}
}

func (s *State) applySchema(k key, canonical string, r Record) (Outcome, error) {
	sv := SubjectVersion{Subject: k.subject, Version: k.version}
	old := s.version(sv)
	if r.Value == nil {
		delete(s.rejected, canonical)
		s.deletes++
		if old != nil {
			s.remove(old)
		}
		return Applied, nil
	}
	var v schemaValue
	if err := json.Unmarshal(r.Value, &v); err != nil {
		return Ignored, fmt.Errorf("schema of subject %q version %d: %w", k.subject, k.version, err)
	}
	if v.ID < 0 {
		return Ignored, fmt.Errorf("schema of subject %q version %d has id %d", k.subject, k.version, v.ID)
	}
	q := qualify(k.subject)
	c := v.content()
	ctx := s.context(q.context)
	ctx.maxID = max(ctx.maxID, v.ID)
	if id := ctx.ids[v.ID]; id != nil && id.content.hash != c.hash {
		s.rejected[canonical] = k
		return Rejected, fmt.Errorf("schema of subject %q version %d has id %d, which has other content", k.subject, k.version, v.ID)
	}
	if old != nil && old.id != v.ID && !imports(s.modeInScope(q)) {
		s.rejected[canonical] = k
		return Rejected, fmt.Errorf("schema of subject %q version %d has id %d, but the version has id %d", k.subject, k.version, v.ID, old.id)
	}
	delete(s.rejected, canonical)
	if old != nil && old.id == v.ID {
		s.setDeleted(old, v.Deleted)
		old.time = r.Time
		return Applied, nil
	}
	if old != nil {
		s.remove(old)
	}
	s.insert(q, &version{subject: k.subject, number: k.version, id: v.ID, content: c, deleted: v.Deleted, time: r.Time})
	return Applied, nil
}

func (s *State) insert(q qualified, v *version) {
	if known := s.contents[v.content.hash]; known != nil {
		v.content = known
	} else {
		s.contents[v.content.hash] = v.content
	}
	v.content.uses++
	ctx := s.context(q.context)
	id := ctx.ids[v.id]
	if id == nil {
		id = &identity{content: v.content, versions: map[SubjectVersion]*version{}}
		ctx.ids[v.id] = id
		ids := append(ctx.byHash[v.content.hash], v.id)
		slices.Sort(ids)
		ctx.byHash[v.content.hash] = ids
	}
	id.versions[v.key()] = v
	sub := s.subjects[v.subject]
	if sub == nil {
		sub = &subjectState{}
		s.subjects[v.subject] = sub
	}
	i, _ := sub.find(v.number)
	sub.versions = slices.Insert(sub.versions, i, v)
	s.refer(v, 1)
	if v.deleted {
		s.deleted++
	} else {
		s.live++
	}
}

func (s *State) remove(v *version) {
	s.refer(v, -1)
	if v.deleted {
		s.deleted--
	} else {
		s.live--
	}
	sub := s.subjects[v.subject]
	if i, ok := sub.find(v.number); ok {
		sub.versions = slices.Delete(sub.versions, i, i+1)
	}
	if len(sub.versions) == 0 {
		delete(s.subjects, v.subject)
	}
	context := qualify(v.subject).context
	ctx := s.context(context)
	if id := ctx.ids[v.id]; id != nil {
		if delete(id.versions, v.key()); len(id.versions) == 0 {
			delete(ctx.ids, v.id)
			ids := ctx.byHash[v.content.hash]
			if i := slices.Index(ids, v.id); i >= 0 {
				ids = slices.Delete(ids, i, i+1)
			}
			if len(ids) == 0 {
				delete(ctx.byHash, v.content.hash)
			} else {
				ctx.byHash[v.content.hash] = ids
			}
		}
	}
	if v.content.uses--; v.content.uses == 0 {
		delete(s.contents, v.content.hash)
	}
}

// tidyContext forgets a context that nothing names. Its highest id goes with it, as after a restart.
func (s *State) tidyContext(name string) {
	if c := s.contexts[name]; c != nil && !c.declared && len(c.ids) == 0 && name != defaultContext {
		delete(s.contexts, name)
	}
}

func (s *State) setDeleted(v *version, deleted bool) {
	if v.deleted == deleted {
		return
	}
	v.deleted = deleted
	if deleted {
		s.live--
		s.deleted++
	} else {
		s.live++
		s.deleted--
	}
}

// refer counts v among the referrers of its references, or takes it away.
func (s *State) refer(v *version, n int) {
	for _, r := range v.content.refs {
		to := SubjectVersion{Subject: qualify(v.subject).in(r.Subject).String(), Version: r.Version}
		from := s.referrers[to]
		if from == nil {
			from = map[SubjectVersion]int{}
			s.referrers[to] = from
		}
		if from[v.key()] += n; from[v.key()] <= 0 {
			delete(from, v.key())
		}
		if len(from) == 0 {
			delete(s.referrers, to)
		}
	}
}

func (s *State) version(sv SubjectVersion) *version {
	sub := s.subjects[sv.Subject]
	if sub == nil {
		return nil
	}
	if i, ok := sub.find(sv.Version); ok {
		return sub.versions[i]
	}
	return nil
}

// tombstones returns the records that remove a key under every spelling that was seen.
func (s *State) tombstones(k key) []Record {
	canonical := k.canonical()
	out := []Record{{Key: []byte(canonical)}}
	for _, raw := range s.spellings[canonical] {
		out = append(out, Record{Key: []byte(raw)})
	}
	return out
}

// repairs returns the records that overwrite rejected ones with what won, or remove them where nothing did.
func (s *State) repairs() []Record {
	var out []Record
	for _, canonical := range slices.Sorted(maps.Keys(s.rejected)) {
		out = append(out, s.current(s.rejected[canonical], canonical)...)
	}
	return out
}

// current returns the records that say what the state has for a key.
func (s *State) current(k key, canonical string) []Record {
	switch k.kind {
	case keySchema:
		if v := s.version(SubjectVersion{Subject: k.subject, Version: k.version}); v != nil {
			return []Record{schemaRecord(v.subject, v.number, v.id, v.content, v.deleted)}
		}
	case keyConfig:
		if c, ok := s.configs[k.subject]; ok {
			return []Record{configRecord(k.subject, c)}
		}
	case keyMode:
		if m, ok := s.modes[k.subject]; ok {
			return []Record{modeRecord(k.subject, m)}
		}
	case keyDeleteSubject:
		if upTo, ok := s.marks[k.subject]; ok {
			out := []Record{deleteRecord(k.subject, upTo)}
			for _, v := range s.versions(k.subject, Live) {
				if v.number <= upTo { // registered after the mark, which comes after it now
					out = append(out, schemaRecord(v.subject, v.number, v.id, v.content, false))
				}
			}
			return out
		}
	case keyContext:
		if c := s.contexts[k.context]; c != nil && c.declared {
			return []Record{contextRecord(k.context)}
		}
	case keyClearSubject, keyNoop:
	}
	return []Record{{Key: []byte(canonical)}}
}
