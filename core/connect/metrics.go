package connect

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
)

// taskMetrics are the counters of a task, added to once a batch.
type taskMetrics struct {
	source bool
	since  time.Time

	polled, written  atomic.Int64 // source
	read, sent       atomic.Int64 // sink
	active           atomic.Int64 // records between poll and durable, or between poll and put
	batches          atomic.Int64
	batchRecords     atomic.Int64
	batchMax         atomic.Int64
	batchTime        atomic.Int64 // nanoseconds in poll or put
	batchTimeMax     atomic.Int64
	commits          atomic.Int64
	commitFailures   atomic.Int64
	commitTime       atomic.Int64
	commitTimeMax    atomic.Int64
	commitSeq        atomic.Int64
	partitions       atomic.Int64
	pausedNanos      atomic.Int64
	pausedSince      atomic.Int64 // unix nanoseconds; 0: not paused
	failures, errors atomic.Int64
	skipped, retries atomic.Int64
	logged           atomic.Int64
	deadSent         atomic.Int64
	deadFailed       atomic.Int64
	lastError        atomic.Int64

	txns, txnRecords atomic.Int64 // transactions and the records in them
	txnMin, txnMax   atomic.Int64

	bytesIn, bytesOut atomic.Int64 // of the task's client
}

// byteHook counts the bytes that a client exchanges with brokers.
type byteHook struct{ m *taskMetrics }

// OnBrokerRead implements kgo.HookBrokerRead.
func (h byteHook) OnBrokerRead(_ kgo.BrokerMetadata, _ int16, n int, _, _ time.Duration, _ error) {
	h.m.bytesIn.Add(int64(n))
}

// OnBrokerWrite implements kgo.HookBrokerWrite.
func (h byteHook) OnBrokerWrite(_ kgo.BrokerMetadata, _ int16, n int, _, _ time.Duration, _ error) {
	h.m.bytesOut.Add(int64(n))
}

func maxTo(a *atomic.Int64, v int64) {
	for {
		old := a.Load()
		if v <= old || a.CompareAndSwap(old, v) {
			return
		}
	}
}

func (m *taskMetrics) batch(n int, d time.Duration) {
	m.batches.Add(1)
	m.batchRecords.Add(int64(n))
	m.batchTime.Add(int64(d))
	maxTo(&m.batchMax, int64(n))
	maxTo(&m.batchTimeMax, int64(d))
}

func (m *taskMetrics) committed(d time.Duration, err error) {
	if err != nil {
		m.commitFailures.Add(1)
		return
	}
	m.commits.Add(1)
	m.commitSeq.Add(1)
	m.commitTime.Add(int64(d))
	maxTo(&m.commitTimeMax, int64(d))
}

// transaction counts one that was committed. It is called by one goroutine.
func (m *taskMetrics) transaction(records int) {
	n := int64(records)
	if m.txns.Load() == 0 || n < m.txnMin.Load() {
		m.txnMin.Store(n)
	}
	maxTo(&m.txnMax, n)
	m.txnRecords.Add(n)
	m.txns.Add(1)
}

func (m *taskMetrics) paused(on bool) {
	now := time.Now().UnixNano()
	if on {
		m.pausedSince.CompareAndSwap(0, now)
	} else if since := m.pausedSince.Swap(0); since != 0 {
		m.pausedNanos.Add(now - since)
	}
}

func (m *taskMetrics) pauseRatio() float64 {
	paused := m.pausedNanos.Load()
	if since := m.pausedSince.Load(); since != 0 {
		paused += time.Now().UnixNano() - since
	}
	return ratio(paused, int64(time.Since(m.since)))
}

func ratio(a, b int64) float64 {
	if b <= 0 {
		return 0
	}
	return min(1, float64(a)/float64(b))
}

// collector renders the worker's metrics under the names that the usual JMX exporter rules give Kafka Connect's, which the Strimzi
// dashboards and alerts expect.
type collector struct {
	w *Worker

	mu    sync.Mutex
	descs map[string]*prometheus.Desc
}

// Describe sends nothing: the set of series follows the connectors.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

type sample struct {
	ch chan<- prometheus.Metric
	c  *collector
}

