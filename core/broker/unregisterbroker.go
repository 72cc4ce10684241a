package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/metadata"
)

// unregisterBroker takes a broker out of the cluster (KIP-500's tool for those that are gone for good). One that is up is refused, which
// Kafka does not do: its partitions would have no leader until it starts again.
func (b *Broker) unregisterBroker(c call, req *kmsg.UnregisterBrokerRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.UnregisterBrokerResponse)
	err := c.decide(0, func(im *metadata.Image) ([]metadata.Record, error) {
		if r := im.Broker(req.BrokerID); r != nil && r.Active() {
			return nil, &metadata.Error{Code: kerr.InvalidRequest.Code, Message: fmt.Sprintf("Broker ID %d is running; stop it before it is unregistered", req.BrokerID)}
		}
		return metadata.UnregisterBroker(im, b.rules, req.BrokerID)
	})
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = codeOf(err), messageOf(err)
	}
	return resp
}
