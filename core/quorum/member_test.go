package quorum

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/moldau-io/moldau/core/metadata"
)

func testMember(fs FS) memberConfig {
	return memberConfig{nodeID: 1, voters: []int32{1, 2, 3}, dir: "d", fs: fs, logger: slog.New(slog.DiscardHandler), electionTicks: 10, segmentBytes: 1 << 20, snapshotBytes: 1 << 20}
}

// TestCrashBetweenASnapshotOfTheLeaderAndTheLog: the snapshot file is there, the log does not know of it yet. What
// the log has of other histories must not come back, now or after more was written.
func TestCrashBetweenASnapshotOfTheLeaderAndTheLog(t *testing.T) {
	im, _, err := metadata.Empty().Apply(metadata.Position{Offset: 4, Epoch: 3}, []metadata.Record{&metadata.ClusterIDRecord{ClusterID: "c"}})
	require.NoError(t, err)
	for _, c := range []struct {
		name        string
		index, term uint64
		want        uint64 // last index of the log after opening
	}{
		{"the log ends before it", 9, 3, 9},
		{"the log has another entry there", 4, 3, 4},
		{"the log has the same entry there", 4, 1, 6},
		{"the log ends there", 6, 1, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := newMemFS()
			m, err := openMember(testMember(fs))
			require.NoError(t, err)
			require.NoError(t, m.wal.save(&saved{hard: hard(1, 2, 3), entries: []*pb.Entry{entry(2, 1, ""), entry(3, 1, ""), entry(4, 1, ""), entry(5, 1, ""), entry(6, 1, "")}}))
			require.NoError(t, writeSnapshot(fs, "d", 1, &pb.Snapshot{
				Metadata: &pb.SnapshotMetadata{Index: new(c.index), Term: new(c.term), ConfState: m.members}, Data: metadata.Encode(nil, im.Records()),
			}))
			require.NoError(t, m.close())
			m, err = openMember(testMember(fs))
			require.NoError(t, err)
			last, err := m.mem.LastIndex()
			require.NoError(t, err)
			require.Equal(t, c.want, last)
			require.Equal(t, "c", m.image.ClusterID)
			require.Equal(t, int64(c.index), m.image.Offset)
			hs, _, err := m.mem.InitialState()
			require.NoError(t, err)
			require.GreaterOrEqual(t, hs.GetTerm(), c.term)
			require.Equal(t, max(c.index, 3), hs.GetCommit())
			require.NoError(t, m.wal.save(&saved{hard: hard(4, 0, c.want), entries: []*pb.Entry{entry(c.want+1, 4, "")}}))
			require.NoError(t, m.close())
			m, err = openMember(testMember(fs))
			require.NoError(t, err)
			last, err = m.mem.LastIndex()
			require.NoError(t, err)
			require.Equal(t, c.want+1, last)
			require.NoError(t, m.close())
		})
	}
}

func TestAHoleBetweenSnapshotAndLogIsRefused(t *testing.T) {
	fs := newMemFS()
	m, err := openMember(testMember(fs))
	require.NoError(t, err)
	require.NoError(t, m.wal.save(&saved{hard: hard(1, 2, 1), entries: []*pb.Entry{entry(5, 1, "")}}))
	require.NoError(t, m.close())
	_, err = openMember(testMember(fs))
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "entries 2 to 4 are missing")

	fs = newMemFS()
	m, err = openMember(testMember(fs))
	require.NoError(t, err)
	require.NoError(t, m.wal.save(&saved{hard: hard(1, 2, 7), entries: []*pb.Entry{entry(2, 1, "")}}))
	require.NoError(t, m.close())
	_, err = openMember(testMember(fs))
	require.ErrorContains(t, err, "entries up to 7 were committed")
}

func TestALogWithoutItsSnapshotAndTheReverseAreRefused(t *testing.T) {
	for _, suffix := range []string{snapshotSuffix, walSuffix} {
		fs := newMemFS()
		m, err := openMember(testMember(fs))
		require.NoError(t, err)
		require.NoError(t, m.wal.save(&saved{hard: hard(1, 2, 1)}))
		require.NoError(t, m.close())
		for n := range fs.names {
			if len(n) > len(suffix) && n[len(n)-len(suffix):] == suffix {
				require.NoError(t, fs.Remove(n))
			}
		}
		_, err = openMember(testMember(fs))
		require.ErrorIs(t, err, ErrCorrupt, "without %s", suffix)
	}
}

func TestManyEntriesAreSplitIntoFrames(t *testing.T) {
	fs := newMemFS()
	m, err := openMember(testMember(fs))
	require.NoError(t, err)
	big := string(make([]byte, 15<<20))
	var es []*pb.Entry
	for i := range uint64(5) {
		es = append(es, entry(2+i, 1, big))
	}
	require.NoError(t, m.save(saved{hard: hard(1, 2, 4), entries: es}))
	require.NoError(t, m.close())
	w, st, err := openWAL(fs, "d", 1, 1<<20)
	require.NoError(t, err)
	require.Len(t, st.entries, 5)
	require.Equal(t, uint64(4), st.hard.GetCommit())
	require.Greater(t, w.seq, uint64(3))
}
