package replica

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/moldau-io/moldau/core/log"
)

// Errors of a partition beside those of its log.
var (
	// ErrNotLeader: this node does not lead the partition (NOT_LEADER_OR_FOLLOWER).
	ErrNotLeader = errors.New("not the leader of the partition")
	// ErrFencedEpoch: the request's leader epoch is older than the partition's (FENCED_LEADER_EPOCH).
	ErrFencedEpoch = errors.New("leader epoch is fenced")
	// ErrUnknownEpoch: the request's leader epoch is newer than the partition's (UNKNOWN_LEADER_EPOCH).
	ErrUnknownEpoch = errors.New("leader epoch is not known yet")
	// ErrNotEnoughReplicas: fewer in-sync replicas than min.insync.replicas (NOT_ENOUGH_REPLICAS).
	ErrNotEnoughReplicas = errors.New("not enough in-sync replicas")
	// ErrClosed: the partition was deleted or moved away (UNKNOWN_TOPIC_OR_PARTITION).
	ErrClosed = errors.New("partition is gone from this node")
)

// Leadership is who leads a partition and with whom, as the metadata says. It is immutable.
type Leadership struct {
	Leader         int32
	Epoch          int32
	PartitionEpoch int32
	Replicas       []int32
	ISR            []int32
	// MinISR is the topic's min.insync.replicas.
	MinISR int
}

// Partition is one partition on this node. All methods are safe for concurrent use.
type Partition struct {
	topic string
	id    [16]byte
	index int32
	node  int32
	log   atomic.Pointer[log.Log]
	swap  sync.RWMutex // who changes the log holds it to read; SwapLog to write

	leadership atomic.Pointer[Leadership]
	hw         atomic.Int64

	onDurable func(error) // durable, bound once

	mu       sync.Mutex
	closed   bool
	armed    bool       // a call of durable is to come
	appends  []appended // in the order of offsets: those at or above the high watermark
	watchers []*Watch
	watching atomic.Int32 // len(watchers), to look at without mu
	stable   int64        // the last stable offset when watchers were fed
	held     int64        // bytes that passed the high watermark and wait for their transactions to end
}

// appended is one append that the high watermark has not passed yet.
type appended struct {
	end   int64 // offset after its last record
	bytes int64
	acker Acker // nil when nobody waits
	slot  int
}

// Acker is told that an append was acknowledged, or why it never will be. It is called once for each slot, from any goroutine,
// possibly before Append returns, and must not block.
type Acker interface {
	Acknowledged(slot int, err error)
}

// New makes the partition of a log; node is this broker's id. It leads nothing until SetLeadership.
func New(topic string, id [16]byte, index, node int32, l *log.Log) *Partition {
	p := &Partition{topic: topic, id: id, index: index, node: node}
	p.log.Store(l)
	p.leadership.Store(&Leadership{Leader: -1, Epoch: -1})
	p.onDurable = p.durable
	p.hw.Store(l.DurableOffset())
	l.AdvanceHighWatermark(p.hw.Load())
	l.SetListener(func(_, durable int64) { p.progressed(durable) })
	return p
}

// Topic, TopicID and Index name the partition.
func (p *Partition) Topic() string     { return p.topic }
func (p *Partition) TopicID() [16]byte { return p.id }
func (p *Partition) Index() int32      { return p.index }

// Log is the partition's log. It changes when the partition moves to another directory.
func (p *Partition) Log() *log.Log { return p.log.Load() }

// Leadership returns the current state; it must not be changed.
func (p *Partition) Leadership() *Leadership { return p.leadership.Load() }

// HighWatermark is the offset after the last record that is safe.
func (p *Partition) HighWatermark() int64 { return p.hw.Load() }

// IsLeader says whether this node leads the partition.
func (p *Partition) IsLeader() bool { return p.leadership.Load().Leader == p.node }

// notLeader is what is answered where this node does not lead: why not, when that is the log's directory.
func (p *Partition) notLeader() error {
	if err := p.Log().Err(); err != nil {
		return err
	}
	return ErrNotLeader
}

// SetLeadership takes over what the metadata says. When this node stops leading, those who wait are told so. A new epoch enters the
// log's history with its first append, so that taking over many partitions writes nothing; until then EpochEndOffset answers for it.
func (p *Partition) SetLeadership(l Leadership) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.leadership.Load()
	p.leadership.Store(&l)
	if old.Leader == p.node && l.Leader != p.node {
		p.failAll(p.notLeader())
	}
}

