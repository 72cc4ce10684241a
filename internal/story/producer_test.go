package story

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/stretchr/testify/require"
)

const (
	readingsPerSchema = 1000
	compatibleError   = "refused with 409"
)

// The schemas of a record that evolves: a field with a default is added, another is dropped and a number becomes wider. The last one
// is not compatible: it adds a field without a default.
var readingSchemas = []string{
	`{"type":"record","name":"Reading","namespace":"story","fields":[{"name":"id","type":"int"},{"name":"place","type":"string"},{"name":"value","type":"int"},{"name":"old","type":["null","string"],"default":null}]}`,
	`{"type":"record","name":"Reading","namespace":"story","fields":[{"name":"id","type":"int"},{"name":"place","type":"string"},{"name":"value","type":"int"},{"name":"old","type":["null","string"],"default":null},{"name":"unit","type":"string","default":"C"}]}`,
	`{"type":"record","name":"Reading","namespace":"story","fields":[{"name":"id","type":"int"},{"name":"place","type":"string"},{"name":"value","type":"long"},{"name":"unit","type":"string","default":"C"}]}`,
	`{"type":"record","name":"Reading","namespace":"story","fields":[{"name":"id","type":"int"},{"name":"place","type":"string"},{"name":"value","type":"long"},{"name":"unit","type":"string","default":"C"},{"name":"must","type":"string"}]}`,
}

// reading is the record with a given id as the producers make it: those of schema s have ids s*readingsPerSchema and up.
func reading(id int) []string {
	schema := id / readingsPerSchema
	row := []string{fmt.Sprint(id), fmt.Sprintf("městо %d", id%17), fmt.Sprint(id * 3), Null, Null}
	if schema < 2 && id%2 == 0 {
		row[3] = fmt.Sprintf("old %d", id)
	}
	if schema >= 1 {
		row[4] = fmt.Sprintf("u%d", id%5)
	}
	if schema == 2 {
		row[2] = fmt.Sprint(id*3 + wide)
	}
	return row
}

var readings = Table{Name: "readings", Key: "id", Columns: []Column{
	{Name: "id", Kind: Int}, {Name: "place", Kind: Text}, {Name: "value", Kind: Int}, {Name: "old", Kind: Text}, {Name: "unit", Kind: Text},
}}

// readingLines are the records of a schema as JSON lines, what the producers' scripts read.
func readingLines(t *testing.T, schema int) string {
	t.Helper()
	var sb strings.Builder
	for id := schema * readingsPerSchema; id < (schema+1)*readingsPerSchema; id++ {
		r := reading(id)
		row := map[string]any{"id": id, "place": r[1], "value": json.Number(r[2])}
		if schema < 2 {
			row["old"] = nil
			if r[3] != Null {
				row["old"] = r[3]
			}
		}
		if schema >= 1 {
			row["unit"] = r[4]
		}
		b, err := json.Marshal(row)
		require.NoError(t, err)
		sb.Write(append(b, '\n'))
	}
	return sb.String()
}

// The producers: bootstrap, registry, topic and schema are their arguments, records their input. They print "refused with 409" when the
// registry does not take the schema.
const (
	pythonAvroProducer = `
import sys, json
from confluent_kafka import SerializingProducer
from confluent_kafka.error import ValueSerializationError
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import StringSerializer
bootstrap, registry, topic, schema = sys.argv[1:]
avro = AvroSerializer(SchemaRegistryClient({"url": registry}), schema)
p = SerializingProducer({"bootstrap.servers": bootstrap, "key.serializer": StringSerializer(), "value.serializer": avro, "enable.idempotence": True, "linger.ms": 5})
def done(err, msg):
    if err: sys.exit(str(err))
for line in sys.stdin:
    row = json.loads(line)
    try:
        p.produce(topic, key=str(row["id"]), value=row, on_delivery=done)
    except ValueSerializationError as e:
        if "409" in str(e):
            print("refused with 409", str(e)); sys.exit(0)
        raise
    p.poll(0)
assert p.flush(30) == 0`

	kafkajsAvroProducer = `
const { Kafka, logLevel } = require('kafkajs');
const { SchemaRegistry, SchemaType, COMPATIBILITY } = require('@kafkajs/confluent-schema-registry');
const [bootstrap, host, topic, schema] = process.argv.slice(1);
(async () => {
  const registry = new SchemaRegistry({ host });
  let id;
  try {
    ({ id } = await registry.register({ type: SchemaType.AVRO, schema }, { subject: topic + '-value', compatibility: COMPATIBILITY.BACKWARD }));
  } catch (e) {
    if (e.status !== 409) throw e;
    console.log('refused with 409', e.message);
    return;
  }
  const p = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR }).producer({ idempotent: true, maxInFlightRequests: 1 });
  await p.connect();
  const rows = require('fs').readFileSync(0, 'utf8').trim().split('\n').map(l => JSON.parse(l));
  const messages = await Promise.all(rows.map(async r => ({ key: String(r.id), value: await registry.encode(id, r) })));
  await p.send({ topic, acks: -1, compression: 1, messages });
  await p.disconnect();
})().catch(e => { console.error(e); process.exit(1); });`
)

