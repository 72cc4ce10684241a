package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// unregisterController takes the registration of a controller out of the cluster (KIP-1312). The active one cannot take out its own,
// and no other is registered: this node is the one controller.
func (b *Broker) unregisterController(_ call, req *kmsg.UnregisterControllerRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.UnregisterControllerResponse)
	text := fmt.Sprintf("Controller ID %d is not currently registered.", req.ControllerID)
	resp.ErrorCode = kerr.ControllerIDNotRegistered.Code
	if req.ControllerID == b.quorum.LeaderID() {
		text = "Controller cannot unregister itself while it is active."
		resp.ErrorCode = kerr.InvalidRequest.Code
	}
	resp.ErrorMessage = &text
	return resp
}
