package file

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/moldau-io/moldau/core/config"
	"github.com/moldau-io/moldau/core/config/properties"
)

// maxFile bounds the size of a settings file, in bytes.
const maxFile = 1 << 20

// Section is a section that the settings may have.
type Section struct {
	// Name is its name: broker, registry, connect, admin.
	Name string
	// Keys are the keys it knows.
	Keys []string
	// Known accepts keys beside Keys, those with a free prefix for example; nil accepts none.
	Known func(key string) bool
}

func (s *Section) knows(key string) bool {
	return slices.Contains(s.Keys, key) || s.Known != nil && s.Known(key)
}

// Options say what to read.
type Options struct {
	// Path is the file's name; "" for none.
	Path string
	// Properties are SECTION=PATH pairs: files in Java's format of properties, each with the keys of one section as Kafka's own servers read them.
	Properties []string
	// Environ are NAME=VALUE pairs, as from os.Environ.
	Environ []string
	// Set are SECTION.KEY=VALUE pairs, as from --set; of two for one key the last counts.
	Set []string
	// Sections are the sections there are.
	Sections []Section
}

// Settings are values by section and key.
type Settings struct {
	values map[string]map[string]Value
}

// Value is a value with where it was set.
type Value struct {
	Text string
	// Origin is for people: "moldau.yaml:12", "environment variable MOLDAU_BROKER_NODE_ID" or "--set".
	Origin string
}

// Section returns the section's values as a new map, empty when there are none.
func (s *Settings) Section(name string) map[string]string {
	out := make(map[string]string, len(s.values[name]))
	for k, v := range s.values[name] {
		out[k] = v.Text
	}
	return out
}

// Lookup returns one value.
func (s *Settings) Lookup(section, key string) (Value, bool) {
	v, ok := s.values[section][key]
	return v, ok
}

// Keys returns the keys that are set in the section, sorted.
func (s *Settings) Keys(section string) []string {
	return slices.Sorted(maps.Keys(s.values[section]))
}

func (s *Settings) set(section, key string, v Value) {
	if s.values[section] == nil {
		s.values[section] = map[string]Value{}
	}
	s.values[section][key] = v
}

// Load reads the settings. The error names everything that is wrong.
func Load(o Options) (*Settings, error) {
	s := &Settings{values: map[string]map[string]Value{}}
	var errs []error
	if o.Path != "" {
		b, err := read(o.Path)
		if err != nil {
			return nil, err
		}
		errs = append(errs, s.yaml(o.Path, b, o.Sections))
	}
	for _, p := range o.Properties {
		errs = append(errs, s.properties(p, o.Sections))
	}
	errs = append(errs, s.environment(o.Environ, o.Sections), s.flags(o.Set, o.Sections))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read settings %s: %w", path, err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("read settings %s: the file is larger than %d bytes", path, maxFile)
	}
	return b, nil
}

func section(sections []Section, name string) *Section {
	for i := range sections {
		if sections[i].Name == name {
			return &sections[i]
		}
	}
	return nil
}

func unknownSection(sections []Section, name string) string {
	var names []string
	for _, s := range sections {
		names = append(names, s.Name)
	}
	msg := fmt.Sprintf("unknown section %q", name)
	if best := config.Suggest(name, names); best != "" {
		return msg + fmt.Sprintf(", did you mean %q?", best)
	}
	return msg + "; the sections are " + strings.Join(names, ", ")
}

func unknownKey(s *Section, sections []Section, key string) string {
	msg := fmt.Sprintf("unknown key %q in section %q", key, s.Name)
	if best := config.Suggest(key, s.Keys); best != "" {
		return msg + fmt.Sprintf(", did you mean %q?", best)
	}
	for i := range sections {
		if sections[i].Name != s.Name && sections[i].knows(key) {
			return msg + fmt.Sprintf("; it belongs to section %q", sections[i].Name)
		}
	}
	return msg
}

// properties reads a file of one section, given as SECTION=PATH. Of several values of a key the last one counts, as in Java; what another file has
// set is an error.
func (s *Settings) properties(pair string, sections []Section) error {
	name, path, ok := strings.Cut(pair, "=")
	if !ok || path == "" {
		return fmt.Errorf("--properties %s: want SECTION=FILE, as in broker=server.properties", pair)
	}
	known := section(sections, name)
	if known == nil {
		return fmt.Errorf("--properties %s: %s", pair, unknownSection(sections, name))
	}
	b, err := read(path)
	if err != nil {
		return err
	}
	entries, err := properties.Entries(string(b))
	if err != nil {
		return fmt.Errorf("read settings %s: %w", path, err)
	}
	var errs []error
	mine := map[string]bool{}
	for _, e := range entries {
		origin := fmt.Sprintf("%s:%d", path, e.Line)
		before, twice := s.Lookup(name, e.Key)
		switch {
		case !known.knows(e.Key):
			errs = append(errs, fmt.Errorf("%s: %s", origin, unknownKey(known, sections, e.Key)))
		case twice && !mine[e.Key]:
			errs = append(errs, fmt.Errorf("%s: %s is set in %s too", origin, e.Key, before.Origin))
		default:
			mine[e.Key] = true
			s.set(name, e.Key, Value{Text: e.Value, Origin: origin})
		}
	}
	return errors.Join(errs...)
}

// flags reads --set pairs.
func (s *Settings) flags(pairs []string, sections []Section) error {
	var errs []error
	for _, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		sec, key, dot := strings.Cut(strings.TrimSpace(name), ".")
		if !ok || !dot || sec == "" || key == "" {
			errs = append(errs, fmt.Errorf("--set %s: want SECTION.KEY=VALUE, as in broker.num.partitions=4", p))
			continue
		}
		known := section(sections, sec)
		switch {
		case known == nil:
			errs = append(errs, fmt.Errorf("--set %s: %s", name, unknownSection(sections, sec)))
		case !known.knows(key):
			errs = append(errs, fmt.Errorf("--set %s: %s", name, unknownKey(known, sections, key)))
		default:
			s.set(sec, key, Value{Text: value, Origin: "--set"})
		}
	}
	return errors.Join(errs...)
}

// EnvironmentName is the name of the environment variable that sets a key.
func EnvironmentName(section, key string) string {
	return "MOLDAU_" + strings.ToUpper(section) + "_" + environmentKey(key)
}

func environmentKey(key string) string {
	return strings.ToUpper(strings.NewReplacer("-", "___", "_", "__", ".", "_").Replace(key))
}

// keyOf turns the part of a variable's name behind the section into a key. Lower case is assumed.
func keyOf(name string) string {
	return strings.ToLower(strings.NewReplacer("___", "-", "__", "_", "_", ".").Replace(name))
}

func (s *Settings) environment(environ []string, sections []Section) error {
	var errs []error
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		rest, ok := strings.CutPrefix(name, "MOLDAU_")
		if !ok {
			continue
		}
		for i := range sections {
			sec := &sections[i]
			envKey, ok := strings.CutPrefix(rest, strings.ToUpper(sec.Name)+"_")
			if !ok || envKey == "" {
				continue
			}
			key := keyOf(envKey)
			for _, k := range sec.Keys {
				if environmentKey(k) == envKey { // keys with capitals
					key = k
				}
			}
			if !sec.knows(key) {
				errs = append(errs, fmt.Errorf("environment variable %s: %s", name, unknownKey(sec, sections, key)))
				continue
			}
			s.set(sec.Name, key, Value{Text: value, Origin: "environment variable " + name})
		}
	}
	return errors.Join(errs...)
}
