package group

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The simulation drives one shard through a history that a seed determines: members join, leave, crash and
// come back, messages are delayed, overtake each other and get lost, appends fail cleanly or not, and the
// coordinator crashes or resigns and is loaded again from what survived. After each step it checks:
//
//   - the shard's own bookkeeping (check);
//   - a request is answered at most once, and a resigning shard owes no answer;
//   - in each generation one member at most is told to assign, and whoever is told an assignment in a
//     generation is told one of the same leader's, also after a crash;
//   - commits are accepted from generations in ascending order only, so no member acts in two;
//   - an acknowledged commit is durable, and OffsetFetch shows the last durable commit.
//
// At the end the faults stop, and the members must all come together in one generation.
//
// MOLDAU_SIM_SEED repeats one history, MOLDAU_SIM_RUNS says how many to run.

type call struct {
	client *simClient
	req    kmsg.Request
	resp   kmsg.Response
	value  int64
}

type simClient struct {
	name     string
	instance *string
	version  int16
	member   string
	gen      int32
	leader   bool
	skip     bool
	peers    []kmsg.JoinGroupResponseMember
	state    string // join, sync, stable
	alive    bool
	current  *call
	sentAt   int64
	told     string // the assignment it works by
}

type sim struct {
	r       *rand.Rand
	cfg     Config
	shard   *Shard
	now     int64
	epoch   int32
	clients []*simClient
	toShard []*call
	toOwner []*call
	open    map[*call]bool // delivered and not answered
	batches []Batch        // in flight
	log     []Record

	model map[string]int64 // key -> last durable commit; absent: none
	dirty map[string]bool  // keys that a failed append may have changed in the log

	assigners map[int32]string // generation of this incarnation -> who assigns
	nonces    map[int32]string // generation -> the assignment's mark
	lastGen   int32            // the newest generation whose commit was accepted
	calm      bool
	ids       int
	trace     []string
}

const simGroup = "g"

func newSim(seed uint64) *sim {
	m := &sim{r: rand.New(rand.NewPCG(seed, 7)), open: map[*call]bool{}, model: map[string]int64{}, dirty: map[string]bool{},
		assigners: map[int32]string{}, nonces: map[int32]string{}, now: 1_700_000_000_000}
	m.cfg = Config{
		InitialRebalanceDelayMs: []int32{-1, 500, 3000}[m.r.IntN(3)], MinSessionTimeoutMs: 1,
		OffsetsRetentionMs: 600_000, OffsetsRetentionCheckMs: 60_000, MaxBatchBytes: 64,
		NewMemberSuffix: func() string { m.ids++; return strconv.Itoa(m.ids) },
	}
	if m.r.IntN(4) == 0 {
		m.cfg.MaxInflightBytes = 400
	}
	for i := range 2 + m.r.IntN(4) {
		c := &simClient{name: fmt.Sprintf("c%d", i), version: int16(m.r.IntN(10)), state: "join", alive: true}
		if c.version >= 5 && m.r.IntN(2) == 0 {
			c.instance = kmsg.StringPtr("i" + c.name)
		}
		m.clients = append(m.clients, c)
	}
	m.load()
	return m
}

func (m *sim) note(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf("%d ", m.now-1_700_000_000_000)+fmt.Sprintf(format, args...))
}

func (m *sim) at() time.Time { return time.UnixMilli(m.now) }

// load makes a shard from the log.
func (m *sim) load() {
	m.epoch++
	m.shard = NewShard(m.cfg)
	m.assigners = map[int32]string{}
	for i, r := range m.log {
		m.must(m.shard.Replay(StoredRecord{Offset: int64(i), Key: r.Key, Value: r.Value, ProducerID: -1}))
	}
	m.model, m.dirty = map[string]int64{}, map[string]bool{}
	for _, r := range m.log {
		m.apply(r)
	}
	m.step(Loaded{LeaderEpoch: m.epoch})
	if m.shard.groups[simGroup] == nil {
		m.newGroup()
	}
}

