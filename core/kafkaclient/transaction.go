package kafkaclient

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
)

// EndTransaction ends the client's transaction, as its method of that name does, once every record produced in it has been answered for: by its
// promise, by ProduceSync or by Flush. What is still buffered may fail with kgo.ErrAborting, as it should
// before an abort. It is to be used instead of the method; see Settle.
func EndTransaction(ctx context.Context, cl *kgo.Client, try kgo.TransactionEndTry) error {
	if err := Settle(ctx, cl); err != nil {
		return err
	}
	return cl.EndTransaction(ctx, try)
}

// Settle returns when the client knows all partitions that it has been answered for. Without it the end of a transaction may abort what it was
// asked to commit, and say that it went well.
//
// The first record to a topic waits in the client for the topic's partitions. The goroutine that learns them hands the record on to be sent,
// and only then stores the partitions where the client looks for those that are in its transaction (storePartitionsUpdate, franz-go 1.22.2).
// A broker that answers before that goroutine gets on finds its client without a partition that was written to, and such a transaction
// is aborted, whatever was asked for (KIP-890: an attempt may have opened it). Between handing on and storing that goroutine holds the
// lock of the topics that are not known yet; AbortBufferedRecords takes the same lock, and does nothing else where nothing is buffered.
func Settle(ctx context.Context, cl *kgo.Client) error { return cl.AbortBufferedRecords(ctx) }
