package log

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/moldau-io/moldau/core/log/batch"
)

// A move brings a partition to another directory (AlterReplicaLogDirs, KIP-113) while it is written to and read: a copy, the
// future log, grows in a folder of its own beside the partitions of the other directory. When it has caught up, its owner holds
// off appends, the rest is copied and synced, the folder gets the partition's name, and the old one is deleted. Both renames are
// durable in that order before appends go on, so that a crash leaves the partition at least once, and complete; if twice, opening
// keeps one. A copy that a stop or crash interrupts is thrown away and begun again.

// Move is a move under way.
type Move struct {
	tp     topicPartition
	to     *Dir
	future *Log // nil before the copy has begun; guarded by Dirs.mu
	cancel context.CancelFunc
	ctx    context.Context
	begun  bool
}

func newMove(tp topicPartition, to *Dir) *Move {
	m := &Move{tp: tp, to: to}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// MoveOwner owns the partition's place in the layer above.
type MoveOwner interface {
	// SwapLog holds off appends, calls swap, and takes the log that it returns in place of the one before when there is no error.
	SwapLog(swap func() (*Log, error)) error
}

// errMoveCanceled ends a move that nobody wants any more.
var errMoveCanceled = errors.New("the move was cancelled")

// copyChunk is how many bytes a move copies at a time.
const copyChunk = 1 << 20

// Move begins to move a partition to another directory, in the background; a move to a third one under way is given up. To the directory
// where it is, it only gives up a move. The result of the move goes to the log.
func (ds *Dirs) Move(topic string, partition int32, to *Dir, owner MoveOwner) error {
	tp := topicPartition{topic, partition}
	for {
		l, ok := ds.Log(topic, partition)
		if !ok {
			return fmt.Errorf("move partition %s: %w", folderName(topic, partition), ErrNotFound)
		}
		if err := errors.Join(l.check(), to.failure()); err != nil {
			if now, ok := ds.Log(topic, partition); ok && now != l {
				continue // a move under way has ended just now
			}
			return err
		}
		ds.mu.Lock()
		if m := ds.moves[tp]; m != nil && m.to == to {
			ds.mu.Unlock()
			ds.resume(m, owner)
			return nil
		}
		ds.mu.Unlock()
		ds.CancelMove(topic, partition)
		if now, ok := ds.Log(topic, partition); ok && now != l {
			continue
		}
		if l.d == to {
			return nil
		}
		m := newMove(tp, to)
		ds.mu.Lock()
		ds.moves[tp] = m
		ds.mu.Unlock()
		ds.resume(m, owner)
		return nil
	}
}

// ResumeMove goes on with a move that was interrupted when the directories were closed, if there is one for the partition.
func (ds *Dirs) ResumeMove(topic string, partition int32, owner MoveOwner) {
	ds.mu.Lock()
	m := ds.moves[topicPartition{topic, partition}]
	ds.mu.Unlock()
	if m != nil {
		ds.resume(m, owner)
	}
}

func (ds *Dirs) resume(m *Move, owner MoveOwner) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if m.begun || ds.ctx.Err() != nil {
		return
	}
	m.begun = true
	ds.moving.Go(func() {
		stop := context.AfterFunc(ds.ctx, m.cancel)
		defer stop()
		log := m.to.log.With("partition", folderName(m.tp.topic, m.tp.partition), "to", m.to.path)
		began := time.Now()
		err := ds.move(m, owner)
		ds.mu.Lock()
		if ds.moves[m.tp] == m {
			delete(ds.moves, m.tp)
		}
		ds.mu.Unlock()
		switch {
		case err == nil:
			log.Info("partition was moved to another log directory", "took", time.Since(began).Round(time.Millisecond))
		case m.ctx.Err() != nil:
			log.Info("move to another log directory was given up")
		default:
			log.Error("move to another log directory failed, the partition stays where it is", "err", err)
		}
	})
}

// CancelMove gives up a move.
func (ds *Dirs) CancelMove(topic string, partition int32) {
	tp := topicPartition{topic, partition}
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if m := ds.moves[tp]; m != nil {
		m.cancel()
		delete(ds.moves, tp)
	}
}

