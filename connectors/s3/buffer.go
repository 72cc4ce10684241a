package s3

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

const chunkSize = 256 << 10

// pool is the memory that all open objects of a task share, handed out in chunks.
type pool struct {
	mu   sync.Mutex
	left int
	free [][]byte
}

func newPool(bytes int64) *pool { return &pool{left: int(max(bytes/chunkSize, 1))} }

// take returns a chunk, or nil when the pool is empty.
func (p *pool) take() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		c := p.free[n-1]
		p.free = p.free[:n-1]
		return c
	}
	if p.left == 0 {
		return nil
	}
	p.left--
	return make([]byte, chunkSize)
}

func (p *pool) give(chunks [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, chunks...)
}

// buffer collects the bytes of an object: in chunks of the pool as long as there are some, then in a scratch file that is unlinked at
// once, so that nothing is left behind by a crash. It is written by one goroutine, then sealed and read by another.
type buffer struct {
	pool    *pool
	scratch string

	chunks [][]byte
	inMem  int64 // bytes in chunks
	file   *os.File
	inFile int64
}

// Write appends p.
func (b *buffer) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && b.file == nil {
		used := int(b.inMem % chunkSize)
		if used == 0 && int64(len(b.chunks))*chunkSize == b.inMem {
			c := b.pool.take()
			if c == nil {
				f, err := os.CreateTemp(b.scratch, "moldau-s3-")
				if err != nil {
					return 0, fmt.Errorf("scratch file: %w", err)
				}
				if err := os.Remove(f.Name()); err != nil {
					return 0, fmt.Errorf("scratch file: %w", errors.Join(err, f.Close()))
				}
				b.file = f
				break
			}
			b.chunks = append(b.chunks, c)
		}
		k := copy(b.chunks[len(b.chunks)-1][used:], p)
		b.inMem += int64(k)
		p = p[k:]
	}
	if len(p) > 0 {
		k, err := b.file.Write(p)
		b.inFile += int64(k)
		if err != nil {
			return n - len(p) + k, fmt.Errorf("scratch file: %w", err)
		}
	}
	return n, nil
}

func (b *buffer) size() int64 { return b.inMem + b.inFile }

// ReadAt reads like a file; it may be called concurrently once nothing is written any more.
func (b *buffer) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) && off < b.inMem {
		c := b.chunks[off/chunkSize]
		k := copy(p[n:], c[off%chunkSize:min(chunkSize, b.inMem-off/chunkSize*chunkSize)])
		n += k
		off += int64(k)
	}
	if n < len(p) && b.file != nil {
		k, err := b.file.ReadAt(p[n:], off-b.inMem)
		return n + k, err
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// release gives the memory back and drops the scratch file.
func (b *buffer) release() {
	b.pool.give(b.chunks)
	b.chunks, b.inMem = nil, 0
	if b.file != nil {
		b.file.Close()
		b.file, b.inFile = nil, 0
	}
}
