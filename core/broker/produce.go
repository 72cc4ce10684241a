package broker

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau-io/moldau/core/log"
	"github.com/moldau-io/moldau/core/log/batch"
	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/replica"
	"github.com/moldau-io/moldau/core/security/acl"
	"github.com/moldau-io/moldau/core/server"
	"github.com/moldau-io/moldau/core/wire"
)

// adminClientID is the client id that may write to internal topics.
const adminClientID = "__admin_client"

// produceCall is a produce request between its append and its answer. It is pooled: the path of an ordinary request does not allocate.
type produceCall struct {
	b       *Broker
	r       *server.Request
	req     wire.ProduceRequest
	topics  []wire.ProduceTopicResult
	results []wire.ProduceResult
	parts   []*replica.Partition // of results, nil where there is none
	txn     *produceTxn          // nil unless there are transactional records
	later   log.SyncLater        // of the partitions appended to so far
	nodes   []wire.NodeEndpoint
	buf     []byte
	waiting atomic.Int32
	// late are appends that went wrong after they were made; guarded by mu until waiting is 0.
	mu      sync.Mutex
	late    []lateFailure
	charged int64 // to the decode budget
	// throttleMs is for how long quotas want the client to be silent.
	throttleMs int32
	release    func() // bound to this call once
	silent     bool   // the request did not arrive: it has no answer
}

// lateFailure is why an append that was made is not safe.
type lateFailure struct {
	slot int
	err  error
}

var produceCalls sync.Pool

func newProduceCall() *produceCall {
	if c, _ := produceCalls.Get().(*produceCall); c != nil {
		return c
	}
	c := new(produceCall)
	c.release = c.recycle
	return c
}

// produceEntryBytes is what a partition of a produce request takes in memory.
const produceEntryBytes = 200

// errTooManyEntries refuses requests of very many partitions while there is no memory for them.
var errTooManyEntries = errors.New("there is no memory for a request of so many partitions now")

// produce appends to the log before it returns and answers when all appends are safe.
func (b *Broker) produce(r *server.Request) {
	c := newProduceCall()
	c.b, c.r = b, r
	if !r.Complete() {
		switch ok, err := c.early(); {
		case err == nil:
			c.answer(ok)
			return
		case !errors.Is(err, wire.ErrNotInParts):
			c.abandon(err)
			return
		}
	}
	if err := c.req.Decode(r.Version, r.Body); err != nil {
		c.recycle()
		b.refuse(r, err)
		return
	}
	if n := int64(len(c.req.Partitions)) * produceEntryBytes; n > freeDecodeMemory {
		if !b.decodeMemory.TryAcquire(n) {
			c.recycle()
			b.refuse(r, errTooManyEntries)
			return
		}
		c.charged = n
	}
	c.waiting.Store(1) // this function
	c.answer(c.appendAll())
}

// abandon ends a request that did not arrive, or closes the connection of one that makes no sense. What was appended is acknowledged to nobody.
func (c *produceCall) abandon(err error) {
	if c.silent = errors.Is(err, server.ErrIncomplete); c.silent {
		c.r.DetachFrame()
	} else {
		c.b.refuse(c.r, err)
	}
	c.finished()
}

// answer gives the frame back and answers, now or when the appends are safe. ok says whether all could be appended.
func (c *produceCall) answer(ok bool) {
	b, r := c.b, c.r
	size := r.BodySize()
	c.throttleMs = 0
	if b.quotas.table.Load() != nil {
		c.throttleMs = b.throttleProduce(r, size)
	}
	acks := c.req.Acks
	r.ReleaseFrame()
	if acks == 0 {
		// There is no answer. As Kafka, tell of a failure in the only way left, so that the client looks for the leader again.
		if !ok {
			conn := r.Conn
			r.RespondNothing()
			conn.Close(errors.New("a produce request with acks=0 failed"))
		} else {
			r.RespondNothing()
		}
		c.recycle()
		return
	}
	c.finished()
}

// appendAll appends what the request holds and fills in the results; it says whether all went well.
func (c *produceCall) appendAll() bool {
	ok := true
	n := len(c.req.Partitions)
	c.results = resize(c.results, n)
	c.parts = resize(c.parts, n)
	c.topics = resize(c.topics, len(c.req.Topics))
	c.txn = nil
	if c.transactional() {
		c.txn = c.join()
	}
	defer c.later.Begin()
	for i := range c.req.Topics {
		t := &c.req.Topics[i]
		topic := c.b.topicFor(t.Name, t.ID)
		res := &c.topics[i]
		nameTopic(res, topic, t)
		res.Partitions = c.results[t.First:t.End]
		for j := t.First; j < t.End; j++ {
			if !c.appendOne(topic, j) {
				ok = false
			}
		}
		c.hide(topic, t, res)
	}
	return ok
}

