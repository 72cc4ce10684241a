package parquetfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/format"
	"github.com/stretchr/testify/require"
)

// entry is one entry of a column as a reader sees it.
type entry struct {
	rep, def uint8
	value    any // nil, uint64 (bits) or string
}

var types = []struct {
	name string
	node parquet.Node
	leaf Leaf
}{
	{"flag", parquet.Leaf(parquet.BooleanType), Leaf{Type: format.Boolean}},
	{"small", parquet.Leaf(parquet.Int32Type), Leaf{Type: format.Int32}},
	{"large", parquet.Leaf(parquet.Int64Type), Leaf{Type: format.Int64}},
	{"float", parquet.Leaf(parquet.FloatType), Leaf{Type: format.Float, Order: Float}},
	{"double", parquet.Leaf(parquet.DoubleType), Leaf{Type: format.Double, Order: Float}},
	{"text", parquet.String(), Leaf{Type: format.ByteArray, Order: Bytes}},
	{"amount", parquet.Decimal(2, 20, parquet.ByteArrayType), Leaf{Type: format.ByteArray, Order: Decimal}},
}

// kinds are the three ways in which a column can stand in a row.
var kinds = []struct {
	name string
	wrap func(parquet.Node) parquet.Node
}{
	{"required", func(n parquet.Node) parquet.Node { return n }},
	{"optional", parquet.Optional},
	{"list", func(n parquet.Node) parquet.Node { return parquet.List(parquet.Optional(n)) }},
}

// wide is a layout with a column of each type and kind.
func wide(t testing.TB) *Layout {
	g := parquet.Group{}
	for _, k := range kinds {
		for _, ty := range types {
			g[ty.name+"_"+k.name] = k.wrap(ty.node)
		}
	}
	s := parquet.NewSchema("wide", g)
	var leaves []Leaf
	for _, path := range s.Columns() {
		for _, ty := range types {
			if len(path[0]) > len(ty.name) && path[0][:len(ty.name)+1] == ty.name+"_" {
				leaves = append(leaves, ty.leaf)
			}
		}
	}
	l, err := NewLayout(s, leaves)
	require.NoError(t, err)
	return l
}

func decimal(n int64) string {
	if n >= 0 {
		return string(append([]byte{0}, big.NewInt(n).Bytes()...))
	}
	return string(new(big.Int).Add(big.NewInt(n), new(big.Int).Lsh(big.NewInt(1), 64)).FillBytes(make([]byte, 8)))
}

// random makes a value of a column out of about distinct many.
func random(r *rand.Rand, l *Leaf, distinct int) any {
	n := r.IntN(distinct) - distinct/2
	switch l.Type {
	case format.Boolean:
		return uint64(n & 1)
	case format.Int32:
		return uint64(uint32(int32(n * 7)))
	case format.Int64:
		return uint64(int64(n) << 20)
	case format.Float:
		return uint64(math.Float32bits(float32(n) / 3))
	case format.Double:
		return math.Float64bits(float64(n) / 3)
	}
	if l.Order == Decimal {
		return decimal(int64(n) * 1001)
	}
	return fmt.Sprint("value ", n)
}

// fill writes rows of random values and notes what it wrote. Some rows are begun and taken back.
func fill(t testing.TB, w *Writer, r *rand.Rand, rows int, distinct []int, want [][]entry) {
	put := func(c *Column, i int, note bool) {
		l := &c.leaf
		add := func(rep, def uint8, v any) {
			switch v := v.(type) {
			case nil:
				c.Null(rep, def)
			case uint64:
				c.Fixed(rep, v)
			case string:
				c.Bytes(rep, []byte(v))
			}
			if note {
				want[i] = append(want[i], entry{rep, def, v})
			}
		}
		switch {
		case l.MaxDef == 0:
			add(0, 0, random(r, l, distinct[i]))
		case l.MaxRep == 0:
			if r.IntN(4) == 0 {
				add(0, 0, nil)
			} else {
				add(0, 1, random(r, l, distinct[i]))
			}
		default:
			n := r.IntN(4)
			if n == 0 {
				add(0, 0, nil)
			}
			for k := range n {
				if r.IntN(5) == 0 {
					add(uint8(min(k, 1)), 1, nil)
				} else {
					add(uint8(min(k, 1)), 2, random(r, l, distinct[i]))
				}
			}
		}
	}
	for range rows {
		if r.IntN(20) == 0 {
			for i := range r.IntN(len(w.Columns) + 1) {
				put(&w.Columns[i], i, false)
			}
			w.Undo()
		}
		for i := range w.Columns {
			put(&w.Columns[i], i, true)
		}
		require.NoError(t, w.EndRow(100))
	}
}