// EpochEndOffset is where the largest epoch at or below the one asked for ends (KIP-101, KIP-279), -1 and -1 when unknown.
func (p *Partition) EpochEndOffset(epoch int32) (found int32, end int64) {
	l, latest := p.leadership.Load(), p.Log().LatestEpoch()
	if l.Leader == p.node && epoch > latest && epoch <= l.Epoch {
		if epoch == l.Epoch || latest < 0 {
			return epoch, p.Log().EndOffset()
		}
		return latest, p.Log().EndOffset() // an epoch in which nothing was written
	}
	return p.Log().EpochEndOffset(epoch)
}

// UpdateConfig gives the log a new configuration.
func (p *Partition) UpdateConfig(c log.Config) {
	p.swap.RLock()
	defer p.swap.RUnlock()
	p.Log().UpdateConfig(c)
}

// SwapLog holds off appends and all other changes of the log, and has swap bring another log with the same contents, which takes the place of
// the partition's. With an error the partition keeps the one it has.
func (p *Partition) SwapLog(swap func() (*log.Log, error)) error {
	p.swap.Lock()
	defer p.swap.Unlock()
	l, err := swap()
	if err != nil {
		return err
	}
	p.Log().SetListener(nil)
	l.AdvanceHighWatermark(p.hw.Load())
	p.log.Store(l)
	l.SetListener(func(_, durable int64) { p.progressed(durable) })
	p.progressed(l.DurableOffset())
	return nil
}

// Close tells everyone who waits that the partition is gone. The log is the caller's to delete.
func (p *Partition) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.failAll(ErrClosed)
}

// failAll ends all waiting. It needs mu; callbacks are short and take no lock of this package.
func (p *Partition) failAll(err error) {
	for i := range p.appends {
		if a := &p.appends[i]; a.acker != nil {
			a.acker.Acknowledged(a.slot, err)
		}
	}
	p.appends = nil
	for _, w := range p.watchers {
		w.fire()
	}
	p.watchers = nil
	p.watching.Store(0)
}

// CheckEpoch checks a client's idea of the leader epoch (KIP-320); -1 is no idea.
func (p *Partition) CheckEpoch(current int32) error {
	l := p.leadership.Load()
	switch {
	case l.Leader != p.node:
		return p.notLeader()
	case current < 0 || current == l.Epoch:
		return nil
	case current < l.Epoch:
		return ErrFencedEpoch
	default:
		return ErrUnknownEpoch
	}
}

// commitLimit is how far the high watermark may go when this node's log is safe up to local. Followers' ends
// will be taken into the minimum here.
func (p *Partition) commitLimit(local int64) int64 { return local }

// progressed is called by the log when its durable end has moved, in fsync mode after a group sync, in os mode after each append.
func (p *Partition) progressed(durable int64) {
	limit := p.commitLimit(durable)
	if limit <= p.hw.Load() {
		return
	}
	// The log first: who sees the new high watermark must see the last stable offset that goes with it. It takes the log's
	// lock, under which p.mu is taken elsewhere.
	p.Log().AdvanceHighWatermark(limit)
	p.mu.Lock()
	defer p.mu.Unlock()
	if limit <= p.hw.Load() {
		return
	}
	p.hw.Store(limit)
	p.release(limit)
}

// release answers the appends below limit and feeds the watchers. It needs mu.
func (p *Partition) release(limit int64) {
	n, bytes := 0, int64(0)
	for n < len(p.appends) && p.appends[n].end <= limit {
		a := &p.appends[n]
		bytes += a.bytes
		if a.acker != nil {
			a.acker.Acknowledged(a.slot, nil)
		}
		n++
	}
	if n > 0 {
		rest := copy(p.appends, p.appends[n:])
		clear(p.appends[rest:])
		p.appends = p.appends[:rest]
	}
	p.feed(bytes)
}

