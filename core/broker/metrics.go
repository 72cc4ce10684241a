package broker

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/wire"
)

// topicStats are the counters of one topic. They outlive the topic's deletion until the broker stops reporting it.
type topicStats struct {
	messagesIn, bytesIn, bytesOut  atomic.Int64
	produceRequests, failedProduce atomic.Int64
	fetchRequests, failedFetch     atomic.Int64
}

// metrics collects the broker's figures under the names that the Strimzi dashboards use.
type metrics struct {
	b *Broker

	failedProduce, failedFetch    atomic.Int64
	requests                      [][]atomic.Int64 // by API key and version
	syncs, syncNanos, failedSyncs atomic.Int64
	successfulAuth, failedAuth    atomic.Int64
	expiredSessions, denied       atomic.Int64
	throttled                     atomic.Int64
	aheadUsed, aheadUnused        atomic.Int64

	latencies *latencies
	process   processStats

	mu     sync.Mutex
	topics map[string]*topicStats
}

func newMetrics(b *Broker) *metrics {
	last := int16(0)
	for _, a := range wire.APIs() {
		last = max(last, a.Key)
	}
	requests := make([][]atomic.Int64, last+1)
	for _, a := range wire.APIs() {
		requests[a.Key] = make([]atomic.Int64, a.Max+1)
	}
	return &metrics{b: b, requests: requests, latencies: newLatencies(), topics: map[string]*topicStats{}}
}

// topic returns the counters of a topic.
func (m *metrics) topic(name string) *topicStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.topics[name]
	if s == nil {
		s = &topicStats{}
		m.topics[name] = s
	}
	return s
}

// request counts a request. Those of ApiVersions in versions that are not known yet count as the newest.
func (m *metrics) request(key, version int16) {
	if key >= 0 && int(key) < len(m.requests) && version >= 0 {
		if v := m.requests[key]; len(v) > 0 {
			v[min(int(version), len(v)-1)].Add(1)
		}
	}
}

// synced is told of each sync of a log.
func (m *metrics) synced(took time.Duration, err error) {
	m.syncs.Add(1)
	m.syncNanos.Add(int64(took))
	if err != nil {
		m.failedSyncs.Add(1)
	}
}

// failedToProduce counts records of a topic that were refused. As in Kafka that is for trouble: what clients mend by themselves, and a log
// directory that has failed, are counted elsewhere.
func (m *metrics) failedToProduce(t *topicState, code int16) {
	switch code {
	case kerr.UnknownTopicOrPartition.Code, kerr.NotLeaderForPartition.Code, kerr.UnknownTopicID.Code,
		kerr.MessageTooLarge.Code, kerr.RecordListTooLarge.Code, kerr.CorruptMessage.Code, kerr.KafkaStorageError.Code:
		return
	}
	t.stats.failedProduce.Add(1)
	m.failedProduce.Add(1)
}

