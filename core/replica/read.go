package replica

import (
	"fmt"

	"github.com/moldau-io/moldau/core/log"
)

// Offsets are the offsets that a fetch answer names beside the records.
type Offsets struct {
	HighWatermark, LastStable, LogStart int64
}

// Offsets returns the partition's offsets. The last stable offset is never above the high watermark.
func (p *Partition) Offsets() Offsets {
	hw := p.hw.Load()
	return Offsets{HighWatermark: hw, LastStable: min(p.Log().LastStableOffset(), hw), LogStart: p.Log().StartOffset()}
}

// Limit is where a consumer must stop: the high watermark, or the last stable offset.
func (o Offsets) Limit(committed bool) int64 {
	if committed {
		return o.LastStable
	}
	return o.HighWatermark
}

// CheckOffset says whether a consumer may ask for offset: the start and the end of the log included. A consumer that asks
// above the high watermark but below the end of the log is early, not lost.
func (p *Partition) CheckOffset(offset int64) error {
	if err := p.Log().Err(); err != nil {
		return err // an offline log knows nothing of offsets
	}
	if offset < p.Log().StartOffset() || offset > p.Log().EndOffset() {
		return fmt.Errorf("offset %d of %s-%d is outside of %d to %d: %w", offset, p.topic, p.index, p.Log().StartOffset(), p.Log().EndOffset(), log.ErrOffsetOutOfRange)
	}
	return nil
}

// Read appends whole batches from offset on to dst, as log.ReadNext does, up to what a consumer may see. next is where to go on.
func (p *Partition) Read(dst []byte, offset int64, maxBytes int, committed, minOne bool) (out []byte, next int64, o Offsets, err error) {
	o = p.Offsets()
	if err := p.CheckOffset(offset); err != nil {
		return dst, offset, o, err
	}
	limit := o.Limit(committed)
	if offset >= limit {
		return dst, offset, o, nil
	}
	out, next, err = p.Log().ReadNext(dst, offset, maxBytes, limit, minOne)
	return out, next, o, err
}

// DeleteRecords moves the log's start to offset (-1: the high watermark) and returns the new start.
func (p *Partition) DeleteRecords(offset int64) (int64, error) {
	if !p.IsLeader() {
		return -1, p.notLeader()
	}
	p.swap.RLock()
	defer p.swap.RUnlock()
	hw := p.hw.Load()
	if offset == -1 {
		offset = hw
	}
	if offset < 0 || offset > hw {
		return -1, fmt.Errorf("delete records before %d of %s-%d: high watermark is %d: %w", offset, p.topic, p.index, hw, log.ErrOffsetOutOfRange)
	}
	if err := p.Log().DeleteRecordsBefore(offset); err != nil {
		return -1, err
	}
	return p.Log().StartOffset(), nil
}

// ReadableBytes estimates how many bytes there are to read from one offset up to another, at most limit. It takes the log's average
// size for an offset, and is 1 at least when there is anything.
func (p *Partition) ReadableBytes(from, to, limit int64) int64 {
	start, end := p.Log().StartOffset(), p.Log().EndOffset()
	if from >= to || end <= start {
		return 0
	}
	n := float64(p.Log().Size()) * float64(to-from) / float64(end-start)
	return max(min(int64(n), limit), 1)
}

// EpochAt is the leader epoch in which the record at offset was written, -1 when unknown, or in which the next one will be.
func (p *Partition) EpochAt(offset int64) int32 {
	if offset >= p.Log().EndOffset() {
		return p.Leadership().Epoch
	}
	epoch := int32(-1)
	for _, e := range p.Log().Epochs() {
		if e.StartOffset > offset {
			break
		}
		epoch = e.Epoch
	}
	return epoch
}
