package log

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

// inspected is a closed directory with a partition of several segments: plain batches, a producer, a committed and an aborted
// transaction.
func inspected(t *testing.T) (dir, folder string) {
	t.Helper()
	dir = t.TempDir()
	d, err := OpenDir(dir, Options{})
	require.NoError(t, err)
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes = 1500, 100
	l, err := d.Create("t", 0, [16]byte{7}, cfg)
	require.NoError(t, err)
	put := func(b []byte, o AppendOptions) {
		t.Helper()
		o.Guard = Unverified
		_, err := l.Append(b, o)
		require.NoError(t, err)
	}
	for i := range 20 {
		put(records(3), AppendOptions{LeaderEpoch: int32(i / 10)})
		put(records(2, producer(9, 0, int32(2*i))), AppendOptions{LeaderEpoch: int32(i / 10)})
	}
	txn := func(w *batch.Builder) { w.Transactional = true }
	put(records(2, producer(11, 0, 0), txn), AppendOptions{LeaderEpoch: 2})
	put(records(2, producer(12, 0, 0), txn), AppendOptions{LeaderEpoch: 2})
	put(batch.BuildEndTxn(1, 11, 0, batch.EndTxn{Type: batch.ControlAbort}), AppendOptions{LeaderEpoch: 2, Origin: Coordinator})
	put(batch.BuildEndTxn(1, 12, 0, batch.EndTxn{Type: batch.ControlCommit}), AppendOptions{LeaderEpoch: 2, Origin: Coordinator})
	put(records(1), AppendOptions{LeaderEpoch: 2})
	require.NoError(t, l.Roll())
	put(records(1), AppendOptions{LeaderEpoch: 2})
	require.NoError(t, d.Close())
	return dir, filepath.Join(dir, "t-0")
}

func segmentFiles(t *testing.T, folder string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.log"))
	require.NoError(t, err)
	return names
}

func TestVerifyFindsNothingInASoundDirectory(t *testing.T) {
	dir, folder := inspected(t)
	seen := 0
	r, err := VerifyDir(dir, VerifyOptions{Records: true}, func(*PartitionReport) { seen++ })
	require.NoError(t, err)
	require.True(t, r.Clean)
	require.True(t, r.OK())
	require.Equal(t, 1, seen)
	p := r.Partitions[0]
	require.Empty(t, p.Problems)
	require.Equal(t, "t", p.Topic)
	require.Equal(t, [16]byte{7}, p.TopicID)
	require.True(t, p.HasTopicID)
	require.EqualValues(t, 0, p.StartOffset)
	require.EqualValues(t, 20*5+4+2+2, p.EndOffset)
	require.EqualValues(t, p.EndOffset, p.Records)
	require.Greater(t, len(p.Segments), 3)
	require.Equal(t, 3, p.Producers)
	require.Equal(t, []EpochEntry{{0, 0}, {1, 50}, {2, 100}}, p.Epochs)
	require.Equal(t, []CheckpointEntry{{"t", 0, p.EndOffset}}, r.RecoveryPoints)
	require.True(t, IsPartitionFolder(folder))
	require.False(t, IsPartitionFolder(dir))
}

