package security

import (
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// principalRules turn the distinguished name of a certificate into a principal's name (ssl.principal.mapping.rules).
type principalRules []principalRule

// principalRule is one of them. A nil pattern is DEFAULT: the name as it is.
type principalRule struct {
	pattern     *regexp.Regexp // of the whole name
	find        *regexp.Regexp // the same without anchors
	replacement string         // in Go's syntax
	fold        byte           // 'L', 'U' or 0
}

const rulesKey = "ssl.principal.mapping.rules"

// maxRulesBytes bounds ssl.principal.mapping.rules.
const maxRulesBytes = 64 << 10

// parsePrincipalRules reads rules of the form DEFAULT or RULE:pattern/replacement/[LU], separated by commas. Slashes inside of a
// pattern or replacement are escaped with a backslash.
func parsePrincipalRules(s string) (principalRules, error) {
	if len(s) > maxRulesBytes {
		return nil, invalid(rulesKey, "", "it has %d bytes, at most %d are allowed", len(s), maxRulesBytes)
	}
	var out principalRules
	rest := strings.TrimSpace(s)
	if rest == "" {
		rest = "DEFAULT"
	}
	for rest != "" {
		rule := rest
		switch {
		case rest[0] == ',':
			rest = strings.TrimSpace(rest[1:])
			continue
		case strings.HasPrefix(rest, "DEFAULT"):
			out = append(out, principalRule{})
			rest = strings.TrimSpace(rest[len("DEFAULT"):])
		case strings.HasPrefix(rest, "RULE:"):
			pattern, more, ok := cutUnescaped(rest[len("RULE:"):])
			if !ok {
				return nil, invalid(rulesKey, s, "Invalid rule: `%s`", rule)
			}
			replacement, more, ok := cutUnescaped(more)
			if !ok {
				return nil, invalid(rulesKey, s, "Invalid rule: `%s`", rule)
			}
			r := principalRule{}
			if more != "" && (more[0] == 'L' || more[0] == 'U') {
				r.fold, more = more[0], more[1:]
			}
			var err error
			if r.pattern, err = regexp.Compile(`^(?:` + pattern + `)$`); err != nil {
				return nil, invalid(rulesKey, s, "the pattern `%s` is not supported (RE2: no look-around, no back references): %s", pattern, err)
			}
			if r.find, err = regexp.Compile(pattern); err != nil {
				return nil, invalid(rulesKey, s, "the pattern `%s` is not supported: %s", pattern, err)
			}
			r.replacement = goReplacement(replacement, r.find.NumSubexp())
			out = append(out, r)
			rest = strings.TrimSpace(more)
		default:
			return nil, invalid(rulesKey, s, "Invalid rule: `%s`", rule)
		}
		if rest != "" && rest[0] != ',' {
			return nil, invalid(rulesKey, s, "Invalid rule: `%s`, unmatched substring: `%s`", rule, rest)
		}
	}
	return out, nil
}

// cutUnescaped cuts at the first slash without a backslash before it.
func cutUnescaped(s string) (before, after string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '/':
			return s[:i], s[i+1:], true
		}
	}
	return "", "", false
}

// goReplacement translates Java's replacement syntax: $1 is a group, \x is x itself. A group number that is too large loses
// digits, and if none is left stands for itself, as in Kafka.
func goReplacement(s string, groups int) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			if s[i] == '$' {
				b.WriteString("$$")
			} else {
				b.WriteByte(s[i])
			}
		case c == '$':
			j, n := i+1, 0
			for j < len(s) && s[j] >= '0' && s[j] <= '9' && n*10+int(s[j]-'0') <= groups {
				n = n*10 + int(s[j]-'0')
				j++
			}
			if j == i+1 {
				b.WriteString("$$")
				continue
			}
			fmt.Fprintf(&b, "${%d}", n)
			i = j - 1
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// errNoRule refuses a certificate whose name no rule fits.
var errNoRule = errors.New("no rule of ssl.principal.mapping.rules applies")

// apply returns the principal's name for a distinguished name.
func (rs principalRules) apply(dn string) (string, error) {
	for i := range rs {
		r := &rs[i]
		if r.pattern == nil {
			return dn, nil
		}
		if !r.pattern.MatchString(dn) {
			continue
		}
		name := r.find.ReplaceAllString(dn, r.replacement)
		switch r.fold {
		case 'L':
			name = strings.ToLower(name)
		case 'U':
			name = strings.ToUpper(name)
		}
		return name, nil
	}
	return "", fmt.Errorf("%w to %s", errNoRule, dn)
}

// dnKeywords are the attributes that RFC 2253 names; all others are written as numbers, as Java does.
var dnKeywords = map[string]string{
	"2.5.4.3": "CN", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.6": "C", "2.5.4.9": "STREET",
	"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID",
}

type dnAttribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

type dnPart []dnAttribute

// distinguishedName renders a subject as Java's X500Principal.getName does: RFC 2253, the last part first.
func distinguishedName(raw []byte) (string, error) {
	var parts []asn1.RawValue
	if rest, err := asn1.Unmarshal(raw, &parts); err != nil || len(rest) > 0 {
		return "", errors.New("not a distinguished name")
	}
	var out []string
	for i := len(parts) - 1; i >= 0; i-- {
		var part dnPart
		if _, err := asn1.UnmarshalWithParams(parts[i].FullBytes, &part, "set"); err != nil {
			return "", errors.New("not a distinguished name")
		}
		var attrs []string
		for _, a := range part {
			oid := a.Type.String()
			if k, ok := dnKeywords[oid]; ok {
				if v, ok := dnText(a.Value); ok {
					attrs = append(attrs, k+"="+escapeDN(v))
					continue
				}
				oid = k
			}
			attrs = append(attrs, oid+"=#"+hex.EncodeToString(a.Value.FullBytes))
		}
		out = append(out, strings.Join(attrs, "+"))
	}
	return strings.Join(out, ","), nil
}

// dnText reads the string types of names.
func dnText(v asn1.RawValue) (string, bool) {
	if v.Class != asn1.ClassUniversal {
		return "", false
	}
	switch v.Tag {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String, asn1.TagNumericString, 20: // T61String
		return string(v.Bytes), utf8.Valid(v.Bytes)
	case asn1.TagBMPString:
		var s string
		_, err := asn1.Unmarshal(v.FullBytes, &s)
		return s, err == nil
	}
	return "", false
}

func escapeDN(v string) string {
	var b strings.Builder
	for i := range len(v) {
		c := v[i]
		if strings.IndexByte(`,+"\<>;=`, c) >= 0 || c == '#' && i == 0 || c == ' ' && (i == 0 || i == len(v)-1) {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}
