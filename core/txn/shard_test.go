package txn

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestInitProducerIDByState(t *testing.T) {
	const pid, other = 7, 8
	for _, c := range []struct {
		name      string
		state     State
		epoch     int16
		last      int16
		prev      int64
		expect    []int64 // producer id and epoch
		code      int16
		wantEpoch int16
		newID     bool
		wantLast  int16
	}{
		{name: "a new incarnation", state: Empty, epoch: 3, last: 2, wantEpoch: 4, wantLast: -1},
		{name: "after a commit", state: CompleteCommit, epoch: 3, last: 2, wantEpoch: 4, wantLast: -1},
		{name: "after an abort", state: CompleteAbort, epoch: 3, last: -1, wantEpoch: 4, wantLast: -1},
		{name: "while it commits", state: PrepareCommit, epoch: 3, code: codeConcurrentTransactions},
		{name: "while it aborts", state: PrepareAbort, epoch: 3, code: codeConcurrentTransactions},
		{name: "going on", state: Empty, epoch: 3, last: -1, expect: []int64{pid, 3}, wantEpoch: 4, wantLast: 3},
		{name: "going on, again", state: Empty, epoch: 4, last: 3, expect: []int64{pid, 3}, wantEpoch: 4, wantLast: 3},
		{name: "going on with an old epoch", state: Empty, epoch: 4, last: 3, expect: []int64{pid, 2}, code: codeProducerFenced},
		{name: "going on with a later epoch", state: Empty, epoch: 4, last: 3, expect: []int64{pid, 5}, code: codeProducerFenced},
		{name: "going on as somebody else", state: Empty, epoch: 4, last: 3, expect: []int64{other, 4}, code: codeProducerFenced},
		{name: "exhausted", state: Empty, epoch: lastEpoch, last: -1, newID: true, wantEpoch: 0, wantLast: -1},
		{name: "exhausted and fenced", state: CompleteAbort, epoch: math.MaxInt16, last: -1, newID: true, wantEpoch: 0, wantLast: -1},
		{name: "exhausted, going on", state: Empty, epoch: lastEpoch, last: -1, expect: []int64{pid, lastEpoch}, newID: true, wantEpoch: 0, wantLast: lastEpoch},
		{name: "exhausted, going on, again", state: Empty, epoch: 0, last: lastEpoch, prev: other, expect: []int64{other, lastEpoch}, wantEpoch: 0, wantLast: lastEpoch},
		{name: "exhausted, going on with an old epoch", state: Empty, epoch: lastEpoch, last: 4, expect: []int64{pid, 3}, code: codeProducerFenced},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Config{})
			r.put(Entry{TransactionalID: "x", ProducerID: pid, PreviousProducerID: c.prev, NextProducerID: -1, ProducerEpoch: c.epoch, TimeoutMs: 1, State: c.state, StartMs: -1}, c.last)
			got := r.init("x", c.expect...)
			require.Equal(t, c.code, got.Code)
			if c.code != 0 {
				require.Equal(t, Result{c.code, -1, -1}, got)
				require.Equal(t, c.state, r.state("x").State)
				return
			}
			e := r.state("x")
			require.Equal(t, Empty, e.State)
			require.Equal(t, c.wantEpoch, got.ProducerEpoch)
			require.Equal(t, c.newID, r.nextID == got.ProducerID)
			if !c.newID {
				require.Equal(t, int64(pid), got.ProducerID)
			}
			require.Equal(t, int64(pid), e.PreviousProducerID)
			require.Equal(t, int32(60_000), e.TimeoutMs)
			require.Equal(t, c.wantLast, r.s.txns["x"].lastEpoch)
		})
	}
}

