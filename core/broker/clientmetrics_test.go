package broker_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

// TestSubscriptionsToClientMetricsSurviveARestart: they are metadata as all configs are; what is answered on the way is in testdata/answers.
func TestSubscriptionsToClientMetricsSurviveARestart(t *testing.T) {
	c := brokertest.Start(t)
	alter := func(ops ...kmsg.IncrementalAlterConfigsRequestResourceConfig) {
		t.Helper()
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeClientMetrics, ResourceName: "producers", Configs: ops}}
		resp, err := req.RequestWith(t.Context(), c.Client(t))
		require.NoError(t, err)
		require.Zero(t, resp.Resources[0].ErrorCode, resp.Resources[0].ErrorMessage)
	}
	shown := func() (names []string, values map[string]string) {
		t.Helper()
		list, err := kmsg.NewPtrListConfigResourcesRequest().RequestWith(t.Context(), c.Client(t))
		require.NoError(t, err)
		for _, r := range list.ConfigResources {
			if r.Type == int8(kmsg.ConfigResourceTypeClientMetrics) {
				names = append(names, r.Name)
			}
		}
		req := kmsg.NewPtrDescribeConfigsRequest()
		req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeClientMetrics, ResourceName: "producers"}}
		resp, err := req.RequestWith(t.Context(), c.Client(t))
		require.NoError(t, err)
		values = map[string]string{}
		for _, e := range resp.Resources[0].Configs {
			values[e.Name] = *e.Value
		}
		return names, values
	}
	alter(kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: "metrics", Value: pointer("org.apache.kafka.producer.")},
		kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: "match", Value: pointer("client_id=a.*")})
	want := map[string]string{"interval.ms": "300000", "match": "client_id=a.*", "metrics": "org.apache.kafka.producer."}
	for range 2 {
		names, values := shown()
		require.Equal(t, []string{"producers"}, names)
		require.Equal(t, want, values)
		c.Restart(t)
	}
	alter(kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: "metrics", Op: kmsg.IncrementalAlterConfigOpDelete}, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: "match", Op: kmsg.IncrementalAlterConfigOpDelete})
	c.Restart(t)
	names, _ := shown()
	require.Empty(t, names)
}
