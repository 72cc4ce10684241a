package log

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

// crashedDir is the bytes of a small log in one segment, of a process that died, and where each batch begins.
func crashedLog(t testing.TB) (raw []byte, starts []int64, bases []int64) {
	t.Helper()
	for i := range 5 {
		w := batch.Builder{BaseOffset: int64(i * 2), LeaderEpoch: 1, Codec: batch.Codec(i % 2 * 4)}
		for j := range 2 {
			w.Append(1700000000000+int64(i), fmt.Appendf(nil, "key-%d", j), fmt.Appendf(nil, "value-%d-%d", i, j))
		}
		starts, bases = append(starts, int64(len(raw))), append(bases, w.BaseOffset)
		b := w.MustBuild()
		raw = append(raw, b...)
	}
	return raw, starts, bases
}

// openRaw opens a directory whose only log has the bytes given, as after a crash with nothing synced.
func openRaw(t testing.TB, raw []byte, recoveryPoint int64) (*Dir, *Log) {
	t.Helper()
	return openRawLogged(t, raw, recoveryPoint, slog.New(slog.DiscardHandler))
}

func openRawLogged(t testing.TB, raw []byte, recoveryPoint int64, logger *slog.Logger) (*Dir, *Log) {
	t.Helper()
	fs := newMemFS()
	require.NoError(t, fs.MkdirAll("/log"))
	require.NoError(t, fs.MkdirAll("/log/t-0"))
	require.NoError(t, writeFile(fs, "/log/t-0/00000000000000000000.log", raw, true))
	require.NoError(t, writeFile(fs, "/log/t-0/leader-epoch-checkpoint", []byte("0\n1\n1 0\n"), true))
	if recoveryPoint > 0 {
		require.NoError(t, writeFile(fs, "/log/"+fileRecoveryPoint, fmt.Appendf(nil, "0\n1\nt 0 %d\n", recoveryPoint), true))
	}
	d, err := OpenDir("/log", Options{FS: fs, Logger: logger})
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	l, ok := d.Log("t", 0)
	require.True(t, ok)
	return d, l
}

// zerosBehind are how many zeros there may be behind the end of a segment: none, less than a header, and more than what is read at once.
var zerosBehind = []int{0, 1, 60, 700, 300 << 10}

func byOffset(vs []string) map[string]bool {
	m := map[string]bool{}
	for _, v := range vs {
		m[v] = true
	}
	return m
}

// TestRecoveryOfEveryFlippedByte: whatever byte is damaged, no wrong record is served, and no record of another batch is lost.
func TestRecoveryOfEveryFlippedByte(t *testing.T) {
	raw, starts, _ := crashedLog(t)
	_, l := openRaw(t, raw, 0)
	want := values(t, l, 0)
	require.Len(t, want, 10)
	for i, mask := range []byte{0x01, 0x80, 0xff, 0x01, 0x80, 0xff} {
		zeros := i / 3 * 700
		for pos := range raw {
			bad := append(slices.Clone(raw), make([]byte, zeros)...)
			bad[pos] ^= mask
			hit := len(starts) - 1
			for starts[hit] > int64(pos) {
				hit--
			}
			d, l := openRaw(t, bad, 0)
			got := values(t, l, 0)
			have := byOffset(got)
			in := pos - int(starts[hit])
			for i, v := range want {
				if i/2 != hit {
					require.True(t, have[v], "byte %d (%d of batch %d) ^ %x: lost %s, got %v", pos, in, hit, mask, v, got)
				}
			}
			// The base offset is under no checksum: of the last batch it cannot be told from a gap, so its records may
			// come at later offsets, but not with other contents.
			if !(hit == 4 && in < 8) {
				for _, v := range got {
					require.Contains(t, want, v, "byte %d (%d of batch %d) ^ %x", pos, in, hit, mask)
				}
			}
			if hit < 4 {
				require.True(t, len(d.Corruptions()) > 0 || len(got) == 10, "byte %d of batch %d: damage is not reported", in, hit)
				require.EqualValues(t, 10, l.EndOffset())
			}
			if hit < 4 { // nothing follows the last batch that would say what its epoch was
				require.EqualValues(t, 1, l.LatestEpoch(), "byte %d of batch %d", in, hit)
			}
			if in < 8 && hit < 4 || in >= batch.OffsetLength && in < batch.OffsetLeaderEpoch || in == batch.OffsetMagic {
				require.Len(t, got, 10, "byte %d of batch %d ^ %x: what is outside of the checksum can be restored", in, hit, mask)
			}
			mustAppend(t, l, records(1))
		}
	}
}

