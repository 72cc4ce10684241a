package story

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/stretchr/testify/require"
)

// unique makes a name that no other run uses, as servers may outlive a run.
func unique(prefix string) string {
	var b [4]byte
	_, _ = rand.Read(b[:])
	return prefix + hex.EncodeToString(b[:])
}

// lakeSink is the config of an S3 sink of one topic whose objects hold flat rows with their place in the log.
func lakeSink(name string, s *servers.S3, bucket, topics, format string) Connector {
	return Connector{name, map[string]string{
		"connector.class":                       "io.confluent.connect.s3.S3SinkConnector",
		"topics.regex":                          strings.ReplaceAll(topics, ".", `\.`),
		"consumer.override.metadata.max.age.ms": "500",
		"s3.bucket.name":                        bucket,
		"s3.region":                             s.Region,
		"store.url":                             s.Endpoint,
		"aws.access.key.id":                     s.AccessKey,
		"aws.secret.access.key":                 s.SecretKey,
		"format.class":                          format,
		"flush.size":                            "400",
		"rotate.schedule.interval.ms":           "2000",
		"timezone":                              "UTC",
		"transforms":                            "unwrap,place",
		"transforms.unwrap.type":                "io.debezium.transforms.ExtractNewRecordState",
		"transforms.unwrap.delete.tombstone.handling.mode": "rewrite",
		"transforms.place.type":                            "org.apache.kafka.connect.transforms.InsertField$Value",
		"transforms.place.offset.field":                    "__offset",
		"transforms.place.partition.field":                 "__partition",
	}}
}

// indexSink is the config of an Elasticsearch sink of one topic whose documents are the rows.
func indexSink(name string, s *servers.Search, topics string) Connector {
	return Connector{name, map[string]string{
		"connector.class":                       "io.confluent.connect.elasticsearch.ElasticsearchSinkConnector",
		"topics.regex":                          strings.ReplaceAll(topics, ".", `\.`),
		"consumer.override.metadata.max.age.ms": "500",
		"connection.url":                        s.URL,
		"key.ignore":                            "false",
		"schema.ignore":                         "true",
		"behavior.on.null.values":               "delete",
		"read.timeout.ms":                       "30000",
		"transforms":                            "unwrap,id",
		"transforms.unwrap.type":                "io.debezium.transforms.ExtractNewRecordState",
		"transforms.id.type":                    "org.apache.kafka.connect.transforms.ExtractField$Key",
		"transforms.id.field":                   "id",
	}}
}

func bucket(t *testing.T, s *servers.S3) string {
	t.Helper()
	name := unique("story-")
	require.NoError(t, MakeBucket(t.Context(), s, name))
	return name
}

// capture is a story of changes that go from a database through the log to sinks.
type capture struct {
	hub       *Hub
	bootstrap string // of the log
	table     Table
	rows      func(ctx context.Context) (Rows, error) // what the database holds
	items     *items
	source    Connector
	sinks     []captureSink
}

type captureSink struct {
	config Connector
	// check compares what the sink holds with the table and the log; it is asked again until it is content.
	check func(ctx context.Context, c *capture, want Rows, log *logView) error
	// settled is called once all sinks are content.
	settled func(t *testing.T, c *capture, want Rows, log *logView)
}

