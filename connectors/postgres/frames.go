package postgres

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Limits of the frame buffer. A message cannot be larger than a row, which PostgreSQL limits to 1 GiB for each value; growth follows the
// bytes that really arrived, so a lying length costs nothing.
const (
	frameBuffer = 256 << 10
	maxFrame    = 2 << 30
)

// frameReader reads the server's messages from a connection that was taken over from its driver. Payloads alias the buffer and hold
// until the next call.
type frameReader struct {
	src  io.Reader
	buf  []byte
	r, w int
	// beforeRead is called before each read that may block.
	beforeRead func()
}

func newFrameReader(src io.Reader) *frameReader {
	return &frameReader{src: src, buf: make([]byte, frameBuffer), beforeRead: func() {}}
}

// ready reports whether next will not need to read.
func (f *frameReader) ready() bool {
	if f.w-f.r < 5 {
		return false
	}
	n := int64(binary.BigEndian.Uint32(f.buf[f.r+1:])) + 1
	return n < 5 || int64(f.w-f.r) >= n
}

// next returns the next message's type and payload.
func (f *frameReader) next() (kind byte, payload []byte, err error) {
	if err := f.fill(5); err != nil {
		return 0, nil, err
	}
	n := int64(binary.BigEndian.Uint32(f.buf[f.r+1:]))
	if n < 4 || n > maxFrame {
		return 0, nil, fmt.Errorf("the server sent a message of %d bytes", n)
	}
	if err := f.fill(int(n) + 1); err != nil {
		return 0, nil, err
	}
	kind, payload = f.buf[f.r], f.buf[f.r+5:f.r+1+int(n)]
	f.r += 1 + int(n)
	return kind, payload, nil
}

// fill makes n unread bytes available.
func (f *frameReader) fill(n int) error {
	for f.w-f.r < n {
		if f.r > 0 && (f.r == f.w || f.r+n > len(f.buf)) {
			copy(f.buf, f.buf[f.r:f.w])
			f.w -= f.r
			f.r = 0
			if len(f.buf) > 4*frameBuffer && n < frameBuffer && f.w < frameBuffer { // one large message does not stay in memory
				f.buf = append(make([]byte, 0, frameBuffer), f.buf[:f.w]...)[:frameBuffer]
			}
		}
		if f.w == len(f.buf) {
			grown := make([]byte, min(max(2*len(f.buf), frameBuffer), max(n, frameBuffer)))
			copy(grown, f.buf[:f.w])
			f.buf = grown
		}
		f.beforeRead()
		k, err := f.src.Read(f.buf[f.w:])
		f.w += k
		if err != nil && f.w-f.r < n {
			if err == io.EOF && f.w > f.r {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}
