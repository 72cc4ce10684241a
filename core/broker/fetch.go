package broker

import (
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau-io/moldau/core/log"
	"github.com/moldau-io/moldau/core/replica"
	"github.com/moldau-io/moldau/core/security/acl"
	"github.com/moldau-io/moldau/core/server"
	"github.com/moldau-io/moldau/core/wire"
)

// fetchCall is a fetch request between its arrival and its answer. It is pooled.
//
// A fetch is looked at twice. First, on the reader goroutine, whether it can be answered now; else it watches its
// partitions. Then, when it is its turn to be written, the records are read from the log, unless that was done ahead (fetchAhead), and encoded. So a
// fetch that waits holds no records, and each connection holds those of one answer at most, beside what was read ahead.
type fetchCall struct {
	b           *Broker
	r           *server.Request
	req         wire.FetchRequest
	session     *fetchSession
	incremental bool
	errorCode   int16
	parts       []fetchPart
	watch       *replica.Watch

	out     []wire.FetchedPartition
	resp    wire.FetchResponse
	nodes   []wire.NodeEndpoint
	buffers fetchBuffers
	ahead   *fetchAhead // what had been read before the request came, nil for nothing
	more    [][]byte    // those of c.out
	charged int64       // to the fetch budget
	// decodeCharged is what a fetch of very many partitions has taken of the decode budget.
	decodeCharged int64
	moved         map[*sessionPart]bool

	release func()
	build   func() ([][]byte, func())
	written func()
}

// fetchEntryBytes is what a partition of a fetch takes in memory.
const fetchEntryBytes = 400

// fetchPart is one partition of a fetch.
type fetchPart struct {
	name    string
	id      [16]byte
	topic   *topicState        // nil when there is none
	p       *replica.Partition // nil when there is none
	req     wire.FetchPartition
	session *sessionPart // nil without a session
	code    int16
	hw      int64 // when it was first looked at
	next    int64 // the offset after the records of the answer, 0 when it has none
}

var fetchCalls sync.Pool

func newFetchCall() *fetchCall {
	if c, _ := fetchCalls.Get().(*fetchCall); c != nil {
		return c
	}
	c := new(fetchCall)
	c.release = c.recycle
	c.build = c.encode
	c.written = c.readAhead
	return c
}

// fetch answers at once when there is enough to read, an error, or no time to wait, and otherwise when enough has come or
// the time is up.
func (b *Broker) fetch(r *server.Request) {
	c := newFetchCall()
	c.b, c.r = b, r
	if err := c.req.Decode(r.Version, r.Body); err != nil {
		c.recycle()
		b.refuse(r, err)
		return
	}
	c.session, c.incremental, c.errorCode = b.sessions.open(&c.req)
	if c.errorCode == 0 {
		n := len(c.req.Partitions)
		if c.session != nil {
			n = c.session.len()
		}
		if n := int64(n) * fetchEntryBytes; n > freeDecodeMemory {
			if !b.decodeMemory.TryAcquire(n) {
				c.recycle()
				b.refuse(r, errTooManyEntries)
				return
			}
			c.decodeCharged = n
		}
		c.collect()
	}
	r.ReleaseFrame()
	c.req.Topics, c.req.Partitions = c.req.Topics[:0], c.req.Partitions[:0]
	c.req.Forgotten, c.req.Rack, c.req.ClusterID = c.req.Forgotten[:0], nil, nil
	if c.errorCode != 0 || c.ready() {
		r.RespondLater(c.build, c.release)
		return
	}
	c.wait()
}

// collect lists the partitions to fetch: those of the request, or of the session in the session's order.
func (c *fetchCall) collect() {
	c.parts = c.parts[:0]
	if c.session == nil {
		for i := range c.req.Topics {
			t := &c.req.Topics[i]
			topic := c.b.topicFor(t.Name, t.ID)
			var name string
			if topic != nil {
				name = topic.name
			} else {
				name = string(t.Name)
			}
			for j := t.First; j < t.End; j++ {
				c.add(topic, name, t.ID, c.req.Partitions[j], nil)
			}
		}
		return
	}
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	var topic *topicState
	var last partKey
	for i, s := range c.session.order {
		if i == 0 || s.key.name != last.name || s.key.id != last.id {
			if c.session.useIDs {
				topic = c.b.topicFor(nil, s.key.id)
			} else {
				topic = c.b.topicNamed(s.key.name)
			}
			last = s.key
		}
		name := s.key.name
		if topic != nil {
			name = topic.name
		}
		c.add(topic, name, s.key.id, s.req, s)
	}
}

