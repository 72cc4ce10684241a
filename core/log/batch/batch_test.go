package batch

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func sample(c Codec) Batch {
	w := Builder{Codec: c, BaseOffset: 100, LeaderEpoch: 4, Idempotent: true, ProducerID: 7, ProducerEpoch: 2, BaseSequence: math.MaxInt32, Transactional: true}
	w.Append(1000, []byte("k"), []byte("v"), Header{Key: []byte("h"), Value: []byte("x")}, Header{Key: []byte("null")})
	w.Append(900, nil, nil)
	w.Append(1200, []byte{}, []byte(strings.Repeat("long ", 1000)))
	return w.MustBuild()
}

func TestBuildAndReadEveryCodec(t *testing.T) {
	var r Reader
	for c := None; c <= Zstd; c++ {
		t.Run(c.String(), func(t *testing.T) {
			b := sample(c)
			require.NoError(t, b.Check())
			require.Equal(t, []any{int64(100), int64(102), int64(103), int32(4), int8(2), c, true, false, false, int64(1000), int64(1200)},
				[]any{b.BaseOffset(), b.LastOffset(), b.NextOffset(), b.LeaderEpoch(), b.Magic(), b.Codec(), b.IsTransactional(), b.IsControl(), b.IsLogAppendTime(), b.BaseTimestamp(), b.MaxTimestamp()})
			require.Equal(t, []any{int64(7), int16(2), int32(math.MaxInt32), int32(1), int32(3)},
				[]any{b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.LastSequence(), b.RecordCount()})
			if c != None {
				require.Less(t, len(b), 1500)
			}
			require.NoError(t, r.Reset(b))
			rec, ok := r.Next()
			require.True(t, ok)
			require.Equal(t, Record{Offset: 100, Timestamp: 1000, Key: []byte("k"), Value: []byte("v"), Headers: []Header{{[]byte("h"), []byte("x")}, {[]byte("null"), nil}}}, *rec)
			rec, _ = r.Next()
			require.Equal(t, Record{Offset: 101, OffsetDelta: 1, Timestamp: 900, Headers: []Header{}}, *rec)
			rec, _ = r.Next()
			require.Equal(t, []byte{}, rec.Key)
			require.Len(t, rec.Value, 5000)
			_, ok = r.Next()
			require.False(t, ok)
			require.NoError(t, r.Err())
		})
	}
}

// TestAgainstKmsg compares the bytes with those of an independent encoder.
func TestAgainstKmsg(t *testing.T) {
	b := sample(None)
	k := kmsg.RecordBatch{
		FirstOffset: 100, Length: int32(len(b) - Overhead), PartitionLeaderEpoch: 4, Magic: 2, CRC: int32(b.CRC()), Attributes: AttrTransactional,
		LastOffsetDelta: 2, FirstTimestamp: 1000, MaxTimestamp: 1200, ProducerID: 7, ProducerEpoch: 2, FirstSequence: math.MaxInt32, NumRecords: 3, Records: b.RawRecords(),
	}
	require.Equal(t, []byte(b), k.AppendTo(nil))
	rec := kmsg.NewRecord()
	rec.TimestampDelta64, rec.OffsetDelta, rec.Key, rec.Value = -5, 3, []byte("key"), nil
	rec.Headers = []kmsg.Header{{Key: "a", Value: []byte("b")}}
	mine := AppendRecord(nil, 0, -5, 3, []byte("key"), nil, []Header{{[]byte("a"), []byte("b")}})
	rec.Length = int32(len(mine) - 1)
	require.Equal(t, rec.AppendTo(nil), mine)
}

func TestNextSplitsAndNamesWhatIsWrong(t *testing.T) {
	raw := append(slices.Clone(sample(None)), sample(Gzip)...)
	a, rest, err := Next(raw)
	require.NoError(t, err)
	b, rest, err := Next(rest)
	require.NoError(t, err)
	require.Equal(t, []Codec{None, Gzip}, []Codec{a.Codec(), b.Codec()})
	last, _, err := Next(rest)
	require.NoError(t, err)
	require.Nil(t, last)
	for n := 1; n < len(a); n++ {
		_, _, err := Next(raw[:n])
		require.ErrorIs(t, err, ErrShort, n)
	}
	bad := slices.Clone(raw)
	bad[OffsetMagic] = 1
	_, _, err = Next(bad)
	require.ErrorIs(t, err, ErrMagic)
	bad = slices.Clone(raw)
	bad[OffsetLength] = 0xff
	_, _, err = Next(bad)
	require.ErrorIs(t, err, ErrCorrupt)
	for i := OffsetCRC; i < len(a); i++ {
		bad := slices.Clone(a)
		bad[i] ^= 0x10
		require.ErrorIs(t, bad.Check(), ErrCorrupt, i)
	}
}

func TestSequencesWrap(t *testing.T) {
	require.EqualValues(t, 0, AddSequence(math.MaxInt32, 1))
	require.EqualValues(t, 5, AddSequence(3, 2))
	require.EqualValues(t, math.MaxInt32, AddSequence(0, -1))
}

