package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Codec is a compression codec, as in the attribute bits of a batch.
type Codec int8

// The codecs of the Kafka protocol.
const (
	None   Codec = 0
	Gzip   Codec = 1
	Snappy Codec = 2
	LZ4    Codec = 3
	Zstd   Codec = 4
)

// MaxDecompressed bounds what the records of one batch may decompress to, in bytes, whatever a caller asks for.
const MaxDecompressed = 128 << 20

var codecNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

// String is the name that the configuration key compression.type uses.
func (c Codec) String() string {
	if c < 0 || int(c) >= len(codecNames) {
		return fmt.Sprintf("codec(%d)", int8(c))
	}
	return codecNames[c]
}

// ParseCodec finds a codec by the name used in compression.type; "uncompressed" is the topic config's word for none.
func ParseCodec(name string) (Codec, error) {
	if name == "uncompressed" {
		return None, nil
	}
	if i := slices.Index(codecNames[:], name); i >= 0 {
		return Codec(i), nil
	}
	return None, fmt.Errorf("%w %q, want one of none, gzip, snappy, lz4, zstd", ErrCodec, name)
}

// xerialHeader begins a snappy stream as the Java library writes it: magic, version 1, compatible with 1. Blocks
// follow, each with its length in four bytes.
var xerialHeader = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}

const xerialBlock = 32 << 10

type gzipDecoder struct {
	in bytes.Reader
	z  *gzip.Reader
}

type lz4Decoder struct {
	in bytes.Reader
	z  *lz4.Reader
}

var (
	gzipDecoders = sync.Pool{New: func() any { return new(gzipDecoder) }}
	lz4Decoders  = sync.Pool{New: func() any { return &lz4Decoder{z: lz4.NewReader(nil)} }}
	zstdStreams  = sync.Pool{New: func() any { return &zstdStream{z: newZstdDecoder(zstd.WithDecoderConcurrency(1))} }}
	zstdDecoder  = sync.OnceValue(func() *zstd.Decoder { return newZstdDecoder(zstd.WithDecodeAllCapLimit(true)) })
)

type zstdStream struct {
	in bytes.Reader
	z  *zstd.Decoder
}

func newZstdDecoder(o zstd.DOption) *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(MaxDecompressed), zstd.WithDecoderLowmem(true), o)
	if err != nil {
		panic("batch: zstd decoder options: " + err.Error())
	}
	return d
}

// Decompress appends the decompressed src to dst. It fails with ErrTooLarge past limit bytes (MaxDecompressed when
// limit is 0 or larger than that), with ErrCorrupt when src is not what codec produces. It is safe for concurrent use.
func Decompress(dst []byte, codec Codec, src []byte, limit int) ([]byte, error) {
	if limit <= 0 || limit > MaxDecompressed {
		limit = MaxDecompressed
	}
	switch codec {
	case None:
		if len(src) > limit {
			return dst, ErrTooLarge
		}
		return append(dst, src...), nil
	case Gzip:
		d := gzipDecoders.Get().(*gzipDecoder)
		defer gzipDecoders.Put(d)
		d.in.Reset(src)
		var err error
		if d.z == nil {
			d.z, err = gzip.NewReader(&d.in)
		} else {
			err = d.z.Reset(&d.in)
		}
		if err != nil {
			d.z = nil
			return dst, corrupt(codec, err)
		}
		return readBounded(dst, d.z, codec, limit)
	case Snappy:
		return decompressSnappy(dst, src, limit)
	case LZ4:
		d := lz4Decoders.Get().(*lz4Decoder)
		defer lz4Decoders.Put(d)
		d.in.Reset(src)
		d.z.Reset(&d.in)
		return readBounded(dst, d.z, codec, limit)
	case Zstd:
		return decompressZstd(dst, src, limit)
	}
	return dst, fmt.Errorf("%w %d", ErrCodec, int8(codec))
}

func corrupt(codec Codec, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrCorrupt, codec, err)
}