// failedToFetch is the same for a fetch.
func (m *metrics) failedToFetch(t *topicState, code int16) {
	switch code {
	case kerr.UnknownTopicOrPartition.Code, kerr.NotLeaderForPartition.Code, kerr.ReplicaNotAvailable.Code, kerr.InconsistentTopicID.Code,
		kerr.UnknownLeaderEpoch.Code, kerr.FencedLeaderEpoch.Code, kerr.OffsetOutOfRange.Code, kerr.KafkaStorageError.Code:
		return
	}
	t.stats.failedFetch.Add(1)
	m.failedFetch.Add(1)
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	descMessagesIn     = desc("kafka_server_brokertopicmetrics_messagesin_total", "Records appended; the empty topic is the sum.", "topic")
	descBytesIn        = desc("kafka_server_brokertopicmetrics_bytesin_total", "Bytes of record batches produced.", "topic")
	descBytesOut       = desc("kafka_server_brokertopicmetrics_bytesout_total", "Bytes of record batches fetched.", "topic")
	descProduce        = desc("kafka_server_brokertopicmetrics_totalproducerequests_total", "Partitions that produce requests named, as Kafka counts them; the empty topic is the sum.", "topic")
	descProduceFailed  = desc("kafka_server_brokertopicmetrics_failedproducerequests_total", "Partitions of produce requests whose records were refused, but for errors that Kafka does not count: those that clients retry or look up metadata for, records that are corrupt or too large, a log directory that has failed. The empty topic is all.", "topic")
	descFetch          = desc("kafka_server_brokertopicmetrics_totalfetchrequests_total", "Partitions that fetch requests named, as Kafka counts them; the empty topic is the sum.", "topic")
	descFetchFailed    = desc("kafka_server_brokertopicmetrics_failedfetchrequests_total", "Partitions of fetch requests that failed, but for errors that Kafka does not count: leader epochs, offsets out of range, partitions that are not here, a log directory that has failed. The empty topic is all.", "topic")
	descPartitions     = desc("kafka_server_replicamanager_partitioncount", "Partitions on this broker.")
	descLeaders        = desc("kafka_server_replicamanager_leadercount", "Partitions that this broker leads.")
	descUnder          = desc("kafka_server_replicamanager_underreplicatedpartitions", "Led partitions with replicas that are not in sync.")
	descUnderMin       = desc("kafka_server_replicamanager_underminisrpartitioncount", "Led partitions with fewer in-sync replicas than min.insync.replicas.")
	descAtMin          = desc("kafka_server_replicamanager_atminisrpartitioncount", "Led partitions with exactly min.insync.replicas in sync.")
	descOffline        = desc("kafka_server_replicamanager_offlinereplicacount", "Replicas on a log directory that has failed.")
	descController     = desc("kafka_controller_kafkacontroller_activecontrollercount", "1 when this node leads the metadata quorum.")
	descOfflineParts   = desc("kafka_controller_kafkacontroller_offlinepartitionscount", "Partitions without a leader.")
	descGlobalTopics   = desc("kafka_controller_kafkacontroller_globaltopiccount", "Topics of the cluster.")
	descGlobalParts    = desc("kafka_controller_kafkacontroller_globalpartitioncount", "Partitions of the cluster.")
	descActiveBrokers  = desc("kafka_controller_kafkacontroller_activebrokercount", "Brokers that are not fenced.")
	descFencedBrokers  = desc("kafka_controller_kafkacontroller_fencedbrokercount", "Brokers that are fenced.")
	descLogSize        = desc("kafka_log_log_size", "Bytes of a partition's log.", "topic", "partition")
	descLogStart       = desc("kafka_log_log_logstartoffset", "First offset of a partition's log.", "topic", "partition")
	descLogEnd         = desc("kafka_log_log_logendoffset", "End offset of a partition's log.", "topic", "partition")
	descOfflineDirs    = desc("kafka_log_logmanager_offlinelogdirectorycount", "Log directories that have failed.")
	descUncleanable    = desc("kafka_log_logcleanermanager_uncleanable_partitions_count", "Partitions of a log directory that are not compacted until the next start, because what they hold cannot be read.", "logdirectory")
	descTopicParts     = desc("kafka_topic_partitions", "Partitions of a topic.", "topic")
	descCurrentOffset  = desc("kafka_topic_partition_current_offset", "High watermark of a partition.", "topic", "partition")
	descOldestOffset   = desc("kafka_topic_partition_oldest_offset", "First offset of a partition.", "topic", "partition")
	descInSync         = desc("kafka_topic_partition_in_sync_replica", "In-sync replicas of a partition.", "topic", "partition")
	descReplicas       = desc("kafka_topic_partition_replicas", "Replicas of a partition.", "topic", "partition")
	descUnderReplica   = desc("kafka_topic_partition_under_replicated_partition", "1 when a replica of the partition is not in sync.", "topic", "partition")
	descPreferred      = desc("kafka_topic_partition_leader_is_preferred", "1 when the preferred replica leads.", "topic", "partition")
	descSessions       = desc("kafka_server_fetchsessioncache_numincrementalfetchsessions", "Fetch sessions.")
	descSessionParts   = desc("kafka_server_fetchsessioncache_numincrementalfetchpartitionscached", "Partitions in fetch sessions.")
	descSessionEvicted = desc("kafka_server_fetchsessioncache_incrementalfetchsessionevictions_total", "Fetch sessions evicted.")
	descConnections    = desc("kafka_server_socket_server_metrics_connection_count", "Open connections.")
	descAccepted       = desc("kafka_server_socket_server_metrics_connection_creation_total", "Connections accepted.")
	descRejected       = desc("kafka_server_socket_server_metrics_connection_rejected_total", "Connections refused for a limit.")
	descBadFrames      = desc("kafka_server_socket_server_metrics_bad_frames_total", "Connections closed for bytes that are no request.")
	descShed           = desc("kafka_server_socket_server_metrics_slow_frames_total", "Connections closed because their requests came slowly while others waited for request memory.")
	descAuthGood       = desc("kafka_server_socket_server_metrics_successful_authentication_total", "SASL authentications that succeeded.")
	descAuthBad        = desc("kafka_server_socket_server_metrics_failed_authentication_total", "SASL authentications and TLS handshakes that failed.")
	descExpired        = desc("kafka_server_socket_server_metrics_expired_connections_killed_count", "Connections closed since their client did not authenticate again.")
	descStrangers      = desc("kafka_server_socket_server_metrics_unauthenticated_connections", "Connections that have not authenticated yet.")
	descDenied         = desc("kafka_server_standardauthorizermetrics_denied_total", "Requests for a resource that the access control lists denied.")
	descACLs           = desc("kafka_server_standardauthorizermetrics_acls_total_count", "Access control entries.")
	descThrottled      = desc("kafka_server_throttled_requests_total", "Requests whose client was throttled by a quota.")
	descReadAhead      = desc("moldau_fetch_read_ahead_bytes_total", "Bytes of records that were read while the consumer was busy with the answer before, by whether its next fetch asked for them.", "used")
	descCertExpires    = desc("kafka_server_ssl_certificate_not_after_seconds", "When the certificate of a listener ends, in seconds since 1970.", "listener")
	descNetIn          = desc("kafka_server_socket_server_metrics_incoming_byte_total", "Bytes read from connections.")
	descNetOut         = desc("kafka_server_socket_server_metrics_outgoing_byte_total", "Bytes written to connections.")
	descQueuedBytes    = desc("kafka_network_requestchannel_requestmemory_bytes", "Memory of request frames held.")
	descRequests       = desc("kafka_network_requestmetrics_requests_total", "Requests by API and version.", "request", "version")
	descDelayedFetch   = desc("kafka_server_delayedoperationpurgatory_purgatorysize", "Operations that wait.", "delayedoperation")
	descFlushes        = desc("kafka_log_logflushstats_logflushrateandtimems_count", "Log syncs.")
	descFlushSeconds   = desc("kafka_log_logflushstats_logflush_seconds_total", "Seconds spent in log syncs.")
)

