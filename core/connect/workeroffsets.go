package connect

import (
	"context"
	"fmt"
	"sort"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/connect/api"
	"github.com/moldau-io/moldau/core/kafkaclient"
	"github.com/moldau-io/moldau/plugins"
)

// Offsets returns the positions of a connector: the stored source offsets, or the committed offsets of a sink's consumer group.
func (w *Worker) Offsets(ctx context.Context, name string) (*api.ConnectorOffsets, error) {
	v, err := w.existing(name)
	if err != nil {
		return nil, err
	}
	if !w.isSink(v) {
		return w.sourceOffsets(ctx, v)
	}
	group, err := w.sinkGroup(ctx, v)
	if err != nil {
		return nil, err
	}
	offs, err := w.committed(ctx, group)
	if err != nil {
		return nil, fail(500, "Failed to retrieve consumer group offsets for connector %s: %s", name, err)
	}
	out := &api.ConnectorOffsets{Offsets: []api.ConnectorOffset{}}
	for _, o := range offs.Sorted() {
		if o.At >= 0 {
			out.Offsets = append(out.Offsets, api.ConnectorOffset{
				Partition: map[string]any{"kafka_topic": o.Topic, "kafka_partition": int64(o.Partition)},
				Offset:    map[string]any{"kafka_offset": o.At},
			})
		}
	}
	return out, nil
}

func (w *Worker) sourceOffsets(ctx context.Context, v connectorView) (*api.ConnectorOffsets, error) {
	if _, own := v.config["offsets.storage.topic"]; !own && v.config["producer.override.bootstrap.servers"] == "" {
		return &api.ConnectorOffsets{Offsets: w.offsets.list(v.name)}, nil
	}
	p, err := w.parse(ctx, v.config)
	if err != nil {
		return nil, err
	}
	offs, err := w.openOffsets(ctx, v.name, p)
	if err != nil {
		return nil, fail(500, "Failed to retrieve the offsets of connector %s: %s", v.name, p.secrets.clean(err.Error()))
	}
	defer offs.close()
	return &api.ConnectorOffsets{Offsets: offs.list()}, nil
}

func (w *Worker) isSink(v connectorView) bool {
	return kindOf(w.cfg.Plugins, v.config["connector.class"]) == string(plugins.KindSink)
}

func (w *Worker) committed(ctx context.Context, group string) (kadm.OffsetResponses, error) {
	offs, err := w.adm.FetchOffsets(ctx, group)
	if err == nil {
		err = offs.Error()
	}
	return offs, err
}

// sinkGroup is the consumer group of a sink.
func (w *Worker) sinkGroup(ctx context.Context, v connectorView) (string, error) {
	resolved, err := w.resolve(ctx, v.config)
	if err != nil {
		return "", fail(500, "%s", err)
	}
	if g := resolved["consumer.override.group.id"]; g != "" {
		return g, nil
	}
	if g := w.set.withPrefix("consumer.")["group.id"]; g != "" {
		return g, nil
	}
	return "connect-" + v.name, nil
}

// AlterOffsets changes positions of a stopped connector; an offset of nil removes one (KIP-875).
func (w *Worker) AlterOffsets(ctx context.Context, name string, offsets []api.ConnectorOffset) (*api.Message, error) {
	if len(offsets) == 0 {
		return nil, fail(400, "Partitions / offsets need to be provided for an alter offsets request")
	}
	return w.changeOffsets(ctx, name, offsets, "altered")
}

// ResetOffsets removes all positions of a stopped connector.
func (w *Worker) ResetOffsets(ctx context.Context, name string) (*api.Message, error) {
	return w.changeOffsets(ctx, name, nil, "reset")
}

