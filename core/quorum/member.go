package quorum

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/moldau-io/moldau/core/metadata"
)

// memberConfig is the configuration of a member; see Config for the meanings.
type memberConfig struct {
	nodeID        int32
	voters        []int32
	dir           string
	fs            FS
	logger        *slog.Logger
	electionTicks int
	autonomous    bool // elections by raft's own timeouts, with pre-vote and check-quorum
	segmentBytes  int64
	snapshotBytes int64 // bytes of entries applied after which a snapshot is due
	keepEntries   uint64
}

// member is one voter: raft, its storage and the state machine, moved by calls. It has no goroutine and
// no clock. Not safe for concurrent use.
type member struct {
	cfg     memberConfig
	lock    io.Closer
	rn      *raft.RawNode
	mem     *raft.MemoryStorage
	wal     *wal
	members *pb.ConfState
	image   *metadata.Image
	applied uint64

	lead       uint64
	leading    bool
	term       uint64
	sinceSnap  int64 // bytes of entries applied since the last snapshot
	snapshots  map[uint64]int
	tornBytes  int64
	snapTarget uint64 // index of the newest durable snapshot
}

// event is one thing that happened to the image, in order.
type event struct {
	old, new *metadata.Image
	delta    metadata.Delta
	proposal proposalID // of the entry, zero when it was not a proposal
}

// effects are what a member wants done after a step.
type effects struct {
	messages []*pb.Message
	events   []event
}

// proposalID tells a leader's own entries from others: a random number of the process and a counter.
type proposalID struct{ process, seq uint64 }

const proposalHeader = 1 + 8 + 8

func encodeProposal(id proposalID, records []metadata.Record) []byte {
	b := make([]byte, 0, 256)
	b = append(b, 1)
	b = binary.LittleEndian.AppendUint64(b, id.process)
	b = binary.LittleEndian.AppendUint64(b, id.seq)
	return metadata.Encode(b, records)
}

func decodeProposal(b []byte) (proposalID, []metadata.Record, error) {
	if len(b) < proposalHeader || b[0] != 1 {
		return proposalID{}, nil, fmt.Errorf("entry of %d bytes has no proposal header of a version known to this release", len(b))
	}
	id := proposalID{process: binary.LittleEndian.Uint64(b[1:]), seq: binary.LittleEndian.Uint64(b[9:])}
	records, err := metadata.Decode(b[proposalHeader:])
	return id, records, err
}

// raftID is the id of a node inside raft, where 0 means nobody.
func raftID(node int32) uint64 { return uint64(node) + 1 }

// nodeOf is the reverse; -1 for nobody.
func nodeOf(id uint64) int32 { return int32(id) - 1 }

// initial is the position of the snapshot that every member of a new cluster begins with. It gives the
// members to raft, so that none has to be added.
var initial = position{index: 1, term: 1}

func openMember(cfg memberConfig) (*member, error) {
	m := &member{cfg: cfg, mem: raft.NewMemoryStorage(), snapshots: map[uint64]int{}}
	if err := cfg.fs.MkdirAll(cfg.dir); err != nil {
		return nil, fmt.Errorf("open quorum directory: %w", err)
	}
	var err error
	if m.lock, err = cfg.fs.Lock(filepath.Join(cfg.dir, "lock")); err != nil {
		return nil, fmt.Errorf("open quorum directory: %w", err)
	}
	if err := m.load(); err != nil {
		_ = m.close()
		return nil, err
	}
	return m, nil
}

