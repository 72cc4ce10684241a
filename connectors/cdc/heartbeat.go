package cdc

import (
	"time"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
)

var (
	heartbeatKey = data.NewStruct().Name("io.debezium.connector.common.ServerNameKey").Version(1).
			Field("serverName", data.StringSchema).Build()
	heartbeatValue = data.NewStruct().Name("io.debezium.connector.common.Heartbeat").Version(1).
			Field("ts_ms", data.Int64Schema).Build()
)

// Heartbeat returns a heartbeat record at now, without an offset.
func (c *Config) Heartbeat(now time.Time) plugins.SourceRecord {
	return plugins.SourceRecord{
		Topic: c.Topics.HeartbeatTopic(), Partition: 0,
		KeySchema: heartbeatKey, Key: data.StructOf(&data.Struct{Schema: heartbeatKey, Values: []data.Value{data.String(c.Prefix)}}),
		ValueSchema: heartbeatValue, Value: data.StructOf(&data.Struct{Schema: heartbeatValue, Values: []data.Value{data.Int64(now.UnixMilli())}}),
		Timestamp: plugins.NoTimestamp,
	}
}
