package story

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const clientRecords = 500

var allCodecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// kafkaClient is a way to produce lines to a topic with a codec and to read a topic from its start until it has so many lines.
type kafkaClient struct {
	name    string
	produce func(t *testing.T, bootstrap, topic, codec, text string)
	consume func(t *testing.T, bootstrap, topic string, n int) string
}

func output(t *testing.T, cmd *exec.Cmd, stdin string) string {
	t.Helper()
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoErrorf(t, cmd.Run(), "%v\n%s", cmd.Args, errs.String())
	return out.String()
}

func clients(t *testing.T) []kafkaClient {
	kcatPath, kcatEnv := "", []string(nil)
	servers.Tool(t, "clients", func(ctx context.Context) (p string, err error) {
		kcatPath, kcatEnv, err = servers.FetchKcat(ctx)
		return kcatPath, err
	})
	kcat := func(t *testing.T, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), kcatPath, args...)
		cmd.Env = append(cmd.Environ(), kcatEnv...)
		return cmd
	}
	java := servers.Tool(t, "kafka", servers.FetchKafka)
	node := servers.Tool(t, "clients", servers.FetchNodeClients)
	python := servers.Tool(t, "clients", servers.FetchPythonClients)
	return []kafkaClient{
		{
			"kcat",
			func(t *testing.T, b, topic, codec, text string) {
				output(t, kcat(t, "-P", "-b", b, "-t", topic, "-z", codec, "-X", "acks=all"), text)
			},
			func(t *testing.T, b, topic string, n int) string {
				return output(t, kcat(t, "-C", "-q", "-b", b, "-t", topic, "-o", "beginning", "-c", fmt.Sprint(n)), "")
			},
		},
		{
			"kcat in a group",
			nil,
			func(t *testing.T, b, topic string, n int) string {
				return output(t, kcat(t, "-q", "-b", b, "-X", "auto.offset.reset=earliest", "-c", fmt.Sprint(n), "-G", "kcat-"+topic, topic), "")
			},
		},
		{
			"java console tools",
			func(t *testing.T, b, topic, codec, text string) {
				output(t, java.Command(t.Context(), "org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", b, "--topic", topic, "--compression-codec", codec), text)
			},
			func(t *testing.T, b, topic string, n int) string {
				return output(t, java.Command(t.Context(), "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", b, "--topic", topic,
					"--from-beginning", "--max-messages", fmt.Sprint(n), "--timeout-ms", "30000"), "")
			},
		},
		{
			"kafkajs",
			func(t *testing.T, b, topic, codec, text string) {
				output(t, node.Command(t.Context(), kafkajsCodecs+`
const [brokers, topic, codec] = process.argv.slice(1);
(async () => {
  const p = new Kafka({ brokers: [brokers], logLevel: logLevel.ERROR }).producer();
  await p.connect();
  const lines = require('fs').readFileSync(0, 'utf8').trim().split('\n');
  await p.send({ topic, acks: -1, compression: { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 }[codec], messages: lines.map(value => ({ value })) });
  await p.disconnect();
})().catch(e => { console.error(e); process.exit(1); });`, b, topic, codec), text)
			},
			func(t *testing.T, b, topic string, n int) string {
				return output(t, node.Command(t.Context(), kafkajsCodecs+`
const [brokers, topic, n] = process.argv.slice(1);
(async () => {
  const c = new Kafka({ brokers: [brokers], logLevel: logLevel.ERROR }).consumer({ groupId: 'kafkajs-' + topic });
  await c.connect();
  await c.subscribe({ topic, fromBeginning: true });
  let got = 0;
  const all = new Promise(resolve => c.run({ eachMessage: async ({ message }) => {
    console.log(message.value.toString());
    if (++got === Number(n)) resolve();
  } }));
  await all;
  await c.disconnect();
})().catch(e => { console.error(e); process.exit(1); });`, b, topic, fmt.Sprint(n)), "")
			},
		},
		{
			"confluent-kafka-python",
			func(t *testing.T, b, topic, codec, text string) {
				output(t, python.Command(t.Context(), `
import sys
from confluent_kafka import Producer
b, topic, codec = sys.argv[1:]
p = Producer({"bootstrap.servers": b, "compression.type": codec, "enable.idempotence": True})
def done(err, msg):
    if err: sys.exit(str(err))
for line in sys.stdin:
    p.produce(topic, line.rstrip("\n"), on_delivery=done)
assert p.flush(30) == 0`, b, topic, codec), text)
			},
			func(t *testing.T, b, topic string, n int) string {
				return output(t, python.Command(t.Context(), `
import sys
from confluent_kafka import Consumer
b, topic, n = sys.argv[1:]
c = Consumer({"bootstrap.servers": b, "group.id": "py-" + topic, "auto.offset.reset": "earliest"})
c.subscribe([topic])
got = 0
while got < int(n):
    m = c.poll(30)
    if m is None or m.error(): sys.exit(str(m and m.error()))
    print(m.value().decode()); got += 1
c.close()`, b, topic, fmt.Sprint(n)), "")
			},
		},
	}
}