func readBounded(dst []byte, r io.Reader, codec Codec, limit int) ([]byte, error) {
	base := len(dst)
	for {
		if cap(dst)-len(dst) < 512 {
			dst = slices.Grow(dst, min(max(4096, len(dst)-base), limit-(len(dst)-base)+512))
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if len(dst)-base > limit {
			return dst[:base], fmt.Errorf("%w: %s, limit %d", ErrTooLarge, codec, limit)
		}
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst[:base], corrupt(codec, err)
		}
	}
}

// decompressZstd decodes into memory that is there beforehand: as much as a frame says that it holds, or a guess where it does not say, as Java's
// do not. What does not fit is decoded again bit by bit, so that no frame makes memory be taken for more than it turns out to hold.
func decompressZstd(dst, src []byte, limit int) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(src); err != nil {
		return dst, corrupt(Zstd, err)
	}
	base := len(dst)
	room := max(16*len(src), 64<<10, cap(dst)-base)
	if h.HasFCS {
		if h.FrameContentSize > uint64(limit) {
			return dst, fmt.Errorf("%w: zstd, limit %d", ErrTooLarge, limit)
		}
		room = int(h.FrameContentSize)
	}
	if room = min(room, limit); room <= zstdGuess || cap(dst)-base >= room {
		dst = slices.Grow(dst, room)
		if out, err := zstdDecoder().DecodeAll(src, dst[:base:base+room]); err == nil {
			return dst[:len(out)], nil // with all of its room, which the next batch may need
		}
	}
	d := zstdStreams.Get().(*zstdStream)
	defer zstdStreams.Put(d)
	d.in.Reset(src)
	if err := d.z.Reset(&d.in); err != nil {
		return dst, corrupt(Zstd, err)
	}
	out, err := readBounded(dst, d.z, Zstd, limit)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return dst, fmt.Errorf("%w: zstd, limit %d", ErrTooLarge, limit)
	}
	return out, err
}

// zstdGuess is the most memory that is made ready on a frame's word.
const zstdGuess = 4 << 20

func decompressSnappy(dst, src []byte, limit int) ([]byte, error) {
	base := len(dst)
	if len(src) < len(xerialHeader) || !bytes.Equal(src[:8], xerialHeader[:8]) {
		return snappyBlock(dst, src, limit)
	}
	src = src[len(xerialHeader):]
	for len(src) > 0 {
		if len(src) < 4 {
			return dst[:base], corrupt(Snappy, io.ErrUnexpectedEOF)
		}
		n := binary.BigEndian.Uint32(src)
		src = src[4:]
		if uint64(n) > uint64(len(src)) {
			return dst[:base], corrupt(Snappy, io.ErrUnexpectedEOF)
		}
		var err error
		if dst, err = snappyBlock(dst, src[:n], limit-(len(dst)-base)); err != nil {
			return dst[:base], err
		}
		src = src[n:]
	}
	return dst, nil
}

func snappyBlock(dst, src []byte, limit int) ([]byte, error) {
	n, err := snappy.DecodedLen(src)
	if err != nil {
		return dst, corrupt(Snappy, err)
	}
	if n > limit {
		return dst, fmt.Errorf("%w: snappy, limit %d", ErrTooLarge, limit)
	}
	// A snappy element of 3 bytes yields at most 64, so that a larger claim is a lie: refuse before allocating.
	if n > 64+len(src)*32 {
		return dst, fmt.Errorf("%w: snappy: %d bytes cannot hold %d", ErrCorrupt, len(src), n)
	}
	dst = slices.Grow(dst, n)
	out, err := snappy.Decode(dst[len(dst):len(dst)+n], src)
	if err != nil {
		return dst, corrupt(Snappy, err)
	}
	return dst[:len(dst)+len(out)], nil
}

type gzipEncoder struct {
	level int
	z     *gzip.Writer
}

type lz4Encoder struct {
	level int
	z     *lz4.Writer
}

var (
	gzipEncoders sync.Pool
	lz4Encoders  sync.Pool
	zstdEncoders sync.Map // level -> *zstd.Encoder
)

