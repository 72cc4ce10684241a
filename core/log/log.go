package log

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
)

// Log is one partition's log. All methods are safe for concurrent use. Offsets named "end" are exclusive: the offset
// that follows the last record.
type Log struct {
	d         *Dir
	topic     string
	partition int32
	id        string // "<topic>-<partition>"
	topicID   [16]byte

	name atomic.Pointer[string] // of the folder; changes when the partition is deleted
	cfg  atomic.Pointer[Config]
	// configured says that cfg is the topic's own and not a default for want of it: only then may retention delete.
	configured atomic.Bool

	segs  atomic.Pointer[[]*segment] // rising by base; replaced, never changed
	start atomic.Int64
	// startSaved is the start as it is on disk, or less.
	startSaved atomic.Int64
	end        atomic.Int64
	synced     atomic.Int64 // everything below was synced
	hw         atomic.Int64 // set by SetHighWatermark, or -1
	firstTxn   atomic.Int64 // first offset of a transaction that is open, or whose marker the high watermark has not passed; or MaxInt64
	ending     atomic.Bool  // there is one of the second kind
	// recoveryCap bounds the recovery point while a truncation runs.
	recoveryCap atomic.Int64
	// resetAt is where the log is about to begin anew, or NoOffset.
	resetAt atomic.Int64
	// truncations is odd while a truncation runs and grows with each: readers repeat when it changed under them.
	truncations atomic.Int64

	listener atomic.Pointer[func(endOffset, durableEnd int64)]

	epochs *epochCache

	// mu guards appending and everything below; it is never held during a sync.
	mu          sync.Mutex
	closed      bool
	active      *segment
	activeFile  File // pinned, nil until the first append after opening
	activeDirty bool
	dirtySealed []dirtyFile
	newFile     bool  // a segment file was created: its directory needs a sync
	idleAt      int64 // the end when unpinIdle last looked
	indexStale  bool  // the index files of the active segment are behind: it was recovered or appended to
	newFolder   bool  // the partition's folder was created: the log directory needs one
	producers   *producers
	jitterMs    int64
	unflushed   int64 // records since the last sync
	lastFlush   int64 // milliseconds
	unsyncedIdx []*segment
	appendTime  int64 // last LogAppendTime given; the clock may step back, the log does not

	// Of the syncer. What each lane syncs is its own while it does; the rest is guarded by mu.
	turns     syncTurns
	syncEnded sync.Cond // on mu: a sync ended, or somebody holds them no longer
	syncing   [2][]dirtyFile
	queued    atomic.Bool

	waitMu  sync.Mutex
	waiters []waiter
	ready   []waiter
	waitErr error

	// cleanMu is held by the one that replaces or deletes segments: retention, compaction, truncation. Compaction may hold it for very
	// long: who must not wait for that takes it with haste, or looks whether it is free.
	cleanMu   sync.Mutex
	hasty     atomic.Int32                       // who wait for cleanMu in haste
	giveWay   atomic.Pointer[context.CancelFunc] // of the compaction that holds cleanMu
	passedBy  atomic.Bool                        // retention did, because compaction was at it
	dirtyFrom int64                              // first offset that compaction has not seen; guarded by cleanMu

	uncleanable atomic.Bool // compaction found what cannot be read
}

func (d *Dir) newLog(topic string, partition int32, cfg *Config, configured bool) *Log {
	l := &Log{d: d, topic: topic, partition: partition, id: folderName(topic, partition), epochs: &epochCache{}}
	name := l.id
	l.name.Store(&name)
	l.syncEnded.L = &l.mu
	l.cfg.Store(cfg)
	l.configured.Store(configured)
	l.hw.Store(-1)
	l.firstTxn.Store(math.MaxInt64)
	l.recoveryCap.Store(math.MaxInt64)
	l.resetAt.Store(NoOffset)
	l.segs.Store(&[]*segment{})
	l.rollJitter()
	return l
}

