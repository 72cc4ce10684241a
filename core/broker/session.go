package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/security"
	"github.com/moldau-io/moldau/core/security/acl"
	"github.com/moldau-io/moldau/core/security/sasl"
	"github.com/moldau-io/moldau/core/server"
)

// InternalPrincipal is who the roles of this process are: they dial the in-memory listener, which nobody else can. It may do everything.
var InternalPrincipal = security.Principal{Type: "Internal", Name: "moldau"}

// session is what the broker knows of one connection: who its peer is, or how far it is with proving it. It belongs to the
// connection's reader goroutine; who and internal do not change once ready is set.
type session struct {
	listener *security.Listener // nil on the in-memory listener
	ready    bool               // the peer is authenticated, or need not be
	internal bool               // of this process: it may do everything
	who      security.Principal
	subject  acl.Subject
	access   accessCache
	// handlingSince is when the request under way began to be handled, or what it took was counted last; zero without a quota on time.
	handlingSince time.Time

	// SASL.
	mechanism string
	exchange  sasl.Exchange
	expires   time.Time // when a new authentication is due; zero for never
}

// openSecurity makes the security of each listener.
func (b *Broker) openSecurity() error {
	b.security = map[string]*security.Listener{}
	stores := b.listenerStores(b.image())
	for _, e := range b.cfg.Core.Listeners {
		if b.set.controllerListeners[e.Name] {
			continue
		}
		l, err := security.NewListener(security.Options{
			Name: e.Name, Protocol: e.Protocol, Scram: b.scramCredential, Logger: b.log, Stores: stores[e.Name],
			Lookup: func(mechanism, key string) (string, bool) { return b.cfg.Core.ListenerValue(e.Name, mechanism, key) },
		})
		if err != nil {
			return err
		}
		b.security[e.Name] = l
	}
	super, err := security.ParseSuperUsers(b.cfg.Core.SuperUsers)
	if err != nil {
		return err
	}
	b.super = super
	return nil
}

// followSecurity keeps key stores and issuers' keys up to date until the broker stops.
func (b *Broker) followSecurity() {
	for _, l := range b.security {
		b.serving.Add(1)
		go func() {
			defer b.serving.Done()
			l.Run(b.ctx)
		}()
	}
}

// listenerOptions are how connections of a listener begin.
func (b *Broker) listenerOptions(name string) server.ListenerOptions {
	o := server.ListenerOptions{Name: name}
	l := b.security[name]
	if l == nil {
		o.Unlimited = true
		return o
	}
	o.TLS, o.Authenticate = l.TLS(), l.SASL()
	return o
}

// scramCredential finds what a SCRAM user is checked against.
func (b *Broker) scramCredential(mechanism, user string) (sasl.Credential, bool) {
	c, ok := b.image().ScramCredential(metadata.ScramKey{User: user, Mechanism: scramNumbers[mechanism]})
	return sasl.Credential{Salt: c.Salt, StoredKey: c.StoredKey, ServerKey: c.ServerKey, Iterations: int(c.Iterations)}, ok
}

var scramNumbers = map[string]int8{sasl.ScramSHA256: metadata.ScramSHA256, sasl.ScramSHA512: metadata.ScramSHA512}

// sessionOf returns the connection's session, making it at the first request.
func (b *Broker) sessionOf(c *server.Conn) (*session, error) {
	if s, ok := c.Value.(*session); ok {
		return s, nil
	}
	s := &session{listener: b.security[c.Listener()]}
	switch {
	case s.listener == nil:
		s.internal = true
		s.become(InternalPrincipal, c)
	case s.listener.SASL():
	default:
		p, err := s.listener.PrincipalOf(c.TLS())
		if err != nil {
			return nil, err
		}
		s.become(p, c)
	}
	c.Value = s
	return s, nil
}

// become makes the peer p.
func (s *session) become(p security.Principal, c *server.Conn) {
	s.who = p
	s.subject = acl.NewSubject(p.String(), c.RemoteHost())
	s.ready = true
}

// session is the session of a request's connection. It is there before any handler runs.
func (c call) session() *session { return c.r.Conn.Value.(*session) }

// errExpired ends a connection that did not authenticate again in time.
var errExpired = errors.New("the session has expired and the client did not authenticate again")

