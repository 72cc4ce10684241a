package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	pb "go.etcd.io/raft/v3/raftpb"
)

// A frame of the write-ahead log, all numbers little endian:
//
//	length of the payload   4 bytes
//	sequence number         8 bytes   of the frame; grows by one, across segments
//	CRC-32C of the payload  4 bytes
//	CRC-32C of the above    4 bytes   so that a wrong length is not believed
//	payload
const frameHeader = 20

// maxFrame bounds a payload; a batch of decisions is bounded far below it.
const maxFrame = 64 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// saved is what one frame holds: a piece of what raft wants to be durable.
type saved struct {
	hard    *pb.HardState // nil for unchanged
	reset   *position     // the log restarts after this position: a snapshot from the leader replaced it
	entries []*pb.Entry   // replace what the log has from the first one's index on
}

// position is a place in the Raft log.
type position struct{ index, term uint64 }

const (
	hasHard = 1 << iota
	hasReset
	hasEntries
)

func appendFrame(dst []byte, seq uint64, s *saved) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, frameHeader)...)
	dst = appendSaved(dst, s)
	payload := dst[start+frameHeader:]
	h := dst[start : start+frameHeader]
	binary.LittleEndian.PutUint32(h[0:], uint32(len(payload)))
	binary.LittleEndian.PutUint64(h[4:], seq)
	binary.LittleEndian.PutUint32(h[12:], crc32.Checksum(payload, castagnoli))
	binary.LittleEndian.PutUint32(h[16:], crc32.Checksum(h[:16], castagnoli))
	return dst
}

func appendSaved(dst []byte, s *saved) []byte {
	var flags byte
	if s.hard != nil {
		flags |= hasHard
	}
	if s.reset != nil {
		flags |= hasReset
	}
	if len(s.entries) > 0 {
		flags |= hasEntries
	}
	dst = append(dst, flags)
	if s.hard != nil {
		dst = binary.AppendUvarint(dst, s.hard.GetTerm())
		dst = binary.AppendUvarint(dst, s.hard.GetVote())
		dst = binary.AppendUvarint(dst, s.hard.GetCommit())
	}
	if s.reset != nil {
		dst = binary.AppendUvarint(dst, s.reset.index)
		dst = binary.AppendUvarint(dst, s.reset.term)
	}
	if len(s.entries) > 0 {
		dst = binary.AppendUvarint(dst, uint64(len(s.entries)))
		dst = binary.AppendUvarint(dst, s.entries[0].GetIndex())
		for _, e := range s.entries {
			dst = binary.AppendUvarint(dst, e.GetTerm())
			dst = append(dst, byte(e.GetType()))
			dst = binary.AppendUvarint(dst, uint64(len(e.GetData())))
			dst = append(dst, e.GetData()...)
		}
	}
	return dst
}

var errPayload = errors.New("frame payload cannot be decoded")

// decodeSaved reads a payload. Entries refer to b.
func decodeSaved(b []byte) (*saved, error) {
	d := payload{b: b}
	flags := d.byte()
	if flags&^(hasHard|hasReset|hasEntries) != 0 {
		return nil, fmt.Errorf("%w: flags 0x%02x are not known to this release", errPayload, flags)
	}
	s := &saved{}
	if flags&hasHard != 0 {
		s.hard = &pb.HardState{Term: new(d.uvarint()), Vote: new(d.uvarint()), Commit: new(d.uvarint())}
	}
	if flags&hasReset != 0 {
		s.reset = &position{index: d.uvarint(), term: d.uvarint()}
	}
	if flags&hasEntries != 0 {
		n, first := d.uvarint(), d.uvarint()
		if n == 0 || n > uint64(len(d.b))/3 || first == 0 || first > math.MaxInt64 {
			d.bad = true
			n = 0
		}
		s.entries = make([]*pb.Entry, 0, n)
		for i := range n {
			e := &pb.Entry{Index: new(first + i), Term: new(d.uvarint())}
			t := d.byte()
			if t > byte(pb.EntryConfChangeV2) {
				d.bad = true
			}
			e.Type = pb.EntryType(t).Enum()
			if data := d.bytes(); len(data) > 0 {
				e.Data = data
			}
			if d.bad {
				break
			}
			s.entries = append(s.entries, e)
		}
	}
	if d.bad || len(d.b) > 0 {
		return nil, errPayload
	}
	return s, nil
}

// payload is a cursor; after the first mistake it gives zeros.
type payload struct {
	b   []byte
	bad bool
}

func (p *payload) byte() byte {
	if len(p.b) == 0 {
		p.bad = true
		return 0
	}
	c := p.b[0]
	p.b = p.b[1:]
	return c
}

func (p *payload) uvarint() uint64 {
	v, n := binary.Uvarint(p.b)
	if n <= 0 {
		p.bad, p.b = true, nil
		return 0
	}
	p.b = p.b[n:]
	return v
}

func (p *payload) bytes() []byte {
	n := p.uvarint()
	if n > uint64(len(p.b)) {
		p.bad, p.b = true, nil
		return nil
	}
	v := p.b[:n:n]
	p.b = p.b[n:]
	return v
}

// frameAt reads the frame at the start of b. seq is its number; size is what it takes of b.
func frameAt(b []byte) (body []byte, seq uint64, size int, why frameFault) {
	if len(b) < frameHeader {
		return nil, 0, 0, frameCut
	}
	h := b[:frameHeader]
	if crc32.Checksum(h[:16], castagnoli) != binary.LittleEndian.Uint32(h[16:]) {
		return nil, 0, 0, frameBadHeader
	}
	n := binary.LittleEndian.Uint32(h[0:])
	if n > maxFrame {
		return nil, 0, 0, frameBadHeader
	}
	size = frameHeader + int(n)
	if len(b) < size {
		return nil, 0, size, frameCut
	}
	body = b[frameHeader:size:size]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(h[12:]) {
		return nil, 0, size, frameBadPayload
	}
	return body, binary.LittleEndian.Uint64(h[4:]), size, frameOK
}

type frameFault int

const (
	frameOK frameFault = iota
	frameCut
	frameBadHeader
	frameBadPayload
)

// sector is the unit in which a disk writes. A torn write leaves sectors that were never written, which
// read as zeros; a flipped bit does not.
const sector = 512

// torn reports whether the bytes from offset to end of a file look like a write that did not
// complete: some sector of theirs is all zeros, or they are so.
func torn(file []byte, offset, end int) bool {
	end = min(end, len(file))
	for at := offset; at < end; {
		next := min((at/sector+1)*sector, end)
		zero := true
		for _, c := range file[at:next] {
			if c != 0 {
				zero = false
				break
			}
		}
		if zero {
			return true
		}
		at = next
	}
	return false
}

// frameAfter reports the offset of a good frame with a number above seq somewhere behind offset.
func frameAfter(file []byte, offset int, seq uint64) (int, bool) {
	for at := offset + 1; at+frameHeader <= len(file); at++ {
		if _, s, _, why := frameAt(file[at:]); why == frameOK && s > seq {
			return at, true
		}
	}
	return 0, false
}
