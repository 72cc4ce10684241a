package connect

import (
	"context"
	"sort"

	"github.com/moldau-io/moldau/core/connect/api"
	"github.com/moldau-io/moldau/plugins"
)

// Offsets returns the positions of a connector: the stored source offsets, or the committed offsets of a sink's consumer group.
func (w *Worker) Offsets(ctx context.Context, name string) (*api.ConnectorOffsets, error) {
	v, err := w.existing(name)
	if err != nil {
		return nil, err
	}
	if kindOf(w.cfg.Plugins, v.config["connector.class"]) != string(plugins.KindSink) {
		return &api.ConnectorOffsets{Offsets: w.offsets.list(name)}, nil
	}
	group, err := w.sinkGroup(ctx, v)
	if err != nil {
		return nil, err
	}
	offs, err := w.adm.FetchOffsets(ctx, group)
	if err == nil {
		err = offs.Error()
	}
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
	sort.SliceStable(out.Offsets, func(i, j int) bool {
		return out.Offsets[i].Partition["kafka_topic"].(string) < out.Offsets[j].Partition["kafka_topic"].(string)
	})
	return out, nil
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
