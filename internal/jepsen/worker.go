package jepsen

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/kafkaclient"
)

// Workload is what a run's workers do. The topic must exist, with Keys partitions.
type Workload struct {
	// Client reaches the cluster.
	Client []kgo.Opt
	// Plain has batches sent without compression. It is no option of Client: kgo writes to the list of codecs, which clients would share.
	Plain bool
	Topic string
	Keys  int
	// Workers run at the same time, Ops operations each, chosen by Seed.
	Workers, Ops int
	Seed         uint64
	// Patience bounds one step of an operation.
	Patience time.Duration
	// PollWait is how long a poll step waits for records.
	PollWait time.Duration
	// Pace is the longest pause between two operations.
	Pace time.Duration

	next atomic.Int64 // the last value sent
}

// worker does one operation at a time. Its clients are made when they are needed, and dropped when it crashes.
type worker struct {
	w       *Workload
	h       *History
	process int
	rnd     *rand.Rand

	plain      *kgo.Client // sends outside of transactions
	txn        *kgo.Client // sends in transactions
	reader     *kgo.Client // polls what was assigned
	session    *kgo.GroupTransactSession
	rebalanced atomic.Bool
}

// Run runs the workers until each has done its operations or ctx ends.
func (w *Workload) Run(ctx context.Context, h *History) {
	done := make(chan struct{})
	for i := range w.Workers {
		go func() {
			defer func() { done <- struct{}{} }()
			k := &worker{w: w, h: h, process: i, rnd: rand.New(rand.NewPCG(w.Seed, uint64(i)))}
			defer k.drop()
			for range w.Ops {
				if ctx.Err() != nil {
					return
				}
				k.step(ctx)
				if w.Pace > 0 {
					pause(ctx, time.Duration(k.rnd.Int64N(int64(w.Pace))))
				}
			}
		}()
	}
	for range w.Workers {
		<-done
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// step does one operation.
func (k *worker) step(ctx context.Context) {
	o := &Op{Process: k.process, Start: k.h.Now()}
	switch n := k.rnd.IntN(100); {
	case n < 3:
		o.Kind = KindCrash
		k.drop()
	case n < 6 || k.reader == nil && k.session == nil:
		k.read(o)
	case n < 40:
		o.Kind = KindSend
		k.sendPlain(ctx, o)
	case n < 60 && k.reader != nil:
		o.Kind = KindPoll
		k.poll(ctx, o, k.reader.PollFetches)
	default:
		o.Kind = KindTxn
		k.transaction(ctx, o)
	}
	k.h.Add(o)
}

// drop forgets all clients, without telling the cluster.
func (k *worker) drop() {
	for _, c := range []**kgo.Client{&k.plain, &k.txn, &k.reader} {
		if *c != nil {
			(*c).CloseAllowingRebalance()
			*c = nil
		}
	}
	if k.session != nil {
		k.session.Client().CloseAllowingRebalance()
		k.session = nil
	}
}

// options are what all clients of workers share, and opts.
func (w *Workload) options(opts ...kgo.Opt) []kgo.Opt {
	base := []kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(w.Topic), kgo.RetryTimeout(w.Patience),
		kgo.RecordDeliveryTimeout(w.Patience), kgo.ProduceRequestTimeout(w.Patience), kgo.ProducerLinger(0), kgo.TransactionTimeout(2 * w.Patience),
		kgo.FetchMaxWait(50 * time.Millisecond), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }), kgo.MetadataMinAge(10 * time.Millisecond), kgo.MetadataMaxAge(time.Second),
		kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(200 * time.Millisecond)}
	if w.Plain {
		base = append(base, kgo.ProducerBatchCompression(kgo.NoCompression()))
	}
	return slices.Concat(base, w.Client, opts)
}

func (k *worker) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(k.w.options(opts...)...)
}

func (w *Workload) transactionalID(process int) string { return fmt.Sprintf("%s-%d", w.Topic, process) }

// read makes the worker a reader of partitions of its choice, from the beginning, or a member of the group.
func (k *worker) read(o *Op) {
	for _, c := range []**kgo.Client{&k.reader, &k.txn} {
		if *c != nil {
			(*c).CloseAllowingRebalance()
			*c = nil
		}
	}
	if k.session != nil {
		k.session.Client().CloseAllowingRebalance()
		k.session = nil
	}
	var err error
	if k.rnd.IntN(3) == 0 {
		o.Kind, o.Subscribed = KindSubscribe, true
		changed := func(context.Context, *kgo.Client, map[string][]int32) { k.rebalanced.Store(true) }
		k.session, err = kgo.NewGroupTransactSession(k.w.options(kgo.TransactionalID(k.w.transactionalID(k.process)), kgo.ConsumerGroup(k.w.Topic),
			kgo.ConsumeTopics(k.w.Topic),
			kgo.OnPartitionsAssigned(changed), kgo.OnPartitionsRevoked(changed), kgo.OnPartitionsLost(changed))...)
	} else {
		o.Kind = KindAssign
		parts := map[int32]kgo.Offset{}
		for key := range k.w.Keys {
			if k.rnd.IntN(3) > 0 || key == 0 {
				parts[int32(key)] = kgo.NewOffset().AtStart()
			}
		}
		k.reader, err = k.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{k.w.Topic: parts}))
	}
	if err != nil {
		o.Outcome, o.Err = Fail, err.Error()
	}
}