// Describe implements prometheus.Collector as an unchecked collector: what there is depends on the topics.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	m.collectTopics(counter)
	m.collectPartitions(gauge)
	m.collectController(gauge)
	m.collectDashboards(ch, counter, gauge)
	st := m.b.server.Stats()
	gauge(descConnections, float64(st.Connections.Load()))
	counter(descAccepted, float64(st.Accepted.Load()))
	counter(descRejected, float64(st.Rejected.Load()))
	counter(descBadFrames, float64(st.BadFrames.Load()))
	counter(descShed, float64(st.Shed.Load()))
	counter(descAuthGood, float64(m.successfulAuth.Load()))
	counter(descAuthBad, float64(m.failedAuth.Load()+st.FailedHandshakes.Load()))
	counter(descExpired, float64(m.expiredSessions.Load()))
	gauge(descStrangers, float64(m.b.server.Unauthenticated()))
	counter(descDenied, float64(m.denied.Load()))
	gauge(descACLs, float64(m.b.image().NumACLs()))
	counter(descThrottled, float64(m.throttled.Load()))
	counter(descReadAhead, float64(m.aheadUsed.Load()), "true")
	counter(descReadAhead, float64(m.aheadUnused.Load()), "false")
	for name, l := range m.b.security {
		if at := l.Expires(); !at.IsZero() {
			gauge(descCertExpires, float64(at.Unix()), name)
		}
	}
	counter(descNetIn, float64(st.BytesIn.Load()))
	counter(descNetOut, float64(st.BytesOut.Load()))
	gauge(descQueuedBytes, float64(m.b.server.FrameBytes()))
	for _, a := range wire.APIs() {
		for version := range m.requests[a.Key] {
			if n := m.requests[a.Key][version].Load(); n > 0 {
				counter(descRequests, float64(n), a.Name, strconv.Itoa(version))
			}
		}
	}
	sessions, parts, evicted := m.b.sessions.count()
	gauge(descSessions, float64(sessions))
	gauge(descSessionParts, float64(parts))
	counter(descSessionEvicted, float64(evicted))
	gauge(descDelayedFetch, float64(m.b.pollers.len()), "Fetch")
	counter(descFlushes, float64(m.syncs.Load()))
	counter(descFlushSeconds, time.Duration(m.syncNanos.Load()).Seconds())
}