func (w *Worker) changeOffsets(ctx context.Context, name string, offsets []api.ConnectorOffset, verb string) (*api.Message, error) {
	w.writeMu.Lock()
	defer w.writeMu.Unlock()
	v, err := w.existing(name)
	if err != nil {
		return nil, err
	}
	if v.target != Stopped || len(v.tasks) > 0 || w.herd.alive(name) {
		return nil, fail(400, "Connectors must be in the STOPPED state before their offsets can be modified. This can be done for the specified connector by issuing a 'PUT' request to the '/connectors/%s/stop' endpoint", name)
	}
	p, err := w.parse(ctx, v.config)
	if err != nil {
		return nil, err
	}
	if verb == "reset" {
		all, err := w.Offsets(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, o := range all.Offsets {
			offsets = append(offsets, api.ConnectorOffset{Partition: o.Partition})
		}
	}
	apply := w.alterSource
	if p.spec.Kind == plugins.KindSink {
		if offsets, err = sinkChanges(offsets); err != nil {
			return nil, err
		}
		apply = w.alterSink
	}
	complete := false
	if a, ok := p.spec.New().(plugins.OffsetAlterer); ok {
		changes := make([]plugins.OffsetChange, len(offsets))
		for i, o := range offsets {
			changes[i] = plugins.OffsetChange{Partition: o.Partition, Offset: o.Offset}
		}
		if err := guard(func() (e error) {
			complete, e = a.AlterOffsets(ctx, p.own, changes)
			return e
		}); err != nil {
			return nil, fail(500, "%s", p.secrets.clean(err.Error()))
		}
	}
	if err := apply(ctx, v, p, offsets); err != nil {
		return nil, err
	}
	if complete {
		return &api.Message{Message: "The offsets for this connector have been " + verb + " successfully"}, nil
	}
	return &api.Message{Message: fmt.Sprintf("The Connect framework-managed offsets for this connector have been %s successfully. However, if this connector manages offsets externally, they will need to be manually %s in the system that the connector uses.", verb, verb)}, nil
}

func (w *Worker) alterSource(ctx context.Context, v connectorView, p *parsed, offsets []api.ConnectorOffset) error {
	marks := make([]sourceMark, len(offsets))
	for i, o := range offsets {
		marks[i].partition = o.Partition
		if o.Offset != nil {
			marks[i].offset = plugins.OffsetMap(o.Offset)
		}
	}
	if w.eos().tasks {
		// A task that was left behind could overwrite the new positions.
		if err := w.fenceZombies(ctx, v.name, p); err != nil {
			return w.failed("fence the tasks of the connector", err)
		}
	}
	if len(marks) == 0 {
		return nil
	}
	offs, err := w.openOffsets(ctx, v.name, p)
	if err != nil {
		return w.failed("open the offsets", err)
	}
	defer offs.close()
	if w.eos().tasks {
		err = w.writeInTransaction(ctx, v.name, p, offs, marks)
	} else {
		err = offs.write(ctx, marks)
	}
	if err != nil {
		return w.failed("write the offsets", err)
	}
	return nil
}

// writeInTransaction stores positions with the producer of the connector's first task, which fences it.
func (w *Worker) writeInTransaction(ctx context.Context, name string, p *parsed, offs *connectorOffsets, marks []sourceMark) error {
	id := w.transactionalID(workID{name, 0})
	props, _ := transactional(w.clientProps("producer", p, map[string]string{"client.id": "connector-offsets-" + name}))
	opts, err := clientOpts("producer", props)
	if err != nil {
		return err
	}
	opts = append(append(append([]kgo.Opt{kgo.WithLogger(kgoLogger{w.log})}, w.cfg.KafkaOpts...), opts...), append(transactionOpts(id, props), kgo.RecordPartitioner(fixedOrHashed()))...)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, _, err := startProducer(ctx, cl, id); err != nil {
		return err
	}
	if err := offs.readAll(ctx); err != nil {
		return err
	}
	if err := offs.removeBehind(ctx, marks); err != nil {
		return err
	}
	recs := make([]*kgo.Record, len(marks))
	for i, m := range marks {
		if recs[i], err = offs.primary.render(name, m); err != nil {
			return err
		}
		recs[i].Partition = plugins.NoPartition
	}
	if err := cl.BeginTransaction(); err != nil {
		return err
	}
	if err := cl.ProduceSync(ctx, recs...).FirstErr(); err != nil {
		_ = kafkaclient.EndTransaction(ctx, cl, kgo.TryAbort)
		return err
	}
	if err := kafkaclient.EndTransaction(context.WithoutCancel(ctx), cl, kgo.TryCommit); err != nil {
		return err
	}
	return offs.stored(recs, marks)
}

// sinkChanges checks positions of a sink and gives them numbers.
func sinkChanges(offsets []api.ConnectorOffset) ([]api.ConnectorOffset, error) {
	out := make([]api.ConnectorOffset, len(offsets))
	for i, o := range offsets {
		if o.Partition == nil {
			return nil, fail(400, "The partition for a sink connector offset cannot be null or missing")
		}
		topic, tok := o.Partition["kafka_topic"]
		partition, pok := o.Partition["kafka_partition"]
		if !tok || !pok {
			return nil, fail(400, "The partition for a sink connector offset must contain the keys 'kafka_topic' and 'kafka_partition'")
		}
		n, err := strconv.ParseInt(fmt.Sprint(partition), 10, 32)
		if err != nil {
			return nil, fail(400, "Failed to parse the following Kafka partition value in the provided offsets: '%v'. Partition values for sink connectors need to be integers.", partition)
		}
		out[i].Partition = map[string]any{"kafka_topic": fmt.Sprint(topic), "kafka_partition": n}
		if o.Offset == nil {
			continue
		}
		off, ok := o.Offset["kafka_offset"]
		if !ok {
			return nil, fail(400, "The offset for a sink connector should either be null or contain the key 'kafka_offset'")
		}
		at, err := strconv.ParseInt(fmt.Sprint(off), 10, 64)
		if err != nil {
			return nil, fail(400, "Failed to parse the following Kafka offset value in the provided offsets: '%v'. Offset values for sink connectors need to be integers.", off)
		}
		out[i].Offset = map[string]any{"kafka_offset": at}
	}
	return out, nil
}

func (w *Worker) alterSink(ctx context.Context, v connectorView, _ *parsed, offsets []api.ConnectorOffset) error {
	group, err := w.sinkGroup(ctx, v)
	if err != nil {
		return err
	}
	set, remove := kadm.Offsets{}, kadm.TopicsSet{}
	for _, o := range offsets {
		topic, partition := o.Partition["kafka_topic"].(string), int32(o.Partition["kafka_partition"].(int64))
		if o.Offset == nil {
			remove.Add(topic, partition)
		} else {
			set.AddOffset(topic, partition, o.Offset["kafka_offset"].(int64), -1)
		}
	}
	if len(set) > 0 {
		var topics []string
		for t := range set {
			topics = append(topics, t)
		}
		sort.Strings(topics)
		tds, err := w.adm.ListTopics(ctx, topics...)
		if err != nil {
			return fail(500, "Failed to alter consumer group offsets for connector %s", v.name)
		}
		for t, ps := range set {
			for p := range ps {
				if _, ok := tds[t].Partitions[p]; !ok {
					return fail(500, "Failed to alter consumer group offsets for connector %s", v.name)
				}
			}
		}
		resp, err := w.adm.CommitOffsets(ctx, group, set)
		if err == nil {
			err = resp.Error()
		}
		if err != nil {
			return fail(500, "Failed to alter consumer group offsets for connector %s: %s", v.name, err)
		}
	}
	if len(remove) > 0 {
		resp, err := w.adm.DeleteOffsets(ctx, group, remove)
		if err == nil {
			err = resp.Error()
		}
		if err != nil {
			return fail(500, "Failed to alter consumer group offsets for connector %s: %s", v.name, err)
		}
	}
	return nil
}
