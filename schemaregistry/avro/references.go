package avro

import "fmt"

// MaxReferences bounds the schemas that one schema refers to, directly and through others.
const MaxReferences = 1000

// maxReferenceDepth bounds how far a schema is from the one that refers to it through others.
const maxReferenceDepth = 100

// ErrTooManyReferences says that a schema refers to more than [MaxReferences] others, or through too many.
var ErrTooManyReferences = fmt.Errorf("more than %d references", MaxReferences)

// Follow returns the texts of the schemas that the references name and of those that these refer to, each after those that it needs, which
// is how [Options] wants them. R is a reference as the caller has it: name says under which name it brings its schema in, of which the first
// counts, and load finds the schema's text and its own references. Their errors are returned as they are.
func Follow[R any](refs []R, name func(R) (string, error), load func(R) (text string, refs []R, err error)) ([]string, error) {
	var texts []string
	seen := map[string]bool{}
	var follow func(refs []R, depth int) error
	follow = func(refs []R, depth int) error {
		for _, ref := range refs {
			n, err := name(ref)
			if err != nil {
				return err
			}
			if seen[n] {
				continue
			}
			if seen[n] = true; len(seen) > MaxReferences || depth > maxReferenceDepth {
				return ErrTooManyReferences
			}
			text, inner, err := load(ref)
			if err != nil {
				return err
			}
			if err := follow(inner, depth+1); err != nil {
				return err
			}
			texts = append(texts, text)
		}
		return nil
	}
	err := follow(refs, 0)
	return texts, err
}
