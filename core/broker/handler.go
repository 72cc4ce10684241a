package broker

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/security/quota"
	"github.com/moldau-io/moldau/core/server"
	"github.com/moldau-io/moldau/core/wire"
)

// call is one request of an API that kmsg decodes, and how to answer it.
type call struct {
	b *Broker
	r *server.Request
	// amend changes the answer before it is sent; nil for no change.
	amend func(kmsg.Response)
}

// reply answers with resp, whose version must be the request's. It may be called from any goroutine, once.
func (c call) reply(resp kmsg.Response) {
	if c.amend != nil {
		c.amend(resp)
	}
	setThrottle(resp, c.b.pendingThrottle(c))
	buf := wire.AppendResponse(server.GetBuffer(responseGuess), c.r.CorrelationID, resp)
	c.r.Respond(buf, func() { server.PutBuffer(buf) })
}

// responseGuess is the buffer size that most answers fit in.
const responseGuess = 4 << 10

// api is the code of one API: it answers req on c before it returns, or later.
type api func(c call, req kmsg.Request)

// answer makes an api of a function that answers at once.
func answer[Q kmsg.Request](fn func(c call, req Q) kmsg.Response) api {
	return func(c call, req kmsg.Request) {
		resp := fn(c, req.(Q))
		c.b.spend(c.r.Conn, c.r.ClientID)
		c.reply(resp)
	}
}

// handlers is the table of all APIs but Produce and Fetch.
func (b *Broker) handlers() map[int16]api {
	return map[int16]api{
		int16(kmsg.ListOffsets):                answer(b.listOffsets),
		int16(kmsg.Metadata):                   answer(b.metadata),
		int16(kmsg.OffsetCommit):               b.groupAPI(b.offsetCommit),
		int16(kmsg.OffsetFetch):                b.groupAPI(b.offsetFetch),
		int16(kmsg.FindCoordinator):            answer(b.findCoordinator),
		int16(kmsg.JoinGroup):                  b.groupAPI(b.joinGroup),
		int16(kmsg.Heartbeat):                  b.groupAPI(b.heartbeat),
		int16(kmsg.LeaveGroup):                 b.groupAPI(b.leaveGroup),
		int16(kmsg.SyncGroup):                  b.groupAPI(b.syncGroup),
		int16(kmsg.DescribeGroups):             b.groupAPI(b.describeGroups),
		int16(kmsg.ListGroups):                 b.groupAPI(b.listGroups),
		int16(kmsg.ConsumerGroupHeartbeat):     b.groupAPI(b.consumerGroupHeartbeat),
		int16(kmsg.ConsumerGroupDescribe):      b.groupAPI(b.consumerGroupDescribe),
		int16(kmsg.DeleteGroups):               b.groupAPI(b.deleteGroups),
		int16(kmsg.OffsetDelete):               b.groupAPI(b.offsetDelete),
		int16(kmsg.ApiVersions):                answer(b.apiVersions),
		int16(kmsg.CreateTopics):               answer(b.createTopics),
		int16(kmsg.DeleteTopics):               answer(b.deleteTopics),
		int16(kmsg.CreatePartitions):           answer(b.createPartitions),
		int16(kmsg.DeleteRecords):              answer(b.deleteRecords),
		int16(kmsg.InitProducerID):             b.initProducerID,
		int16(kmsg.OffsetForLeaderEpoch):       answer(b.offsetForLeaderEpoch),
		int16(kmsg.AddPartitionsToTxn):         b.addPartitionsToTxn,
		int16(kmsg.AddOffsetsToTxn):            b.addOffsetsToTxn,
		int16(kmsg.EndTxn):                     b.endTxn,
		int16(kmsg.WriteTxnMarkers):            b.writeTxnMarkers,
		int16(kmsg.TxnOffsetCommit):            b.groupAPI(b.txnOffsetCommit),
		int16(kmsg.DescribeTransactions):       answer(b.describeTransactions),
		int16(kmsg.ListTransactions):           answer(b.listTransactions),
		int16(kmsg.DescribeConfigs):            answer(b.describeConfigs),
		int16(kmsg.AlterConfigs):               answer(b.alterConfigs),
		int16(kmsg.IncrementalAlterConfigs):    answer(b.incrementalAlterConfigs),
		int16(kmsg.DescribeLogDirs):            answer(b.describeLogDirs),
		int16(kmsg.AlterReplicaLogDirs):        answer(b.alterReplicaLogDirs),
		int16(kmsg.DescribeCluster):            answer(b.describeCluster),
		int16(kmsg.DescribeProducers):          answer(b.describeProducers),
		int16(kmsg.ListConfigResources):        answer(b.listConfigResources),
		int16(kmsg.DescribeTopicPartitions):    answer(b.describeTopicPartitions),
		int16(kmsg.ElectLeaders):               answer(b.electLeaders),
		int16(kmsg.AlterPartitionAssignments):  answer(b.alterPartitionReassignments),
		int16(kmsg.ListPartitionReassignments): answer(b.listPartitionReassignments),
		int16(kmsg.CreateDelegationToken):      answer(b.createDelegationToken),
		int16(kmsg.RenewDelegationToken):       answer(b.renewDelegationToken),
		int16(kmsg.ExpireDelegationToken):      answer(b.expireDelegationToken),
		int16(kmsg.DescribeDelegationToken):    answer(b.describeDelegationToken),
		int16(kmsg.DescribeQuorum):             answer(b.describeQuorum),
		int16(kmsg.UpdateFeatures):             answer(b.updateFeatures),
		int16(kmsg.UnregisterBroker):           answer(b.unregisterBroker),
		int16(kmsg.AddRaftVoter):               answer(b.addRaftVoter),
		int16(kmsg.RemoveRaftVoter):            answer(b.removeRaftVoter),
		int16(kmsg.UnregisterController):       answer(b.unregisterController),

		int16(kmsg.ShareGroupHeartbeat):                   answer(featureOff),
		int16(kmsg.ShareGroupDescribe):                    answer(featureOff),
		int16(kmsg.ShareFetch):                            answer(featureOff),
		int16(kmsg.ShareAcknowledge):                      answer(featureOff),
		int16(kmsg.DescribeShareGroupOffsets):             answer(featureOff),
		int16(kmsg.AlterShareGroupOffsets):                answer(featureOff),
		int16(kmsg.DeleteShareGroupOffsets):               answer(featureOff),
		int16(kmsg.StreamsGroupHeartbeat):                 answer(featureOff),
		int16(kmsg.StreamsGroupDescribe):                  answer(featureOff),
		int16(kmsg.StreamsGroupTopologyDescriptionUpdate): answer(featureOff),

		int16(kmsg.SASLHandshake):                answer(b.lateSaslHandshake),
		int16(kmsg.SASLAuthenticate):             answer(b.lateSaslAuthenticate),
		int16(kmsg.DescribeACLs):                 answer(b.describeACLs),
		int16(kmsg.CreateACLs):                   answer(b.createACLs),
		int16(kmsg.DeleteACLs):                   answer(b.deleteACLs),
		int16(kmsg.DescribeUserSCRAMCredentials): answer(b.describeUserScramCredentials),
		int16(kmsg.AlterUserSCRAMCredentials):    answer(b.alterUserScramCredentials),
		int16(kmsg.DescribeClientQuotas):         answer(b.describeClientQuotas),
		int16(kmsg.AlterClientQuotas):            answer(b.alterClientQuotas),
	}
}

