package quorum

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/moldau-io/moldau/core/metadata"
)

// Errors of Do. A caller that gets ErrLost does not know whether its change was made: it looks at the
// image, or decides again, which is safe since decisions look at the image themselves.
var (
	ErrNotLeader = errors.New("this node is not the active controller")
	ErrLost      = errors.New("leadership was lost while the change was under way; whether it was made is not known")
	ErrClosed    = errors.New("the quorum is closed")
	ErrTooLarge  = errors.New("metadata change is too large")
)

// maxProposal bounds the bytes of one change (or of one batch of changes).
const maxProposal = 16 << 20

// maxMessage bounds a message from a peer.
const maxMessage = maxSnapshot

// Transport carries messages to the other voters.
type Transport interface {
	// Send takes the message, which it owns from then on. It must not block; it may lose messages.
	Send(to int32, msg []byte)
}

// Config configures a node. Zero values mean what the comments say.
type Config struct {
	// NodeID is node.id.
	NodeID int32
	// Dir holds the log, the snapshots and a lock file. It is made when it does not exist.
	Dir string
	// Voters are the node ids of the quorum, this node among them. Empty means this node alone.
	Voters []int32
	// ClusterID is the id that a new cluster gets, and that an existing one must have. "" means a random one for
	// a new cluster, and any for an existing one.
	ClusterID string
	// Bootstrap are records written after the cluster id when the cluster is new, finalized features for
	// example.
	Bootstrap []metadata.Record
	// Logger gets what happens; nil discards.
	Logger *slog.Logger
	// Transport reaches the other voters. It may be nil when there are none.
	Transport Transport
	// ElectionTimeout is controller.quorum.election.timeout.ms; 0 means 1 s. It is the least time without a word
	// of the leader after which a voter asks for an election; heartbeats go ten times as often.
	ElectionTimeout time.Duration
	// SnapshotBytes is metadata.log.max.record.bytes.between.snapshots; 0 means 20 MiB.
	SnapshotBytes int64
	// SegmentBytes is metadata.log.segment.bytes: the size after which the log begins a new file; 0 means 16 MiB.
	SegmentBytes int64
	// FS is the file system; nil means the operating system's.
	FS FS
}

// Leader says who leads.
type Leader struct {
	ID    int32 // -1 for nobody known
	Epoch int32
	Self  bool // this node leads and can decide
}

// Node is a running member of the quorum. Make it with Open, run it with Run.
type Node struct {
	cfg     Config
	logger  *slog.Logger
	m       *member // the loop's own after Run began
	process uint64

	image  atomic.Pointer[metadata.Image]
	leader atomic.Pointer[Leader]

	requests  chan *request
	inbox     chan *pb.Message
	snapshots chan snapshotDone
	ready     chan struct{}
	done      chan struct{}
	publisher publisher

	mu       sync.Mutex
	started  bool
	closed   bool
	cancel   context.CancelFunc
	runError error

	// The loop's own.
	waiting      []*request
	inflight     []*request
	inflightID   proposalID
	inflightTerm uint64
	seq          uint64
	snapshotting bool
	isReady      bool
	full         bool // the disk of the log
}

type request struct {
	decide func(*metadata.Image) ([]metadata.Record, error)
	// Set by the loop before done is closed.
	err  error
	done chan struct{}
}

func (r *request) finish(err error) {
	r.err = err
	close(r.done)
}

type snapshotDone struct {
	p   *pendingSnapshot
	err error
}

