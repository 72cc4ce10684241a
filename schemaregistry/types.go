package schemaregistry

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/moldau-io/moldau/schemaregistry/avro"
)

// TypeAvro is the only schema type so far.
const TypeAvro = "AVRO"

// Reference names another schema that a schema's text uses.
type Reference struct {
	// Name is how the text names it; for Avro the full name of a type.
	Name    string `json:"name"`
	Subject string `json:"subject"`
	// Version of the subject; -1 asks for the latest and is replaced by its number when the schema is registered.
	Version int `json:"version"`
}

// Metadata is a data contract's description of a schema.
type Metadata struct {
	Tags       map[string][]string `json:"tags,omitempty"`
	Properties map[string]string   `json:"properties,omitempty"`
	Sensitive  []string            `json:"sensitive,omitempty"`
}

// Rule is a data contract's rule. Clients execute rules; the registry stores them.
type Rule struct {
	Name      string            `json:"name,omitempty"`
	Doc       string            `json:"doc,omitempty"`
	Kind      string            `json:"kind,omitempty"`
	Mode      string            `json:"mode,omitempty"`
	Type      string            `json:"type,omitempty"`
	Tags      []string          `json:"tags,omitempty"`
	Params    map[string]string `json:"params,omitempty"`
	Expr      string            `json:"expr,omitempty"`
	OnSuccess string            `json:"onSuccess,omitempty"`
	OnFailure string            `json:"onFailure,omitempty"`
	Disabled  bool              `json:"disabled,omitempty"`
}

// RuleSet is the rules of a schema.
type RuleSet struct {
	MigrationRules []Rule `json:"migrationRules,omitempty"`
	DomainRules    []Rule `json:"domainRules,omitempty"`
	EncodingRules  []Rule `json:"encodingRules,omitempty"`
	EnableAt       string `json:"enableAt,omitempty"`
}

// Schema is a schema as requests carry and answers return it.
type Schema struct {
	Subject    string      `json:"subject,omitempty"`
	Version    int         `json:"version,omitempty"`
	ID         int         `json:"id"`
	GUID       string      `json:"guid,omitempty"`
	SchemaType string      `json:"schemaType,omitempty"`
	References []Reference `json:"references,omitempty"`
	Metadata   *Metadata   `json:"metadata,omitempty"`
	RuleSet    *RuleSet    `json:"ruleSet,omitempty"`
	Schema     string      `json:"schema,omitempty"`
	// Timestamp is when the version was written, in milliseconds since 1970.
	Timestamp int64 `json:"ts,omitempty"`
	Deleted   bool  `json:"deleted,omitempty"`
}

// Request is a schema to register, look up or check.
type Request struct {
	// Version 0 and -1 mean not given.
	Version int `json:"version"`
	// ID is nil when not given; giving one needs IMPORT mode.
	ID         *int        `json:"id"`
	SchemaType string      `json:"schemaType"`
	References []Reference `json:"references"`
	Metadata   *Metadata   `json:"metadata"`
	RuleSet    *RuleSet    `json:"ruleSet"`
	Schema     string      `json:"schema"`
}

