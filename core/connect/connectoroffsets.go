package connect

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/connect/api"
	"github.com/moldau-io/moldau/plugins"
)

// connectorOffsets are the positions of one source connector: in the worker's offset topic, or in a topic of the connector's own
// (offsets.storage.topic), with the worker's behind it for what that one does not hold, as Kafka Connect has it.
type connectorOffsets struct {
	name    string
	primary *offsetStore
	second  *offsetStore // nil: primary is the worker's
	log     *slog.Logger
	stop    func()
}

// ownOffsets tells whether a connector keeps positions elsewhere than in the worker's topic.
func (w *Worker) ownOffsets(p *parsed) (topic string, own bool) {
	topic = p.base.Str("offsets.storage.topic")
	if topic == "" {
		topic = w.set.offsetTopic
	}
	if topic != w.set.offsetTopic {
		return topic, true
	}
	// Records and offsets of a transaction are on one cluster.
	b := w.clientProps("producer", p, nil)["bootstrap.servers"]
	return topic, w.eos().tasks && b != "" && b != strings.Join(w.set.values.List("bootstrap.servers"), ",")
}

// openOffsets opens the positions of a source connector; close gives them back.
func (w *Worker) openOffsets(ctx context.Context, name string, p *parsed) (*connectorOffsets, error) {
	o := &connectorOffsets{name: name, primary: w.offsets, log: w.log, stop: func() {}}
	topic, own := w.ownOffsets(p)
	if !own {
		return o, nil
	}
	props := w.clientProps("producer", p, map[string]string{"client.id": "connector-offsets-" + name})
	admin := w.clientProps("admin", p, map[string]string{"client.id": "connector-adminclient-" + name})
	if b := props["bootstrap.servers"]; b != "" && admin["bootstrap.servers"] == "" {
		admin["bootstrap.servers"] = b
	}
	aopts, err := clientOpts("admin", admin)
	if err != nil {
		return nil, err
	}
	base := append([]kgo.Opt{kgo.WithLogger(kgoLogger{w.log})}, w.cfg.KafkaOpts...)
	ac, err := kgo.NewClient(append(base[:len(base):len(base)], aopts...)...)
	if err != nil {
		return nil, fmt.Errorf("admin client: %w", err)
	}
	it := internalTopic{topic, "offsets.storage.topic", int32(w.set.values.Int("offset.storage.partitions")), w.set.replication["offset"], w.internalTopics()[1].configs}
	if err := ensureInternalTopic(ctx, ac, it, true); err != nil {
		ac.Close()
		return nil, err
	}
	opts, err := clientOpts("producer", props)
	if err != nil {
		ac.Close()
		return nil, err
	}
	store := newOffsetStore(topic, w.log)
	il, err := newInternalLog(ctx, w.log, ac, append(base[:len(base):len(base)], opts...), map[string]func(*kgo.Record){topic: store.handle})
	if err != nil {
		ac.Close()
		return nil, err
	}
	store.il = il
	follow, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { il.run(follow) })
	o.primary, o.second = store, w.offsets
	o.stop = func() {
		cancel()
		wg.Wait()
		il.close()
		ac.Close()
	}
	if err := il.readToEnd(ctx, topic); err != nil {
		o.stop()
		return nil, err
	}
	return o, nil
}

func (o *connectorOffsets) close() { o.stop() }

// readAll returns when everything that was written before the call is known, once the transactions open then have ended.
func (o *connectorOffsets) readAll(ctx context.Context) error {
	if err := o.primary.il.readAll(ctx, o.primary.topic); err != nil {
		return err
	}
	if o.second != nil { // only what the own topic does not hold is of interest there
		return o.second.il.readToEnd(ctx, o.second.topic)
	}
	return nil
}

// Offset implements plugins.OffsetReader.
func (o *connectorOffsets) Offset(_ context.Context, partition map[string]any) (map[string]any, error) {
	if m := o.primary.get(o.name, partition); m != nil || o.second == nil {
		return m, nil
	}
	return o.second.get(o.name, partition), nil
}

func (o *connectorOffsets) list() []api.ConnectorOffset {
	out := o.primary.list(o.name)
	if o.second == nil {
		return out
	}
	have := map[string]bool{}
	for _, e := range out {
		have[canonical(e.Partition)] = true
	}
	for _, e := range o.second.list(o.name) {
		if !have[canonical(e.Partition)] {
			out = append(out, e)
		}
	}
	return out
}

// write stores positions outside of transactions. A position that is removed is first removed from the worker's topic: else it would
// shine through.
func (o *connectorOffsets) write(ctx context.Context, marks []sourceMark) error {
	if err := o.removeBehind(ctx, marks); err != nil {
		return err
	}
	if err := o.primary.write(ctx, o.name, marks); err != nil {
		return err
	}
	o.copyBehind(marks)
	return nil
}

// removeBehind removes from the worker's topic what is about to be removed from the connector's own.
func (o *connectorOffsets) removeBehind(ctx context.Context, marks []sourceMark) error {
	if o.second == nil {
		return nil
	}
	var gone []sourceMark
	for _, m := range marks {
		if m.offset == nil && o.second.get(o.name, m.partition) != nil {
			gone = append(gone, m)
		}
	}
	return o.second.write(ctx, o.name, gone)
}

// copyBehind keeps the worker's topic up to date, for the day when the connector has no topic of its own any more. It does not wait.
func (o *connectorOffsets) copyBehind(marks []sourceMark) {
	if o.second == nil {
		return
	}
	for _, m := range marks {
		if m.offset == nil {
			continue
		}
		r, err := o.second.render(o.name, m)
		if err != nil {
			continue // the own topic has said so
		}
		o.second.il.cl.Produce(context.Background(), r, func(_ *kgo.Record, err error) {
			if err != nil {
				o.log.Warn("a position could not be copied to the worker's offset topic", "connector", o.name, "topic", o.second.topic, "error", err)
			}
		})
	}
}

// stored takes notice of offset records that were committed with their records.
func (o *connectorOffsets) stored(recs []*kgo.Record, marks []sourceMark) error {
	for _, r := range recs {
		if err := o.primary.apply(r); err != nil {
			return err
		}
	}
	o.copyBehind(marks)
	return nil
}

// logPosition is where a record lies in its topic.
type logPosition struct {
	partition int32
	offset    int64
}

// positions tells where the newest records of source partitions lie, {-1 -1} where there is none.
func (o *offsetStore) positions(connector string, marks []sourceMark) []logPosition {
	o.mu.RLock()
	defer o.mu.RUnlock()
	out := make([]logPosition, len(marks))
	for i, m := range marks {
		out[i] = logPosition{-1, -1}
		if e := o.entries[connector][canonical(m.partition)]; e != nil {
			out[i] = logPosition{e.logPartition, e.logOffset}
		}
	}
	return out
}

var _ plugins.OffsetReader = (*connectorOffsets)(nil)
