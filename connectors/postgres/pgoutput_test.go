package postgres

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// wire builds pgoutput messages.
type wire struct{ b []byte }

func wireMsg(kind byte) *wire      { return &wire{b: []byte{kind}} }
func (w *wire) u8(v byte) *wire    { w.b = append(w.b, v); return w }
func (w *wire) u16(v uint16) *wire { w.b = binary.BigEndian.AppendUint16(w.b, v); return w }
func (w *wire) u32(v uint32) *wire { w.b = binary.BigEndian.AppendUint32(w.b, v); return w }
func (w *wire) u64(v uint64) *wire { w.b = binary.BigEndian.AppendUint64(w.b, v); return w }
func (w *wire) str(s string) *wire { w.b = append(append(w.b, s...), 0); return w }
func (w *wire) tuple(v ...any) *wire {
	w.u16(uint16(len(v)))
	for _, x := range v {
		switch x := x.(type) {
		case nil:
			w.u8(colNull)
		case string:
			w.u8(colText).u32(uint32(len(x)))
			w.b = append(w.b, x...)
		case byte:
			w.u8(x)
		}
	}
	return w
}

func begin(final uint64, xid uint32) []byte {
	return wireMsg(msgBegin).u64(final).u64(1_000_000).u32(xid).b
}

func commit(lsn, end uint64) []byte {
	return wireMsg(msgCommit).u8(0).u64(lsn).u64(end).u64(1_000_000).b
}

func relationOf(id uint32, schema, table string, replident byte, cols ...relColumn) []byte {
	w := wireMsg(msgRelation).u32(id).str(schema).str(table).u8(replident).u16(uint16(len(cols)))
	for _, c := range cols {
		var f byte
		if c.key {
			f = 1
		}
		w.u8(f).str(c.name).u32(c.typeOID).u32(uint32(c.typmod))
	}
	return w.b
}

func values(t tuple) (out []any) {
	for range t.n {
		switch k, v := t.next(); k {
		case colNull:
			out = append(out, nil)
		case colUnchanged:
			out = append(out, byte(colUnchanged))
		default:
			out = append(out, string(v))
		}
	}
	return out
}

func TestMessagesAreDecoded(t *testing.T) {
	var m message
	require.NoError(t, decode(begin(0x1_0000_0002, 77), &m))
	require.Equal(t, uint64(0x1_0000_0002), m.lsn)
	require.Equal(t, uint32(77), m.xid)
	require.Equal(t, int64(pgEpochMicros+1_000_000), m.micros)

	require.NoError(t, decode(commit(5, 6), &m))
	require.Equal(t, uint64(6), m.endLSN)

	require.NoError(t, decode(relationOf(9, "s", "t", 'd', relColumn{key: true, name: "id", typeOID: oidInt4, typmod: -1}, relColumn{name: "v", typeOID: oidText, typmod: -1}), &m))
	require.Equal(t, relationMsg{id: 9, schema: "s", table: "t", replident: 'd', columns: []relColumn{{true, "id", oidInt4, -1}, {false, "v", oidText, -1}}}, m.relation)

	require.NoError(t, decode(wireMsg(msgInsert).u32(9).u8('N').tuple("1", nil).b, &m))
	require.Equal(t, []any{"1", nil}, values(m.new))
	require.False(t, m.old.present())

	require.NoError(t, decode(wireMsg(msgUpdate).u32(9).u8('K').tuple("1", nil).u8('N').tuple("2", byte(colUnchanged)).b, &m))
	require.Equal(t, byte('K'), m.oldKind)
	require.Equal(t, []any{"1", nil}, values(m.old))
	require.Equal(t, []any{"2", byte(colUnchanged)}, values(m.new))

	require.NoError(t, decode(wireMsg(msgUpdate).u32(9).u8('N').tuple("2", "x").b, &m))
	require.False(t, m.old.present())

	require.NoError(t, decode(wireMsg(msgDelete).u32(9).u8('O').tuple("1", "y").b, &m))
	require.Equal(t, []any{"1", "y"}, values(m.old))

	require.NoError(t, decode(wireMsg(msgTruncate).u32(2).u8(1).u32(9).u32(10).b, &m))
	require.Equal(t, []uint32{9, 10}, m.relIDs)

	w := wireMsg(msgMessage).u8(1).u64(3).str("p").u32(2)
	require.NoError(t, decode(append(w.b, "hi"...), &m))
	require.Equal(t, "hi", string(m.content))
}

