package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// metadataTopic is the name under which Kafka shows the log of the controllers.
const metadataTopic = "__cluster_metadata"

// describeQuorum tells of the controllers' Raft group (KIP-595, KIP-836). Its one voter is this node, which has everything that is
// committed. Controllers have no listener of their own yet, so that the node has no endpoint to show.
func (b *Broker) describeQuorum(_ call, req *kmsg.DescribeQuorumRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeQuorumResponse)
	resp.ErrorMessage = new(string)
	im := b.image()
	known := false
	for i := range req.Topics {
		t := kmsg.NewDescribeQuorumResponseTopic()
		t.Topic = req.Topics[i].Topic
		for _, q := range req.Topics[i].Partitions {
			p := kmsg.NewDescribeQuorumResponseTopicPartition()
			p.Partition = q.Partition
			if t.Topic != metadataTopic || q.Partition != 0 {
				text := "This server does not host this topic-partition."
				p.ErrorCode, p.ErrorMessage = kerr.UnknownTopicOrPartition.Code, &text
				t.Partitions = append(t.Partitions, p)
				continue
			}
			known = true
			now := time.Now().UnixMilli()
			p.ErrorMessage = new(string)
			p.LeaderID, p.LeaderEpoch, p.HighWatermark = b.quorum.LeaderID(), im.Epoch, im.Offset+1
			v := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
			v.ReplicaID, v.LogEndOffset, v.LastFetchTimestamp, v.LastCaughtUpTimestamp = b.set.nodeID, im.Offset+1, now, now
			p.CurrentVoters = append(p.CurrentVoters, v)
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	if known {
		n := kmsg.NewDescribeQuorumResponseNode()
		n.NodeID = b.set.nodeID
		resp.Nodes = append(resp.Nodes, n)
	}
	return resp
}
