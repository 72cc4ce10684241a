package kafkaclient_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/kafkaclient"
)

// slowToStore holds the goroutine that has learnt a topic's partitions, between the first record's way out and the note of the partitions: until
// the client has asked for the end of its transaction, or for as long as such a request would take to come.
type slowToStore struct {
	records int
	ending  chan struct{}
}

func (s *slowToStore) ForTopic(string) kgo.TopicPartitioner { return s }
func (s *slowToStore) RequiresConsistency(*kgo.Record) bool { return true }
func (s *slowToStore) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == 26 { // EndTxn
		close(s.ending)
	}
}

func (s *slowToStore) Partition(*kgo.Record, int) int {
	if s.records++; s.records == 2 {
		select {
		case <-s.ending:
		case <-time.After(300 * time.Millisecond):
		}
	}
	return 0
}

func TestWhatWasAcknowledgedIsCommittedHoweverSlowTheClientNotesItsPartition(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("transaction.state.log.num.partitions", "1"))
	c.CreateTopic(t, "t", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	slow := &slowToStore{ending: make(chan struct{})}
	cl := c.Client(t, kgo.TransactionalID("x"), kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(slow), kgo.WithHooks(slow))
	require.NoError(t, cl.BeginTransaction())
	first := make(chan error, 1)
	cl.Produce(ctx, kgo.StringRecord("acknowledged"), func(_ *kgo.Record, err error) { first <- err })
	cl.Produce(ctx, kgo.StringRecord("any"), func(*kgo.Record, error) {})
	require.NoError(t, <-first)
	require.NoError(t, kafkaclient.EndTransaction(ctx, cl, kgo.TryCommit))

	reader := c.Client(t, kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().At(0)}}))
	short, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	fs := reader.PollRecords(short, 1)
	require.NoError(t, fs.Err())
	require.Equal(t, "acknowledged", string(fs.Records()[0].Value))
}
