package quorum

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/moldau-io/moldau/core/metadata"
)

func entry(index, term uint64, data string) *pb.Entry {
	e := &pb.Entry{Index: new(index), Term: new(term), Type: pb.EntryNormal.Enum()}
	if data != "" {
		e.Data = []byte(data)
	}
	return e
}

func hard(term, vote, commit uint64) *pb.HardState {
	return &pb.HardState{Term: new(term), Vote: new(vote), Commit: new(commit)}
}

// show renders what a replay gave, to compare.
func (st *walState) show() string {
	s := fmt.Sprint(st.hard.GetTerm(), "/", st.hard.GetVote(), "/", st.hard.GetCommit())
	for _, e := range st.entries {
		s += fmt.Sprintf(" %d@%d=%s", e.GetIndex(), e.GetTerm(), e.GetData())
	}
	return s
}

// written makes a log of several segments and returns it with what a replay of each number of frames gives, the
// first of them being that of no frame.
func written(t testing.TB) (*memFS, []string) {
	t.Helper()
	fs := newMemFS()
	w, st, err := openWAL(fs, "d", 3, 200)
	require.NoError(t, err)
	require.True(t, st.fresh)
	after := []string{st.show()}
	for i, s := range []*saved{
		{hard: hard(1, 1, 0), entries: []*pb.Entry{entry(2, 1, "two"), entry(3, 1, "three")}},
		{hard: hard(1, 1, 3)},
		{hard: hard(2, 0, 3), entries: []*pb.Entry{entry(4, 2, ""), entry(5, 2, "five"), entry(6, 2, "six")}},
		{entries: []*pb.Entry{entry(5, 2, "FIVE")}}, // replaces 5 and 6
		{entries: []*pb.Entry{entry(6, 2, "SIX")}},
		{hard: hard(3, 2, 6), reset: &position{9, 3}, entries: []*pb.Entry{entry(10, 3, "ten")}},
		{entries: []*pb.Entry{entry(11, 3, fmt.Sprintf("%0900d", 7))}},
		{entries: []*pb.Entry{entry(12, 3, "twelve")}},
		{hard: hard(3, 2, 12), entries: []*pb.Entry{entry(13, 3, fmt.Sprintf("%01100d", 8))}},
	} {
		require.NoError(t, w.save(s), "%d", i)
		require.NoError(t, st.add(s))
		after = append(after, st.show())
	}
	require.NoError(t, w.close())
	return fs, after
}

func replay(fs *memFS) (*walState, *wal, error) {
	w, st, err := openWAL(fs, "d", 3, 200)
	if err != nil {
		return nil, nil, err
	}
	return st, w, nil
}

func TestLogIsReplayedAsWritten(t *testing.T) {
	fs, after := written(t)
	st, w, err := replay(fs)
	require.NoError(t, err)
	require.Equal(t, after[len(after)-1], st.show())
	require.Zero(t, st.torn)
	require.Greater(t, len(w.segments), 2)
	// And it goes on.
	require.NoError(t, w.save(&saved{entries: []*pb.Entry{entry(14, 3, "x")}}))
	require.NoError(t, w.close())
	st, _, err = replay(fs)
	require.NoError(t, err)
	require.Equal(t, after[len(after)-1]+" 14@3=x", st.show())
}

func TestAnyCutOfTheLastSegmentIsATornTail(t *testing.T) {
	fs, after := written(t)
	_, w, err := replay(fs)
	require.NoError(t, err)
	last := segmentName(w.segments[len(w.segments)-1].number)
	size := len(fs.names["d/"+last].data)
	for cut := segmentHeader; cut < size; cut++ {
		c := fs.copy()
		c.edit(last, func(b []byte) []byte { return b[:cut] })
		st, w, err := replay(c)
		if cut < segmentHeader+frameHeader+1 {
			// A segment is never there without its first frame.
			if err != nil {
				require.ErrorIs(t, err, ErrCorrupt)
				continue
			}
		}
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			require.Less(t, cut, segmentHeader+64, "only the first frame may not be cut")
			continue
		}
		require.Contains(t, after, st.show(), "cut at %d", cut)
		require.NoError(t, w.save(&saved{hard: hard(9, 9, 0)}))
		require.NoError(t, w.close())
		again, _, err := replay(c)
		require.NoError(t, err, "cut at %d, then written on", cut)
		require.Equal(t, uint64(9), again.hard.GetTerm())
	}
}