func TestInitProducerIDRefusesWhatMakesNoSense(t *testing.T) {
	r := newRig(t, Config{MaxTimeoutMs: 1000})
	for _, c := range []struct {
		id      string
		timeout int32
		spare   int64
		code    int16
	}{
		{"", 10, 1, codeInvalidRequest},
		{"x", 0, 1, codeInvalidTransactionTimeout},
		{"x", -1, 1, codeInvalidTransactionTimeout},
		{"x", 1001, 1, codeInvalidTransactionTimeout},
		{"x", 10, -1, codeCoordinatorLoadInProgress},
		{"x", 1000, 1, 0},
	} {
		r.step(InitProducerID{TransactionalID: c.id, TimeoutMs: c.timeout, ExpectedID: -1, ExpectedEpoch: -1, SpareID: c.spare, Reply: r.reply("init")})
		r.settle(nil)
		require.Equal(t, c.code, r.take("init").Code, "%+v", c)
	}
}

func TestInitProducerIDAbortsWhatIsOpenAndIsAnsweredWhenItAsksAgain(t *testing.T) {
	r := newRig(t, Config{})
	p := r.init("x")
	require.Equal(t, Result{0, 101, 0}, p)
	require.Zero(t, r.add("x", p.ProducerID, p.ProducerEpoch, 2, tp("t", 1), tp("t", 0)))
	require.Equal(t, codeConcurrentTransactions, r.init("x").Code)
	require.Equal(t, codeConcurrentTransactions, r.init("x").Code, "markers are on their way")
	require.Len(t, r.markers, 1)
	m := r.markers[0]
	m.of = nil
	require.Equal(t, Markers{
		TransactionalID: "x", ProducerID: 101, ProducerEpoch: 1, CoordinatorEpoch: 5, TransactionVersion: 2, Partitions: []TopicPartition{tp("t", 0), tp("t", 1)},
	}, m)
	require.Equal(t, codeConcurrentTransactions, r.add("x", p.ProducerID, p.ProducerEpoch, 2, tp("t", 2)))
	r.finish()
	require.Equal(t, codeProducerFenced, r.add("x", p.ProducerID, p.ProducerEpoch, 2, tp("t", 2)))
	require.Equal(t, Result{0, 101, 2}, r.init("x"))
}

func TestEndTxnByState(t *testing.T) {
	const pid = 7
	const pf, its, mapping, busy, none = codeProducerFenced, codeInvalidTxnState, codeInvalidProducerIDMapping, codeConcurrentTransactions, codeNone
	// The epoch in the state is 5. What a client of version 2 answers for its current epoch (5) and for a retry (4); then version 1.
	for _, c := range []struct {
		state  State
		commit bool
		v2     [3]int16 // epochs 5, 4, 3
		to2    State    // for epoch 5
		v1     [2]int16 // epochs 5, 4
		to1    State
	}{
		{Empty, true, [3]int16{its, pf, pf}, Empty, [2]int16{its, pf}, Empty},
		{Empty, false, [3]int16{none, pf, pf}, CompleteAbort, [2]int16{its, pf}, Empty},
		{Ongoing, true, [3]int16{none, pf, pf}, PrepareCommit, [2]int16{none, pf}, PrepareCommit},
		{Ongoing, false, [3]int16{none, pf, pf}, PrepareAbort, [2]int16{none, pf}, PrepareAbort},
		{PrepareCommit, true, [3]int16{pf, busy, pf}, PrepareCommit, [2]int16{busy, pf}, PrepareCommit},
		{PrepareCommit, false, [3]int16{pf, its, pf}, PrepareCommit, [2]int16{its, pf}, PrepareCommit},
		{PrepareAbort, true, [3]int16{pf, its, pf}, PrepareAbort, [2]int16{its, pf}, PrepareAbort},
		{PrepareAbort, false, [3]int16{pf, busy, pf}, PrepareAbort, [2]int16{busy, pf}, PrepareAbort},
		{CompleteCommit, true, [3]int16{its, none, pf}, CompleteCommit, [2]int16{none, pf}, CompleteCommit},
		{CompleteCommit, false, [3]int16{none, its, pf}, CompleteAbort, [2]int16{its, pf}, CompleteCommit},
		{CompleteAbort, true, [3]int16{its, its, pf}, CompleteAbort, [2]int16{its, pf}, CompleteAbort},
		{CompleteAbort, false, [3]int16{none, none, pf}, CompleteAbort, [2]int16{none, pf}, CompleteAbort},
	} {
		for v, codes := range map[int16][]int16{2: c.v2[:], 0: c.v1[:]} {
			for i, want := range codes {
				epoch := int16(5 - i)
				t.Run(fmt.Sprintf("%s/commit=%v/version=%d/epoch=%d", c.state, c.commit, v, epoch), func(t *testing.T) {
					r := newRig(t, Config{})
					before := Entry{TransactionalID: "x", ProducerID: pid, PreviousProducerID: pid, NextProducerID: -1, ProducerEpoch: 5, State: c.state, ClientVersion: v}
					r.put(before, 4)
					require.Equal(t, mapping, r.end("x", 8, epoch, c.commit, v).Code, "another producer")
					got := r.end("x", pid, epoch, c.commit, v)
					require.Equal(t, want, got.Code)
					e := r.state("x")
					to := c.to2
					if v == 0 {
						to = c.to1
					}
					if i > 0 {
						to = c.state
					}
					require.Equal(t, to, e.State)
					switch {
					case want != none:
						require.Equal(t, Result{want, -1, -1}, got)
					case v == 2 && i == 0:
						require.Equal(t, Result{0, pid, 6}, got)
						require.Equal(t, int16(6), e.ProducerEpoch)
					case v == 2:
						require.Equal(t, Result{0, pid, 5}, got, "a retry is told the epoch of the first answer")
					default:
						require.Equal(t, int16(5), e.ProducerEpoch)
					}
				})
			}
		}
	}
}

