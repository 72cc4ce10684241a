package quorum

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/moldau-io/moldau/core/metadata"
)

// maxBatch bounds how many decisions share one entry.
const maxBatch = 256

// loop owns the member. Each round takes what came in, starts a batch of decisions when none is under
// way, and does what raft has ready.
func (n *Node) loop(ctx context.Context) (err error) {
	// Raft panics when its invariants break. That must not take the process down with it.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("raft gave up: %v", p)
		}
	}()
	n.m.wal.room = func(err error) error { return n.awaitRoom(ctx, err) }
	ticker := time.NewTicker(n.cfg.ElectionTimeout / 10)
	defer ticker.Stop()
	ticks := ticker.C
	if n.m.sole() {
		ticks = nil // nobody to send heartbeats to: an idle hub need not wake up
		if err := n.m.rn.Campaign(); err != nil {
			return fmt.Errorf("elect the only voter: %w", err)
		}
	}
	for {
		if err := n.round(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks:
			n.m.tick()
		case msg := <-n.inbox:
			n.step(msg)
		case r := <-n.requests:
			n.waiting = append(n.waiting, r)
		case s := <-n.snapshots:
			n.snapshotting = false
			if isFull(s.err) {
				n.logger.Warn("no room for a snapshot of the metadata, the log is kept", "dir", n.cfg.Dir, "error", s.err)
			} else if s.err != nil {
				return s.err
			} else if err := n.m.endSnapshot(s.p); err != nil {
				return err
			}
		}
		n.drain()
	}
}

// drain takes what is there without waiting, so that it shares the next write.
func (n *Node) drain() {
	for range maxBatch {
		select {
		case msg := <-n.inbox:
			n.step(msg)
		case r := <-n.requests:
			n.waiting = append(n.waiting, r)
		default:
			return
		}
	}
}

func (n *Node) step(msg *pb.Message) {
	if err := n.m.rn.Step(msg); err != nil && !errors.Is(err, raft.ErrStepPeerNotFound) {
		n.logger.Warn("raft message refused", "type", msg.GetType().String(), "from", nodeOf(msg.GetFrom()), "error", err)
	}
}

// round does all that can be done without waiting.
func (n *Node) round() error {
	for {
		out, err := n.m.process()
		n.emit(out)
		if err != nil {
			return err
		}
		n.hasRoom()
		n.observeLeader()
		if !n.startBatch() {
			break
		}
	}
	if !n.snapshotting && n.m.snapshotDue() {
		n.snapshotting = true
		p := n.m.beginSnapshot()
		go func() { // ends by itself; Run waits for it
			err := p.write(n.cfg.FS, n.cfg.Dir, n.cfg.NodeID)
			n.snapshots <- snapshotDone{p, err}
		}()
	}
	return nil
}

// emit sends messages and publishes events. The requests of the batch under way are answered behind the
// event that carries it.
func (n *Node) emit(out effects) {
	for _, msg := range out.messages {
		b, err := proto.Marshal(msg)
		if err != nil {
			n.logger.Error("encode raft message", "error", err)
			continue
		}
		n.cfg.Transport.Send(nodeOf(msg.GetTo()), b)
	}
	for _, ev := range out.events {
		n.image.Store(ev.new)
		p := publication{image: ev.new, delta: ev.delta}
		if len(n.inflight) > 0 && ev.proposal == n.inflightID {
			p.answer, n.inflight = n.inflight, nil
		}
		n.publisher.push(p)
	}
}

// observeLeader publishes a change of the leader, and gives up the batch under way when it can no longer
// be known to commit.
func (n *Node) observeLeader() {
	now := Leader{ID: nodeOf(n.m.lead), Epoch: int32(n.m.term), Self: n.m.canDecide()}
	if len(n.inflight) > 0 && (!n.m.leading || n.m.term != n.inflightTerm) {
		failed := n.inflight
		n.inflight = nil
		for _, r := range failed {
			r.finish(ErrLost)
		}
	}
	if was := n.Leader(); was != now {
		n.leader.Store(&now)
		n.publisher.push(publication{leader: &now})
		n.logger.Info("leader of the metadata quorum", "leader", now.ID, "epoch", now.Epoch, "self", now.Self)
	}
	if now.Self && n.m.image.ClusterID == "" && len(n.inflight) == 0 {
		n.bootstrap()
	}
	if !n.isReady && n.m.image.ClusterID != "" && now.ID >= 0 && (now.Self || !n.m.leading) {
		n.isReady = true
		close(n.ready)
	}
}

// bootstrap puts the naming of a new cluster before all other requests.
func (n *Node) bootstrap() {
	r := &request{done: make(chan struct{}), decide: func(im *metadata.Image) ([]metadata.Record, error) {
		if im.ClusterID != "" {
			return nil, nil
		}
		id := n.cfg.ClusterID
		if id == "" {
			id = metadata.RandomUUID().String()
		}
		return append([]metadata.Record{&metadata.ClusterIDRecord{ClusterID: id}}, n.cfg.Bootstrap...), nil
	}}
	n.waiting = append([]*request{r}, n.waiting...)
}

// startBatch runs the waiting decisions, each on the image that the ones before it make, and proposes
// their records as one entry. It reports whether raft has something to do now.
func (n *Node) startBatch() bool {
	if len(n.inflight) > 0 || len(n.waiting) == 0 {
		return false
	}
	if !n.m.canDecide() {
		if n.m.leading {
			return false // soon
		}
		for _, r := range n.waiting {
			r.finish(ErrNotLeader)
		}
		n.waiting = nil
		return false
	}
	im := n.m.image
	next := metadata.Position{Offset: im.Offset + 1, Epoch: im.Epoch}
	var records []metadata.Record
	var batch []*request
	size := 0
	for len(n.waiting) > 0 && len(batch) < maxBatch && size < maxProposal/2 {
		r := n.waiting[0]
		rs, err := r.decide(im)
		var b []byte
		if err == nil && len(rs) > 0 {
			b = metadata.Encode(nil, rs)
			var after *metadata.Image
			if after, _, err = im.Apply(next, rs); err == nil && len(b)+proposalHeader > maxProposal {
				err = fmt.Errorf("%w: %d records take %d bytes, at most %d are possible", ErrTooLarge, len(rs), len(b), maxProposal)
			}
			if err == nil && len(batch) > 0 && size+len(b)+proposalHeader > maxProposal {
				break // it begins the next batch
			}
			if err == nil {
				im = after
			}
		}
		n.waiting = n.waiting[1:]
		if err != nil || len(rs) == 0 {
			r.err = err
			if len(records) == 0 {
				close(r.done) // it saw only what is committed
				continue
			}
			batch = append(batch, r)
			continue
		}
		size += len(b)
		records = append(records, rs...)
		batch = append(batch, r)
	}
	if len(records) == 0 {
		return false
	}
	n.seq++
	id := proposalID{n.process, n.seq}
	if err := n.m.propose(id, records); err != nil {
		for _, r := range batch {
			r.finish(fmt.Errorf("%w: %w", ErrNotLeader, err)) // dropped, nothing was written
		}
		return false
	}
	n.inflight, n.inflightID, n.inflightTerm = batch, id, n.m.term
	return true
}
