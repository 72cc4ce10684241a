package log

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

// smallZeros is for segments of a few hundred bytes.
var smallZeros = zeroRules{piece: 64, most: 1 << 10, syncs: 1, times: 4, logs: 100}

func TestZerosAreWrittenInPieces(t *testing.T) {
	r := zeroRules{piece: 64}
	for _, c := range []struct {
		size, zeroed, goal, from, to int64
		why                          string
	}{
		{200, 0, 500, 200, 256, "the first ends at a multiple"},
		{200, 256, 500, 256, 320, "the next begins there"},
		{300, 256, 500, 300, 320, "behind records that came first"},
		{320, 320, 500, 320, 384, "nothing is left of it"},
		{200, 448, 500, 448, 500, "the last is shorter"},
		{200, 500, 500, 500, 500, "that is all"},
		{600, 500, 500, 600, 500, "the records are beyond"},
		{200, 0, 0, 200, 0, "none are wanted"},
	} {
		from, to := r.next(c.size, c.zeroed, c.goal)
		require.Equal(t, []int64{c.from, c.to}, []int64{from, to}, c.why)
	}
}

func TestWhatIsKnownOfTheSyncsDecidesOnZeros(t *testing.T) {
	r, rules := zeroRules{most: 100, syncs: 4, times: 4}, &roomRules{least: 50, again: 70}
	both, ext4, xfs := ahead{reserve: true, zeros: true}, ahead{reserve: true}, ahead{zeros: true}
	for _, c := range []struct {
		why  string
		o    outlook
		want plan
	}{
		{"small syncs", outlook{written: 400, syncs: 4, synced: true, use: both}, plan{zeros: 2000, room: 1050}},
		{"four times what was written", outlook{written: 20, syncs: 9, synced: true, use: both}, plan{zeros: 1080, room: 1050}},
		{"hardly anything was", outlook{written: 12, syncs: 9, synced: true, use: both}, plan{room: 1050}},
		{"more than the average allows", outlook{written: 404, syncs: 4, synced: true, use: both}, plan{forget: true, room: 2000}},
		{"just not", outlook{written: 403, syncs: 4, synced: true, use: both}, plan{zeros: 2000, room: 1050}},
		{"too few to know", outlook{written: 30, syncs: 3, synced: true, use: both}, plan{room: 1050}},
		{"none yet", outlook{written: 0, syncs: 0, first: true, synced: true, use: both}, plan{room: 1050}},
		{"none, as when many are synced at once", outlook{written: 900, syncs: 0, synced: true, use: both}, plan{room: 2000}},
		{"not synced", outlook{written: 900, syncs: 0, first: true, use: both}, plan{room: 2000}},
		{"synced now and then", outlook{written: 4000, syncs: 4, use: both}, plan{forget: true, room: 2000}},
		{"zeros are of no use", outlook{written: 400, syncs: 4, synced: true, use: ext4}, plan{room: 2000}},
		{"blocks are not", outlook{written: 400, syncs: 4, synced: true, use: xfs}, plan{zeros: 2000, room: 1050}},
		{"blocks are not, large syncs", outlook{written: 4000, syncs: 4, synced: true, use: xfs}, plan{forget: true, room: 1070}},
		{"nothing is", outlook{written: 400, syncs: 4, synced: true}, plan{room: 1070}},
	} {
		c.o.end, c.o.limit = 1000, 2000
		require.Equal(t, c.want, r.plan(c.o, rules), c.why)
	}
	near := outlook{end: 1000, limit: 1030, written: 400, syncs: 4, synced: true, use: both}
	require.Equal(t, plan{room: 1030}, r.plan(near, rules), "little is left of the segment")
}