func TestARequestDuringAnotherIsToldToComeAgain(t *testing.T) {
	r := newRig(t, Config{})
	p := r.init("x")
	r.step(AddPartitions{TransactionalID: "x", ProducerID: p.ProducerID, ProducerEpoch: 0, Partitions: []TopicPartition{tp("t", 0)}, Version: 2, Reply: r.reply("first")})
	busy := codeConcurrentTransactions
	r.step(AddPartitions{TransactionalID: "x", ProducerID: p.ProducerID, ProducerEpoch: 0, Partitions: []TopicPartition{tp("t", 1)}, Version: 2, Reply: r.reply("second")})
	require.Equal(t, busy, r.take("second").Code)
	r.step(EndTxn{TransactionalID: "x", ProducerID: p.ProducerID, Commit: true, Version: 2, SpareID: -1, Reply: r.reply("end")})
	require.Equal(t, busy, r.take("end").Code)
	r.step(InitProducerID{TransactionalID: "x", TimeoutMs: 1, ExpectedID: -1, ExpectedEpoch: -1, SpareID: -1, Reply: r.reply("init")})
	require.Equal(t, busy, r.take("init").Code)
	require.Equal(t, []int16{codeTransactionAbortable}, r.s.Verify("x", p.ProducerID, 0, []TopicPartition{tp("t", 0)}), "not durable yet")
	r.settle(nil)
	require.Zero(t, r.take("first").Code)
	require.Equal(t, []int16{0, codeTransactionAbortable}, r.s.Verify("x", p.ProducerID, 0, []TopicPartition{tp("t", 0), tp("t", 1)}))
	require.Equal(t, []int16{codeProducerFenced}, r.s.Verify("x", p.ProducerID, 1, []TopicPartition{tp("t", 0)}))
	require.Equal(t, []int16{codeInvalidProducerIDMapping}, r.s.Verify("x", 1, 0, []TopicPartition{tp("t", 0)}))
	require.Equal(t, []int16{codeInvalidProducerIDMapping}, r.s.Verify("y", 1, 0, []TopicPartition{tp("t", 0)}))
	require.Equal(t, []int16{codeInvalidRequest}, r.s.Verify("", 1, 0, []TopicPartition{tp("t", 0)}))
}

