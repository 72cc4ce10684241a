package story

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// bomb is a record batch that is not what it says, or much more.
type bomb struct {
	name string
	raw  []byte
	ok   bool // a broker takes it where the producer's compression stays
}

// Codecs of record batches, as their attributes have them.
const (
	noCodec = iota
	gzipCodec
	snappyCodec
	lz4Codec
	zstdCodec
)

// forge makes a batch of a payload: attributes are the codec, count is what its header claims.
func forge(codec uint16, count int32, payload []byte) []byte {
	be := binary.BigEndian
	now := uint64(time.Now().UnixMilli())
	raw := be.AppendUint32(make([]byte, 8, 61+len(payload)), uint32(49+len(payload))) // offset, length
	raw = append(raw, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0)                          // leader epoch, magic, checksum
	raw = be.AppendUint16(raw, codec)
	raw = be.AppendUint32(raw, uint32(count-1)) // last offset delta
	raw = be.AppendUint64(be.AppendUint64(raw, now), now)
	raw = append(raw, bytes.Repeat([]byte{0xff}, 14)...) // no producer
	raw = append(be.AppendUint32(raw, uint32(count)), payload...)
	be.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// zeroRecord is the beginning of a record whose value is n zeros, and its end.
func zeroRecord(n int) (head, tail []byte) {
	var body []byte
	body = append(body, 0, 0, 0)                                                      // attributes, timestamp, offset
	body = binary.AppendVarint(body, 1)                                               // key
	body = binary.AppendVarint(append(body, 'k'), int64(n))                           // value
	return append(binary.AppendVarint(nil, int64(len(body)+n+1)), body...), []byte{0} // no headers
}

// zeroPayload compresses a record with a value of n zeros.
func zeroPayload(t testing.TB, codec uint16, n int) []byte {
	var out bytes.Buffer
	var w io.WriteCloser
	switch codec {
	case gzipCodec:
		z, err := gzip.NewWriterLevel(&out, 1)
		require.NoError(t, err)
		w = z
	case lz4Codec:
		w = lz4.NewWriter(&out)
	case zstdCodec:
		z, err := zstd.NewWriter(&out, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
		require.NoError(t, err)
		w = z
	case snappyCodec:
		head, tail := zeroRecord(n)
		return snappy.Encode(nil, append(append(head, make([]byte, n)...), tail...))
	default:
		t.Fatalf("no bombs of codec %d", codec)
	}
	head, tail := zeroRecord(n)
	_, err := w.Write(head)
	require.NoError(t, err)
	chunk := make([]byte, 1<<20)
	for left := n; left > 0; left -= min(left, len(chunk)) {
		_, err = w.Write(chunk[:min(left, len(chunk))])
		require.NoError(t, err)
	}
	_, err = w.Write(tail)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

func gzipZeros(t testing.TB, n int) []byte { return zeroPayload(t, gzipCodec, n) }

// makeBombs makes batches of up to a MiB, message.max.bytes, that unpack to a gigabyte, or to what is just allowed, and some that lie.
func makeBombs(t testing.TB) []bomb {
	var l []bomb
	add := func(name string, ok bool, raw []byte) {
		if len(raw) < 1<<20 {
			l = append(l, bomb{name, raw, ok})
		}
	}
	for _, c := range []struct {
		name  string
		codec uint16
		most  int
	}{{"gzip", gzipCodec, 230 << 20}, {"lz4", lz4Codec, 250 << 20}, {"zstd", zstdCodec, 1 << 30}} {
		add(c.name+" of a gigabyte, or as much as it can", false, forge(c.codec, 1, zeroPayload(t, c.codec, c.most)))
		add(c.name+" of 100 MiB", true, forge(c.codec, 1, zeroPayload(t, c.codec, 100<<20)))
	}
	add("snappy of 16 MiB", true, forge(snappyCodec, 1, zeroPayload(t, snappyCodec, 16<<20)))
	add("snappy that claims 4 GiB", false, forge(snappyCodec, 1, append(binary.AppendUvarint(nil, 1<<32-1), 0, 0, 0)))
	frame := binary.LittleEndian.AppendUint64([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0}, 1<<40) // single segment, content size of 8 bytes
	add("zstd that claims a terabyte", false, forge(zstdCodec, 1, append(frame, 1, 0, 0)))
	_, tail := zeroRecord(0)
	add("2^31-1 records in a byte", false, forge(noCodec, 1<<31-1, tail))
	add("2^31-1 records in gzip of 100 MiB", false, forge(gzipCodec, 1<<31-1, zeroPayload(t, gzipCodec, 100<<20)))
	return l
}

func produceBatch(topic string, raw []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 9, -1, 10_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = raw
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// produceRaw sends a batch and returns the error code of the answer.
func produceRaw(nc net.Conn, req *kmsg.ProduceRequest) (int16, error) {
	_ = nc.SetDeadline(time.Now().Add(2 * time.Minute))
	if _, err := nc.Write(requestFrame(req, 1)); err != nil {
		return 0, err
	}
	var size [4]byte
	if _, err := io.ReadFull(nc, size[:]); err != nil {
		return 0, err
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(nc, body); err != nil {
		return 0, err
	}
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	if err := resp.ReadFrom(body[5:]); err != nil {
		return 0, err
	}
	return resp.Topics[0].Partitions[0].ErrorCode, nil
}

// bombs sends all of them to topics of each kind of compression from many connections.
func (a *abused) bombs(ctx context.Context, bombs []bomb) string {
	admin := kadm.NewClient(a.victims[0].producer)
	var topics []string
	for _, c := range []string{"producer", "gzip", "zstd", "uncompressed"} {
		_, err := admin.CreateTopic(a.t.Context(), 1, 1, map[string]*string{"compression.type": kadm.StringPtr(c), "retention.bytes": kadm.StringPtr("10000000")}, "bombed-"+c)
		require.NoError(a.t, err)
		topics = append(topics, "bombed-"+c)
	}
	_, err := admin.CreateTopic(a.t.Context(), 1, 1, map[string]*string{"cleanup.policy": kadm.StringPtr("compact")}, "bombed-compact")
	require.NoError(a.t, err)
	topics = append(topics, "bombed-compact")
	var sent, taken, put atomic.Int64
	var wg sync.WaitGroup
	for worker := range min(a.n, 300) {
		wg.Go(func() {
			nc, err := abuseDial("", a.plain)
			if err != nil {
				return
			}
			defer nc.Close()
			for i := worker; ctx.Err() == nil; i++ {
				b, topic := bombs[i%len(bombs)], topics[i/len(bombs)%len(topics)]
				code, err := produceRaw(nc, produceBatch(topic, b.raw))
				if err != nil {
					if ctx.Err() == nil {
						a.t.Errorf("%s to %s: %v", b.name, topic, err)
					}
					return
				}
				sent.Add(1)
				switch {
				case code == 0 && !b.ok:
					a.t.Errorf("%s is taken by %s", b.name, topic)
				case code == kerr.RequestTimedOut.Code:
					put.Add(1)
				case code == 0:
					taken.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return fmt.Sprintf("%d batches, %d taken, %d put off", sent.Load(), taken.Load(), put.Load())
}

// storedBombs puts bombs that a broker must take into a topic that is compacted, and then has them read by time from many connections.
func (a *abused) storedBombs(bombs []bomb) string {
	admin := kadm.NewClient(a.victims[0].producer)
	configs := map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.001", "segment.ms": "100", "min.compaction.lag.ms": "0"}
	set := map[string]*string{}
	for k, v := range configs {
		set[k] = kadm.StringPtr(v)
	}
	_, err := admin.CreateTopic(a.t.Context(), 1, 1, set, "stored")
	require.NoError(a.t, err)
	nc, err := abuseDial("", a.plain)
	require.NoError(a.t, err)
	defer nc.Close()
	stored := 0
	for range 3 {
		for _, b := range bombs {
			if !b.ok {
				continue
			}
			code, err := produceRaw(nc, produceBatch("stored", b.raw))
			require.NoError(a.t, err)
			require.Zero(a.t, code, "%s: %v", b.name, kerr.ErrorForCode(code))
			stored++
		}
		time.Sleep(150 * time.Millisecond) // so that the segment is rolled
	}
	list := kmsg.NewPtrListOffsetsRequest()
	list.Version, list.ReplicaID = 6, -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = "stored"
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp, p.CurrentLeaderEpoch = 1, -1
	t.Partitions = append(t.Partitions, p)
	list.Topics = append(list.Topics, t)
	ctx, stop := context.WithTimeout(a.t.Context(), a.pause) // storing them took as long as an attack may
	defer stop()
	var asked atomic.Int64
	var wg sync.WaitGroup
	for range min(a.n, 100) {
		wg.Go(func() {
			nc, err := abuseDial("", a.plain)
			if err != nil {
				return
			}
			defer nc.Close()
			for ctx.Err() == nil {
				_ = nc.SetDeadline(time.Now().Add(2 * time.Minute))
				if err := askRaw(nc, list); err != nil {
					if ctx.Err() == nil {
						a.t.Errorf("list offsets: %v", err)
					}
					return
				}
				asked.Add(1)
			}
		})
	}
	wg.Wait()
	require.Eventually(a.t, func() bool {
		log, err := os.ReadFile(a.hub.LogFile())
		return err == nil && bytes.Contains(log, []byte(`msg="log is compacted" role=broker partition=stored-0`))
	}, 30*time.Second, 100*time.Millisecond, "the compactor has read them")
	return fmt.Sprintf("%d stored and compacted, %d lookups by time", stored, asked.Load())
}
