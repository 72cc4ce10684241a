package s3

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sort"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/moldau-io/moldau/internal/servers"
	"github.com/moldau-io/moldau/internal/story"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { servers.Main(m) }

var lineSchema = data.NewStruct().Name("line").Field("__offset", data.Int64Schema).Field("text", data.StringSchema).Build()

func line(offset int64, size int) plugins.SinkRecord {
	st := data.NewStructValue(lineSchema)
	st.Set("__offset", data.Int64(offset))
	st.Set("text", data.String(strings.Repeat("x", size)))
	return plugins.SinkRecord{Topic: "t", OriginalTopic: "t", Offset: offset, ValueSchema: lineSchema, Value: data.StructOf(st), Timestamp: 1_700_000_000_000 + offset*10}
}

func records(from, to int64, size int) (rs []plugins.SinkRecord) {
	for o := from; o < to; o++ {
		rs = append(rs, line(o, size))
	}
	return rs
}

// worker stands for the part of the worker that a task talks to: it delivers a log from the place that the task asks for.
type worker struct {
	*task
	at     int64
	paused atomic.Bool
	clock  time.Time
	id     [16]byte // of the topic
}

var tp = plugins.TopicPartition{Topic: "t"}

func newWorker(t *testing.T, srv *servers.S3, bucket string, kv ...string) *worker {
	t.Helper()
	raw := map[string]string{"s3.bucket.name": bucket, "store.url": srv.Endpoint, "aws.access.key.id": srv.AccessKey, "aws.secret.access.key": srv.SecretKey,
		"s3.region": srv.Region, "format.class": "json", "flush.size": "10"}
	for i := 0; i < len(kv); i += 2 {
		raw[kv[i]] = kv[i+1]
	}
	cfg, err := definition().Parse(raw)
	require.NoError(t, err)
	w := &worker{task: &task{}, clock: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)}
	w.now = func() time.Time { return w.clock }
	env := plugins.SinkEnv{Env: plugins.Env{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))},
		Pause: func(...plugins.TopicPartition) { w.paused.Store(true) }, Resume: func(...plugins.TopicPartition) { w.paused.Store(false) },
		Rewind: func(_ plugins.TopicPartition, o int64) { w.at = o }, RequestCommit: func() {},
		TopicID: func(string) [16]byte { return w.id }}
	require.NoError(t, w.Start(t.Context(), env, cfg))
	require.NoError(t, w.Open(t.Context(), []plugins.TopicPartition{tp}))
	t.Cleanup(func() { require.NoError(t, w.Stop()) })
	return w
}

// deliver feeds the log up to end and waits for the uploads, going back where the task asks for it.
func (w *worker) deliver(t *testing.T, end int64, size int) int64 {
	t.Helper()
	for range 20 {
		from := w.at
		w.at = end
		require.NoError(t, w.Put(t.Context(), records(from, end, size)))
		safe, err := w.PreCommit(t.Context(), true)
		require.NoError(t, err)
		if w.at == end {
			return safe[tp]
		}
	}
	t.Fatal("the task goes back for ever")
	return 0
}

func bucket(t *testing.T, srv *servers.S3) string {
	t.Helper()
	name := fmt.Sprintf("b%d", time.Now().UnixNano())
	require.NoError(t, story.MakeBucket(t.Context(), srv, name))
	return name
}

// offsets lists the offsets in a bucket's objects and the objects' names.
func offsets(t *testing.T, srv *servers.S3, bucket string) (offs []int64, names []string) {
	t.Helper()
	lake, err := story.ReadLake(t.Context(), srv, bucket, "t", "__offset")
	require.NoError(t, err)
	for _, r := range lake.Records {
		offs = append(offs, r.Offset)
	}
	out, err := story.S3Client(srv).ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(bucket)})
	require.NoError(t, err)
	for _, o := range out.Contents {
		names = append(names, *o.Key)
	}
	sort.Strings(names)
	return offs, names
}

func consecutive(n int64) (out []int64) {
	for o := range n {
		out = append(out, o)
	}
	return out
}

func TestOnlyCompleteObjectsCount(t *testing.T) {
	srv := servers.TestS3(t)
	b := bucket(t, srv)
	w := newWorker(t, srv, b)
	require.Equal(t, int64(20), w.deliver(t, 25, 5))
	offs, names := offsets(t, srv, b)
	require.Equal(t, consecutive(20), offs)
	require.Equal(t, []string{"topics/t/partition=0/t+0+0000000000.json", "topics/t/partition=0/t+0+0000000010.json"}, names)
}

