package log

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/moldau-io/moldau/core/log/batch"
)

// A batch of a few bytes may unpack to batch.MaxDecompressed, and the broker must look at the records of every batch that it takes. What
// that costs is bounded so that those who send such batches wait for each other and for nobody else:
//
//   - a batch gets smallUnpacked bytes first, on one of a directory's few slots; nearly all fit;
//   - one that does not fit goes on to a slot of the whole process, of which there are far fewer than processors, and begins anew;
//   - there, no more than maxUnpackQueue bytes of batches wait: the frames they came in take memory that all connections share. One
//     more is refused with an error that makes clients try again.
//
// So at any time no more than (slots x smallUnpacked) + (large slots x MaxDecompressed) bytes are unpacked, beside the garbage of it.
const (
	smallUnpacked  = 4 << 20
	maxUnpackQueue = 32 << 20
)

// largeUnpacks are the slots for batches that unpack to more than smallUnpacked, each with its memory, nil at first, and largeQueued the bytes
// of the batches that have or want one.
var (
	largeUnpacks = func() chan []byte {
		c := make(chan []byte, max(1, runtime.GOMAXPROCS(0)/4))
		for range cap(c) {
			c <- nil
		}
		return c
	}()
	largeQueued atomic.Int64
	largeBufs   sync.Pool // of *[]byte: memory that no batch waits for, until the collector takes it
)

// unpacked is what a batch holds while its records are looked at.
type unpacked struct {
	small  chan struct{} // a slot is taken here
	queued int64         // bytes of the batch in largeQueued
	large  bool          // a slot of largeUnpacks is taken
}

// unpack makes r read the records of b, which may unpack to limit bytes (0: as many as are allowed at all). After use, done must be called, also
// after an error. With patience it waits however many there are.
func (l *Log) unpack(r *batch.Reader, b batch.Batch, limit int, patience bool) (unpacked, error) {
	if limit <= 0 || limit > batch.MaxDecompressed {
		limit = batch.MaxDecompressed
	}
	if r.Limit = limit; b.Codec() == batch.None {
		return unpacked{}, r.Reset(b)
	}
	u := unpacked{small: l.d.decompress}
	u.small <- struct{}{}
	r.Limit = min(limit, smallUnpacked)
	err := r.Reset(b)
	if limit <= smallUnpacked || !errors.Is(err, batch.ErrTooLarge) {
		return u, err
	}
	u.done(r)
	r.Return() // hundreds may wait
	u = unpacked{queued: int64(len(b))}
	if all := largeQueued.Add(u.queued); all > maxUnpackQueue && all > u.queued && !patience {
		return u, fmt.Errorf("%w: too many batches that unpack to more than %d bytes wait for their turn", ErrBusy, smallUnpacked)
	}
	buf := <-largeUnpacks
	if buf == nil {
		if p, ok := largeBufs.Get().(*[]byte); ok {
			buf = *p
		}
	}
	if cap(buf) < limit+512 {
		buf = make([]byte, 0, limit+512) // at once: growing would leave as much again to the collector
	}
	u.large = true
	r.Lend(buf)
	r.Limit = limit
	return u, r.Reset(b)
}

// done gives back what unpack took. The memory of a large batch stays for the next one that waits.
func (u unpacked) done(r *batch.Reader) {
	left := largeQueued.Add(-u.queued)
	if u.large {
		buf := r.Return()
		if left == 0 {
			kept := buf
			largeBufs.Put(&kept)
			buf = nil
		}
		largeUnpacks <- buf
	}
	if u.small != nil {
		<-u.small
	}
}
