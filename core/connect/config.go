package connect

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
)

// Resolver replaces ${provider:path:key} references in configurations. Values are resolved where they are used and stored,
// shown and logged as they were written.
type Resolver interface {
	// Resolve returns props with all references replaced. It does not change props. An error names the key and the reference.
	Resolve(ctx context.Context, props map[string]string) (map[string]string, error)
}

// Config is what a Worker needs.
type Config struct {
	// KafkaOpts reach the cluster: seeds or a dialer, TLS, SASL. They are shared by all clients of the worker.
	KafkaOpts []kgo.Opt
	Plugins   *plugins.Registry
	// Resolver is nil when there are no config providers: references are then taken literally.
	Resolver Resolver
	// RegistryURL is the schema registry that converters use when their configuration names none.
	RegistryURL string
	// Properties are those of section connect, by Kafka Connect's names; see Properties for the definition.
	Properties map[string]string
	Logger     *slog.Logger
	Registerer prometheus.Registerer // may be nil
	// AdvertisedURL is where the REST API of this worker is reached; its host:port is the worker id in all statuses.
	AdvertisedURL string
	// Version and Commit are reported by GET /.
	Version, Commit string
}

// settings are the worker properties in use.
type settings struct {
	values configdef.Values

	groupID       string
	workerID      string
	configTopic   string
	offsetTopic   string
	statusTopic   string
	replication   map[string]int64 // topic key prefix -> replication factor, -1: min(3, brokers)
	flushInterval time.Duration
	graceful      time.Duration
	topicTracking bool
	trackingReset bool
	topicCreation bool
	autoInternal  bool
}

func newSettings(c *Config) (*settings, error) {
	v, err := Properties().Parse(c.Properties)
	if err != nil {
		return nil, fmt.Errorf("connect configuration: %w", err)
	}
	u, err := url.Parse(c.AdvertisedURL)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("connect configuration: the advertised URL %q has no host and port; give one like http://127.0.0.1:8083", c.AdvertisedURL)
	}
	s := &settings{
		values:        v,
		groupID:       v.Str("group.id"),
		workerID:      u.Host,
		configTopic:   v.Str("config.storage.topic"),
		offsetTopic:   v.Str("offset.storage.topic"),
		statusTopic:   v.Str("status.storage.topic"),
		flushInterval: v.Millis("offset.flush.interval.ms"),
		graceful:      v.Millis("task.shutdown.graceful.timeout.ms"),
		topicTracking: v.Bool("topic.tracking.enable"),
		trackingReset: v.Bool("topic.tracking.allow.reset"),
		topicCreation: v.Bool("topic.creation.enable"),
		autoInternal:  v.Bool("internal.topics.automatic.creation.enable"),
	}
	s.replication = map[string]int64{}
	for _, p := range []string{"config", "offset", "status"} {
		s.replication[p] = v.Int(p + ".storage.replication.factor")
	}
	return s, nil
}

// withPrefix returns the worker's own properties below prefix, without it.
func (s *settings) withPrefix(prefix string) map[string]string {
	m := map[string]string{}
	for k, v := range s.values.Raw() {
		if strings.HasPrefix(k, prefix) {
			m[k[len(prefix):]] = v
		}
	}
	return m
}
