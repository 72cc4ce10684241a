package security

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moldau-io/moldau/core/security/sasl"
)

// Lookup finds a property for a SASL mechanism ("" for none) of the listener; ok is false when it has no value.
type Lookup func(mechanism, key string) (value string, ok bool)

// Options are what a Listener is made of beside its properties.
type Options struct {
	// Name is the listener's name, for errors and logs.
	Name string
	// Protocol is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
	Protocol string
	// Lookup finds the listener's properties.
	Lookup Lookup
	// Stores are properties of the key and trust store that were set at run time, see SetStores. They come before those of Lookup.
	Stores map[string]string
	// Scram finds the credential of a user for a SCRAM mechanism.
	Scram func(mechanism, user string) (sasl.Credential, bool)
	// Now is the clock; nil for the system's.
	Now func() time.Time
	// Logger gets what happens when files are read again; nil discards it.
	Logger *slog.Logger
}

// Listener is how peers of one listener prove who they are.
type Listener struct {
	opts       Options
	tls        *tlsStore // nil without TLS
	clientAuth tls.ClientAuthType
	rules      principalRules
	mechanisms []mechanism // in the order of sasl.enabled.mechanisms; empty without SASL
}

// mechanism is one SASL mechanism of a listener.
type mechanism struct {
	name      string
	maxReauth time.Duration // connections.max.reauth.ms
	begin     func() sasl.Exchange
	tokens    *TokenValidator // of OAUTHBEARER
}

// NewListener judges the listener's properties and reads the files they name.
func NewListener(o Options) (*Listener, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Listener{opts: o}
	rules, _ := o.Lookup("", "ssl.principal.mapping.rules")
	var err error
	if l.rules, err = parsePrincipalRules(rules); err != nil {
		return nil, l.wrap(err)
	}
	if strings.HasSuffix(o.Protocol, "SSL") {
		if err := l.useTLS(); err != nil {
			return nil, l.wrap(err)
		}
	}
	if strings.HasPrefix(o.Protocol, "SASL_") {
		if err := l.useSASL(); err != nil {
			return nil, l.wrap(err)
		}
	}
	return l, nil
}

func (l *Listener) wrap(err error) error { return fmt.Errorf("listener %s: %w", l.opts.Name, err) }

// get is a property of the whole listener, "" when it has no value.
func (l *Listener) get(key string) string {
	v, _ := l.opts.Lookup("", key)
	return strings.TrimSpace(v)
}

// TLS is the configuration of the listener's handshakes, nil without TLS. It follows the files as they change.
func (l *Listener) TLS() *tls.Config {
	if l.tls == nil {
		return nil
	}
	return l.tls.serverConfig()
}

// SASL says whether peers authenticate with SASL.
func (l *Listener) SASL() bool { return len(l.mechanisms) > 0 }

// Mechanisms are the names of the SASL mechanisms.
func (l *Listener) Mechanisms() []string {
	out := make([]string, 0, len(l.mechanisms))
	for i := range l.mechanisms {
		out = append(out, l.mechanisms[i].name)
	}
	return out
}

// Begin begins an exchange of a mechanism; nil when the listener does not have it.
func (l *Listener) Begin(name string) sasl.Exchange {
	for i := range l.mechanisms {
		if l.mechanisms[i].name == name {
			return l.mechanisms[i].begin()
		}
	}
	return nil
}

// MaxReauth is connections.max.reauth.ms for a mechanism, 0 for none.
func (l *Listener) MaxReauth(name string) time.Duration {
	for i := range l.mechanisms {
		if l.mechanisms[i].name == name {
			return l.mechanisms[i].maxReauth
		}
	}
	return 0
}

// MaxReceive is sasl.server.max.receive.size.
func (l *Listener) MaxReceive() int {
	n, err := strconv.Atoi(l.get("sasl.server.max.receive.size"))
	if err != nil || n <= 0 {
		return 512 << 10
	}
	return n
}