func (s sample) put(kind prometheus.ValueType, name string, v float64, labels ...string) {
	names, vals := make([]string, 0, len(labels)/2), make([]string, 0, len(labels)/2)
	key := name
	for i := 0; i+1 < len(labels); i += 2 {
		names, vals = append(names, labels[i]), append(vals, labels[i+1])
		key += "," + labels[i]
	}
	s.c.mu.Lock()
	d := s.c.descs[key]
	if d == nil {
		d = prometheus.NewDesc(name, "Kafka Connect metric of this name.", names, nil)
		s.c.descs[key] = d
	}
	s.c.mu.Unlock()
	s.ch <- prometheus.MustNewConstMetric(d, kind, v, vals...)
}

func (s sample) gauge(name string, v float64, labels ...string) {
	s.put(prometheus.GaugeValue, "kafka_connect_"+name, v, labels...)
}

func (s sample) counter(name string, v int64, labels ...string) {
	s.put(prometheus.CounterValue, "kafka_connect_"+name, float64(v), labels...)
}

var taskStates = []State{StateRunning, StatePaused, StateFailed, StateUnassigned, StateDestroyed, StateRestarting}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := sample{ch, c}
	connectors, tasks := c.w.status.counts()
	nTasks := 0
	for name, state := range connectors {
		view := c.w.configs.view(name)
		s.gauge("connector_status", 1, "connector", name, "status", lower(state))
		s.gauge("connector_connector_class", 1, "connector", name, "connector_class", view.config["connector.class"])
		s.gauge("connector_connector_type", 1, "connector", name, "connector_type", kindOf(c.w.cfg.Plugins, view.config["connector.class"]))
		if spec, ok := c.w.cfg.Plugins.Connector(view.config["connector.class"]); ok {
			s.gauge("connector_connector_version", 1, "connector", name, "connector_version", spec.Version)
		}
		byState := map[State]int{}
		for _, t := range tasks[name] {
			byState[t]++
		}
		for _, st := range taskStates {
			s.gauge("worker_connector_"+lower(st)+"_task_count", float64(byState[st]), "connector", name)
		}
		s.gauge("worker_connector_total_task_count", float64(len(tasks[name])), "connector", name)
		nTasks += len(tasks[name])
		for id, st := range tasks[name] {
			s.gauge("connector_task_status", 1, "connector", name, "task", strconv.Itoa(id), "status", lower(st))
		}
	}
	s.gauge("worker_connector_count", float64(len(connectors)))
	s.gauge("worker_task_count", float64(nTasks))
	s.gauge("coordinator_assigned_connectors", float64(len(connectors)))
	s.gauge("coordinator_assigned_tasks", float64(nTasks))
	c.w.starts.collect(s)
	s.gauge("worker_rebalance_rebalancing", 0)
	s.gauge("worker_rebalance_epoch", float64(c.w.generation()))
	s.counter("worker_rebalance_completed_rebalances_total", 1)
	s.gauge("worker_rebalance_rebalance_avg_time_ms", 0)
	s.gauge("worker_rebalance_rebalance_max_time_ms", 0)
	s.gauge("worker_rebalance_time_since_last_rebalance_ms", float64(time.Since(c.w.started).Milliseconds()))
	s.gauge("worker_rebalance_leader_name", 1, "leader_name", c.w.cfg.AdvertisedURL)
	c.w.eachTask(func(id workID, m *taskMetrics) { c.task(s, id, m) })
}