// newGroup is the end of a group: generations count from 1 again.
func (m *sim) newGroup() {
	m.nonces, m.lastGen = map[int32]string{}, 0
}

func (m *sim) apply(r Record) {
	if r.Key[1] != keyOffset {
		return
	}
	delete(m.dirty, string(r.Key))
	delete(m.model, string(r.Key))
	if r.Value != nil {
		v, err := decodeOffsetValue(r.Value)
		m.must(err)
		m.model[string(r.Key)] = v.offset
	}
}

type simFailure struct{ err error }

func (m *sim) must(err error) {
	if err != nil {
		panic(simFailure{err})
	}
}

func (m *sim) fail(format string, args ...any) { m.must(fmt.Errorf(format, args...)) }

func (m *sim) step(ev Event) {
	batches, effects := m.shard.Step(ev, m.at())
	m.batches = append(m.batches, batches...)
	for _, b := range batches {
		for _, r := range b.Records {
			if r.Key[1] == keyGroup && r.Value == nil {
				m.assigners = map[int32]string{}
				m.newGroup()
			}
		}
	}
	for _, e := range effects {
		if e.Response == nil {
			continue
		}
		c := e.Waiter.(*call)
		if !m.open[c] {
			m.fail("a second answer to %s: %+v", kmsg.NameForKey(c.req.Key()), e.Response)
		}
		delete(m.open, c)
		if c.req.GetVersion() != e.Response.GetVersion() {
			m.fail("the answer to %s v%d has version %d", kmsg.NameForKey(c.req.Key()), c.req.GetVersion(), e.Response.GetVersion())
		}
		c.resp = e.Response
		m.answered(c)
		m.toOwner = append(m.toOwner, c)
	}
	m.must(m.shard.check())
}

// answered checks an answer as it leaves the shard.
func (m *sim) answered(c *call) {
	switch resp := c.resp.(type) {
	case *kmsg.JoinGroupResponse:
		m.note("%s joined: code %d gen %d leader %s member %s skip %v", c.client.name, resp.ErrorCode, resp.Generation, resp.LeaderID, resp.MemberID, resp.SkipAssignment)
		if resp.ErrorCode == 0 && resp.LeaderID == resp.MemberID && !resp.SkipAssignment {
			if old, ok := m.assigners[resp.Generation]; ok && old != resp.MemberID {
				m.fail("generation %d has two leaders, %s and %s", resp.Generation, old, resp.MemberID)
			}
			m.assigners[resp.Generation] = resp.MemberID
		}
	case *kmsg.SyncGroupResponse:
		req := c.req.(*kmsg.SyncGroupRequest)
		m.note("%s synced: code %d gen %d %q", c.client.name, resp.ErrorCode, req.Generation, resp.MemberAssignment)
		if resp.ErrorCode == 0 {
			nonce, _, _ := strings.Cut(string(resp.MemberAssignment), "|")
			if nonce == "" {
				m.fail("%s has no assignment in generation %d", c.client.name, req.Generation)
			}
			if old, ok := m.nonces[req.Generation]; ok && old != nonce {
				m.fail("generation %d has two assignments, %s and %s", req.Generation, old, nonce)
			}
			m.nonces[req.Generation] = nonce
		}
	case *kmsg.OffsetCommitResponse:
		req := c.req.(*kmsg.OffsetCommitRequest)
		code := resp.Topics[0].Partitions[0].ErrorCode
		m.note("%s committed %d: code %d gen %d", c.client.name, c.value, code, req.Generation)
		if code == 0 {
			key := appendOffsetKey(nil, simGroup, "t", req.Topics[0].Partitions[0].Partition)
			if got, ok := m.model[string(key)]; !ok || got != c.value {
				m.fail("commit %d is acknowledged and not durable: %d %v", c.value, got, ok)
			}
		}
	}
}