func TestAddPartitionsByState(t *testing.T) {
	for _, c := range []struct {
		state State
		pid   int64
		epoch int16
		parts []TopicPartition
		code  int16
		write bool
	}{
		{Empty, 7, 5, []TopicPartition{tp("t", 0)}, 0, true},
		{Ongoing, 7, 5, []TopicPartition{tp("t", 0)}, 0, false},
		{Ongoing, 7, 5, []TopicPartition{tp("t", 0), tp("t", 1)}, 0, true},
		{CompleteCommit, 7, 5, []TopicPartition{tp("t", 0)}, 0, true},
		{CompleteAbort, 7, 5, []TopicPartition{tp("t", 0)}, 0, true},
		{PrepareCommit, 7, 5, []TopicPartition{tp("t", 0)}, codeConcurrentTransactions, false},
		{PrepareAbort, 7, 5, []TopicPartition{tp("t", 0)}, codeConcurrentTransactions, false},
		{Ongoing, 7, 4, []TopicPartition{tp("t", 0)}, codeProducerFenced, false},
		{Ongoing, 7, 6, []TopicPartition{tp("t", 0)}, codeProducerFenced, false},
		{Ongoing, 8, 5, []TopicPartition{tp("t", 0)}, codeInvalidProducerIDMapping, false},
	} {
		r := newRig(t, Config{})
		r.put(Entry{TransactionalID: "x", ProducerID: 7, ProducerEpoch: 5, State: c.state, StartMs: 3, NextProducerID: -1}, -1)
		require.Equal(t, c.code, r.add("x", c.pid, c.epoch, 2, c.parts...), "%+v", c)
		require.Equal(t, c.write, len(r.log) == 1, "%+v", c)
		if c.write {
			e := r.state("x")
			require.Equal(t, Ongoing, e.State)
			require.Equal(t, c.parts, e.Partitions)
			want := int64(1_000_000)
			if c.state == Ongoing {
				want = 3
			}
			require.Equal(t, want, e.StartMs)
		}
	}
	r := newRig(t, Config{})
	require.Equal(t, codeInvalidRequest, r.add("", 7, 5, 2, tp("t", 0)))
	require.Equal(t, codeInvalidProducerIDMapping, r.add("unknown", 7, 5, 2, tp("t", 0)))
	require.Equal(t, codeInvalidRequest, r.end("", 7, 5, true, 2).Code)
	require.Equal(t, codeInvalidProducerIDMapping, r.end("unknown", 7, 5, true, 2).Code)
}

func TestATransactionIsCompleteWhenEveryMarkerIsWritten(t *testing.T) {
	r := newRig(t, Config{})
	p := r.init("x")
	require.Zero(t, r.add("x", p.ProducerID, 0, 2, tp("a", 0), tp("b", 0), tp("gone", 0)))
	require.Equal(t, Result{0, p.ProducerID, 1}, r.end("x", p.ProducerID, 0, true, 2), "answered before the markers")
	m := r.markers[0]
	r.markers = nil
	require.True(t, m.Commit)
	r.step(MarkersWritten{Markers: m, Codes: []int16{0, 6, 3}}) // b has no leader, gone is gone
	r.settle(nil)
	e := r.state("x")
	require.Equal(t, PrepareCommit, e.State)
	require.Equal(t, []TopicPartition{tp("b", 0)}, e.Partitions)
	require.Empty(t, r.markers, "not at once")
	r.now = r.now.Add(100 * time.Millisecond)
	r.step(Tick{})
	require.Equal(t, []TopicPartition{tp("b", 0)}, r.markers[0].Partitions)
	r.step(MarkersWritten{Markers: m, Codes: []int16{0, 6, 3}}) // an answer that comes twice
	r.mark(0)
	require.Len(t, r.batches, 1)
	r.settle(errDisk)
	require.Equal(t, PrepareCommit, r.state("x").State)
	require.Equal(t, codeConcurrentTransactions, r.end("x", p.ProducerID, 0, true, 2).Code)
	r.now = r.now.Add(100 * time.Millisecond)
	r.step(Tick{})
	r.settle(nil)
	e = r.state("x")
	require.Equal(t, CompleteCommit, e.State)
	require.Empty(t, e.Partitions)
	require.Equal(t, Result{0, p.ProducerID, 1}, r.end("x", p.ProducerID, 0, true, 2), "a retry")
}