func TestASecondRunWritesTheSameObjectsOnce(t *testing.T) {
	srv := servers.TestS3(t)
	b := bucket(t, srv)
	newWorker(t, srv, b).deliver(t, 25, 5) // completes two objects and dies before the offsets are committed
	w := newWorker(t, srv, b)
	require.Equal(t, int64(40), w.deliver(t, 40, 5))
	offs, names := offsets(t, srv, b)
	require.Equal(t, consecutive(40), offs)
	require.Len(t, names, 4)
}

func TestAnObjectThatAnotherRunClosedByTheClockIsNotOverwritten(t *testing.T) {
	srv := servers.TestS3(t)
	b := bucket(t, srv)
	args := []string{"flush.size", "1000", "rotate.schedule.interval.ms", "60000", "timezone", "UTC"}
	first := newWorker(t, srv, b, args...)
	first.deliver(t, 13, 5)
	first.clock = first.clock.Add(2 * time.Minute)
	require.Equal(t, int64(13), first.deliver(t, 13, 5)) // [0,13) is complete; the commit of 13 is lost

	second := newWorker(t, srv, b, args...)
	second.deliver(t, 29, 5) // the clock would close it elsewhere
	second.clock = second.clock.Add(2 * time.Minute)
	second.deliver(t, 29, 5)
	second.clock = second.clock.Add(2 * time.Minute)
	require.Equal(t, int64(29), second.deliver(t, 29, 5))
	offs, names := offsets(t, srv, b)
	require.Equal(t, consecutive(29), offs)
	require.Equal(t, []string{"topics/t/partition=0/t+0+0000000000.json", "topics/t/partition=0/t+0+0000000013.json"}, names)
}

func TestLargeObjectsGoUpInPartsFromBoundedMemory(t *testing.T) {
	srv := servers.TestS3(t)
	b := bucket(t, srv)
	w := newWorker(t, srv, b, "flush.size", "120", "s3.part.size", "5242880", "moldau.buffer.bytes", "8388608")
	w.deliver(t, 120, 100_000) // 12 MB: three parts, part of it through the scratch file
	offs, names := offsets(t, srv, b)
	require.Equal(t, consecutive(120), offs)
	require.Len(t, names, 1)
	h, err := story.S3Client(srv).HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(b), Key: aws.String(names[0])})
	require.NoError(t, err)
	require.Contains(t, *h.ETag, "-3", "three parts")
	require.Equal(t, "120", h.Metadata[endKey])
}

func TestAnAbsentStoreIsWaitedForWithPartitionsPaused(t *testing.T) {
	srv := servers.TestS3(t)
	if srv.Process == nil {
		t.Skip("the given server is not ours to freeze")
	}
	b := bucket(t, srv)
	w := newWorker(t, srv, b, "moldau.buffer.bytes", "8388608", "s3.retry.backoff.ms", "50", "retry.backoff.ms", "100")
	require.NoError(t, srv.Freeze())
	require.NoError(t, w.Put(t.Context(), records(0, 120, 100_000)))
	require.True(t, w.paused.Load())
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	safe, err := w.PreCommit(ctx, true)
	require.NoError(t, err)
	require.Zero(t, safe[tp])
	require.NoError(t, srv.Thaw())
	_, err = w.PreCommit(t.Context(), true)
	require.NoError(t, err)
	require.NoError(t, w.Put(t.Context(), nil))
	require.False(t, w.paused.Load())
	offs, _ := offsets(t, srv, b)
	require.Equal(t, consecutive(120), offs)
}

func TestAMissingBucketIsSaidPlainly(t *testing.T) {
	srv := servers.TestS3(t)
	w := newWorker(t, srv, "no-such-bucket-here")
	require.NoError(t, w.Put(t.Context(), records(0, 10, 5)))
	_, err := w.PreCommit(t.Context(), true)
	require.ErrorContains(t, err, `s3.bucket.name: the bucket "no-such-bucket-here" does not exist`)
}

func TestFieldAndTimePathsShareAClosing(t *testing.T) {
	srv := servers.TestS3(t)
	b := bucket(t, srv)
	w := newWorker(t, srv, b, "partitioner.class", "io.confluent.connect.storage.partitioner.TimeBasedPartitioner", "partition.duration.ms", "100", "path.format", "'s'=ss/'ms'=SSS",
		"timezone", "UTC", "timestamp.extractor", "Record", "flush.size", "25")
	require.Equal(t, int64(50), w.deliver(t, 60, 5))
	offs, names := offsets(t, srv, b)
	require.Equal(t, consecutive(50), offs)
	require.Contains(t, names, "topics/t/s=20/ms=100/t+0+0000000010.json")
	require.Contains(t, names, "topics/t/s=20/ms=200/t+0+0000000025.json", "the second closing begins at 25")
}