func (c *fetchCall) add(topic *topicState, name string, id [16]byte, req wire.FetchPartition, s *sessionPart) {
	f := fetchPart{name: name, id: id, topic: topic, req: req, session: s}
	switch {
	case topic == nil && c.req.Version >= 13:
		f.code = kerr.UnknownTopicID.Code
	case !c.allowed(name):
		f.code = kerr.TopicAuthorizationFailed.Code
	case topic == nil:
		f.code = kerr.UnknownTopicOrPartition.Code
	default:
		f.p = topic.partition(req.Index)
		if f.p == nil {
			f.code = kerr.UnknownTopicOrPartition.Code
		}
	}
	c.parts = append(c.parts, f)
}

// allowed says whether the records of a topic may be read.
func (c *fetchCall) allowed(topic string) bool {
	cl := call{b: c.b, r: c.r}
	if c.req.ReplicaID >= 0 {
		return cl.allowedCluster(acl.ClusterAction)
	}
	return cl.allowedTopic(acl.Read, topic)
}

// ready says whether the fetch can be answered now, and notes the high watermarks it looked at.
func (c *fetchCall) ready() bool {
	if c.req.MaxWaitMs <= 0 || len(c.parts) == 0 || c.req.ReplicaID >= 0 {
		return true
	}
	ready := false
	available := int64(0)
	for i := range c.parts {
		f := &c.parts[i]
		if f.p == nil {
			ready = true
			continue
		}
		o := f.p.Offsets()
		f.hw = o.HighWatermark
		if f.p.CheckEpoch(f.req.CurrentLeaderEpoch) != nil || c.diverges(f) || f.req.FetchOffset < o.LogStart {
			ready = true
			continue
		}
		limit := o.Limit(c.req.ReadCommitted)
		if f.req.FetchOffset > o.HighWatermark && f.p.CheckOffset(f.req.FetchOffset) != nil {
			ready = true
			continue
		}
		if f.req.FetchOffset < limit {
			if c.req.MinBytes <= 1 {
				available++
			} else {
				available += f.p.ReadableBytes(f.req.FetchOffset, limit, int64(f.req.MaxBytes))
			}
		}
	}
	return ready || available >= int64(c.req.MinBytes)
}

// diverges says whether the last epoch a client fetched does not end where it thinks it does.
func (c *fetchCall) diverges(f *fetchPart) bool {
	if f.req.LastFetchedEpoch < 0 {
		return false
	}
	epoch, end := f.p.EpochEndOffset(f.req.LastFetchedEpoch)
	return epoch < f.req.LastFetchedEpoch || end < f.req.FetchOffset
}

// wait watches the partitions until enough bytes have come, or the time is up, or the broker stops.
func (c *fetchCall) wait() {
	r := c.r
	need := int64(c.req.MinBytes)
	if need > 1 {
		for i := range c.parts {
			f := &c.parts[i]
			o := f.p.Offsets()
			if limit := o.Limit(c.req.ReadCommitted); f.req.FetchOffset < limit {
				need -= f.p.ReadableBytes(f.req.FetchOffset, limit, int64(f.req.MaxBytes))
			}
		}
	}
	newWatch := replica.NewWatch
	if c.req.ReadCommitted {
		newWatch = replica.NewCommittedWatch
	}
	w := newWatch(need, func() { r.RespondLater(c.build, c.release) })
	c.watch = w
	// Once it is watched anywhere, the answer may be built at any moment, but not before the reader goroutine has returned
	// to the connection: the call is not touched after the watch is complete.
	if !c.b.pollers.add(w, time.Duration(c.req.MaxWaitMs)*time.Millisecond) {
		w.Fire()
		return
	}
	for i := range c.parts {
		f := &c.parts[i]
		f.p.Watch(w, f.hw)
	}
}

