package log

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// smallWriteOut is for segments of a few hundred bytes.
var smallWriteOut = writeOutRules{from: 200, atOnce: 128}

// lazyLog is a log in mode os with a sealed segment of some 1000 bytes and an active one that was appended to, and what has been written out and
// synced of its records.
func lazyLog(t *testing.T, cfg Config, judge func(op memOp) error) (l *Log, now *time.Time, done *[]string) {
	t.Helper()
	fs, at := newMemFS(), time.Now()
	now, done = &at, new([]string)
	fs.judge = func(op memOp) error {
		if op.kind == "writeout" || op.kind == "sync .log" {
			*done = append(*done, op.kind+" "+filepath.Base(op.name))
		}
		if judge != nil {
			return judge(op)
		}
		return nil
	}
	d, err := OpenDir("/log", Options{FS: fs, Durability: DurabilityOS, Now: func() time.Time { return *now }, writeOut: smallWriteOut})
	require.NoError(t, err)
	cfg.SegmentBytes = 1000
	l, err = d.Create("t", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	for l.Segments() < 2 || l.list()[1].size.Load() < smallWriteOut.from {
		mustAppend(t, l, records(3))
	}
	require.Empty(t, *done, "mode os syncs nothing of itself")
	return l, now, done
}

// writtenOut is what is done to a whole segment.
func writtenOut(s *segment) (ops []string) {
	name := fmt.Sprintf("%020d.log", s.base)
	for at := int64(0); at < s.size.Load(); at += smallWriteOut.atOnce {
		ops = append(ops, "writeout "+name)
	}
	return append(ops, "sync .log "+name)
}

func TestInModeOSASealedSegmentIsWrittenOutAndSyncedAndTheActiveOneIsNot(t *testing.T) {
	l, _, done := lazyLog(t, DefaultConfig(), nil)
	sealed, active := l.list()[0], l.list()[1]
	require.NoError(t, l.syncInTurn())
	require.Equal(t, writtenOut(sealed), *done)
	require.Equal(t, active.base, l.synced.Load())
	require.Equal(t, l.EndOffset()-active.base, l.unflushed)
	require.NoError(t, l.syncInTurn())
	require.Equal(t, append(writtenOut(sealed), writtenOut(active)...), *done, "asked for again, there is nothing else to be asked for")
	require.Equal(t, l.EndOffset(), l.synced.Load())
	require.NoError(t, l.d.Close())
}

func TestTheActiveSegmentIsSyncedWithASealedOneWhereThatIsAskedFor(t *testing.T) {
	for name, ask := range map[string]func(t *testing.T, l *Log, now *time.Time){
		"fsync": func(t *testing.T, l *Log, _ *time.Time) {
			c := l.Config()
			c.Durability = DurabilityFsync
			l.cfg.Store(&c)
			require.NoError(t, l.syncInTurn())
		},
		"flush.messages": func(t *testing.T, l *Log, _ *time.Time) {
			c := l.Config()
			c.FlushMessages = 5
			l.cfg.Store(&c)
			require.NoError(t, l.syncInTurn())
		},
		"flush.ms": func(t *testing.T, l *Log, now *time.Time) {
			c := l.Config()
			c.FlushMs = 100
			l.cfg.Store(&c)
			l.lastFlush = now.UnixMilli()
			*now = now.Add(100 * time.Millisecond)
			require.NoError(t, l.syncInTurn())
		},
		"somebody waits": func(t *testing.T, l *Log, _ *time.Time) {
			l.waiters = append(l.waiters, waiter{l.EndOffset() - 1, func(error) {}})
			require.NoError(t, l.syncInTurn())
			require.Empty(t, l.waiters)
		},
		"Sync": func(t *testing.T, l *Log, _ *time.Time) { require.NoError(t, l.Sync()) },
	} {
		t.Run(name, func(t *testing.T) {
			l, now, done := lazyLog(t, DefaultConfig(), nil)
			ask(t, l, now)
			require.Equal(t, append(writtenOut(l.list()[0]), writtenOut(l.list()[1])...), *done)
			require.Equal(t, l.EndOffset(), l.synced.Load())
			require.Zero(t, l.unflushed)
			require.NoError(t, l.d.Close())
		})
	}
}

func TestFlushMsCountsOnWhenTheActiveSegmentWasSpared(t *testing.T) {
	cfg := DefaultConfig()
	cfg.FlushMs = 100
	l, now, done := lazyLog(t, cfg, nil)
	l.lastFlush = now.UnixMilli()
	*now = now.Add(99 * time.Millisecond)
	require.NoError(t, l.syncInTurn())
	require.Equal(t, writtenOut(l.list()[0]), *done)
	*now = now.Add(time.Millisecond)
	require.NoError(t, l.d.flushDue(t.Context()))
	require.Eventually(t, func() bool { return l.synced.Load() == l.EndOffset() }, 10*time.Second, time.Millisecond)
	require.NoError(t, l.d.Close())
}

func TestWhatWasSyncedIsNotWrittenOutAgain(t *testing.T) {
	l, _, done := lazyLog(t, DefaultConfig(), nil)
	require.NoError(t, l.Sync())
	active := l.list()[1]
	*done = nil
	mustAppend(t, l, records(1))
	require.Equal(t, 2, l.Segments())
	require.NoError(t, l.Sync())
	synced := []string{fmt.Sprintf("sync .log %020d.log", active.base)}
	require.Equal(t, synced, *done, "little is synced as it is")
	require.NoError(t, l.d.Close())
	d, err := OpenDir("/log", l.d.opts)
	require.NoError(t, err)
	l, _ = d.Log("t", 0)
	*done = nil
	mustAppend(t, l, records(1))
	require.NoError(t, l.Sync())
	require.Equal(t, synced, *done, "what was there when the directory was opened is durable")
	require.NoError(t, d.Close())
}

func TestALogThatCannotBeWrittenOutFails(t *testing.T) {
	l, _, done := lazyLog(t, DefaultConfig(), func(op memOp) error {
		if op.kind == "writeout" {
			return errLost
		}
		return nil
	})
	require.ErrorIs(t, l.syncInTurn(), ErrStorage)
	require.Len(t, *done, 1, "it is not called durable by a sync that is told of nothing")
	require.Zero(t, l.synced.Load())
	_, err := l.Append(records(1), AppendOptions{})
	require.ErrorIs(t, err, ErrStorage)
	_ = l.d.Close()
}

func TestWriteOutOfAFile(t *testing.T) {
	f, err := OS.OpenFile(filepath.Join(t.TempDir(), "f"), os.O_RDWR|os.O_CREATE)
	require.NoError(t, err)
	_, err = f.WriteAt(make([]byte, 3<<20), 0)
	require.NoError(t, err)
	w := f.(outWriter)
	require.NoError(t, w.WriteOut(0, 1<<20))
	require.NoError(t, w.WriteOut(1<<20, 5<<20), "past its end")
	require.NoError(t, f.Close())
}