func (m *member) load() error {
	cfg := &m.cfg
	voters := make([]uint64, len(cfg.voters))
	for i, v := range cfg.voters {
		voters[i] = raftID(v)
	}
	slices.Sort(voters)
	snap, err := loadSnapshot(cfg.fs, cfg.dir, cfg.nodeID)
	if err != nil {
		return err
	}
	w, st, err := openWAL(cfg.fs, cfg.dir, cfg.nodeID, cfg.segmentBytes)
	if err != nil {
		return err
	}
	m.wal, m.tornBytes = w, st.torn
	if snap != nil && st.fresh {
		return fmt.Errorf("%w: there is a snapshot but no log in %s, so the votes of this node are lost", ErrCorrupt, cfg.dir)
	}
	if snap == nil {
		if len(st.entries) > 0 || st.hard.GetTerm() > 0 {
			return fmt.Errorf("%w: there is a log but no snapshot to begin from in %s", ErrCorrupt, cfg.dir)
		}
		snap = &pb.Snapshot{
			Metadata: &pb.SnapshotMetadata{Index: new(initial.index), Term: new(initial.term), ConfState: &pb.ConfState{Voters: voters}},
			Data:     metadata.Encode(nil, nil),
		}
		if err := writeSnapshot(cfg.fs, cfg.dir, cfg.nodeID, snap); err != nil {
			return err
		}
	}
	index, term := snap.GetMetadata().GetIndex(), snap.GetMetadata().GetTerm()
	m.snapTarget = index
	m.members = snap.GetMetadata().GetConfState()
	if have := slices.Sorted(slices.Values(m.members.GetVoters())); !slices.Equal(have, voters) {
		return fmt.Errorf("the metadata in %s is of the voters %v, controller.quorum.voters says %v: voters cannot be changed by configuration", cfg.dir, nodesOf(have), nodesOf(voters))
	}

	entries := st.entries
	var reset *position
	if n := uint64(len(entries)); n > 0 {
		base := entries[0].GetIndex()
		switch {
		case base > index+1:
			return fmt.Errorf("%w: entries %d to %d are missing between the snapshot and the log in %s", ErrCorrupt, index+1, base-1, cfg.dir)
		case base == index+1:
		case index >= base+n || entries[index-base].GetTerm() != term:
			// The snapshot came from the leader, and there was a crash before the log was reset.
			entries = nil
			reset = &position{index: index, term: term}
		default:
			entries = entries[index-base+1:]
		}
	}
	hard := &pb.HardState{Term: new(st.hard.GetTerm()), Vote: new(st.hard.GetVote()), Commit: new(max(st.hard.GetCommit(), index))}
	if hard.GetTerm() < term {
		hard.Term, hard.Vote = new(term), new(uint64(0))
	}
	if last := index + uint64(len(entries)); hard.GetCommit() > last {
		return fmt.Errorf("%w: entries up to %d were committed, the log in %s ends at %d", ErrCorrupt, hard.GetCommit(), cfg.dir, last)
	}

	if reset != nil {
		if err := w.save(&saved{hard: hard, reset: reset}); err != nil {
			return err
		}
	}
	if m.image, err = imageOf(snap); err != nil {
		return err
	}
	if err := m.mem.ApplySnapshot(snap); err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	if err := m.mem.SetHardState(hard); err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	if err := m.mem.Append(entries); err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	m.applied = index
	m.rn, err = raft.NewRawNode(&raft.Config{
		ID: raftID(cfg.nodeID), ElectionTick: cfg.electionTicks, HeartbeatTick: 1, Storage: m.mem, Applied: index,
		MaxSizePerMsg: 1 << 20, MaxCommittedSizePerReady: 16 << 20, MaxInflightMsgs: 64, MaxInflightBytes: 64 << 20,
		CheckQuorum: cfg.autonomous, PreVote: cfg.autonomous, DisableProposalForwarding: true,
		Logger: raftLogger{cfg.logger},
	})
	if err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	return nil
}

func nodesOf(ids []uint64) []int32 {
	out := make([]int32, len(ids))
	for i, id := range ids {
		out[i] = nodeOf(id)
	}
	return out
}

// imageOf rebuilds the image of a snapshot.
func imageOf(snap *pb.Snapshot) (*metadata.Image, error) {
	records, err := metadata.Decode(snap.GetData())
	if err != nil {
		return nil, fmt.Errorf("read snapshot %d: %w", snap.GetMetadata().GetIndex(), err)
	}
	im, _, err := metadata.Empty().Apply(positionOf(snap.GetMetadata().GetIndex(), snap.GetMetadata().GetTerm()), records)
	if err != nil {
		return nil, fmt.Errorf("read snapshot %d: %w", snap.GetMetadata().GetIndex(), err)
	}
	return im, nil
}

func positionOf(index, term uint64) metadata.Position {
	return metadata.Position{Offset: int64(index), Epoch: int32(term)}
}