// read returns what the library finds in a file, and checks bounds, null counts and page indexes on the way.
func read(t testing.TB, file []byte, l *Layout) [][]entry {
	f, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	out := make([][]entry, len(l.Leaves))
	for g, group := range f.RowGroups() {
		for i, chunk := range group.ColumnChunks() {
			leaf := &l.Leaves[i]
			meta := f.Metadata().RowGroups[g].Columns[i].MetaData
			var b bounds
			nulls := int64(0)
			begin := len(out[i])
			pages := chunk.Pages()
			var offsets parquet.OffsetIndex
			offsets, err = chunk.OffsetIndex()
			require.NoError(t, err)
			row := int64(0)
			for n := 0; ; n++ {
				p, err := pages.ReadPage()
				if errors.Is(err, io.EOF) {
					require.Equal(t, offsets.NumPages(), n)
					break
				}
				require.NoError(t, err)
				require.Equal(t, offsets.FirstRowIndex(n), row)
				row += p.NumRows()
				vs := make([]parquet.Value, p.NumValues())
				n, err := p.Values().ReadValues(vs)
				if !errors.Is(err, io.EOF) {
					require.NoError(t, err)
				}
				require.Len(t, vs, n)
				for _, v := range vs {
					e := entry{rep: uint8(v.RepetitionLevel()), def: uint8(v.DefinitionLevel())}
					switch {
					case v.IsNull():
						nulls++
					case leaf.Type == format.ByteArray:
						e.value = string(v.ByteArray())
						b.bytes(leaf.Order, []byte(e.value.(string)))
					default:
						var bits uint64
						switch leaf.Type {
						case format.Boolean:
							if v.Boolean() {
								bits = 1
							}
						case format.Int32:
							bits = uint64(uint32(v.Int32()))
						case format.Int64:
							bits = uint64(v.Int64())
						case format.Float:
							bits = uint64(math.Float32bits(v.Float()))
						case format.Double:
							bits = math.Float64bits(v.Double())
						}
						e.value = bits
						b.fixed(leaf.Order, leaf.Type, bits)
					}
					out[i] = append(out[i], e)
				}
				parquet.Release(p)
			}
			require.NoError(t, pages.Close())
			require.Equal(t, group.NumRows(), row)
			require.EqualValues(t, len(out[i])-begin, meta.NumValues)
			require.Equal(t, nulls, meta.Statistics.NullCount)
			lo, hi := b.plain(leaf.Type, leaf.Order)
			require.Equal(t, lo, meta.Statistics.MinValue, leaf.Path)
			require.Equal(t, hi, meta.Statistics.MaxValue, leaf.Path)
		}
	}
	return out
}

func TestFilesHoldWhatWasWritten(t *testing.T) {
	l := wide(t)
	w := NewWriter(l, &parquet.Snappy, "test")
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		distinct := make([]int, len(l.Leaves))
		for i := range distinct {
			distinct[i] = []int{1, 2, 9, 300, 1 << 30}[r.IntN(5)]
		}
		var out bytes.Buffer
		require.NoError(t, w.Reset(&out)) // one writer writes all files
		want := make([][]entry, len(l.Leaves))
		for range seed {
			fill(t, w, r, []int{0, 1, 7, 200, 5000, 25_000}[r.IntN(6)], distinct, want)
			require.NoError(t, w.Flush())
		}
		fill(t, w, r, 300, distinct, want)
		require.NoError(t, w.Close())
		got := read(t, out.Bytes(), l)
		for i := range want {
			require.Equal(t, len(want[i]), len(got[i]), "seed %d column %v", seed, l.Leaves[i].Path)
			for k := range want[i] {
				if want[i][k] != got[i][k] {
					require.Equal(t, want[i][k], got[i][k], "seed %d column %v entry %d", seed, l.Leaves[i].Path, k)
				}
			}
		}
	}
}