func TestARefusedFirstRecordIsWhereTheTaskBeginsAgain(t *testing.T) {
	srv := servers.TestS3(t)
	w := newWorker(t, srv, bucket(t, srv))
	r := line(500, 1)
	r.Value = data.Null
	require.ErrorContains(t, w.Put(t.Context(), []plugins.SinkRecord{r}), "the value is null")
	safe, err := w.PreCommit(t.Context(), false)
	require.NoError(t, err)
	require.Equal(t, int64(500), safe[tp])
}

func TestATopicMadeAnewNeitherOverwritesNorSkips(t *testing.T) {
	srv := servers.TestS3(t)
	b := bucket(t, srv)
	first := newWorker(t, srv, b)
	first.id = [16]byte{1}
	require.Equal(t, int64(20), first.deliver(t, 20, 5))

	anew := newWorker(t, srv, b) // of another id: its offsets begin at 0
	anew.id = [16]byte{2}
	require.NoError(t, anew.Put(t.Context(), records(0, 10, 7)))
	_, err := anew.PreCommit(t.Context(), true)
	require.ErrorContains(t, err, `object topics/t/partition=0/t+0+0000000000.json holds records of an earlier topic "t" (id AQAAAAAAAAAAAAAAAAAAAA, now AgAAAAAAAAAAAAAAAAAAAA)`)
	lake, err := story.ReadLake(t.Context(), srv, b, "t", "__offset")
	require.NoError(t, err)
	require.Len(t, lake.Records, 20)

	elsewhere := newWorker(t, srv, b, "topics.dir", "second") // what the message advises
	elsewhere.id = [16]byte{2}
	require.Equal(t, int64(10), elsewhere.deliver(t, 10, 7))

	same := newWorker(t, srv, b)
	same.id = [16]byte{1}
	require.Equal(t, int64(30), same.deliver(t, 30, 5))

	// Objects of before ids were noted, and brokers that do not tell them.
	unknown := newWorker(t, srv, b)
	require.Equal(t, int64(40), unknown.deliver(t, 40, 5))
	known := newWorker(t, srv, b)
	known.id = [16]byte{3}
	known.at = 30
	require.NoError(t, known.Put(t.Context(), records(30, 40, 5)))
	safe, err := known.PreCommit(t.Context(), true)
	require.NoError(t, err)
	require.Equal(t, int64(40), safe[tp])
}

func TestATopicMadeAnewUnderARunningTaskFailsIt(t *testing.T) {
	srv := servers.TestS3(t)
	w := newWorker(t, srv, bucket(t, srv))
	w.id = [16]byte{1}
	require.NoError(t, w.Put(t.Context(), records(0, 5, 5)))
	w.id = [16]byte{2}
	require.ErrorContains(t, w.Put(t.Context(), records(0, 5, 5)), "was deleted and made anew")
}

// A Confluent sink that is taken over may have completed objects whose offsets it did not commit, and those carry no marks of ours. The
// records come again and make objects of the same names: each offset is there once, and what was there is never counted as written.
func TestObjectsOfATakenOverSinkAreWrittenAgain(t *testing.T) {
	srv := servers.TestS3(t)
	b := bucket(t, srv)
	put := func(key, body string) {
		_, err := story.S3Client(srv).PutObject(t.Context(), &s3.PutObjectInput{Bucket: &b, Key: &key, Body: strings.NewReader(body)})
		require.NoError(t, err)
	}
	var ten strings.Builder
	for o := range 10 {
		fmt.Fprintf(&ten, `{"__offset":%d,"text":"xxxxx"}`+"\n", o)
	}
	put("topics/t/partition=0/t+0+0000000000.json", ten.String())
	put("topics/t/partition=0/t+0+0000000010.json", `{"__offset":10,"text":"cut off"}`+"\n")
	w := newWorker(t, srv, b)
	require.Equal(t, int64(30), w.deliver(t, 30, 5))
	offs, names := offsets(t, srv, b)
	require.Equal(t, consecutive(30), offs)
	require.Len(t, names, 3)
	for _, n := range names {
		h, err := story.S3Client(srv).HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &b, Key: &n})
		require.NoError(t, err)
		require.NotEmpty(t, h.Metadata[endKey], n)
	}
}