// sole reports whether this member is the only voter.
func (m *member) sole() bool {
	return len(m.members.GetVoters()) == 1 && m.members.GetVoters()[0] == raftID(m.cfg.nodeID)
}

// canDecide reports whether the image is the newest there can be: this member leads and has applied an
// entry of its own term.
func (m *member) canDecide() bool { return m.leading && uint64(uint32(m.image.Epoch)) == m.term }

// tick moves raft's clock.
func (m *member) tick() {
	m.rn.Tick()
	for id := range m.snapshots {
		m.snapshots[id]++
		if m.snapshots[id] > 2*m.cfg.electionTicks {
			// Nobody says whether the snapshot arrived. Ask again: if it did, the answer shows it.
			delete(m.snapshots, id)
			m.rn.ReportSnapshot(id, raft.SnapshotFailure)
		}
	}
}

// process handles everything that raft has ready, in the order that the invariants demand.
func (m *member) process() (effects, error) {
	var out effects
	for m.rn.HasReady() {
		rd := m.rn.Ready()
		if rd.SoftState != nil {
			m.lead = rd.Lead
			m.leading = rd.RaftState == raft.StateLeader
		}
		if err := m.persist(&rd); err != nil {
			return out, err
		}
		for _, msg := range rd.Messages {
			if msg.GetType() == pb.MsgSnap {
				m.snapshots[msg.GetTo()] = 0
			}
			out.messages = append(out.messages, msg)
		}
		if !raft.IsEmptySnap(rd.Snapshot) {
			next, err := imageOf(rd.Snapshot)
			if err != nil {
				return out, err
			}
			out.events = append(out.events, event{old: m.image, new: next, delta: metadata.Diff(m.image, next)})
			m.image, m.applied = next, rd.Snapshot.GetMetadata().GetIndex()
			m.members = rd.Snapshot.GetMetadata().GetConfState()
			m.sinceSnap = 0
		}
		for _, e := range rd.CommittedEntries {
			ev, err := m.apply(e)
			if err != nil {
				return out, err
			}
			out.events = append(out.events, ev)
		}
		m.rn.Advance(rd)
	}
	m.term = m.rn.BasicStatus().HardState.GetTerm()
	return out, nil
}

// persist makes a Ready durable with one frame. A commit index that moved alone is not written: it is
// learned again, and goes along with the next frame.
func (m *member) persist(rd *raft.Ready) error {
	s := saved{entries: rd.Entries}
	if rd.HardState != nil {
		if err := m.mem.SetHardState(rd.HardState); err != nil {
			return err
		}
	}
	if !raft.IsEmptySnap(rd.Snapshot) {
		if err := writeSnapshot(m.cfg.fs, m.cfg.dir, m.cfg.nodeID, rd.Snapshot); err != nil {
			return err
		}
		s.reset = &position{index: rd.Snapshot.GetMetadata().GetIndex(), term: rd.Snapshot.GetMetadata().GetTerm()}
		if err := m.mem.ApplySnapshot(rd.Snapshot); err != nil {
			return fmt.Errorf("install snapshot: %w", err)
		}
	}
	if rd.MustSync || s.reset != nil {
		hard, _, err := m.mem.InitialState()
		if err != nil {
			return err
		}
		s.hard = &pb.HardState{Term: new(hard.GetTerm()), Vote: new(hard.GetVote()), Commit: new(hard.GetCommit())}
		if err := m.save(s); err != nil {
			return err
		}
	}
	if err := m.mem.Append(rd.Entries); err != nil {
		return err
	}
	if s.reset != nil {
		return m.dropBefore(s.reset.index)
	}
	return nil
}

// save writes s as one frame, or as several, each synced before the next, when it has more entries than fit
// one. Only the last may say that they are committed.
func (m *member) save(s saved) error {
	rest, commit := s.entries, s.hard.GetCommit()
	for {
		n, size := 0, 0
		for n < len(rest) && (n == 0 || size+len(rest[n].GetData()) < maxFrame/2) {
			size += len(rest[n].GetData())
			n++
		}
		part := s
		part.entries, rest = rest[:n], rest[n:]
		if len(rest) > 0 {
			part.hard = &pb.HardState{Term: new(s.hard.GetTerm()), Vote: new(s.hard.GetVote()), Commit: new(min(commit, part.entries[n-1].GetIndex()))}
		}
		if err := m.wal.save(&part); err != nil {
			return err
		}
		if len(rest) == 0 {
			return nil
		}
		s.reset = nil
	}
}

