package connect

import (
	"context"
	"fmt"
	"log/slog"
	"sort"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/connect/api"
	"github.com/moldau-io/moldau/plugins"
)

// offsetStore keeps the newest position of every source partition of the offset topic and writes new ones.
//
// Kafka Connect finds a position by the bytes of its record's key, and a JSON object has many forms. So positions are found here by
// their meaning, and written under the bytes they were first written with.
type offsetStore struct {
	topic string
	il    *internalLog
	log   *slog.Logger

	mu      sync.RWMutex
	entries map[string]map[string]*offsetEntry // connector -> canonical partition
}

type offsetEntry struct {
	key       []byte // of the newest record
	partition map[string]any
	offset    map[string]any // nil: removed
	// where the newest record lies; a position is only replaced by one from later in the log.
	logPartition int32
	logOffset    int64
}

func newOffsetStore(topic string, log *slog.Logger) *offsetStore {
	return &offsetStore{topic: topic, log: log, entries: map[string]map[string]*offsetEntry{}}
}

func (o *offsetStore) handle(r *kgo.Record) {
	if err := o.apply(r); err != nil {
		o.log.Warn("record of the offset topic ignored", "topic", o.topic, "partition", r.Partition, "offset", r.Offset, "key", string(r.Key), "error", err)
	}
}

func parseOffsetKey(key []byte) (connector string, partition map[string]any, err error) {
	v, err := parseJSON(key)
	if err != nil {
		return "", nil, fmt.Errorf("malformed key: %w", err)
	}
	list, _ := v.([]any)
	if len(list) != 2 {
		return "", nil, fmt.Errorf("malformed key: not an array of two")
	}
	connector, ok := list[0].(string)
	if !ok {
		return "", nil, fmt.Errorf("malformed key: the connector name is no string")
	}
	if list[1] != nil {
		if partition, ok = list[1].(map[string]any); !ok {
			return "", nil, fmt.Errorf("malformed key: the source partition is no object")
		}
	}
	return connector, partition, nil
}

func (o *offsetStore) apply(r *kgo.Record) error {
	connector, partition, err := parseOffsetKey(r.Key)
	if err != nil {
		return err
	}
	var offset map[string]any
	if r.Value != nil {
		v, err := parseJSON(r.Value)
		if err != nil {
			return fmt.Errorf("malformed value: %w", err)
		}
		if v != nil {
			var ok bool
			if offset, ok = v.(map[string]any); !ok {
				return fmt.Errorf("malformed value: the offset is no object")
			}
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	m := o.entries[connector]
	if m == nil {
		m = map[string]*offsetEntry{}
		o.entries[connector] = m
	}
	id := canonical(partition)
	if e := m[id]; e != nil && e.logPartition == r.Partition && e.logOffset >= r.Offset {
		return nil
	}
	m[id] = &offsetEntry{key: append([]byte(nil), r.Key...), partition: partition, offset: offset, logPartition: r.Partition, logOffset: r.Offset}
	return nil
}

// get returns the stored position, or nil.
func (o *offsetStore) get(connector string, partition map[string]any) map[string]any {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if e := o.entries[connector][canonical(partition)]; e != nil {
		return e.offset
	}
	return nil
}

// list returns all positions of a connector.
func (o *offsetStore) list(connector string) []api.ConnectorOffset {
	o.mu.RLock()
	defer o.mu.RUnlock()
	out := []api.ConnectorOffset{}
	m := o.entries[connector]
	ids := sortedKeys(m)
	sort.Strings(ids)
	for _, id := range ids {
		if e := m[id]; e.offset != nil {
			out = append(out, api.ConnectorOffset{Partition: e.partition, Offset: e.offset})
		}
	}
	return out
}

// sourceMark is a position of a source partition.
type sourceMark struct {
	partition map[string]any
	offset    plugins.Offset // nil removes the position
}

func (o *offsetStore) render(connector string, m sourceMark) (*kgo.Record, error) {
	r := &kgo.Record{Topic: o.topic}
	o.mu.RLock()
	e := o.entries[connector][canonical(m.partition)]
	o.mu.RUnlock()
	if e != nil {
		r.Key = e.key
	} else {
		key, err := appendJSON(nil, []any{connector, m.partition})
		if err != nil {
			return nil, fmt.Errorf("source partition: %w", err)
		}
		r.Key = key
	}
	if m.offset != nil {
		if om := m.offset.OffsetMap(); om != nil {
			value, err := appendJSON(nil, om)
			if err != nil {
				return nil, fmt.Errorf("source offset: %w", err)
			}
			r.Value = value
		}
	}
	return r, nil
}

// write stores positions and returns when they are acknowledged by all in-sync replicas; get sees them from then on.
func (o *offsetStore) write(ctx context.Context, connector string, marks []sourceMark) error {
	recs := make([]*kgo.Record, 0, len(marks))
	for _, m := range marks {
		r, err := o.render(connector, m)
		if err != nil {
			return err
		}
		recs = append(recs, r)
	}
	if len(recs) == 0 {
		return nil
	}
	for _, res := range o.il.cl.ProduceSync(ctx, recs...) {
		if res.Err != nil {
			return fmt.Errorf("write to topic %q: %w", o.topic, res.Err)
		}
	}
	for _, r := range recs {
		if err := o.apply(r); err != nil {
			return err
		}
	}
	return nil
}