// PrincipalOf is who a peer is by its certificate; Anonymous without one.
func (l *Listener) PrincipalOf(state *tls.ConnectionState) (Principal, error) {
	if state == nil || len(state.PeerCertificates) == 0 || len(state.VerifiedChains) == 0 {
		return Anonymous, nil
	}
	dn, err := distinguishedName(state.PeerCertificates[0].RawSubject)
	if err != nil {
		return Principal{}, fmt.Errorf("subject of the client's certificate: %w", err)
	}
	name, err := l.rules.apply(dn)
	if err != nil {
		return Principal{}, err
	}
	return User(name), nil
}

// Run follows the files and the issuers of tokens until ctx ends.
func (l *Listener) Run(ctx context.Context) {
	done := make(chan struct{}, 1+len(l.mechanisms))
	n := 0
	start := func(fn func(context.Context)) {
		n++
		go func() {
			fn(ctx)
			done <- struct{}{}
		}()
	}
	if l.tls != nil {
		start(l.tls.run)
	}
	for i := range l.mechanisms {
		if t := l.mechanisms[i].tokens; t != nil {
			start(t.keys.run)
		}
	}
	for range n {
		<-done
	}
}

func (l *Listener) useSASL() error {
	enabled := l.get("sasl.enabled.mechanisms")
	for name := range strings.SplitSeq(enabled, ",") {
		if name = strings.TrimSpace(name); name == "" || slices.Contains(l.Mechanisms(), name) {
			continue
		}
		m := mechanism{name: name}
		if v, _ := l.opts.Lookup(name, "connections.max.reauth.ms"); v != "" {
			ms, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			if err != nil || ms > int64((1<<63-1)/time.Millisecond) {
				return invalid("connections.max.reauth.ms", v, "want a number of milliseconds")
			}
			m.maxReauth = time.Duration(max(ms, 0)) * time.Millisecond
		}
		jaas, err := l.jaas(name)
		if err != nil {
			return err
		}
		handler, _ := l.opts.Lookup(name, "sasl.server.callback.handler.class")
		if handler != "" && name != sasl.OAuthBearer {
			return invalid("sasl.server.callback.handler.class", handler, "%s has no callback handlers in moldau", name)
		}
		switch name {
		case sasl.Plain:
			if jaas == nil {
				return invalid("sasl.jaas.config", "null", "PLAIN needs listener.name.%s.plain.sasl.jaas.config with its users, as %s required user_alice=\"secret\";", strings.ToLower(l.opts.Name), plainModule)
			}
			users := sasl.Passwords(jaas.plainUsers())
			m.begin = func() sasl.Exchange { return sasl.NewPlain(users) }
		case sasl.ScramSHA256, sasl.ScramSHA512:
			find := func(user string) (sasl.Credential, bool) { return l.opts.Scram(name, user) }
			m.begin = func() sasl.Exchange { return sasl.NewScram(name, find) }
		case sasl.OAuthBearer:
			if m.tokens, err = l.newTokens(jaas); err != nil {
				return err
			}
			m.begin = func() sasl.Exchange { return sasl.NewOAuthBearer(m.tokens.Validate) }
		default:
			return invalid("sasl.enabled.mechanisms", enabled, "moldau does not support the mechanism %s", name)
		}
		l.mechanisms = append(l.mechanisms, m)
	}
	if len(l.mechanisms) == 0 {
		return invalid("sasl.enabled.mechanisms", enabled, "at least one mechanism is needed")
	}
	return nil
}

// jaas is the login module of a mechanism, nil when there is none.
func (l *Listener) jaas(mech string) (*LoginModule, error) {
	v, ok := l.opts.Lookup(mech, "sasl.jaas.config")
	if !ok || strings.TrimSpace(v) == "" {
		return nil, nil
	}
	m, err := ParseJaas(v)
	if err != nil {
		return nil, invalid("sasl.jaas.config", hidden, "%s", err)
	}
	want := map[string]string{sasl.Plain: plainModule, sasl.ScramSHA256: scramModule, sasl.ScramSHA512: scramModule, sasl.OAuthBearer: oauthModule}[mech]
	if m.Class != want {
		return nil, invalid("sasl.jaas.config", hidden, "the login module of %s is %s, not %s", mech, want, m.Class)
	}
	return &m, nil
}