// feed tells the watchers of bytes that became readable. It needs mu.
func (p *Partition) feed(bytes int64) {
	if bytes == 0 {
		return
	}
	// What became stable comes all at once when a transaction ends. How many bytes of those that were held back are still behind
	// another one is not known: a watch may fire early, never late.
	committed := int64(0)
	p.held += bytes
	if stable := min(p.Log().LastStableOffset(), p.hw.Load()); stable > p.stable {
		p.stable, p.held, committed = stable, 0, p.held
	}
	if len(p.watchers) == 0 {
		return
	}
	keep := p.watchers[:0]
	for _, w := range p.watchers {
		n := bytes
		if w.committed {
			n = committed
		}
		if n == 0 || !w.add(n) {
			keep = append(keep, w)
		}
	}
	clear(p.watchers[len(keep):])
	p.watchers = keep
	p.watching.Store(int32(len(keep)))
}

// AppendOptions says how to append.
type AppendOptions struct {
	// Acks is the producer's: with -1 the append is refused when too few replicas are in sync.
	Acks int16
	// Origin is who wrote the batches.
	Origin log.Origin
	// Epoch, when CheckEpoch is set, must be the partition's leader epoch.
	Epoch      int32
	CheckEpoch bool
	// Guard, TransactionVersion and SyncLater are the log's.
	Guard              log.Guard
	TransactionVersion int16
	SyncLater          *log.SyncLater
}

// Append appends batches. The log may rewrite headers in place; batches is free again when Append returns.
// With a nil error the append is in the log, and when acker is not nil it will be told with slot when it is safe.
func (p *Partition) Append(batches []byte, o AppendOptions, acker Acker, slot int) (log.AppendResult, error) {
	l := p.leadership.Load()
	switch {
	case l.Leader != p.node:
		return log.AppendResult{}, p.notLeader()
	case o.CheckEpoch && o.Epoch != l.Epoch:
		return log.AppendResult{}, ErrNotLeader
	case o.Acks == -1 && len(l.ISR) < l.MinISR:
		return log.AppendResult{}, fmt.Errorf("%w: the size of the current ISR is %d, min.insync.replicas is %d", ErrNotEnoughReplicas, len(l.ISR), l.MinISR)
	}
	p.swap.RLock()
	defer p.swap.RUnlock()
	res, err := p.Log().Append(batches, log.AppendOptions{LeaderEpoch: l.Epoch, Origin: o.Origin, Guard: o.Guard, TransactionVersion: o.TransactionVersion, SyncLater: o.SyncLater})
	if err != nil {
		return res, err
	}
	p.track(appended{end: res.LastOffset + 1, bytes: int64(len(batches)), acker: acker, slot: slot})
	return res, nil
}

// track files an append, or answers it at once when the high watermark has passed it already (or, for a duplicate, long ago).
func (p *Partition) track(a appended) {
	if a.end <= p.hw.Load() && p.watching.Load() == 0 {
		if a.acker != nil {
			a.acker.Acknowledged(a.slot, nil)
		}
		return
	}
	p.mu.Lock()
	switch {
	case p.closed:
		p.mu.Unlock()
		if a.acker != nil {
			a.acker.Acknowledged(a.slot, ErrClosed)
		}
		return
	case a.end <= p.hw.Load():
		p.feed(a.bytes)
		p.mu.Unlock()
		if a.acker != nil {
			a.acker.Acknowledged(a.slot, nil)
		}
		return
	}
	// Appends of other connections may have come between the log and here: keep the order of offsets.
	i := len(p.appends)
	for i > 0 && p.appends[i-1].end > a.end {
		i--
	}
	p.appends = append(p.appends, appended{})
	copy(p.appends[i+1:], p.appends[i:])
	p.appends[i] = a
	arm := !p.armed
	p.armed = true
	p.mu.Unlock()
	if arm {
		p.Log().NotifyDurable(a.end-1, p.onDurable)
	}
}

// durable is how the log tells that what was appended is durable, or never will be. One call is outstanding as
// long as there are appends to acknowledge; between two of them the listener brings the progress.
func (p *Partition) durable(err error) {
	if err == nil {
		p.progressed(p.Log().DurableOffset())
	}
	p.mu.Lock()
	if err != nil {
		p.failAll(err)
	}
	n := len(p.appends)
	p.armed = n > 0
	if n == 0 {
		p.mu.Unlock()
		return
	}
	end := p.appends[n-1].end
	p.mu.Unlock()
	p.Log().NotifyDurable(end-1, p.onDurable)
}