// nameTopic names the topic in the answer.
func nameTopic(res *wire.ProduceTopicResult, topic *topicState, t *wire.ProduceTopic) {
	res.ID = t.ID
	if topic != nil {
		res.Name = topic.name
	} else {
		res.Name = string(t.Name)
	}
}

// hide does not tell who may not write to a topic whether it exists.
func (c *produceCall) hide(topic *topicState, t *wire.ProduceTopic, res *wire.ProduceTopicResult) {
	if topic == nil && c.req.Version < 13 && (c.txn == nil || c.txn.denied == nil) && !c.call().allowedTopic(acl.Write, res.Name) {
		for j := t.First; j < t.End; j++ {
			c.fail(j, kerr.TopicAuthorizationFailed)
		}
	}
}

// appendOne appends for one partition.
func (c *produceCall) appendOne(topic *topicState, slot int) bool {
	in := &c.req.Partitions[slot]
	out := &c.results[slot]
	*out = wire.ProduceResult{Index: in.Index, BaseOffset: -1, LogAppendTimeMs: -1, LogStartOffset: -1, LeaderID: -1}
	b := c.b
	c.parts[slot] = nil
	var err error
	if c.txn != nil && c.txn.denied != nil {
		err = c.txn.denied
	} else if err = c.check(topic, in); err == nil && c.txn != nil {
		err = c.txn.errs[slot]
	}
	if err != nil {
		c.fail(slot, err)
		return false
	}
	p := topic.partition(in.Index)
	c.parts[slot] = p
	size := len(in.Records)
	var acker replica.Acker
	if c.req.Acks != 0 {
		acker = c
		c.waiting.Add(1)
	}
	o := replica.AppendOptions{Acks: c.req.Acks, Origin: log.Client, SyncLater: &c.later}
	if c.txn != nil {
		o.Guard = c.txn.guards[slot]
	}
	topic.stats.produceRequests.Add(1)
	res, err := p.Append(in.Records, o, acker, slot)
	if err != nil {
		if acker != nil {
			c.waiting.Add(-1) // never the last: produce holds one
		}
		c.fail(slot, err)
		b.metrics.failedToProduce(topic, c.results[slot].ErrorCode)
		return false
	}
	out.BaseOffset, out.LogAppendTimeMs, out.LogStartOffset = res.BaseOffset, res.LogAppendTimeMs, res.LogStartOffset
	topic.stats.bytesIn.Add(int64(size))
	topic.stats.messagesIn.Add(res.LastOffset - res.BaseOffset + 1)
	return true
}

// check refuses what must not reach the log.
func (c *produceCall) check(topic *topicState, in *wire.ProducePartition) error {
	switch {
	case topic != nil && !c.call().allowedTopic(acl.Write, topic.name):
		return kerr.TopicAuthorizationFailed
	case c.req.Acks < -1 || c.req.Acks > 1:
		return kerr.InvalidRequiredAcks
	case topic == nil && c.req.Version >= 13:
		return kerr.UnknownTopicID
	case topic == nil:
		return kerr.UnknownTopicOrPartition
	case topic.internal && c.r.ClientID != adminClientID:
		return &metadata.Error{Code: kerr.InvalidTopicException.Code, Message: "Cannot append to internal topic " + topic.name}
	case topic.partition(in.Index) == nil:
		return kerr.UnknownTopicOrPartition
	case len(in.Records) == 0:
		return kerr.InvalidRecord
	}
	// Since Produce version 3: exactly one batch for each partition, of the current format.
	first, rest, err := batch.Next(in.Records)
	switch {
	case errors.Is(err, batch.ErrMagic) && in.Records[batch.OffsetMagic] > 2:
		return &metadata.Error{Code: kerr.CorruptMessage.Code, Message: fmt.Sprintf("Invalid magic found in record: %d", in.Records[batch.OffsetMagic])}
	case errors.Is(err, batch.ErrShort), errors.Is(err, batch.ErrMagic):
		return kerr.InvalidRecord
	case err != nil:
		return fmt.Errorf("%w: %w", log.ErrCorruptMessage, err)
	case len(rest) > 0:
		return kerr.InvalidRecord
	case c.req.Version < 7 && first.Codec() == batch.Zstd:
		return kerr.UnsupportedCompressionType
	}
	return nil
}