func (l *Log) dirPath() string         { return filepath.Join(l.d.path, *l.name.Load()) }
func (l *Log) file(name string) string { return filepath.Join(l.dirPath(), name) }
func (l *Log) config() *Config         { return l.cfg.Load() }
func (l *Log) list() []*segment        { return *l.segs.Load() }
func (l *Log) durability() Durability {
	c := l.config()
	if c.FlushMessages == 1 {
		return DurabilityFsync
	}
	if c.Durability != DurabilityDefault {
		return c.Durability
	}
	return l.d.opts.Durability
}

// haste takes cleanMu. A compaction that holds it gives up.
func (l *Log) haste() {
	l.hasty.Add(1)
	if stop := l.giveWay.Load(); stop != nil {
		(*stop)()
	}
	l.cleanMu.Lock()
	l.hasty.Add(-1)
}

func (l *Log) rollJitter() {
	l.jitterMs = 0
	if c := l.config(); c.SegmentJitterMs > 0 {
		l.jitterMs = rand.Int64N(satAdd(min(c.SegmentJitterMs, c.SegmentMs), 1))
	}
}

// check is the error that every call answers once the directory has failed or the log is closed.
func (l *Log) check() error {
	if err := l.d.failure(); err != nil {
		return err
	}
	if len(l.list()) == 0 {
		return ErrClosed
	}
	return nil
}

// Err is the error that every call answers, when the directory has failed or the log is closed; nil otherwise.
func (l *Log) Err() error { return l.check() }

// Dir is the directory that the log is in.
func (l *Log) Dir() *Dir { return l.d }

// Topic is the topic's name.
func (l *Log) Topic() string { return l.topic }

// Partition is the partition's number.
func (l *Log) Partition() int32 { return l.partition }

// TopicID is the topic's id, zero when the folder has none.
func (l *Log) TopicID() [16]byte { return l.topicID }

// StartOffset is the first offset that can be read.
func (l *Log) StartOffset() int64 { return l.start.Load() }

// EndOffset is the offset that the next record gets.
func (l *Log) EndOffset() int64 { return l.end.Load() }

// DurableOffset is the offset below which everything is durable; in mode os that is EndOffset.
func (l *Log) DurableOffset() int64 {
	if l.durability() == DurabilityOS {
		return l.end.Load()
	}
	return l.synced.Load()
}

// LastStableOffset is the first offset of a transaction that is open, or whose marker the high watermark has not passed, or
// EndOffset: what a read_committed reader may see, if it is below the high watermark. It takes no lock.
func (l *Log) LastStableOffset() int64 { return min(l.firstTxn.Load(), l.end.Load()) }

// StableOffset is the last stable offset under a high watermark: a transaction whose marker is not below it yet counts as open.
func (l *Log) StableOffset(highWatermark int64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.producers == nil {
		return min(highWatermark, l.LastStableOffset())
	}
	at, ok := l.producers.firstUnstable(highWatermark)
	if !ok {
		return highWatermark
	}
	return min(at, highWatermark)
}

// SetHighWatermark tells the log what is replicated. Retention and compaction stay below it. As long as it was never
// called, they stay below DurableOffset.
func (l *Log) SetHighWatermark(offset int64) {
	l.hw.Store(offset)
	l.settleTxns()
}

// AdvanceHighWatermark is SetHighWatermark that never goes back. Concurrent calls may come in any order.
func (l *Log) AdvanceHighWatermark(offset int64) {
	for {
		hw := l.hw.Load()
		if hw >= offset {
			return
		}
		if l.hw.CompareAndSwap(hw, offset) {
			break
		}
	}
	l.settleTxns()
}

// settleTxns counts the transactions as ended whose markers the high watermark has passed.
func (l *Log) settleTxns() {
	if !l.ending.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.producers != nil {
		l.publishTxn()
	}
}

func (l *Log) highWatermark() int64 {
	if hw := l.hw.Load(); hw >= 0 {
		return min(hw, l.end.Load())
	}
	return l.DurableOffset()
}