func TestMarkersOfAnotherEndCompleteNothing(t *testing.T) {
	r := newRig(t, Config{})
	r.s.SetVersion(0) // all transactions of the producer have the same epoch
	p := r.init("x")
	require.Zero(t, r.add("x", p.ProducerID, 0, 0, tp("a", 0)))
	require.Zero(t, r.end("x", p.ProducerID, 0, true, 0).Code)
	late := r.markers[0]
	next := r.reload(Config{}) // the broker leads the partition again, and sends them again
	next.s.SetVersion(0)
	next.finish()
	require.Equal(t, CompleteCommit, next.state("x").State)
	require.Zero(t, next.add("x", p.ProducerID, 0, 0, tp("a", 0)))
	require.Zero(t, next.end("x", p.ProducerID, 0, false, 0).Code)
	next.step(MarkersWritten{Markers: late, Codes: []int16{0}}) // of the transaction before this one
	next.settle(nil)
	require.Equal(t, PrepareAbort, next.state("x").State, "the marker of this one is not written")
	next.finish()
	require.Equal(t, CompleteAbort, next.state("x").State)
}

func TestADecisionIsCompletedByTheNextCoordinator(t *testing.T) {
	for _, commit := range []bool{true, false} {
		for _, version := range []int16{0, 2} {
			r := newRig(t, Config{})
			p := r.init("x")
			require.Zero(t, r.add("x", p.ProducerID, 0, version, tp("a", 0), tp("b", 0)))
			require.Zero(t, r.end("x", p.ProducerID, 0, commit, version).Code)
			n := r.reload(Config{})
			require.Len(t, n.markers, 1)
			m := n.markers[0]
			require.Equal(t, commit, m.Commit)
			require.Equal(t, int32(6), m.CoordinatorEpoch)
			require.Equal(t, version/2, m.ProducerEpoch)
			require.Equal(t, []TopicPartition{tp("a", 0), tp("b", 0)}, m.Partitions)
			require.Equal(t, codeConcurrentTransactions, n.init("x").Code)
			n.finish()
			require.Zero(t, n.init("x").Code)
		}
	}
}

func TestNothingIsDecidedBeforeItIsDurable(t *testing.T) {
	r := newRig(t, Config{})
	p := r.init("x")
	require.Zero(t, r.add("x", p.ProducerID, 0, 2, tp("a", 0)))
	r.step(EndTxn{TransactionalID: "x", ProducerID: p.ProducerID, Commit: true, Version: 2, SpareID: -1, Reply: r.reply("end")})
	require.Empty(t, r.results)
	require.Empty(t, r.markers)
	r.settle(errDisk)
	require.Equal(t, Result{codeNotCoordinator, -1, -1}, r.take("end"))
	require.Equal(t, Ongoing, r.state("x").State)
	require.Equal(t, int16(0), r.state("x").ProducerEpoch)
	require.Empty(t, r.markers)
	require.Equal(t, Result{0, p.ProducerID, 1}, r.end("x", p.ProducerID, 0, true, 2), "it may be tried again")
	r.step(AddPartitions{TransactionalID: "x", Reply: r.reply("add")})
	r.step(Resigned{})
	r.take("add")
}