func (k *worker) record(key int) (*kgo.Record, int64) {
	v := k.w.next.Add(1)
	return &kgo.Record{Partition: int32(key), Value: binary.BigEndian.AppendUint64(nil, uint64(v))}, v
}

// send does one send step and says whether it was acknowledged.
func (k *worker) send(ctx context.Context, o *Op, cl *kgo.Client) error {
	key := k.rnd.IntN(k.w.Keys)
	r, v := k.record(key)
	ctx, cancel := context.WithTimeout(ctx, k.w.Patience)
	defer cancel()
	err := cl.ProduceSync(ctx, r).FirstErr()
	m := Send(key, v, Unknown)
	if err == nil {
		m.Sent.Offset = r.Offset
	}
	o.Mops = append(o.Mops, m)
	return err
}

// sendPlain sends outside of a transaction. What was not acknowledged may be there all the same.
func (k *worker) sendPlain(ctx context.Context, o *Op) {
	var err error
	if k.plain == nil {
		if k.plain, err = k.client(); err != nil {
			o.Outcome, o.Err = Fail, err.Error()
			return
		}
	}
	if err := k.send(ctx, o, k.plain); err != nil {
		o.Outcome, o.Err = Info, err.Error()
		k.plain.CloseAllowingRebalance() // its sequence is in doubt
		k.plain = nil
	}
}

// poll does one poll step.
func (k *worker) poll(ctx context.Context, o *Op, fetch func(context.Context) kgo.Fetches) {
	ctx, cancel := context.WithTimeout(ctx, k.w.PollWait)
	defer cancel()
	fs := fetch(ctx)
	m := Mop{Polled: map[int][]Pair{}}
	fs.EachRecord(func(r *kgo.Record) {
		m.Polled[int(r.Partition)] = append(m.Polled[int(r.Partition)], Pair{r.Offset, int64(binary.BigEndian.Uint64(r.Value))})
	})
	for _, e := range fs.Errors() {
		if !errors.Is(e.Err, context.DeadlineExceeded) && !errors.Is(e.Err, context.Canceled) {
			o.Err = e.Err.Error()
		}
	}
	o.Mops = append(o.Mops, m)
	o.Subscribed = k.session != nil
	if k.rebalanced.Swap(false) {
		o.Rebalanced = true
	}
}

// transaction does one to four steps in a transaction and commits it, or sometimes aborts.
func (k *worker) transaction(ctx context.Context, o *Op) {
	begin, end := k.beginAssigned, k.endAssigned
	if k.session != nil {
		begin, end = k.beginSession, k.endSession
	}
	cl, err := begin()
	if err != nil {
		o.Outcome, o.Err = Fail, err.Error()
		k.giveUp()
		return
	}
	fetch := cl.PollFetches
	switch {
	case k.session != nil:
		fetch = k.session.PollFetches
	case k.reader != nil:
		fetch = k.reader.PollFetches
	}
	for range 1 + k.rnd.IntN(4) {
		if k.rnd.IntN(2) == 0 && (k.reader != nil || k.session != nil) {
			k.poll(ctx, o, fetch)
			continue
		}
		if err = k.send(ctx, o, cl); err != nil {
			break
		}
	}
	// A transaction that nobody asked to commit does not happen, whatever becomes of the request to abort it.
	commit := err == nil && k.rnd.IntN(8) > 0
	committed, endErr := end(ctx, commit)
	switch {
	case !commit:
		o.Outcome = Fail
		if err != nil {
			o.Err = err.Error()
		}
	case committed:
		o.Outcome = OK
	case endErr == nil:
		o.Outcome, o.Err = Fail, "aborted by a rebalance"
	default:
		o.Outcome, o.Err = Info, endErr.Error()
	}
	if k.rebalanced.Swap(false) {
		o.Rebalanced = true
	}
	if endErr != nil || err != nil {
		k.giveUp()
	}
}

// giveUp drops the clients that sent in a transaction: it is in doubt.
func (k *worker) giveUp() {
	if k.session != nil {
		k.session.Client().CloseAllowingRebalance()
		k.session = nil
	}
	if k.txn != nil {
		k.txn.CloseAllowingRebalance()
		k.txn = nil
	}
}

func (k *worker) beginAssigned() (*kgo.Client, error) {
	if k.txn == nil {
		cl, err := k.client(kgo.TransactionalID(k.w.transactionalID(k.process)))
		if err != nil {
			return nil, err
		}
		k.txn = cl
	}
	return k.txn, k.txn.BeginTransaction()
}

func (k *worker) endAssigned(ctx context.Context, commit bool) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, k.w.Patience)
	defer cancel()
	if !commit {
		return false, kafkaclient.EndTransaction(ctx, k.txn, kgo.TryAbort)
	}
	err := kafkaclient.EndTransaction(ctx, k.txn, kgo.TryCommit)
	return err == nil, err
}

func (k *worker) beginSession() (*kgo.Client, error) { return k.session.Client(), k.session.Begin() }

func (k *worker) endSession(ctx context.Context, commit bool) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, k.w.Patience)
	defer cancel()
	if err := kafkaclient.Settle(ctx, k.session.Client()); err != nil {
		return false, err
	}
	return k.session.End(ctx, kgo.TransactionEndTry(commit))
}
