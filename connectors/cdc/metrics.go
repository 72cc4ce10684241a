package cdc

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the figures of one task, exported as debezium_metrics_NAME with the labels that the JMX exporter's usual rules give:
// context (streaming or snapshot), name (topic.prefix) and plugin.
type Metrics struct {
	Stats Stats

	// LagMillis is the time between the commit of the last change and its handling.
	LagMillis atomic.Int64
	// LastEventMillis is the wall clock of the last event, 0 before the first.
	LastEventMillis atomic.Int64
	Connected       atomic.Bool
	// Position is the numeric position last read (LSN), where the source has one.
	Position atomic.Int64

	SnapshotRunning, SnapshotCompleted, SnapshotAborted atomic.Bool
	SnapshotTables, SnapshotTablesLeft                  atomic.Int64
	SnapshotRows                                        atomic.Int64
	// SnapshotStart and SnapshotEnd are wall clocks in milliseconds.
	SnapshotStart, SnapshotEnd atomic.Int64

	queue    *Queue
	maxRecs  int
	maxBytes int64
	desc     map[string]*prometheus.Desc
	reg      prometheus.Registerer
}

var streamingMetrics = []string{"MilliSecondsBehindSource", "MilliSecondsSinceLastEvent", "TotalNumberOfEventsSeen", "TotalNumberOfCreateEventsSeen",
	"TotalNumberOfUpdateEventsSeen", "TotalNumberOfDeleteEventsSeen", "NumberOfEventsFiltered", "NumberOfErroneousEvents", "NumberOfCommittedTransactions",
	"QueueTotalCapacity", "QueueRemainingCapacity", "CurrentQueueSizeInBytes", "MaxQueueSizeInBytes", "Connected", "SourceEventPosition"}

var snapshotMetrics = []string{"SnapshotRunning", "SnapshotCompleted", "SnapshotAborted", "SnapshotDurationInSeconds", "TotalTableCount", "RemainingTableCount", "RowsScanned"}

// NewMetrics registers the metrics of a task with reg, which may be nil. plugin is "postgres" or "mysql".
func (c *Config) NewMetrics(reg prometheus.Registerer, plugin string, q *Queue) *Metrics {
	m := &Metrics{queue: q, maxRecs: c.MaxQueue, maxBytes: c.MaxQueueBytes, desc: map[string]*prometheus.Desc{}, reg: reg}
	add := func(context string, names []string) {
		labels := prometheus.Labels{"context": context, "name": c.Prefix, "plugin": plugin}
		for _, n := range names {
			m.desc[n] = prometheus.NewDesc("debezium_metrics_"+n, "Debezium's "+context+" metric "+n+".", nil, labels)
		}
	}
	add("streaming", streamingMetrics)
	add("snapshot", snapshotMetrics)
	if reg != nil {
		if err := reg.Register(m); err != nil {
			m.reg = nil // two tasks of one name: the first keeps the metrics
		}
	}
	return m
}

// Unregister takes the metrics away.
func (m *Metrics) Unregister() {
	if m.reg != nil {
		m.reg.Unregister(m)
	}
}

// Handled records that a change committed at commitMillis was handled at nowMillis.
func (m *Metrics) Handled(commitMillis, nowMillis int64) {
	m.LagMillis.Store(max(nowMillis-commitMillis, 0))
	m.LastEventMillis.Store(nowMillis)
}

// Snapshot tells of a snapshot while take runs, and how it ended.
func (m *Metrics) Snapshot(take func() error) error {
	m.SnapshotRunning.Store(true)
	m.SnapshotStart.Store(time.Now().UnixMilli())
	m.SnapshotEnd.Store(0)
	err := take()
	m.SnapshotRunning.Store(false)
	m.SnapshotEnd.Store(time.Now().UnixMilli())
	m.SnapshotCompleted.Store(err == nil)
	m.SnapshotAborted.Store(err != nil)
	return err
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.desc {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	now := time.Now().UnixMilli()
	recs, bytes := m.queue.Len()
	flag := func(b bool) int64 {
		if b {
			return 1
		}
		return 0
	}
	since := int64(-1)
	if t := m.LastEventMillis.Load(); t > 0 {
		since = now - t
	}
	took := int64(0)
	if s := m.SnapshotStart.Load(); s > 0 {
		end := m.SnapshotEnd.Load()
		if end < s {
			end = now
		}
		took = (end - s) / 1000
	}
	s := &m.Stats
	for n, v := range map[string]int64{
		"MilliSecondsBehindSource": m.LagMillis.Load(), "MilliSecondsSinceLastEvent": since, "TotalNumberOfEventsSeen": s.Total(),
		"TotalNumberOfCreateEventsSeen": s.Creates.Load(), "TotalNumberOfUpdateEventsSeen": s.Updates.Load(), "TotalNumberOfDeleteEventsSeen": s.Deletes.Load(),
		"NumberOfEventsFiltered": s.Filtered.Load(), "NumberOfErroneousEvents": s.Erroneous.Load(), "NumberOfCommittedTransactions": s.Transactions.Load(),
		"QueueTotalCapacity": int64(m.maxRecs), "QueueRemainingCapacity": int64(max(m.maxRecs-recs, 0)), "CurrentQueueSizeInBytes": bytes, "MaxQueueSizeInBytes": m.maxBytes,
		"Connected": flag(m.Connected.Load()), "SourceEventPosition": m.Position.Load(),
		"SnapshotRunning": flag(m.SnapshotRunning.Load()), "SnapshotCompleted": flag(m.SnapshotCompleted.Load()), "SnapshotAborted": flag(m.SnapshotAborted.Load()),
		"SnapshotDurationInSeconds": took, "TotalTableCount": m.SnapshotTables.Load(), "RemainingTableCount": m.SnapshotTablesLeft.Load(), "RowsScanned": m.SnapshotRows.Load(),
	} {
		ch <- prometheus.MustNewConstMetric(m.desc[n], prometheus.GaugeValue, float64(v))
	}
}
