package log

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

// at makes a batch of one record.
func at(ts int64, key, value string) []byte {
	w := batch.Builder{}
	var k, v []byte
	if key != "" {
		k = []byte(key)
	}
	if value != "" {
		v = []byte(value)
	}
	w.Append(ts, k, v)
	return w.MustBuild()
}

func TestOffsetForTimestamp(t *testing.T) {
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes = 400, 100
	l := newTestLog(t, Options{}, cfg)
	_, _, _, found, err := l.OffsetForTimestamp(0)
	require.NoError(t, err)
	require.False(t, found)
	base := time.Now().UnixMilli() - 1_000_000
	// Timestamps rise, but every fifth steps back.
	var ts []int64
	for i := range 60 {
		x := base + int64(i)*100
		if i%5 == 4 {
			x -= 350
		}
		ts = append(ts, x)
		c := batch.Codec(i % 5)
		w := batch.Builder{Codec: c}
		w.Append(x, []byte("k"), []byte("v"))
		w.Append(x+10, []byte("k"), []byte("v"))
		_, err := l.Append(w.MustBuild(), AppendOptions{LeaderEpoch: 7})
		require.NoError(t, err)
	}
	require.Greater(t, l.Segments(), 5)
	check := func() {
		for q := base - 100; q < base+7000; q += 35 {
			want, wantTs := int64(-1), int64(-1)
			for i, x := range ts {
				if x >= q {
					want, wantTs = int64(i*2), x
				} else if x+10 >= q {
					want, wantTs = int64(i*2+1), x+10
				}
				if want >= 0 {
					break
				}
			}
			off, at, epoch, found, err := l.OffsetForTimestamp(q)
			require.NoError(t, err)
			require.Equal(t, want >= 0, found)
			require.Equal(t, []int64{want, wantTs}, []int64{off, at}, "query %d", q-base)
			if found {
				require.EqualValues(t, 7, epoch)
			}
		}
		off, at, _, found, err := l.MaxTimestampOffset()
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, []int64{117, base + 5810}, []int64{off, at})
	}
	check()
	path := l.d.path
	require.NoError(t, l.d.Close())
	d := openDir(t, path, Options{})
	l, _ = d.Log("t", 0)
	check()
	require.NoError(t, l.DeleteRecordsBefore(50))
	off, _, _, found, err := l.OffsetForTimestamp(0)
	require.NoError(t, err)
	require.True(t, found)
	require.EqualValues(t, 50, off)
}

