package broker

import (
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What the dashboards of Strimzi and of kafka_exporter show beside the broker's counters.
var (
	descPartAtMin    = desc("kafka_cluster_partition_atminisr", "1 when exactly min.insync.replicas of a led partition are in sync.", "topic", "partition")
	descPartUnderMin = desc("kafka_cluster_partition_underminisr", "1 when fewer than min.insync.replicas of a led partition are in sync.", "topic", "partition")
	descPartReplicas = desc("kafka_cluster_partition_replicascount", "Replicas of a led partition.", "topic", "partition")
	descPartInSync   = desc("kafka_cluster_partition_insyncreplicascount", "In-sync replicas of a led partition.", "topic", "partition")
	descPartLeader   = desc("kafka_topic_partition_leader", "Broker that leads a partition.", "topic", "partition")
	descBrokers      = desc("kafka_brokers", "Brokers that are not fenced.")
	descBrokerInfo   = desc("kafka_broker_info", "1 for each broker.", "id", "address")
	descUnclean      = desc("kafka_controller_controllerstats_uncleanleaderelections_total", "Leaders elected that were not in sync.")
	descNetworkIdle  = desc("kafka_network_socketserver_networkprocessoravgidle_percent", "Share of the processors that this process leaves idle, 0 to 1.")
	descHandlerIdle  = desc("kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent", "Share of the processors that this process leaves idle, 0 to 1.")
	descDiskRead     = desc("kafka_server_kafkaserver_linux_disk_read_bytes", "Bytes that this process made the disks read.")
	descDiskWrite    = desc("kafka_server_kafkaserver_linux_disk_write_bytes", "Bytes that this process made the disks write.")
	descBrokerState  = desc("kafka_server_kafkaserver_brokerstate", "3 while the broker serves, as in Kafka.")
	descRaftState    = desc("kafka_server_raftmetrics_current_state", "1 for what this node is in the metadata quorum.", "current_state")
	descRaftLeader   = desc("kafka_server_raftmetrics_current_leader", "Leader of the metadata quorum, -1 when there is none.")
	descRaftVote     = desc("kafka_server_raftmetrics_current_vote", "Node that this one follows in the metadata quorum, -1 when there is none.")
	descRaftEpoch    = desc("kafka_server_raftmetrics_current_epoch", "Epoch of the metadata quorum.")
	descRaftHigh     = desc("kafka_server_raftmetrics_high_watermark", "End of what is committed of the metadata log.")
	descRaftEnd      = desc("kafka_server_raftmetrics_log_end_offset", "End of the metadata log that is applied here.")
	descMetaOffset   = desc("kafka_server_brokermetadatametrics_last_applied_record_offset", "Last metadata record applied by this broker.")
)

// uncleanElections is what there can be of them with one replica of each partition.
const uncleanElections = 0

// runningState is Kafka's BrokerState.RUNNING.
const runningState = 3

func (m *metrics) collectDashboards(ch chan<- prometheus.Metric, counter, gauge func(*prometheus.Desc, float64, ...string)) {
	now := time.Now()
	m.latencies.collect(ch, now)
	for _, t := range m.b.topics.all() {
		for _, p := range *t.parts.Load() {
			if p == nil || !p.IsLeader() {
				continue
			}
			l, index := p.Leadership(), strconv.Itoa(int(p.Index()))
			gauge(descPartAtMin, float64(truth(len(l.ISR) == l.MinISR)), t.name, index)
			gauge(descPartUnderMin, float64(truth(len(l.ISR) < l.MinISR)), t.name, index)
			gauge(descPartReplicas, float64(len(l.Replicas)), t.name, index)
			gauge(descPartInSync, float64(len(l.ISR)), t.name, index)
			gauge(descPartLeader, float64(l.Leader), t.name, index)
		}
	}
	im := m.b.image()
	active := 0
	for _, br := range im.Brokers() {
		active += truth(!br.Fenced)
	}
	gauge(descBrokers, float64(active))
	gauge(descBrokerInfo, 1, nodeLabel(m.b.set.nodeID), m.b.Addr())
	counter(descUnclean, uncleanElections)
	idle := m.process.idleShare(now, runtime.GOMAXPROCS(0))
	gauge(descNetworkIdle, idle)
	gauge(descHandlerIdle, idle)
	if r, w, ok := diskBytes(); ok {
		gauge(descDiskRead, float64(r))
		gauge(descDiskWrite, float64(w))
	}
	gauge(descBrokerState, runningState)
	leader := m.b.quorum.LeaderID()
	state := "follower"
	switch leader {
	case m.b.set.nodeID:
		state = "leader"
	case -1:
		state = "unattached"
	}
	gauge(descRaftState, 1, state)
	gauge(descRaftLeader, float64(leader))
	gauge(descRaftVote, float64(leader))
	gauge(descRaftEpoch, float64(im.Epoch))
	gauge(descRaftHigh, float64(im.Offset+1))
	gauge(descRaftEnd, float64(im.Offset+1))
	gauge(descMetaOffset, float64(im.Offset))
}