// column writes a file of one required column.
func column(t testing.TB, node parquet.Node, leaf Leaf, put func(w *Writer)) *parquet.File {
	l, err := NewLayout(parquet.NewSchema("one", parquet.Group{"c": node}), []Leaf{leaf})
	require.NoError(t, err)
	w := NewWriter(l, &parquet.Uncompressed, "test")
	var out bytes.Buffer
	require.NoError(t, w.Reset(&out))
	put(w)
	require.NoError(t, w.Close())
	f, err := parquet.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
	require.NoError(t, err)
	return f
}

func TestDictionariesAreWrittenWhereTheyPay(t *testing.T) {
	write := func(rows int, value func(i int) uint64) format.ColumnMetaData {
		f := column(t, parquet.Leaf(parquet.Int64Type), Leaf{Type: format.Int64}, func(w *Writer) {
			for i := range rows {
				w.Columns[0].Fixed(0, value(i))
				require.NoError(t, w.EndRow(8))
			}
		})
		return f.Metadata().RowGroups[0].Columns[0].MetaData
	}
	few := write(50_000, func(i int) uint64 { return uint64(i % 100) })
	require.Equal(t, []format.PageEncodingStats{{PageType: format.DictionaryPage, Count: 1}, {Encoding: format.RLEDictionary, Count: 3}}, []format.PageEncodingStats(few.EncodingStats))
	require.NotZero(t, few.DictionaryPageOffset)
	require.Less(t, few.TotalCompressedSize, int64(50_000))

	all := write(50_000, func(i int) uint64 { return uint64(i) })
	require.Equal(t, []format.PageEncodingStats{{Count: 3}}, []format.PageEncodingStats(all.EncodingStats))
	require.Zero(t, all.DictionaryPageOffset)

	// One that pays at first and then grows too large stays for the pages that have it.
	later := write(600_000, func(i int) uint64 { return uint64(i%2) * uint64(i) })
	require.Len(t, later.EncodingStats, 3)
	require.EqualValues(t, 30, later.EncodingStats[1].Count+later.EncodingStats[2].Count)

	require.Equal(t, []format.PageEncodingStats{{Count: 1}}, []format.PageEncodingStats(write(1, func(int) uint64 { return 5 }).EncodingStats), "one value is smaller by itself")
}

func TestBoundsCompareAsTheTypeDoes(t *testing.T) {
	stats := func(node parquet.Node, leaf Leaf, vs ...any) format.Statistics {
		f := column(t, node, leaf, func(w *Writer) {
			for _, v := range vs {
				switch v := v.(type) {
				case float64:
					w.Columns[0].Fixed(0, math.Float64bits(v))
				case string:
					w.Columns[0].Bytes(0, []byte(v))
				case int:
					w.Columns[0].Fixed(0, uint64(uint32(int32(v))))
				}
				require.NoError(t, w.EndRow(8))
			}
		})
		return f.Metadata().RowGroups[0].Columns[0].MetaData.Statistics
	}
	s := stats(types[6].node, types[6].leaf, decimal(5), decimal(-5), decimal(300), decimal(-300), "\xff\xfb")
	require.Equal(t, decimal(-300), string(s.MinValue))
	require.Equal(t, decimal(300), string(s.MaxValue))
	s = stats(types[1].node, types[1].leaf, 3, -1, 2)
	require.Equal(t, []byte{0xff, 0xff, 0xff, 0xff}, s.MinValue)
	require.Equal(t, []byte{3, 0, 0, 0}, s.MaxValue)
	s = stats(types[4].node, types[4].leaf, 0.0, 0.0)
	require.Equal(t, uint64(1)<<63, loadFixed(s.MinValue), "a zero bound stands for both zeros")
	require.Equal(t, uint64(0), loadFixed(s.MaxValue))
	s = stats(types[4].node, types[4].leaf, 1.0, math.NaN(), 2.0)
	require.Nil(t, s.MinValue)
	require.Nil(t, s.MaxValue)
	s = stats(types[5].node, types[5].leaf, "b", "", "é")
	require.Equal(t, "", string(s.MinValue))
	require.NotNil(t, s.MinValue)
	require.Equal(t, "é", string(s.MaxValue))
	s = stats(types[5].node, types[5].leaf, "a", string(bytes.Repeat([]byte{'x'}, 5000)))
	require.Nil(t, s.MinValue, "bounds as long as documents are left out")
}

