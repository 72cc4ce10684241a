package txn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// The records of __transaction_state, in Kafka's bytes. The key is a version (0) and the transactional id. The value is a version and
// the fields of TransactionLogValue: version 0 in the old encoding, version 1 in the flexible one, with the fields of KIP-890 as tagged
// fields that are left out at their defaults.

const keyVersion = 0

// Tags of version 1.
const (
	tagPreviousProducerID = 0
	tagNextProducerID     = 1
	tagClientVersion      = 2
)

// errMalformed says that bytes are not a record of this topic.
var errMalformed = errors.New("malformed record")

// AppendKey appends the key of a transactional id's records.
func AppendKey(dst []byte, transactionalID string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, keyVersion)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(transactionalID)))
	return append(dst, transactionalID...)
}

// AppendValue appends the value for an entry, in version 0 or 1. TransactionalID is not part of it.
func AppendValue(dst []byte, e *Entry, version int16) []byte {
	be := binary.BigEndian
	flexible := version >= 1
	dst = be.AppendUint16(dst, uint16(version))
	dst = be.AppendUint64(dst, uint64(e.ProducerID))
	dst = be.AppendUint16(dst, uint16(e.ProducerEpoch))
	dst = be.AppendUint32(dst, uint32(e.TimeoutMs))
	dst = append(dst, byte(e.State))
	dst = appendPartitions(dst, e, flexible)
	dst = be.AppendUint64(dst, uint64(e.LastUpdateMs))
	dst = be.AppendUint64(dst, uint64(e.StartMs))
	if !flexible {
		return dst
	}
	var tags []byte
	n := byte(0)
	for _, t := range []struct {
		tag byte
		id  int64
	}{{tagPreviousProducerID, e.PreviousProducerID}, {tagNextProducerID, e.NextProducerID}} {
		if t.id != NoProducerID {
			tags = be.AppendUint64(append(tags, t.tag, 8), uint64(t.id))
			n++
		}
	}
	if e.ClientVersion != 0 {
		tags = be.AppendUint16(append(tags, tagClientVersion, 2), uint16(e.ClientVersion))
		n++
	}
	return append(append(dst, n), tags...)
}

// appendPartitions appends the partitions by topic; an empty transaction has null.
func appendPartitions(dst []byte, e *Entry, flexible bool) []byte {
	be := binary.BigEndian
	count := func(n int) {
		if flexible {
			dst = binary.AppendUvarint(dst, uint64(n+1))
		} else {
			dst = be.AppendUint32(dst, uint32(n))
		}
	}
	if e.State == Empty {
		count(-1)
		return dst
	}
	topics := 0
	for i, p := range e.Partitions {
		if i == 0 || p.Topic != e.Partitions[i-1].Topic {
			topics++
		}
	}
	count(topics)
	for ps := e.Partitions; len(ps) > 0; {
		n := 1
		for n < len(ps) && ps[n].Topic == ps[0].Topic {
			n++
		}
		if flexible {
			count(len(ps[0].Topic))
		} else {
			dst = be.AppendUint16(dst, uint16(len(ps[0].Topic)))
		}
		dst = append(dst, ps[0].Topic...)
		count(n)
		for _, p := range ps[:n] {
			dst = be.AppendUint32(dst, uint32(p.Partition))
		}
		if flexible {
			dst = append(dst, 0)
		}
		ps = ps[n:]
	}
	return dst
}

// ErrUnknownKey says that a key is of a version that this coordinator does not know: the record is somebody else's.
var ErrUnknownKey = errors.New("unknown key version")

// DecodeKey reads the transactional id of a record.
func DecodeKey(b []byte) (string, error) {
	d := decoder{b: b}
	if v := d.int16(); d.err == nil && v != keyVersion {
		return "", fmt.Errorf("%w: %d", ErrUnknownKey, v)
	}
	id := d.string(int(d.int16()))
	if d.err != nil {
		return "", fmt.Errorf("key: %w", d.err)
	}
	return id, nil
}

