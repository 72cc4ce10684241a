package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"gopkg.in/yaml.v3"
)

// yaml reads the text of a file. It walks the nodes rather than decoding into Go values, so that numbers
// and times keep the text they were written with.
func (s *Settings) yaml(name string, text []byte, sections []Section) error {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil // an empty file, or comments only
		}
		return fmt.Errorf("read settings %s: %w", name, err)
	}
	var more yaml.Node
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return fmt.Errorf("read settings %s: more than one document; remove the line with ---", name)
	}
	r := yamlReader{s: s, name: name, sections: sections}
	root := doc.Content[0]
	if isNull(root) {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		return r.errorf(root, "the file must hold sections, such as \"broker:\"")
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		k, v := root.Content[i], root.Content[i+1]
		sec := section(sections, k.Value)
		switch {
		case k.Kind != yaml.ScalarNode:
			r.fail(k, "a section's name must be a word")
		case sec == nil:
			// A flat "broker.num.partitions" at the top is a likely mistake.
			if head, _, dot := strings.Cut(k.Value, "."); dot && section(sections, head) != nil {
				r.fail(k, "%q belongs under \"%s:\"", k.Value, head)
			} else {
				r.fail(k, "%s", unknownSection(sections, k.Value))
			}
		case seen[k.Value]:
			r.fail(k, "section %q is there twice", k.Value)
		case isNull(v):
		case v.Kind != yaml.MappingNode:
			r.fail(v, "section %q must hold keys and values", k.Value)
		default:
			r.mapping(sec, "", v, 0)
		}
		seen[k.Value] = true
	}
	return errors.Join(r.errs...)
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

type yamlReader struct {
	s        *Settings
	name     string
	sections []Section
	errs     []error
}

func (r *yamlReader) errorf(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", r.name, n.Line, fmt.Sprintf(format, args...))
}

func (r *yamlReader) fail(n *yaml.Node, format string, args ...any) {
	r.errs = append(r.errs, r.errorf(n, format, args...))
}

// maxDepth bounds how deep maps may be nested.
const maxDepth = 16

func (r *yamlReader) mapping(sec *Section, prefix string, n *yaml.Node, depth int) {
	if depth > maxDepth {
		r.fail(n, "nested deeper than %d", maxDepth)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode || k.Value == "" || k.Tag == "!!merge" {
			r.fail(k, "a key must be a word")
			continue
		}
		key := prefix + k.Value
		if k.Anchor != "" || v.Anchor != "" {
			r.fail(v, "%s: anchors are not supported", key)
			continue
		}
		var text string
		switch v.Kind {
		case yaml.MappingNode:
			r.mapping(sec, key+".", v, depth+1)
			continue
		case yaml.SequenceNode:
			var ok bool
			if text, ok = r.list(key, v); !ok {
				continue
			}
		case yaml.ScalarNode:
			if isNull(v) {
				r.fail(v, "%s has no value; write \"\" for the empty text, or remove the line", key)
				continue
			}
			text = v.Value
		default:
			r.fail(v, "%s: aliases are not supported", key)
			continue
		}
		if !sec.knows(key) {
			r.fail(k, "%s", unknownKey(sec, r.sections, key))
			continue
		}
		if was, twice := r.s.Lookup(sec.Name, key); twice {
			r.fail(k, "%s is set already at %s", key, was.Origin)
			continue
		}
		r.s.set(sec.Name, key, Value{Text: text, Origin: fmt.Sprintf("%s:%d", r.name, k.Line)})
	}
}

// list joins the elements of a sequence with commas.
func (r *yamlReader) list(key string, n *yaml.Node) (string, bool) {
	var parts []string
	for _, e := range n.Content {
		if e.Kind != yaml.ScalarNode || isNull(e) || e.Anchor != "" {
			r.fail(e, "%s: the elements of a list must be plain values", key)
			return "", false
		}
		if strings.Contains(e.Value, ",") {
			r.fail(e, "%s: an element of a list must not hold a comma", key)
			return "", false
		}
		parts = append(parts, e.Value)
	}
	return strings.Join(parts, ","), true
}
