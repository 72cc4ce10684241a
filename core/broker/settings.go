package broker

import (
	"strings"
	"time"

	"github.com/moldau-io/moldau/core/config"
	"github.com/moldau-io/moldau/core/group"
	"github.com/moldau-io/moldau/core/log"
	"github.com/moldau-io/moldau/core/metadata"
)

// settings are the broker's properties in the form it uses them.
type settings struct {
	nodeID              int32
	rack                string
	autoCreate          bool
	controllerListeners map[string]bool

	maxRequestBytes      int
	requestMemoryBytes   int64
	fetchMemoryBytes     int64
	receiveBuffer        int // as are sendBuffer and listenBacklog: 0 when it is not set, -1 for the operating system's
	sendBuffer           int
	listenBacklog        int
	maxConnections       int
	maxConnectionsPerIP  int
	idleTimeout          time.Duration
	fetchMaxBytes        int32
	fetchSessionSlots    int
	maxRequestPartitions int32
	shutdownTimeout      time.Duration

	offsetsPartitions   int32
	offsetsReplication  int16
	offsetsSegmentBytes int32
	group               group.Config
	txn                 txnSettings
	logOptions          log.Options
}

// Bounds that are not Kafka properties. Request memory follows queued.max.request.bytes when that is set.
const (
	defaultRequestMemory = 512 << 20
	defaultFetchMemory   = 256 << 20
	// maxTopicPartitionsPage is max.request.partition.size.limit.
	maxTopicPartitionsPage = 2000
)

func settingsOf(c *config.Broker) settings {
	s := settings{
		nodeID: c.NodeID, rack: c.Rack, autoCreate: c.AutoCreateTopics, controllerListeners: map[string]bool{},
		maxRequestBytes: int(c.SocketRequestMaxBytes), requestMemoryBytes: defaultRequestMemory, fetchMemoryBytes: defaultFetchMemory,
		maxConnections: int(c.MaxConnections), maxConnectionsPerIP: int(c.MaxConnectionsPerIP), idleTimeout: c.ConnectionsMaxIdle,
		fetchMaxBytes: c.FetchMaxBytes, fetchSessionSlots: int(c.FetchSessionCacheSlots), maxRequestPartitions: maxTopicPartitionsPage,
		shutdownTimeout:   20 * time.Second,
		offsetsPartitions: c.OffsetsTopicPartitions, offsetsReplication: c.OffsetsTopicReplication, offsetsSegmentBytes: c.OffsetsTopicSegmentBytes,
	}
	// Kafka's own defaults of these would only slow connections down: they act when they are set.
	given := func(key string, v int32) int {
		if _, ok := c.Static[key]; !ok {
			return 0
		}
		return int(v)
	}
	s.receiveBuffer = given("socket.receive.buffer.bytes", c.SocketReceiveBuffer)
	s.sendBuffer = given("socket.send.buffer.bytes", c.SocketSendBuffer)
	s.listenBacklog = given("socket.listen.backlog.size", c.SocketListenBacklog)
	if c.QueuedMaxRequestBytes > 0 {
		s.requestMemoryBytes = c.QueuedMaxRequestBytes
	}
	for _, n := range c.ControllerListenerNames {
		s.controllerListeners[strings.ToUpper(n)] = true
	}
	s.group = group.Config{
		OffsetsTopicPartitions:  c.OffsetsTopicPartitions,
		MinSessionTimeoutMs:     int32(c.GroupMinSessionTimeout.Milliseconds()),
		MaxSessionTimeoutMs:     int32(c.GroupMaxSessionTimeout.Milliseconds()),
		InitialRebalanceDelayMs: int32(c.GroupInitialRebalanceDelay.Milliseconds()),
		MaxGroupSize:            c.GroupMaxSize,
		OffsetMetadataMaxBytes:  c.OffsetMetadataMaxBytes,
		OffsetsRetentionMs:      int64(c.OffsetsRetentionMinutes) * 60_000,
		OffsetsRetentionCheckMs: c.OffsetsRetentionCheck.Milliseconds(),
		CommitTimeoutMs:         int32(c.OffsetsCommitTimeout.Milliseconds()),
	}
	s.group.ConsumerSessionTimeoutMs = int32(c.GroupConsumerSessionTimeout.Milliseconds())
	s.group.ConsumerHeartbeatIntervalMs = int32(c.GroupConsumerHeartbeatInterval.Milliseconds())
	s.group.ConsumerAssignmentIntervalMs = int32(c.GroupConsumerAssignmentInterval.Milliseconds())
	s.group.ConsumerMaxSize = c.GroupConsumerMaxSize
	s.group.ConsumerAssignors = c.GroupConsumerAssignors
	s.group.ConsumerMigration = strings.ToLower(c.GroupConsumerMigrationPolicy)
	s.group.ConsumerRegexRefreshMs = int32(c.GroupConsumerRegexRefresh.Milliseconds())
	if c.GroupConsumerAssignmentInterval == 0 {
		s.group.ConsumerAssignmentIntervalMs = -1 // the coordinator's way to say none
	}
	if c.GroupInitialRebalanceDelay == 0 {
		s.group.InitialRebalanceDelayMs = -1 // the coordinator's way to say none
	}
	s.txn = txnSettingsOf(c)
	s.logOptions = log.Options{
		ProducerIDExpiration: c.ProducerIDExpiration, RecoveryThreads: int(c.RecoveryThreads),
		RetentionInterval: c.LogRetentionCheckInterval, CheckpointInterval: c.LogCheckpointInterval,
		CleanerBackoff: c.LogCleanerBackoff, CleanerBufferBytes: c.LogCleanerDedupeBufferSize, CleanerThreads: int(c.LogCleanerThreads), DisableCleaner: !c.LogCleanerEnable,
	}
	if d, err := log.ParseDurability(c.Durability); err == nil {
		s.logOptions.Durability = d
	}
	return s
}

// layers are the sources of configuration values for a topic of this broker.
func (b *Broker) layers(im *metadata.Image, topic string) config.Layers {
	return config.Layers{
		Topic:   im.Configs(metadata.TopicResource, topic),
		Broker:  im.Configs(metadata.BrokerResource, b.brokerName()),
		Cluster: im.Configs(metadata.BrokerResource, ""),
		Static:  b.cfg.Core.Static,
	}
}

// effectiveTopicConfig is every config of a topic with the value in effect.
func (b *Broker) effectiveTopicConfig(im *metadata.Image, topic string) map[string]string {
	return config.TopicConfig(b.layers(im, topic))
}

// minISR is a topic's min.insync.replicas.
func (b *Broker) minISR(im *metadata.Image, topic string) int {
	return b.rules.Configs.MinInSyncReplicas(im.Configs(metadata.TopicResource, topic), im.Configs(metadata.BrokerResource, ""))
}