// SubjectVersion names a version of a subject.
type SubjectVersion struct {
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

// Mode says what may be done with a subject.
type Mode string

// The modes. ReadOnlyOverride is deprecated and means ReadOnly; Forward is Import for a registry that mirrors another.
const (
	ReadWrite        Mode = "READWRITE"
	ReadOnly         Mode = "READONLY"
	ReadOnlyOverride Mode = "READONLY_OVERRIDE"
	Import           Mode = "IMPORT"
	Forward          Mode = "FORWARD"
)

func parseMode(s string) (Mode, bool) {
	switch m := Mode(strings.ToUpper(s)); m {
	case ReadWrite, ReadOnly, ReadOnlyOverride, Import, Forward:
		return m, true
	}
	return "", false
}

func (m Mode) readOnly() bool { return m == ReadOnly || m == ReadOnlyOverride }
func (m Mode) imports() bool  { return m == Import || m == Forward }

// Config is the configuration of a subject, of a context or of the registry. Nil and empty members are not configured.
type Config struct {
	Alias              string    `json:"alias,omitempty"`
	AliasForDeks       string    `json:"aliasForDeks,omitempty"`
	Normalize          *bool     `json:"normalize,omitempty"`
	ValidateFields     *bool     `json:"validateFields,omitempty"`
	ValidateNewSchemas *bool     `json:"validateNewSchemas,omitempty"`
	ValidateRules      *bool     `json:"validateRules,omitempty"`
	CompatibilityLevel string    `json:"compatibilityLevel,omitempty"`
	CompatibilityPol   string    `json:"compatibilityPolicy,omitempty"`
	CompatibilityGroup string    `json:"compatibilityGroup,omitempty"`
	DefaultMetadata    *Metadata `json:"defaultMetadata,omitempty"`
	OverrideMetadata   *Metadata `json:"overrideMetadata,omitempty"`
	DefaultRuleSet     *RuleSet  `json:"defaultRuleSet,omitempty"`
	OverrideRuleSet    *RuleSet  `json:"overrideRuleSet,omitempty"`
}

// under returns c with what it does not configure taken from outer.
func (c Config) under(outer Config) Config {
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

// update applies the body of a PUT: members that are absent stay, null clears.
func (c Config) update(body map[string]json.RawMessage) (Config, error) {
	targets := map[string]any{"alias": &c.Alias, "aliasForDeks": &c.AliasForDeks, "normalize": &c.Normalize, "validateFields": &c.ValidateFields,
		"validateNewSchemas": &c.ValidateNewSchemas, "validateRules": &c.ValidateRules, "compatibility": &c.CompatibilityLevel,
		"compatibilityPolicy": &c.CompatibilityPol, "compatibilityGroup": &c.CompatibilityGroup, "defaultMetadata": &c.DefaultMetadata,
		"overrideMetadata": &c.OverrideMetadata, "defaultRuleSet": &c.DefaultRuleSet, "overrideRuleSet": &c.OverrideRuleSet}
	for name, raw := range body {
		target := targets[name]
		if target == nil {
			continue
		}
		if string(raw) == "null" {
			if s, ok := target.(*string); ok {
				*s = ""
				continue
			}
		}
		if err := json.Unmarshal(raw, target); err != nil {
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
		if err := rules.validate(); err != nil {
			return c, err
		}
	}
	return c, nil
}

// merge returns m with what over has, over winning. Both may be nil.
func (m *Metadata) merge(over *Metadata) *Metadata {
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
	return out.tidy()
}

func union(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// tidy makes equal metadata equal: empty members are nil.
func (m *Metadata) tidy() *Metadata {
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

// with returns a copy of m with a property set.
func (m *Metadata) with(name, value string) *Metadata {
	return m.merge(&Metadata{Properties: map[string]string{name: value}})
}

// without returns m without a property, nil if nothing is left.
func (m *Metadata) without(name string) *Metadata {
	if m == nil {
		return nil
	}
	c := *m
	c.Properties = maps.Clone(m.Properties)
	delete(c.Properties, name)
	if c.tidy(); c.Tags == nil && c.Properties == nil && c.Sensitive == nil {
		return nil
	}
	return &c
}

func (m *Metadata) property(name string) string {
	if m == nil {
		return ""
	}
	return m.Properties[name]
}

// merge returns r with the rules of over, which replace those of the same name.
func (r *RuleSet) merge(over *RuleSet) *RuleSet {
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

// validate refuses (42210) rules that no client could execute. A nil set is valid.
func (r *RuleSet) validate() error {
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

// String prints the reference as error texts do.
func (r Reference) String() string {
	return fmt.Sprintf("{name='%s', subject='%s', version=%d}", r.Name, r.Subject, r.Version)
}