func TestZerosBecomeMoreWhereRecordsGoOn(t *testing.T) {
	r, rules := zeroRules{most: 100, syncs: 1, times: 4}, &roomRules{least: 50, again: 70}
	times, asked, room, zeros := 0, int64(0), int64(0), int64(0)
	for end := int64(100); end < 100_000; end += 100 {
		if end > room {
			zeros = r.plan(outlook{end: end, limit: end + 10_000, written: end - asked, syncs: 1000, synced: true, use: ahead{zeros: true}}, rules).zeros - end
			asked, room = end, end+zeros-zeros/2
			times++
		}
	}
	require.Less(t, times, 30)
	require.EqualValues(t, 10_000, zeros)
}

func TestOnlySoManyLogsHaveZerosWrittenAtATime(t *testing.T) {
	var n atomic.Int64
	require.True(t, takeOne(&n, 2))
	require.True(t, takeOne(&n, 2))
	for range 3 {
		require.False(t, takeOne(&n, 2))
	}
	n.Add(-1)
	require.True(t, takeOne(&n, 2), "who was refused does not count")
}

// TestAFewRecordsNowAndThenHaveFewZeros: what an idle segment gave back is not written again for a record or two.
func TestAFewRecordsNowAndThenHaveFewZeros(t *testing.T) {
	wrote := int64(0)
	_, d, l, _, node := zerosOf(t, Options{}, nil)
	synced(t, l, 20)
	idle := func() {
		for range 3 {
			require.NoError(t, d.Housekeep(t.Context()))
			l.settleSync()
		}
	}
	for range 5 {
		idle()
		require.Len(t, node().data, int(l.list()[0].size.Load()))
		synced(t, l, 1)
		wrote += int64(len(node().data)) - l.list()[0].size.Load()
	}
	require.Equal(t, 1, l.Segments())
	require.LessOrEqual(t, wrote, 5*4*int64(len(records(1))))
	require.NoError(t, d.Close())
}

// synced appends a record and waits until it is durable, n times, and until zeros are written.
func synced(t *testing.T, l *Log, n int) {
	t.Helper()
	for range n {
		require.NoError(t, l.WaitDurable(t.Context(), mustAppend(t, l, records(1)).LastOffset))
		l.settleSync()
	}
	l.d.zeroing.Wait()
}

// settleSync waits for the sync under way, which wakes those who wait a bit before it ends.
func (l *Log) settleSync() {
	l.holdSyncs()
	l.letSyncs()
}

// zerosOf is roomOf where zeros are written ahead.
func zerosOf(t *testing.T, opts Options, judge func(op memOp) error) (fs *memFS, d *Dir, l *Log, reserves *int, node func() *memNode) {
	t.Helper()
	if opts.zeros == (zeroRules{}) {
		opts.zeros = smallZeros
	}
	fs, d, l, reserves, node = roomOf(t, opts, judge)
	fs.inPlace = true
	return fs, d, l, reserves, node
}

// isBlank says that a file is longer than its segment, and has nothing but zeros there.
func isBlank(s *segment, n *memNode) bool {
	size := s.size.Load()
	return int64(len(n.data)) > size && len(bytes.Trim(n.data[size:], "\x00")) == 0
}