// FutureLog is a copy under way: in which directory, and how far it is.
type FutureLog struct {
	Topic     string
	Partition int32
	Dir       *Dir
	Size      int64
	Lag       int64 // offsets behind the current log
}

// FutureLogs lists the copies under way.
func (ds *Dirs) FutureLogs() []FutureLog {
	ds.mu.Lock()
	ms := make([]Move, 0, len(ds.moves))
	for m := range maps.Values(ds.moves) {
		ms = append(ms, Move{tp: m.tp, to: m.to, future: m.future})
	}
	ds.mu.Unlock()
	var out []FutureLog
	for _, m := range ms {
		l, ok := ds.Log(m.tp.topic, m.tp.partition)
		if !ok || m.future == nil {
			continue
		}
		out = append(out, FutureLog{m.tp.topic, m.tp.partition, m.to, m.future.Size(), max(0, l.EndOffset()-m.future.EndOffset())})
	}
	return out
}

// move copies and swaps.
func (ds *Dirs) move(m *Move, owner MoveOwner) error {
	from, ok := ds.Log(m.tp.topic, m.tp.partition)
	if !ok {
		return ErrNotFound
	}
	to, err := m.to.createFuture(from)
	if err != nil {
		return err
	}
	swapped := false
	defer func() {
		if !swapped {
			dir := to.dirPath()
			_ = to.close()
			if ds.ctx.Err() != nil {
				return // the directories are being closed: by the folder the next opening knows of the move
			}
			if rerr := m.to.fs.RemoveAll(dir); rerr != nil {
				m.to.log.Warn("cannot remove a partial copy", "folder", dir, "err", rerr)
			}
		}
	}()
	ds.mu.Lock()
	m.future = to
	ds.mu.Unlock()
	buf := make([]byte, 0, copyChunk)
	for {
		piece, err := ds.pace.wait(m.ctx)
		if err != nil {
			return errMoveCanceled
		}
		if to.EndOffset() >= from.EndOffset() {
			break
		}
		if buf, err = m.copy(to, from, from.EndOffset(), piece, buf); err != nil {
			return err
		}
		ds.pace.copied(len(buf), time.Now())
	}
	return owner.SwapLog(func() (*Log, error) {
		// Retention and compaction must not change what is copied; nobody appends.
		from.haste()
		held := true
		defer func() {
			if held {
				from.cleanMu.Unlock()
			}
		}()
		for to.EndOffset() < from.EndOffset() {
			if buf, err = m.copy(to, from, from.EndOffset(), copyChunk, buf); err != nil {
				return nil, err
			}
		}
		if err := from.Sync(); err != nil {
			return nil, err
		}
		if err := to.takeOver(from); err != nil {
			return nil, err
		}
		if m.ctx.Err() != nil {
			return nil, errMoveCanceled
		}
		from.cleanMu.Unlock()
		held = false
		if err := m.to.adopt(to); err != nil {
			return nil, err
		}
		swapped = true
		err := from.d.remove(m.tp.topic, m.tp.partition, from)
		if errors.Is(err, ErrNotFound) { // it was deleted meanwhile
			return nil, cmp.Or(m.to.remove(m.tp.topic, m.tp.partition, to), errMoveCanceled)
		}
		if err != nil {
			from.d.log.Error("cannot delete a partition that was moved away", "partition", from.id, "err", err)
		}
		return to, nil
	})
}

// copy copies some batches, of about as many bytes. What compaction left out between them stays out.
func (m *Move) copy(to, from *Log, upTo int64, bytes int, buf []byte) ([]byte, error) {
	if m.ctx.Err() != nil {
		return buf, errMoveCanceled
	}
	at := max(to.EndOffset(), from.StartOffset())
	out, err := from.Read(buf[:0], at, bytes, upTo, true)
	if errors.Is(err, ErrOffsetOutOfRange) {
		return buf[:0], nil // retention was faster: again from the new start
	}
	if err != nil {
		return buf, err
	}
	if len(out) == 0 {
		// Compaction removed the end: only the offset is left to be copied.
		return out, to.skipTo(upTo)
	}
	if base := batch.Batch(out).BaseOffset(); base < to.EndOffset() && to.Size() == 0 {
		// The log starts in the middle of a batch, which comes whole.
		to.mu.Lock()
		err = to.resetTo(base)
		to.mu.Unlock()
		if err != nil {
			return out, to.d.fail(err)
		}
	}
	_, err = to.Append(out, AppendOptions{Origin: Replica})
	return out, err
}

