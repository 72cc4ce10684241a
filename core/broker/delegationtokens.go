package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/security"
)

// There are no delegation tokens (KIP-48): these answers are those of a Kafka broker without delegation.token.secret.key. Its brokers refuse
// with times of -1, its controllers with 0.

// tokensRefused is why a peer gets no token, and the times that the answer has: it has not proved who it is, or, if it has, there are none.
func tokensRefused(c call) (code int16, times int64) {
	if s := c.session(); s.internal || s.who == security.Anonymous {
		return kerr.DelegationTokenRequestNotAllowed.Code, -1
	}
	return kerr.DelegationTokenAuthDisabled.Code, 0
}

func (b *Broker) createDelegationToken(c call, req *kmsg.CreateDelegationTokenRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.CreateDelegationTokenResponse)
	who := c.session().who
	code, times := tokensRefused(c)
	resp.ErrorCode = code
	resp.PrincipalType, resp.PrincipalName = who.Type, who.Name
	resp.TokenRequesterPrincipalType, resp.TokenRequesterPrincipalName = who.Type, who.Name
	resp.IssueTimestamp, resp.ExpiryTimestamp, resp.MaxTimestamp = times, times, times
	return resp
}

func (b *Broker) renewDelegationToken(c call, req *kmsg.RenewDelegationTokenRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.RenewDelegationTokenResponse)
	resp.ErrorCode, resp.ExpiryTimestamp = tokensRefused(c)
	return resp
}

func (b *Broker) expireDelegationToken(c call, req *kmsg.ExpireDelegationTokenRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ExpireDelegationTokenResponse)
	resp.ErrorCode, resp.ExpiryTimestamp = tokensRefused(c)
	return resp
}

func (b *Broker) describeDelegationToken(c call, req *kmsg.DescribeDelegationTokenRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeDelegationTokenResponse)
	resp.ErrorCode, _ = tokensRefused(c)
	return resp
}
