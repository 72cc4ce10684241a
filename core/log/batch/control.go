package batch

import (
	"encoding/binary"
	"fmt"
)

// ControlType is the kind of a control record.
type ControlType int16

// The transaction markers.
const (
	ControlAbort  ControlType = 0
	ControlCommit ControlType = 1
)

// EndTxn is a transaction marker: what the only record of its control batch says.
type EndTxn struct {
	Type             ControlType
	CoordinatorEpoch int32
}

// ParseEndTxn reads a control batch. ok is false for control records of other kinds (Raft's), which end no transaction.
func ParseEndTxn(r *Reader, b Batch) (m EndTxn, ok bool, err error) {
	if err := r.Reset(b); err != nil {
		return m, false, err
	}
	rec, more := r.Next()
	if !more {
		return m, false, r.Err()
	}
	if len(rec.Key) < 4 {
		return m, false, fmt.Errorf("%w: control record key has %d bytes", ErrCorrupt, len(rec.Key))
	}
	m.Type = ControlType(binary.BigEndian.Uint16(rec.Key[2:]))
	if m.Type != ControlAbort && m.Type != ControlCommit {
		return m, false, nil
	}
	if len(rec.Value) < 6 {
		return m, false, fmt.Errorf("%w: transaction marker has %d bytes", ErrCorrupt, len(rec.Value))
	}
	m.CoordinatorEpoch = int32(binary.BigEndian.Uint32(rec.Value[2:]))
	return m, true, nil
}

// BuildEndTxn makes the control batch that ends a producer's transaction.
func BuildEndTxn(timestamp int64, producerID int64, producerEpoch int16, m EndTxn) Batch {
	key := binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(m.Type))
	value := binary.BigEndian.AppendUint32([]byte{0, 0}, uint32(m.CoordinatorEpoch))
	w := Builder{ProducerID: producerID, ProducerEpoch: producerEpoch, BaseSequence: NoSequence, Idempotent: true, Transactional: true, Control: true}
	w.Append(timestamp, key, value)
	return w.MustBuild()
}
