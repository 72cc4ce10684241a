package broker

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/wire"
)

// Authorised operations as bit sets over the ACL operations, for a broker without an authoriser: all that the resource has.
const (
	allTopicOperations   = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	allClusterOperations = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
	operationsNotAsked   = -1 << 31
)

func (b *Broker) metadata(c call, req *kmsg.MetadataRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	im := b.image()
	for _, n := range b.endpoints(im, c.r.Conn.Listener()) {
		resp.Brokers = append(resp.Brokers, kmsg.MetadataResponseBroker{NodeID: n.NodeID, Host: n.Host, Port: n.Port, Rack: n.Rack})
	}
	resp.ClusterID = &im.ClusterID
	resp.ControllerID = b.controllerID(im)
	resp.AuthorizedOperations = operationsNotAsked
	if req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = allClusterOperations
	}
	if req.Topics == nil || (req.Version == 0 && len(req.Topics) == 0) {
		for _, t := range im.Topics() {
			resp.Topics = append(resp.Topics, b.metadataTopic(req, im, t))
		}
		return resp
	}
	if req.Version < 12 && slices.ContainsFunc(req.Topics, func(q kmsg.MetadataRequestTopic) bool { return q.TopicID != [16]byte{} || q.Topic == nil }) {
		return refusedMetadata(req)
	}
	var missing []string
	seen := map[[16]byte]bool{}
	seenNames := map[string]bool{}
	for _, q := range req.Topics {
		byID := q.TopicID != [16]byte{}
		switch {
		case !byID && q.Topic == nil:
			t := kmsg.NewMetadataResponseTopic()
			empty := ""
			t.ErrorCode, t.Topic, t.TopicID = kerr.InvalidRequest.Code, &empty, q.TopicID
			resp.Topics = append(resp.Topics, t)
		case byID:
			if !seen[q.TopicID] {
				seen[q.TopicID] = true
				resp.Topics = append(resp.Topics, b.metadataByID(req, im, q.TopicID))
			}
		case seenNames[*q.Topic]:
		default:
			seenNames[*q.Topic] = true
			if t := im.Topic(*q.Topic); t != nil {
				resp.Topics = append(resp.Topics, b.metadataTopic(req, im, t))
			} else {
				missing = append(missing, *q.Topic)
			}
		}
	}
	if len(missing) > 0 {
		b.metadataMissing(c, req, resp, missing)
	}
	return resp
}