func (m *metrics) collectTopics(counter func(*prometheus.Desc, float64, ...string)) {
	m.mu.Lock()
	topics := make(map[string]*topicStats, len(m.topics))
	for n, s := range m.topics {
		topics[n] = s
	}
	m.mu.Unlock()
	var messages, in, out, produced, fetched int64
	for n, s := range topics {
		produced += s.produceRequests.Load()
		fetched += s.fetchRequests.Load()
		messages += s.messagesIn.Load()
		in += s.bytesIn.Load()
		out += s.bytesOut.Load()
		if m.b.topicNamed(n) == nil {
			continue // deleted: it still counts in the sums
		}
		counter(descMessagesIn, float64(s.messagesIn.Load()), n)
		counter(descBytesIn, float64(s.bytesIn.Load()), n)
		counter(descBytesOut, float64(s.bytesOut.Load()), n)
		counter(descProduce, float64(s.produceRequests.Load()), n)
		counter(descProduceFailed, float64(s.failedProduce.Load()), n)
		counter(descFetch, float64(s.fetchRequests.Load()), n)
		counter(descFetchFailed, float64(s.failedFetch.Load()), n)
	}
	counter(descMessagesIn, float64(messages), "")
	counter(descBytesIn, float64(in), "")
	counter(descBytesOut, float64(out), "")
	counter(descProduce, float64(produced), "")
	counter(descProduceFailed, float64(m.failedProduce.Load()), "")
	counter(descFetch, float64(fetched), "")
	counter(descFetchFailed, float64(m.failedFetch.Load()), "")
}

func (m *metrics) collectPartitions(gauge func(*prometheus.Desc, float64, ...string)) {
	var partitions, leaders, under, underMin, atMin, offline int
	uncleanable := map[string]int{}
	if m.b.dir != nil {
		for _, d := range m.b.dir.List() {
			uncleanable[d.Path()] = 0
		}
	}
	for _, t := range m.b.topics.all() {
		parts := *t.parts.Load()
		gauge(descTopicParts, float64(len(parts)), t.name)
		for _, p := range parts {
			if p == nil {
				continue
			}
			partitions++
			offline += truth(p.Log().Dir().Err() != nil)
			uncleanable[p.Log().Dir().Path()] += truth(p.Log().Uncleanable())
			index := strconv.Itoa(int(p.Index()))
			gauge(descLogSize, float64(p.Log().Size()), t.name, index)
			gauge(descLogStart, float64(p.Log().StartOffset()), t.name, index)
			gauge(descLogEnd, float64(p.Log().EndOffset()), t.name, index)
			if !p.IsLeader() {
				continue
			}
			leaders++
			l := p.Leadership()
			behind := len(l.ISR) < len(l.Replicas)
			under += truth(behind)
			underMin += truth(len(l.ISR) < l.MinISR)
			atMin += truth(len(l.ISR) == l.MinISR)
			gauge(descCurrentOffset, float64(p.HighWatermark()), t.name, index)
			gauge(descOldestOffset, float64(p.Log().StartOffset()), t.name, index)
			gauge(descInSync, float64(len(l.ISR)), t.name, index)
			gauge(descReplicas, float64(len(l.Replicas)), t.name, index)
			gauge(descUnderReplica, float64(truth(behind)), t.name, index)
			gauge(descPreferred, float64(truth(len(l.Replicas) > 0 && l.Replicas[0] == l.Leader)), t.name, index)
		}
	}
	offlineDirs := 0
	if m.b.dir != nil {
		offlineDirs = m.b.dir.Offline()
	}
	gauge(descPartitions, float64(partitions))
	gauge(descLeaders, float64(leaders))
	gauge(descUnder, float64(under))
	gauge(descUnderMin, float64(underMin))
	gauge(descAtMin, float64(atMin))
	gauge(descOffline, float64(offline))
	gauge(descOfflineDirs, float64(offlineDirs))
	for d, n := range uncleanable {
		gauge(descUncleanable, float64(n), d)
	}
}

func (m *metrics) collectController(gauge func(*prometheus.Desc, float64, ...string)) {
	im := m.b.image()
	leaderless, active, fenced := 0, 0, 0
	for _, t := range im.Topics() {
		for i := range t.Partitions {
			leaderless += truth(t.Partitions[i].Leader == metadata.NoLeader)
		}
	}
	for _, br := range im.Brokers() {
		active += truth(!br.Fenced)
		fenced += truth(br.Fenced)
	}
	if q, ok := m.b.quorum.(interface{ IsLeader() bool }); ok {
		gauge(descController, float64(truth(q.IsLeader())))
	}
	gauge(descOfflineParts, float64(leaderless))
	gauge(descGlobalTopics, float64(im.NumTopics()))
	gauge(descGlobalParts, float64(im.NumPartitions()))
	gauge(descActiveBrokers, float64(active))
	gauge(descFencedBrokers, float64(fenced))
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}