// SetListener sets the function that is called, without locks, after each append and after each sync that made more
// durable. Calls may come concurrently and out of order: take the maximum. It must not block.
func (l *Log) SetListener(fn func(endOffset, durableEnd int64)) {
	if fn == nil {
		l.listener.Store(nil)
		return
	}
	l.listener.Store(&fn)
}

func (l *Log) notify() {
	if fn := l.listener.Load(); fn != nil {
		(*fn)(l.end.Load(), l.DurableOffset())
	}
}

// Config is the configuration in force.
func (l *Log) Config() Config { return *l.config() }

// UpdateConfig puts a new configuration into force.
func (l *Log) UpdateConfig(c Config) {
	l.mu.Lock()
	old := l.config()
	if *old != c {
		l.cfg.Store(&c)
	}
	l.configured.Store(true)
	if old.SegmentJitterMs != c.SegmentJitterMs || old.SegmentMs != c.SegmentMs {
		l.rollJitter()
	}
	l.mu.Unlock()
	if l.durability() == DurabilityFsync {
		l.d.syncer.kick(l) // what mode os has left unsynced
	}
}

// Size is the number of bytes of records.
func (l *Log) Size() int64 {
	n := int64(0)
	for _, s := range l.list() {
		n += s.size.Load()
	}
	return n
}

// Segments is the number of segments.
func (l *Log) Segments() int { return len(l.list()) }

// SegmentInfo describes a segment.
type SegmentInfo struct {
	BaseOffset int64
	Size       int64
	Active     bool
}

// SegmentInfos lists the segments, oldest first.
func (l *Log) SegmentInfos() []SegmentInfo {
	segs := l.list()
	out := make([]SegmentInfo, len(segs))
	for i, s := range segs {
		out[i] = SegmentInfo{s.base, s.size.Load(), i == len(segs)-1}
	}
	return out
}

// LatestEpoch is the newest leader epoch in the history, or NoEpoch.
func (l *Log) LatestEpoch() int32 { return l.epochs.latest() }

// Epochs is the history of leader epochs.
func (l *Log) Epochs() []EpochEntry { return l.epochs.snapshot() }

// AssignEpoch notes that a leader epoch begins at an offset; a new leader does so with its end offset before it appends. Like the
// epochs of appended batches it reaches the disk with the next checkpoint, before the recovery point passes it; after a crash
// the epochs come from the batches, and one without a batch is as if it had not been.
func (l *Log) AssignEpoch(epoch int32, startOffset int64) error {
	if err := l.check(); err != nil {
		return err
	}
	l.epochs.assign(epoch, startOffset)
	return nil
}

// EpochEndOffset answers OffsetsForLeaderEpoch (KIP-101, KIP-279): the largest epoch at or below the one asked for, and the
// offset where it ended. NoEpoch and NoOffset when it is unknown.
func (l *Log) EpochEndOffset(epoch int32) (foundEpoch int32, endOffset int64) {
	return l.epochs.endOffset(epoch, l.end.Load())
}

// ActiveProducers lists the producers that the log remembers, by id.
func (l *Log) ActiveProducers() ([]ProducerState, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.needProducers(); err != nil {
		return nil, err
	}
	return l.producers.list(), nil
}

// needProducers loads the producer state when it is not. Call with mu held.
func (l *Log) needProducers() error {
	if l.producers != nil {
		return nil
	}
	offs, err := l.snapshotOffsets()
	if err != nil {
		return l.d.fail(fmt.Errorf("load producer state: %w", err))
	}
	p, err := l.loadProducers(l.list(), l.end.Load(), offs)
	if err != nil {
		return l.d.fail(err)
	}
	l.producers = p
	l.publishTxn()
	return nil
}

