package schemaregistry

import (
	"strings"
	"unicode"
)

// defaultContext is the context of subjects that name none.
const defaultContext = "."

// globalContext holds config and mode that all contexts fall back to.
const globalContext = ".__GLOBAL"

// qualified is a subject in a context. In text it is `:.context:subject`, or only the subject in the default context.
type qualified struct{ context, name string }

// qualify parses a subject. A context by itself needs no colon at its end. What looks qualified but is not, such as ":a:b", is a
// plain name.
func qualify(subject string) qualified {
	if strings.HasPrefix(subject, ":.") {
		context, name, _ := strings.Cut(subject[1:], ":")
		return qualified{context, name}
	}
	return qualified{defaultContext, subject}
}

func (q qualified) String() string {
	if q.context == defaultContext {
		return q.name
	}
	return ":" + q.context + ":" + q.name
}

// contextSubject is the subject that stands for the whole context, "" for the default one.
func (q qualified) contextSubject() string { return qualified{context: q.context}.String() }

// in returns the reading of subject next to q: a subject that names no context is in q's.
func (q qualified) in(subject string) qualified {
	if strings.HasPrefix(subject, ":.") {
		return qualify(subject)
	}
	return qualified{q.context, subject}
}

// normalSubject returns the one spelling of a subject.
func normalSubject(subject string) string { return qualify(subject).String() }

// validSubject refuses names that no log or terminal should see, and the reserved ones.
func validSubject(subject string) bool {
	return validScope(subject) && qualify(subject).context != globalContext
}

// validScope is validSubject for config and mode, which the global context may have.
func validScope(subject string) bool {
	q := qualify(subject)
	return strings.IndexFunc(subject, unicode.IsControl) < 0 && q.name != "__GLOBAL" && q.name != "__EMPTY"
}

// matches says whether the subject is within prefix, where ":*:" stands for all contexts.
func (q qualified) matches(prefix string) bool {
	if rest, ok := strings.CutPrefix(prefix, ":*:"); ok {
		return strings.HasPrefix(q.name, rest)
	}
	p := qualify(prefix)
	return q.context == p.context && strings.HasPrefix(q.name, p.name)
}
