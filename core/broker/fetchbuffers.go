package broker

import (
	"github.com/moldau-io/moldau/core/replica"
	"github.com/moldau-io/moldau/core/server"
)

// fetchBuffers holds the records of an answer in buffers from the server's pool.
type fetchBuffers struct {
	chunks [][]byte
}

// minChunk is how much free space of a chunk is worth reading into.
const minChunk = 64 << 10

// readAlong is room for what the log reads before the batch that was asked for: its index is sparse.
const readAlong = 8 << 10

// maxChunk bounds a chunk, so that it comes from a pool whatever was asked for; a partition has as many as it needs.
const maxChunk = 2<<20 - readAlong

// read reads a partition from offset on, at most want bytes, and appends what it has read to pieces. total is its bytes, next the offset after it
// and o what is to be said of the partition's offsets beside it. With minOne the first batch comes even when it is larger.
func (b *fetchBuffers) read(pieces [][]byte, p *replica.Partition, offset int64, want int, committed, minOne bool) (out [][]byte, total int, next int64, o replica.Offsets, err error) {
	records, next, o, err := b.piece(p, offset, want, committed, minOne)
	if err != nil {
		return pieces, 0, next, o, err
	}
	for len(records) > 0 {
		pieces = append(pieces, records)
		if total += len(records); total >= want {
			break
		}
		more, after, later, err := b.piece(p, next, want-total, committed, false)
		if err != nil {
			return pieces, total, next, o, nil //nolint:nilerr // it comes with the next fetch, if it stays
		}
		// What is said of the offsets goes with the last piece: its records may lie above the limits of those before.
		records, next, o = more, after, later
	}
	return pieces, total, next, o, nil
}

// piece reads batches of a partition from offset on, at most want bytes and at most a chunk.
func (b *fetchBuffers) piece(p *replica.Partition, offset int64, want int, committed, minOne bool) (records []byte, next int64, o replica.Offsets, err error) {
	want = min(want, maxChunk)
	limit := p.Offsets().Limit(committed)
	if offset >= limit { // nothing, or an error
		return p.Read(nil, offset, want, committed, minOne)
	}
	// Room for what seems to be there, by the log's average: at the end of a log that is far less than a client is ready to take.
	guess := int(p.ReadableBytes(offset, limit, int64(want)))
	for room := min(want, max(guess+guess/4, minChunk)); ; room = want {
		dst := b.rest(room + readAlong)
		if dst == nil {
			b.chunks = append(b.chunks, server.GetBuffer(room+readAlong))
			dst = b.chunks[len(b.chunks)-1]
		}
		most := min(want, cap(dst)-readAlong)
		records, next, o, err = p.Read(dst, offset, most, committed, minOne && most == want)
		b.use(dst, len(records))
		if err != nil || len(records) > 0 || most == want {
			return records, next, o, err
		}
	}
}

// rest returns an empty slice of the free room of the last chunk, nil when that is less than need.
func (b *fetchBuffers) rest(need int) []byte {
	if n := len(b.chunks); n > 0 {
		if last := b.chunks[n-1]; cap(last)-len(last) >= need {
			return last[len(last):len(last):cap(last)]
		}
	}
	return nil
}

// use marks n bytes of the last chunk as taken when they were read into dst, which is its free room. If the log needed more room it has
// made its own.
func (b *fetchBuffers) use(dst []byte, n int) {
	last := &b.chunks[len(b.chunks)-1]
	if n <= cap(dst) {
		*last = (*last)[:len(*last)+n]
	}
}

// free gives the buffers back: nobody may hold what was read.
func (b *fetchBuffers) free() {
	for i, c := range b.chunks {
		server.PutBuffer(c)
		b.chunks[i] = nil
	}
	b.chunks = b.chunks[:0]
}
