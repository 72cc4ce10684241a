package log

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// smallRoom is for segments of a few hundred bytes.
var smallRoom = roomRules{from: 200, least: 16, most: 100, share: 2, again: 50}

func TestRoomIsAnEighthOfTheSegment(t *testing.T) {
	const mib, much = 1 << 20, 1 << 40
	for _, c := range []struct {
		size, limit, free, want int64
		why                     string
	}{
		{1 * mib, 1024 * mib, much, 1 * mib, "a small segment has none"},
		{8 * mib, 1024 * mib, much, 9 * mib, "an eighth"},
		{800 * mib, 1024 * mib, much, 816 * mib, "16 MiB at most"},
		{1020 * mib, 1024 * mib, much, 1024 * mib, "no more than the segment can have"},
		{1024*mib - 100, 1024 * mib, much, 1024 * mib, "the last bytes too"},
		{1024 * mib, 1024 * mib, much, 1024 * mib, "a full segment"},
		{1030 * mib, 1024 * mib, much, 1030 * mib, "a batch larger than a segment"},
		{800 * mib, 1024 * mib, 4096 * mib, 804 * mib, "a thousandth of what the disk has left"},
		{800 * mib, 1024 * mib, 200 * mib, 800 * mib, "when that is little, none"},
		{800 * mib, 1024 * mib, 0, 800 * mib, "where it is of no use"},
	} {
		require.Equal(t, c.want, defaultRoom.ahead(c.size, c.limit, c.free), c.why)
	}
}

// roomOf opens a directory in memory in which what is reserved of the first segment of t is noted, with a log whose first segment is long enough to have some.
func roomOf(t *testing.T, opts Options, judge func(op memOp) error) (fs *memFS, d *Dir, l *Log, reserves *int, node func() *memNode) {
	t.Helper()
	fs, reserves = newMemFS(), new(int)
	fs.judge = func(op memOp) error {
		if op.kind == "reserve" {
			*reserves++
		}
		if judge != nil {
			return judge(op)
		}
		return nil
	}
	opts.FS, opts.room = fs, smallRoom
	d, err := OpenDir("/log", opts)
	require.NoError(t, err)
	cfg := DefaultConfig()
	cfg.SegmentBytes = 4000
	l, err = d.Create("t", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	return fs, d, l, reserves, func() *memNode {
		dir, err := fs.find("/log/t-0")
		require.NoError(t, err)
		return dir.now["00000000000000000000.log"]
	}
}

func TestRoomIsReservedAheadAndGivenBack(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, d *Dir, l *Log){
		"sealed": func(t *testing.T, _ *Dir, l *Log) { require.NoError(t, l.Roll()) },
		"idle": func(t *testing.T, d *Dir, _ *Log) {
			require.NoError(t, d.Housekeep(t.Context()))
			require.NoError(t, d.Housekeep(t.Context()))
		},
		"idle and sealed": func(t *testing.T, d *Dir, l *Log) {
			require.NoError(t, d.Housekeep(t.Context()))
			require.NoError(t, d.Housekeep(t.Context()))
			mustAppend(t, l, records(1))
			require.NoError(t, l.Roll())
		},
		"closed":    func(t *testing.T, d *Dir, _ *Log) { require.NoError(t, d.Close()) },
		"truncated": func(t *testing.T, _ *Dir, l *Log) { require.NoError(t, l.TruncateTo(3)) },
	} {
		t.Run(name, func(t *testing.T) {
			_, d, l, reserves, node := roomOf(t, Options{}, nil)
			mustAppend(t, l, records(1))
			require.Zero(t, *reserves, "the segment is small")
			for range 20 {
				mustAppend(t, l, records(1))
			}
			require.NoError(t, l.WaitDurable(t.Context(), l.EndOffset()-1))
			require.Greater(t, node().room, int64(len(node().data)))
			require.Positive(t, *reserves)
			require.Less(t, *reserves, 16, "many batches share what is reserved once")
			end(t, d, l)
			require.Zero(t, node().room)
			require.NoError(t, d.Close())
		})
	}
}

func TestRoomIsReservedAgainAfterTheFileWasCut(t *testing.T) {
	for name, cut := range map[string]func(t *testing.T, fs *memFS, l *Log){
		"truncated": func(t *testing.T, _ *memFS, l *Log) { require.NoError(t, l.TruncateTo(19)) },
		"full disk": func(t *testing.T, fs *memFS, l *Log) {
			fs.room(0)
			_, err := l.Append(records(30), AppendOptions{}) // more than is reserved
			require.ErrorIs(t, err, syscall.ENOSPC)
			fs.room(-1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs, d, l, _, node := roomOf(t, Options{}, nil)
			for n := 0; n < 20 || node().room-int64(len(node().data)) < 60; n++ {
				require.Less(t, n, 40)
				mustAppend(t, l, records(1))
			}
			cut(t, fs, l)
			require.Zero(t, node().room)
			mustAppend(t, l, records(1))
			require.Positive(t, node().room)
			require.NoError(t, d.Close())
		})
	}
}

func TestWithoutRoomRecordsAreAppendedAllTheSame(t *testing.T) {
	_, d, l, reserves, node := roomOf(t, Options{}, func(op memOp) error {
		if op.kind == "reserve" {
			return errInjected
		}
		return nil
	})
	for range 20 {
		mustAppend(t, l, records(1))
	}
	require.Positive(t, *reserves)
	require.Less(t, *reserves, 40, "it is not tried for each batch")
	require.Zero(t, node().room)
	require.NoError(t, d.Close())
}

func TestNoRoomIsReservedWhileTooManyFilesAreOpen(t *testing.T) {
	_, d, l, reserves, _ := roomOf(t, Options{MaxOpenFiles: 1, Durability: DurabilityOS}, nil) // where nothing is synced, both files stay open
	other, err := d.Create("u", 0, [16]byte{2}, DefaultConfig())
	require.NoError(t, err)
	for range 20 {
		mustAppend(t, other, records(1))
		mustAppend(t, l, records(1))
	}
	require.Zero(t, *reserves)
	require.NoError(t, d.Close())
}

// TestTheFileSystemReservesRoom does it for real, where that is of use.
func TestTheFileSystemReservesRoom(t *testing.T) {
	path := t.TempDir()
	probe, err := OS.OpenFile(filepath.Join(path, "probe"), os.O_RDWR|os.O_CREATE)
	require.NoError(t, err)
	free, use := probe.(reserver).Ahead()
	require.NoError(t, probe.Close())
	if free>>10 < 1<<20 || !use.reserve {
		t.Skip("not on ext4, or little is left there")
	}
	taken := func(name string) (blocks, size int64) {
		var st syscall.Stat_t
		require.NoError(t, syscall.Stat(name, &st))
		return st.Blocks * 512, st.Size
	}
	d := openDir(t, path, Options{})
	l, err := d.Create("t", 0, [16]byte{1}, DefaultConfig())
	require.NoError(t, err)
	first := filepath.Join(path, "t-0", fmt.Sprintf("%020d.log", 0))
	blocks, size := int64(0), int64(0)
	for n := 0; blocks <= size+512<<10; n++ {
		require.Less(t, n, 30, "the file's size does not tell")
		mustAppend(t, l, at(1, "k", strings.Repeat("v", 1_000_000)))
		require.NoError(t, l.WaitDurable(t.Context(), l.EndOffset()-1))
		blocks, size = taken(first)
		require.Equal(t, l.Size(), size)
	}
	require.NoError(t, l.Roll())
	blocks, size = taken(first)
	require.LessOrEqual(t, blocks, size+64<<10)
}
