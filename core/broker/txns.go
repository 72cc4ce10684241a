package broker

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau-io/moldau/core/config"
	"github.com/moldau-io/moldau/core/group"
	"github.com/moldau-io/moldau/core/log"
	"github.com/moldau-io/moldau/core/log/batch"
	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/replica"
	"github.com/moldau-io/moldau/core/txn"
)

// transactionVersion is the feature of KIP-890: from level 2 on clients take every end of a transaction for a new epoch.
const transactionVersion = "transaction.version"

// txnSettings are the broker's properties for transactions.
type txnSettings struct {
	coordinator  txn.Config
	replication  int16
	minISR       int32
	segmentBytes int32
	backoff      time.Duration
	backoffMax   time.Duration
}

func txnSettingsOf(c *config.Broker) txnSettings {
	return txnSettings{
		coordinator: txn.Config{
			Partitions:    c.TransactionLogPartitions,
			MaxTimeoutMs:  int32(c.TransactionMaxTimeout.Milliseconds()),
			ExpirationMs:  c.TransactionalIDExpiration.Milliseconds(),
			AbortCheckMs:  c.TransactionAbortCheck.Milliseconds(),
			ExpireCheckMs: c.TransactionExpireCheck.Milliseconds(),
		},
		replication: c.TransactionLogReplication, minISR: c.TransactionLogMinISR, segmentBytes: c.TransactionLogSegmentBytes,
		backoff: c.AddPartitionsBackoff, backoffMax: c.AddPartitionsBackoffMax,
	}
}

func (b *Broker) startTxns() error {
	c := b.set.txn.coordinator
	if mt := b.image().Topic(txn.StateTopic); mt != nil {
		c.Partitions = int32(len(mt.Partitions))
	}
	take := func(ctx context.Context) (int64, error) { return b.ids.take(ctx, b) }
	t, err := txn.NewCoordinator(c, txnStore{b}, txnMarkers{b}, take, b.log)
	if err != nil {
		return err
	}
	b.txns = t
	t.SetVersion(b.image().Feature(transactionVersion))
	t.Start()
	return nil
}

// stateTopic is how __transaction_state is made, with the settings that Kafka enforces.
func (b *Broker) stateTopic() metadata.CreateTopic {
	value := func(v any) *string { s := fmt.Sprint(v); return &s }
	replicas := b.internalReplication(b.set.txn.replication)
	return metadata.CreateTopic{
		Name: txn.StateTopic, NumPartitions: b.set.txn.coordinator.Partitions, ReplicationFactor: replicas,
		Configs: []metadata.ConfigValue{
			{Key: "cleanup.policy", Value: value("compact")},
			{Key: "compression.type", Value: value("uncompressed")},
			{Key: "min.insync.replicas", Value: value(min(b.set.txn.minISR, int32(replicas)))},
			{Key: "segment.bytes", Value: value(b.set.txn.segmentBytes)},
			{Key: "unclean.leader.election.enable", Value: value(false)},
		},
	}
}

// txnStore keeps the transaction coordinator's records in __transaction_state.
type txnStore struct{ b *Broker }

// Append implements txn.Store.
func (s txnStore) Append(partition int32, bt txn.Batch, done func(error)) {
	p := s.b.localPartition(txn.StateTopic, partition)
	if p == nil {
		done(storeError(replica.ErrNotLeader))
		return
	}
	w := batch.Builder{LeaderEpoch: bt.LeaderEpoch}
	for _, r := range bt.Records {
		w.Append(bt.TimeMs, r.Key, r.Value)
	}
	raw, err := w.Build()
	if err != nil {
		done(storeError(err))
		return
	}
	o := replica.AppendOptions{Acks: -1, Origin: log.Coordinator, Epoch: bt.LeaderEpoch, CheckEpoch: true}
	if _, err := p.Append(raw, o, doneFunc(done), 0); err != nil {
		done(storeError(err))
	}
}

// Load implements txn.Store.
func (s txnStore) Load(ctx context.Context, partition int32, fn func(key, value []byte, offset int64) error) error {
	return s.b.loadInternal(ctx, txn.StateTopic, partition, func(r group.StoredRecord) error {
		if r.Control {
			return nil
		}
		return fn(r.Key, r.Value, r.Offset)
	})
}

// txnMarkers writes the coordinator's markers into the partitions.
type txnMarkers struct{ b *Broker }

// WriteMarkers implements txn.MarkerWriter. All partitions are this broker's own while there is one broker; those of others are
// answered NOT_LEADER_OR_FOLLOWER, and tried again.
func (t txnMarkers) WriteMarkers(m txn.Markers, done func(codes []int16)) {
	w := &markerWrite{b: t.b, m: m, codes: make([]int16, len(m.Partitions)), done: done}
	w.left.Store(int32(len(m.Partitions)) + 1)
	for i := range m.Partitions {
		w.append(i)
	}
	w.finished()
}

