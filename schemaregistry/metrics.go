package schemaregistry

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	writes  prometheus.Counter
	retries prometheus.Counter
	refused *prometheus.CounterVec
}

// newMetrics registers the registry's metrics; the gauges ask r when they are scraped.
func newMetrics(reg prometheus.Registerer, r *Registry) (*metrics, error) {
	m := &metrics{
		writes:  prometheus.NewCounter(prometheus.CounterOpts{Name: "kafka_schema_registry_writes_total", Help: "Records written to the schemas topic."}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{Name: "kafka_schema_registry_write_retries_total", Help: "Decisions taken again because another node's write came first."}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kafka_schema_registry_records_skipped_total", Help: "Records of the schemas topic that were not applied, by why: ignored (not understood) or rejected (contradict an earlier record)."}, []string{"why"}),
	}
	if reg == nil {
		return m, nil
	}
	gauge := func(name, help string, of func(s *State) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			r.mu.RLock()
			defer r.mu.RUnlock()
			return float64(of(r.state))
		})
	}
	for _, c := range []prometheus.Collector{m.writes, m.retries, m.refused,
		gauge("kafka_schema_registry_registered_count", "Versions that are not deleted.", func(s *State) int { return s.live }),
		gauge("kafka_schema_registry_deleted_count", "Versions that are soft-deleted.", func(s *State) int { return s.deleted }),
		gauge("kafka_schema_registry_subjects", "Subjects, those with only soft-deleted versions among them.", func(s *State) int { return len(s.subjects) }),
		gauge("kafka_schema_registry_schemas", "Distinct schemas.", func(s *State) int { return len(s.contents) }),
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