// DecodeValue reads the value of a record that is not a tombstone. Nothing of b is kept.
func DecodeValue(b []byte) (Entry, error) {
	d := decoder{b: b}
	e := Entry{PreviousProducerID: NoProducerID, NextProducerID: NoProducerID}
	version := d.int16()
	if d.err == nil && (version < 0 || version > 1) {
		return e, fmt.Errorf("value: %w: unknown version %d", errMalformed, version)
	}
	flexible := version >= 1
	e.ProducerID, e.ProducerEpoch, e.TimeoutMs, e.State = d.int64(), d.int16(), d.int32(), State(d.int8())
	if d.err == nil && (e.State < Empty || e.State > CompleteAbort) {
		d.fail("status %d", e.State)
	}
	d.partitions(&e, flexible)
	e.LastUpdateMs, e.StartMs = d.int64(), d.int64()
	if flexible {
		d.tags(func(tag uint64, v []byte) {
			f := decoder{b: v}
			switch tag {
			case tagPreviousProducerID:
				e.PreviousProducerID = f.int64()
			case tagNextProducerID:
				e.NextProducerID = f.int64()
			case tagClientVersion:
				e.ClientVersion = f.int16()
			}
			if f.err != nil {
				d.fail("tagged field %d", tag)
			}
		})
	}
	if d.err != nil {
		return e, fmt.Errorf("value: %w", d.err)
	}
	if e.State == Empty {
		e.Partitions = nil
	}
	return e, nil
}

// decoder reads big endian fields. After an error it reads zeros.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{errMalformed}, args...)...)
	}
	d.b = nil
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.fail("%d bytes wanted, %d are left", n, len(d.b))
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) int8() int8 {
	if v := d.take(1); v != nil {
		return int8(v[0])
	}
	return 0
}

func (d *decoder) int16() int16 {
	if v := d.take(2); v != nil {
		return int16(binary.BigEndian.Uint16(v))
	}
	return 0
}

func (d *decoder) int32() int32 {
	if v := d.take(4); v != nil {
		return int32(binary.BigEndian.Uint32(v))
	}
	return 0
}

func (d *decoder) int64() int64 {
	if v := d.take(8); v != nil {
		return int64(binary.BigEndian.Uint64(v))
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > math.MaxUint32 {
		d.fail("bad varint")
		return 0
	}
	d.b = d.b[n:]
	return v
}

// string reads what a client called something, which need not be text: an id that was served must be found again.
func (d *decoder) string(n int) string { return string(d.take(n)) }

// count reads the length of an array, whose elements take at least size bytes each; -1 is null.
func (d *decoder) count(flexible bool, size int) int {
	var n int
	if flexible {
		n = int(d.uvarint()) - 1
	} else {
		n = int(d.int32())
	}
	if d.err == nil && (n < -1 || n > len(d.b)/size) {
		d.fail("array of %d elements in %d bytes", n, len(d.b))
		return 0
	}
	return n
}

func (d *decoder) partitions(e *Entry, flexible bool) {
	for n := d.count(flexible, 3); n > 0 && d.err == nil; n-- {
		var topic string
		if flexible {
			topic = d.string(int(d.uvarint()) - 1)
		} else {
			topic = d.string(int(d.int16()))
		}
		for m := d.count(flexible, 4); m > 0 && d.err == nil; m-- {
			e.Partitions = append(e.Partitions, TopicPartition{topic, d.int32()})
		}
		if flexible {
			d.tags(nil)
		}
	}
	slices.SortFunc(e.Partitions, comparePartitions)
	e.Partitions = slices.Compact(e.Partitions)
}

func (d *decoder) tags(fn func(tag uint64, v []byte)) {
	for n := d.uvarint(); n > 0 && d.err == nil; n-- {
		tag := d.uvarint()
		v := d.take(int(d.uvarint()))
		if d.err == nil && fn != nil {
			fn(tag, v)
		}
	}
}
