package connect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// finalError will come again.
type finalError struct{ error }

// Unwrap returns the error.
func (e finalError) Unwrap() error { return e.error }

// lost reports whether an error says that the producer was shut out: another one has taken over its id, or the broker gave its transaction
// up because it took too long.
func lost(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, errOverwritten)
}

// final reports whether an error will come again.
func final(err error) bool {
	var fe finalError
	if errors.As(err, &fe) || errors.Is(err, kgo.ErrClientClosed) || errors.Is(err, kgo.ErrRecordTimeout) || errors.Is(err, kgo.ErrRecordRetries) {
		return true
	}
	var ke *kerr.Error
	if !errors.As(err, &ke) {
		return false
	}
	switch ke {
	case kerr.UnknownProducerID, kerr.OutOfOrderSequenceNumber, kerr.TransactionAbortable, kerr.InvalidTxnState,
		kerr.InvalidProducerIDMapping, kerr.ConcurrentTransactions, kerr.OperationNotAttempted, kerr.UnknownServerError:
		return false // the coordinator will tell
	}
	return !ke.Retriable
}

// recoverTries bounds how often one transaction is written.
const recoverTries = 20

var errOverwritten = errors.New("the stored source offsets are no longer those that this task wrote: another task of the connector has run meanwhile")

// recover starts the producer again after a transaction went wrong, and finds out what became of it: committed tells that it is in the log.
func (w *txnWriter) recover(try int, marks []sourceMark, offs *offsetRecords, attempted bool) (committed bool, err error) {
	if try >= recoverTries {
		return false, fmt.Errorf("given up after %d tries", try)
	}
	before := w.offsets.primary.positions(w.offsets.name, marks)
	w.closeClient()
	if offs != nil {
		_ = offs.wait()
	}
	for delay := 50 * time.Millisecond * (1 << min(try, 6)); ; delay = min(2*delay, 5*time.Second) {
		if err := sleep(w.ctx, delay); err != nil {
			return false, err
		}
		err := w.restart()
		if err == nil {
			err = w.offsets.primary.il.readAll(w.ctx, w.offsets.primary.topic)
		}
		if err == nil {
			break
		}
		if lost(err) || final(err) || w.ctx.Err() != nil {
			return false, err
		}
		w.log.Warn("the producer cannot be started yet", "transactional_id", w.txnID, "error", err)
	}
	after := w.offsets.primary.positions(w.offsets.name, marks)
	if attempted && offs != nil && len(offs.recs) > 0 {
		committed = true
		for i, r := range offs.recs {
			committed = committed && after[i] == logPosition{r.Partition, r.Offset}
		}
		if committed {
			w.log.Info("the transaction was committed after all", "transactional_id", w.txnID)
			return true, nil
		}
	}
	for i := range after {
		if after[i] != before[i] {
			return false, errOverwritten
		}
	}
	if attempted && (offs == nil || len(offs.recs) == 0) {
		return false, errors.New("the answer to a commit was lost, and there is no source offset in the transaction to tell whether it was committed")
	}
	return false, nil
}

// restart takes the transactional id over from the client that was closed, unless somebody else has.
func (w *txnWriter) restart() error {
	cl, err := w.newClient()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
	defer cancel()
	_, _, err = initProducer(ctx, cl, w.txnID, w.timeout, w.pid, w.epoch)
	var pid int64
	var epoch int16
	// An id that the coordinator has forgotten (it was idle for transactional.id.expiration.ms) is nobody else's.
	if err == nil || errors.Is(err, kerr.InvalidProducerIDMapping) || errors.Is(err, kerr.UnknownProducerID) {
		pid, epoch, err = cl.ProducerID(ctx)
	}
	if err != nil {
		cl.Close()
		return err
	}
	w.mu.Lock()
	w.cl, w.pid, w.epoch = cl, pid, epoch
	w.mu.Unlock()
	return nil
}
