// Package file has Kafka's two example connectors, which need nothing outside: a source that follows the lines of a text file and a sink
// that appends records to one. Class names, keys, source partitions ({"filename": ...}) and offsets ({"position": ...}) are Kafka's.
package file

import (
	"context"
	"errors"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
)

// version is that of the connectors; they change with moldau.
const version = "1.0.0"

// Register adds both connectors to a registry.
func Register(r *plugins.Registry) {
	r.AddConnector(&plugins.ConnectorSpec{
		Class:   "org.apache.kafka.connect.file.FileStreamSourceConnector",
		Aliases: []string{"FileStreamSourceConnector", "FileStreamSource", "file-source"},
		Kind:    plugins.KindSource, Version: version, Config: sourceConfig(),
		New: func() plugins.Connector { return &SourceConnector{} },
	})
	r.AddConnector(&plugins.ConnectorSpec{
		Class:   "org.apache.kafka.connect.file.FileStreamSinkConnector",
		Aliases: []string{"FileStreamSinkConnector", "FileStreamSink", "file-sink"},
		Kind:    plugins.KindSink, Version: version, Config: sinkConfig(),
		New: func() plugins.Connector { return &SinkConnector{} },
	})
}

func sourceConfig() *configdef.Def {
	return configdef.NewDef(
		configdef.Key{Name: "file", Type: configdef.String, Importance: configdef.High, Doc: "File to read; without one the standard input is read."},
		configdef.Key{Name: "topic", Type: configdef.String, Required: true, Importance: configdef.High, Check: configdef.NonEmpty, Doc: "Topic to write the lines to."},
		configdef.Key{Name: "batch.size", Type: configdef.Int, Default: 2000, Importance: configdef.Low, Check: configdef.AtLeast(1), Doc: "Most lines handed over at a time."},
	)
}

func sinkConfig() *configdef.Def {
	return configdef.NewDef(
		configdef.Key{Name: "file", Type: configdef.String, Importance: configdef.High, Doc: "File to append to; without one records go to the standard output."},
	)
}

// shared is what the two connectors have in common: nothing to check and tasks that get the whole configuration.
type shared struct{ config map[string]string }

// Validate implements plugins.Connector. A file may appear later.
func (s *shared) Validate(context.Context, configdef.Values, *configdef.Result) {}

// Start implements plugins.Connector.
func (s *shared) Start(_ context.Context, _ plugins.Env, cfg configdef.Values) error {
	s.config = cfg.Raw()
	return nil
}

// Stop implements plugins.Connector.
func (s *shared) Stop() error { return nil }

// SourceConnector follows a file.
type SourceConnector struct{ shared }

// TaskConfigs implements plugins.Connector: one task, as a file has one reader.
func (c *SourceConnector) TaskConfigs(int) ([]map[string]string, error) {
	return []map[string]string{c.config}, nil
}

// NewSourceTask implements plugins.SourceConnector.
func (c *SourceConnector) NewSourceTask() plugins.SourceTask { return &sourceTask{} }

// ExactlyOnceSupport implements plugins.ExactlyOnceConnector: the standard input cannot be read again.
func (c *SourceConnector) ExactlyOnceSupport(cfg configdef.Values) bool { return cfg.Str("file") != "" }

// AlterOffsets implements plugins.OffsetAlterer: positions are in the worker's topic alone.
func (c *SourceConnector) AlterOffsets(_ context.Context, cfg configdef.Values, changes []plugins.OffsetChange) (bool, error) {
	if cfg.Str("file") == "" {
		return false, errors.New("Offsets cannot be modified if the 'file' configuration is unspecified. This is because stdin is used for input and offsets are not tracked.") //nolint:staticcheck // Kafka's words
	}
	for _, ch := range changes {
		if ch.Partition == nil {
			return false, errors.New("Partition objects cannot be null") //nolint:staticcheck // Kafka's words
		}
		if _, ok := ch.Partition["filename"]; !ok {
			return false, errors.New("Partition objects should contain the key 'filename'") //nolint:staticcheck // Kafka's words
		}
		if ch.Offset == nil {
			continue
		}
		n, ok := ch.Offset["position"]
		if !ok {
			return false, errors.New("Offset objects should either be null or contain the key 'position'") //nolint:staticcheck // Kafka's words
		}
		at, ok := n.(int64)
		if !ok {
			return false, errors.New("The value for the 'position' key in the offset is expected to be a Long value") //nolint:staticcheck // Kafka's words
		}
		if at < 0 {
			return false, errors.New("The value for the 'position' key in the offset should be a non-negative value") //nolint:staticcheck // Kafka's words
		}
	}
	return true, nil
}

// SinkConnector appends to a file.
type SinkConnector struct{ shared }

// TaskConfigs implements plugins.Connector.
func (c *SinkConnector) TaskConfigs(most int) ([]map[string]string, error) {
	out := make([]map[string]string, most)
	for i := range out {
		out[i] = c.config
	}
	return out, nil
}

// AlterOffsets implements plugins.OffsetAlterer: there is nothing beside the group's offsets.
func (c *SinkConnector) AlterOffsets(context.Context, configdef.Values, []plugins.OffsetChange) (bool, error) {
	return true, nil
}

// NewSinkTask implements plugins.SinkConnector.
func (c *SinkConnector) NewSinkTask() plugins.SinkTask { return &sinkTask{} }