func TestRecoveryCutsTornTailAtEveryPosition(t *testing.T) {
	raw, starts, bases := crashedLog(t)
	for _, zeros := range []int{0, 700} {
		for size := range raw {
			whole := 0
			for whole < len(starts) && (whole+1 < len(starts) && starts[whole+1] <= int64(size)) {
				whole++
			}
			torn := append(slices.Clone(raw[:size]), make([]byte, zeros)...)
			next := append(slices.Clone(starts), int64(len(raw)))[whole+1]
			if int64(size) > starts[whole] && bytes.HasPrefix(torn, raw[:next]) {
				continue // what is missing of the batch are zeros
			}
			d, l := openRaw(t, torn, 0)
			require.Equal(t, bases[whole], l.EndOffset(), "size %d", size)
			require.Len(t, values(t, l, 0), 2*whole)
			require.Empty(t, d.Corruptions())
			require.EqualValues(t, starts[whole], l.Size())
		}
	}
}

func TestRecoveryCutsZeroedTail(t *testing.T) {
	raw, starts, _ := crashedLog(t)
	for from := starts[3]; from < int64(len(raw)); from++ {
		bad := slices.Clone(raw)
		clear(bad[from:])
		_, l := openRaw(t, append(bad, make([]byte, 4096)...), 0)
		if slices.Equal(bad, raw) {
			continue // the last byte is a zero
		}
		if from >= starts[4] {
			require.EqualValues(t, 8, l.EndOffset())
		} else {
			require.EqualValues(t, 6, l.EndOffset())
		}
	}
}

// TestRecoveryIsNotFooledByBatchesInsideRecords: a torn batch whose value holds record batches is cut off whole.
func TestRecoveryIsNotFooledByBatchesInsideRecords(t *testing.T) {
	raw, _, _ := crashedLog(t)
	inner := batch.Builder{BaseOffset: 12}
	inner.Append(1, []byte("evil"), []byte("evil"))
	outer := batch.Builder{BaseOffset: 10}
	outer.Append(1, nil, append(slices.Clone(inner.MustBuild()), make([]byte, 200)...))
	b := outer.MustBuild()
	for _, zeros := range []int{0, 100, 1000} {
		for cut := 1; cut < len(b); cut++ {
			torn := append(slices.Concat(raw, b[:cut]), make([]byte, zeros)...)
			if bytes.HasPrefix(torn, slices.Concat(raw, b)) {
				continue // what is missing are zeros
			}
			_, l := openRaw(t, torn, 0)
			require.EqualValues(t, 10, l.EndOffset(), "cut at %d, with %d zeros", cut, zeros)
		}
	}
}

func TestRecoveryKeepsBatchesWithUnknownAttributes(t *testing.T) {
	for bit := 7; bit < 16; bit++ {
		path := t.TempDir()
		d := openDir(t, path, Options{})
		l, err := d.Create("t", 0, [16]byte{1}, DefaultConfig())
		require.NoError(t, err)
		for i := range 3 {
			b := batch.Batch(records(1))
			if i > 0 { // in the middle and at the end
				binary.BigEndian.PutUint16(b[batch.OffsetAttributes:], 1<<bit)
				b.UpdateCRC()
			}
			mustAppend(t, l, b)
		}
		require.NoError(t, l.Sync())
		require.NoError(t, d.lock.Close())
		d = openDir(t, path, Options{})
		l, _ = d.Log("t", 0)
		require.Empty(t, d.Corruptions())
		require.Len(t, values(t, l, 0), 3, "bit %d", bit)
	}
}

func TestRecoveryBelowTheRecoveryPointLooksForWhatFollows(t *testing.T) {
	raw, starts, _ := crashedLog(t)
	bad := slices.Clone(raw)
	// Length and body of the third batch are both damaged: nothing proves where it ends.
	bad[starts[2]+batch.OffsetLength] = 0x7f
	bad[starts[2]+batch.HeaderSize] ^= 0xff
	_, l := openRaw(t, bad, 0)
	require.EqualValues(t, 4, l.EndOffset(), "it may be a torn tail")
	d, l := openRaw(t, bad, 10)
	require.EqualValues(t, 10, l.EndOffset(), "it was synced, so it is damage")
	require.Len(t, values(t, l, 0), 8)
	require.Len(t, d.Corruptions(), 1)
	c := d.Corruptions()[0]
	require.Equal(t, []int64{4, 6}, []int64{c.First, c.Next})
	require.Contains(t, c.Error(), "offsets 4 to 5 are lost")
}

