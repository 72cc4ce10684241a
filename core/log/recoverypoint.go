package log

import (
	"fmt"
	"maps"
	"slices"
)

// The recovery point of a log is the offset below which a crash leaves nothing to recover: records, the indexes of sealed segments and
// the history of leader epochs are durable. A checkpoint moves it: what is not durable yet is settled for all partitions at once, then
// the file with all points is replaced.

// pointing is the part of one log in a checkpoint.
type pointing struct {
	l       *Log
	at      int64
	pending []*segment    // whose indexes are to be synced
	done    func(ok bool) // of the leader epochs, when they were written aside
	closed  bool
}

// begin finds how far the recovery point may go once the rest is settled, and says whether there is anything to settle.
func (p *pointing) begin(l *Log) (due bool) {
	p.l = l
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.closed = l.closed; p.closed {
		return false
	}
	p.pending = slices.Clone(l.unsyncedIdx)
	p.at = min(l.synced.Load(), l.recoveryCap.Load())
	l.unpinIdle()
	return len(p.pending) > 0 || l.epochs.isBehind()
}

// settle gives what is to be made durable to a settlement. It takes no lock of the log: see epochCache.fileMu.
func (p *pointing) settle(s *settlement) error {
	l := p.l
	dir := l.dirPath()
	done, err := l.epochs.writeAside(l.d.fs, dir)
	if err != nil {
		if l.isClosed() {
			p.closed = true // deleted meanwhile
			return nil
		}
		return err
	}
	if p.done = done; done != nil {
		s.replace(l.file(fileEpochs))
		s.dir(dir)
	}
	for _, seg := range p.pending {
		for _, suffix := range []string{suffixIndex, suffixTimeIndex, suffixTxnIndex} {
			s.file(seg.path(suffix))
		}
		s.dir(dir)
	}
	return nil
}

// written lets go of the leader epochs.
func (p *pointing) written(ok bool) {
	if p.done != nil {
		p.done(ok)
	}
}

// point is the recovery point after the settlement.
func (p *pointing) point() int64 {
	l := p.l
	if p.closed {
		return 0
	}
	if len(p.pending) > 0 {
		l.mu.Lock()
		l.unsyncedIdx = slices.DeleteFunc(l.unsyncedIdx, func(s *segment) bool { return slices.Contains(p.pending, s) })
		for _, s := range l.unsyncedIdx {
			p.at = min(p.at, s.base) // sealed meanwhile
		}
		l.mu.Unlock()
	}
	return min(p.at, l.recoveryCap.Load())
}

// checkpointRecovery writes the recovery points.
func (d *Dir) checkpointRecovery() error {
	d.checkpointMu.Lock()
	defer d.checkpointMu.Unlock()
	if d.checkpointed {
		return ErrClosed
	}
	logs := d.list()
	ps, due := make([]pointing, len(logs)), []*pointing(nil)
	for i, l := range logs {
		if ps[i].begin(l) {
			due = append(due, &ps[i])
		}
	}
	if len(due) > 0 {
		if err := d.settlePoints(due); err != nil {
			return fmt.Errorf("checkpoint recovery points: %w", err)
		}
	}
	m := make(map[topicPartition]int64, len(d.recoveryFile))
	for i, l := range logs {
		m[topicPartition{l.topic, l.partition}] = ps[i].point()
	}
	if maps.Equal(m, d.recoveryFile) {
		return nil
	}
	if err := d.writeOffsets(fileRecoveryPoint, m); err != nil {
		return d.fail(err)
	}
	d.recoveryFile = m
	return nil
}

// settlePoints makes durable what recovery points are to pass. Truncations of these logs wait meanwhile.
func (d *Dir) settlePoints(due []*pointing) error {
	st := newSettlement(d, "checkpoint")
	logs := make([]*Log, len(due))
	for i, p := range due {
		logs[i] = p.l
	}
	indexes := false
	err := d.each(logs, func(i int, _ *Log) error { return due[i].settle(st) })
	if err == nil {
		err = st.commit()
		for _, p := range due {
			indexes = indexes || len(p.pending) > 0
		}
	}
	for _, p := range due {
		p.written(err == nil)
	}
	switch {
	case err == nil:
		return nil
	case indexes: // a full disk, too, leaves them in doubt
		return d.broken(err)
	default:
		return d.fail(err)
	}
}
