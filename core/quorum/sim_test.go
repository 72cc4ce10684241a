package quorum

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/moldau-io/moldau/core/metadata"
)

func marshal(t testing.TB, m *pb.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	require.NoError(t, err)
	return b
}

// sim is a cluster of members on one thread. Messages are lost, repeated and reordered, members crash and
// lose what they did not sync, all from one seed. It checks that members agree on the image at every offset, and
// that nothing that was acknowledged is ever gone.
type sim struct {
	t       *testing.T
	seed    uint64
	rng     *rand.Rand
	fs      []*memFS
	m       []*member
	net     [][]byte
	to      []int32
	pending map[proposalID]string // proposed, not known to be committed
	acked   map[string]bool
	images  map[int64]string // the image at each offset, of whoever was there first
	seq     uint64
	deaths  int
}

func newSim(t *testing.T, seed uint64, n int) *sim {
	s := &sim{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 99)), pending: map[proposalID]string{}, acked: map[string]bool{}, images: map[int64]string{}}
	for range n {
		s.fs = append(s.fs, newMemFS())
		s.m = append(s.m, nil)
	}
	for i := range n {
		s.open(int32(i))
	}
	return s
}

func (s *sim) open(id int32) {
	var voters []int32
	for i := range s.m {
		voters = append(voters, int32(i))
	}
	m, err := openMember(memberConfig{
		nodeID: id, voters: voters, dir: "d", fs: s.fs[id], logger: slog.New(slog.DiscardHandler),
		electionTicks: 1 << 30, // elections come from the seed, not from raft's own randomness
		segmentBytes:  600, snapshotBytes: 400, keepEntries: 3,
	})
	require.NoError(s.t, err, "seed %d: node %d", s.seed, id)
	s.m[id] = m
}

func (s *sim) crash(id int32) {
	s.deaths++
	_ = s.m[id].close()
	s.fs[id].crash(s.rng)
	s.fs[id].failing = nil
	s.open(id)
}

// settle does what a member has ready, and checks what it applied.
func (s *sim) settle(id int32) {
	m := s.m[id]
	out, err := m.process()
	for _, msg := range out.messages {
		s.net = append(s.net, marshal(s.t, msg))
		s.to = append(s.to, nodeOf(msg.GetTo()))
	}
	for _, ev := range out.events {
		image := string(metadata.Encode(nil, ev.new.Records()))
		if was, ok := s.images[ev.new.Offset]; ok {
			require.Equal(s.t, was, image, "seed %d: node %d differs at offset %d", s.seed, id, ev.new.Offset)
		}
		s.images[ev.new.Offset] = image
		if name, mine := s.pending[ev.proposal]; mine {
			s.acked[name] = true // somebody applied it, so it is committed
		}
	}
	if err != nil {
		require.ErrorIs(s.t, err, errPowerLoss, "seed %d: node %d", s.seed, id)
		s.crash(id)
		return
	}
	if m.snapshotDue() {
		p := m.beginSnapshot()
		err := p.write(s.fs[id], "d", id)
		if err == nil && s.rng.IntN(4) > 0 {
			err = m.endSnapshot(p)
		} else if err == nil {
			s.crash(id) // between the snapshot and its use
			return
		}
		if err != nil {
			require.ErrorIs(s.t, err, errPowerLoss, "seed %d", s.seed)
			s.crash(id)
		}
	}
}

func (s *sim) deliver(i int, lossy bool) {
	b, to := s.net[i], s.to[i]
	last := len(s.net) - 1
	if !lossy || s.rng.IntN(20) > 0 { // else it is delivered and stays: a repetition
		s.net[i], s.to[i] = s.net[last], s.to[last]
		s.net, s.to = s.net[:last], s.to[:last]
		if lossy && s.rng.IntN(8) == 0 {
			return // lost
		}
	}
	var voters []int32
	for i := range s.m {
		voters = append(voters, int32(i))
	}
	msg, err := decodeMessage(b, to, voters)
	require.NoError(s.t, err)
	_ = s.m[to].rn.Step(msg)
	s.settle(to)
}