// run tells the story: connectors are made, the table lives through its eras, and in the end the log holds every change exactly once
// and the sinks hold every row as the table has it.
func (c *capture) run(t *testing.T) {
	t.Helper()
	names := []string{c.source.Name}
	all := []Connector{c.source}
	for _, s := range c.sinks {
		names, all = append(names, s.config.Name), append(all, s.config)
	}
	create(t, c.hub, all...)
	var log *logView
	var err error
	eventually(t, time.Minute, func(ctx context.Context) error {
		if log, err = readLog(ctx, c.bootstrap, c.table.Topic); err == nil && log.records == 0 {
			err = errors.New("the log holds no row of the snapshot")
		}
		return errors.Join(err, healthy(ctx, c.hub, names...))
	})
	// What the snapshot sees is settled; all changes from here on are events. The table changes while connectors are still busy.
	c.items.live(t)
	want, err := c.rows(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, want)
	eventually(t, time.Minute, func(ctx context.Context) error {
		if err := healthy(ctx, c.hub, names...); err != nil {
			return err
		}
		if log, err = readLog(ctx, c.bootstrap, c.table.Topic); err != nil {
			return err
		}
		if n := log.records - log.stones; n < c.items.changes {
			return fmt.Errorf("%d of %d events are in the log", n, c.items.changes)
		}
		return nil
	})
	require.Equal(t, c.items.changes, log.records-log.stones, "events in the log")
	require.Equal(t, c.items.deletes, log.stones, "tombstones in the log")
	for _, s := range c.sinks {
		eventually(t, time.Minute, func(ctx context.Context) error {
			return errors.Join(healthy(ctx, c.hub, names...), s.check(ctx, c, want, log))
		})
	}
	for _, s := range c.sinks {
		if s.settled != nil {
			s.settled(t, c, want, log)
		}
	}

	// The registry tells the eras.
	schemas := versions(t, c.hub.Endpoints.Registry, c.table.Topic+"-value")
	require.GreaterOrEqual(t, len(schemas), 4)
	require.Contains(t, schemas[0], `"gone"`)
	require.NotContains(t, schemas[0], `"added"`)
	last := schemas[len(schemas)-1]
	require.Contains(t, last, `"added"`)
	require.Contains(t, last, `"fresh"`, "a column's default is its field's")
	require.NotContains(t, last, `"gone"`)
	keys := 1
	if c.items.wideKey {
		keys = 2
	}
	require.Len(t, versions(t, c.hub.Endpoints.Registry, c.table.Topic+"-key"), keys)
}

func differ(what string, t Table, want, got Rows) error {
	missing, extra, different, examples := Diff(t, want, got)
	if missing+extra+different == 0 {
		return nil
	}
	return fmt.Errorf("%s: %d missing, %d extra, %d different: %s", what, missing, extra, different, strings.Join(examples, "; "))
}

func (l *Lake) compare(c *capture, want Rows, log *logView) error {
	if missing, doubled := l.Gaps(log.ends, log.stoneAt); missing+doubled != 0 {
		return fmt.Errorf("lake: %d offsets are in no object, %d in two", missing, doubled)
	}
	if n := log.records - log.stones; len(l.Records) != n {
		return fmt.Errorf("lake: %d records, %d events in the log", len(l.Records), n)
	}
	got, err := l.Fold(c.table, "__deleted")
	if err != nil {
		return err
	}
	return differ("lake", c.table, want, got)
}

// toLake is a sink that writes objects; the reader, one of the scripts, reads them in the end.
func toLake(s *servers.S3, bucket, topic, format, reader string) captureSink {
	var objects []Object
	return captureSink{
		config: lakeSink("lake", s, bucket, topic, format),
		check: func(ctx context.Context, c *capture, want Rows, log *logView) (err error) {
			if objects, err = ReadObjects(ctx, s, bucket, topic); err != nil {
				return err
			}
			lake, err := MakeLake(topic, objects, "__offset", func(o Object) ([]map[string]any, error) { return DecodeObject(o.Key, o.Body) })
			if err != nil {
				return err
			}
			return lake.compare(c, want, log)
		},
		settled: func(t *testing.T, c *capture, want Rows, log *logView) {
			if reader != "" {
				require.NoError(t, readIndependently(t, reader, topic, objects).compare(c, want, log), "as the independent reader sees it")
			}
		},
	}
}

// toIndex is a sink that writes documents.
func toIndex(s *servers.Search, topic string) captureSink {
	return captureSink{
		config: indexSink("index", s, topic),
		check: func(ctx context.Context, c *capture, want Rows, _ *logView) error {
			index := url.PathEscape(strings.ToLower(topic))
			if n := IndexCount(ctx, s.URL, index); n != len(want) {
				return fmt.Errorf("index: %d documents, %d rows", n, len(want))
			}
			got, err := IndexRows(ctx, s.URL, index, c.table)
			if err != nil {
				return err
			}
			return differ("index", c.table, want, got)
		},
	}
}
