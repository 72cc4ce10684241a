package schemaregistry

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/moldau-io/moldau/schemaregistry/avro"
)

// Register registers a schema and returns the version that holds it, which may have existed.
func (r *Registry) Register(ctx context.Context, subject string, req Request, o RegisterOptions) (Schema, error) {
	if err := validateRules(req.RuleSet); err != nil {
		return Schema{}, err
	}
	if !validSubject(subject) {
		return Schema{}, errInvalidSubject(subject)
	}
	q := qualify(subject)
	var out Schema
	found := false
	if err := r.view(func(s *State) error {
		v, err := r.decide.same(s, q, req, o)
		if v != nil {
			out, found = v.schema(), true
		}
		return err
	}); err != nil || found {
		return out, err
	}
	var made *registration
	err := r.change(ctx, "Register", func(s *State) (_ []Record, err error) {
		if made, err = r.decide.register(s, q, req, o); err != nil {
			return nil, err
		}
		if made.existing != nil {
			out = made.existing.schema()
		}
		return made.records, nil
	}, func(s *State) bool {
		v := s.version(made.made)
		if v == nil || v.id != made.id || v.content.hash != made.hash {
			return false
		}
		out = v.schema()
		return true
	})
	var api *Error
	if errors.As(err, &api) && api.Code == 409 {
		api.Code = r.opts.IncompatibleCode
	}
	return out, err
}

// Lookup returns the version of a subject that says the same as the request.
func (r *Registry) Lookup(subject string, req Request, normalize, deleted bool) (Schema, error) {
	q, f := qualify(subject), Live
	if deleted {
		f = WithDeleted
	}
	var out Schema
	err := r.view(func(s *State) error {
		if !s.has(q.String(), f) {
			return errSubjectNotFound(q.String())
		}
		c, err := r.decide.candidate(s, q, req, false, normalize || isTrue(s.configInScope(q).Normalize))
		if err != nil {
			return err
		}
		v := r.decide.lookup(s, c, f)
		if v == nil {
			return errSchemaNotFound()
		}
		out = v.schema()
		return nil
	})
	return out, err
}

// Check says whether a schema is compatible with a version of a subject (Latest for the newest), or with its history as the
// configured level asks if number is 0. The messages say why not.
func (r *Registry) Check(subject string, number int, req Request, normalize bool) (bool, []string, error) {
	q := qualify(subject)
	var messages []string
	err := r.view(func(s *State) error {
		var versions []*version
		switch number {
		case 0:
			versions = s.versions(q.String(), Live)
		case Latest:
			if v := s.find(q.String(), Latest, Live); v != nil {
				versions = []*version{v}
			}
		default:
			v := s.find(q.String(), number, Live)
			if v == nil {
				return errVersionNotFound(number)
			}
			versions = []*version{v}
		}
		config := s.configInScope(q)
		if strings.TrimSpace(req.Schema) == "" {
			return errorf(42201, "Empty schema")
		}
		c, err := r.decide.candidate(s, q, req, r.decide.strict(config), normalize || isTrue(config.Normalize))
		if err != nil {
			return err
		}
		messages, err = r.decide.check(s, c, config, versions)
		return err
	})
	return len(messages) == 0, messages, err
}

// ByID returns the schema of an id, as the version that subject (or, for "", any subject of the default context) has of it.
func (r *Registry) ByID(id int, subject string) (Schema, error) {
	var out Schema
	err := r.view(func(s *State) error {
		_, v := s.byID(id, subject)
		if v == nil {
			return errSchemaNotFound(id)
		}
		out = v.schema()
		return nil
	})
	return out, err
}

// MaxID returns the highest id of the context of subject.
func (r *Registry) MaxID(subject string) int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if c := r.state.contexts[qualify(subject).context]; c != nil {
		return c.maxID
	}
	return 0
}

// VersionsOfID returns the subjects and versions of an id.
func (r *Registry) VersionsOfID(id int, subject string, f Filter) ([]SubjectVersion, error) {
	var out []SubjectVersion
	err := r.view(func(s *State) error {
		i, _ := s.byID(id, subject)
		if i == nil {
			return errSchemaNotFound(id)
		}
		out = i.versionsOf(f)
		return nil
	})
	return out, err
}

// ByGUID returns the schema of a GUID and its ids, the default context's first.
func (r *Registry) ByGUID(guid string) (Schema, []ContextID, error) {
	var out Schema
	var ids []ContextID
	err := r.view(func(s *State) error {
		for h, c := range s.contents {
			if h.guid() != strings.ToLower(guid) {
				continue
			}
			for _, name := range s.contextNames() {
				for _, id := range s.contextIDs(name, h) {
					ids = append(ids, ContextID{Context: name, ID: id})
				}
			}
			out = Schema{ID: ids[0].ID, GUID: h.guid(), SchemaType: c.kind, References: c.refs, Metadata: c.metadata, RuleSet: c.rules, Schema: c.text}
			return nil
		}
		return errSchemaNotFound(guid)
	})
	return out, ids, err
}