func TestATornTailMayHoldSectorsOfZeros(t *testing.T) {
	fs, after := written(t)
	_, w, err := replay(fs)
	require.NoError(t, err)
	last := segmentName(w.segments[len(w.segments)-1].number)
	whole := len(fs.names["d/"+last].data)
	// The last frame is longer than a sector. Lose each of its sectors.
	lost := 0
	for at := sector; at+sector <= whole; at += sector {
		c := fs.copy()
		c.edit(last, func(b []byte) []byte { clear(b[at : at+sector]); return b })
		st, _, err := replay(c)
		require.NoError(t, err)
		require.Equal(t, after[len(after)-2], st.show())
		lost++
	}
	require.Positive(t, lost)
	c := fs.copy()
	c.edit(last, func(b []byte) []byte { return append(b, make([]byte, 3000)...) })
	st, _, err := replay(c)
	require.NoError(t, err, "a file that was extended and not written")
	require.Equal(t, after[len(after)-1], st.show())
}

func TestAnyFlippedBitIsRefused(t *testing.T) {
	fs, _ := written(t)
	_, w, err := replay(fs)
	require.NoError(t, err)
	for _, seg := range w.segments {
		name := segmentName(seg.number)
		for at := range len(fs.names["d/"+name].data) {
			c := fs.copy()
			c.edit(name, func(b []byte) []byte { b[at] ^= 1 << (at % 8); return b })
			_, _, err := replay(c)
			if err != nil && at >= 8 && at < 12 {
				continue // the node id: another message
			}
			require.ErrorIs(t, err, ErrCorrupt, "segment %s, byte %d", name, at)
		}
	}
}

func TestMissingFilesAreRefused(t *testing.T) {
	fs, _ := written(t)
	_, w, err := replay(fs)
	require.NoError(t, err)
	for i, seg := range w.segments {
		c := fs.copy()
		require.NoError(t, c.Remove("d/"+segmentName(seg.number)))
		_, _, err := replay(c)
		switch i {
		case 0, len(w.segments) - 1: // what is left is a log too; whether it is enough, the snapshot tells
		default:
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, "is missing between")
		}
	}
	c := fs.copy()
	_, err = c.Create("d/wal-x.log")
	require.NoError(t, err)
	_, _, err = replay(c)
	require.ErrorContains(t, err, "does not belong there")
	_, err = fs.Create("d/" + segmentName(99) + ".tmp")
	require.NoError(t, err)
	_, _, err = replay(fs)
	require.NoError(t, err, "an unfinished segment is removed")
	_, _, err = openWAL(fs, "d", 4, 200)
	require.ErrorContains(t, err, "belongs to node 3")
}

func TestOldSegmentsAreReleased(t *testing.T) {
	fs, after := written(t)
	st, w, err := replay(fs)
	require.NoError(t, err)
	before := len(w.segments)
	require.NoError(t, w.release(5))
	require.Len(t, w.segments, before, "a reset to 9 is in the first segment")
	require.NoError(t, w.release(13))
	require.Len(t, w.segments, 1, "the open one stays")
	require.NoError(t, w.close())
	st2, _, err := replay(fs)
	require.NoError(t, err)
	require.Equal(t, st.hard.GetTerm(), st2.hard.GetTerm(), "every segment begins with the hard state: %v", after)
}

func TestFailedSyncEndsTheLog(t *testing.T) {
	fs := newMemFS()
	w, _, err := openWAL(fs, "d", 3, 200)
	require.NoError(t, err)
	fs.failing = errPowerLoss
	require.ErrorIs(t, w.save(&saved{hard: hard(1, 1, 1)}), errPowerLoss)
	fs.failing = nil
	require.ErrorIs(t, w.save(&saved{hard: hard(1, 1, 1)}), errPowerLoss, "the kernel may have dropped the pages")
}

func TestSnapshotFileIsWholeOrRefused(t *testing.T) {
	snap := &pb.Snapshot{Metadata: &pb.SnapshotMetadata{Index: new(uint64(7)), Term: new(uint64(2)), ConfState: &pb.ConfState{Voters: []uint64{1, 2}}},
		Data: metadata.Encode(nil, []metadata.Record{&metadata.ClusterIDRecord{ClusterID: "c"}})}
	fs := newMemFS()
	require.NoError(t, writeSnapshot(fs, "d", 3, snap))
	got, err := loadSnapshot(fs, "d", 3)
	require.NoError(t, err)
	require.Equal(t, snap.GetData(), got.GetData())
	require.Equal(t, []uint64{1, 2}, got.GetMetadata().GetConfState().GetVoters())
	_, err = loadSnapshot(fs, "d", 4)
	require.ErrorContains(t, err, "belongs to node 3")
	size := len(fs.names["d/"+snapshotName(7)].data)
	for at := range size {
		c := fs.copy()
		c.edit(".snap", func(b []byte) []byte { b[at] ^= 4; return b })
		_, err := loadSnapshot(c, "d", 3)
		require.ErrorIs(t, err, ErrCorrupt, "byte %d", at)
		c = fs.copy()
		c.edit(".snap", func(b []byte) []byte { return b[:at] })
		_, err = loadSnapshot(c, "d", 3)
		require.ErrorIs(t, err, ErrCorrupt, "cut at %d", at)
	}
	// Old and unfinished ones go.
	snap.Metadata.Index = new(uint64(9))
	require.NoError(t, writeSnapshot(fs, "d", 3, snap))
	_, err = fs.Create("d/" + snapshotName(12) + ".tmp")
	require.NoError(t, err)
	got, err = loadSnapshot(fs, "d", 3)
	require.NoError(t, err)
	require.Equal(t, uint64(9), got.GetMetadata().GetIndex())
	names, err := fs.List("d")
	require.NoError(t, err)
	require.Equal(t, []string{snapshotName(9)}, names)
}