// maxAnswer bounds the records of one answer, since they are in memory while it is written. Clients ask for 50 MiB by default; more than this
// at a time makes nobody faster.
const maxAnswer = 16 << 20

// answerSizes bound them for a peer whose round trip is at most so long. There the next fetch comes at once, and the less is copied in, out and in
// again at a time the nearer to the processor it stays; farther away an answer has to make up for the round trip. Within a machine it is what clients
// take of one partition by default, and some that is small beside it: an answer of 1 MiB is full with what is left before a batch of that size.
// docs/benchmarks.md has the figures.
type answerSizes []struct {
	rtt  time.Duration
	most int
}

// nearAnswers are in use (Broker.answers).
var nearAnswers = answerSizes{
	{100 * time.Microsecond, 1<<20 + 128<<10},
	{2 * time.Millisecond, 4 << 20},
}

// of is the bound for a peer with a round trip, if it is known, and whether it is near.
func (s answerSizes) of(rtt time.Duration, known bool) (most int, near bool) {
	if known {
		for _, a := range s {
			if rtt <= a.rtt {
				return a.most, true
			}
		}
	}
	return maxAnswer, false
}

// most is how many bytes of records the answer may have.
func (c *fetchCall) most() int {
	most, _ := c.b.answers.of(c.r.Conn.RoundTrip())
	return min(int(min(max(c.req.MaxBytes, 0), c.b.set.fetchMaxBytes)), most)
}

// encode reads the records and makes the frame. It runs when it is this answer's turn.
func (c *fetchCall) encode() ([][]byte, func()) {
	if c.watch != nil {
		c.b.pollers.remove(c.watch)
		for i := range c.parts {
			if p := c.parts[i].p; p != nil {
				p.Unwatch(c.watch)
			}
		}
		c.watch = nil
	}
	sessionID := int32(0)
	if c.session != nil {
		sessionID = c.session.id
	}
	if c.errorCode != 0 {
		c.resp.Begin(c.req.Version, c.r.CorrelationID, 0, c.errorCode, 0, 0)
		return c.resp.Finish(nil), c.release
	}
	if c.session != nil {
		c.ahead = c.session.takeAhead()
	}
	c.read()
	if c.b.quotas.table.Load() != nil {
		if ms := c.b.throttleFetch(c.r, c.recordBytes()); ms > 0 {
			if !c.incremental {
				sessionID = 0 // the client begins a session with its next fetch
			}
			c.resp.Begin(c.req.Version, c.r.CorrelationID, ms, 0, sessionID, 0)
			return c.resp.Finish(nil), c.release
		}
	}
	if c.session != nil {
		c.session.mu.Lock()
		c.filter()
		if c.ahead != nil {
			c.session.judgeAhead(c.ahead.hits)
		}
		c.session.mu.Unlock()
	}
	topics := 0
	for i := 0; i < len(c.parts); i = c.topicEnd(i) {
		topics++
	}
	c.resp.Begin(c.req.Version, c.r.CorrelationID, 0, 0, sessionID, topics)
	for i := 0; i < len(c.parts); {
		end := c.topicEnd(i)
		c.resp.Topic(c.parts[i].name, c.parts[i].id, end-i)
		for ; i < end; i++ {
			c.resp.Partition(&c.out[i])
		}
		c.resp.EndTopic()
	}
	done := c.release
	if c.worthAhead() {
		done = c.written
	}
	return c.resp.Finish(c.nodes), done
}

// recordBytes is how many bytes of records were read.
func (c *fetchCall) recordBytes() int {
	n := 0
	for i := range c.out {
		n += c.out[i].RecordBytes()
	}
	return n
}

// topicEnd is the end of the run of partitions of one topic that begins at i.
func (c *fetchCall) topicEnd(i int) int {
	j := i + 1
	for j < len(c.parts) && c.parts[j].id == c.parts[i].id && c.parts[j].name == c.parts[i].name {
		j++
	}
	return j
}