func TestExhaustedEpochsGiveWayToANewProducerID(t *testing.T) {
	r := newRig(t, Config{})
	r.put(Entry{TransactionalID: "x", ProducerID: 7, PreviousProducerID: 7, NextProducerID: -1, ProducerEpoch: lastEpoch, TimeoutMs: 1000, State: Ongoing, StartMs: 1}, lastEpoch-1)
	got := r.end("x", 7, lastEpoch, true, 2)
	require.True(t, got.Code == 0 && got.ProducerID == r.nextID && got.ProducerEpoch == 0, "%+v", got)
	require.Equal(t, int16(math.MaxInt16), r.markers[0].ProducerEpoch)
	require.Equal(t, int64(7), r.markers[0].ProducerID)
	require.Equal(t, codeConcurrentTransactions, r.add("x", got.ProducerID, 0, 2, tp("t", 0)), "before the markers are written")
	n := r.reload(Config{})
	n.finish()
	r.finish()
	for _, r := range []*rig{r, n} {
		e := r.state("x")
		require.Equal(t, got.ProducerID, e.ProducerID)
		require.Equal(t, int64(7), e.PreviousProducerID)
		require.Equal(t, NoProducerID, e.NextProducerID)
		require.Equal(t, got, r.end("x", 7, lastEpoch, true, 2), "a retry with the old id")
		require.Zero(t, r.add("x", got.ProducerID, 0, 2, tp("t", 0)))
	}
	r.put(Entry{TransactionalID: "y", ProducerID: 9, NextProducerID: -1, ProducerEpoch: lastEpoch, State: Ongoing}, -1)
	r.step(EndTxn{TransactionalID: "y", ProducerID: 9, ProducerEpoch: lastEpoch, Commit: true, Version: 2, SpareID: -1, Reply: r.reply("end")})
	require.Equal(t, codeCoordinatorLoadInProgress, r.take("end").Code)
}

func TestATransactionThatTakesTooLongIsAborted(t *testing.T) {
	for _, version := range []int16{0, 2} {
		r := newRig(t, Config{AbortCheckMs: 1000})
		r.s.SetVersion(version)
		p := r.init("x")
		require.Zero(t, r.add("x", p.ProducerID, 0, version, tp("a", 0)))
		r.now = r.now.Add(60 * time.Second)
		r.step(Tick{})
		require.Empty(t, r.batches, "not late yet")
		r.now = r.now.Add(time.Second)
		require.LessOrEqual(t, r.s.NextDeadline(), r.now.UnixMilli())
		r.step(Tick{})
		r.step(AddPartitions{TransactionalID: "x", ProducerID: p.ProducerID, Partitions: []TopicPartition{tp("b", 0)}, Version: version, Reply: r.reply("add")})
		require.Equal(t, codeConcurrentTransactions, r.take("add").Code)
		r.settle(errDisk)
		require.Equal(t, Ongoing, r.state("x").State)
		if version == 0 {
			require.Equal(t, codeProducerFenced, r.add("x", p.ProducerID, 0, version, tp("b", 0)), "the producer is out although the disk failed")
		}
		r.now = r.now.Add(time.Second)
		r.step(Tick{})
		r.settle(nil)
		require.Len(t, r.markers, 1)
		require.Equal(t, int16(1), r.markers[0].ProducerEpoch, "the epoch is bumped once, whatever failed")
		require.False(t, r.markers[0].Commit)
		require.Equal(t, codeConcurrentTransactions, r.end("x", p.ProducerID, 0, true, 0).Code)
		r.finish()
		require.Equal(t, CompleteAbort, r.state("x").State)
		require.Equal(t, codeProducerFenced, r.add("x", p.ProducerID, 0, version, tp("b", 0)))
		if version == 2 {
			require.Equal(t, codeInvalidTxnState, r.end("x", p.ProducerID, 0, true, 2).Code, "the producer learns that it did not commit")
			require.Equal(t, Result{0, p.ProducerID, 1}, r.init("x", p.ProducerID, 0), "and may go on")
		}
		require.Equal(t, Result{0, p.ProducerID, 2}, r.init("x"))
	}
}

func TestAnExhaustedProducerIsFencedWithTheEpochThatWasKeptForThat(t *testing.T) {
	r := newRig(t, Config{})
	r.put(Entry{TransactionalID: "x", ProducerID: 7, NextProducerID: -1, ProducerEpoch: lastEpoch, TimeoutMs: 1000, State: Ongoing, StartMs: 1}, -1)
	require.Equal(t, codeConcurrentTransactions, r.init("x").Code)
	require.Equal(t, int16(math.MaxInt16), r.markers[0].ProducerEpoch)
	r.finish()
	got := r.init("x")
	require.Equal(t, Result{0, r.nextID, 0}, got)
}

