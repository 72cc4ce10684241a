package connect_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/connect/connecttest"
	"github.com/moldau-io/moldau/plugins"
)

func TestSinkTasksAreToldTheIDOfTheTopicTheyRead(t *testing.T) {
	kafka, topic, name := cluster(t), unique(t, "t"), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	fill(t, kafka, topic, 0, 3)
	cl, err := kgo.NewClient(kafka...)
	require.NoError(t, err)
	defer cl.Close()
	details, err := kadm.NewClient(cl).ListTopics(t.Context(), topic)
	require.NoError(t, err)
	want := [16]byte(details[topic].ID)
	require.NotZero(t, want)

	s := newScript(name)
	var mu sync.Mutex
	var told [16]byte
	s.put = func(recs []plugins.SinkRecord, e plugins.SinkEnv) error {
		if len(recs) > 0 {
			mu.Lock()
			defer mu.Unlock()
			told = e.TopicID(topic)
		}
		return nil
	}
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	w.MustCreate(name, sinkConfig(name, topic))
	require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return told == want }, 30*time.Second, 10*time.Millisecond)
}
