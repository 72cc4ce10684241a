package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/metadata"
)

// alterPartitionReassignments moves partitions to other brokers, or cancels moves (KIP-455).
func (b *Broker) alterPartitionReassignments(c call, req *kmsg.AlterPartitionAssignmentsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.AlterPartitionAssignmentsResponse)
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	var moves []metadata.Reassignment
	for i := range req.Topics {
		t := &req.Topics[i]
		for _, p := range t.Partitions {
			moves = append(moves, metadata.Reassignment{Topic: t.Topic, Partition: p.Partition, Replicas: p.Replicas})
		}
	}
	fixed := req.Version >= 1 && !req.AllowReplicationFactorChange
	results, err := decided(c, req.TimeoutMillis, false, func(im *metadata.Image) ([]metadata.Record, []*metadata.Error) {
		return metadata.DecideReassignments(im, b.rules, moves, fixed)
	})
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = codeOf(err), messageOf(err)
		return resp
	}
	for i := range req.Topics {
		t := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		t.Topic = req.Topics[i].Topic
		for _, q := range req.Topics[i].Partitions {
			p := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			p.Partition = q.Partition
			p.ErrorCode, p.ErrorMessage = metadataError(results[0])
			results = results[1:]
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}