const kafkajsCodecs = `
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs');
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy');
const lz4 = require('lz4js');
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async e => Buffer.from(lz4.compress(e.buffer)), decompress: async b => Buffer.from(lz4.decompress(b)) });
// The Streaming API, as the other one can only read frames that tell their content's size, which not every client writes.
const zstd = new Promise(r => require('zstd-codec').ZstdCodec.run(z => r(new z.Streaming())));
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async e => Buffer.from((await zstd).compress(e.buffer)), decompress: async b => Buffer.from((await zstd).decompress(b)) });
`

// TestEveryClientReadsWhatEveryClientWrites lets real clients produce with every codec and others read it back.
func TestEveryClientReadsWhatEveryClientWrites(t *testing.T) {
	hub := startHub(t)
	everyClient(t, hub.Endpoints.Kafka)
}

func everyClient(t *testing.T, bootstrap string) {
	cs := clients(t)
	want := lines(clientRecords, "line")
	writers := 0
	for wi, w := range cs {
		if w.produce == nil {
			continue
		}
		writers++
		for ci, codec := range allCodecs {
			topic := fmt.Sprintf("clients-%d-%s", wi, codec)
			// Each topic is read by another client, so that over all codecs every client reads; franz-go reads all.
			r := cs[(wi+ci)%len(cs)]
			t.Run(fmt.Sprintf("%s writes %s, %s reads", w.name, codec, r.name), func(t *testing.T) {
				makeTopic(t, bootstrap, topic, 1)
				w.produce(t, bootstrap, topic, codec, want)
				require.Equal(t, want, franzRead(t, bootstrap, topic, clientRecords))
				require.Equal(t, want, r.consume(t, bootstrap, topic, clientRecords))
			})
		}
	}
	require.GreaterOrEqual(t, writers, 4)
}

func makeTopic(t *testing.T, bootstrap, topic string, partitions int32) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	require.NoError(t, err)
	defer cl.Close()
	_, err = kadm.NewClient(cl).CreateTopic(t.Context(), partitions, 1, nil, topic)
	require.NoError(t, err)
}

func franzRead(t *testing.T, bootstrap, topic string, n int) string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var sb strings.Builder
	for got := 0; got < n; {
		fs := cl.PollFetches(ctx)
		require.NoError(t, fs.Err0())
		fs.EachRecord(func(r *kgo.Record) { sb.Write(r.Value); sb.WriteByte('\n'); got++ })
	}
	return sb.String()
}

// TestClientStoryHoldsOnApacheKafka runs the client story on Apache Kafka itself: what fails there is a fault of the story.
func TestClientStoryHoldsOnApacheKafka(t *testing.T) {
	if testing.Short() {
		t.Skip("the peer's own run is for when the story changes")
	}
	k := servers.TestKafka(t)
	makeTopic(t, k.Bootstrap, "peer", 1)
	cs := clients(t)
	cs[0].produce(t, k.Bootstrap, "peer", "zstd", "a\nb\n")
	for _, c := range cs {
		require.Equal(t, "a\nb\n", c.consume(t, k.Bootstrap, "peer", 2), c.name)
	}
}