func TestHorizonAndLogAppendTime(t *testing.T) {
	w := Builder{HasHorizon: true, DeleteHorizon: 99_000}
	w.AppendDelta(3, 1000, []byte("k"), nil)
	raw, err := w.AppendToLast(nil, 9, 1000)
	require.NoError(t, err)
	b := Batch(raw)
	ms, ok := b.DeleteHorizonMs()
	require.True(t, ok)
	require.EqualValues(t, 99_000, ms)
	require.EqualValues(t, 9, b.LastOffset())
	var r Reader
	require.NoError(t, r.Reset(b))
	rec, _ := r.Next()
	require.Equal(t, []int64{3, 1000}, []int64{rec.Offset, rec.Timestamp})
	b = sample(None)
	b.SetMaxTimestamp(5555, true)
	b.UpdateCRC()
	require.NoError(t, b.Check())
	require.NoError(t, r.Reset(b))
	rec, _ = r.Next()
	require.EqualValues(t, 5555, rec.Timestamp)
	w = Builder{BaseOffset: 5}
	raw, err = w.AppendToLast([]byte("keep"), 4, 777)
	require.NoError(t, err)
	b = Batch(raw[4:])
	require.NoError(t, b.Check())
	require.Equal(t, []int64{9, 0, 777}, []int64{b.LastOffset(), int64(b.RecordCount()), b.MaxTimestamp()})
	_, err = w.Build()
	require.Error(t, err)
}

func TestControlBatches(t *testing.T) {
	var r Reader
	b := BuildEndTxn(10, 3, 1, EndTxn{ControlCommit, 6})
	require.True(t, b.IsControl() && b.IsTransactional())
	m, ok, err := ParseEndTxn(&r, b)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, EndTxn{ControlCommit, 6}, m)
	w := Builder{Control: true}
	w.Append(1, []byte{0, 0, 0, 2}, nil) // a leader change of Raft
	_, ok, err = ParseEndTxn(&r, w.MustBuild())
	require.NoError(t, err)
	require.False(t, ok)
	w.Reset()
	w.Append(1, []byte{0, 0}, nil)
	_, _, err = ParseEndTxn(&r, w.MustBuild())
	require.ErrorIs(t, err, ErrCorrupt)
}

