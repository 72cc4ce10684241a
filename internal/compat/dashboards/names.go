// Package dashboards holds the hub's metrics to the public dashboards that people have for Apache Kafka: Strimzi's for brokers, KRaft and Connect, its alerts,
// and the one for kafka_exporter. Every name that one of them asks for is either served or listed here with the reason why it is not.
//
// docs/metrics.md is made from the same lists and from what a hub that works serves; the test fails when it is stale.
package dashboards

// Dashboard is what a public dashboard, or a set of alerts, asks Prometheus for.
type Dashboard struct {
	Name  string
	Names []string
}

// Public are the dashboards, by the names of the metrics in their queries.
var Public = []Dashboard{
	{"Strimzi Kafka", []string{
		"container_cpu_usage_seconds_total", "container_memory_usage_bytes", "jvm_gc_collection_seconds_count", "jvm_gc_collection_seconds_sum", "jvm_memory_used_bytes",
		"jvm_threads_current", "kafka_cluster_partition_atminisr", "kafka_cluster_partition_replicascount", "kafka_cluster_partition_underminisr",
		"kafka_controller_controllerstats_uncleanleaderelections_total", "kafka_controller_kafkacontroller_activecontrollercount",
		"kafka_controller_kafkacontroller_offlinepartitionscount", "kafka_log_log_size", "kafka_network_socketserver_networkprocessoravgidle_percent",
		"kafka_server_brokertopicmetrics_bytesin_total", "kafka_server_brokertopicmetrics_bytesout_total", "kafka_server_brokertopicmetrics_failedfetchrequests_total",
		"kafka_server_brokertopicmetrics_failedproducerequests_total", "kafka_server_brokertopicmetrics_messagesin_total",
		"kafka_server_brokertopicmetrics_totalfetchrequests_total", "kafka_server_brokertopicmetrics_totalproducerequests_total",
		"kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent", "kafka_server_kafkaserver_linux_disk_read_bytes",
		"kafka_server_kafkaserver_linux_disk_write_bytes", "kafka_server_replicamanager_leadercount", "kafka_server_replicamanager_partitioncount",
		"kafka_server_replicamanager_underreplicatedpartitions", "kafka_server_socket_server_metrics_connection_count", "kubelet_volume_stats_available_bytes", "process_open_fds",
	}},
	{"Strimzi KRaft", []string{
		"kafka_server_raftchannelmetrics_incoming_byte_total", "kafka_server_raftchannelmetrics_outgoing_byte_total", "kafka_server_raftchannelmetrics_request_total",
		"kafka_server_raftchannelmetrics_response_total", "kafka_server_raftmetrics_append_records_rate", "kafka_server_raftmetrics_commit_latency_avg",
		"kafka_server_raftmetrics_current_epoch", "kafka_server_raftmetrics_current_leader", "kafka_server_raftmetrics_current_state", "kafka_server_raftmetrics_current_vote",
		"kafka_server_raftmetrics_fetch_records_rate", "kafka_server_raftmetrics_high_watermark", "kafka_server_raftmetrics_log_end_offset",
	}},
	{"Strimzi Kafka Exporter", []string{
		"kafka_broker_info", "kafka_cluster_partition_atminisr", "kafka_cluster_partition_underminisr", "kafka_consumergroup_current_offset", "kafka_consumergroup_lag",
		"kafka_topic_partition_current_offset", "kafka_topic_partition_in_sync_replica", "kafka_topic_partition_leader_is_preferred", "kafka_topic_partition_oldest_offset",
		"kafka_topic_partition_replicas", "kafka_topic_partition_under_replicated_partition", "kafka_topic_partitions",
	}},
	{"Strimzi Kafka Connect", []string{
		"kafka_admin_client_connection_count", "kafka_connect_connector_connector_class", "kafka_connect_connector_connector_type", "kafka_connect_connector_connector_version",
		"kafka_connect_connector_status", "kafka_connect_connector_task_status", "kafka_connect_coordinator_assigned_connectors", "kafka_connect_coordinator_assigned_tasks",
		"kafka_connect_task_error_total_record_failures", "kafka_connect_worker_connector_count", "kafka_connect_worker_connector_destroyed_task_count",
		"kafka_connect_worker_connector_failed_task_count", "kafka_connect_worker_connector_paused_task_count", "kafka_connect_worker_connector_running_task_count",
		"kafka_connect_worker_connector_unassigned_task_count", "kafka_connect_worker_rebalance_rebalancing", "kafka_connect_worker_task_count",
		"kafka_consumer_connection_count", "kafka_consumer_incoming_byte_total", "kafka_producer_connection_count", "kafka_producer_outgoing_byte_total",
	}},
	{"Strimzi alerts", []string{
		"kafka_server_replicamanager_underreplicatedpartitions", "kafka_controller_kafkacontroller_activecontrollercount", "kafka_controller_kafkacontroller_offlinepartitionscount",
		"kafka_server_replicamanager_underminisrpartitioncount", "kafka_log_logmanager_offlinelogdirectorycount", "kafka_topic_partition_under_replicated_partition",
		"kafka_consumergroup_lag", "kafka_topic_partition_current_offset",
	}},
	{"kafka_exporter", []string{
		"kafka_brokers", "kafka_broker_info", "kafka_topic_partitions", "kafka_topic_partition_current_offset", "kafka_topic_partition_oldest_offset",
		"kafka_topic_partition_in_sync_replica", "kafka_topic_partition_leader", "kafka_topic_partition_leader_is_preferred", "kafka_topic_partition_replicas",
		"kafka_topic_partition_under_replicated_partition", "kafka_consumergroup_current_offset", "kafka_consumergroup_current_offset_sum", "kafka_consumergroup_lag",
		"kafka_consumergroup_lag_sum", "kafka_consumergroup_members",
	}},
}

const (
	ofCluster = "of Kubernetes, not of the process"
	noJVM     = "there is no JVM; Go's own are under go_*"
	oneVoter  = "the metadata quorum has one voter: nothing goes over a network"
	rates     = "counted elsewhere: the end offset of the metadata log is served, its rate is for the query to take"
	clients   = "of Kafka's Java client; the worker's own clients are not counted apart"
)

// Absent says why a name is not served.
var Absent = map[string]string{
	"container_cpu_usage_seconds_total": ofCluster, "container_memory_usage_bytes": ofCluster, "kubelet_volume_stats_available_bytes": ofCluster,
	"jvm_gc_collection_seconds_count": noJVM, "jvm_gc_collection_seconds_sum": noJVM, "jvm_memory_used_bytes": noJVM, "jvm_threads_current": noJVM,
	"kafka_server_raftchannelmetrics_incoming_byte_total": oneVoter, "kafka_server_raftchannelmetrics_outgoing_byte_total": oneVoter,
	"kafka_server_raftchannelmetrics_request_total": oneVoter, "kafka_server_raftchannelmetrics_response_total": oneVoter,
	"kafka_server_raftmetrics_append_records_rate": rates, "kafka_server_raftmetrics_fetch_records_rate": oneVoter, "kafka_server_raftmetrics_commit_latency_avg": oneVoter,
	"kafka_admin_client_connection_count": clients, "kafka_consumer_connection_count": clients, "kafka_consumer_incoming_byte_total": clients,
	"kafka_producer_connection_count": clients,
}