func TestZerosAreWrittenAheadAndCutOff(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, d *Dir, l *Log){
		"sealed": func(t *testing.T, _ *Dir, l *Log) { require.NoError(t, l.Roll()); require.NoError(t, l.Sync()) },
		"idle": func(t *testing.T, d *Dir, l *Log) {
			require.NoError(t, d.Housekeep(t.Context()))
			require.NoError(t, d.Housekeep(t.Context()))
			require.Eventually(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return !l.activeDirty }, 10*time.Second, time.Millisecond)
			l.settleSync()
			require.NoError(t, d.Housekeep(t.Context()))
			l.mu.Lock()
			defer l.mu.Unlock()
			require.Nil(t, l.activeFile, "an idle log needs no open file")
		},
		"closed by the syncer and sealed": func(t *testing.T, _ *Dir, l *Log) {
			l.mu.Lock()
			l.active.unpin()
			l.activeFile = nil
			l.mu.Unlock()
			require.NoError(t, l.Roll())
			require.NoError(t, l.Sync())
		},
		"closed":    func(t *testing.T, d *Dir, _ *Log) { require.NoError(t, d.Close()) },
		"truncated": func(t *testing.T, _ *Dir, l *Log) { require.NoError(t, l.TruncateTo(3)) },
	} {
		t.Run(name, func(t *testing.T) {
			_, d, l, reserves, node := zerosOf(t, Options{}, nil)
			synced(t, l, 20)
			s := l.list()[0]
			require.Equal(t, 1, l.Segments())
			require.True(t, isBlank(s, node()), "%d of %d", s.size.Load(), len(node().data))
			require.Zero(t, *reserves, "zeros take blocks by themselves")
			require.Len(t, values(t, l, 0), 20)
			require.Zero(t, d.zeroers.Load())
			end(t, d, l)
			require.Len(t, node().data, int(s.size.Load()))
			require.True(t, bytes.Equal(node().data, node().durable), "that they are gone is durable")
			require.NoError(t, d.Close())
		})
	}
}

func TestZerosAreWrittenAnewWhenHalfIsUsedUp(t *testing.T) {
	_, d, l, _, node := zerosOf(t, Options{}, nil)
	synced(t, l, 8)
	s := l.list()[0]
	for range 20 {
		synced(t, l, 1)
		require.True(t, isBlank(s, node()), "%d of %d", s.size.Load(), len(node().data))
	}
	require.Equal(t, 1, l.Segments())
	require.Less(t, s.syncs, int64(10), "they are counted anew each time")
	require.NoError(t, d.Close())
}

func TestZerosAreForSmallSyncsOnly(t *testing.T) {
	large := smallZeros
	large.most = 10
	for name, c := range map[string]struct {
		opts   Options
		change func(fs *memFS, l *Log)
	}{
		"large syncs":             {opts: Options{zeros: large}},
		"few syncs":               {opts: Options{zeros: zeroRules{piece: 64, most: 1 << 10, syncs: 1000, times: 4, logs: 1}}},
		"nothing is synced":       {opts: Options{Durability: DurabilityOS}},
		"not a file system":       {change: func(fs *memFS, _ *Log) { fs.inPlace = false }},
		"many logs at a time":     {opts: Options{zeros: zeroRules{piece: 64, most: 1 << 10, syncs: 1, times: 4}}},
		"files are synced as one": {opts: Options{groupFrom: 1}, change: func(fs *memFS, l *Log) { l.d.syncer.group = memGroup{fs} }},
	} {
		t.Run(name, func(t *testing.T) {
			fs, d, l, reserves, node := zerosOf(t, c.opts, nil)
			if c.change != nil {
				c.change(fs, l)
			}
			for range 20 {
				r := mustAppend(t, l, records(1))
				require.NoError(t, l.WaitDurable(t.Context(), r.LastOffset))
			}
			d.zeroing.Wait()
			require.Len(t, node().data, int(l.list()[0].size.Load()))
			require.Positive(t, *reserves, "blocks are reserved as ever")
			if c.opts.zeros.most == large.most {
				require.Less(t, l.list()[0].syncs, int64(10), "they are counted anew each time")
			}
			require.NoError(t, d.Close())
		})
	}
}

func TestWhereNothingIsReservedZerosMayBeWritten(t *testing.T) {
	few := smallZeros
	few.syncs = 8 // before that it is not known how large they are
	_, d, l, _, _ := zerosOf(t, Options{zeros: few}, nil)
	l.d.opts.room.from = 1 << 20
	synced(t, l, 1)
	f := &aheadFile{File: l.activeFile, use: ahead{zeros: true}}
	l.mu.Lock()
	l.activeFile, l.d.opts.room.from = f, smallRoom.from
	l.mu.Unlock()
	for range 20 {
		synced(t, l, 1)
	}
	require.Zero(t, f.reserved)
	require.NotZero(t, l.list()[0].zeroed)
	require.NoError(t, d.Close())
}