func TestIdleTransactionalIDsExpire(t *testing.T) {
	r := newRig(t, Config{ExpirationMs: 5000, ExpireCheckMs: 1000, MaxBatchBytes: 64})
	for i := range 5 {
		r.init(fmt.Sprint("idle-", i))
	}
	p := r.init("open")
	require.Zero(t, r.add("open", p.ProducerID, 0, 2, tp("a", 0)))
	r.now = r.now.Add(4 * time.Second)
	r.init("young")
	r.now = r.now.Add(time.Second)
	r.step(Tick{})
	require.Greater(t, len(r.batches), 1)
	r.step(InitProducerID{TransactionalID: "idle-0", TimeoutMs: 1, ExpectedID: -1, ExpectedEpoch: -1, SpareID: -1, Reply: r.reply("init")})
	require.Equal(t, codeConcurrentTransactions, r.take("init").Code)
	r.settle(errDisk)
	require.Len(t, sortedIDs(r.s), 7)
	r.now = r.now.Add(time.Second)
	r.step(Tick{})
	r.settle(nil)
	require.Equal(t, []string{"open", "young"}, sortedIDs(r.s))
	require.Equal(t, []string{"open", "young"}, sortedIDs(r.reload(Config{}).s))
	require.Equal(t, codeInvalidProducerIDMapping, r.add("idle-1", 1, 0, 2, tp("a", 0)))
}

func TestAResignedShardAnswersEveryoneAndSendsNothing(t *testing.T) {
	r := newRig(t, Config{})
	p := r.init("x")
	require.Zero(t, r.add("x", p.ProducerID, 0, 2, tp("a", 0)))
	r.step(EndTxn{TransactionalID: "x", ProducerID: p.ProducerID, Commit: true, Version: 2, SpareID: -1, Reply: r.reply("end")})
	r.step(Resigned{})
	require.Equal(t, codeNotCoordinator, r.take("end").Code)
	require.Empty(t, r.markers)
	require.Equal(t, int64(math.MaxInt64), r.s.NextDeadline())
}

func TestTransactionsAreListedByFilter(t *testing.T) {
	r := newRig(t, Config{})
	a, b := r.init("a"), r.init("b")
	require.Zero(t, r.add("b", b.ProducerID, 0, 2, tp("t", 0)))
	list := func(f Filter, after int64) []string {
		out := []string{}
		r.s.List(f, r.now.UnixMilli()+after, func(e *Entry) { out = append(out, e.TransactionalID) })
		return out
	}
	require.ElementsMatch(t, []string{"a", "b"}, list(Filter{MinDurationMs: -1}, 0))
	require.Equal(t, []string{"b"}, list(Filter{MinDurationMs: -1, States: map[State]bool{Ongoing: true}}, 0))
	require.Empty(t, list(Filter{MinDurationMs: -1, States: map[State]bool{}}, 0))
	require.Equal(t, []string{"a"}, list(Filter{MinDurationMs: -1, ProducerIDs: map[int64]bool{a.ProducerID: true}}, 0))
	require.ElementsMatch(t, []string{"a", "b"}, list(Filter{MinDurationMs: 10}, 11), "one that has no transaction has had none for long, as in Kafka")
	require.Equal(t, []string{"a"}, list(Filter{MinDurationMs: 10}, 10))
	require.Empty(t, list(Filter{MinDurationMs: math.MaxInt64}, 11))
	require.Equal(t, []string{"a"}, list(Filter{MinDurationMs: -1, Match: func(id string) bool { return id == "a" }}, 0))
}

func TestPartitionForIsKafkas(t *testing.T) {
	for id, want := range map[string]int32{"": 0, "x": 20, "my-transactional-id": PartitionFor("my-transactional-id", 50), "\U0001F600": 49} {
		require.Equal(t, want, PartitionFor(id, 50), id)
	}
	require.Equal(t, int32(0), PartitionFor("polygenelubricants", 50)) // hashCode is Integer.MIN_VALUE
	for s, state := range map[string]State{"Empty": Empty, "PrepareEpochFence": PrepareEpochFence} {
		got, ok := ParseState(s)
		require.True(t, ok)
		require.Equal(t, state, got)
	}
	_, ok := ParseState("empty")
	require.False(t, ok)
	require.Equal(t, "Unknown", State(9).String())
}