func (s *sim) propose(id int32) {
	m := s.m[id]
	if !m.canDecide() {
		return
	}
	s.seq++
	name := fmt.Sprintf("t%d", s.seq)
	records, err := createTopic(name)(m.image)
	require.NoError(s.t, err)
	pid := proposalID{uint64(id) + 1, s.seq}
	if m.propose(pid, records) == nil {
		s.pending[pid] = name
	}
	s.settle(id)
}

func (s *sim) step() {
	id := s.rng.Int32N(int32(len(s.m)))
	switch r := s.rng.IntN(1000); {
	case r < 700 && len(s.net) > 0:
		s.deliver(s.rng.IntN(len(s.net)), true)
	case r < 880:
		s.propose(id)
	case r < 960:
		s.m[id].tick()
		s.settle(id)
	case r < 980:
		_ = s.m[id].rn.Campaign()
		s.settle(id)
	case r < 990:
		s.crash(id)
	default:
		s.fs[id].failing = errPowerLoss // the next write fails, and the node with it
	}
	if len(s.net) > 300 {
		s.net, s.to = s.net[150:], s.to[150:]
	}
}

// heal stops the faults and lets the cluster come to rest.
func (s *sim) heal() {
	s.net, s.to = nil, nil
	for i := range s.m {
		if s.fs[i].failing != nil {
			s.crash(int32(i))
		}
	}
	for round := range 60 {
		id := int32(round % len(s.m))
		_ = s.m[id].rn.Campaign()
		s.settle(id)
		for range 40 {
			for len(s.net) > 0 {
				s.deliver(0, false)
			}
			for i := range s.m {
				// A leader that waits for word of a snapshot that was lost asks again after some time.
				for to := range s.m[i].snapshots {
					s.m[i].snapshots[to] = 1 << 40
				}
				s.m[i].tick()
				s.settle(int32(i))
			}
		}
		s.propose(id)
		for len(s.net) > 0 {
			s.deliver(0, false)
		}
		for i := range s.m {
			s.m[i].tick()
			s.settle(int32(i))
		}
		for len(s.net) > 0 {
			s.deliver(0, false)
		}
		same := true
		for _, m := range s.m {
			same = same && m.image.Offset == s.m[0].image.Offset && m.image.NumTopics() > 0
		}
		if same && s.m[id].canDecide() {
			return
		}
	}
	s.t.Fatalf("seed %d: the members do not come together", s.seed)
}

func (s *sim) check() {
	for name := range s.acked {
		for id, m := range s.m {
			require.NotNil(s.t, m.image.Topic(name), "seed %d: node %d lost %s, which was acknowledged", s.seed, id, name)
		}
	}
}

func TestClusterSurvivesCrashesAndLostMessages(t *testing.T) {
	seeds := uint64(120)
	if testing.Short() {
		seeds = 20
	}
	acked, deaths, resets := 0, 0, 0
	for seed := range seeds {
		n := 3
		if seed%4 == 3 {
			n = 1
		}
		s := newSim(t, seed, n)
		for range 1200 {
			s.step()
		}
		s.heal()
		s.check()
		acked += len(s.acked)
		deaths += s.deaths
		for _, fs := range s.fs {
			for name := range fs.names {
				if name > "d/"+snapshotName(2) {
					resets++
				}
			}
		}
	}
	t.Logf("%d changes acknowledged, %d crashes, %d snapshots at the end", acked, deaths, resets)
	require.Greater(t, acked, int(seeds)*10, "the simulation did too little")
	require.Greater(t, deaths, int(seeds), "the simulation did too little")
}

func TestTheSameSeedGivesTheSameHistory(t *testing.T) {
	run := func() string {
		s := newSim(t, 7, 3)
		for range 800 {
			s.step()
		}
		out := ""
		for _, m := range s.m {
			out += fmt.Sprint(m.image.Offset, m.image.Epoch, len(s.net), m.lead, string(metadata.Encode(nil, m.image.Records())))
		}
		return out
	}
	require.Equal(t, run(), run())
}
