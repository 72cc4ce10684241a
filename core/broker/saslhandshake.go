package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/server"
	"github.com/moldau-io/moldau/core/wire"
)

// decodeAs decodes a request of the authentication, or closes the connection.
func decodeAs[Q kmsg.Request](b *Broker, r *server.Request) (req Q, ok bool) {
	q, err := wire.DecodeRequest(r.Header, r.Body)
	if err != nil {
		b.metrics.failedAuth.Add(1)
		b.refuse(r, err)
		return req, false
	}
	r.DetachFrame()
	req, ok = q.(Q)
	return req, ok
}

// saslHandshake begins an exchange of the mechanism that the client names. With version 0 the tokens that follow have no request
// header; from version 1 on they are SaslAuthenticate requests (KIP-152).
func (b *Broker) saslHandshake(s *session, r *server.Request, again bool) {
	req, ok := decodeAs[*kmsg.SASLHandshakeRequest](b, r)
	if !ok {
		return
	}
	resp := req.ResponseKind().(*kmsg.SASLHandshakeResponse)
	resp.SupportedMechanisms = s.listener.Mechanisms()
	c := call{b: b, r: r}
	x := s.listener.Begin(req.Mechanism)
	if x == nil {
		resp.ErrorCode = kerr.UnsupportedSaslMechanism.Code
		b.failAuth(s, r, fmt.Errorf("Unsupported SASL mechanism %q", req.Mechanism), func() { c.reply(resp) }) //nolint:staticcheck // Kafka's text
		return
	}
	if again && req.Mechanism != s.mechanism {
		// Kafka answers the handshake and refuses the token after it, so that the failure counts as one of authentication.
		s.exchange = wrongMechanism{fmt.Sprintf("SASL mechanism '%s' requested by client is not supported for re-authentication of mechanism '%s'", req.Mechanism, s.mechanism)}
		c.reply(resp)
		return
	}
	s.mechanism, s.exchange = req.Mechanism, x
	if req.Version == 0 {
		r.Conn.ReadRaw(true)
	}
	c.reply(resp)
}

// lateSaslHandshake refuses the handshake of a peer that is authenticated for as long as it likes, or need not be.
func (b *Broker) lateSaslHandshake(c call, req *kmsg.SASLHandshakeRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.SASLHandshakeResponse)
	resp.ErrorCode = kerr.IllegalSaslState.Code
	return resp
}