// deliver gives the oldest or some request to the shard.
func (m *sim) deliver() {
	if len(m.toShard) == 0 {
		return
	}
	i := 0
	if !m.calm {
		i = m.r.IntN(len(m.toShard))
	}
	c := m.toShard[i]
	m.toShard = append(m.toShard[:i], m.toShard[i+1:]...)
	if !m.calm && m.r.IntN(20) == 0 {
		m.note("%s: request lost", c.client.name)
		return
	}
	m.open[c] = true
	switch r := c.req.(type) {
	case *kmsg.JoinGroupRequest:
		m.step(JoinGroup{Context: RequestContext{ClientID: c.client.name}, Request: r, Waiter: c})
	case *kmsg.SyncGroupRequest:
		m.step(SyncGroup{Request: r, Waiter: c})
	case *kmsg.HeartbeatRequest:
		m.step(Heartbeat{Request: r, Waiter: c})
	case *kmsg.LeaveGroupRequest:
		m.step(LeaveGroup{Request: r, Waiter: c})
	case *kmsg.DeleteGroupsRequest:
		m.step(DeleteGroups{Groups: r.Groups, Waiter: c})
		if !m.open[c] {
			c.resp.SetVersion(c.req.GetVersion())
		}
	case *kmsg.OffsetCommitRequest:
		resp := kmsg.NewPtrOffsetCommitResponse()
		resp.Version = r.Version
		rt := kmsg.NewOffsetCommitResponseTopic()
		rt.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, 1)
		resp.Topics = append(resp.Topics, rt)
		before := len(m.batches)
		m.step(OffsetCommit{Request: r, Response: resp, Names: []string{"t"}, IDs: make([][16]byte, 1), Waiter: c})
		if len(m.batches) > before && r.Generation >= 0 {
			if r.Generation < m.lastGen {
				m.fail("a commit of generation %d is accepted after one of %d", r.Generation, m.lastGen)
			}
			m.lastGen = r.Generation
		}
	}
}

// append settles the oldest batch in flight.
func (m *sim) append() {
	if len(m.batches) == 0 {
		return
	}
	b := m.batches[0]
	m.batches = m.batches[1:]
	if b.LeaderEpoch != m.epoch {
		m.fail("batch of epoch %d in epoch %d", b.LeaderEpoch, m.epoch)
	}
	how := m.r.IntN(40)
	if m.calm {
		how = 39
	}
	switch how {
	case 0: // fails, and is not in the log
		m.note("append fails")
		m.step(Appended{Seq: b.Seq, Err: fmt.Errorf("append: %w", kerr.NotEnoughReplicas)})
	case 1: // fails, and is in the log all the same
		m.note("append fails, in the log")
		m.log = append(m.log, b.Records...)
		for _, r := range b.Records {
			m.dirty[string(r.Key)] = true
		}
		m.step(Appended{Seq: b.Seq, Err: errors.New("disk")})
	default:
		m.log = append(m.log, b.Records...)
		for _, r := range b.Records {
			m.apply(r)
		}
		m.step(Appended{Seq: b.Seq})
	}
}

// crash loses the shard, and some or all of what is in flight.
func (m *sim) crash() {
	resign := m.r.IntN(2) == 0
	m.note("crash, resigned %v", resign)
	if resign {
		n := len(m.batches)
		m.step(Resigned{})
		m.batches = m.batches[:n]
		if len(m.open) > 0 {
			m.fail("%d requests are not answered by a shard that resigned", len(m.open))
		}
	}
	m.open, m.toShard = map[*call]bool{}, nil
	// As in Kafka, the number of a generation without an assignment can come again after a crash. Clients whose
	// connection breaks before they have their assignment join again, so they do not mix the two up.
	m.toOwner = slices.DeleteFunc(m.toOwner, func(c *call) bool { return c.req.Key() == int16(kmsg.JoinGroup) })
	for _, c := range m.clients {
		if c.state == "sync" {
			c.state, c.current = "join", nil
		}
	}
	for _, b := range m.batches[:m.r.IntN(len(m.batches)+1)] {
		m.log = append(m.log, b.Records...)
	}
	m.batches = nil
	m.load()
}

func (m *sim) send(c *simClient, req kmsg.Request, value int64) {
	c.current = &call{client: c, req: req, value: value}
	c.sentAt = m.now
	m.toShard = append(m.toShard, c.current)
}

