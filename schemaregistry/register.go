package schemaregistry

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau-io/moldau/schemaregistry/avro"
)

// versionProperty is the metadata property that numbers a version, reservedProperty lists fields that must not come back.
const (
	versionProperty  = "confluent:version"
	reservedProperty = "confluent:reserved"
)

// decider holds what decisions need besides the state. Its methods read a state and write nothing.
type decider struct {
	*parser
	mutableMode    bool
	validateNew    bool
	validateFields bool
}

// candidate is a request's schema on its way to a version.
type candidate struct {
	q       qualified
	parsed  *avro.Schema
	content *content
}

// candidate parses a request and gives it its stored form.
func (d *decider) candidate(s *State, q qualified, r Request, strict, normalize bool) (*candidate, error) {
	if err := checkType(r.SchemaType); err != nil {
		return nil, err
	}
	refs, err := numbered(s, q.context, r.References)
	if err != nil {
		return nil, errInvalidSchema(err)
	}
	parsed, err := d.request(s, q.context, r.Schema, refs, strict)
	if err != nil {
		return nil, err
	}
	if normalize {
		parsed = parsed.Normalize()
		slices.SortFunc(refs, func(a, b Reference) int { return strings.Compare(a.String(), b.String()) })
		refs = slices.Compact(refs)
	}
	if len(refs) == 0 {
		refs = nil
	}
	c := &content{kind: TypeAvro, text: parsed.Canonical(), refs: refs, metadata: r.Metadata, rules: r.RuleSet}
	c.hash = hashContent(c.text, c.refs, c.metadata, c.rules)
	return &candidate{q: q, parsed: parsed, content: c}, nil
}

// lookup finds the version of the subject that says the same as c.
func (d *decider) lookup(s *State, c *candidate, f Filter) *version {
	subject := c.q.String()
	for _, id := range s.contextIDs(c.q.context, c.content.hash) {
		var best *version
		for sv, v := range s.contexts[c.q.context].ids[id].versions {
			if sv.Subject == subject && v.in(f) && (best == nil || v.number > best.number) {
				best = v
			}
		}
		if best != nil {
			return best
		}
	}
	for _, v := range slices.Backward(s.versions(subject, f)) {
		if d.sameSchema(s, c, v) {
			return v
		}
	}
	return nil
}

func (s *State) contextIDs(context string, h contentHash) []int {
	if c := s.contexts[context]; c != nil {
		return c.byHash[h]
	}
	return nil
}

// sameSchema says whether c is v in another form: with the references written out, or without the number of its version.
func (d *decider) sameSchema(s *State, c *candidate, v *version) bool {
	metadata := c.content.metadata
	if property(metadata, versionProperty) == "" {
		if property(v.content.metadata, versionProperty) == "" && (len(c.content.refs) > 0 || len(v.content.refs) == 0) {
			return false // a difference that the hash has seen
		}
	}
	h := func(text string, refs []Reference, m *Metadata, r *RuleSet) contentHash {
		return hashContent(text, refs, withoutProperty(m, versionProperty), r)
	}
	if h(c.content.text, c.content.refs, metadata, c.content.rules) == h(v.content.text, v.content.refs, v.content.metadata, v.content.rules) {
		return property(metadata, versionProperty) == ""
	}
	if len(c.content.refs) > 0 || len(v.content.refs) == 0 || v.content.kind != TypeAvro {
		return false
	}
	stored, err := d.stored(s, v)
	return err == nil && h(c.parsed.Resolved(), nil, metadata, c.content.rules) == h(stored.Resolved(), nil, v.content.metadata, v.content.rules)
}

// outcome of a decision: an answer that stands already, or records to write and the version they make.
type registration struct {
	existing *version
	records  []Record
	made     SubjectVersion
	id       int
	hash     contentHash
}