// aheadFile is on a file system with another use for what is ahead.
type aheadFile struct {
	File
	use      ahead
	reserved int
}

func (f *aheadFile) Ahead() (int64, ahead)         { return 1 << 40, f.use }
func (f *aheadFile) Reserve(_, _ int64) error      { f.reserved++; return nil }
func (f *aheadFile) WriteOut(from, to int64) error { return f.File.(outWriter).WriteOut(from, to) }

// TestRecordsDoNotWaitForZeros: while a piece is on its way to the disk, records go over the place of the next.
func TestRecordsDoNotWaitForZeros(t *testing.T) {
	under, on := make(chan bool), make(chan bool)
	var held atomic.Bool
	_, d, l, _, _ := zerosOf(t, Options{}, nil)
	synced(t, l, 1)
	held.Store(true)
	f := &slowFile{File: l.activeFile, out: func() {
		if held.CompareAndSwap(true, false) {
			under <- true
			<-on
		}
	}}
	l.mu.Lock()
	l.activeFile = f
	l.mu.Unlock()
	n := 1
	for begun := false; !begun; n++ {
		require.Less(t, n, 30)
		require.NoError(t, l.WaitDurable(t.Context(), mustAppend(t, l, records(1)).LastOffset))
		select {
		case begun = <-under:
		case <-time.After(5 * time.Millisecond):
		}
	}
	for range 8 {
		require.NoError(t, l.WaitDurable(t.Context(), mustAppend(t, l, records(1)).LastOffset))
		n++
	}
	s := l.list()[0]
	require.Greater(t, s.size.Load(), s.zeroed)
	require.EqualValues(t, 1, d.zeroers.Load(), "one at a time")
	close(on)
	d.zeroing.Wait()
	require.Len(t, values(t, l, 0), n)
	require.NoError(t, d.Close())
}

// slowFile has out called before a part of it is written out.
type slowFile struct {
	File
	out func()
}

func (f *slowFile) Ahead() (int64, ahead)    { return f.File.(reserver).Ahead() }
func (f *slowFile) Reserve(a, b int64) error { return f.File.(reserver).Reserve(a, b) }
func (f *slowFile) WriteOut(a, b int64) error {
	f.out()
	return f.File.(outWriter).WriteOut(a, b)
}

func TestZerosGiveWayToRecordsOnAFullDisk(t *testing.T) {
	fs, d, l, _, node := zerosOf(t, Options{}, nil)
	synced(t, l, 20)
	s := l.list()[0]
	require.True(t, isBlank(s, node()))
	fs.room(10)
	l.mu.Lock()
	s.zeroing, s.zeroGoal = true, int64(len(node().data))+100
	l.mu.Unlock()
	l.writeZeros(s)
	require.False(t, s.zeroing)
	require.Len(t, node().data, int(s.size.Load()), "what the zeros took is there for records")
	require.True(t, l.activeDirty, "until that is durable a crash brings them back")
	require.NoError(t, d.Err())
	require.NoError(t, l.Sync())
	require.True(t, bytes.Equal(node().data, node().durable))
	synced(t, l, 1)
	fs.room(-1)
	require.NoError(t, d.Close())
}

func TestZerosThatDoNotReachTheDiskFailTheDirectory(t *testing.T) {
	_, d, l, _, _ := zerosOf(t, Options{}, func(op memOp) error {
		if op.kind == "writeout" {
			return errLost
		}
		return nil
	})
	for n := 0; d.Err() == nil; n++ {
		require.Less(t, n, 1000)
		_ = l.WaitDurable(t.Context(), mustAppendOr(l, records(1)))
	}
	require.ErrorIs(t, d.Err(), errLost)
	require.ErrorIs(t, l.WaitDurable(t.Context(), 0), ErrStorage)
	_ = d.Close()
}

func mustAppendOr(l *Log, b []byte) int64 {
	r, _ := l.Append(b, AppendOptions{})
	return r.LastOffset
}