// act lets a client do what it does next.
func (m *sim) act(c *simClient) {
	if c.current != nil {
		if m.now-c.sentAt > 30_000 {
			c.current = nil // gave up waiting
			if c.state == "sync" {
				c.state = "join"
			}
			return
		}
		if m.calm || m.r.IntN(10) > 0 {
			return
		}
		c.current = nil // lost its connection
		if c.state == "sync" {
			c.state = "join"
		}
	}
	if !c.alive {
		if m.calm || m.r.IntN(3) == 0 { // comes back, with nothing but its instance id
			*c = simClient{name: c.name, instance: c.instance, version: c.version, state: "join", alive: true}
		}
		return
	}
	if !m.calm && m.r.IntN(30) == 0 { // dies, some politely
		if c.member != "" && m.r.IntN(2) == 0 {
			l := leaveReq(3, simGroup, leaver(c.member, c.instance))
			m.send(c, l, 0)
		}
		m.note("%s dies", c.name)
		c.alive, c.current = false, nil
		return
	}
	switch c.state {
	case "join":
		j := joinReq(c.version, simGroup, c.member, c.instance, "p:"+c.name)
		j.SessionTimeoutMillis, j.RebalanceTimeoutMillis = 10_000, 20_000
		m.send(c, j, 0)
	case "sync":
		s := syncReq(4, simGroup, c.member, c.gen, c.instance)
		if c.leader && !c.skip {
			nonce := fmt.Sprintf("%s-%d-%d", c.member, c.gen, m.r.IntN(1<<30))
			for _, p := range c.peers {
				a := kmsg.NewSyncGroupRequestGroupAssignment()
				a.MemberID, a.MemberAssignment = p.MemberID, []byte(nonce+"|"+p.MemberID)
				s.GroupAssignment = append(s.GroupAssignment, a)
			}
		}
		m.send(c, s, 0)
	case "stable":
		if m.r.IntN(2) == 0 {
			m.send(c, beatReq(simGroup, c.member, c.gen, c.instance), 0)
			return
		}
		m.ids++
		r := commitReq(9, simGroup, c.member, c.gen, "t", [16]byte{}, int32(m.r.IntN(3)), int64(m.ids), "")
		r.InstanceID = c.instance
		m.send(c, r, int64(m.ids))
	}
}

// hear gives an answer to its client.
func (m *sim) hear() {
	if len(m.toOwner) == 0 {
		return
	}
	i := 0
	if !m.calm {
		i = m.r.IntN(len(m.toOwner))
	}
	k := m.toOwner[i]
	m.toOwner = append(m.toOwner[:i], m.toOwner[i+1:]...)
	c := k.client
	if c == nil || c.current != k || !c.alive || !m.calm && m.r.IntN(20) == 0 {
		return // nobody listens, or the answer is lost
	}
	c.current = nil
	var code int16
	switch r := k.resp.(type) {
	case *kmsg.JoinGroupResponse:
		code = r.ErrorCode
		if code == codeMemberIDRequired {
			c.member = r.MemberID
			return
		}
		if code == 0 {
			c.member, c.gen, c.leader, c.skip, c.peers = r.MemberID, r.Generation, r.LeaderID == r.MemberID, r.SkipAssignment, r.Members
			c.state = "sync"
			return
		}
	case *kmsg.SyncGroupResponse:
		if code = r.ErrorCode; code == 0 {
			c.state, c.told = "stable", string(r.MemberAssignment)
			return
		}
	case *kmsg.HeartbeatResponse:
		code = r.ErrorCode
	case *kmsg.OffsetCommitResponse:
		code = r.Topics[0].Partitions[0].ErrorCode
	}
	switch code {
	case 0:
	case codeUnknownMemberID:
		c.member, c.state = "", "join"
	case codeIllegalGeneration, codeRebalanceInProgress:
		c.state = "join"
	case codeFencedInstanceID:
		c.alive = false
	default: // look for the coordinator again
		if c.state == "sync" {
			c.state = "join"
		}
	}
}