func (c *collector) task(s sample, id workID, m *taskMetrics) {
	l := []string{"connector", id.connector, "task", strconv.Itoa(id.task)}
	secs := max(time.Since(m.since).Seconds(), 1e-3)
	ms := func(n int64) float64 { return float64(n) / 1e6 }
	avg := func(sum, n int64) float64 {
		if n == 0 {
			return 0
		}
		return float64(sum) / float64(n)
	}
	s.gauge("connector_task_pause_ratio", m.pauseRatio(), l...)
	s.gauge("connector_task_running_ratio", 1-m.pauseRatio(), l...)
	s.gauge("connector_task_batch_size_max", float64(m.batchMax.Load()), l...)
	s.gauge("connector_task_batch_size_avg", avg(m.batchRecords.Load(), m.batches.Load()), l...)
	ok, bad := m.commits.Load(), m.commitFailures.Load()
	s.gauge("connector_task_offset_commit_avg_time_ms", ms(int64(avg(m.commitTime.Load(), ok))), l...)
	s.gauge("connector_task_offset_commit_max_time_ms", ms(m.commitTimeMax.Load()), l...)
	s.gauge("connector_task_offset_commit_success_percentage", ratio(ok, ok+bad), l...)
	s.gauge("connector_task_offset_commit_failure_percentage", ratio(bad, ok+bad), l...)
	client, side := "connector-consumer-", "kafka_consumer_"
	if m.source {
		client, side = "connector-producer-", "kafka_producer_"
	}
	client += id.connector + "-" + strconv.Itoa(id.task)
	s.put(prometheus.CounterValue, side+"incoming_byte_total", float64(m.bytesIn.Load()), "clientid", client)
	s.put(prometheus.CounterValue, side+"outgoing_byte_total", float64(m.bytesOut.Load()), "clientid", client)
	if m.source {
		s.counter("source_task_source_record_poll_total", m.polled.Load(), l...)
		s.gauge("source_task_source_record_poll_rate", float64(m.polled.Load())/secs, l...)
		s.counter("source_task_source_record_write_total", m.written.Load(), l...)
		s.gauge("source_task_source_record_write_rate", float64(m.written.Load())/secs, l...)
		s.gauge("source_task_source_record_active_count", float64(m.active.Load()), l...)
		s.gauge("source_task_poll_batch_avg_time_ms", ms(int64(avg(m.batchTime.Load(), m.batches.Load()))), l...)
		s.gauge("source_task_poll_batch_max_time_ms", ms(m.batchTimeMax.Load()), l...)
		if n := m.txns.Load(); n > 0 {
			s.gauge("source_task_transaction_size_min", float64(m.txnMin.Load()), l...)
			s.gauge("source_task_transaction_size_max", float64(m.txnMax.Load()), l...)
			s.gauge("source_task_transaction_size_avg", avg(m.txnRecords.Load(), n), l...)
		}
	} else {
		s.counter("sink_task_sink_record_read_total", m.read.Load(), l...)
		s.gauge("sink_task_sink_record_read_rate", float64(m.read.Load())/secs, l...)
		s.counter("sink_task_sink_record_send_total", m.sent.Load(), l...)
		s.gauge("sink_task_sink_record_send_rate", float64(m.sent.Load())/secs, l...)
		s.gauge("sink_task_sink_record_active_count", float64(m.active.Load()), l...)
		s.gauge("sink_task_partition_count", float64(m.partitions.Load()), l...)
		s.gauge("sink_task_offset_commit_seq_no", float64(m.commitSeq.Load()), l...)
		s.counter("sink_task_offset_commit_completion_total", ok, l...)
		s.gauge("sink_task_offset_commit_completion_rate", float64(ok)/secs, l...)
		s.counter("sink_task_offset_commit_skip_total", 0, l...)
		s.gauge("sink_task_offset_commit_skip_rate", 0, l...)
		s.gauge("sink_task_put_batch_avg_time_ms", ms(int64(avg(m.batchTime.Load(), m.batches.Load()))), l...)
		s.gauge("sink_task_put_batch_max_time_ms", ms(m.batchTimeMax.Load()), l...)
	}
	s.gauge("task_error_total_record_failures", float64(m.failures.Load()), l...)
	s.gauge("task_error_total_record_errors", float64(m.errors.Load()), l...)
	s.gauge("task_error_total_records_skipped", float64(m.skipped.Load()), l...)
	s.gauge("task_error_total_retries", float64(m.retries.Load()), l...)
	s.gauge("task_error_total_errors_logged", float64(m.logged.Load()), l...)
	s.gauge("task_error_deadletterqueue_produce_requests", float64(m.deadSent.Load()), l...)
	s.gauge("task_error_deadletterqueue_produce_failures", float64(m.deadFailed.Load()), l...)
	s.gauge("task_error_last_error_timestamp", float64(m.lastError.Load()), l...)
}

// starts counts how often connectors and tasks were started.
type starts struct {
	connectorTry, connectorOK, connectorFail atomic.Int64
	taskTry, taskOK, taskFail                atomic.Int64
}

func (s *starts) collect(m sample) {
	one := func(what string, try, ok, fail int64) {
		m.counter("worker_"+what+"_startup_attempts_total", try)
		m.counter("worker_"+what+"_startup_success_total", ok)
		m.counter("worker_"+what+"_startup_failure_total", fail)
		m.gauge("worker_"+what+"_startup_success_percentage", ratio(ok, ok+fail))
		m.gauge("worker_"+what+"_startup_failure_percentage", ratio(fail, ok+fail))
	}
	one("connector", s.connectorTry.Load(), s.connectorOK.Load(), s.connectorFail.Load())
	one("task", s.taskTry.Load(), s.taskOK.Load(), s.taskFail.Load())
}

func lower(s State) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 32
		}
	}
	return string(b)
}