// refusedMetadata answers a request that names topics by id in a version that does not have them yet (KIP-516): as in Kafka, nothing but an
// error for each topic.
func refusedMetadata(req *kmsg.MetadataRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	resp.ControllerID, resp.AuthorizedOperations = -1, operationsNotAsked
	for i := range req.Topics {
		t := kmsg.NewMetadataResponseTopic()
		t.ErrorCode, t.Topic, t.TopicID = kerr.InvalidRequest.Code, req.Topics[i].Topic, req.Topics[i].TopicID
		if t.Topic == nil {
			t.Topic = new(string)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// metadataMissing answers for topics that do not exist: it creates them when client and broker allow it.
func (b *Broker) metadataMissing(c call, req *kmsg.MetadataRequest, resp *kmsg.MetadataResponse, names []string) {
	create := req.Version < 4 || req.AllowAutoTopicCreation
	errs := map[string]*metadata.Error{}
	if create && b.set.autoCreate {
		errs = b.autoCreate(c, names)
	}
	im := b.image()
	for _, name := range names {
		if t := im.Topic(name); t != nil {
			resp.Topics = append(resp.Topics, b.metadataTopic(req, im, t))
			continue
		}
		t := kmsg.NewMetadataResponseTopic()
		t.Topic = &name
		if req.IncludeTopicAuthorizedOperations {
			t.AuthorizedOperations = allTopicOperations // as in Kafka, of a topic that is not there too
		}
		t.ErrorCode = kerr.UnknownTopicOrPartition.Code
		if metadata.ValidateTopicName(name) != nil {
			t.ErrorCode = kerr.InvalidTopicException.Code
		} else if e := errs[name]; e != nil {
			t.ErrorCode = e.Code
		}
		resp.Topics = append(resp.Topics, t)
	}
}

func (b *Broker) metadataByID(req *kmsg.MetadataRequest, im *metadata.Image, id [16]byte) kmsg.MetadataResponseTopic {
	if t := im.TopicByID(id); t != nil {
		return b.metadataTopic(req, im, t)
	}
	t := kmsg.NewMetadataResponseTopic()
	t.ErrorCode, t.TopicID = kerr.UnknownTopicID.Code, id
	t.AuthorizedOperations = operationsNotAsked
	return t
}

func (b *Broker) metadataTopic(req *kmsg.MetadataRequest, im *metadata.Image, mt *metadata.Topic) kmsg.MetadataResponseTopic {
	t := kmsg.NewMetadataResponseTopic()
	t.Topic, t.TopicID, t.IsInternal = &mt.Name, mt.ID, mt.Internal
	t.AuthorizedOperations = operationsNotAsked
	if req.IncludeTopicAuthorizedOperations {
		t.AuthorizedOperations = allTopicOperations
	}
	t.Partitions = make([]kmsg.MetadataResponseTopicPartition, 0, len(mt.Partitions))
	for i := range mt.Partitions {
		mp := &mt.Partitions[i]
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Partition, p.Leader, p.LeaderEpoch = mp.Index, mp.Leader, mp.LeaderEpoch
		p.Replicas, p.ISR = mp.Replicas, mp.ISR
		p.OfflineReplicas = offline(im, mp)
		if mp.Leader == metadata.NoLeader {
			p.ErrorCode = kerr.LeaderNotAvailable.Code
		}
		t.Partitions = append(t.Partitions, p)
	}
	return t
}

// offline lists the replicas on brokers that are not there or fenced, and on log directories that have failed.
func offline(im *metadata.Image, p *metadata.Partition) []int32 {
	var out []int32
	for _, r := range p.Replicas {
		if br := im.Broker(r); br == nil || br.Fenced || slices.Contains(p.Offline, r) {
			out = append(out, r)
		}
	}
	return out
}

// autoCreateTimeoutMs is how long a request may wait for topics that it makes by the way.
const autoCreateTimeoutMs = 10_000

// autoCreate creates topics with the broker's defaults and returns the errors of those it could not.
func (b *Broker) autoCreate(c call, names []string) map[string]*metadata.Error {
	var want []metadata.CreateTopic
	for _, name := range names {
		if metadata.ValidateTopicName(name) == nil {
			want = append(want, b.topicDefaults(name))
		}
	}
	errs := map[string]*metadata.Error{}
	if len(want) == 0 {
		return errs
	}
	results, err := decided(c, autoCreateTimeoutMs, false, func(im *metadata.Image) ([]metadata.Record, []metadata.CreateTopicResult) {
		return metadata.CreateTopics(im, b.rules, want)
	})
	if err != nil {
		b.log.Warn("automatic topic creation failed", "topics", names, "error", err)
		for _, n := range names {
			errs[n] = &metadata.Error{Code: kerr.LeaderNotAvailable.Code}
		}
		return errs
	}
	for i := range results {
		if e := results[i].Err; e != nil && e.Code != kerr.TopicAlreadyExists.Code {
			b.log.Info("automatic topic creation refused", "topic", results[i].Name, "error", e)
			errs[results[i].Name] = e
		}
	}
	return errs
}

// controllerID is the broker that clients are told is the controller. As in Kafka any live broker will do, since brokers
// pass changes on to the quorum's leader; it is this one if it is live.
func (b *Broker) controllerID(im *metadata.Image) int32 {
	if br := im.Broker(b.set.nodeID); br != nil && !br.Fenced {
		return b.set.nodeID
	}
	for _, br := range im.Brokers() {
		if !br.Fenced {
			return br.ID
		}
	}
	return -1
}

func (b *Broker) describeCluster(c call, req *kmsg.DescribeClusterRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
	im := b.image()
	resp.ClusterID = im.ClusterID
	resp.ControllerID = b.controllerID(im)
	resp.EndpointType = req.EndpointType
	resp.ClusterAuthorizedOperations = operationsNotAsked
	if req.Version >= 1 && req.EndpointType != 1 {
		resp.ControllerID = -1
		resp.ErrorCode = kerr.UnsupportedEndpointType.Code
		resp.ClusterID = ""
		msg := fmt.Sprintf("Unsupported endpoint type %d", req.EndpointType)
		if req.EndpointType == 2 {
			resp.ErrorCode = kerr.MismatchedEndpointType.Code
			msg = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
		}
		resp.ErrorMessage = &msg
		resp.EndpointType = 1
		return resp
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = allClusterOperations
	}
	for _, n := range b.endpoints(im, c.r.Conn.Listener()) {
		resp.Brokers = append(resp.Brokers, kmsg.DescribeClusterResponseBroker{NodeID: n.NodeID, Host: n.Host, Port: n.Port, Rack: n.Rack})
	}
	if req.Version >= 2 && req.IncludeFencedBrokers {
		for _, br := range im.Brokers() {
			if !br.Fenced {
				continue
			}
			if n, ok := brokerEndpoint(br, c.r.Conn.Listener()); ok {
				resp.Brokers = append(resp.Brokers, kmsg.DescribeClusterResponseBroker{NodeID: n.NodeID, Host: n.Host, Port: n.Port, Rack: n.Rack, IsFenced: true})
			}
		}
	}
	return resp
}

// endpoints lists the live brokers that have the listener, for the clients on it.
func (b *Broker) endpoints(im *metadata.Image, listener string) []wire.NodeEndpoint {
	var out []wire.NodeEndpoint
	for _, br := range im.Brokers() {
		if br.Fenced {
			continue
		}
		if n, ok := b.endpointOf(br, listener); ok {
			out = append(out, n)
		}
	}
	return out
}

// endpoint is the address of a live broker, for a client on the listener.
func (b *Broker) endpoint(id int32, listener string) (wire.NodeEndpoint, bool) {
	br := b.image().Broker(id)
	if br == nil || br.Fenced {
		return wire.NodeEndpoint{}, false
	}
	return b.endpointOf(br, listener)
}

// endpointOf names a broker's address for clients on a listener. Those on the in-memory listener get the addresses of
// the first real one; Broker.Dial knows which of them is this process.
func (b *Broker) endpointOf(br *metadata.Broker, listener string) (wire.NodeEndpoint, bool) {
	if listener == MemoryListenerName && len(br.Listeners) > 0 {
		listener = br.Listeners[0].Name
	}
	return brokerEndpoint(br, listener)
}

func brokerEndpoint(br *metadata.Broker, listener string) (wire.NodeEndpoint, bool) {
	l, ok := br.Listener(listener)
	if !ok {
		return wire.NodeEndpoint{}, false
	}
	n := wire.NodeEndpoint{NodeID: br.ID, Host: l.Host, Port: int32(l.Port)}
	if br.Rack != "" {
		n.Rack = &br.Rack
	}
	return n, true
}