func TestDumpReadsEveryKindOfFile(t *testing.T) {
	dir, folder := inspected(t)
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	got := map[FileKind]int{}
	next := int64(0)
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		kind, base := KindOf(path)
		got[kind]++
		switch kind {
		case KindLog:
			require.Equal(t, next, base)
			require.NoError(t, DumpSegment(path, func(d DumpedBatch) error {
				require.NoError(t, d.Err)
				require.Equal(t, next, d.Batch.BaseOffset())
				next = d.Batch.NextOffset()
				return nil
			}))
		case KindIndex:
			es, err := DumpOffsetIndex(path)
			require.NoError(t, err)
			for _, e := range es {
				require.Greater(t, e.Offset, base)
				require.Positive(t, e.Position)
			}
		case KindTimeIndex:
			es, err := DumpTimeIndex(path)
			require.NoError(t, err)
			require.NotEmpty(t, es)
		case KindTxnIndex:
			es, err := DumpTxnIndex(path)
			require.NoError(t, err)
			require.Equal(t, []AbortedTxn{{ProducerID: 11, FirstOffset: 100, LastOffset: 104, LastStableOffset: 102}}, es)
		case KindSnapshot:
			es, err := DumpSnapshot(path)
			require.NoError(t, err)
			require.NotEmpty(t, es)
		case KindEpochs:
			es, err := DumpEpochs(path)
			require.NoError(t, err)
			require.Len(t, es, 3)
		case KindTopicID:
			id, err := DumpTopicID(path)
			require.NoError(t, err)
			require.Equal(t, [16]byte{7}, id)
		}
	}
	for _, k := range []FileKind{KindLog, KindIndex, KindTimeIndex, KindTxnIndex, KindSnapshot, KindEpochs, KindTopicID} {
		require.NotZero(t, got[k], k)
	}
	es, err := DumpCheckpoint(filepath.Join(dir, "recovery-point-offset-checkpoint"))
	require.NoError(t, err)
	require.Len(t, es, 1)
	stop := errors.New("enough")
	require.ErrorIs(t, DumpSegment(segmentFiles(t, folder)[0], func(DumpedBatch) error { return stop }), stop)
}

func TestKindOfNames(t *testing.T) {
	for name, want := range map[string]struct {
		kind FileKind
		base int64
	}{
		"/a/00000000000000000017.log":           {KindLog, 17},
		"00000000000000000017.log.corrupt":      {KindCorrupt, 17},
		"00000000000000000017.log.corrupt.2":    {KindCorrupt, 17},
		"00000000000000000017.index.deleted":    {KindDeleted, 17},
		"00000000000000000017.log.swap":         {KindSwap, 17},
		"00000000000000000017.log.cleaned":      {KindCleaned, 17},
		"00000000000000000017.snapshot":         {KindSnapshot, 17},
		"leader-epoch-checkpoint":               {KindEpochs, -1},
		"leader-epoch-checkpoint.tmp":           {KindTemporary, -1},
		"replication-offset-checkpoint":         {KindCheckpoint, -1},
		"meta.properties":                       {KindProperties, -1},
		".kafka_cleanshutdown":                  {KindCleanShutdown, -1},
		"notes.txt":                             {KindOther, -1},
		"000000000000000000000000000000017.log": {KindLog, -1},
	} {
		kind, base := KindOf(name)
		require.Equal(t, want.kind, kind, name)
		require.Equal(t, want.base, base, name)
	}
}