// TestAKilledProcessLeavesZerosThatNobodyIsToldOf: opening cuts them off, without a word of torn tails, and verifying calls them no problem.
func TestAKilledProcessLeavesZerosThatNobodyIsToldOf(t *testing.T) {
	fs, d, l, _, node := zerosOf(t, Options{}, nil)
	synced(t, l, 20)
	require.True(t, isBlank(l.list()[0], node()))
	want, size := values(t, l, 0), l.Size()
	disk := fs.crashWith(rand.New(rand.NewPCG(1, 1)), 1, 1)
	_ = d.Close()
	report, err := verifyPartition(disk, "/log/t-0", VerifyOptions{Records: true})
	require.NoError(t, err)
	require.Empty(t, report.Problems)
	require.Equal(t, size, report.Bytes)
	var told bytes.Buffer
	again, err := OpenDir("/log", Options{FS: disk, room: smallRoom, zeros: smallZeros, Logger: slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	require.NoError(t, err)
	l, _ = again.Log("t", 0)
	require.Equal(t, want, values(t, l, 0))
	require.Empty(t, again.Corruptions())
	require.NotContains(t, told.String(), "torn")
	synced(t, l, 3)
	require.Len(t, values(t, l, 0), 23)
	require.NoError(t, again.Close())
}

func TestZerosBehindRecordsAreNoDamage(t *testing.T) {
	raw, starts, bases := crashedLog(t)
	cut := starts[4]
	for _, n := range zerosBehind {
		for name, c := range map[string]struct {
			raw  []byte
			next int64
			torn int64
		}{
			"whole": {raw: raw, next: 10},
			"torn":  {raw: raw[:cut+70], next: bases[4], torn: 70},
		} {
			var told bytes.Buffer
			file := append(slices.Clone(c.raw), make([]byte, n)...)
			d, l := openRawLogged(t, file, 0, slog.New(slog.NewTextHandler(&told, nil)))
			require.EqualValues(t, c.next, l.EndOffset())
			require.Empty(t, d.Corruptions())
			if c.torn > 0 {
				require.Contains(t, told.String(), fmt.Sprintf("bytes=%d", c.torn), "zeros are not counted")
			} else {
				require.NotContains(t, told.String(), "torn", "%d zeros", n)
			}
			fs := d.fs.(*memFS)
			st, err := fs.Stat("/log/t-0/00000000000000000000.log")
			require.NoError(t, err)
			require.Equal(t, l.Size(), st.Size(), name)
			seg := l.list()[0]
			f, err := seg.acquire()
			require.NoError(t, err)
			_, err = f.WriteAt(make([]byte, n), l.Size())
			require.NoError(t, err)
			seg.size.Add(int64(n))
			found, err := l.salvage(seg, math.MaxInt64, 0)
			require.NoError(t, err)
			require.True(t, found.whole, "what is known of it stays")
			seg.release()
		}
	}
}

// TestAnOffsetThatIsDamagedIsRestoredBeforeZeros: nothing but zeros follow the last batch, so its place says which offset it had.
func TestAnOffsetThatIsDamagedIsRestoredBeforeZeros(t *testing.T) {
	raw, starts, _ := crashedLog(t)
	for _, zeros := range zerosBehind {
		file := append(slices.Clone(raw), make([]byte, zeros)...)
		file[starts[4]] ^= 0x80
		d, l := openRaw(t, file, 0)
		require.EqualValues(t, 10, l.EndOffset(), "%d zeros", zeros)
		require.Len(t, values(t, l, 0), 10)
		require.Len(t, d.Corruptions(), 1)
		require.True(t, d.Corruptions()[0].Repaired)
	}
}

// TestALengthThatIsDamagedIsFoundAmongZeros: the last batch ends in zeros itself, and only its checksum tells how many are its own.
func TestALengthThatIsDamagedIsFoundAmongZeros(t *testing.T) {
	raw, _, _ := crashedLog(t)
	last := batch.Builder{BaseOffset: 10, LeaderEpoch: 1}
	last.Append(1700000000009, []byte("k"), make([]byte, 500))
	b := last.MustBuild()
	for _, zeros := range zerosBehind {
		for _, wrong := range []byte{0x01, 0x80} {
			file := slices.Concat(raw, b, make([]byte, zeros))
			file[len(raw)+batch.OffsetLength+3] ^= wrong
			d, l := openRaw(t, file, 0)
			require.EqualValues(t, 11, l.EndOffset(), "%d zeros", zeros)
			require.Len(t, d.Corruptions(), 1)
			require.True(t, d.Corruptions()[0].Repaired)
			require.Len(t, values(t, l, 0), 11)
		}
	}
}

func TestASealedSegmentThatEndsInZerosTooEarlyIsDamage(t *testing.T) {
	raw, starts, _ := crashedLog(t)
	for name, c := range map[string]struct {
		first []byte
		ok    bool
	}{
		"nothing is missing": {append(slices.Clone(raw[:starts[4]]), make([]byte, 300)...), true},
		"a batch is missing": {append(slices.Clone(raw[:starts[3]]), make([]byte, 300)...), false},
	} {
		fs := newMemFS()
		require.NoError(t, fs.MkdirAll("/log"))
		require.NoError(t, fs.MkdirAll("/log/t-0"))
		require.NoError(t, writeFile(fs, "/log/t-0/00000000000000000000.log", c.first, true))
		require.NoError(t, writeFile(fs, "/log/t-0/00000000000000000008.log", raw[starts[4]:], true))
		report, err := verifyPartition(fs, "/log/t-0", VerifyOptions{})
		require.NoError(t, err)
		require.Equal(t, c.ok, report.OK(), "%s: %v", name, report.Problems)
		d, err := OpenDir("/log", Options{FS: fs})
		require.NoError(t, err)
		require.Equal(t, c.ok, len(d.Corruptions()) == 0, "%s: %v", name, d.Corruptions())
		require.NoError(t, d.Close())
	}
}

// TestTheFileSystemTakesZeros does it for real, where that is of use, over some segments.
func TestTheFileSystemTakesZeros(t *testing.T) {
	path := t.TempDir()
	probe, err := OS.OpenFile(filepath.Join(path, "probe"), os.O_RDWR|os.O_CREATE)
	require.NoError(t, err)
	free, use := probe.(reserver).Ahead()
	require.NoError(t, probe.Close())
	if free>>10 < 1<<20 || !use.zeros {
		t.Skip("neither on ext4 nor on XFS, or little is left there")
	}
	d := openDir(t, path, Options{zeros: zeroRules{piece: zeroPiece, most: 2 << 20, syncs: 2, times: 4, logs: 4}})
	cfg := DefaultConfig()
	cfg.SegmentBytes = 12 << 20
	l, err := d.Create("t", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	ahead := false
	for n := range 60 {
		require.NoError(t, l.WaitDurable(t.Context(), mustAppend(t, l, at(1, "k", fmt.Sprintf("%d%s", n, strings.Repeat("v", 500_000)))).LastOffset))
		var st syscall.Stat_t
		l.mu.Lock()
		require.NoError(t, syscall.Stat(l.active.path(suffixLog), &st))
		ahead = ahead || st.Size > l.active.size.Load()
		l.mu.Unlock()
	}
	require.True(t, ahead)
	for i, v := range values(t, l, 0) {
		require.True(t, strings.HasPrefix(v, fmt.Sprintf("%d:%dv", i, i)), "%.20s", v)
	}
	require.Greater(t, l.Segments(), 1)
	segs := l.list()
	require.NoError(t, d.Close())
	for _, s := range segs {
		st, err := os.Stat(filepath.Join(path, "t-0", offsetName(s.base, suffixLog)))
		require.NoError(t, err)
		require.Equal(t, s.size.Load(), st.Size())
	}
}