// read fills c.out for all of c.parts.
func (c *fetchCall) read() {
	left := c.most()
	if c.b.quotas.table.Load() != nil {
		left = min(left, c.b.quotas.most(call{b: c.b, r: c.r}.session(), c.r.ClientID))
	}
	left = c.reserve(left)
	first := true
	c.out = resize(c.out, len(c.parts))
	for i := range c.parts {
		f := &c.parts[i]
		out := &c.out[i]
		*out = wire.FetchedPartition{Index: f.req.Index, ErrorCode: f.code, HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1, PreferredReadReplica: -1, DivergingEpoch: -1, LeaderID: -1}
		if f.p == nil {
			out.Aborted = []wire.AbortedTransaction{} // as in Kafka empty, not null, where nothing was read
			continue
		}
		n := c.readOne(f, out, left, first)
		if n > 0 {
			first = false
			left = max(left-n, 0)
		}
	}
}

// readOne reads one partition, at most left bytes unless it is the first with records, which gets a whole batch in any case. It returns how much
// of left is gone: all of it when the next batch has no room, for looking at the batches of all other partitions costs more than an answer
// that could be fuller is worth. They are the first of the next fetch.
func (c *fetchCall) readOne(f *fetchPart, out *wire.FetchedPartition, left int, first bool) int {
	err := f.p.CheckEpoch(f.req.CurrentLeaderEpoch)
	if err != nil {
		c.failOne(f, out, err)
		return 0
	}
	if c.req.ReplicaID >= 0 {
		// Followers are known by the partition's replicas; nobody else may read as one, past the high watermark.
		c.failOne(f, out, replica.ErrNotLeader)
		return 0
	}
	if c.diverges(f) {
		if epoch, _ := f.p.EpochEndOffset(f.req.LastFetchedEpoch); epoch < 0 {
			c.failOne(f, out, log.ErrOffsetOutOfRange)
			return 0
		}
		out.DivergingEpoch, out.DivergingEndOffset = f.p.EpochEndOffset(f.req.LastFetchedEpoch)
		o := f.p.Offsets()
		out.HighWatermark, out.LastStableOffset, out.LogStartOffset = o.HighWatermark, o.LastStable, o.LogStart
		return 0
	}
	want := min(left, int(max(f.req.MaxBytes, 0)))
	if want == 0 && !first {
		if err := f.p.CheckOffset(f.req.FetchOffset); err != nil {
			c.failOne(f, out, err)
			return 0
		}
		o := f.p.Offsets()
		out.HighWatermark, out.LastStableOffset, out.LogStartOffset = o.HighWatermark, o.LastStable, o.LogStart
		return 0
	}
	from := len(c.more)
	var total int
	var next int64
	var o replica.Offsets
	var ok bool
	if c.more, total, next, o, ok = c.ahead.take(c.more, f, want, c.req.ReadCommitted); !ok {
		c.more, total, next, o, err = c.buffers.read(c.more, f.p, f.req.FetchOffset, want, c.req.ReadCommitted, first)
		if err != nil {
			c.failOne(f, out, err)
			return 0
		}
	}
	if c.req.ReadCommitted {
		// Without the list of aborted transactions their records would look committed.
		if out.Aborted, err = c.b.aborted(f.p, f.req.FetchOffset, next, o.LastStable); err != nil {
			c.more = c.more[:from]
			c.failOne(f, out, err)
			return 0
		}
	}
	out.HighWatermark, out.LastStableOffset, out.LogStartOffset = o.HighWatermark, o.LastStable, o.LogStart
	if pieces := c.more[from:len(c.more):len(c.more)]; len(pieces) > 0 {
		out.Records, out.More = pieces[0], pieces[1:]
		f.next = next
	}
	f.topic.stats.fetchRequests.Add(1)
	f.topic.stats.bytesOut.Add(int64(total))
	if ok {
		c.b.metrics.aheadUsed.Add(int64(total))
	}
	if total == 0 && !first && want == left && f.req.FetchOffset < o.Limit(c.req.ReadCommitted) {
		return left
	}
	return total
}