func TestRetentionByTime(t *testing.T) {
	clock := newTestClock(time.Now())
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.RetentionMs, cfg.FileDeleteDelayMs = 200, 60_000, 1000
	d := openDir(t, t.TempDir(), Options{Now: clock.now})
	l, err := d.Create("t", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	for i := range 10 {
		mustAppend(t, l, at(clock.now().UnixMilli()+int64(i)*10_000, "k", "v"))
	}
	require.NoError(t, l.Sync())
	require.NoError(t, d.Housekeep(context.Background()))
	require.Zero(t, l.StartOffset())
	clock.add(105 * time.Second) // older than 60 s: records 0 to 4; segments of 2
	require.NoError(t, d.Housekeep(context.Background()))
	require.EqualValues(t, 4, l.StartOffset())
	_, err = l.Read(nil, 3, 100, 10, true)
	require.ErrorIs(t, err, ErrOffsetOutOfRange)
	deleted := func() int {
		m, err := filepath.Glob(filepath.Join(d.path, "t-0", "*.deleted"))
		require.NoError(t, err)
		return len(m)
	}
	require.NotZero(t, deleted(), "file.delete.delay.ms has not passed")
	clock.add(time.Hour)
	require.NoError(t, d.Housekeep(context.Background()))
	require.EqualValues(t, 10, l.StartOffset(), "the active segment expires too")
	require.EqualValues(t, 10, l.EndOffset())
	clock.add(2 * time.Second)
	require.NoError(t, d.Housekeep(context.Background()))
	require.Zero(t, deleted())
	require.EqualValues(t, 10, mustAppend(t, l, at(clock.now().UnixMilli(), "k", "v")).BaseOffset)
}

func TestRetentionBySizeKeepsAtLeastThatMuchAndStopsAtTheHighWatermark(t *testing.T) {
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.RetentionBytes = 200, 500
	l := newTestLog(t, Options{}, cfg)
	for range 20 {
		mustAppend(t, l, at(time.Now().UnixMilli(), "k", "v"))
	}
	require.NoError(t, l.Sync())
	l.SetHighWatermark(3)
	err := l.d.retain(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, l.StartOffset())
	l.SetHighWatermark(20)
	err = l.d.retain(t.Context())
	require.NoError(t, err)
	require.Less(t, l.Size(), int64(700))
	require.GreaterOrEqual(t, l.Size(), int64(500))
}

func TestLogsWithoutTheirConfigAreLeftAlone(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, Options{})
	cfg := DefaultConfig()
	cfg.RetentionMs = -1
	l, err := d.Create("t", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	w := batch.Builder{}
	w.Append(1000, nil, []byte("very old"))
	mustAppend(t, l, w.MustBuild())
	require.NoError(t, d.Close())
	d = openDir(t, path, Options{})
	l, _ = d.Log("t", 0)
	require.NoError(t, d.Housekeep(context.Background()))
	require.Zero(t, l.StartOffset())
	l.UpdateConfig(DefaultConfig())
	require.NoError(t, d.Housekeep(context.Background()))
	require.EqualValues(t, 1, l.StartOffset())
}

func TestDeleteRecordsSurvivesACrash(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, Options{})
	cfg := DefaultConfig()
	cfg.SegmentBytes = 300
	l, err := d.Create("t", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	for range 10 {
		mustAppend(t, l, records(2))
	}
	require.NoError(t, l.Sync())
	require.ErrorIs(t, l.DeleteRecordsBefore(21), ErrOffsetOutOfRange)
	require.NoError(t, l.DeleteRecordsBefore(7))
	require.NoError(t, l.DeleteRecordsBefore(5), "below the start is done already")
	require.EqualValues(t, 7, l.StartOffset())
	p, err := l.Read(nil, 7, 1, 20, true)
	require.NoError(t, err)
	require.EqualValues(t, 6, batch.Batch(p).BaseOffset(), "the batch comes whole")
	require.NoError(t, d.lock.Close())
	d = openDir(t, path, Options{Config: func(string) (Config, bool) { return cfg, true }})
	l, _ = d.Log("t", 0)
	require.EqualValues(t, 7, l.StartOffset())
	before := l.Segments()
	require.NoError(t, d.Housekeep(context.Background()))
	require.Less(t, l.Segments(), before)
	require.EqualValues(t, 7, l.StartOffset())
	require.NoError(t, l.DeleteRecordsBefore(20))
	require.NoError(t, d.Close())
	d = openDir(t, path, Options{})
	l, _ = d.Log("t", 0)
	require.EqualValues(t, 20, l.StartOffset())
	require.EqualValues(t, 20, l.EndOffset())
}

func TestTruncate(t *testing.T) {
	for offset := range int64(21) {
		path := t.TempDir()
		d := openDir(t, path, Options{})
		cfg := DefaultConfig()
		cfg.SegmentBytes = 300
		l, err := d.Create("t", 0, [16]byte{1}, cfg)
		require.NoError(t, err)
		for i := range 10 {
			_, err := l.Append(records(2, producer(1, 0, int32(i*2))), AppendOptions{LeaderEpoch: int32(i / 3)})
			require.NoError(t, err)
		}
		require.NoError(t, l.Sync())
		want := values(t, l, 0)[:offset/2*2]
		gone := make(chan error, 1)
		l.NotifyDurable(25, func(err error) { gone <- err })
		require.NoError(t, l.TruncateTo(offset))
		end := offset / 2 * 2
		if offset < 20 {
			require.ErrorIs(t, <-gone, ErrTruncated)
		}
		require.Equal(t, end, l.EndOffset())
		require.Equal(t, end, l.DurableOffset())
		require.Equal(t, len(want), len(values(t, l, 0)))
		for _, e := range l.Epochs() {
			require.Less(t, e.StartOffset, max(end, 1))
		}
		if end > 0 {
			require.True(t, mustAppend(t, l, records(2, producer(1, 0, int32(end-2)))).Duplicate)
			_, err = l.Append(records(2, producer(1, 0, int32(end+2))), AppendOptions{})
			require.ErrorIs(t, err, ErrOutOfOrderSequence)
		}
		r, err := l.Append(records(2, producer(1, 0, int32(end))), AppendOptions{LeaderEpoch: 9})
		require.NoError(t, err)
		require.Equal(t, end, r.BaseOffset)
		require.NoError(t, l.WaitDurable(context.Background(), r.LastOffset))
		after := values(t, l, 0)
		require.NoError(t, d.lock.Close()) // a crash
		d = openDir(t, path, Options{})
		l, _ = d.Log("t", 0)
		require.Equal(t, after, values(t, l, 0))
		require.EqualValues(t, 9, l.LatestEpoch())
		require.NoError(t, l.TruncateFullyAndStartAt(1000))
		require.Equal(t, []int64{1000, 1000}, []int64{l.StartOffset(), l.EndOffset()})
		require.Empty(t, l.Epochs())
		mustAppend(t, l, records(1))
		require.Equal(t, []string{"1000:v0"}, values(t, l, 1000))
	}
}

func TestEpochEndOffsets(t *testing.T) {
	l := newTestLog(t, Options{}, DefaultConfig())
	e, o := l.EpochEndOffset(0)
	require.Equal(t, []int64{-1, -1}, []int64{int64(e), o})
	for _, epoch := range []int32{2, 2, 4, 7, 7} {
		_, err := l.Append(records(2), AppendOptions{LeaderEpoch: epoch})
		require.NoError(t, err)
	}
	for _, c := range []struct {
		ask, epoch int32
		end        int64
	}{{-1, -1, -1}, {0, 0, 0}, {2, 2, 4}, {3, 2, 4}, {4, 4, 6}, {5, 4, 6}, {7, 7, 10}, {8, -1, -1}} {
		e, o := l.EpochEndOffset(c.ask)
		require.Equal(t, []int64{int64(c.epoch), c.end}, []int64{int64(e), o}, "epoch %d", c.ask)
	}
	require.NoError(t, l.AssignEpoch(9, 10))
	require.NoError(t, l.AssignEpoch(8, 10))
	e, o = l.EpochEndOffset(9)
	require.Equal(t, []int64{9, 10}, []int64{int64(e), o})
	e, o = l.EpochEndOffset(7)
	require.Equal(t, []int64{7, 10}, []int64{int64(e), o})
	require.NoError(t, l.Sync())
	require.NoError(t, l.DeleteRecordsBefore(5))
	require.Equal(t, []EpochEntry{{4, 5}, {7, 6}, {9, 10}}, l.Epochs())
	require.NoError(t, l.d.checkpoint())
	p, err := os.ReadFile(filepath.Join(l.dirPath(), fileEpochs))
	require.NoError(t, err)
	require.Equal(t, "0\n3\n4 5\n7 6\n9 10\n", string(p))
}

func TestDeletedPartitionIsRenamedAndRemovedLater(t *testing.T) {
	clock := newTestClock(time.Now())
	path := t.TempDir()
	d := openDir(t, path, Options{Now: clock.now})
	l, err := d.Create("a-topic", 3, [16]byte{1}, DefaultConfig())
	require.NoError(t, err)
	_, err = d.Create("a-topic", 3, [16]byte{1}, DefaultConfig())
	require.ErrorIs(t, err, ErrExists)
	mustAppend(t, l, records(1))
	require.NoError(t, l.Sync())
	require.NoError(t, d.Delete("a-topic", 3))
	require.ErrorIs(t, d.Delete("a-topic", 3), ErrNotFound)
	_, err = l.Append(records(1), AppendOptions{})
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, d.Err())
	_, ok := d.Log("a-topic", 3)
	require.False(t, ok)
	dirs, err := filepath.Glob(filepath.Join(path, "a-topic-3.*-delete"))
	require.NoError(t, err)
	require.Len(t, dirs, 1)
	l, err = d.Create("a-topic", 3, [16]byte{2}, DefaultConfig())
	require.NoError(t, err)
	require.Zero(t, l.EndOffset())
	clock.add(61 * time.Second)
	require.NoError(t, d.Housekeep(context.Background()))
	require.NoDirExists(t, dirs[0])
	for _, bad := range []string{"", "../x", "a/b", "a b", ".."} {
		_, err = d.Create(bad, 0, [16]byte{}, DefaultConfig())
		require.Error(t, err, bad)
	}
}