// Bounds on the memory that decoded requests may take. handlingFactor stands for what handlers and answers make of an
// element beside the element itself.
const (
	maxDecodeMemory  = 512 << 20
	freeDecodeMemory = 1 << 20
	handlingFactor   = 4
)

// HandleRequest implements server.Handler.
func (b *Broker) HandleRequest(r *server.Request) {
	b.metrics.request(r.Key, r.Version)
	if !b.admitted(r) {
		return
	}
	if !b.quotas.table.Load().Has(quota.Request) {
		b.handle(r)
		return
	}
	conn, clientID := r.Conn, r.ClientID
	s := conn.Value.(*session)
	s.handlingSince = time.Now()
	b.handle(r)
	b.spend(conn, clientID)
	s.handlingSince = time.Time{}
}

// handle gives the request of a peer that is authenticated to its handler.
func (b *Broker) handle(r *server.Request) {
	switch r.Key {
	case int16(kmsg.Produce):
		b.produce(r)
		return
	case int16(kmsg.Fetch):
		b.fetch(r)
		return
	case int16(kmsg.ApiVersions):
		if !r.VersionOK {
			b.apiVersionsUnsupported(call{b: b, r: r})
			return
		}
	}
	// A hostile request of empty elements takes many times its size once decoded: that is charged as well, while it is handled.
	memory := wire.DecodedSize(r.Key, len(r.Body)) * handlingFactor
	if memory > maxDecodeMemory {
		b.refuse(r, fmt.Errorf("a request of %d bytes with api key %d is too large to be decoded (it may take %d bytes)", len(r.Body), r.Key, memory))
		return
	}
	if memory > freeDecodeMemory {
		if err := b.decodeMemory.Acquire(b.ctx, memory); err != nil {
			b.refuse(r, err)
			return
		}
		defer b.decodeMemory.Release(memory)
	}
	req, err := wire.DecodeRequest(r.Header, r.Body)
	if err != nil {
		b.refuse(r, err)
		return
	}
	r.DetachFrame() // byte fields of req are slices of it
	h, ok := b.apis[r.Key]
	if !ok {
		b.refuse(r, fmt.Errorf("api key %d has no handler", r.Key))
		return
	}
	if err := repeats(req); err != nil {
		b.refuse(r, err)
		return
	}
	c := call{b: b, r: r}
	if !b.authorized(&c, req) {
		return
	}
	b.limitMutations(&c, req)
	h(c, req)
}

// refuse closes the connection of a request that makes no sense.
func (b *Broker) refuse(r *server.Request, err error) {
	b.log.Info("request refused, closing the connection", "peer", r.Conn.RemoteAddr(), "client_id", r.ClientID, "error", err)
	r.DetachFrame()
	r.Conn.Close(err)
}
