package log

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

// inTxn is a transactional batch of one record.
func inTxn(producer int64, epoch int16, seq int32) []byte {
	w := batch.Builder{Idempotent: true, Transactional: true, ProducerID: producer, ProducerEpoch: epoch, BaseSequence: seq}
	w.Append(1, nil, []byte("v"))
	return w.MustBuild()
}

func TestATransactionBeginsInALogOnlyWithPermission(t *testing.T) {
	d, err := OpenDir(t.TempDir(), Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	l, err := d.Create("t", 0, [16]byte{1}, DefaultConfig())
	require.NoError(t, err)
	write := func(epoch int16, seq int32, g Guard) error {
		_, err := l.Append(inTxn(7, epoch, seq), AppendOptions{Guard: g})
		return err
	}
	mark := func(epoch, version int16) {
		t.Helper()
		_, err := l.Append(batch.BuildEndTxn(1, 7, epoch, batch.EndTxn{Type: batch.ControlCommit}), AppendOptions{Origin: Coordinator, TransactionVersion: version})
		require.NoError(t, err)
	}
	start := func(epoch int16) (Guard, bool) {
		t.Helper()
		g, needed, err := l.StartVerification(7, epoch, math.MaxInt32, false)
		require.NoError(t, err)
		return g, needed
	}
	require.ErrorIs(t, write(0, 0, NoGuard), ErrInvalidTxnState)
	g, needed := start(0)
	require.True(t, needed)
	same, _ := start(0)
	require.Equal(t, g, same, "two writes under way share one")
	require.ErrorIs(t, write(0, 0, g+1), ErrInvalidTxnState)
	require.ErrorIs(t, write(1, 0, g), ErrInvalidTxnState, "another epoch")
	require.NoError(t, write(0, 0, g))
	_, needed = start(0)
	require.False(t, needed, "the transaction is open")
	require.NoError(t, write(0, 1, NoGuard))

	// Version 1: the marker takes back what was given for the transaction it ends, also from a log that has nothing of it.
	mark(0, 0)
	require.ErrorIs(t, write(0, 2, NoGuard), ErrInvalidTxnState)
	g, _ = start(0)
	mark(0, 0)
	require.ErrorIs(t, write(0, 2, g), ErrInvalidTxnState, "a write that was verified for the transaction before")
	g, _ = start(0)
	require.NoError(t, write(0, 2, g))

	// Version 2: the marker has the next epoch, and the next transaction may be waiting for it.
	g, _ = start(1)
	mark(1, 2)
	require.NoError(t, write(1, 0, g))
	require.ErrorIs(t, write(0, 3, g), ErrInvalidProducerEpoch)
	_, _, err = l.StartVerification(7, 0, 0, true)
	require.ErrorIs(t, err, ErrInvalidProducerEpoch)
	mark(2, 2)
	_, err = l.Append(inTxn(7, 2, 5), AppendOptions{})
	require.ErrorIs(t, err, ErrOutOfOrderSequence, "an epoch begins with sequence 0")
	g, _ = start(2)
	require.NoError(t, write(2, 0, g))
	_, err = l.Append(batch.BuildEndTxn(1, 7, 2, batch.EndTxn{Type: batch.ControlAbort}), AppendOptions{Origin: Coordinator, TransactionVersion: 2})
	require.ErrorIs(t, err, ErrInvalidProducerEpoch, "a marker that comes again must not end the next transaction")
	mark(3, 2)

	g, _ = start(9)
	l.producers.dropGuards(l.d.nowMs() + 61_000)
	require.ErrorIs(t, write(9, 0, g), ErrInvalidTxnState)
}

func TestATransactionBeginsInALogWithTheFirstOfItsBatches(t *testing.T) {
	d, err := OpenDir(t.TempDir(), Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	l, err := d.Create("t", 0, [16]byte{1}, DefaultConfig())
	require.NoError(t, err)
	start := func(producer int64, epoch int16, seq int32, fresh bool) Guard {
		t.Helper()
		g, needed, err := l.StartVerification(producer, epoch, seq, fresh)
		require.NoError(t, err)
		require.True(t, needed)
		return g
	}
	write := func(producer int64, epoch int16, seq int32, g Guard) error {
		_, err := l.Append(inTxn(producer, epoch, seq), AppendOptions{Guard: g})
		return err
	}
	// The batch with sequence 4 asked first, or second, and was not let in: the next one waits for it.
	g := start(7, 0, 4, false)
	require.Equal(t, g, start(7, 0, 5, false))
	require.ErrorIs(t, write(7, 0, 5, g), ErrOutOfOrderSequence)
	require.NoError(t, write(7, 0, 4, g), "a producer of before transaction version 2 begins where it is")
	require.NoError(t, write(7, 0, 5, NoGuard))
	g = start(8, 0, 5, false)
	start(8, 0, 4, false)
	require.ErrorIs(t, write(8, 0, 5, g), ErrOutOfOrderSequence)

	// With version 2 each transaction has its epoch, and that begins with 0.
	g = start(9, 0, 3, true)
	require.ErrorIs(t, write(9, 0, 3, g), ErrOutOfOrderSequence)
	start(9, 0, 0, true)
	require.NoError(t, write(9, 0, 0, g))

	// The coordinator's own batches have no sequence.
	g = start(10, 0, batch.NoSequence, true)
	_, err = l.Append(inTxn(10, 0, batch.NoSequence), AppendOptions{Origin: Coordinator, Guard: g})
	require.NoError(t, err)
}

func TestATransactionIsStableWhenTheHighWatermarkHasPassedItsMarker(t *testing.T) {
	d, err := OpenDir(t.TempDir(), Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	l, err := d.Create("t", 0, [16]byte{1}, DefaultConfig())
	require.NoError(t, err)
	l.AdvanceHighWatermark(0)
	for _, b := range [][]byte{inTxn(7, 0, 0), inTxn(8, 0, 0), batch.BuildEndTxn(1, 8, 0, batch.EndTxn{Type: batch.ControlAbort}), batch.BuildEndTxn(1, 7, 0, batch.EndTxn{Type: batch.ControlCommit})} {
		_, err := l.Append(b, AppendOptions{Origin: Coordinator})
		require.NoError(t, err)
	}
	for hw, want := range []int64{0, 0, 0, 0, 4} {
		l.AdvanceHighWatermark(int64(hw))
		require.Equal(t, want, l.LastStableOffset(), "high watermark %d", hw)
	}
	l.AdvanceHighWatermark(2)
	require.Equal(t, int64(4), l.LastStableOffset(), "it does not go back")
}
