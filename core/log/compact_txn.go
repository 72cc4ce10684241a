package log

import (
	"slices"

	"github.com/moldau-io/moldau/core/log/batch"
)

// txnTracker follows the transactions while the batches of a log go by from its start.
type txnTracker struct {
	aborted []AbortedTxn         // to come, by first offset
	open    map[int64]abortedNow // aborted transactions that the batches at hand may belong to
	data    map[int64]bool       // producers with a committed transaction that has batches
}

type abortedNow struct {
	txn  AbortedTxn
	seen bool // a batch of it was there
}

func newTxnTracker(aborted []AbortedTxn) txnTracker {
	return txnTracker{aborted: slices.Clone(aborted), open: map[int64]abortedNow{}, data: map[int64]bool{}}
}

func (t *txnTracker) advance(offset int64) {
	for len(t.aborted) > 0 && t.aborted[0].FirstOffset <= offset {
		t.open[t.aborted[0].ProducerID] = abortedNow{txn: t.aborted[0]}
		t.aborted = t.aborted[1:]
	}
}

// isAborted says whether a batch of data belongs to an aborted transaction.
func (t *txnTracker) isAborted(b batch.Batch) bool {
	t.advance(b.LastOffset())
	if !b.IsTransactional() {
		return false
	}
	if a, ok := t.open[b.ProducerID()]; ok && b.BaseOffset() <= a.txn.LastOffset {
		a.seen = true
		t.open[b.ProducerID()] = a
		return true
	}
	t.data[b.ProducerID()] = true
	return false
}

// control notes a marker. empty says that its transaction has no batch left; entry is what the transaction index of the new
// segment must hold for it.
func (t *txnTracker) control(b batch.Batch, r *batch.Reader) (empty bool, entry *AbortedTxn) {
	t.advance(b.LastOffset())
	if b.RecordCount() == 0 {
		return true, nil
	}
	m, ok, err := batch.ParseEndTxn(r, b)
	if err != nil || !ok {
		return false, nil // not understood: stays
	}
	id := b.ProducerID()
	if m.Type == batch.ControlAbort {
		a, ok := t.open[id]
		delete(t.open, id)
		if !ok || !a.seen || a.txn.LastOffset < b.BaseOffset() {
			return true, nil
		}
		return false, &a.txn
	}
	had := t.data[id]
	delete(t.data, id)
	return !had, nil
}
