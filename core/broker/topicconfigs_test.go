package broker_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

// recordConfigs is the address of an Apache Kafka (one node, empty) to record testdata/kafka_topic_configs.json from.
var recordConfigs = flag.String("record.configs", "", "record the topic configs of this Kafka")

// describedConfig is a topic config as DescribeConfigs answers it.
type describedConfig struct {
	Name      string   `json:"name"`
	Value     string   `json:"value"`
	Type      string   `json:"type"`
	Source    string   `json:"source"`
	ReadOnly  bool     `json:"read_only,omitempty"`
	Sensitive bool     `json:"sensitive,omitempty"`
	Synonyms  []string `json:"synonyms"` // name=value (source)
}

func describeTopicConfigs(t *testing.T, cl *kgo.Client, topic string) []describedConfig {
	t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms = true
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	req.Resources = append(req.Resources, r)
	if *recordConfigs != "" {
		time.Sleep(time.Second) // Kafka's brokers learn of changes later
	}
	resp, err := req.RequestWith(context.Background(), cl)
	require.NoError(t, err)
	require.Zero(t, resp.Resources[0].ErrorCode)
	var out []describedConfig
	for _, c := range resp.Resources[0].Configs {
		d := describedConfig{Name: c.Name, Type: c.ConfigType.String(), Source: c.Source.String(), ReadOnly: c.ReadOnly, Sensitive: c.IsSensitive, Value: "null"}
		if c.Value != nil {
			d.Value = *c.Value
		}
		for _, s := range c.ConfigSynonyms {
			v := "null"
			if s.Value != nil {
				v = *s.Value
			}
			d.Synonyms = append(d.Synonyms, fmt.Sprintf("%s=%s (%s)", s.Name, v, s.Source))
		}
		out = append(out, d)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// configTranscript describes the configs of topics after each of several changes.
func configTranscript(t *testing.T, cl *kgo.Client) map[string][]describedConfig {
	t.Helper()
	alter := func(kind kmsg.ConfigResourceType, name string, op kmsg.IncrementalAlterConfigOp, key, value string) {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kind, name
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Op, c.Value = key, op, &value
		r.Configs = append(r.Configs, c)
		req.Resources = append(req.Resources, r)
		resp, err := req.RequestWith(context.Background(), cl)
		require.NoError(t, err)
		require.Zero(t, resp.Resources[0].ErrorCode, "%s: %v", key, resp.Resources[0].ErrorMessage)
	}
	create := func(name string, configs map[string]string) {
		req := kmsg.NewPtrCreateTopicsRequest()
		tp := kmsg.NewCreateTopicsRequestTopic()
		tp.Topic, tp.NumPartitions, tp.ReplicationFactor = name, 1, 1
		for k, v := range configs {
			c := kmsg.NewCreateTopicsRequestTopicConfig()
			c.Name, c.Value = k, &v
			tp.Configs = append(tp.Configs, c)
		}
		req.Topics = append(req.Topics, tp)
		resp, err := req.RequestWith(context.Background(), cl)
		require.NoError(t, err)
		require.Zero(t, resp.Topics[0].ErrorCode)
	}
	out := map[string][]describedConfig{}
	create("plain", nil)
	out["1 defaults"] = describeTopicConfigs(t, cl, "plain")
	create("own", map[string]string{
		"cleanup.policy": "compact,delete", "retention.ms": "1000", "segment.bytes": "2097152", "min.cleanable.dirty.ratio": "0.1",
		"message.timestamp.type": "LogAppendTime", "compression.type": "zstd", "preallocate": "true", "max.message.bytes": "100",
	})
	out["2 of the topic"] = describeTopicConfigs(t, cl, "own")
	alter(kmsg.ConfigResourceTypeBroker, "", kmsg.IncrementalAlterConfigOpSet, "log.retention.ms", "5000")
	alter(kmsg.ConfigResourceTypeBroker, "", kmsg.IncrementalAlterConfigOpSet, "log.segment.bytes", "3145728")
	alter(kmsg.ConfigResourceTypeBroker, "1", kmsg.IncrementalAlterConfigOpSet, "log.cleaner.delete.retention.ms", "7000")
	out["3 of the broker, dynamic: plain"] = describeTopicConfigs(t, cl, "plain")
	out["4 of the broker, dynamic: own"] = describeTopicConfigs(t, cl, "own")
	alter(kmsg.ConfigResourceTypeTopic, "own", kmsg.IncrementalAlterConfigOpSubtract, "cleanup.policy", "compact")
	alter(kmsg.ConfigResourceTypeTopic, "own", kmsg.IncrementalAlterConfigOpDelete, "retention.ms", "")
	alter(kmsg.ConfigResourceTypeTopic, "plain", kmsg.IncrementalAlterConfigOpAppend, "cleanup.policy", "compact")
	out["5 altered: plain"] = describeTopicConfigs(t, cl, "plain")
	out["6 altered: own"] = describeTopicConfigs(t, cl, "own")
	return out
}

// newerConfigs came with Kafka 4.4; the recorded answers are of 4.3. durability is moldau's own.
var newerConfigs = map[string]bool{"durability": true, "errors.deadletterqueue.group.enable": true, "remote.copy.lag.ms": true, "remote.copy.lag.bytes": true}

func TestTopicConfigsAreDescribedAsKafkaDescribesThem(t *testing.T) {
	path := filepath.Join("testdata", "kafka_topic_configs.json")
	if *recordConfigs != "" {
		cl, err := kgo.NewClient(kgo.SeedBrokers(*recordConfigs))
		require.NoError(t, err)
		defer cl.Close()
		p, err := json.MarshalIndent(configTranscript(t, cl), "", " ")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, append(p, '\n'), 0o644))
	}
	p, err := os.ReadFile(path)
	require.NoError(t, err)
	var want map[string][]describedConfig
	require.NoError(t, json.Unmarshal(p, &want))
	*recordConfigs = ""
	// What the download's server.properties sets.
	c := brokertest.Start(t, brokertest.With("log.retention.hours", "168"), brokertest.With("log.segment.bytes", "1073741824"))
	got := configTranscript(t, c.Client(t))
	require.Len(t, got, len(want))
	for step, configs := range want {
		names := map[string]bool{}
		have := map[string]describedConfig{}
		for _, d := range got[step] {
			have[d.Name] = d
		}
		for _, d := range configs {
			names[d.Name] = true
			h := have[d.Name]
			if d.Name == "min.insync.replicas" {
				// With eligible leader replicas on, Kafka writes this default into the cluster's dynamic configuration (KIP-966).
				d.Source, d.Synonyms, h.Source, h.Synonyms = "", nil, "", nil
			}
			assert.Equal(t, d, h, "%s: %s", step, d.Name)
		}
		for name := range have {
			require.True(t, names[name] || newerConfigs[name], "%s: %s is no config of Kafka", step, name)
		}
	}
}
