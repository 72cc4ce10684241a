package group

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collector gives the coordinator's metrics under the names that the JMX exporter gives Kafka's.
type collector struct {
	c *Coordinator

	groups, byState, offsets, partitions, loadMax        *prometheus.Desc
	commits, expirations, deletions, rebalances, skipped *prometheus.Desc
	bytes, inflight, consumers                           *prometheus.Desc

	mu      sync.Mutex
	retired Stats // counts of shards that are gone
	longest time.Duration
}

func newCollector(c *Coordinator) *collector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("kafka_"+name, help, labels, nil)
	}
	return &collector{
		c:         c,
		groups:    d("coordinator_group_groupmetadatamanager_numgroups", "Groups that this broker coordinates."),
		byState:   d("server_group_coordinator_metrics_classic_group_count", "Groups that this broker coordinates, by state.", "state"),
		consumers: d("server_group_coordinator_metrics_consumer_group_count", "KIP-848 groups that this broker coordinates, by state.", "state"),
		offsets:   d("coordinator_group_groupmetadatamanager_numoffsets", "Committed offsets that this broker keeps."),
		partitions: d("server_group_coordinator_metrics_num_partitions",
			"Partitions of __consumer_offsets on this broker, by state of their coordinator.", "state"),
		loadMax:     d("server_group_coordinator_metrics_partition_load_time_max_ms", "The longest load of a partition of __consumer_offsets, milliseconds."),
		commits:     d("server_group_coordinator_metrics_offset_commit_total", "Offsets committed."),
		expirations: d("server_group_coordinator_metrics_offset_expiration_total", "Offsets removed because they were past their retention."),
		deletions:   d("server_group_coordinator_metrics_offset_deletion_total", "Offsets removed on request, or with their topic."),
		rebalances:  d("server_group_coordinator_metrics_group_completed_rebalance_total", "Rebalances completed."),
		skipped:     d("server_group_coordinator_metrics_skipped_records_total", "Records of __consumer_offsets left out while loading."),
		bytes:       d("server_group_coordinator_metrics_state_bytes", "Memory of groups and offsets, roughly."),
		inflight:    d("server_group_coordinator_metrics_inflight_bytes", "Records appended and not yet durable."),
	}
}

// Describe implements prometheus.Collector.
func (m *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.groups, m.byState, m.offsets, m.partitions, m.loadMax, m.commits,
		m.expirations, m.deletions, m.rebalances, m.skipped, m.bytes, m.inflight, m.consumers} {
		ch <- d
	}
}

// loaded records how long a partition took to load.
func (m *collector) loaded(took time.Duration) {
	m.mu.Lock()
	m.longest = max(m.longest, took)
	m.mu.Unlock()
}

// retire keeps the counts of a shard that goes away.
func (m *collector) retire(s *Shard) {
	m.mu.Lock()
	m.retired.count(s.Stats())
	m.mu.Unlock()
}

func (st *Stats) count(o Stats) {
	st.OffsetCommits += o.OffsetCommits
	st.OffsetExpirations += o.OffsetExpirations
	st.OffsetDeletions += o.OffsetDeletions
	st.CompletedRebalances += o.CompletedRebalances
	st.SkippedRecords += o.SkippedRecords
}

// Collect implements prometheus.Collector.
func (m *collector) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	sum, longest := m.retired, m.longest
	m.mu.Unlock()
	var loads, serves, total int64
	for shard, code := range m.c.shards.All() {
		switch code {
		case codeCoordinatorLoadInProgress:
			loads++
		case codeNone:
			serves++
			st := shard.Stats()
			sum.count(st)
			sum.Offsets += st.Offsets
			sum.Bytes += st.Bytes
			sum.InflightBytes += st.InflightBytes
			for j, n := range st.Consumers {
				sum.Consumers[j] += n
				total += n
			}
			for j, n := range st.Groups {
				sum.Groups[j] += n
				total += n
			}
		}
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v int64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
	}
	gauge(m.groups, float64(total))
	for i, n := range sum.Groups {
		gauge(m.byState, float64(n), state(i).String())
	}
	for i, n := range sum.Consumers {
		gauge(m.consumers, float64(n), consumerStates[i])
	}
	gauge(m.offsets, float64(sum.Offsets))
	gauge(m.partitions, float64(loads), "loading")
	gauge(m.partitions, float64(serves), "active")
	gauge(m.loadMax, float64(longest.Milliseconds()))
	gauge(m.bytes, float64(sum.Bytes))
	gauge(m.inflight, float64(sum.InflightBytes))
	counter(m.commits, sum.OffsetCommits)
	counter(m.expirations, sum.OffsetExpirations)
	counter(m.deletions, sum.OffsetDeletions)
	counter(m.rebalances, sum.CompletedRebalances)
	counter(m.skipped, sum.SkippedRecords)
}