// admitted says whether the request may go to its handler; if not, it was answered or its connection closed.
func (b *Broker) admitted(r *server.Request) bool {
	s, err := b.sessionOf(r.Conn)
	if err != nil {
		b.metrics.failedAuth.Add(1)
		b.refuse(r, err)
		return false
	}
	if !s.ready {
		b.authenticate(s, r)
		return false
	}
	switch {
	case s.exchange != nil && r.Key != int16(kmsg.SASLAuthenticate):
		b.refuse(r, fmt.Errorf("Unexpected Kafka request of type %s during SASL authentication.", apiName(r.Key))) //nolint:staticcheck // Kafka's text
		return false
	case !s.expires.IsZero() && r.Key == int16(kmsg.SASLHandshake):
		b.saslHandshake(s, r, true)
		return false
	case s.exchange != nil:
		b.saslAuthenticate(s, r, true)
		return false
	case !s.expires.IsZero() && r.Received.After(s.expires):
		b.metrics.expiredSessions.Add(1)
		b.refuse(r, errExpired)
		return false
	}
	return true
}

// authenticate handles what a peer sends before it is authenticated: ApiVersions, the handshake, and tokens.
func (b *Broker) authenticate(s *session, r *server.Request) {
	if r.Raw {
		b.saslToken(s, r)
		return
	}
	switch {
	case r.Key == int16(kmsg.ApiVersions) && s.exchange == nil:
		b.handle(r)
	case r.Key == int16(kmsg.SASLHandshake) && s.exchange == nil:
		b.saslHandshake(s, r, false)
	case r.Key == int16(kmsg.SASLAuthenticate) && s.exchange != nil:
		b.saslAuthenticate(s, r, false)
	default:
		if s.exchange != nil {
			b.refuseAmid(s, r)
			return
		}
		b.metrics.failedAuth.Add(1)
		b.refuse(r, fmt.Errorf("Unexpected Kafka request of type %s during SASL handshake.", apiName(r.Key))) //nolint:staticcheck // Kafka's text
	}
}

// refuseAmid answers a request that comes in the middle of an authentication and closes the connection, as Kafka does.
func (b *Broker) refuseAmid(s *session, r *server.Request) {
	err := fmt.Errorf("Unexpected Kafka request of type %s during SASL authentication.", apiName(r.Key)) //nolint:staticcheck // Kafka's text
	req := kmsg.RequestForKey(r.Key)                                                                     // what is in it is not looked at: decoding takes memory that strangers have not
	if req == nil || !r.VersionOK {
		b.metrics.failedAuth.Add(1)
		b.refuse(r, err)
		return
	}
	req.SetVersion(r.Version)
	r.DetachFrame()
	c := call{b: b, r: r}
	b.failAuth(s, r, err, func() { c.reply(refused(req, kerr.IllegalSaslState)) })
}

// failAuth gives the answer of a failed authentication after connection.failed.authentication.delay.ms and closes the connection. It slows
// down who guesses.
func (b *Broker) failAuth(s *session, r *server.Request, cause error, answer func()) {
	b.metrics.failedAuth.Add(1)
	s.exchange = nil
	s.ready = false
	b.log.Info("authentication failed", "peer", r.Conn.RemoteAddr(), "listener", r.Conn.Listener(), "mechanism", s.mechanism, "error", cause)
	r.Conn.Finish()
	if d := b.cfg.Core.FailedAuthDelay; d > 0 {
		time.AfterFunc(d, answer)
		return
	}
	answer()
}

// bootstrapScram makes the users of scram.bootstrap.credentials that do not exist yet.
func (b *Broker) bootstrapScram(ctx context.Context) error {
	users, err := security.ParseScramUsers(b.cfg.Core.ScramBootstrap)
	if err != nil || len(users) == 0 {
		return err
	}
	return b.retry(ctx, func(im *metadata.Image) ([]metadata.Record, error) {
		var alter []metadata.AlterScram
		for _, u := range users {
			k := metadata.ScramKey{User: u.Name, Mechanism: scramNumbers[u.Mechanism]}
			if _, ok := im.ScramCredential(k); ok {
				continue
			}
			c := u.Credential
			alter = append(alter, metadata.AlterScram{Key: k, Credential: metadata.ScramCredential{Salt: c.Salt, StoredKey: c.StoredKey, ServerKey: c.ServerKey, Iterations: int32(c.Iterations)}})
		}
		var records []metadata.Record
		for _, a := range alter {
			records = append(records, &metadata.ScramCredentialRecord{Key: a.Key, Credential: a.Credential})
		}
		return records, nil
	})
}

// apiName is Kafka's name of an API in capitals, as its error texts have it.
func apiName(key int16) string {
	var b strings.Builder
	for i, c := range kmsg.NameForKey(key) {
		if i > 0 && c >= 'A' && c <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(c)
	}
	return strings.ToUpper(strings.ReplaceAll(b.String(), "S_A_S_L", "SASL"))
}