func TestDirectoryIsLockedAndRemembersItsOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "er")
	d := openDir(t, path, Options{})
	_, err := OpenDir(path, Options{})
	require.ErrorIs(t, err, ErrLocked)
	props, err := d.Properties()
	require.NoError(t, err)
	require.Empty(t, props)
	require.NoError(t, d.WriteProperties(map[string]string{"node.id": "1", "cluster.id": "abc"}))
	d.SetBrokerEpoch(17)
	require.NoError(t, d.Close())
	d = openDir(t, path, Options{})
	require.True(t, d.WasClean())
	require.EqualValues(t, 17, d.PreviousBrokerEpoch())
	props, err = d.Properties()
	require.NoError(t, err)
	require.Equal(t, map[string]string{"version": "1", "node.id": "1", "cluster.id": "abc"}, props)
}

func TestFilesAreKafkas(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, Options{})
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes = 400, 50
	l, err := d.Create("t", 0, [16]byte{0xde, 0xad}, cfg)
	require.NoError(t, err)
	for i := range 6 {
		mustAppend(t, l, at(int64(1000+i), "k", "v"))
	}
	require.NoError(t, l.DeleteRecordsBefore(0))
	require.NoError(t, l.Sync())
	require.NoError(t, l.DeleteRecordsBefore(1))
	require.NoError(t, d.Close())
	read := func(name string) string {
		p, err := os.ReadFile(filepath.Join(path, name))
		require.NoError(t, err)
		return string(p)
	}
	require.Equal(t, "0\n1\nt 0 6\n", read(fileRecoveryPoint))
	require.Equal(t, "0\n1\nt 0 1\n", read(fileLogStart))
	require.Equal(t, `{"version":0,"brokerEpoch":"-1"}`, read(fileCleanShutdown))
	require.Equal(t, "version: 0\ntopic_id: 3q0AAAAAAAAAAAAAAAAAAA", read("t-0/partition.metadata"))
	require.Equal(t, "0\n1\n0 1\n", read("t-0/leader-epoch-checkpoint"))
	// One entry for each batch but the first of a segment: its last offset and its position.
	require.Equal(t, "\x00\x00\x00\x01\x00\x00\x00\x46\x00\x00\x00\x02\x00\x00\x00\x8c\x00\x00\x00\x03\x00\x00\x00\xd2\x00\x00\x00\x04\x00\x00\x01\x18",
		read("t-0/00000000000000000000.index"))
	require.True(t, strings.HasSuffix(read("t-0/00000000000000000000.timeindex"), "\x00\x00\x00\x00\x00\x00\x03\xec\x00\x00\x00\x04"))
	require.Len(t, read("t-0/00000000000000000005.snapshot"), 10)
	names, err := os.ReadDir(filepath.Join(path, "t-0"))
	require.NoError(t, err)
	var got []string
	for _, n := range names {
		got = append(got, n.Name())
	}
	require.Equal(t, []string{
		"00000000000000000000.index", "00000000000000000000.log", "00000000000000000000.timeindex",
		"00000000000000000005.index", "00000000000000000005.log", "00000000000000000005.snapshot", "00000000000000000005.timeindex",
		"00000000000000000006.snapshot", "leader-epoch-checkpoint", "partition.metadata",
	}, got)
}