// Open reads the directory and prepares the node; nothing moves until Run.
func Open(cfg Config) (*Node, error) {
	if len(cfg.Voters) == 0 {
		cfg.Voters = []int32{cfg.NodeID}
	}
	if cfg.NodeID < 0 {
		return nil, fmt.Errorf("open quorum: node.id is %d, it must not be negative", cfg.NodeID)
	}
	if !slices.Contains(cfg.Voters, cfg.NodeID) {
		return nil, fmt.Errorf("open quorum: node %d is not one of the voters %v; add it to controller.quorum.voters or drop the controller role", cfg.NodeID, cfg.Voters)
	}
	if len(slices.Compact(slices.Sorted(slices.Values(cfg.Voters)))) != len(cfg.Voters) {
		return nil, fmt.Errorf("open quorum: controller.quorum.voters names a node twice: %v", cfg.Voters)
	}
	if len(cfg.Voters) > 1 && cfg.Transport == nil {
		return nil, fmt.Errorf("open quorum: %d voters need a transport", len(cfg.Voters))
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.ElectionTimeout <= 0 {
		cfg.ElectionTimeout = time.Second
	}
	if cfg.SnapshotBytes <= 0 {
		cfg.SnapshotBytes = 20 << 20
	}
	if cfg.SegmentBytes <= 0 {
		cfg.SegmentBytes = 16 << 20
	}
	if cfg.FS == nil {
		cfg.FS = OS{}
	}
	n := &Node{
		cfg: cfg, logger: cfg.Logger.With("node", cfg.NodeID),
		requests: make(chan *request, 256), inbox: make(chan *pb.Message, 256), snapshots: make(chan snapshotDone, 1),
		ready: make(chan struct{}), done: make(chan struct{}),
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	n.process = binary.LittleEndian.Uint64(b[:])
	m, err := openMember(memberConfig{
		nodeID: cfg.NodeID, voters: cfg.Voters, dir: cfg.Dir, fs: cfg.FS, logger: n.logger, electionTicks: 10, autonomous: true,
		segmentBytes: cfg.SegmentBytes, snapshotBytes: cfg.SnapshotBytes, keepEntries: 1000,
	})
	if err != nil {
		return nil, fmt.Errorf("open quorum: %w", err)
	}
	if id := m.image.ClusterID; id != "" && cfg.ClusterID != "" && id != cfg.ClusterID {
		_ = m.close()
		return nil, fmt.Errorf("open quorum: %s belongs to cluster %s, this node is configured for cluster %s", cfg.Dir, id, cfg.ClusterID)
	}
	if m.tornBytes > 0 {
		n.logger.Warn("cut an incomplete write from the end of the metadata log", "bytes", m.tornBytes)
	}
	n.m = m
	n.image.Store(m.image)
	n.leader.Store(&Leader{ID: -1})
	n.publisher.init()
	return n, nil
}

// Image returns the newest image that is committed and applied here.
func (n *Node) Image() *metadata.Image { return n.image.Load() }

// Leader says who leads as far as this node knows.
func (n *Node) Leader() Leader { return *n.leader.Load() }

// IsLeader reports whether this node leads and can decide.
func (n *Node) IsLeader() bool { return n.Leader().Self }

// LeaderID returns the node id of the leader, -1 when none is known.
func (n *Node) LeaderID() int32 { return n.Leader().ID }

// Subscribe calls fn for every change of the image, in order, on one goroutine for all subscribers. The
// first call has the empty image as was and what there is as is. Do waits for the subscribers, so fn
// must not call Do, and should be quick. Subscribe may be called before Run.
func (n *Node) Subscribe(fn func(was, is *metadata.Image, d metadata.Delta)) {
	n.publisher.push(publication{subscribe: fn})
}

// SubscribeLeader calls fn with the leader there is, and then for every change, in order with the changes
// of the image and on the same goroutine.
func (n *Node) SubscribeLeader(fn func(Leader)) { n.publisher.push(publication{watch: fn}) }

// WaitReady waits until the cluster has an id and this node knows a leader (or is it and can decide).
func (n *Node) WaitReady(ctx context.Context) error {
	select {
	case <-n.ready:
		return nil
	case <-n.done:
		return n.stopped()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Do decides on the newest image and makes the records durable. It returns nil when they are committed,
// applied here and seen by all subscribers, or when decide returned no records and what it saw is
// committed. An error of decide is returned as it is, and nothing is changed.
//
// decide must be pure; it runs on the node's own goroutine and must not block. ErrNotLeader is returned on
// every node but the leader. When ctx ends first the change may still be made.
func (n *Node) Do(ctx context.Context, decide func(*metadata.Image) ([]metadata.Record, error)) error {
	r := &request{decide: decide, done: make(chan struct{})}
	select {
	case n.requests <- r:
	case <-n.done:
		return n.stopped()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	case <-n.done:
		// The loop may have finished the request as its last act.
		select {
		case <-r.done:
			return r.err
		default:
			return n.stopped()
		}
	}
}

func (n *Node) stopped() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.runError != nil {
		return fmt.Errorf("%w: %w", ErrClosed, n.runError)
	}
	return ErrClosed
}

// peerMessages are the kinds of message that peers send each other; everything else is local to a node.
var peerMessages = []pb.MessageType{
	pb.MsgApp, pb.MsgAppResp, pb.MsgVote, pb.MsgVoteResp, pb.MsgPreVote, pb.MsgPreVoteResp,
	pb.MsgSnap, pb.MsgHeartbeat, pb.MsgHeartbeatResp, pb.MsgTimeoutNow,
}

// decodeMessage reads a message of a peer and checks what can be checked without knowing the state.
func decodeMessage(b []byte, self int32, voters []int32) (*pb.Message, error) {
	if len(b) > maxMessage {
		return nil, fmt.Errorf("raft message of %d bytes, at most %d are possible", len(b), maxMessage)
	}
	m := &pb.Message{}
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("decode raft message: %w", err)
	}
	switch {
	case !slices.Contains(peerMessages, m.GetType()):
		return nil, fmt.Errorf("raft message of type %s does not come from a peer", m.GetType())
	case m.GetTo() != raftID(self):
		return nil, fmt.Errorf("raft message for node %d, this is node %d", nodeOf(m.GetTo()), self)
	case !slices.Contains(voters, nodeOf(m.GetFrom())) || m.GetFrom() == m.GetTo():
		return nil, fmt.Errorf("raft message from node %d, which is not another voter", nodeOf(m.GetFrom()))
	case len(m.GetResponses()) > 0:
		return nil, errors.New("raft message with local responses does not come from a peer")
	case (m.GetType() == pb.MsgSnap) != (m.GetSnapshot().GetMetadata().GetIndex() > 0):
		return nil, errors.New("raft message and snapshot do not belong together")
	}
	for i, e := range m.GetEntries() {
		if e.GetIndex() != m.GetIndex()+1+uint64(i) {
			return nil, fmt.Errorf("raft message: entry %d has index %d, want %d", i, e.GetIndex(), m.GetIndex()+1+uint64(i))
		}
	}
	return m, nil
}

// Step gives the node a message that a peer's transport sent. Who sent it must have been authenticated
// by the transport: Raft trusts its members. A message that comes when the node is busy is dropped,
// as a network may do.
func (n *Node) Step(b []byte) error {
	m, err := decodeMessage(b, n.cfg.NodeID, n.cfg.Voters)
	if err != nil {
		return err
	}
	select {
	case n.inbox <- m:
	case <-n.done:
		return n.stopped()
	default:
	}
	return nil
}

// Run drives the node until ctx ends or it fails; a failed disk is such a failure. It may be called once.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n.mu.Lock()
	if n.started || n.closed {
		n.mu.Unlock()
		return fmt.Errorf("run quorum: it ran already or was closed: %w", ErrClosed)
	}
	n.started, n.cancel = true, cancel
	n.mu.Unlock()

	var wg sync.WaitGroup
	image, leader := n.Image(), n.Leader() // before the loop publishes newer ones
	wg.Go(func() { n.publisher.run(image, leader) })
	err := n.loop(ctx)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil
	}
	n.mu.Lock()
	n.runError = err
	n.mu.Unlock()
	n.publisher.stop()
	wg.Wait()
	for _, r := range append(n.waiting, n.inflight...) {
		select {
		case <-r.done:
		default:
			r.finish(errors.Join(ErrClosed, err))
		}
	}
	if n.snapshotting {
		<-n.snapshots
	}
	if e := n.m.close(); err == nil && e != nil {
		err = fmt.Errorf("close quorum: %w", e)
	}
	close(n.done)
	if err != nil {
		n.logger.Error("the quorum stopped", "error", err)
		return fmt.Errorf("run quorum: %w", err)
	}
	return nil
}

// Close stops Run and waits for it, and releases the directory.
func (n *Node) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	started, cancel := n.started, n.cancel
	n.mu.Unlock()
	if !started {
		err := n.m.close()
		close(n.done)
		return err
	}
	cancel()
	<-n.done
	return nil
}