// DefaultLevel asks Compress for the codec's default level.
const DefaultLevel = -1 << 31

// sliceWriter appends to a slice.
type sliceWriter struct{ b []byte }

func (w *sliceWriter) Write(p []byte) (int, error) { w.b = append(w.b, p...); return len(p), nil }

// Compress appends the compressed src to dst, framed as Java clients expect: snappy in xerial blocks, lz4 as a frame
// of independent 64 KiB blocks. Level is the codec's own scale (gzip 1-9, lz4 1-17, zstd -131072-22) or DefaultLevel.
// It is safe for concurrent use.
func Compress(dst []byte, codec Codec, level int, src []byte) ([]byte, error) {
	switch codec {
	case None:
		return append(dst, src...), nil
	case Gzip:
		if level == DefaultLevel {
			level = gzip.DefaultCompression
		}
		w := &sliceWriter{dst}
		e, _ := gzipEncoders.Get().(*gzipEncoder)
		if e == nil || e.level != level {
			z, err := gzip.NewWriterLevel(w, level)
			if err != nil {
				return dst, fmt.Errorf("compress gzip: %w", err)
			}
			e = &gzipEncoder{level, z}
		} else {
			e.z.Reset(w)
		}
		defer gzipEncoders.Put(e)
		return finish(w, e.z, dst, src)
	case Snappy:
		dst = append(dst, xerialHeader...)
		for len(src) > 0 {
			block := src[:min(len(src), xerialBlock)]
			src = src[len(block):]
			at := len(dst)
			dst = slices.Grow(dst, 4+snappy.MaxEncodedLen(len(block)))
			out := snappy.Encode(dst[at+4:at+4+snappy.MaxEncodedLen(len(block))], block)
			dst = dst[:at+4+len(out)]
			binary.BigEndian.PutUint32(dst[at:], uint32(len(out)))
		}
		return dst, nil
	case LZ4:
		if level == DefaultLevel {
			level = 9
		}
		w := &sliceWriter{dst}
		e, _ := lz4Encoders.Get().(*lz4Encoder)
		if e == nil || e.level != level {
			z := lz4.NewWriter(w)
			if err := z.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false), lz4.BlockChecksumOption(false),
				lz4.ConcurrencyOption(1), lz4.CompressionLevelOption(lz4Level(level))); err != nil {
				return dst, fmt.Errorf("compress lz4: %w", err)
			}
			e = &lz4Encoder{level, z}
		} else {
			e.z.Reset(w)
		}
		defer lz4Encoders.Put(e)
		return finish(w, e.z, dst, src)
	case Zstd:
		if level == DefaultLevel {
			level = 3
		}
		e, ok := zstdEncoders.Load(level)
		if !ok {
			z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)), zstd.WithLowerEncoderMem(true))
			if err != nil {
				return dst, fmt.Errorf("compress zstd: %w", err)
			}
			e, _ = zstdEncoders.LoadOrStore(level, z)
		}
		return e.(*zstd.Encoder).EncodeAll(src, dst), nil
	}
	return dst, fmt.Errorf("%w %d", ErrCodec, int8(codec))
}

func finish(w *sliceWriter, z io.WriteCloser, dst, src []byte) ([]byte, error) {
	if _, err := z.Write(src); err != nil {
		return dst, fmt.Errorf("compress: %w", err)
	}
	if err := z.Close(); err != nil {
		return dst, fmt.Errorf("compress: %w", err)
	}
	return w.b, nil
}

// lz4Level maps Kafka's 1-17 (9 is the default, meaning the fast compressor of the Java library) to the library's.
func lz4Level(level int) lz4.CompressionLevel {
	if level <= 9 {
		return lz4.Fast
	}
	return []lz4.CompressionLevel{lz4.Level1, lz4.Level3, lz4.Level4, lz4.Level5, lz4.Level6, lz4.Level7, lz4.Level8, lz4.Level9}[min(level, 17)-10]
}
