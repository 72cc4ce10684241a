package batch

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// read is what a Reader says of records that Skim is asked about: ok where it gives n of them, in order.
func read(p []byte, n int32) (s Skimmed, ok bool) {
	r := Reader{data: p, left: n}
	s.MinTimestampDelta, s.MaxTimestampDelta = math.MaxInt64, math.MinInt64
	i := int32(0)
	for rec, more := r.Next(); more; rec, more = r.Next() {
		if rec.OffsetDelta != i {
			return s, false
		}
		i++
		s.MinTimestampDelta = min(s.MinTimestampDelta, rec.Timestamp)
		s.MaxTimestampDelta = max(s.MaxTimestampDelta, rec.Timestamp)
		s.NullKey = s.NullKey || rec.Key == nil
	}
	return s, r.Err() == nil && i == n && n > 0 && s.MinTimestampDelta > -maxTimestampDelta && s.MaxTimestampDelta < maxTimestampDelta
}

// records encodes records of many shapes: each length of a varint, null and empty, with headers and without.
func records(n int) []byte {
	var p []byte
	for i := range n {
		value := []byte(strings.Repeat("v", []int{0, 1, 63, 64, 1000, 8191, 8192, 20000}[i%8]))
		key := [][]byte{nil, {}, []byte("k"), []byte(strings.Repeat("k", 64)), []byte(strings.Repeat("k", 9000))}[i%5]
		if i%7 == 3 {
			value = nil
		}
		var headers []Header
		for h := range i % 4 {
			headers = append(headers, Header{Key: []byte(strings.Repeat("h", 40*h)), Value: [][]byte{nil, {}, []byte("x")}[h]})
		}
		ts := []int64{0, 1, -1, 63, 64, -65, 10_000, -10_000, 5_000_000, 1 << 40, -1 << 40}[i%11]
		p = AppendRecord(p, int8(i), ts, int32(i), key, value, headers)
	}
	return p
}

func TestSkimSeesWhatAReaderSees(t *testing.T) {
	for _, n := range []int{1, 2, 63, 64, 65, 8191, 8192, 8193, 9000} {
		p := records(n)
		want, ok := read(p, int32(n))
		require.True(t, ok)
		got, ok := Skim(p, int32(n))
		require.True(t, ok, n)
		require.Equal(t, want, got)
		_, ok = Skim(nil, 0)
		require.False(t, ok)
		for _, wrong := range []int{n - 1, n + 1, 0, -1} {
			_, ok = Skim(p, int32(wrong))
			require.False(t, ok, "%d of %d", wrong, n)
		}
		_, ok = Skim(append(slices.Clip(p), 0), int32(n))
		require.False(t, ok, "a byte more")
		_, ok = Skim(p[:len(p)-1], int32(n))
		require.False(t, ok, "a byte less")
	}
	for _, ts := range []int64{maxTimestampDelta, -maxTimestampDelta, math.MaxInt64, math.MinInt64} {
		_, ok := Skim(AppendRecord(nil, 0, ts, 0, nil, nil, nil), 1)
		require.False(t, ok, ts)
	}
}

// TestSkimAcceptsNothingThatAReaderRefuses changes each byte of some records to every other value, and shortens them at each.
func TestSkimAcceptsNothingThatAReaderRefuses(t *testing.T) {
	for _, p := range [][]byte{
		records(3),
		AppendRecord(AppendRecord(nil, 0, 5, 0, nil, []byte("value"), []Header{{[]byte("a"), []byte("b")}, {[]byte("c"), nil}}), 0, 5, 1, []byte("key"), []byte("v"), nil),
		AppendRecord(AppendRecord(nil, 0, 1<<45, 0, []byte("k"), nil, nil), 0, 1<<45, 1, []byte("key"), []byte(strings.Repeat("v", 300)), nil),
	} {
		n := int32(1)
		for _, ok := read(p, n); !ok; _, ok = read(p, n) {
			n++
		}
		accepted := 0
		for i := range p {
			old := p[i]
			for v := range 256 {
				p[i] = byte(v)
				if agrees(t, p, n) {
					accepted++
				}
			}
			p[i] = old
			agrees(t, p[:i], n)
		}
		require.Greater(t, accepted, len(p)) // the values' bytes
	}
}