// FuzzWAL gives arbitrary bytes behind a good header, with a good checksum on the first frame's header and payload when
// fix is set, so that the payload's decoder is reached.
func FuzzWAL(f *testing.F) {
	fs, _ := written(f)
	for _, i := range fs.names {
		f.Add(i.data[segmentHeader:], false)
		f.Add(i.data[segmentHeader:], true)
	}
	f.Add(appendSaved(nil, &saved{hard: hard(1, 2, 3), reset: &position{1, 2}, entries: []*pb.Entry{entry(4, 5, "six")}}), true)
	f.Fuzz(func(t *testing.T, b []byte, fix bool) {
		header := append([]byte(nil), walMagic...)
		header = binary.LittleEndian.AppendUint32(header, 3)
		header = binary.LittleEndian.AppendUint64(header, 1)
		header = binary.LittleEndian.AppendUint32(header, crc32.Checksum(header, castagnoli))
		first := appendFrame(nil, 1, &saved{hard: hard(0, 0, 0)})
		if fix {
			h := make([]byte, frameHeader)
			binary.LittleEndian.PutUint32(h[0:], uint32(len(b)))
			binary.LittleEndian.PutUint64(h[4:], 2)
			binary.LittleEndian.PutUint32(h[12:], crc32.Checksum(b, castagnoli))
			binary.LittleEndian.PutUint32(h[16:], crc32.Checksum(h[:16], castagnoli))
			b = slices.Concat(h, b)
		}
		fs := newMemFS()
		i := &inode{data: append(append(header, first...), b...)}
		fs.names["d/"+segmentName(1)] = i
		st, w, err := replay(fs)
		if err != nil {
			return
		}
		for k, e := range st.entries {
			require.Equal(t, st.entries[0].GetIndex()+uint64(k), e.GetIndex())
		}
		require.NoError(t, w.save(&saved{hard: hard(st.hard.GetTerm(), 1, 0)}))
		again, _, err := replay(fs)
		require.NoError(t, err)
		require.Equal(t, st.hard.GetTerm(), again.hard.GetTerm())
	})
}

// FuzzSnapshot gives arbitrary bytes to the snapshot's decoder.
func FuzzSnapshot(f *testing.F) {
	b, err := encodeSnapshot(1, &pb.Snapshot{Metadata: &pb.SnapshotMetadata{Index: new(uint64(7)), Term: new(uint64(2)), ConfState: &pb.ConfState{Voters: []uint64{1}}}, Data: []byte{'M', 1, 0}})
	require.NoError(f, err)
	f.Add(b[:len(b)-4])
	f.Fuzz(func(t *testing.T, b []byte) {
		b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
		_, s, err := decodeSnapshot(b)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		_, _ = imageOf(s)
	})
}

// FuzzMessage gives arbitrary bytes to a node as a message of a peer.
func FuzzMessage(f *testing.F) {
	f.Add([]byte{})
	m := &pb.Message{Type: pb.MsgApp.Enum(), To: new(uint64(2)), From: new(uint64(3)), Term: new(uint64(2)), Index: new(uint64(1)), LogTerm: new(uint64(1)), Entries: []*pb.Entry{entry(2, 2, "x")}}
	f.Add(marshal(f, m))
	f.Add(marshal(f, &pb.Message{Type: pb.MsgVote.Enum(), To: new(uint64(2)), From: new(uint64(1)), Term: new(uint64(9))}))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMessage(b, 1, []int32{0, 1, 2})
		if err != nil {
			return
		}
		require.Equal(t, uint64(2), m.GetTo())
		require.NotEqual(t, uint64(2), m.GetFrom())
	})
}
