package broker_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/config"
	"github.com/moldau-io/moldau/core/log"
)

// configValues are values that some key accepts.
var configValues = []string{
	"-9223372036854775808", "-131073", "-131072", "-3", "-2", "-1", "0", "1", "2", "4", "9", "13", "14", "17", "22", "1000", "1048576", "2147483647", "2147483648",
	"9223372036854775807", "0.5", "1.0", "true", "FALSE", " true ", " 7 ", "", "delete", "compact", "compact,delete", "none", "gzip", "zstd", "lz4", "snappy", "producer",
	"uncompressed", "CreateTime", "LogAppendTime", "fsync", "os",
}

// A config that is accepted and that the logs cannot use would keep its topic, or all of them, from being opened at the next start.
func TestEveryConfigThatIsAcceptedIsOneThatLogsCanUse(t *testing.T) {
	accepted := map[string]int{}
	for _, k := range config.TopicKeys.Keys() {
		for _, v := range configValues {
			o := map[string]string{k.Name: v}
			if config.ValidateTopic(o) == nil {
				accepted[k.Name]++
				_, err := log.ParseConfig(config.TopicConfig(config.Layers{Topic: o}))
				assert.NoError(t, err, "%s=%q", k.Name, v)
			}
		}
		require.NotZero(t, accepted[k.Name], k.Name)
	}
	for _, k := range config.BrokerKeys.Keys() {
		for _, v := range configValues {
			o := map[string]string{k.Name: v}
			if config.ValidateBrokerUpdate([]string{k.Name}, false) == nil && config.ValidateBroker(o, nil) == nil {
				_, err := log.ParseConfig(config.TopicConfig(config.Layers{Broker: o}))
				assert.NoError(t, err, "%s=%q at run time", k.Name, v)
			}
			if _, err := config.ParseBroker(o); err == nil {
				_, err := log.ParseConfig(config.TopicConfig(config.Layers{Static: o}))
				assert.NoError(t, err, "%s=%q in the file", k.Name, v)
			}
		}
	}
}

func TestARetentionBelowMinusOneIsNone(t *testing.T) {
	cfg, err := log.ParseConfig(map[string]string{"retention.bytes": "-2"})
	require.NoError(t, err)
	require.EqualValues(t, -1, cfg.RetentionBytes)
}
