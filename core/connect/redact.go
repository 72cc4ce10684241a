package connect

import (
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/moldau-io/moldau/plugins/configdef"
)

// redactor takes secrets out of texts that people see.
type redactor struct {
	secrets []string          // the longest first
	r       *strings.Replacer // of the secrets that are hidden wherever they stand
}

// shortSecret is the length below which a secret is hidden only where it is no part of a longer word: a password "p" would make every text unreadable.
const shortSecret = 6

// newRedactor knows the values that references were resolved to.
func newRedactor(raw, resolved map[string]string) *redactor {
	d := &redactor{}
	for k, v := range resolved {
		if raw[k] == v {
			continue
		}
		for _, s := range resolvedParts(raw[k], v) {
			if len(s) >= 3 {
				d.secrets = append(d.secrets, s)
			}
		}
	}
	d.build()
	return d
}

// resolvedParts returns what took the place of the references in raw, and the whole.
func resolvedParts(raw, v string) []string {
	out := []string{v}
	i, j := strings.Index(raw, "${"), strings.LastIndexByte(raw, '}')
	if i >= 0 && j > i && strings.HasPrefix(v, raw[:i]) && strings.HasSuffix(v, raw[j+1:]) && len(v) >= i+len(raw)-j-1 {
		out = append(out, v[i:len(v)-(len(raw)-j-1)])
	}
	return out
}

func (d *redactor) addPasswords(p *parsed) {
	for _, x := range p.parts {
		for _, v := range x.result.Values {
			if v.Key.Type == configdef.Password {
				if s := p.resolved[x.prefix+v.Key.Name]; s != "" {
					d.secrets = append(d.secrets, s)
				}
			}
		}
	}
	d.build()
}

func (d *redactor) build() {
	sort.Slice(d.secrets, func(i, j int) bool { return len(d.secrets[i]) > len(d.secrets[j]) })
	var pairs []string
	for _, s := range d.secrets {
		if len(s) >= shortSecret {
			pairs = append(pairs, s, "[hidden]")
		}
	}
	d.r = strings.NewReplacer(pairs...)
}

func (d *redactor) clean(s string) string {
	if d == nil || len(d.secrets) == 0 {
		return s
	}
	s = d.r.Replace(s)
	for _, x := range d.secrets {
		if len(x) < shortSecret {
			s = hideWord(s, x)
		}
	}
	return s
}

// hideWord hides word where it is no part of a longer word.
func hideWord(s, word string) string {
	var out strings.Builder
	first, _ := utf8.DecodeRuneInString(word)
	last, _ := utf8.DecodeLastRuneInString(word)
	for at := 0; ; {
		i := strings.Index(s[at:], word)
		if i < 0 {
			out.WriteString(s[at:])
			return out.String()
		}
		begin, end := at+i, at+i+len(word)
		before, _ := utf8.DecodeLastRuneInString(s[:begin])
		after, _ := utf8.DecodeRuneInString(s[end:])
		out.WriteString(s[at:begin])
		if letterOrDigit(before) && letterOrDigit(first) || letterOrDigit(after) && letterOrDigit(last) {
			out.WriteString(word)
		} else {
			out.WriteString("[hidden]")
		}
		at = end
	}
}

func letterOrDigit(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