func TestDamagedSegmentIsKeptBesideTheLog(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, Options{})
	l, err := d.Create("t", 0, [16]byte{1}, DefaultConfig())
	require.NoError(t, err)
	for range 3 {
		mustAppend(t, l, records(2))
	}
	require.NoError(t, l.Sync())
	require.NoError(t, d.lock.Close())
	name := filepath.Join(path, "t-0", "00000000000000000000.log")
	raw, err := os.ReadFile(name)
	require.NoError(t, err)
	n, err := batch.Size(raw)
	require.NoError(t, err)
	raw[n+batch.HeaderSize+3] ^= 1
	require.NoError(t, os.WriteFile(name, raw, 0o600))

	d = openDir(t, path, Options{})
	l, _ = d.Log("t", 0)
	require.Equal(t, []string{"0:v0", "1:v1", "4:v0", "5:v1"}, values(t, l, 0))
	p, err := l.Read(nil, 2, 1000, 100, true)
	require.NoError(t, err)
	require.EqualValues(t, 4, batch.Batch(p).BaseOffset(), "a read in the gap goes on after it")
	kept, err := os.ReadFile(name + ".corrupt")
	require.NoError(t, err)
	require.Equal(t, raw, kept)
}

func TestDamageInASealedSegmentLosesNoLaterSegment(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, Options{})
	cfg := DefaultConfig()
	cfg.SegmentBytes = 300
	l, err := d.Create("t", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	for range 12 {
		mustAppend(t, l, records(2))
	}
	require.NoError(t, l.Sync())
	infos := l.SegmentInfos()
	require.Greater(t, len(infos), 3)
	require.NoError(t, d.lock.Close())
	name := filepath.Join(path, "t-0", offsetName(infos[1].BaseOffset, ".log"))
	require.NoError(t, os.Truncate(name, infos[1].Size-10))

	d = openDir(t, path, Options{})
	l, _ = d.Log("t", 0)
	require.EqualValues(t, 24, l.EndOffset())
	require.Len(t, values(t, l, 0), 22)
	require.Len(t, d.Corruptions(), 1)
}

func TestDamagedIndexIsRebuilt(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, Options{})
	cfg := DefaultConfig()
	cfg.IndexIntervalBytes = 100
	l, err := d.Create("t", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	for range 50 {
		mustAppend(t, l, records(2))
	}
	want := values(t, l, 0)
	require.NoError(t, d.Close())
	for _, suffix := range []string{".index", ".timeindex"} {
		name := filepath.Join(path, "t-0", "00000000000000000000"+suffix)
		for _, content := range [][]byte{nil, {1, 2, 3}, slices.Repeat([]byte{0xff}, 48), nil} {
			if content == nil {
				require.NoError(t, os.Remove(name))
			} else {
				require.NoError(t, os.WriteFile(name, content, 0o600))
			}
			d := openDir(t, path, Options{})
			l, _ := d.Log("t", 0)
			require.Equal(t, want, values(t, l, 0))
			require.Equal(t, []string{want[99]}, values(t, l, 99))
			_, _, _, found, err := l.MaxTimestampOffset()
			require.NoError(t, err)
			require.True(t, found)
			require.NoError(t, d.Close())
		}
	}
}

func TestFailedSyncFailsTheDirectoryForGood(t *testing.T) {
	fs := newMemFS()
	d, err := OpenDir("/log", Options{FS: fs})
	require.NoError(t, err)
	l, err := d.Create("t", 0, [16]byte{1}, DefaultConfig())
	require.NoError(t, err)
	other, err := d.Create("u", 0, [16]byte{2}, DefaultConfig())
	require.NoError(t, err)
	mustAppend(t, l, records(1))
	require.NoError(t, l.WaitDurable(t.Context(), 0))
	fs.mu.Lock()
	fs.failOnce = fs.ops + 2 // the write works, its sync does not
	fs.mu.Unlock()
	r := mustAppend(t, l, records(1))
	require.ErrorIs(t, l.WaitDurable(t.Context(), r.LastOffset), ErrStorage)
	require.EqualValues(t, 1, l.DurableOffset())
	for _, l := range []*Log{l, other} {
		_, err = l.Append(records(1), AppendOptions{})
		require.ErrorIs(t, err, ErrStorage)
		require.ErrorIs(t, l.WaitDurable(t.Context(), 5), ErrStorage)
		_, err = l.Read(nil, 0, 10, 10, true)
		require.ErrorIs(t, err, ErrStorage)
	}
	require.ErrorIs(t, d.Err(), errInjected)
	require.ErrorIs(t, d.Close(), ErrStorage)
}

func TestOldBatchLengthDoesNotAllocate(t *testing.T) {
	// A length of 2 GiB in a small file must be seen for what it is before anything is allocated.
	raw := make([]byte, 100)
	binary.BigEndian.PutUint32(raw[batch.OffsetLength:], 0x7fffffff)
	raw[batch.OffsetMagic] = 2
	_, l := openRaw(t, raw, 0)
	require.Zero(t, l.EndOffset())
}