// agrees says whether Skim accepts p, and fails unless a Reader then says the same of it.
func agrees(t *testing.T, p []byte, n int32) bool {
	t.Helper()
	got, ok := Skim(p, n)
	if want, may := read(p, n); ok && (!may || got != want) {
		t.Fatalf("Skim accepts %x: %+v, a Reader has %+v, %v", p[:min(len(p), 64)], got, want, may)
	}
	return ok
}

// TestSkimTakesVarintsThatAreLongerThanTheyNeedBe or leaves them to a Reader, as long as the two agree.
func TestSkimTakesVarintsThatAreLongerThanTheyNeedBe(t *testing.T) {
	long := func(v uint64, n int) []byte {
		p := binary.AppendUvarint(nil, v)
		for len(p) < n {
			p[len(p)-1] |= 0x80
			p = append(p, 0)
		}
		return p
	}
	for _, lengths := range [][]int{{1, 10, 1, 1, 1, 1}, {1, 10, 10, 10, 1, 1}, {10, 10, 10, 10, 10, 10}, {1, 1, 1, 1, 10, 1}, {1, 1, 1, 2, 2, 2}, {2, 11, 1, 1, 1, 1}, {3, 3, 3, 3, 3, 3}, {10, 11, 10, 10, 10, 10}} {
		body := []byte{0}
		body = append(body, long(2*7, lengths[1])...) // timestamp delta
		body = append(body, long(0, lengths[2])...)   // offset delta
		body = append(body, long(1, lengths[3])...)   // null key
		body = append(body, long(2*2, lengths[4])...) // value
		body = append(body, "vv"...)                  //
		body = append(body, long(0, lengths[5])...)   // headers
		p := append(long(uint64(2*len(body)), lengths[0]), body...)
		agrees(t, p, 1)
		agrees(t, append(slices.Clip(p), p...), 2)
		agrees(t, append(slices.Clip(p), records(1)...), 2)
	}
	for _, body := range [][]byte{
		slices.Concat([]byte{0}, long(0, 10), long(0, 10), long(1, 10), []byte{0}), // no header count
		slices.Concat([]byte{0}, long(0, 11), []byte{0, 0, 0}),                     // eleven bytes are no varint, but one and ten are
		slices.Concat([]byte{0}, []byte{0, 0, 1, 1}, long(math.MaxUint64-1, 10)),   // so many headers
		slices.Concat([]byte{0}, []byte{0, 0, 1, 1}, long(math.MaxUint64-1, 10), []byte{0, 0}),
	} {
		for _, n := range []int{1, 10} {
			require.False(t, agrees(t, append(long(uint64(2*len(body)), n), body...), 1))
		}
	}
}

// FuzzSkim: what Skim accepts, a Reader gives.
func FuzzSkim(f *testing.F) {
	f.Add(records(1), int32(1))
	f.Add(records(4), int32(4))
	f.Add([]byte{2, 0}, int32(1))
	f.Fuzz(func(t *testing.T, p []byte, n int32) { agrees(t, p, n) })
}

func BenchmarkSkim(b *testing.B) {
	for _, size := range []int{100, 1024} {
		w := Builder{}
		for i := range 1 << 20 / size {
			w.Append(int64(1_700_000_000_000+i/100), nil, []byte(strings.Repeat("v", size)))
		}
		bt := w.MustBuild()
		b.Run(fmt.Sprintf("%d/Skim", size), func(b *testing.B) {
			b.SetBytes(int64(len(bt)))
			for b.Loop() {
				if _, ok := Skim(bt.RawRecords(), bt.RecordCount()); !ok {
					b.Fatal("not ok")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(bt.RecordCount()), "ns/record")
		})
		b.Run(fmt.Sprintf("%d/Reader", size), func(b *testing.B) {
			var r Reader
			b.SetBytes(int64(len(bt)))
			for b.Loop() {
				if err := r.Reset(bt); err != nil {
					b.Fatal(err)
				}
				for _, ok := r.Next(); ok; _, ok = r.Next() {
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(bt.RecordCount()), "ns/record")
		})
	}
}
