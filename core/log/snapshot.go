package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/moldau-io/moldau/core/log/batch"
)

// A producer snapshot file is, in big endian:
//
//	version int16 = 1, crc uint32 (CRC-32C of all that follows), number of entries int32, then for each entry
//	producerId int64, epoch int16, lastSequence int32, lastOffset int64, offsetDelta int32, timestamp int64,
//	coordinatorEpoch int32, currentTxnFirstOffset int64
//
// It keeps the last batch of a producer only: after a restart a retry of an older one is out of order, as in Kafka.

const (
	snapshotVersion   = 1
	snapshotHeader    = 10
	snapshotEntrySize = 46
	maxSnapshotBytes  = 1 << 30
)

func (p *producers) encode() []byte {
	ids := make([]int64, 0, len(p.byID))
	for id := range p.byID {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	be := binary.BigEndian
	b := make([]byte, 0, snapshotHeader+len(ids)*snapshotEntrySize)
	b = be.AppendUint16(b, snapshotVersion)
	b = be.AppendUint32(b, 0)
	b = be.AppendUint32(b, uint32(len(ids)))
	for _, id := range ids {
		e := p.byID[id]
		m := batchMeta{firstSeq: batch.NoSequence, lastSeq: batch.NoSequence, lastOffset: NoOffset}
		if l := e.last(); l != nil {
			m = *l
		}
		b = be.AppendUint64(b, uint64(e.id))
		b = be.AppendUint16(b, uint16(e.epoch))
		b = be.AppendUint32(b, uint32(m.lastSeq))
		b = be.AppendUint64(b, uint64(m.lastOffset))
		b = be.AppendUint32(b, uint32(m.delta))
		b = be.AppendUint64(b, uint64(e.lastTimestamp))
		b = be.AppendUint32(b, uint32(e.coordinatorEpoch))
		b = be.AppendUint64(b, uint64(e.txnFirst))
	}
	be.PutUint32(b[2:], batch.Checksum(0, b[6:]))
	return b
}

// decodeSnapshot reads a snapshot file.
func decodeSnapshot(b []byte) ([]producerEntry, error) {
	be := binary.BigEndian
	if len(b) < snapshotHeader {
		return nil, fmt.Errorf("producer snapshot has %d bytes", len(b))
	}
	if v := be.Uint16(b); v != snapshotVersion {
		return nil, fmt.Errorf("producer snapshot has unknown version %d", v)
	}
	if got, want := batch.Checksum(0, b[6:]), be.Uint32(b[2:]); got != want {
		return nil, fmt.Errorf("producer snapshot is corrupt: stored crc %d, computed crc %d", want, got)
	}
	n := be.Uint32(b[6:])
	b = b[snapshotHeader:]
	if uint64(len(b)) != uint64(n)*snapshotEntrySize {
		return nil, fmt.Errorf("producer snapshot has %d bytes for %d entries", len(b), n)
	}
	es := make([]producerEntry, 0, n)
	for ; len(b) > 0; b = b[snapshotEntrySize:] {
		e := producerEntry{
			id: int64(be.Uint64(b)), epoch: int16(be.Uint16(b[8:])), lastTimestamp: int64(be.Uint64(b[26:])),
			coordinatorEpoch: int32(be.Uint32(b[34:])), txnFirst: int64(be.Uint64(b[38:])),
		}
		m := batchMeta{lastSeq: int32(be.Uint32(b[10:])), lastOffset: int64(be.Uint64(b[14:])), delta: int32(be.Uint32(b[22:])), timestamp: e.lastTimestamp}
		if m.lastSeq >= 0 {
			// AddSequence with a negative count steps back over the wrap.
			m.firstSeq = batch.AddSequence(m.lastSeq, -m.delta)
			e.push(m)
		}
		es = append(es, e)
	}
	return es, nil
}

// writeSnapshot stores the state as of its end. It is not synced: a snapshot that is lost or torn fails its checksum
// and recovery replays from an older one.
func (l *Log) writeSnapshot(p *producers, sync bool) error {
	if p.snapAt == p.mapEnd {
		return nil
	}
	name := filepath.Join(l.dirPath(), offsetName(p.mapEnd, suffixSnapshot))
	if err := writeFile(l.d.fs, name, p.encode(), sync); err != nil {
		return fmt.Errorf("write producer snapshot: %w", err)
	}
	p.snapAt = p.mapEnd
	return nil
}

// snapshotOffsets lists the snapshot files, rising.
func (l *Log) snapshotOffsets() ([]int64, error) {
	es, err := l.d.fs.ReadDir(l.dirPath())
	if err != nil {
		return nil, err
	}
	var offs []int64
	for _, e := range es {
		if o, ok := parseOffsetName(e.Name(), suffixSnapshot); ok {
			offs = append(offs, o)
		}
	}
	slices.Sort(offs)
	return offs, nil
}

// removeSnapshots removes the snapshot files that drop chooses.
func (l *Log) removeSnapshots(drop func(offset int64) bool) error {
	offs, err := l.snapshotOffsets()
	if err != nil {
		return err
	}
	for _, o := range offs {
		if drop(o) {
			err = errors.Join(err, removeIfExists(l.d.fs, filepath.Join(l.dirPath(), offsetName(o, suffixSnapshot))))
		}
	}
	return err
}

// loadProducers brings the producer state up to the offset end: from the newest usable snapshot of offs (rising) at or below it, then
// from the headers of the batches that follow.
func (l *Log) loadProducers(segs []*segment, end int64, offs []int64) (*producers, error) {
	p := newProducers(l.d.tuning.Load().ProducerIDExpiration.Milliseconds())
	start := l.start.Load()
	p.mapEnd = start
	for _, o := range slices.Backward(offs) {
		if o > end {
			continue
		}
		name := filepath.Join(l.dirPath(), offsetName(o, suffixSnapshot))
		raw, err := readFile(l.d.fs, name, maxSnapshotBytes)
		var es []producerEntry
		if err == nil {
			es, err = decodeSnapshot(raw)
		}
		if err != nil {
			l.d.log.Warn("producer snapshot is unusable, an older one is taken", "file", name, "err", err)
			if err := removeIfExists(l.d.fs, name); err != nil {
				return nil, err
			}
			continue
		}
		now := l.d.nowMs()
		for i := range es {
			e := &es[i]
			if e.txnFirst == NoOffset && now-e.lastTimestamp >= p.expires {
				continue
			}
			p.byID[e.id] = e
			if e.txnFirst != NoOffset {
				p.open[e.id] = e.txnFirst
			}
		}
		p.mapEnd, p.snapAt = o, o
		break
	}
	if p.mapEnd < end {
		if err := l.replay(p, segs, p.mapEnd, end); err != nil {
			return nil, fmt.Errorf("load producer state: %w", err)
		}
	}
	p.mapEnd = max(p.mapEnd, end)
	p.truncateStart(start)
	return p, nil
}

// replay applies the batches in [from, to).
func (l *Log) replay(p *producers, segs []*segment, from, to int64) error {
	for i, s := range segs {
		if i+1 < len(segs) && segs[i+1].base <= from {
			continue
		}
		if s.base >= to {
			break
		}
		f, err := s.acquire()
		if err != nil {
			return err
		}
		var aerr error
		err = s.headers(0, s.size.Load(), func(pos int64, h batch.Batch, size int64) bool {
			if h.LastOffset() < from {
				return true
			}
			if h.BaseOffset() >= to {
				return false
			}
			_, aerr = p.apply(h, func() (batch.EndTxn, bool, error) { return readMarker(p, f, pos, size) })
			return aerr == nil
		})
		s.release()
		if err = errors.Join(err, aerr); err != nil {
			return err
		}
	}
	return nil
}

// maxControlBatch bounds a control batch, which holds one small record.
const maxControlBatch = 64 << 10

func readMarker(p *producers, f File, pos, size int64) (batch.EndTxn, bool, error) {
	if size > maxControlBatch {
		return batch.EndTxn{}, false, fmt.Errorf("%w: control batch of %d bytes", batch.ErrCorrupt, size)
	}
	b := make([]byte, size)
	if err := readFull(f, b, pos); err != nil {
		return batch.EndTxn{}, false, err
	}
	return batch.ParseEndTxn(&p.reader, batch.Batch(b))
}
