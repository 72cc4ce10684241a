package broker_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

func TestAGroupWhoseNameIsNoTextHidesNoOtherGroupsLag(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	cl := c.Client(t)
	for _, group := range []string{"good", "bad\xff"} {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Group, req.Generation = group, -1
		topic := kmsg.NewOffsetCommitRequestTopic()
		topic.Topic, topic.TopicID = "t", c.Quorum.Image().Topic("t").ID
		topic.Partitions = []kmsg.OffsetCommitRequestTopicPartition{{LeaderEpoch: -1}}
		req.Topics = append(req.Topics, topic)
		resp, err := req.RequestWith(ctxOf(t), cl)
		require.NoError(t, err)
		require.Zero(t, resp.Topics[0].Partitions[0].ErrorCode)
	}
	figures := everyFigure(t, c)
	require.Contains(t, figures, "consumergroup_lag{consumergroup=good,partition=0,topic=t}")
	require.InDelta(t, 1, figures["moldau_consumergroup_partitions_without_series"], 0)
}
