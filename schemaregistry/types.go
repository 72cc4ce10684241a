package schemaregistry

import (
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/moldau-io/moldau/schemaregistry/api"
	"github.com/moldau-io/moldau/schemaregistry/avro"
)

// The data of the API, under the names that this package uses.
type (
	Reference       = api.Reference
	Metadata        = api.Metadata
	Rule            = api.Rule
	RuleSet         = api.RuleSet
	Schema          = api.Schema
	Request         = api.Request
	RegisterOptions = api.RegisterOptions
	SubjectVersion  = api.SubjectVersion
	ContextID       = api.ContextID
	Config          = api.Config
	Mode            = api.Mode
	Filter          = api.Filter
	Search          = api.Search
	Error           = api.Error
	NotLeaderError  = api.NotLeaderError
)

// Values of the API.
const (
	TypeAvro         = api.TypeAvro
	Latest           = api.Latest
	Live             = api.Live
	WithDeleted      = api.WithDeleted
	OnlyDeleted      = api.OnlyDeleted
	ReadWrite        = api.ReadWrite
	ReadOnly         = api.ReadOnly
	ReadOnlyOverride = api.ReadOnlyOverride
	Import           = api.Import
	Forward          = api.Forward
)

func parseMode(s string) (Mode, bool) {
	switch m := Mode(strings.ToUpper(s)); m {
	case ReadWrite, ReadOnly, ReadOnlyOverride, Import, Forward:
		return m, true
	}
	return "", false
}

func readOnly(m Mode) bool { return m == ReadOnly || m == ReadOnlyOverride }
func imports(m Mode) bool  { return m == Import || m == Forward }

// inherit returns c with what it does not configure taken from outer.
func inherit(c, outer Config) Config {
	pick := func(mine *string, theirs string) {
		if *mine == "" {
			*mine = theirs
		}
	}
	pick(&c.CompatibilityLevel, outer.CompatibilityLevel)
	pick(&c.CompatibilityPol, outer.CompatibilityPol)
	pick(&c.CompatibilityGroup, outer.CompatibilityGroup)
	flag := func(mine **bool, theirs *bool) {
		if *mine == nil {
			*mine = theirs
		}
	}
	flag(&c.Normalize, outer.Normalize)
	flag(&c.ValidateFields, outer.ValidateFields)
	flag(&c.ValidateNewSchemas, outer.ValidateNewSchemas)
	flag(&c.ValidateRules, outer.ValidateRules)
	if c.DefaultMetadata == nil {
		c.DefaultMetadata = outer.DefaultMetadata
	}
	if c.OverrideMetadata == nil {
		c.OverrideMetadata = outer.OverrideMetadata
	}
	if c.DefaultRuleSet == nil {
		c.DefaultRuleSet = outer.DefaultRuleSet
	}
	if c.OverrideRuleSet == nil {
		c.OverrideRuleSet = outer.OverrideRuleSet
	}
	return c
}

// updateConfig applies the body of a PUT to c: members that are absent stay, null clears. What c points to is the state's: it is replaced,
// never written to.
func updateConfig(c Config, body map[string]json.RawMessage) (Config, error) {
	targets := map[string]func(json.RawMessage) error{"alias": member(&c.Alias), "aliasForDeks": member(&c.AliasForDeks), "normalize": member(&c.Normalize),
		"validateFields": member(&c.ValidateFields), "validateNewSchemas": member(&c.ValidateNewSchemas), "validateRules": member(&c.ValidateRules),
		"compatibility": member(&c.CompatibilityLevel), "compatibilityPolicy": member(&c.CompatibilityPol), "compatibilityGroup": member(&c.CompatibilityGroup),
		"defaultMetadata": member(&c.DefaultMetadata), "overrideMetadata": member(&c.OverrideMetadata), "defaultRuleSet": member(&c.DefaultRuleSet),
		"overrideRuleSet": member(&c.OverrideRuleSet)}
	for _, name := range slices.Sorted(maps.Keys(body)) {
		set := targets[name]
		if set == nil {
			continue
		}
		if err := set(body[name]); err != nil {
			var kind *json.UnmarshalTypeError
			if errors.As(err, &kind) {
				return c, errorf(422, "%s cannot be of type %s", strings.TrimSuffix(name+"."+kind.Field, "."), kind.Value)
			}
			return c, errorf(422, "%s: %v", name, err)
		}
	}
	if c.CompatibilityLevel != "" {
		level, ok := avro.ParseLevel(c.CompatibilityLevel)
		if !ok {
			return c, errInvalidLevel()
		}
		c.CompatibilityLevel = string(level)
	}
	switch c.CompatibilityPol = strings.ToUpper(c.CompatibilityPol); c.CompatibilityPol {
	case "", "STRICT", "LENIENT", "LOGICAL":
	default:
		return c, errorf(42203, "Invalid compatibility policy. Valid values are strict, lenient and logical")
	}
	for _, rules := range []*RuleSet{c.DefaultRuleSet, c.OverrideRuleSet} {
		if err := validateRules(rules); err != nil {
			return c, err
		}
	}
	return c, nil
}

