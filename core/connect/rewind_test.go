package connect_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/connect/connecttest"
	"github.com/moldau-io/moldau/plugins"
)

// after checks the order of a partition's records around a rewind: none of those that were fetched before it may come after it.
type after struct {
	mu    sync.Mutex
	want  map[int32]int64 // the offset that a partition must go on with
	wrong []string
	met   int
}

func (a *after) rewound(p int32, offset int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.want[p] = offset
}

func (a *after) put(recs []plugins.SinkRecord) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range recs {
		p := recs[i].Partition
		if want, ok := a.want[p]; ok {
			if recs[i].Offset != want {
				a.wrong = append(a.wrong, fmt.Sprintf("partition %d went on at %d, not at %d", p, recs[i].Offset, want))
			}
			a.met++
			delete(a.want, p)
		}
	}
}

func (a *after) seen() (int, []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.met, slices.Clone(a.wrong)
}

func TestARewindAskedForWhileARebalanceCommitsComesBeforeMoreRecords(t *testing.T) {
	kafka, topic, name := cluster(t), unique(t, "t"), unique(t, "s")
	createTopic(t, kafka, topic, 2)
	fill(t, kafka, topic, 0, 200)
	s := newScript(name)
	a := &after{want: map[int32]int64{}}
	var env atomic.Pointer[plugins.SinkEnv]
	s.put = func(recs []plugins.SinkRecord, e plugins.SinkEnv) error {
		env.Store(&e)
		a.put(recs)
		return nil
	}
	var rebalances atomic.Int64
	s.full = func() { // one partition leaves, the other stays: what is asked for the one that leaves is forgotten
		if rebalances.Add(1) == 1 {
			for p := range int32(2) {
				a.rewound(p, 3)
				(*env.Load()).Rewind(plugins.TopicPartition{Topic: topic, Partition: p}, 3)
			}
		}
	}
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	w.MustCreate(name, sinkConfig(name, topic, "consumer.override.max.poll.records", "5"))
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() { // so that each poll finds records beyond the rewind
		for from := 200; !stop.Load(); from += 50 {
			fill(t, kafka, topic, from, 50)
		}
	})
	defer wg.Wait()
	defer stop.Store(true)
	require.Eventually(t, func() bool { return len(s.records()) >= 200 }, 30*time.Second, time.Millisecond)
	other, err := kgo.NewClient(append(slices.Clone(kafka), kgo.ConsumerGroup("connect-"+name), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit())...)
	require.NoError(t, err)
	defer other.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	wg.Go(func() {
		for ctx.Err() == nil {
			other.PollFetches(ctx)
		}
	})
	require.Eventually(t, func() bool { met, _ := a.seen(); return met > 0 }, 30*time.Second, time.Millisecond)
	_, wrong := a.seen()
	require.Empty(t, wrong)
	cancel()
}

func TestARewindTakesItsPartitionOutOfABatchThatIsDeliveredAgain(t *testing.T) {
	kafka, topic, name := cluster(t), unique(t, "t"), unique(t, "s")
	createTopic(t, kafka, topic, 2)
	fill(t, kafka, topic, 0, 100)
	s := newScript(name)
	a := &after{want: map[int32]int64{}}
	var once sync.Once
	s.put = func(recs []plugins.SinkRecord, env plugins.SinkEnv) (err error) {
		a.put(recs)
		for i := range recs {
			if recs[i].Partition == 0 && recs[i].Offset > 20 {
				once.Do(func() {
					a.rewound(0, 4)
					env.Rewind(plugins.TopicPartition{Topic: topic}, 4)
					err = plugins.Retriable(errors.New("busy"))
				})
			}
		}
		return err
	}
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	w.MustCreate(name, sinkConfig(name, topic))
	// All but the four that the rewind left out.
	require.Eventually(t, func() bool { met, _ := a.seen(); return met > 0 && len(values(s.records())) == 96 }, 30*time.Second, time.Millisecond)
	_, wrong := a.seen()
	require.Empty(t, wrong)
}