// TestRegistrySerializersToLake has producers with registry serializers of two languages write records whose schema evolves; they land
// in S3 as Avro, which fastavro reads, and as JSON.
func TestRegistrySerializersToLake(t *testing.T) {
	lake := servers.TestS3(t)
	python := servers.Tool(t, "clients", servers.FetchPythonClients)
	node := servers.Tool(t, "clients", servers.FetchNodeClients)
	hub := startHub(t)
	tests := []struct {
		name, format, reader string
		produce              func(t *testing.T, topic, schema, rows string) string
	}{
		{"confluent-kafka-python", "io.confluent.connect.s3.format.avro.AvroFormat", fastavroReader, func(t *testing.T, topic, schema, rows string) string {
			return output(t, python.Command(t.Context(), pythonAvroProducer, hub.Endpoints.Kafka, hub.Endpoints.Registry, topic, schema), rows)
		}},
		{"kafkajs", "io.confluent.connect.s3.format.json.JsonFormat", "", func(t *testing.T, topic, schema, rows string) string {
			return output(t, node.Command(t.Context(), kafkajsAvroProducer, hub.Endpoints.Kafka, hub.Endpoints.Registry, topic, schema), rows)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			topic, buckets := "readings-"+tt.name, bucket(t, lake)
			makeTopic(t, hub.Endpoints.Kafka, topic, 2)
			sink := lakeSink("lake-"+tt.name, lake, buckets, topic, tt.format)
			sink.Config["transforms"] = "place"
			sink.Config["rotate.schedule.interval.ms"] = "1000"
			delete(sink.Config, "transforms.unwrap.type")
			delete(sink.Config, "transforms.unwrap.delete.tombstone.handling.mode")
			sink.Config["key.converter"] = "org.apache.kafka.connect.storage.StringConverter"
			create(t, hub, sink)

			want := Rows{}
			for s, schema := range readingSchemas[:3] {
				require.Empty(t, tt.produce(t, topic, schema, readingLines(t, s)))
				for id := s * readingsPerSchema; id < (s+1)*readingsPerSchema; id++ {
					want[fmt.Sprint(id)] = reading(id)
				}
			}
			require.Contains(t, tt.produce(t, topic, readingSchemas[3], `{"id":1,"place":"p","value":1,"unit":"C","must":"m"}`+"\n"), compatibleError)
			require.Len(t, versions(t, hub.Endpoints.Registry, topic+"-value"), 3, "the refused schema is no version")

			log, err := readLog(t.Context(), hub.Endpoints.Kafka, topic)
			require.NoError(t, err)
			require.Equal(t, 3*readingsPerSchema, log.records)
			// Producers choose partitions by themselves, so one id cannot be in two places only if each record is there once.
			whole := func(l *Lake) error {
				if missing, doubled := l.Gaps(log.ends, log.stoneAt); missing+doubled != 0 || len(l.Records) != log.records {
					return fmt.Errorf("%d offsets are in no object, %d in two, %d records in all", missing, doubled, len(l.Records))
				}
				got, err := l.Fold(readings, "__deleted")
				return errors.Join(err, differ("lake", readings, want, got))
			}
			var objects []Object
			eventually(t, time.Minute, func(ctx context.Context) (err error) {
				if objects, err = ReadObjects(ctx, lake, buckets, topic); err != nil {
					return err
				}
				l, err := MakeLake(topic, objects, "__offset", func(o Object) ([]map[string]any, error) { return DecodeObject(o.Key, o.Body) })
				if err != nil {
					return err
				}
				return errors.Join(healthy(ctx, hub, sink.Name), whole(l))
			})
			if tt.reader != "" {
				require.NoError(t, whole(readIndependently(t, tt.reader, topic, objects)), "as the independent reader sees it")
			}
		})
	}
}
