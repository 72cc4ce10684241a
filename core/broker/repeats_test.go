package broker_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

func TestARequestMayNotHaveOneThingDescribedOverAndOver(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	cl := c.Client(t)
	for name, request := range map[string]func(n int) kmsg.Request{
		"configs": func(n int) kmsg.Request {
			q := kmsg.NewPtrDescribeConfigsRequest()
			q.Resources = slices.Repeat([]kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"}}, n)
			return q
		},
		"groups": func(n int) kmsg.Request {
			q := kmsg.NewPtrDescribeGroupsRequest()
			q.Groups = slices.Repeat([]string{"g"}, n)
			return q
		},
		"consumer groups": func(n int) kmsg.Request {
			q := kmsg.NewPtrConsumerGroupDescribeRequest()
			q.Groups = slices.Repeat([]string{"g"}, n)
			return q
		},
		"offsets": func(n int) kmsg.Request {
			q := kmsg.NewPtrOffsetFetchRequest()
			q.Groups = slices.Repeat([]kmsg.OffsetFetchRequestGroup{{Group: "g", MemberEpoch: -1}}, n)
			return q
		},
		"transactions": func(n int) kmsg.Request {
			q := kmsg.NewPtrDescribeTransactionsRequest()
			q.TransactionalIDs = slices.Repeat([]string{"x"}, n)
			return q
		},
		"producers": func(n int) kmsg.Request {
			q := kmsg.NewPtrDescribeProducersRequest()
			q.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: slices.Repeat([]int32{0}, n)}}
			return q
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := cl.Broker(1).Request(ctxOf(t), request(16))
			require.NoError(t, err)
			_, err = cl.Broker(1).Request(ctxOf(t), request(17))
			require.Error(t, err, "the connection is closed")
		})
	}
}