// Subjects returns the subjects within prefix (":*:" for all contexts), sorted.
func (r *Registry) Subjects(prefix string, f Filter) ([]string, error) {
	var out []string
	err := r.view(func(s *State) error {
		out = s.subjectNames(prefix, f)
		return nil
	})
	return out, err
}

// Versions returns the numbers of a subject's versions, ascending. With negative those of deleted versions come too, below 0, and f only says
// which subjects there are.
func (r *Registry) Versions(subject string, f Filter, negative bool) ([]int, error) {
	subject = normalSubject(subject)
	out := []int{}
	err := r.view(func(s *State) error {
		exists := f
		if f == OnlyDeleted {
			exists = WithDeleted
		}
		if !s.has(subject, exists) {
			return errSubjectNotFound(subject)
		}
		if negative {
			f = WithDeleted
		}
		for _, v := range s.versions(subject, f) {
			if negative && v.deleted {
				out = append(out, -v.number)
				continue
			}
			out = append(out, v.number)
		}
		return nil
	})
	return out, err
}

// Version returns a version of a subject, Latest for the newest.
func (r *Registry) Version(subject string, number int, deleted bool) (Schema, error) {
	f := Live
	if deleted {
		f = WithDeleted
	}
	var out Schema
	err := r.view(func(s *State) error {
		v, err := s.get(normalSubject(subject), number, f)
		if err == nil {
			out = v.schema()
		}
		return err
	})
	return out, err
}

// ReferencedBy returns the ids of the schemas within the filter that refer to a version.
func (r *Registry) ReferencedBy(subject string, number int, f Filter) ([]int, error) {
	var out []int
	err := r.view(func(s *State) error {
		v, err := s.get(normalSubject(subject), number, WithDeleted)
		if err == nil {
			out = s.referredBy(v.key(), f)
		}
		return err
	})
	return out, err
}

// WithMetadata returns the newest version of a subject whose metadata has all the properties given.
func (r *Registry) WithMetadata(subject string, properties map[string]string, deleted bool) (Schema, error) {
	subject = normalSubject(subject)
	f := Live
	if deleted {
		f = WithDeleted
	}
	var out Schema
	err := r.view(func(s *State) error {
		list := s.versions(subject, f)
		if len(list) == 0 {
			return errSubjectNotFound(subject)
		}
	next:
		for i := len(list) - 1; i >= 0; i-- {
			for k, v := range properties {
				if got, ok := propertiesOf(list[i].content.metadata)[k]; !ok || got != v {
					continue next
				}
			}
			out = list[i].schema()
			return nil
		}
		return errSchemaNotFound()
	})
	return out, err
}

func propertiesOf(m *Metadata) map[string]string {
	if m == nil {
		return nil
	}
	return m.Properties
}

// Schemas returns the versions of the subjects that the search finds, in order.
func (r *Registry) Schemas(q Search) ([]Schema, error) {
	out := []Schema{}
	err := r.view(func(s *State) error {
		names := s.subjectNames(q.Prefix, q.Filter)
		var aliases map[string][]string
		if q.Aliases {
			aliases = s.aliases(q.Prefix, q.Filter)
			names = append(names, slices.Collect(maps.Keys(aliases))...)
			slices.Sort(names)
			names = slices.Compact(names)
		}
		skip := q.Offset
		for _, name := range names {
			list := s.versions(name, q.Filter)
			if q.LatestOnly {
				list = list[len(list)-1:]
			}
			for _, v := range list {
				if q.RuleType != "" && !hasRuleType(v.content.rules, q.RuleType) {
					continue
				}
				if skip--; skip >= 0 {
					continue
				}
				if len(out) == q.Limit {
					return nil
				}
				sc := v.schema()
				sc.Aliases = aliases[name]
				out = append(out, sc)
			}
		}
		return nil
	})
	return out, err
}

// Format returns a schema's text in another form: "resolved" writes references out, anything else is the stored text.
func (r *Registry) Format(sc Schema, format string) (string, error) {
	if !strings.EqualFold(strings.TrimSpace(format), "resolved") || len(sc.References) == 0 {
		return sc.Schema, nil
	}
	out := sc.Schema
	err := r.view(func(s *State) error {
		parsed, err := formatted(s, sc)
		if err != nil {
			return err
		}
		out = parsed.Resolved()
		return nil
	})
	return out, err
}

// formatted parses a schema that was answered.
func formatted(s *State, sc Schema) (*avro.Schema, error) {
	if err := checkType(sc.SchemaType); err != nil {
		return nil, err
	}
	texts, err := resolve(s, qualify(sc.Subject).context, sc.References, WithDeleted)
	if err != nil {
		return nil, errInvalidSchema(err)
	}
	parsed, err := avro.Parse(sc.Schema, avro.Options{References: texts, MaxBytes: 16 << 20})
	if err != nil {
		return nil, errInvalidSchema(err)
	}
	return parsed, nil
}

