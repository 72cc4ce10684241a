package security

import (
	"errors"
	"fmt"
	"strings"
)

// LoginModule is one entry of a JAAS configuration as Kafka's sasl.jaas.config holds it:
// a class, a control flag, options, and a semicolon.
type LoginModule struct {
	Class   string
	Flag    string // required, requisite, sufficient or optional
	Options map[string]string
}

// maxJaasBytes bounds a sasl.jaas.config.
const maxJaasBytes = 1 << 20

// ParseJaas reads a sasl.jaas.config with exactly one entry. The errors never hold values: they are passwords.
func ParseJaas(s string) (LoginModule, error) {
	var m LoginModule
	if len(s) > maxJaasBytes {
		return m, fmt.Errorf("JAAS config of %d bytes, at most %d are allowed", len(s), maxJaasBytes)
	}
	p := jaasScanner{src: s}
	var err error
	if m.Class, err = p.word(); err != nil || m.Class == "" {
		return m, errors.Join(errors.New("Login module not specified in JAAS config"), err) //nolint:staticcheck // Kafka's text
	}
	if m.Flag, err = p.word(); err != nil {
		return m, err
	}
	m.Flag = strings.ToLower(m.Flag)
	switch m.Flag {
	case "required", "requisite", "sufficient", "optional":
	default:
		return m, errors.New("Login module control flag is not available in the JAAS config") //nolint:staticcheck // Kafka's text
	}
	m.Options = map[string]string{}
	for {
		t, err := p.next()
		switch {
		case err != nil:
			return m, err
		case t.kind == ';':
			if rest, err := p.next(); err != nil || rest.kind != 0 {
				return m, errors.Join(errors.New("JAAS config property contains more than one login module"), err)
			}
			return m, nil
		case t.kind == 0:
			return m, errors.New("JAAS config entry not terminated by semi-colon")
		case t.kind != 'w':
			return m, fmt.Errorf("unexpected %q in JAAS config", t.kind)
		}
		if eq, err := p.next(); err != nil || eq.kind != '=' {
			return m, fmt.Errorf("Value not specified for key '%s' in JAAS config", t.text) //nolint:staticcheck // Kafka's text
		}
		v, err := p.next()
		if err != nil {
			return m, err
		}
		if v.kind != 'w' {
			return m, fmt.Errorf("Value not specified for key '%s' in JAAS config", t.text) //nolint:staticcheck // Kafka's text
		}
		if _, twice := m.Options[t.text]; twice {
			return m, fmt.Errorf("key '%s' is twice in JAAS config", t.text)
		}
		m.Options[t.text] = v.text
	}
}

type jaasToken struct {
	kind byte // 'w' for a word or a quoted text, 0 at the end, else the character
	text string
}

type jaasScanner struct {
	src string
	at  int
}

func (p *jaasScanner) word() (string, error) {
	t, err := p.next()
	if err != nil || t.kind != 'w' {
		return "", err
	}
	return t.text, nil
}

func (p *jaasScanner) next() (jaasToken, error) {
	if err := p.skip(); err != nil {
		return jaasToken{}, err
	}
	if p.at >= len(p.src) {
		return jaasToken{}, nil
	}
	c := p.src[p.at]
	switch {
	case c == '"' || c == '\'':
		return p.quoted(c)
	case jaasWord(c):
		from := p.at
		for p.at < len(p.src) && jaasWord(p.src[p.at]) {
			p.at++
		}
		return jaasToken{'w', p.src[from:p.at]}, nil
	}
	p.at++
	return jaasToken{c, ""}, nil
}

func jaasWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '-' || c == '$' || c == '.' || c >= 0x80
}

// skip passes white space and comments.
func (p *jaasScanner) skip() error {
	for p.at < len(p.src) {
		rest := p.src[p.at:]
		switch {
		case rest[0] <= ' ':
			p.at++
		case strings.HasPrefix(rest, "//"):
			i := strings.IndexByte(rest, '\n')
			if i < 0 {
				i = len(rest)
			}
			p.at += i
		case strings.HasPrefix(rest, "/*"):
			i := strings.Index(rest[2:], "*/")
			if i < 0 {
				return errors.New("comment without an end in JAAS config")
			}
			p.at += i + 4
		default:
			return nil
		}
	}
	return nil
}

func (p *jaasScanner) quoted(q byte) (jaasToken, error) {
	var b strings.Builder
	for p.at++; p.at < len(p.src); p.at++ {
		c := p.src[p.at]
		switch {
		case c == q:
			p.at++
			return jaasToken{'w', b.String()}, nil
		case c == '\\' && p.at+1 < len(p.src):
			p.at++
			switch c = p.src[p.at]; c {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case 'r':
				b.WriteByte('\r')
			default:
				b.WriteByte(c)
			}
		case c == '\n':
			return jaasToken{}, errors.New("text without an end in JAAS config")
		default:
			b.WriteByte(c)
		}
	}
	return jaasToken{}, errors.New("text without an end in JAAS config")
}

// The login modules that moldau has the server's side of.
const (
	plainModule = "org.apache.kafka.common.security.plain.PlainLoginModule"
	scramModule = "org.apache.kafka.common.security.scram.ScramLoginModule"
	oauthModule = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
)

// plainUsers are the users of a PlainLoginModule: its options user_NAME.
func (m *LoginModule) plainUsers() map[string]string {
	out := map[string]string{}
	for k, v := range m.Options {
		if name, ok := strings.CutPrefix(k, "user_"); ok && name != "" {
			out[name] = v
		}
	}
	return out
}