func TestSnappyOfBothKinds(t *testing.T) {
	src := []byte(strings.Repeat("moldau ", 20000))
	framed, err := Compress(nil, Snappy, DefaultLevel, src)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(framed, []byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01")))
	for _, in := range [][]byte{framed, snappy.Encode(nil, src), s2.EncodeSnappy(nil, src)} {
		out, err := Decompress([]byte("keep"), Snappy, in, 0)
		require.NoError(t, err)
		require.Equal(t, "keep"+string(src), string(out))
		for n := range 50 {
			_, err := Decompress(nil, Snappy, in[:len(in)-1-n], 0)
			require.ErrorIs(t, err, ErrCorrupt)
		}
	}
}

func TestDecompressionIsBounded(t *testing.T) {
	bomb := make([]byte, 8<<20)
	for c := None; c <= Zstd; c++ {
		p, err := Compress(nil, c, DefaultLevel, bomb)
		require.NoError(t, err)
		_, err = Decompress(nil, c, p, 1<<20)
		require.ErrorIs(t, err, ErrTooLarge, c)
		out, err := Decompress(nil, c, p, 0)
		require.NoError(t, err)
		require.Len(t, out, len(bomb))
	}
	_, err := Decompress(nil, 6, nil, 0)
	require.ErrorIs(t, err, ErrCodec)
	// A snappy block may not claim more than it can hold.
	_, err = Decompress(nil, Snappy, []byte{0xff, 0xff, 0xff, 0x1f, 0}, 0)
	require.ErrorIs(t, err, ErrCorrupt)
}

func TestLevels(t *testing.T) {
	src := []byte(strings.Repeat("abcdefgh 12345 ", 5000))
	for _, x := range []struct {
		c      Codec
		levels []int
	}{{Gzip, []int{1, 6, 9}}, {LZ4, []int{1, 9, 10, 17}}, {Zstd, []int{-5, 1, 3, 22}}} {
		for range 2 { // the second time from the pool
			for _, level := range x.levels {
				p, err := Compress(nil, x.c, level, src)
				require.NoError(t, err)
				out, err := Decompress(nil, x.c, p, 0)
				require.NoError(t, err)
				require.Equal(t, src, out)
			}
		}
	}
	_, err := Compress(nil, Gzip, 77, src)
	require.Error(t, err)
	for name, c := range map[string]Codec{"none": None, "uncompressed": None, "gzip": Gzip, "snappy": Snappy, "lz4": LZ4, "zstd": Zstd} {
		got, err := ParseCodec(name)
		require.NoError(t, err)
		require.Equal(t, c, got)
	}
	_, err = ParseCodec("brotli")
	require.ErrorIs(t, err, ErrCodec)
	require.Equal(t, "codec(7)", fmt.Sprint(Codec(7)))
}

func TestReadingDoesNotAllocate(t *testing.T) {
	b := sample(None)
	var r Reader
	read := func() {
		if r.Reset(b) != nil {
			t.Fatal(r.Err())
		}
		for {
			if _, ok := r.Next(); !ok {
				return
			}
		}
	}
	read()
	require.Zero(t, testing.AllocsPerRun(100, read))
}

// TestUnpackingKeepsItsMemory reads batches of different sizes by turns: what the largest needed is there for each that follows.
func TestUnpackingKeepsItsMemory(t *testing.T) {
	for c := Gzip; c <= Zstd; c++ {
		for _, stream := range []bool{false, true} {
			if stream && c != Zstd {
				continue
			}
			t.Run(fmt.Sprintf("%s, stream %v", c, stream), func(t *testing.T) {
				var batches []Batch
				for _, n := range []int{40, 10, 30, 20} {
					w := Builder{Codec: c}
					for i := range n {
						w.Append(1, nil, []byte(strings.Repeat(fmt.Sprint(i), 1000)))
					}
					b := w.MustBuild()
					if stream { // a frame that does not say how much it holds, as Java's do not
						plain, err := Decompress(nil, c, b.RawRecords(), 0)
						require.NoError(t, err)
						var frame bytes.Buffer
						z, err := zstd.NewWriter(&frame, zstd.WithEncoderConcurrency(1))
						require.NoError(t, err)
						for p := range slices.Chunk(plain, 1000) {
							_, err = z.Write(p)
							require.NoError(t, err)
							require.NoError(t, z.Flush())
						}
						require.NoError(t, z.Close())
						var h zstd.Header
						require.NoError(t, h.Decode(frame.Bytes()))
						require.False(t, h.HasFCS)
						b = append(slices.Clone(b[:HeaderSize]), frame.Bytes()...)
					}
					batches = append(batches, b)
				}
				var r Reader
				read := func() {
					for _, b := range batches {
						if r.Reset(b) != nil {
							t.Fatal(r.Err())
						}
						for _, ok := r.Next(); ok; _, ok = r.Next() {
						}
						if r.Err() != nil {
							t.Fatal(r.Err())
						}
					}
				}
				read()
				require.Zero(t, testing.AllocsPerRun(100, read))
			})
		}
	}
}

// FuzzBatch: any bytes are refused, or are a batch whose records can be read within the limit.
func FuzzBatch(f *testing.F) {
	for c := None; c <= Zstd; c++ {
		f.Add([]byte(sample(c)))
	}
	f.Add([]byte(BuildEndTxn(1, 2, 3, EndTxn{})))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Reader
		r.Limit = 1 << 20
		for {
			b, rest, err := Next(data)
			if err != nil || b == nil {
				return
			}
			data = rest
			if len(b) >= HeaderSize {
				b.UpdateCRC()
			}
			if b.Check() != nil {
				continue
			}
			_, _, _ = ParseEndTxn(&r, b)
			if r.Reset(b) != nil {
				continue
			}
			n := 0
			for rec, ok := r.Next(); ok; rec, ok = r.Next() {
				n++
				_ = AppendRecord(nil, rec.Attributes, rec.Timestamp-b.BaseTimestamp(), rec.OffsetDelta, rec.Key, rec.Value, rec.Headers)
			}
			if r.Err() == nil && n != int(b.RecordCount()) {
				t.Fatalf("%d records of %d", n, b.RecordCount())
			}
		}
	})
}

// FuzzDecompress: no codec panics or passes its limit.
func FuzzDecompress(f *testing.F) {
	for c := None; c <= Zstd; c++ {
		p, _ := Compress(nil, c, DefaultLevel, []byte(strings.Repeat("moldau", 100)))
		f.Add(int8(c), p)
	}
	f.Fuzz(func(t *testing.T, c int8, data []byte) {
		out, err := Decompress(nil, Codec(c), data, 1<<16)
		if err == nil && len(out) > 1<<16 {
			t.Fatalf("%d bytes", len(out))
		}
	})
}

func BenchmarkRead(b *testing.B) {
	for c := None; c <= Zstd; c++ {
		b.Run(c.String(), func(b *testing.B) {
			w := Builder{Codec: c}
			for i := range 100 {
				w.Append(int64(i), fmt.Append(nil, i), []byte(strings.Repeat("value ", 30)))
			}
			bt := w.MustBuild()
			var r Reader
			b.SetBytes(int64(w.Size()))
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Reset(bt); err != nil {
					b.Fatal(err)
				}
				for {
					if _, ok := r.Next(); !ok {
						break
					}
				}
			}
		})
	}
}

func TestChecksumOfAZero(t *testing.T) {
	crc := Checksum(0, []byte("123456789"))
	for n := range 300 {
		require.Equal(t, Checksum(crc, make([]byte, n)), func() uint32 {
			c := crc
			for range n {
				c = ChecksumZero(c)
			}
			return c
		}())
	}
}
