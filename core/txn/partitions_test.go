package txn

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ask begins an addition that may wait; it is answered under its name.
func (r *rig) ask(name, id string, p Result, wait int64, parts ...TopicPartition) {
	r.step(AddPartitions{TransactionalID: id, ProducerID: p.ProducerID, ProducerEpoch: p.ProducerEpoch, Partitions: parts, Version: 2, WaitMs: wait, Reply: r.reply(name)})
}

func (r *rig) unanswered(names ...string) {
	r.t.Helper()
	for _, n := range names {
		require.NotContains(r.t, r.results, n)
	}
}

// ended is a transaction whose end is decided; its markers are on their way.
func ended(t *testing.T) (*rig, Result) {
	r := newRig(t, Config{})
	p := r.init("x")
	require.Zero(t, r.add("x", p.ProducerID, 0, 2, tp("a", 0)))
	return r, r.end("x", p.ProducerID, 0, true, 2)
}

func TestAnAdditionWaitsForTheEndOfTheLastTransaction(t *testing.T) {
	r, p := ended(t)
	r.ask("one", "x", p, 100, tp("b", 0))
	r.ask("two", "x", p, 100, tp("c", 0))
	r.unanswered("one", "two")
	require.Empty(t, r.batches)
	r.mark(0)
	require.Len(t, r.batches, 3, "with the completion, in one sync")
	r.unanswered("one", "two")
	r.settle(nil)
	require.Zero(t, r.take("one").Code)
	require.Zero(t, r.take("two").Code)
	for _, r := range []*rig{r, r.reload(Config{})} {
		e := r.state("x")
		require.Equal(t, Ongoing, e.State)
		require.Equal(t, int16(1), e.ProducerEpoch)
		require.Equal(t, []TopicPartition{tp("b", 0), tp("c", 0)}, e.Partitions)
		require.Empty(t, r.markers, "nothing of the last transaction is left to do")
	}
	require.Empty(t, r.s.waits)
	require.Equal(t, Result{0, p.ProducerID, 2}, r.end("x", p.ProducerID, 1, true, 2))
	require.Equal(t, []TopicPartition{tp("b", 0), tp("c", 0)}, r.markers[0].Partitions)
}

func TestAnAdditionIsWrittenBehindACompletionThatIsOnItsWay(t *testing.T) {
	r, p := ended(t)
	r.mark(0)
	require.Len(t, r.batches, 1)
	r.ask("add", "x", p, 100, tp("b", 0))
	require.Len(t, r.batches, 2)
	r.settle(nil)
	require.Zero(t, r.take("add").Code)
	require.Equal(t, Ongoing, r.state("x").State)
}

func TestAnAdditionIsWrittenBehindAnother(t *testing.T) {
	r := newRig(t, Config{})
	p := r.init("x")
	r.ask("one", "x", p, 100, tp("a", 0))
	r.ask("two", "x", p, 100, tp("b", 0))
	r.ask("again", "x", p, 100, tp("a", 0))
	r.ask("impatient", "x", p, 0, tp("c", 0))
	require.Equal(t, codeConcurrentTransactions, r.take("impatient").Code)
	r.ask("zombie", "x", Result{0, p.ProducerID, -1}, 100, tp("c", 0))
	require.Equal(t, codeConcurrentTransactions, r.take("zombie").Code, "nothing that is not durable is told")
	r.unanswered("one", "two", "again")
	// The first gets lost: the later ones say the same and more.
	b := r.batches[0]
	r.batches = r.batches[1:]
	r.step(Appended{Seq: b.Seq, Err: errDisk})
	require.NotZero(t, r.take("one").Code)
	r.settle(nil)
	require.Zero(t, r.take("two").Code)
	require.Zero(t, r.take("again").Code)
	require.Equal(t, []TopicPartition{tp("a", 0), tp("b", 0)}, r.state("x").Partitions)
	require.Equal(t, r.state("x"), r.reload(Config{}).state("x"))
}

func TestACompletionThatIsLostIsMadeGoodByTheAdditionBehindIt(t *testing.T) {
	r, p := ended(t)
	r.ask("add", "x", p, 100, tp("b", 0))
	r.mark(0)
	b := r.batches[0]
	r.batches = r.batches[1:]
	r.step(Appended{Seq: b.Seq, Err: errDisk})
	r.settle(nil)
	require.Zero(t, r.take("add").Code)
	require.Equal(t, Ongoing, r.state("x").State)
	require.Empty(t, r.s.retry)
	require.Equal(t, r.state("x"), r.reload(Config{}).state("x"))
}