func TestParseConfig(t *testing.T) {
	c, err := ParseConfig(map[string]string{
		"cleanup.policy": "compact,delete", "segment.bytes": "1048576", "retention.ms": "-1", "message.timestamp.type": "LogAppendTime",
		"compression.type": "uncompressed", "min.insync.replicas": "2", "durability": "os", "min.cleanable.dirty.ratio": "0.25",
	})
	require.NoError(t, err)
	want := DefaultConfig()
	want.Compact, want.SegmentBytes, want.RetentionMs, want.LogAppendTime = true, 1<<20, -1, true
	want.CompressionType, want.Durability, want.MinCleanableDirtyRatio = batch.None, DurabilityOS, 0.25
	require.Equal(t, want, c)
	for k, v := range map[string]string{
		"segment.bytes": "x", "segment.ms": "0", "retention.ms": "-2", "cleanup.policy": "shrink", "compression.type": "none",
		"min.cleanable.dirty.ratio": "2", "durability": "maybe", "preallocate": "perhaps", "compression.gzip.level": "10", "message.timestamp.type": "x",
	} {
		_, err := ParseConfig(map[string]string{k: v})
		require.ErrorContains(t, err, fmt.Sprintf("invalid value %s for configuration %s", v, k))
	}
}

func TestPreallocatedSegmentsGiveBackWhatTheyDidNotUse(t *testing.T) {
	cfg, err := ParseConfig(map[string]string{"preallocate": "true", "segment.bytes": "1048576"})
	require.NoError(t, err)
	path := t.TempDir()
	d := openDir(t, path, Options{})
	l, err := d.Create("t", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	mustAppend(t, l, records(2))
	require.NoError(t, l.Roll())
	mustAppend(t, l, records(2))
	require.NoError(t, d.Close())
	d = openDir(t, path, Options{})
	l, _ = d.Log("t", 0)
	require.Len(t, values(t, l, 0), 4)
	require.True(t, d.WasClean())
}

func TestCloseAndDeleteRaceWithEverything(t *testing.T) {
	for range 5 {
		d := openDir(t, t.TempDir(), Options{})
		var wg sync.WaitGroup
		for i := range int32(4) {
			l, err := d.Create("t", i, [16]byte{1}, compactedConfig())
			require.NoError(t, err)
			wg.Go(func() {
				for {
					r, err := l.Append(records(1), AppendOptions{})
					if err == nil {
						err = l.WaitDurable(context.Background(), r.LastOffset)
					}
					if err != nil {
						require.ErrorIs(t, err, ErrStorage)
						return
					}
				}
			})
			wg.Go(func() {
				for {
					_, err := l.Read(nil, max(0, l.EndOffset()-3), 1000, l.EndOffset(), true)
					if errors.Is(err, ErrStorage) {
						return
					}
				}
			})
			wg.Go(func() {
				for d.Housekeep(context.Background()) == nil {
				}
			})
		}
		time.Sleep(30 * time.Millisecond)
		require.NoError(t, d.Delete("t", 1))
		_, err := d.Create("t", 1, [16]byte{2}, DefaultConfig())
		require.NoError(t, err)
		require.NoError(t, d.Close())
		wg.Wait()
	}
}

// TestMaxTimestampOffsetIsOfARecordThatIsThere compares it with all records, where the largest is below the start of the log or was compacted away.
func TestMaxTimestampOffsetIsOfARecordThatIsThere(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 11))
		cfg := compactedConfig()
		cfg.SegmentBytes, cfg.IndexIntervalBytes = 500, 100
		l := newTestLog(t, Options{}, cfg)
		now := time.Now().UnixMilli()
		for i := range 40 {
			w := batch.Builder{Codec: batch.Codec(r.IntN(2)), Idempotent: true, ProducerID: int64(i)}
			for range 1 + r.IntN(3) {
				w.Append(now-r.Int64N(50), fmt.Append(nil, "k", r.IntN(12)), []byte("v"))
			}
			mustAppend(t, l, w.MustBuild())
		}
		require.NoError(t, l.Sync())
		if r.IntN(2) == 0 {
			require.NoError(t, l.Roll())
			require.NoError(t, l.Compact(t.Context()))
		}
		for range 10 {
			require.NoError(t, l.DeleteRecordsBefore(min(l.StartOffset()+r.Int64N(12), l.EndOffset())))
			want, at := int64(-1), int64(-1)
			for _, s := range l.list() {
				require.NoError(t, s.batches(func(b batch.Batch) (bool, error) {
					var rd batch.Reader
					require.NoError(t, rd.Reset(b))
					for rec, ok := rd.Next(); ok; rec, ok = rd.Next() {
						if rec.Offset >= l.StartOffset() && rec.Timestamp > want {
							want, at = rec.Timestamp, rec.Offset
						}
					}
					return true, rd.Err()
				}))
			}
			off, ts, _, found, err := l.MaxTimestampOffset()
			require.NoError(t, err)
			require.Equal(t, at >= 0, found, "seed %d", seed)
			require.Equal(t, []int64{at, want}, []int64{off, ts}, "seed %d", seed)
		}
	}
}
