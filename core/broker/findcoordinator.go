package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/group"
	"github.com/moldau-io/moldau/core/txn"
)

// The kinds of keys that FindCoordinator looks up.
const (
	groupKey       = 0
	transactionKey = 1
	shareKey       = 2
)

func (b *Broker) findCoordinator(c call, req *kmsg.FindCoordinatorRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
	kind := req.CoordinatorType
	if req.Version < 1 {
		kind = groupKey
	}
	if req.Version < 4 {
		r := b.coordinatorFor(c, kind, req.CoordinatorKey)
		resp.ErrorCode, resp.ErrorMessage = r.ErrorCode, r.ErrorMessage
		resp.NodeID, resp.Host, resp.Port = r.NodeID, r.Host, r.Port
		return resp
	}
	for _, key := range req.CoordinatorKeys {
		resp.Coordinators = append(resp.Coordinators, b.coordinatorFor(c, kind, key))
	}
	return resp
}

func (b *Broker) coordinatorFor(c call, kind int8, key string) kmsg.FindCoordinatorResponseCoordinator {
	out := kmsg.NewFindCoordinatorResponseCoordinator()
	out.Key, out.NodeID, out.Port = key, -1, -1
	fail := func(e *kerr.Error, text string) kmsg.FindCoordinatorResponseCoordinator {
		out.ErrorCode, out.ErrorMessage = e.Code, &text
		return out
	}
	notAvailable := "" // from version 4 on Kafka gives the code alone
	if c.r.Version < 4 {
		notAvailable = "The coordinator is not available."
	}
	topic, partitionFor := group.OffsetsTopic, b.groups.PartitionFor
	switch kind {
	case groupKey:
	case transactionKey:
		topic, partitionFor = txn.StateTopic, b.txns.PartitionFor
	case shareKey:
		return fail(kerr.InvalidRequest, "")
	default:
		return fail(kerr.InvalidRequest, malformed)
	}
	mt := b.image().Topic(topic)
	if mt == nil {
		if errs := b.autoCreate(c, []string{topic}); errs[topic] != nil {
			b.log.Warn("cannot create the topic of a coordinator", "topic", topic, "error", errs[topic])
			return fail(kerr.CoordinatorNotAvailable, notAvailable)
		}
		if mt = b.image().Topic(topic); mt == nil {
			return fail(kerr.CoordinatorNotAvailable, notAvailable)
		}
	}
	index := partitionFor(key)
	if int(index) >= len(mt.Partitions) {
		return fail(kerr.CoordinatorNotAvailable, notAvailable)
	}
	node, ok := b.endpoint(mt.Partitions[index].Leader, c.r.Conn.Listener())
	if !ok {
		return fail(kerr.CoordinatorNotAvailable, notAvailable)
	}
	out.NodeID, out.Host, out.Port = node.NodeID, node.Host, node.Port
	text := "" // no error is an empty text from version 4 on, and "NONE" before
	if c.r.Version < 4 {
		text = "NONE"
	}
	out.ErrorMessage = &text
	return out
}