// same answers a registration that changes nothing, without a write; nil if there is something to decide.
func (d *decider) same(s *State, q qualified, r Request, o RegisterOptions) (*version, error) {
	config := s.configInScope(q)
	if strings.TrimSpace(r.Schema) == "" || config.DefaultMetadata != nil || config.OverrideMetadata != nil || config.DefaultRuleSet != nil || config.OverrideRuleSet != nil {
		return nil, nil // the schema is not what will be compared
	}
	c, err := d.candidate(s, q, r, false, o.Normalize || isTrue(config.Normalize))
	if err != nil {
		return nil, err
	}
	v := d.lookup(s, c, Live)
	if v != nil && (r.Version <= 0 || r.Version == v.number) && (r.ID == nil || *r.ID < 0 || *r.ID == v.id) {
		return v, nil
	}
	return nil, nil
}

func isTrue(b *bool) bool { return b != nil && *b }

// register decides a registration. The order of its steps is the API's: it decides which of several errors is answered.
func (d *decider) register(s *State, q qualified, r Request, o RegisterOptions) (*registration, error) {
	if v, err := d.same(s, q, r, o); err != nil || v != nil {
		return &registration{existing: v}, err
	}
	mode, config := s.modeInScope(q), s.configInScope(q)
	given := r.ID != nil && *r.ID >= 0
	switch {
	case readOnly(mode):
		return nil, errReadOnly(q)
	case given && !imports(mode):
		return nil, errorf(42205, "Subject %s in context %s is not in import mode", q, q.contextSubject())
	case !given && mode != ReadWrite:
		return nil, errorf(42205, "Subject %s in context %s is not in read-write mode", q, q.contextSubject())
	}
	all := s.versions(q.String(), WithDeleted)
	next := 1
	if len(all) > 0 {
		next = all[len(all)-1].number + 1
	}
	if r.Version > 0 && r.Version != next && !imports(mode) {
		return nil, errorf(42201, "Version is not one more than previous version")
	}
	if !imports(mode) {
		var err error
		if r, err = merged(r, s.find(q.String(), Latest, Live), config, next); err != nil {
			return nil, err
		}
	}
	c, err := d.candidate(s, q, r, d.strict(config) && !given, !imports(mode) && (o.Normalize || isTrue(config.Normalize)))
	if err != nil {
		return nil, err
	}
	if !imports(mode) {
		if v := d.lookup(s, c, Live); v != nil && (r.Version <= 0 || r.Version == v.number) {
			return &registration{existing: v}, nil
		}
		if !o.Force {
			if err := d.compatible(s, c, config); err != nil {
				return nil, err
			}
		}
	}
	return d.write(s, c, r, next, given)
}

// strict says whether new schemas are validated.
func (d *decider) strict(config Config) bool {
	if config.ValidateNewSchemas != nil {
		return *config.ValidateNewSchemas
	}
	return d.validateNew
}

// merged fills a request from the subject's newest version and the config: metadata and rules that it does not name are kept.
func merged(r Request, previous *version, config Config, next int) (Request, error) {
	metadata, rules := r.Metadata, r.RuleSet
	if strings.TrimSpace(r.Schema) == "" {
		if previous == nil {
			return r, errorf(42201, "Empty schema")
		}
		r.Schema, r.SchemaType, r.References = previous.content.text, previous.content.kind, previous.content.refs
	}
	if previous != nil {
		if metadata == nil {
			metadata = withoutProperty(previous.content.metadata, versionProperty)
			if property(previous.content.metadata, versionProperty) != "" {
				metadata = withProperty(metadata, versionProperty, strconv.Itoa(next))
			}
		}
		if rules == nil {
			rules = previous.content.rules
		}
	}
	r.Metadata = mergeMetadata(mergeMetadata(config.DefaultMetadata, metadata), config.OverrideMetadata)
	r.RuleSet = mergeRules(mergeRules(config.DefaultRuleSet, rules), config.OverrideRuleSet)
	if r.Version > 0 || property(r.Metadata, versionProperty) != "" {
		r.Metadata = withProperty(r.Metadata, versionProperty, strconv.Itoa(next))
	}
	return r, nil
}

