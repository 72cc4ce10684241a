package plugins

import (
	"fmt"
	"sort"
	"strings"

	"github.com/moldau-io/moldau/plugins/configdef"
)

// Spec describes a converter, header converter, transform or predicate.
type Spec[T any] struct {
	Class   string // the Java name where there is one, e.g. org.apache.kafka.connect.transforms.InsertField$Value
	Aliases []string
	Version string
	Config  *configdef.Def
	New     func() T
}

// Registry holds the plugins of a worker. It is filled before use and read-only afterwards.
type Registry struct {
	connectors       []*ConnectorSpec
	converters       []*Spec[Converter]
	headerConverters []*Spec[HeaderConverter]
	transforms       []*Spec[Transform]
	predicates       []*Spec[Predicate]
	byName           map[string]any // kind + "\x00" + name -> spec
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{byName: map[string]any{}} }

func (r *Registry) add(kind, class string, aliases []string, spec any) {
	names := append([]string{class}, aliases...)
	for _, n := range names {
		k := kind + "\x00" + n
		if _, dup := r.byName[k]; dup {
			panic(fmt.Sprintf("plugins: %s %q is registered twice", kind, n))
		}
		r.byName[k] = spec
	}
}

// AddConnector registers a connector. It panics when a name is taken: a bug of the program that puts the registry together.
func (r *Registry) AddConnector(s *ConnectorSpec) {
	r.add("connector", s.Class, s.Aliases, s)
	r.connectors = append(r.connectors, s)
}

// AddConverter registers a converter.
func (r *Registry) AddConverter(s *Spec[Converter]) {
	r.add("converter", s.Class, s.Aliases, s)
	r.converters = append(r.converters, s)
}

// AddHeaderConverter registers a header converter.
func (r *Registry) AddHeaderConverter(s *Spec[HeaderConverter]) {
	r.add("header_converter", s.Class, s.Aliases, s)
	r.headerConverters = append(r.headerConverters, s)
}

// AddTransform registers a transform.
func (r *Registry) AddTransform(s *Spec[Transform]) {
	r.add("transformation", s.Class, s.Aliases, s)
	r.transforms = append(r.transforms, s)
}

// AddPredicate registers a predicate.
func (r *Registry) AddPredicate(s *Spec[Predicate]) {
	r.add("predicate", s.Class, s.Aliases, s)
	r.predicates = append(r.predicates, s)
}

// Connector finds a connector by class, simple class name or alias.
func (r *Registry) Connector(name string) (*ConnectorSpec, bool) {
	s, ok := r.byName["connector\x00"+strings.TrimSpace(name)].(*ConnectorSpec)
	return s, ok
}

// Converter finds a converter.
func (r *Registry) Converter(name string) (*Spec[Converter], bool) {
	s, ok := r.byName["converter\x00"+strings.TrimSpace(name)].(*Spec[Converter])
	return s, ok
}

// HeaderConverter finds a header converter.
func (r *Registry) HeaderConverter(name string) (*Spec[HeaderConverter], bool) {
	s, ok := r.byName["header_converter\x00"+strings.TrimSpace(name)].(*Spec[HeaderConverter])
	return s, ok
}

// Transform finds a transform.
func (r *Registry) Transform(name string) (*Spec[Transform], bool) {
	s, ok := r.byName["transformation\x00"+strings.TrimSpace(name)].(*Spec[Transform])
	return s, ok
}

// Predicate finds a predicate.
func (r *Registry) Predicate(name string) (*Spec[Predicate], bool) {
	s, ok := r.byName["predicate\x00"+strings.TrimSpace(name)].(*Spec[Predicate])
	return s, ok
}

// Info is one row of GET /connector-plugins.
type Info struct {
	Class   string `json:"class"`
	Type    Kind   `json:"type"`
	Version string `json:"version,omitempty"`
}

// List returns all plugins, or only connectors, sorted by type and class.
func (r *Registry) List(connectorsOnly bool) []Info {
	out := make([]Info, 0, len(r.byName))
	for _, s := range r.connectors {
		out = append(out, Info{s.Class, s.Kind, s.Version})
	}
	if !connectorsOnly {
		for _, s := range r.converters {
			out = append(out, Info{s.Class, KindConverter, s.Version})
		}
		for _, s := range r.headerConverters {
			out = append(out, Info{s.Class, KindHeaderConverter, s.Version})
		}
		for _, s := range r.transforms {
			out = append(out, Info{s.Class, KindTransformation, s.Version})
		}
		for _, s := range r.predicates {
			out = append(out, Info{s.Class, KindPredicate, s.Version})
		}
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Type != out[j].Type {
			return out[i].Type < out[j].Type
		}
		return out[i].Class < out[j].Class
	})
	return out
}
