// Package api has the data of the schema registry's API: what requests carry, answers return and errors say. The registry, its HTTP
// edge and its users share it and nothing else.
package api

import (
	"fmt"
	"strconv"
	"strings"
)

// TypeAvro is the only schema type so far.
const TypeAvro = "AVRO"

// Latest is the version that stands for the newest.
const Latest = -1

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
	// Tags are what a client asked for of the tags that are written into the schema.
	Tags []SchemaTags `json:"schemaTags,omitempty"`
	// Aliases are the subjects that stand for this one, of those that a client asked for.
	Aliases []string `json:"aliases,omitempty"`
}

// SchemaTags are the tags of one part of a schema.
type SchemaTags struct {
	Entity SchemaEntity `json:"schemaEntity"`
	Tags   []string     `json:"tags"`
}

// SchemaEntity names a part of a schema: a record by its full name, or a field by its record's full name and its own.
type SchemaEntity struct {
	Path string `json:"entityPath"`
	Type string `json:"entityType"` // EntityRecord or EntityField
}

// The types of a [SchemaEntity].
const (
	EntityRecord = "sr_record"
	EntityField  = "sr_field"
)

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

// Search says which schemas to list.
type Search struct {
	// Prefix is what the subjects begin with. Before it comes their context, or ":*:" for all.
	Prefix string
	Filter Filter
	// LatestOnly leaves out all versions of a subject but the last.
	LatestOnly bool
	// Aliases adds the schemas of the subjects that are stood for by aliases beginning with Prefix.
	Aliases bool
	// RuleType, if set, is the type of a rule that the schemas must have.
	RuleType      string
	Offset, Limit int
}

// SubjectVersion names a version of a subject.
type SubjectVersion struct {
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

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

// String prints the reference as error texts do.
func (r Reference) String() string {
	return fmt.Sprintf("{name='%s', subject='%s', version=%d}", r.Name, r.Subject, r.Version)
}

// ContextID is an id in a context.
type ContextID struct {
	Context string `json:"context"`
	ID      int    `json:"id"`
}

// RegisterOptions are the query parameters of a registration.
type RegisterOptions struct {
	// Normalize sorts what has no order before the schema is compared and stored.
	Normalize bool
	// Force skips the compatibility check.
	Force bool
}

// Filter says which versions a question is about.
type Filter int

// The filters.
const (
	Live Filter = iota
	WithDeleted
	OnlyDeleted
)

// ParseVersion reads a version of a path: 1 to 2^31-1, "latest" in any case, or -1, which is the same.
func ParseVersion(s string) (int, error) {
	s = strings.TrimSpace(s)
	if strings.EqualFold(s, "latest") {
		return Latest, nil
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || (n < 1 && n != Latest) {
		return 0, &Error{42202, fmt.Sprintf("The specified version '%s' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \"latest\"", s)}
	}
	return int(n), nil
}

// Error is an answer that refuses a request. Its text and code are part of the API: clients compare them.
type Error struct {
	// Code is the error code, such as 40401. Its first three digits are the HTTP status.
	Code    int
	Message string
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Status returns the HTTP status that goes with the code.
func (e *Error) Status() int {
	if e.Code >= 1000 {
		return e.Code / 100
	}
	return e.Code
}

// NotLeaderError says that another node must decide this write.
type NotLeaderError struct {
	// URL of the leader's registry, "" if none is known.
	URL string
}

// Error implements error.
func (e *NotLeaderError) Error() string {
	if e.URL == "" {
		return "Leader not known."
	}
	return "the leader is " + e.URL
}
