package log

import (
	"fmt"
	"io"

	"github.com/moldau-io/moldau/core/log/batch"
)

// window reads a file forward through a buffer that slides; it serves scans that look at headers and skip the rest.
// end is the file's size as the scan sees it.
type window struct {
	f     io.ReaderAt
	end   int64
	buf   []byte
	start int64 // file position of buf[0]
	chunk int   // read-ahead, windowSize when 0
}

const windowSize = 64 << 10

// at returns n bytes at pos, valid until the next call. io.ErrUnexpectedEOF when the file has fewer.
func (w *window) at(pos int64, n int) ([]byte, error) {
	if pos+int64(n) > w.end {
		return nil, io.ErrUnexpectedEOF
	}
	if pos >= w.start && pos+int64(n) <= w.start+int64(len(w.buf)) {
		i := int(pos - w.start)
		return w.buf[i : i+n : i+n], nil
	}
	want := max(w.chunk, n)
	if w.chunk == 0 {
		want = max(windowSize, n)
	}
	want = int(min(int64(want), w.end-pos))
	if cap(w.buf) < want {
		w.buf = make([]byte, want)
	}
	w.buf = w.buf[:want]
	w.start = pos
	if err := readFull(w.f, w.buf, pos); err != nil {
		w.buf = w.buf[:0]
		return nil, err
	}
	return w.buf[:n:n], nil
}

// readFull reads len(p) bytes at pos.
func readFull(f io.ReaderAt, p []byte, pos int64) error {
	n, err := f.ReadAt(p, pos)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes at %d: %w", len(p), pos, err)
}

// checksum computes the CRC-32C of [from, to) in pieces.
func (w *window) checksum(from, to int64) (uint32, error) {
	crc := uint32(0)
	for from < to {
		p, err := w.at(from, int(min(to-from, windowSize)))
		if err != nil {
			return 0, err
		}
		crc = batch.Checksum(crc, p)
		from += int64(len(p))
	}
	return crc, nil
}