// markerWrite is the markers of one transaction on their way to the disk.
type markerWrite struct {
	b     *Broker
	m     txn.Markers
	codes []int16
	left  atomic.Int32
	done  func(codes []int16)
}

func (w *markerWrite) append(i int) {
	tp := w.m.Partitions[i]
	p := w.b.localPartition(tp.Topic, tp.Partition)
	if p == nil {
		w.codes[i] = w.b.missingPartition(tp.Topic, tp.Partition)
		w.finished()
		return
	}
	kind := batch.ControlAbort
	if w.m.Commit {
		kind = batch.ControlCommit
	}
	raw := batch.BuildEndTxn(time.Now().UnixMilli(), w.m.ProducerID, w.m.ProducerEpoch, batch.EndTxn{Type: kind, CoordinatorEpoch: w.m.CoordinatorEpoch})
	o := replica.AppendOptions{Acks: -1, Origin: log.Coordinator, TransactionVersion: w.m.TransactionVersion}
	if _, err := p.Append(raw, o, w, i); err != nil {
		w.codes[i] = codeOf(err)
		w.finished()
	}
}

// Acknowledged implements replica.Acker.
func (w *markerWrite) Acknowledged(slot int, err error) {
	w.codes[slot] = codeOf(err)
	w.finished()
}

// finished tells of the markers after the last one. It goes on on a goroutine of its own: the partition that acknowledged last may
// hold its lock, and those who are told append to others.
func (w *markerWrite) finished() {
	if w.left.Add(-1) > 0 {
		return
	}
	go func() {
		for i, tp := range w.m.Partitions {
			if w.codes[i] == 0 && tp.Topic == group.OffsetsTopic {
				w.b.groups.TransactionEnded(tp.Partition, w.m.ProducerID, w.m.Commit)
			}
		}
		w.done(w.codes)
	}()
}

// txnSupport is what the version of a request says of how its client takes part in transactions.
type txnSupport int8

const (
	// verifyOnly: the client adds partitions with AddPartitionsToTxn, and knows no abortable error.
	verifyOnly txnSupport = iota
	// verifyAbortable: the same, and it knows TRANSACTION_ABORTABLE.
	verifyAbortable
	// addImplicitly: the broker adds the partitions (KIP-890, part 2).
	addImplicitly
)

// joinTxn makes sure that partitions are in the producer's transaction before it writes to them: it adds them, or verifies that
// they were added. It waits for the coordinator, as Kafka's request waits: nothing else of this connection happens meanwhile. It
// returns a Kafka error code for each partition.
func (c call) joinTxn(id string, producerID int64, epoch int16, parts []txn.TopicPartition, support txnSupport) []int16 {
	b := c.b
	if support != addImplicitly {
		codes := b.txns.Verify(id, producerID, epoch, parts)
		for i, code := range codes {
			codes[i] = verificationCode(code, support)
		}
		return codes
	}
	defer c.uncounted()()
	var code int16
	for start := time.Now(); ; {
		code = b.addToTxn(id, producerID, epoch, parts)
		if code != kerr.ConcurrentTransactions.Code || time.Since(start)+b.set.txn.backoff > b.set.txn.backoffMax {
			break
		}
		select { // its id is being taken over, or forgotten
		case <-time.After(b.set.txn.backoff):
		case <-b.ctx.Done():
		}
	}
	codes := make([]int16, len(parts))
	for i := range codes {
		codes[i] = verificationCode(code, support)
	}
	return codes
}

// addTimeout is how long a write waits until its partitions are in the transaction, durably: Kafka's request.timeout.ms.
const addTimeout = 30 * time.Second

// addToTxn adds partitions and waits until that is durable.
func (b *Broker) addToTxn(id string, producerID int64, epoch int16, parts []txn.TopicPartition) int16 {
	done := make(chan int16, 1)
	b.txns.AddPartitions(txn.AddPartitions{
		TransactionalID: id, ProducerID: producerID, ProducerEpoch: epoch, Partitions: parts, Version: 2,
		WaitMs: b.set.txn.backoffMax.Milliseconds(), // while the producer's last transaction ends
		Reply:  func(r txn.Result) { done <- r.Code },
	})
	late := time.NewTimer(addTimeout)
	defer late.Stop()
	select {
	case code := <-done:
		return code
	case <-late.C:
	case <-b.ctx.Done():
	}
	return kerr.CoordinatorNotAvailable.Code
}

// verificationCode is a coordinator's code in the words that the writer knows.
func verificationCode(code int16, support txnSupport) int16 {
	switch {
	case code == kerr.ProducerFenced.Code:
		return kerr.InvalidProducerEpoch.Code
	case code == kerr.TransactionAbortable.Code && support == verifyOnly:
		return kerr.InvalidTxnState.Code
	}
	return code
}