// member sets a member of a configuration from its JSON.
func member[T any](to *T) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		var v T
		err := json.Unmarshal(raw, &v)
		if err == nil {
			*to = v
		}
		return err
	}
}

// mergeMetadata returns m with what over has, over winning. Both may be nil.
func mergeMetadata(m, over *Metadata) *Metadata {
	if m == nil {
		return over
	}
	if over == nil {
		return m
	}
	out := &Metadata{Tags: map[string][]string{}, Properties: map[string]string{}}
	for _, from := range []*Metadata{m, over} {
		for path, tags := range from.Tags {
			out.Tags[path] = union(out.Tags[path], tags)
		}
		maps.Copy(out.Properties, from.Properties)
		out.Sensitive = union(out.Sensitive, from.Sensitive)
	}
	return tidy(out)
}

func union(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// tidy makes equal metadata equal: empty members are nil.
func tidy(m *Metadata) *Metadata {
	if len(m.Tags) == 0 {
		m.Tags = nil
	}
	if len(m.Properties) == 0 {
		m.Properties = nil
	}
	if len(m.Sensitive) == 0 {
		m.Sensitive = nil
	}
	return m
}

// withProperty returns a copy of m with a property set.
func withProperty(m *Metadata, name, value string) *Metadata {
	return mergeMetadata(m, &Metadata{Properties: map[string]string{name: value}})
}

// withoutProperty returns m without a property, nil if nothing is left.
func withoutProperty(m *Metadata, name string) *Metadata {
	if m == nil {
		return nil
	}
	c := *m
	c.Properties = maps.Clone(m.Properties)
	delete(c.Properties, name)
	if tidy(&c); c.Tags == nil && c.Properties == nil && c.Sensitive == nil {
		return nil
	}
	return &c
}

func property(m *Metadata, name string) string {
	if m == nil {
		return ""
	}
	return m.Properties[name]
}

// mergeRules returns r with the rules of over, which replace those of the same name.
func mergeRules(r, over *RuleSet) *RuleSet {
	if r == nil {
		return over
	}
	if over == nil {
		return r
	}
	rules := func(a, b []Rule) []Rule {
		var out []Rule
		for _, rule := range a {
			if !slices.ContainsFunc(b, func(o Rule) bool { return o.Name == rule.Name }) {
				out = append(out, rule)
			}
		}
		return append(out, b...)
	}
	out := &RuleSet{MigrationRules: rules(r.MigrationRules, over.MigrationRules), DomainRules: rules(r.DomainRules, over.DomainRules),
		EncodingRules: rules(r.EncodingRules, over.EncodingRules), EnableAt: r.EnableAt}
	if over.EnableAt != "" {
		out.EnableAt = over.EnableAt
	}
	return out
}

var ruleName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// validateRules refuses (42210) rules that no client could execute. A nil set is valid.
func validateRules(r *RuleSet) error {
	if r == nil {
		return nil
	}
	check := func(rules []Rule, both string, modes ...string) error {
		seen := map[string]bool{}
		for _, rule := range rules {
			switch {
			case rule.Name == "":
				return errorf(42210, "Missing rule name")
			case len(rule.Name) > 256 || !ruleName.MatchString(rule.Name):
				return errorf(42210, "Illegal rule name '%s'", rule.Name)
			case seen[rule.Name]:
				return errorf(42210, "Found rule with duplicate name '%s'", rule.Name)
			case rule.Type == "":
				return errorf(42210, "Missing rule type")
			case rule.Mode != "" && !slices.Contains(modes, strings.ToUpper(rule.Mode)):
				return errorf(42210, "Rule '%s' has mode %s, not one of %s", rule.Name, rule.Mode, strings.Join(modes, ", "))
			case rule.Kind != "" && strings.ToUpper(rule.Kind) != "TRANSFORM" && strings.ToUpper(rule.Kind) != "CONDITION":
				return errorf(42210, "Rule '%s' has kind %s, not TRANSFORM or CONDITION", rule.Name, rule.Kind)
			case strings.ToUpper(rule.Mode) != both && (strings.Contains(rule.OnSuccess, ",") || strings.Contains(rule.OnFailure, ",")):
				return errorf(42210, "Multiple actions of rule '%s' are valid only with %s", rule.Name, both)
			}
			seen[rule.Name] = true
		}
		return nil
	}
	if err := check(r.MigrationRules, "UPDOWN", "UPGRADE", "DOWNGRADE", "UPDOWN"); err != nil {
		return err
	}
	if err := check(r.DomainRules, "WRITEREAD", "WRITE", "READ", "WRITEREAD"); err != nil {
		return err
	}
	return check(r.EncodingRules, "WRITEREAD", "WRITE", "READ", "WRITEREAD")
}
