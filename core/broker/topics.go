package broker

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/metadata"
)

// decide runs a decision on the quorum within a request's timeout.
func (c call) decide(timeoutMs int32, fn func(im *metadata.Image) ([]metadata.Record, error)) error {
	defer c.uncounted()()
	d := time.Duration(max(timeoutMs, 1000)) * time.Millisecond
	ctx, cancel := context.WithTimeout(c.b.ctx, d)
	defer cancel()
	return c.b.quorum.Do(ctx, fn)
}

// decided is decide for a decision that says more than its records, which validateOnly drops. What it said is read once it has said it: a
// decision may still come after its time, while the request is being answered.
func decided[R any](c call, timeoutMs int32, validateOnly bool, fn func(im *metadata.Image) ([]metadata.Record, R)) (R, error) {
	var said atomic.Pointer[R]
	err := c.decide(timeoutMs, func(im *metadata.Image) ([]metadata.Record, error) {
		records, r := fn(im)
		said.Store(&r)
		if validateOnly {
			return nil, nil
		}
		return records, nil
	})
	if r := said.Load(); r != nil {
		return *r, err
	}
	var nothing R
	return nothing, err
}

func (b *Broker) createTopics(c call, req *kmsg.CreateTopicsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	want := make([]metadata.CreateTopic, 0, len(req.Topics))
	for i := range req.Topics {
		q := &req.Topics[i]
		t := metadata.CreateTopic{Name: q.Topic, NumPartitions: q.NumPartitions, ReplicationFactor: q.ReplicationFactor}
		for _, a := range q.ReplicaAssignment {
			t.Assignments = append(t.Assignments, metadata.Assignment{Partition: a.Partition, Replicas: a.Replicas})
		}
		for _, cfg := range q.Configs {
			t.Configs = append(t.Configs, metadata.ConfigValue{Key: cfg.Name, Value: cfg.Value})
		}
		want = append(want, t)
	}
	results, err := decided(c, req.TimeoutMillis, req.ValidateOnly, func(im *metadata.Image) ([]metadata.Record, []metadata.CreateTopicResult) {
		return metadata.CreateTopics(im, b.rules, want)
	})
	if err != nil {
		seen := map[string]bool{}
		for i := range want {
			if seen[want[i].Name] {
				continue
			}
			seen[want[i].Name] = true
			t := kmsg.NewCreateTopicsResponseTopic()
			t.Topic, t.ErrorCode, t.ErrorMessage = want[i].Name, codeOf(err), messageOf(err)
			t.NumPartitions, t.ReplicationFactor = -1, -1
			resp.Topics = append(resp.Topics, t)
		}
		return resp
	}
	for i := range results {
		r := &results[i]
		t := kmsg.NewCreateTopicsResponseTopic()
		t.Topic = r.Name
		t.ErrorCode, t.ErrorMessage = metadataError(r.Err)
		t.NumPartitions, t.ReplicationFactor = -1, -1
		if r.Err == nil {
			t.NumPartitions, t.ReplicationFactor = r.NumPartitions, r.ReplicationFactor
			t.Configs = b.createdConfigs(r.Configs)
			t.TopicID = r.ID // with ValidateOnly too, as in Kafka: the id that nobody will see again
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func (b *Broker) deleteTopics(c call, req *kmsg.DeleteTopicsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	var refs []metadata.TopicRef
	for i := range req.TopicNames {
		refs = append(refs, metadata.TopicRef{Name: &req.TopicNames[i]})
	}
	for i := range req.Topics {
		refs = append(refs, metadata.TopicRef{Name: req.Topics[i].Topic, ID: req.Topics[i].TopicID})
	}
	results, err := decided(c, req.TimeoutMillis, false, func(im *metadata.Image) ([]metadata.Record, []metadata.DeleteTopicResult) {
		return metadata.DeleteTopics(im, b.rules, refs)
	})
	if err != nil {
		for _, r := range refs {
			t := kmsg.NewDeleteTopicsResponseTopic()
			t.Topic, t.TopicID, t.ErrorCode, t.ErrorMessage = r.Name, r.ID, codeOf(err), messageOf(err)
			resp.Topics = append(resp.Topics, deletedTopic(req.Version, t))
		}
		return resp
	}
	for i := range results {
		r := &results[i]
		t := kmsg.NewDeleteTopicsResponseTopic()
		if !r.Unnamed {
			t.Topic = &r.Name
		}
		t.TopicID = r.ID
		t.ErrorCode, t.ErrorMessage = metadataError(r.Err)
		resp.Topics = append(resp.Topics, deletedTopic(req.Version, t))
	}
	return resp
}

// deletedTopic fits an answer to versions whose topic name must not be null.
func deletedTopic(version int16, t kmsg.DeleteTopicsResponseTopic) kmsg.DeleteTopicsResponseTopic {
	if version < 6 && t.Topic == nil {
		empty := ""
		t.Topic = &empty
	}
	return t
}

func (b *Broker) createPartitions(c call, req *kmsg.CreatePartitionsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	want := make([]metadata.CreatePartition, 0, len(req.Topics))
	for i := range req.Topics {
		q := &req.Topics[i]
		p := metadata.CreatePartition{Topic: q.Topic, Count: q.Count}
		if q.Assignment != nil { // empty is none at all, null leaves the choice to the cluster
			p.Assignments = make([][]int32, 0, len(q.Assignment))
		}
		for _, a := range q.Assignment {
			p.Assignments = append(p.Assignments, a.Replicas)
		}
		want = append(want, p)
	}
	results, err := decided(c, req.TimeoutMillis, req.ValidateOnly, func(im *metadata.Image) ([]metadata.Record, []metadata.CreatePartitionResult) {
		return metadata.CreatePartitions(im, b.rules, want)
	})
	if err != nil {
		results = nil
		for _, w := range want {
			results = append(results, metadata.CreatePartitionResult{Topic: w.Topic, Err: &metadata.Error{Code: codeOf(err), Message: err.Error()}})
		}
	}
	for i := range results {
		t := kmsg.NewCreatePartitionsResponseTopic()
		t.Topic = results[i].Topic
		t.ErrorCode, t.ErrorMessage = metadataError(results[i].Err)
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// describeTopicPartitions pages through topics (KIP-966): topics in the order of their names, up to a number of partitions, and
// where to go on.
func (b *Broker) describeTopicPartitions(c call, req *kmsg.DescribeTopicPartitionsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeTopicPartitionsResponse)
	im := b.image()
	names := make([]string, 0, len(req.Topics))
	for _, t := range req.Topics {
		names = append(names, t.Topic)
	}
	all := len(names) == 0
	if all {
		for _, t := range im.Topics() {
			names = append(names, t.Name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	from := int32(0)
	if cur := req.Cursor; cur != nil {
		i, found := slices.BinarySearch(names, cur.Topic)
		if cur.Partition < 0 || !found && !all {
			return refusedTopicPartitions(resp, names) // the cursor is none that this request can have been answered with
		}
		names = names[i:]
		if found {
			from = cur.Partition
		}
	}
	left := int(max(1, min(req.ResponsePartitionLimit, b.set.maxRequestPartitions)))
	for i, name := range names {
		if left <= 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: 0}
			break
		}
		t := kmsg.NewDescribeTopicPartitionsResponseTopic()
		t.Topic = &names[i]
		t.AuthorizedOperations = allTopicOperations
		mt := im.Topic(name)
		if mt == nil {
			if !all {
				t.ErrorCode = kerr.UnknownTopicOrPartition.Code
				if metadata.ValidateTopicName(name) != nil {
					t.ErrorCode = kerr.InvalidTopicException.Code
					t.AuthorizedOperations = operationsNotAsked
				}
				resp.Topics = append(resp.Topics, t)
			}
			from = 0
			continue
		}
		t.TopicID, t.IsInternal = mt.ID, mt.Internal
		first := min(int(from), len(mt.Partitions))
		end := min(len(mt.Partitions), first+left)
		for k := first; k < end; k++ {
			t.Partitions = append(t.Partitions, describePartition(im, &mt.Partitions[k]))
		}
		left -= end - first
		resp.Topics = append(resp.Topics, t)
		from = 0
		if end < len(mt.Partitions) {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: int32(end)}
			break
		}
	}
	return resp
}

// refusedTopicPartitions answers INVALID_REQUEST for each topic.
func refusedTopicPartitions(resp *kmsg.DescribeTopicPartitionsResponse, names []string) kmsg.Response {
	for i := range names {
		t := kmsg.NewDescribeTopicPartitionsResponseTopic()
		t.Topic, t.ErrorCode, t.AuthorizedOperations = &names[i], kerr.InvalidRequest.Code, operationsNotAsked
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func describePartition(im *metadata.Image, mp *metadata.Partition) kmsg.DescribeTopicPartitionsResponseTopicPartition {
	p := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
	p.Partition, p.LeaderID, p.LeaderEpoch = mp.Index, mp.Leader, mp.LeaderEpoch
	p.Replicas, p.ISR = mp.Replicas, mp.ISR
	p.EligibleLeaderReplicas, p.LastKnownELR = mp.ELR, mp.LastKnownELR
	if p.EligibleLeaderReplicas == nil {
		p.EligibleLeaderReplicas = []int32{}
	}
	if p.LastKnownELR == nil {
		p.LastKnownELR = []int32{}
	}
	p.OfflineReplicas = offline(im, mp)
	return p
}

// electLeaders answers for partitions whose leader is the preferred one already, which on a single node is all of them; with
// several it changes leaders through the quorum.
func (b *Broker) electLeaders(c call, req *kmsg.ElectLeadersRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ElectLeadersResponse)
	im := b.image()
	topics := req.Topics
	all := topics == nil
	if req.ElectionType != 0 && req.ElectionType != 1 {
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp
	}
	if all {
		for _, t := range im.Topics() {
			q := kmsg.NewElectLeadersRequestTopic()
			q.Topic = t.Name
			for i := range t.Partitions {
				q.Partitions = append(q.Partitions, int32(i))
			}
			topics = append(topics, q)
		}
	}
	slices.SortStableFunc(topics, func(x, y kmsg.ElectLeadersRequestTopic) int { return cmp.Compare(x.Topic, y.Topic) })
	for _, q := range topics {
		t := kmsg.NewElectLeadersResponseTopic()
		t.Topic = q.Topic
		for _, index := range q.Partitions {
			p := kmsg.NewElectLeadersResponseTopicPartition()
			p.Partition = index
			code, msg := electable(im, q.Topic, index, req.ElectionType)
			if code == kerr.ElectionNotNeeded.Code && all {
				continue // Kafka leaves these out when all partitions were asked for
			}
			p.ErrorCode, p.ErrorMessage = code, &msg
			t.Partitions = append(t.Partitions, p)
		}
		if len(t.Partitions) > 0 || !all {
			resp.Topics = append(resp.Topics, t)
		}
	}
	return resp
}

func electable(im *metadata.Image, topic string, index int32, kind int8) (int16, string) {
	mt := im.Topic(topic)
	if mt == nil {
		return kerr.UnknownTopicOrPartition.Code, "No such topic as " + topic
	}
	if im.Partition(topic, index) == nil {
		return kerr.UnknownTopicOrPartition.Code, "No such partition as " + partitionName(topic, index)
	}
	mp := im.Partition(topic, index)
	if kind == 1 && mp.Leader != metadata.NoLeader || mp.Leader == mp.Replicas[0] {
		return kerr.ElectionNotNeeded.Code, "Leader election not needed for topic partition."
	}
	if kind == 1 {
		return kerr.EligibleLeadersNotAvailable.Code, "Eligible topic partition leaders are not available."
	}
	return kerr.PreferredLeaderNotAvailable.Code, "The preferred leader was not available."
}

// listPartitionReassignments lists the partitions that are being moved.
func (b *Broker) listPartitionReassignments(c call, req *kmsg.ListPartitionReassignmentsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ListPartitionReassignmentsResponse)
	im := b.image()
	list := func(mt *metadata.Topic, want func(int32) bool) {
		t := kmsg.NewListPartitionReassignmentsResponseTopic()
		t.Topic = mt.Name
		for i := range mt.Partitions {
			mp := &mt.Partitions[i]
			if !want(mp.Index) || (len(mp.Adding) == 0 && len(mp.Removing) == 0) {
				continue
			}
			p := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
			p.Partition, p.Replicas, p.AddingReplicas, p.RemovingReplicas = mp.Index, mp.Replicas, mp.Adding, mp.Removing
			t.Partitions = append(t.Partitions, p)
		}
		if len(t.Partitions) > 0 {
			resp.Topics = append(resp.Topics, t)
		}
	}
	if req.Topics == nil {
		for _, mt := range im.Topics() {
			list(mt, func(int32) bool { return true })
		}
		return resp
	}
	for _, q := range req.Topics {
		if mt := im.Topic(q.Topic); mt != nil {
			list(mt, func(i int32) bool { return slices.Contains(q.Partitions, i) })
		}
	}
	return resp
}