func TestMessagesThatEndEarlyAreRefused(t *testing.T) {
	for _, full := range [][]byte{
		begin(1, 2), commit(1, 2), relationOf(1, "s", "t", 'f', relColumn{name: "a"}),
		wireMsg(msgInsert).u32(9).u8('N').tuple("abc", nil).b,
		wireMsg(msgUpdate).u32(9).u8('O').tuple("abc").u8('N').tuple("abc").b,
		wireMsg(msgDelete).u32(9).u8('K').tuple("abc").b,
		wireMsg(msgTruncate).u32(1).u8(0).u32(9).b,
	} {
		var m message
		require.NoError(t, decode(full, &m))
		for n := range len(full) {
			require.Error(t, decode(full[:n], &m), "%q cut at %d", full[0], n)
		}
	}
	var m message
	require.Error(t, decode([]byte("?"), &m))
	require.Error(t, decode(wireMsg(msgTruncate).u32(1<<30).u8(0).b, &m), "a lying count allocates nothing")
	require.Error(t, decode(wireMsg(msgInsert).u32(9).u8('N').u16(1).u8(colText).u32(1<<31).b, &m))
}

func FuzzDecode(f *testing.F) {
	f.Add(begin(1, 2))
	f.Add(relationOf(1, "s", "t", 'f', relColumn{name: "a"}))
	f.Add(wireMsg(msgUpdate).u32(9).u8('O').tuple("abc", nil).u8('N').tuple("abc", byte(colUnchanged)).b)
	f.Add(wireMsg(msgTruncate).u32(1).u8(0).u32(9).b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var m message
		if decode(b, &m) != nil {
			return
		}
		for _, tp := range []tuple{m.old, m.new} { // what passed is safe to walk
			if tp.present() {
				values(tp)
			}
		}
	})
}

// frame builds a message of the server.
func frame(kind byte, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(payload)+4)), payload...)
}

func TestFramesComeWholeFromAnyPieces(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var stream []byte
	var want [][]byte
	for range 300 {
		n := rnd.IntN(300)
		if rnd.IntN(40) == 0 {
			n = rnd.IntN(2 * frameBuffer)
		}
		p := bytes.Repeat([]byte{byte(rnd.IntN(256))}, n)
		want = append(want, p)
		stream = append(stream, frame('d', p)...)
	}
	for name, r := range map[string]io.Reader{"all": bytes.NewReader(stream), "one": iotest.OneByteReader(bytes.NewReader(stream)), "half": iotest.HalfReader(bytes.NewReader(stream))} {
		f := newFrameReader(r)
		for i, w := range want {
			kind, p, err := f.next()
			require.NoError(t, err, name)
			require.Equal(t, byte('d'), kind)
			require.True(t, bytes.Equal(w, p), "%s: message %d", name, i)
		}
		_, _, err := f.next()
		require.ErrorIs(t, err, io.EOF)
	}
}

func TestFramesWithLyingLengths(t *testing.T) {
	_, _, err := newFrameReader(bytes.NewReader([]byte{'d', 0, 0, 0, 3})).next()
	require.ErrorContains(t, err, "3 bytes")
	_, _, err = newFrameReader(bytes.NewReader([]byte{'d', 0xff, 0xff, 0xff, 0xff})).next()
	require.Error(t, err)
	f := newFrameReader(bytes.NewReader([]byte{'d', 0x70, 0, 0, 0, 1, 2}))
	_, _, err = f.next()
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.LessOrEqual(t, len(f.buf), 2*frameBuffer, "memory follows what arrived")
}

func FuzzFrames(f *testing.F) {
	f.Add(frame('d', []byte("abc")))
	f.Add([]byte{'d', 0, 0, 0, 3})
	f.Fuzz(func(_ *testing.T, b []byte) {
		r := newFrameReader(bytes.NewReader(b))
		for {
			r.ready()
			if _, _, err := r.next(); err != nil {
				return
			}
		}
	})
}