// write returns the records that make c a version.
func (d *decider) write(s *State, c *candidate, r Request, next int, given bool) (*registration, error) {
	number := next
	if r.Version > 0 {
		number = r.Version
	}
	ctx := s.contexts[c.q.context]
	id := 1
	if ctx != nil {
		id = ctx.maxID + 1
		if ids := ctx.byHash[c.content.hash]; len(ids) > 0 {
			id = ids[0]
		}
	}
	if given {
		id = *r.ID
		if known := s.idIn(c.q.context, id); known != nil && known.content.hash != c.content.hash {
			return nil, errorf(42205, "Overwrite new schema with id %d in context %s is not permitted.", id, c.q.contextSubject())
		}
	}
	out := &registration{made: SubjectVersion{Subject: c.q.String(), Version: number}, id: id, hash: c.content.hash}
	if c.q.context != defaultContext && (ctx == nil || !ctx.declared) {
		out.records = append(out.records, contextRecord(c.q.context))
	}
	for _, old := range s.versions(c.q.String(), OnlyDeleted) {
		if old.id == id && old.number < number && len(s.referring(old.key(), WithDeleted)) == 0 {
			out.records = append(out.records, s.tombstones(key{kind: keySchema, subject: old.subject, version: old.number})...)
		}
	}
	out.records = append(out.records, schemaRecord(c.q.String(), number, id, c.content, false))
	return out, nil
}

// compatible refuses (409) a candidate that breaks the subject's level.
func (d *decider) compatible(s *State, c *candidate, config Config) error {
	messages, err := d.check(s, c, config, s.versions(c.q.String(), Live))
	if err != nil {
		return err
	}
	if len(messages) == 0 {
		return nil
	}
	return errorf(409, "Schema being registered is incompatible with an earlier schema for subject \"%s\", details: [%s]", c.q, strings.Join(messages, ", "))
}

// check compares c with the versions given, ascending, by the config's level. The messages are empty if it is compatible.
func (d *decider) check(s *State, c *candidate, config Config, versions []*version) ([]string, error) {
	validate := d.validateFields
	if config.ValidateFields != nil {
		validate = *config.ValidateFields
	}
	if group := config.CompatibilityGroup; group != "" {
		mine := property(c.content.metadata, group)
		versions = slices.DeleteFunc(slices.Clone(versions), func(v *version) bool { return property(v.content.metadata, group) != mine })
	}
	level, _ := avro.ParseLevel(config.CompatibilityLevel)
	var messages []string
	if validate {
		messages = reservedFields(c, versions)
	}
	if len(messages) == 0 && level != avro.None && slices.ContainsFunc(versions, func(v *version) bool { return v.content.kind != TypeAvro }) {
		messages = []string{"Incompatible because of different schema type"}
	}
	if len(messages) == 0 {
		var err error
		messages, err = avro.Compatible(c.parsed, level, func(yield func(avro.Previous, error) bool) {
			for _, v := range slices.Backward(versions) {
				parsed, err := d.stored(s, v)
				if !yield(avro.Previous{Version: v.number, Schema: parsed}, err) {
					return
				}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	if len(messages) > 0 {
		messages = append(messages, fmt.Sprintf("{validateFields: '%t', compatibility: '%s'}", validate, level))
	}
	return messages, nil
}

// reservedFields checks that fields once given up do not come back.
func reservedFields(c *candidate, versions []*version) []string {
	list := func(m *Metadata) (out []string) {
		for f := range strings.SplitSeq(property(m, reservedProperty), ",") {
			if f = strings.TrimSpace(f); f != "" {
				out = append(out, f)
			}
		}
		return out
	}
	mine := list(c.content.metadata)
	var out []string
	if len(versions) > 0 {
		for _, f := range list(versions[len(versions)-1].content.metadata) {
			if !slices.Contains(mine, f) {
				out = append(out, fmt.Sprintf("{errorType:'RESERVED_FIELD_REMOVED', description:'The new schema has reserved field %s removed from its metadata which is present in the old schema's metadata.'}", f))
			}
		}
	}
	for _, f := range mine {
		if c.parsed.Root.Kind == avro.Record && c.parsed.Root.Field(f) != nil {
			out = append(out, fmt.Sprintf("{errorType:'FIELD_CONFLICTS_WITH_RESERVED_FIELD', description:'The new schema has field that conflicts with the reserved field %s.'}", f))
		}
	}
	return out
}