func (m *member) apply(e *pb.Entry) (event, error) {
	at := positionOf(e.GetIndex(), e.GetTerm())
	var id proposalID
	var records []metadata.Record
	switch {
	case e.GetType() != pb.EntryNormal:
		return event{}, fmt.Errorf("apply entry %d: membership changes are not known to this release", e.GetIndex())
	case len(e.GetData()) > 0:
		var err error
		if id, records, err = decodeProposal(e.GetData()); err != nil {
			return event{}, fmt.Errorf("apply entry %d: %w", e.GetIndex(), err)
		}
	}
	next, delta, err := m.image.Apply(at, records)
	if err != nil {
		return event{}, err
	}
	ev := event{old: m.image, new: next, delta: delta, proposal: id}
	m.image, m.applied = next, e.GetIndex()
	m.sinceSnap += int64(len(e.GetData()))
	return ev, nil
}

// propose gives the records to raft as one entry.
func (m *member) propose(id proposalID, records []metadata.Record) error {
	b := encodeProposal(id, records)
	if len(b) > maxProposal {
		return fmt.Errorf("%w: %d records take %d bytes, at most %d are possible in one change", ErrTooLarge, len(records), len(b), maxProposal)
	}
	return m.rn.Propose(b)
}

// snapshotDue reports whether enough was applied since the last snapshot.
func (m *member) snapshotDue() bool {
	return m.sinceSnap >= m.cfg.snapshotBytes && m.applied > m.snapTarget
}

// pendingSnapshot is a snapshot about to be written; write can run while the member goes on.
type pendingSnapshot struct {
	image   *metadata.Image
	members *pb.ConfState
	data    []byte
}

func (m *member) beginSnapshot() *pendingSnapshot {
	m.sinceSnap = 0
	return &pendingSnapshot{image: m.image, members: m.members}
}

func (p *pendingSnapshot) write(fsys FS, dir string, nodeID int32) error {
	p.data = metadata.Encode(nil, p.image.Records())
	return writeSnapshot(fsys, dir, nodeID, &pb.Snapshot{
		Metadata: &pb.SnapshotMetadata{Index: new(uint64(p.image.Offset)), Term: new(uint64(uint32(p.image.Epoch))), ConfState: p.members},
		Data:     p.data,
	})
}

// endSnapshot makes use of a snapshot that is durable: it forgets the log before it.
func (m *member) endSnapshot(p *pendingSnapshot) error {
	index := uint64(p.image.Offset)
	if index <= m.snapTarget {
		return nil // the leader sent a newer one meanwhile
	}
	if _, err := m.mem.CreateSnapshot(index, p.members, p.data); err != nil {
		return fmt.Errorf("use snapshot %d: %w", index, err)
	}
	// Some entries stay for followers that are only a little behind.
	first, err := m.mem.FirstIndex()
	if err != nil {
		return err
	}
	if keep := m.cfg.keepEntries; index > keep && index-keep > first {
		if err := m.mem.Compact(index - keep); err != nil {
			return fmt.Errorf("compact raft log: %w", err)
		}
	}
	return m.dropBefore(index)
}

// dropBefore removes the files that a durable snapshot at the index replaces.
func (m *member) dropBefore(index uint64) error {
	m.snapTarget = max(m.snapTarget, index)
	names, err := m.cfg.fs.List(m.cfg.dir)
	if err != nil {
		return fmt.Errorf("remove old snapshots: %w", err)
	}
	if err := removeSnapshotsBefore(m.cfg.fs, m.cfg.dir, index, names); err != nil {
		return err
	}
	return m.wal.release(index)
}

func (m *member) close() error {
	var err error
	if m.wal != nil {
		err = m.wal.close()
	}
	if m.lock != nil {
		if e := m.lock.Close(); err == nil {
			err = e
		}
		m.lock = nil
	}
	return err
}
