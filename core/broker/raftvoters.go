package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Voters change at run time only where kraft.version is 1 (KIP-853); here it is 0, and the one voter is this node.

const (
	notAVoter        = "%s voter request didn't include a valid voter"
	voterUnsupported = "Cluster doesn't support %s voter because the kraft.version feature is 0"
)

func (b *Broker) addRaftVoter(_ call, req *kmsg.AddRaftVoterRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.AddRaftVoterResponse)
	resp.ErrorCode, resp.ErrorMessage = b.voterRefusal("Add", "adding", req.ClusterID, req.VoterID, req.VoterDirectoryID)
	return resp
}

func (b *Broker) removeRaftVoter(_ call, req *kmsg.RemoveRaftVoterRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.RemoveRaftVoterResponse)
	resp.ErrorCode, resp.ErrorMessage = b.voterRefusal("Remove", "removing", req.ClusterID, req.VoterID, req.VoterDirectoryID)
	return resp
}

func (b *Broker) voterRefusal(verb, doing string, cluster *string, id int32, dir [16]byte) (int16, *string) {
	var text string
	switch own := b.image().ClusterID; {
	case cluster != nil && *cluster != own:
		text = fmt.Sprintf("The given id %q doesn't match the cluster id %q", *cluster, own)
		return kerr.InconsistentClusterID.Code, &text
	case id < 0 || dir == [16]byte{}:
		text = fmt.Sprintf(notAVoter, verb)
		return kerr.InvalidRequest.Code, &text
	}
	text = fmt.Sprintf(voterUnsupported, doing)
	return kerr.UnsupportedVersion.Code, &text
}
