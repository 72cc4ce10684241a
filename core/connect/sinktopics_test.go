package connect_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/connect/connecttest"
	"github.com/moldau-io/moldau/plugins"
)

func TestTopicsAreFoundByPatternsThatOnlyJavaKnows(t *testing.T) {
	kafka, name := cluster(t), unique(t, "s")
	s := newScript(name)
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	c := sinkConfig(name, "", "topics.regex", name+"-(?!skip).+", "consumer.override.metadata.max.age.ms", "1000")
	delete(c, "topics")
	w.MustCreate(name, c)
	for _, topic := range []string{name + "-skip", name + "-a", "x" + name + "-a"} {
		createTopic(t, kafka, topic, 1)
		fill(t, kafka, topic, 0, 1)
	}
	require.Eventually(t, func() bool { return len(s.records()) == 1 }, 20*time.Second, time.Millisecond)
	createTopic(t, kafka, name+"-b", 1)
	fill(t, kafka, name+"-b", 0, 1)
	require.Eventually(t, func() bool { return len(s.records()) == 2 }, 30*time.Second, time.Millisecond)
	have := []string{}
	for _, r := range s.records() {
		have = append(have, r.OriginalTopic)
	}
	require.Equal(t, []string{name + "-a", name + "-b"}, have)
}

// TestASinkTaskThatHangsLosesItsPlaceToTheNextOne: both have the same static membership (KIP-345), in one process.
func TestASinkTaskThatHangsLosesItsPlaceToTheNextOne(t *testing.T) {
	kafka, topic, name, props := cluster(t), unique(t, "t"), unique(t, "s"), internalTopics(t)
	props["task.shutdown.graceful.timeout.ms"] = "300"
	createTopic(t, kafka, topic, 1)
	fill(t, kafka, topic, 0, 10)
	s := newScript(name)
	var puts atomic.Int32
	release := make(chan struct{})
	defer close(release)
	s.put = func(recs []plugins.SinkRecord, _ plugins.SinkEnv) error {
		if len(recs) > 0 && puts.Add(1) == 1 {
			<-release
		}
		return nil
	}
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props})
	w.MustCreate("c", sinkConfig(name, topic))
	require.Eventually(t, func() bool { return puts.Load() == 1 }, 20*time.Second, time.Millisecond)
	require.NoError(t, w.RestartTask(context.Background(), "c", 0))
	began := time.Now()
	require.Eventually(t, func() bool { return len(s.records()) == 10 }, 30*time.Second, time.Millisecond)
	require.Less(t, time.Since(began), 25*time.Second, "it does not wait for the session of the other to run out")
	require.Eventually(t, func() bool { return committed(t, kafka, "connect-c", topic, 0) == 10 }, 20*time.Second, 20*time.Millisecond)
	w.Await("c", "RUNNING", "RUNNING")
}