// createFuture makes the log that a partition is copied to.
func (d *Dir) createFuture(from *Log) (*Log, error) {
	cfg := from.Config()
	l := d.newLog(from.topic, from.partition, &cfg, true)
	l.topicID = from.topicID
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	name := futureName(l.id, id)
	l.name.Store(&name)
	err := l.create()
	if err == nil {
		if start := from.StartOffset(); start > 0 {
			l.mu.Lock()
			err = l.resetTo(start)
			l.mu.Unlock()
		}
	}
	if err != nil {
		_ = l.close()
		_ = d.fs.RemoveAll(l.dirPath())
		return nil, d.fail(fmt.Errorf("create partition %s: %w", name, err))
	}
	return l, nil
}

// skipTo lets the log end at an offset that no batch reaches.
func (l *Log) skipTo(offset int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	l.end.Store(max(offset, l.end.Load()))
	if err := l.roll(); err != nil {
		return err
	}
	l.d.syncer.kick(l)
	return nil
}

// takeOver makes the copy stand for the log it was made of: start, leader epochs and producers are its, and all is durable.
func (l *Log) takeOver(from *Log) error {
	from.mu.Lock()
	err := from.needProducers()
	var ps *producers
	if err == nil {
		ps = from.producers.clone()
	}
	from.mu.Unlock()
	if err != nil {
		return err
	}
	l.raiseStart(from.StartOffset())
	l.epochs.replace(from.epochs.snapshot())
	l.mu.Lock()
	l.producers = ps
	l.producers.snapAt = NoOffset
	err = l.writeSnapshot(l.producers, true)
	if err == nil {
		l.publishTxn()
		l.newFile, l.newFolder = true, true
	}
	l.mu.Unlock()
	if err == nil {
		err = l.epochs.flush(l.d.fs, l.dirPath())
	}
	if err != nil {
		return l.d.fail(err)
	}
	cfg := from.Config()
	l.UpdateConfig(cfg)
	return l.Sync()
}

// adopt gives the copy its partition's name, durably, and takes it among the partitions.
func (d *Dir) adopt(l *Log) error {
	tp := topicPartition{l.topic, l.partition}
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return ErrClosed
	}
	if _, ok := d.logs[tp]; ok || d.creating[tp] {
		d.mu.Unlock()
		return fmt.Errorf("move partition %s: %w", l.id, ErrExists)
	}
	d.creating[tp] = true
	d.mu.Unlock()
	if err := d.forgetLeft(tp); err != nil {
		d.mu.Lock()
		delete(d.creating, tp)
		d.mu.Unlock()
		return fmt.Errorf("move partition %s: %w", l.id, err)
	}
	// The syncer reads the folder's name under this lock.
	l.holdSyncs()
	l.mu.Lock()
	from := l.dirPath()
	err := d.fs.Rename(from, d.file(l.id))
	if err == nil {
		l.name.Store(&l.id)
		err = d.fs.SyncDir(d.path)
	}
	l.mu.Unlock()
	l.letSyncs()
	d.mu.Lock()
	delete(d.creating, tp)
	if err == nil {
		d.put(tp, l)
	}
	d.mu.Unlock()
	if err != nil {
		return d.broken(fmt.Errorf("move partition %s: %w", l.id, err))
	}
	// The start of the log is on disk before anyone relies on the copy.
	return d.checkpointStarts()
}

// clone copies the state, so that either may go on without the other.
func (p *producers) clone() *producers {
	c := *p
	c.byID = make(map[int64]*producerEntry, len(p.byID))
	for id, e := range p.byID {
		own := *e
		c.byID[id] = &own
	}
	c.open = maps.Clone(p.open)
	c.closed = append([]closedTxn(nil), p.closed...)
	c.guards = maps.Clone(p.guards)
	return &c
}
