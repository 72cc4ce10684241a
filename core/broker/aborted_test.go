package broker_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

// A judged history found this one: a log that failed between the read of a fetch and its list of aborted transactions.
func TestAbortedRecordsAreNotServedWhenTheirListCannotBeRead(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("transaction.state.log.num.partitions", "1"))
	c.CreateTopic(t, "t", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cl := c.Client(t, kgo.TransactionalID("x"), kgo.DefaultProduceTopic("t"))
	require.NoError(t, cl.BeginTransaction())
	require.NoError(t, cl.ProduceSync(ctx, kgo.StringRecord("aborted")).FirstErr())
	require.NoError(t, cl.EndTransaction(ctx, kgo.TryAbort))
	adm := c.Admin(t)
	require.Eventually(t, func() bool { // the marker comes after the answer
		stable, err := adm.ListCommittedOffsets(ctx, "t")
		o, _ := stable.Lookup("t", 0)
		return err == nil && o.Offset == 2
	}, 10*time.Second, 5*time.Millisecond)
	index, err := filepath.Glob(filepath.Join(c.Dir, "data", "t-0", "*.txnindex"))
	require.NoError(t, err)
	require.Len(t, index, 1)
	whole, err := os.ReadFile(index[0])
	require.NoError(t, err)
	replace := func(b []byte) { // at once: an empty index is a good one
		require.NoError(t, os.WriteFile(index[0]+".new", b, 0o644))
		require.NoError(t, os.Rename(index[0]+".new", index[0]))
	}
	replace(append([]byte{0x7f, 0x7f}, whole[2:]...))

	reader := c.Client(t, kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(20*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().At(0)}}))
	short, stop := context.WithTimeout(ctx, 500*time.Millisecond)
	defer stop()
	require.Zero(t, reader.PollFetches(short).NumRecords())

	replace(whole)
	plain := c.Client(t, kgo.DefaultProduceTopic("t"))
	require.NoError(t, plain.ProduceSync(ctx, kgo.StringRecord("plain")).FirstErr())
	for {
		fs := reader.PollRecords(ctx, 1)
		require.NoError(t, ctx.Err())
		if fs.NumRecords() > 0 {
			require.Equal(t, "plain", string(fs.Records()[0].Value))
			return
		}
	}
}