func TestDecimalsCompareAsNumbers(t *testing.T) {
	ns := []int64{math.MinInt64, -70000, -256, -255, -129, -128, -127, -1, 0, 1, 127, 128, 255, 256, 70000, math.MaxInt64}
	forms := func(n int64) (out [][]byte) {
		b := []byte(decimal(n))
		for range 3 {
			fill := byte(0)
			if n < 0 {
				fill = 0xff
			}
			out = append(out, b)
			b = append([]byte{fill}, b...)
		}
		if n == 0 {
			out = append(out, nil)
		}
		return out
	}
	for _, a := range ns {
		for _, b := range ns {
			for _, x := range forms(a) {
				for _, y := range forms(b) {
					want := 0
					if a < b {
						want = -1
					} else if a > b {
						want = 1
					}
					require.Equal(t, want, compareDecimals(x, y), "%d %d", a, b)
				}
			}
		}
	}
}

func TestMemoryIsBoundedByRowGroups(t *testing.T) {
	l, err := NewLayout(parquet.NewSchema("one", parquet.Group{"c": parquet.String()}), []Leaf{{Type: format.ByteArray, Order: Bytes}})
	require.NoError(t, err)
	w := NewWriter(l, &parquet.Uncompressed, "test")
	var out bytes.Buffer
	require.NoError(t, w.Reset(&out))
	r := rand.New(rand.NewPCG(1, 2))
	row := make([]byte, 300_000)
	for range 500 {
		for i := range row {
			row[i] = byte(r.Uint32())
		}
		w.Columns[0].Bytes(0, row)
		require.NoError(t, w.EndRow(len(row)))
		require.LessOrEqual(t, w.Held(), int64(groupBytes+2*checkBytes+len(row)))
	}
	require.NoError(t, w.Close())
	f, err := parquet.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
	require.NoError(t, err)
	require.Len(t, f.RowGroups(), 3)
	require.EqualValues(t, 500, f.NumRows())
}

func TestARowCostsNoAllocation(t *testing.T) {
	l := wide(t)
	w := NewWriter(l, &parquet.Snappy, "test")
	row := func() {
		for i := range w.Columns {
			if c := &w.Columns[i]; c.leaf.Type == format.ByteArray {
				c.Bytes(0, []byte("constant"))
			} else {
				c.Fixed(0, 1)
			}
		}
		require.NoError(t, w.EndRow(10))
	}
	require.NoError(t, w.Reset(io.Discard))
	for range 10_000 {
		row()
	}
	require.NoError(t, w.Reset(io.Discard))
	require.Zero(t, testing.AllocsPerRun(5000, row))
}

func FuzzHybrid(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3}, uint8(2))
	f.Add([]byte{1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 1}, uint8(3))
	f.Add([]byte{5}, uint8(8))
	f.Fuzz(func(t *testing.T, vs []byte, width uint8) {
		width = width%8 + 1
		ids := make([]uint32, len(vs))
		for i := range vs {
			vs[i] &= 1<<width - 1
			ids[i] = uint32(vs[i])
		}
		b := appendHybrid(nil, vs, int(width))
		require.Equal(t, b, appendHybrid(nil, ids, int(width)))
		if len(vs) == 0 {
			require.Empty(t, b)
			return
		}
		got, err := (&rle.Encoding{BitWidth: int(width)}).DecodeLevels(nil, b)
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(got), len(vs))
		require.Equal(t, vs, got[:len(vs)])
	})
}