// fail fills in an error as Kafka does: with a text only where it says more than the code, and with the log's start where the log itself
// refused the records.
func (c *produceCall) fail(slot int, err error) {
	out := &c.results[slot]
	out.ErrorCode = codeOf(err)
	out.BaseOffset, out.LogAppendTimeMs, out.LogStartOffset = -1, -1, -1
	var bad *log.InvalidRecordError
	var said *metadata.Error
	switch {
	case errors.As(err, &bad):
		out.ErrorMessage = rejection(bad)
		for i := range bad.Records {
			out.RecordErrors = append(out.RecordErrors, wire.RecordError{BatchIndex: bad.Records[i].Index, Message: &bad.Records[i].Message})
		}
	case errors.As(err, &said):
		out.ErrorMessage = messageOf(err)
	case errors.Is(err, replica.ErrNotEnoughReplicas):
		out.ErrorMessage = messageOf(err)
	}
	if p := c.parts[slot]; p != nil {
		switch out.ErrorCode {
		case kerr.NotLeaderForPartition.Code, kerr.MessageTooLarge.Code, kerr.RecordListTooLarge.Code, kerr.CorruptMessage.Code, kerr.KafkaStorageError.Code:
		default:
			out.LogStartOffset = p.Log().StartOffset()
		}
	}
	if out.ErrorCode == kerr.UnknownServerError.Code {
		c.b.log.Error("produce failed", "partition", out.Index, "error", err)
	}
}

// rejection is Kafka's summary of bad records.
func rejection(bad *log.InvalidRecordError) *string {
	if len(bad.Records) == 0 || errors.Is(bad.Err, log.ErrInvalidTimestamp) {
		return &bad.Message
	}
	var list []string
	for _, r := range bad.Records[:min(3, len(bad.Records))] {
		list = append(list, fmt.Sprintf("RecordError(batchIndex=%d, message='%s')", r.Index, r.Message))
	}
	text := fmt.Sprintf("One or more records have been rejected due to %d record errors in total, and only showing the first three errors at most: [%s]", len(bad.Records), strings.Join(list, ", "))
	return &text
}

// Acknowledged implements replica.Acker.
func (c *produceCall) Acknowledged(slot int, err error) {
	if err != nil {
		c.mu.Lock() // the results may still be growing
		c.late = append(c.late, lateFailure{slot, err})
		c.mu.Unlock()
	}
	c.finished()
}

// finished answers after the last partition.
func (c *produceCall) finished() {
	if c.waiting.Add(-1) > 0 {
		return
	}
	if c.silent {
		c.r.RespondNothing()
		c.recycle()
		return
	}
	for _, f := range c.late {
		c.fail(f.slot, f.err)
	}
	for i := range c.results {
		if c.results[i].ErrorCode == kerr.NotLeaderForPartition.Code && c.parts[i] != nil {
			c.hintLeader(&c.results[i], c.parts[i])
		}
	}
	c.buf = wire.AppendProduceResponse(c.buf[:0], c.req.Version, c.r.CorrelationID, c.topics, c.nodes, c.throttleMs)
	c.r.Respond(c.buf, c.release)
}

// call is the request as authorization sees it.
func (c *produceCall) call() call { return call{b: c.b, r: c.r} }

// hintLeader names the new leader (KIP-951).
func (c *produceCall) hintLeader(out *wire.ProduceResult, p *replica.Partition) {
	l := p.Leadership()
	node, ok := c.b.endpoint(l.Leader, c.r.Conn.Listener())
	if !ok || l.Leader == c.b.set.nodeID {
		return
	}
	out.LeaderID, out.LeaderEpoch = l.Leader, l.Epoch
	for _, n := range c.nodes {
		if n.NodeID == node.NodeID {
			return
		}
	}
	c.nodes = append(c.nodes, node)
}

func (c *produceCall) recycle() {
	if c.charged > 0 {
		c.b.decodeMemory.Release(c.charged)
		c.charged = 0
	}
	if c.req.Shrink(); cap(c.results) > 4096 {
		c.results, c.parts, c.topics = nil, nil, nil
	}
	clear(c.late)
	c.late = c.late[:0]
	clear(c.parts)
	for i := range c.results {
		c.results[i] = wire.ProduceResult{}
	}
	clear(c.topics)
	c.req.TransactionalID = nil
	clear(c.req.Topics)
	clear(c.req.Partitions)
	c.b, c.r, c.txn, c.nodes, c.silent = nil, nil, nil, c.nodes[:0], false
	if cap(c.buf) > 64<<10 {
		c.buf = nil
	}
	produceCalls.Put(c)
}

// resize returns s with length n, keeping its memory when it is large enough. The elements are not cleared.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/2)
	}
	return s[:n]
}