// publishTxn makes the first open transaction visible to readers. Call with mu held.
func (l *Log) publishTxn() {
	at := int64(math.MaxInt64)
	if hw := l.hw.Load(); hw >= 0 {
		if first, ok := l.producers.firstUnstable(hw); ok {
			at = first
		}
	} else { // nobody keeps a high watermark: markers count as they are written, and those that have ended may be very many
		for _, first := range l.producers.open {
			at = min(at, first)
		}
	}
	l.firstTxn.Store(at)
	l.ending.Store(len(l.producers.closed) > 0)
}

// find returns the index in segs of the segment that holds offset or, in a gap, precedes it; -1 when all are later.
func find(segs []*segment, offset int64) int {
	return sort.Search(len(segs), func(i int) bool { return segs[i].base > offset }) - 1
}

// roll seals the active segment and begins a new one at the end offset. Call with mu held.
func (l *Log) roll() error {
	end := l.end.Load()
	old := l.active
	if old != nil && old.base == end && old.size.Load() == 0 {
		return nil
	}
	if err := l.needProducers(); err != nil {
		return err
	}
	l.producers.mapEnd = max(l.producers.mapEnd, end)
	if err := l.writeSnapshot(l.producers, false); err != nil {
		return l.d.fail(err)
	}
	if err := l.openSegment(end); err != nil {
		return l.d.fail(err)
	}
	return nil
}

// openSegment seals the active segment, if any, and creates one at base. An error leaves everything as it was. Call with mu held.
func (l *Log) openSegment(base int64) error {
	s := l.newSegment(base)
	s.active, s.loaded, s.maxKnown = true, true, true
	f, err := l.createSegment(s)
	if err != nil {
		return err
	}
	if old := l.active; old != nil {
		if err := l.seal(old); err != nil {
			return errors.Join(err, f.Close(), removeIfExists(l.d.fs, s.path(suffixLog)))
		}
	}
	s.f = f
	s.setPinned(true)
	l.active, l.activeFile, l.newFile, l.indexStale = s, f, true, true
	l.rollJitter()
	segs := append(slices.Clone(l.list()), s)
	l.segs.Store(&segs)
	return nil
}

// createSegment creates the file of a new segment.
func (l *Log) createSegment(s *segment) (File, error) {
	f, err := l.d.fs.OpenFile(s.path(suffixLog), createFlags)
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	if r, ok := f.(reserver); ok && l.config().Preallocate {
		s.room = l.config().SegmentBytes
		if err := r.Reserve(0, s.room); err != nil {
			return nil, errors.Join(fmt.Errorf("preallocate segment: %w", err), f.Close(), removeIfExists(l.d.fs, s.path(suffixLog)))
		}
		s.reserved = true
	}
	return f, nil
}

// seal ends the active segment: from now on it is only read. Call with mu held.
func (l *Log) seal(old *segment) error {
	if err := l.giveBack(); err != nil {
		return err
	}
	old.imu.Lock()
	err := old.ensure() // nothing may have been appended since it was opened
	saved := err == nil && old.saved
	if err == nil && !saved {
		err = old.writeIndexes("", false)
	}
	if err == nil {
		old.active = false
		l.d.indexes.add(old.iitem, int64(len(old.offsets)*8+len(old.times)*16+64))
	}
	old.imu.Unlock()
	if err != nil {
		return err
	}
	if !saved {
		l.unsyncedIdx = append(l.unsyncedIdx, old)
	}
	switch {
	case l.activeDirty:
		l.dirtySealed = append(l.dirtySealed, dirtyFile{s: old, f: l.activeFile})
	case l.activeFile != nil:
		old.unpin()
	}
	l.activeDirty, l.activeFile = false, nil
	return nil
}

// closeFiles lets go of the files that opening the log has read: most partitions are not used soon.
func (l *Log) closeFiles() {
	for _, s := range l.list() {
		if s.tryClose() {
			l.d.files.drop(s.fitem)
		}
	}
}

// Roll begins a new segment, so that retention and compaction can reach what is in the log now.
func (l *Log) Roll() error {
	if err := l.check(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	if err := l.roll(); err != nil {
		return err
	}
	l.d.syncer.kick(l)
	return nil
}
