package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/security"
	"github.com/moldau-io/moldau/core/security/sasl"
	"github.com/moldau-io/moldau/core/server"
)

// wrongMechanism is the exchange of a client that authenticates again with another mechanism.
type wrongMechanism struct{ text string }

// Step implements sasl.Exchange.
func (w wrongMechanism) Step([]byte) ([]byte, bool, error) {
	return nil, false, &sasl.Error{Message: w.text}
}

// Identity implements sasl.Exchange.
func (wrongMechanism) Identity() sasl.Identity { return sasl.Identity{} }

// saslAuthenticate takes one token of the exchange.
func (b *Broker) saslAuthenticate(s *session, r *server.Request, again bool) {
	req, ok := decodeAs[*kmsg.SASLAuthenticateRequest](b, r)
	if !ok {
		return
	}
	resp := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
	c := call{b: b, r: r}
	answer, lifetime, err := b.step(s, r, req.SASLAuthBytes, again)
	if err != nil {
		text := failureText(s.mechanism, again, err)
		resp.ErrorCode, resp.ErrorMessage = kerr.SaslAuthenticationFailed.Code, &text
		resp.SASLAuthBytes = []byte{}
		b.failAuth(s, r, err, func() { c.reply(resp) })
		return
	}
	resp.SASLAuthBytes, resp.ErrorMessage = answer, new(string) // Kafka's "no error" is an empty text here
	if req.Version >= 1 {
		resp.SessionLifetimeMillis = lifetime
	}
	c.reply(resp)
}

// saslToken takes one token of an exchange that a handshake of version 0 began. Its failure has no answer.
func (b *Broker) saslToken(s *session, r *server.Request) {
	answer, _, err := b.step(s, r, r.Body, false)
	if err != nil {
		b.failAuth(s, r, err, func() { r.RespondNothing() })
		return
	}
	if s.ready {
		r.Conn.ReadRaw(false)
	}
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(answer)))
	r.DetachFrame()
	r.Respond(append(frame, answer...), nil)
}

// step takes the exchange one message further, and lets the peer in when it is done. The session's lifetime is in milliseconds, 0 for without end.
func (b *Broker) step(s *session, r *server.Request, message []byte, again bool) (answer []byte, lifetimeMs int64, err error) {
	answer, done, err := s.exchange.Step(message)
	if err != nil {
		if reason := sasl.Refusal(s.exchange); reason != nil {
			err = errors.Join(err, reason)
		}
		return nil, 0, err
	}
	if !done {
		return answer, 0, nil
	}
	id := s.exchange.Identity()
	p := security.User(id.Name)
	if again && p != s.who {
		return nil, 0, &sasl.Error{Message: fmt.Sprintf("Cannot change principals during re-authentication from %s.%s: %s.%s", s.who.Type, s.who.Name, p.Type, p.Name)}
	}
	now := time.Now()
	lifetime := s.listener.MaxReauth(s.mechanism)
	if !id.Expires.IsZero() {
		left := max(id.Expires.Sub(now), 0)
		if lifetime == 0 || left < lifetime {
			lifetime = left
		}
	}
	s.expires = time.Time{}
	if lifetime > 0 || !id.Expires.IsZero() {
		s.expires = now.Add(lifetime)
	}
	s.exchange = nil
	if !again {
		s.become(p, r.Conn)
		r.Conn.Authenticated()
	}
	b.metrics.successfulAuth.Add(1)
	b.log.Debug("authenticated", "peer", r.Conn.RemoteAddr(), "listener", r.Conn.Listener(), "mechanism", s.mechanism, "principal", p.String(), "again", again)
	return answer, lifetime.Milliseconds(), nil
}

// failureText is what the client may know of a failure.
func failureText(mechanism string, again bool, err error) string {
	var e *sasl.Error
	if errors.As(err, &e) {
		return e.Message
	}
	during := "authentication"
	if again {
		during = "re-authentication"
	}
	return fmt.Sprintf("Authentication failed during %s due to invalid credentials with SASL mechanism %s", during, mechanism)
}

// lateSaslAuthenticate refuses tokens of a peer that is authenticated, or need not be.
func (b *Broker) lateSaslAuthenticate(c call, req *kmsg.SASLAuthenticateRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
	text := "SaslAuthenticate request received after successful authentication"
	resp.ErrorCode, resp.ErrorMessage, resp.SASLAuthBytes = kerr.IllegalSaslState.Code, &text, []byte{}
	return resp
}