// Contexts returns the names of the contexts, the default (".") first.
func (r *Registry) Contexts() ([]string, error) {
	var out []string
	err := r.view(func(s *State) error {
		out = s.contextNames()
		return nil
	})
	return out, err
}

// DeleteContext removes an empty context.
func (r *Registry) DeleteContext(ctx context.Context, context string) error {
	return r.change(ctx, "Delete Context", func(s *State) ([]Record, error) { return r.decide.deleteContext(s, context) }, nil)
}

// DeleteVersion deletes a version of a subject; asked is the version as the client wrote it. It returns the version's number.
func (r *Registry) DeleteVersion(ctx context.Context, subject string, number int, asked string, permanent bool) (int, error) {
	var out int
	err := r.change(ctx, "Delete Schema Version", func(s *State) (records []Record, err error) {
		out, records, err = r.decide.deleteVersion(s, qualify(subject), number, asked, permanent)
		return records, err
	}, nil)
	return out, err
}

// DeleteSubject deletes a subject and returns the versions that it deleted.
func (r *Registry) DeleteSubject(ctx context.Context, subject string, permanent bool) ([]int, error) {
	var out []int
	err := r.change(ctx, "Delete Subject", func(s *State) (records []Record, err error) {
		out, records, err = r.decide.deleteSubject(s, qualify(subject), permanent)
		return records, err
	}, nil)
	return out, err
}

// Alias returns the subject that an alias stands for, or the subject itself.
func (r *Registry) Alias(subject string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if alias := r.state.configs[normalSubject(subject)].Alias; alias != "" && subject != "" {
		return qualify(subject).in(alias).String()
	}
	return subject
}

// Config returns the configuration of a subject; of the registry for "". What is not configured at the subject is taken from the
// scopes around it if inScope, else it is an error if nothing is.
func (r *Registry) Config(subject string, inScope bool) (Config, error) {
	var out Config
	err := r.view(func(s *State) error {
		scope := scopeOf(subject)
		c, ok := s.configs[scope]
		switch {
		case inScope:
			out = s.configInScope(qualify(scope))
		case !ok && scope != "" && qualify(scope).context != globalContext:
			return errorf(40408, "Subject '%s' does not have subject-level compatibility configured", scope)
		default:
			out = inherit(c, Config{CompatibilityLevel: s.configInScope(qualify(scope)).CompatibilityLevel})
		}
		return nil
	})
	return out, err
}

// SetConfig merges the members of a request's body into the configuration of a subject, and returns what that makes.
func (r *Registry) SetConfig(ctx context.Context, subject string, body map[string]json.RawMessage) (Config, error) {
	var out Config
	err := r.change(ctx, "Update config", func(s *State) (records []Record, err error) {
		out, records, err = r.decide.setConfig(s, subject, body)
		return records, err
	}, nil)
	return out, err
}

// DeleteConfig removes the configuration of a subject, and returns what it was.
func (r *Registry) DeleteConfig(ctx context.Context, subject string) (Config, error) {
	var out Config
	err := r.change(ctx, "Delete config", func(s *State) (records []Record, err error) {
		out, records, err = r.decide.deleteConfig(s, subject)
		return records, err
	}, nil)
	return out, err
}

// Mode returns the mode of a subject; of the registry for "". See Config for inScope.
func (r *Registry) Mode(subject string, inScope bool) (Mode, error) {
	var out Mode
	err := r.view(func(s *State) error {
		scope := scopeOf(subject)
		m, ok := s.modes[scope]
		switch {
		case inScope:
			out = s.modeInScope(qualify(scope))
		case !ok && (scope == "" || qualify(scope).context == globalContext):
			out = s.mode
		case !ok:
			return errorf(40409, "Subject '%s' does not have subject-level mode configured", scope)
		default:
			out = m
		}
		return nil
	})
	return out, err
}

// SetMode sets the mode of a subject, "" takes it away. force lets IMPORT be entered although there are schemas.
func (r *Registry) SetMode(ctx context.Context, subject, mode string, force bool) error {
	return r.change(ctx, "Update mode", func(s *State) ([]Record, error) { return r.decide.setMode(s, subject, mode, force) }, nil)
}

// DeleteMode removes the mode of a subject, and returns what it was.
func (r *Registry) DeleteMode(ctx context.Context, subject string, recursive bool) (Mode, error) {
	var out Mode
	err := r.change(ctx, "Delete mode", func(s *State) (records []Record, err error) {
		out, records, err = r.decide.deleteMode(s, subject, recursive)
		return records, err
	}, nil)
	return out, err
}
