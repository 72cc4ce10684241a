package connect_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// dumped is a record of a real Kafka Connect's internal topics.
type dumped struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Key       string  `json:"key"`
	Value     *string `json:"value"`
}

// TestRecordInternalTopics writes testdata/kafka-connect-topics.jsonl from the internal topics of a running Kafka Connect 4.3:
// MOLDAU_RECORD_TOPICS=bootstrap,prefix.
func TestRecordInternalTopics(t *testing.T) {
	from := os.Getenv("MOLDAU_RECORD_TOPICS")
	if from == "" {
		t.Skip("MOLDAU_RECORD_TOPICS is not set")
	}
	addr, prefix, _ := strings.Cut(from, ",")
	f, err := os.Create("testdata/kafka-connect-topics.jsonl")
	require.NoError(t, err)
	enc := json.NewEncoder(f)
	for _, topic := range []string{"configs", "offsets", "status"} {
		cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(prefix+topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		for ctx.Err() == nil {
			cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
				d := dumped{Topic: topic, Partition: r.Partition, Key: string(r.Key)}
				if d.Key == "session-key" {
					return
				}
				if r.Value != nil {
					v := string(r.Value)
					d.Value = &v
				}
				require.NoError(t, enc.Encode(d))
			})
		}
		cancel()
		cl.Close()
	}
	require.NoError(t, f.Close())
}