func (c *fetchCall) failOne(f *fetchPart, out *wire.FetchedPartition, err error) {
	out.ErrorCode = codeOf(err)
	f.topic.stats.fetchRequests.Add(1)
	c.b.metrics.failedToFetch(f.topic, out.ErrorCode)
	switch out.ErrorCode {
	case kerr.UnknownServerError.Code, kerr.KafkaStorageError.Code:
		c.b.log.Error("fetch failed", "topic", f.name, "partition", f.req.Index, "offset", f.req.FetchOffset, "error", err)
	case kerr.NotLeaderForPartition.Code, kerr.FencedLeaderEpoch.Code:
		l := f.p.Leadership()
		if node, ok := c.b.endpoint(l.Leader, c.r.Conn.Listener()); ok && l.Leader != c.b.set.nodeID {
			out.LeaderID, out.LeaderEpoch = l.Leader, l.Epoch
			c.nodes = append(c.nodes[:0], node)
		}
	}
}

// reserve takes memory for the records from the broker's fetch budget and returns how many bytes may be read. When the
// budget is exhausted an answer shrinks to smallFetch rather than waits for others.
func (c *fetchCall) reserve(want int) int {
	estimate := int64(0)
	for i := range c.parts {
		if p := c.parts[i].p; p != nil {
			o := p.Offsets()
			estimate += p.ReadableBytes(c.parts[i].req.FetchOffset, o.HighWatermark, int64(c.parts[i].req.MaxBytes))
			if estimate >= int64(want) {
				break
			}
		}
	}
	n := min(int64(want), estimate)
	if n <= smallFetch {
		return want
	}
	if c.b.fetchMemory.TryAcquire(n) {
		c.charged = n
		return int(n)
	}
	return smallFetch
}

// smallFetch is how many bytes an answer may hold that the fetch budget does not know of.
const smallFetch = 256 << 10

// filter drops what an incremental answer need not name, and notes what the client was told. It needs the session's lock.
func (c *fetchCall) filter() {
	keep := 0
	clear(c.moved)
	for i := range c.parts {
		s := c.parts[i].session
		news := s.news(&c.out[i])
		if len(c.out[i].Records) > 0 {
			if c.moved == nil {
				c.moved = map[*sessionPart]bool{}
			}
			c.moved[s] = true
			s.next = c.parts[i].next
		}
		if news || !c.incremental {
			c.parts[keep], c.out[keep] = c.parts[i], c.out[i]
			keep++
		}
	}
	clear(c.parts[keep:])
	c.parts, c.out = c.parts[:keep], c.out[:keep]
	c.session.rotate(c.moved)
}

func (c *fetchCall) recycle() {
	if c.watch != nil { // the connection was lost before the answer was built
		c.watch.Cancel()
		c.b.pollers.remove(c.watch)
		for i := range c.parts {
			if p := c.parts[i].p; p != nil {
				p.Unwatch(c.watch)
			}
		}
	}
	c.buffers.free()
	if c.ahead != nil {
		c.ahead.free(c.b)
		c.ahead = nil
	}
	clear(c.more)
	c.more = c.more[:0]
	if c.charged > 0 {
		c.b.fetchMemory.Release(c.charged)
		c.charged = 0
	}
	if c.decodeCharged > 0 {
		c.b.decodeMemory.Release(c.decodeCharged)
		c.decodeCharged = 0
	}
	c.req.Shrink()
	c.resp.Reset()
	if cap(c.parts) > 4096 {
		c.parts, c.out, c.moved = nil, nil, nil
		c.resp = wire.FetchResponse{}
	}
	clear(c.out[:cap(c.out)])
	clear(c.parts[:cap(c.parts)])
	clear(c.moved)
	c.parts, c.out, c.nodes = c.parts[:0], c.out[:0], c.nodes[:0]
	c.b, c.r, c.session, c.watch = nil, nil, nil, nil
	c.incremental, c.errorCode = false, 0
	fetchCalls.Put(c)
}
