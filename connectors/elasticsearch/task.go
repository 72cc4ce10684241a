package elasticsearch

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

// task is the sink task: it turns records into bulk items and leaves the rest to the sender.
type task struct {
	env   plugins.SinkEnv
	s     settings
	cl    *client
	send  *sender
	index *indices
	next  map[plugins.TopicPartition]int64 // offset expected next; records below it were taken already
	held  bool
}

// Start implements [plugins.SinkTask].
func (t *task) Start(_ context.Context, env plugins.SinkEnv, cfg configdef.Values) error {
	t.env, t.s = env, newSettings(cfg)
	t.cl = newClient(t.s)
	t.send = newSender(t.s, t.cl, env)
	t.index = &indices{cl: t.cl, names: map[string]string{}, exist: map[string]bool{}, mapped: map[string]*data.Schema{}}
	t.next = map[plugins.TopicPartition]int64{}
	return nil
}

// Open implements [plugins.SinkTask].
func (t *task) Open(_ context.Context, added []plugins.TopicPartition) error {
	for _, tp := range added {
		t.next[tp] = 0
	}
	return nil
}

// Close implements [plugins.SinkTask]. Requests under way may still arrive: versions and ids make that harmless.
func (t *task) Close(_ context.Context, removed []plugins.TopicPartition) error {
	for _, tp := range removed {
		delete(t.next, tp)
		t.send.forget(tp)
	}
	return nil
}

// Put implements [plugins.SinkTask].
func (t *task) Put(ctx context.Context, records []plugins.SinkRecord) error {
	if _, _, _, err := t.send.state(); err != nil {
		return err
	}
	for i := range records {
		r := &records[i]
		tp := plugins.TopicPartition{Topic: r.OriginalTopic, Partition: r.Partition}
		next, mine := t.next[tp]
		if !mine || r.Offset < next {
			continue
		}
		if err := t.put(ctx, tp, r); err != nil {
			if plugins.IsRetriable(err) {
				return err
			}
			if err := t.reject(tp, r, err); err != nil {
				return err
			}
		}
		t.next[tp] = r.Offset + 1
	}
	t.send.tick()
	if t.s.sync {
		if err := t.send.flush(ctx); err != nil {
			return err
		}
	}
	t.throttle()
	return nil
}

func (t *task) put(ctx context.Context, tp plugins.TopicPartition, r *plugins.SinkRecord) error {
	ignoreKey, ignoreSchema := t.s.ignoresKey(r.Topic), t.s.ignoresSchema(r.Topic)
	if r.Value.IsNull() {
		switch {
		case t.s.nulls == "ignore":
			t.send.skip(tp, r.Offset)
			return nil
		case t.s.nulls == "fail":
			return plugins.Dataf("%s-%d offset %d: the value is null; set behavior.on.null.values to ignore or delete", r.Topic, r.Partition, r.Offset)
		case r.Key.IsNull() || ignoreKey:
			t.send.skip(tp, r.Offset) // nothing says what to delete
			return nil
		}
	} else if r.Value.Type() != data.TypeStruct && r.Value.Type() != data.TypeMap {
		return plugins.Dataf("%s-%d offset %d: a document must be an object, not a %s", r.Topic, r.Partition, r.Offset, r.Value.Type())
	}
	index, err := t.index.ensure(ctx, r.Topic, r.ValueSchema, !ignoreSchema && !r.Value.IsNull())
	if err != nil {
		return err
	}
	it := item{rec: *r, act: actIndex}
	var id []byte
	switch {
	case t.s.autoIDs && !t.s.upsert && !r.Value.IsNull():
		it.act = actCreate
	case ignoreKey:
		id = fmt.Appendf(nil, "%s+%d+%d", r.Topic, r.Partition, r.Offset)
	default:
		if id, err = documentID(make([]byte, 0, 24), r); err != nil {
			return err
		}
	}
	version := r.Offset
	switch {
	case r.Value.IsNull():
		it.act, it.version = actDelete, !t.s.upsert
	case t.s.upsert:
		it.act = actUpdate
	case !ignoreKey && it.act == actIndex:
		it.version = true
	}
	maps := mapsCompact
	switch {
	case ignoreSchema:
		maps = mapsBare
	case !t.s.compactMaps:
		maps = mapsEntries
	}
	if it.version && t.s.versionHeader != "" {
		if version, err = headerVersion(r, t.s.versionHeader); err != nil {
			return err
		}
	}
	it.doc = index + "/" + string(id)
	return t.send.add(it, tp, func(dst []byte) ([]byte, error) {
		dst = appendAction(dst, it.act, index, id, version, it.version, min(t.s.inFlight, 5))
		switch it.act {
		case actDelete:
			return dst, nil
		case actUpdate:
			dst = append(dst, `{"doc":`...)
		case actIndex, actCreate:
		}
		dst, err := appendDocument(dst, r.ValueSchema, r.Value, maps)
		if err != nil {
			return nil, err
		}
		if it.act == actUpdate {
			dst = append(dst, `,"doc_as_upsert":true}`...)
		}
		return append(dst, '\n'), nil
	})
}

func headerVersion(r *plugins.SinkRecord, name string) (int64, error) {
	for i := len(r.Headers) - 1; i >= 0; i-- {
		h := r.Headers[i]
		if h.Key != name {
			continue
		}
		switch h.Value.Type() {
		case data.TypeInt8, data.TypeInt16, data.TypeInt32, data.TypeInt64:
			return h.Value.Int(), nil
		case data.TypeString, data.TypeBytes:
			if n, err := strconv.ParseInt(h.Value.Str(), 10, 64); err == nil {
				return n, nil
			}
		}
		return 0, plugins.Dataf("%s-%d offset %d: the header %q is no integer", r.Topic, r.Partition, r.Offset, name)
	}
	return 0, plugins.Dataf("%s-%d offset %d: there is no header %q, which external.version.header names", r.Topic, r.Partition, r.Offset, name)
}

// reject handles a record that cannot be made a document.
func (t *task) reject(tp plugins.TopicPartition, r *plugins.SinkRecord, cause error) error {
	var de *plugins.DataError
	if !errors.As(cause, &de) {
		return cause
	}
	switch {
	case t.env.Report != nil:
		// The offset is safe when the report is: a batch of its own keeps its place in the order.
		t.send.reportOnly(tp, r, cause)
		return nil
	case t.s.dropInvalid:
		t.env.Logger.Warn("a record was left out", "error", cause)
		t.send.skip(tp, r.Offset)
		return nil
	}
	return cause
}

// throttle pauses all partitions while too many records are buffered.
func (t *task) throttle() {
	_, full, drained, _ := t.send.state()
	switch {
	case !t.held && full:
		t.held = true
		t.env.Pause(t.assigned()...)
	case t.held && drained:
		t.held = false
		t.env.Resume(t.assigned()...)
	}
}

func (t *task) assigned() []plugins.TopicPartition {
	var tps []plugins.TopicPartition
	for tp := range t.next {
		tps = append(tps, tp)
	}
	return tps
}

// PreCommit implements [plugins.SinkTask].
func (t *task) PreCommit(ctx context.Context, full bool) (map[plugins.TopicPartition]int64, error) {
	if full {
		ctx, cancel := context.WithTimeout(ctx, t.s.flushTimeout)
		defer cancel()
		if err := t.send.flush(ctx); err != nil {
			return nil, err
		}
	}
	safe, _, _, err := t.send.state()
	return safe, err
}

// Stop implements [plugins.SinkTask].
func (t *task) Stop() error {
	if t.send != nil {
		t.send.stop()
		t.cl.close()
	}
	return nil
}