func (m *sim) fetch() {
	for p := range int32(3) {
		key := string(appendOffsetKey(nil, simGroup, "t", p))
		if m.dirty[key] {
			continue
		}
		want, ok := m.model[key]
		if !ok {
			want = -1
		}
		if f := m.shard.fetchOffset(simGroup, "t", [16]byte{}, p, true); f.offset != want {
			m.fail("partition %d: fetched %d, durable is %d", p, f.offset, want)
		}
	}
}

func (m *sim) tick() {
	m.now += int64(m.r.IntN(1500))
	for m.shard.NextDeadline() <= m.now {
		m.step(Tick{})
	}
}

func (m *sim) run() {
	for range 300 + m.r.IntN(400) {
		switch n := m.r.IntN(100); {
		case n < 30:
			m.act(m.clients[m.r.IntN(len(m.clients))])
		case n < 55:
			m.deliver()
		case n < 72:
			m.hear()
		case n < 87:
			m.append()
		case n < 96:
			m.tick()
		case n < 98:
			m.fetch()
		case n < 99:
			if m.r.IntN(3) == 0 {
				m.crash()
			}
		default:
			d := kmsg.NewPtrDeleteGroupsRequest()
			d.Groups = []string{simGroup}
			if m.r.IntN(4) == 0 {
				m.toShard = append(m.toShard, &call{req: d, client: &simClient{name: "admin"}})
			}
		}
	}
	m.fetch()

	m.calm = true
	for range 400 {
		for _, c := range m.clients {
			m.act(c)
		}
		for len(m.toShard)+len(m.toOwner)+len(m.batches) > 0 {
			m.deliver()
			m.append()
			m.hear()
		}
		m.now += 1000
		m.tick()
		if m.together() {
			m.fetch()
			return
		}
	}
	var who []string
	for _, c := range m.clients {
		who = append(who, fmt.Sprintf("%s %s gen %d %q", c.name, c.state, c.gen, c.told))
	}
	m.fail("the members do not come together: %v", who)
}

// together is whether all clients work by one assignment.
func (m *sim) together() bool {
	nonce := ""
	for i, c := range m.clients {
		n, _, _ := strings.Cut(c.told, "|")
		if !c.alive || c.state != "stable" || c.gen != m.clients[0].gen || i > 0 && n != nonce {
			return false
		}
		nonce = n
	}
	g := m.shard.groups[simGroup]
	return g != nil && g.state == stateStable && len(g.members) == len(m.clients) && g.generation == m.clients[0].gen
}

func simulate(seed uint64) (trace []string, err error) {
	m := newSimSafe(seed, &err)
	if err != nil {
		return nil, err
	}
	defer func() {
		trace = m.trace
		if p := recover(); p != nil {
			f, ok := p.(simFailure)
			if !ok {
				panic(fmt.Sprintf("seed %d: %v\n%s", seed, p, strings.Join(m.trace, "\n")))
			}
			err = f.err
		}
	}()
	m.run()
	return m.trace, nil
}

func newSimSafe(seed uint64, err *error) (m *sim) {
	defer func() {
		if p := recover(); p != nil {
			*err = fmt.Errorf("%v", p)
		}
	}()
	return newSim(seed)
}

func TestSimulationKeepsTheInvariants(t *testing.T) {
	if s := os.Getenv("MOLDAU_SIM_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
		trace, err := simulate(seed)
		t.Log(strings.Join(trace, "\n"))
		require.NoError(t, err)
		return
	}
	runs := 2000
	if testing.Short() {
		runs = 200
	}
	if s := os.Getenv("MOLDAU_SIM_RUNS"); s != "" {
		var err error
		runs, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	base := uint64(time.Now().UnixNano())
	t.Logf("seeds %d to %d", base, base+uint64(runs)-1)
	for i := range uint64(runs) {
		trace, err := simulate(base + i)
		if err != nil {
			if len(trace) > 60 {
				trace = trace[len(trace)-60:]
			}
			require.NoError(t, err, "MOLDAU_SIM_SEED=%d\n%s", base+i, strings.Join(trace, "\n"))
		}
	}
}