func TestVerifyNamesDamage(t *testing.T) {
	edit := func(t *testing.T, name string, fn func(p []byte) []byte) {
		t.Helper()
		p, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, fn(p), 0o644))
	}
	first := func(folder, suffix string) string { return filepath.Join(folder, offsetName(0, suffix)) }
	for name, c := range map[string]struct {
		damage func(t *testing.T, folder string)
		want   Severity
		says   string
	}{
		"a flipped bit in a record": {func(t *testing.T, f string) {
			edit(t, first(f, suffixLog), func(p []byte) []byte { p[batch.HeaderSize+5] ^= 1; return p })
		}, SeverityError, "are damaged: offsets 0 to 2 are lost"},
		"a wrong base offset": {func(t *testing.T, f string) {
			edit(t, first(f, suffixLog), func(p []byte) []byte { p[0] ^= 0x40; return p })
		}, SeverityError, "could be restored"},
		"a sealed segment cut short": {func(t *testing.T, f string) {
			edit(t, first(f, suffixLog), func(p []byte) []byte { return p[:len(p)-7] })
		}, SeverityError, "end of a sealed segment"},
		"a torn tail": {func(t *testing.T, f string) {
			files := segmentFiles(t, f)
			edit(t, files[len(files)-1], func(p []byte) []byte { return append(p, 1, 2, 3) })
		}, SeverityWarning, "torn tail"},
		"an offset index that points elsewhere": {func(t *testing.T, f string) {
			edit(t, first(f, suffixIndex), func(p []byte) []byte { p[7]++; return p })
		}, SeverityError, "no such batch begins"},
		"an offset index that ends in garbage": {func(t *testing.T, f string) {
			edit(t, first(f, suffixIndex), func(p []byte) []byte { return append(p, 0, 0, 0, 1, 0, 0, 0, 1) })
		}, SeverityError, "after its last entry"},
		"a time index that hides a record": {func(t *testing.T, f string) {
			edit(t, first(f, suffixTimeIndex), func(p []byte) []byte { copy(p, make([]byte, 8)); return p })
		}, SeverityError, "no record up to offset"},
		"a missing index": {func(t *testing.T, f string) {
			require.NoError(t, os.Remove(first(f, suffixIndex)))
		}, SeverityWarning, "has no index"},
		"a missing abort": {func(t *testing.T, f string) {
			names, err := filepath.Glob(filepath.Join(f, "*.txnindex"))
			require.NoError(t, err)
			require.NoError(t, os.Remove(names[0]))
		}, SeverityError, "abort of producer 11 at offset 104 is missing"},
		"a damaged snapshot": {func(t *testing.T, f string) {
			names, err := filepath.Glob(filepath.Join(f, "*.snapshot"))
			require.NoError(t, err)
			edit(t, names[0], func(p []byte) []byte { p[len(p)-1] ^= 1; return p })
		}, SeverityWarning, "producer snapshot is corrupt"},
		"a wrong epoch checkpoint": {func(t *testing.T, f string) {
			require.NoError(t, os.WriteFile(filepath.Join(f, fileEpochs), []byte("0\n3\n0 0\n1 60\n2 100\n"), 0o644))
		}, SeverityError, "leader epoch 1 begins at offset 50, the checkpoint says 60"},
		"a left over file": {func(t *testing.T, f string) {
			require.NoError(t, os.WriteFile(first(f, suffixLog)+suffixCleaned, nil, 0o644))
		}, SeverityInfo, "left over"},
	} {
		t.Run(name, func(t *testing.T) {
			_, folder := inspected(t)
			c.damage(t, folder)
			r, err := VerifyPartition(folder, VerifyOptions{Records: true})
			require.NoError(t, err)
			if len(r.Problems) == 2 && name == "a sealed segment cut short" {
				// The batch that was cut off may be the first of its millisecond: then the time index, too, says that it was there.
				require.Contains(t, r.Problems[1].Message, "the last entry has timestamp")
				r.Problems = r.Problems[:1]
			}
			require.Len(t, r.Problems, 1)
			require.Contains(t, r.Problems[0].Message, c.says)
			require.Equal(t, c.want, r.Problems[0].Severity)
			require.Equal(t, c.want != SeverityError, r.OK())
		})
	}
}

func TestVerifyTellsOfARecoveryPointPastTheEnd(t *testing.T) {
	dir, folder := inspected(t)
	files := segmentFiles(t, folder)
	require.NoError(t, os.Remove(files[len(files)-1]))
	r, err := VerifyDir(dir, VerifyOptions{}, nil)
	require.NoError(t, err)
	require.False(t, r.OK())
	require.Contains(t, r.Problems[0].Message, "was synced, but the log ends at")
}

func TestVerifyAcceptsACompactedLog(t *testing.T) {
	dir := t.TempDir()
	d, err := OpenDir(dir, Options{})
	require.NoError(t, err)
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes, cfg.Compact = 1500, 100, true
	l, err := d.Create("t", 0, [16]byte{7}, cfg)
	require.NoError(t, err)
	for i := range 60 {
		_, err := l.Append(records(1+i%3, producer(9, int16(i), 0)), AppendOptions{})
		require.NoError(t, err)
	}
	require.NoError(t, l.Sync())
	require.NoError(t, l.Roll())
	require.NoError(t, l.Compact(context.Background()))
	require.NoError(t, d.Close())
	r, err := VerifyDir(dir, VerifyOptions{Records: true}, nil)
	require.NoError(t, err)
	for _, p := range r.Partitions[0].Problems {
		require.Equal(t, SeverityInfo, p.Severity, p.Message)
	}
	require.Less(t, r.Partitions[0].Records, int64(20))
}