func TestACompletionIsTriedAgainWhenTheAdditionBehindItIsLostToo(t *testing.T) {
	r, p := ended(t)
	r.ask("add", "x", p, 100, tp("b", 0))
	r.mark(0)
	r.settle(errDisk)
	require.NotZero(t, r.take("add").Code)
	require.Equal(t, PrepareCommit, r.state("x").State)
	r.ask("add", "x", p, 500, tp("b", 0))
	r.unanswered("add")
	r.now = r.now.Add(100 * time.Millisecond)
	r.step(Tick{})
	r.settle(nil)
	require.Zero(t, r.take("add").Code)
	require.Equal(t, Ongoing, r.state("x").State)
}

func TestAnAdditionDoesNotWaitForEver(t *testing.T) {
	r, p := ended(t)
	r.ask("late", "x", p, 300, tp("b", 0))
	r.ask("early", "x", p, 100, tp("b", 0))
	require.Equal(t, r.now.UnixMilli()+100, r.s.NextDeadline())
	r.now = r.now.Add(100 * time.Millisecond)
	r.step(Tick{})
	require.Equal(t, codeConcurrentTransactions, r.take("early").Code)
	r.unanswered("late")
	r.finish()
	require.Zero(t, r.take("late").Code)
	for i := range maxParked + 1 {
		if i == 0 {
			require.Zero(t, r.end("x", p.ProducerID, 1, true, 2).Code)
			p.ProducerEpoch++
		}
		r.ask(string(rune('a'+i)), "x", p, 100, tp("b", 0))
	}
	require.Len(t, r.results, 1)
	require.Equal(t, codeConcurrentTransactions, r.take(string(rune('a'+maxParked))).Code)
}

func TestAFencedProducerLearnsItAfterItHasWaited(t *testing.T) {
	r, p := ended(t)
	r.ask("zombie", "x", Result{0, p.ProducerID, 0}, 100, tp("b", 0))
	r.unanswered("zombie")
	r.mark(0)
	require.Equal(t, codeConcurrentTransactions, r.take("zombie").Code, "the end is not durable yet")
	r.settle(nil)
	r.ask("zombie", "x", Result{0, p.ProducerID, 0}, 100, tp("b", 0))
	require.Equal(t, codeProducerFenced, r.take("zombie").Code)
}

func TestAResignedShardAnswersThoseWhoWait(t *testing.T) {
	r, p := ended(t)
	r.ask("add", "x", p, 100, tp("b", 0))
	r.mark(0)
	r.ask("behind", "x", p, 100, tp("c", 0))
	r.step(Resigned{})
	require.Equal(t, codeNotCoordinator, r.take("add").Code)
	require.Equal(t, codeNotCoordinator, r.take("behind").Code)
	r, p = ended(t)
	r.ask("add", "x", p, 100, tp("b", 0))
	r.step(Resigned{})
	require.Equal(t, codeNotCoordinator, r.take("add").Code)
}

func TestAnAdditionWaitsWhileItsTransactionIsAborted(t *testing.T) {
	r := newRig(t, Config{AbortCheckMs: 1000})
	p := r.init("x")
	require.Zero(t, r.add("x", p.ProducerID, 0, 2, tp("a", 0)))
	r.now = r.now.Add(61 * time.Second)
	r.step(Tick{})
	require.Len(t, r.batches, 1)
	r.ask("add", "x", p, 100, tp("b", 0))
	r.settle(nil)
	r.unanswered("add")
	r.mark(0)
	require.Equal(t, codeConcurrentTransactions, r.take("add").Code, "who is fenced by an end learns it when that is durable")
	r.settle(nil)
	r.ask("add", "x", p, 100, tp("b", 0))
	require.Equal(t, codeProducerFenced, r.take("add").Code)
	require.Equal(t, CompleteAbort, r.state("x").State)
}

func TestAnAdditionGoesOnWhenTheEndThatItWaitsForIsLost(t *testing.T) {
	r := newRig(t, Config{})
	p := r.init("x")
	require.Zero(t, r.add("x", p.ProducerID, 0, 2, tp("a", 0)))
	r.step(EndTxn{TransactionalID: "x", ProducerID: p.ProducerID, Commit: true, Version: 2, SpareID: -1, Reply: r.reply("end")})
	r.ask("add", "x", p, 100, tp("b", 0))
	b := r.batches[0]
	r.batches = nil
	r.step(Appended{Seq: b.Seq, Err: errDisk})
	require.NotZero(t, r.take("end").Code)
	r.settle(nil)
	require.Zero(t, r.take("add").Code)
	require.Equal(t, []TopicPartition{tp("a", 0), tp("b", 0)}, r.state("x").Partitions)
}
