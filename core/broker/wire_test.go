package broker_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/log/batch"
	"github.com/moldau-io/moldau/core/wire"
)

// raw is a connection that speaks bytes.
type raw struct {
	t    testing.TB
	nc   net.Conn
	corr int32
}

func dial(t testing.TB, c *brokertest.Cluster) *raw {
	t.Helper()
	nc, err := net.Dial("tcp", c.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(20*time.Second)))
	return &raw{t: t, nc: nc}
}

// frame is a request frame.
func frame(key, version int16, corr int32, flexible bool, clientID string, body []byte) []byte {
	b := binary.BigEndian.AppendUint16(make([]byte, 4), uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, uint32(corr))
	b = binary.BigEndian.AppendUint16(b, uint16(len(clientID)))
	b = append(b, clientID...)
	if flexible {
		b = append(b, 0)
	}
	b = append(b, body...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

func (r *raw) send(req kmsg.Request) int32 {
	r.t.Helper()
	r.corr++
	_, err := r.nc.Write(frame(req.Key(), req.GetVersion(), r.corr, req.IsFlexible(), "raw", req.AppendTo(nil)))
	require.NoError(r.t, err)
	return r.corr
}

// frame reads one response frame: correlation id and the rest.
func (r *raw) frame() (int32, []byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r.nc, head[:]); err != nil {
		return 0, nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(r.nc, b); err != nil {
		return 0, nil, err
	}
	return int32(binary.BigEndian.Uint32(b)), b[4:], nil
}

func (r *raw) receive(resp kmsg.Response, corr int32) {
	r.t.Helper()
	got, b, err := r.frame()
	require.NoError(r.t, err)
	require.Equal(r.t, corr, got, "answers come in the order of requests")
	if resp.IsFlexible() && resp.Key() != 18 {
		require.Zero(r.t, b[0])
		b = b[1:]
	}
	require.NoError(r.t, resp.ReadFrom(b))
}

// ask sends a request and decodes its answer.
func ask[R kmsg.Response](r *raw, req kmsg.Request) R {
	r.t.Helper()
	resp := req.ResponseKind()
	r.receive(resp, r.send(req))
	return resp.(R)
}

// closed waits for the end of the connection.
func (r *raw) closed() {
	r.t.Helper()
	_, _, err := r.frame()
	require.Error(r.t, err)
	var ne net.Error
	if errors.As(err, &ne) {
		require.False(r.t, ne.Timeout(), "the connection stays open")
	}
}

// records is a batch of n records.
func records(n int, change ...func(*batch.Builder)) []byte {
	w := batch.Builder{}
	for _, f := range change {
		f(&w)
	}
	for i := range n {
		w.Append(time.Now().UnixMilli(), []byte(fmt.Sprint("k", i)), []byte(fmt.Sprint("v", i)))
	}
	return w.MustBuild()
}

func produceRequest(version int16, topic string, acks int16, batches ...[]byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks = version, acks
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = topic
	for i, b := range batches {
		rp := kmsg.NewProduceRequestTopicPartition()
		rp.Partition, rp.Records = int32(i), b
		rt.Partitions = append(rt.Partitions, rp)
	}
	req.Topics = append(req.Topics, rt)
	return req
}

// logDirs is where partitions are, by directory.
func logDirs(t *testing.T, c *brokertest.Cluster) map[string][]string {
	t.Helper()
	resp := ask[*kmsg.DescribeLogDirsResponse](dial(t, c), request(kmsg.NewPtrDescribeLogDirsRequest(), 4))
	out := map[string][]string{}
	for _, d := range resp.Dirs {
		out[d.Dir] = nil
		if d.ErrorCode != 0 {
			out[d.Dir] = []string{kerr.ErrorForCode(d.ErrorCode).Error()}
			continue
		}
		for _, tp := range d.Topics {
			for _, p := range tp.Partitions {
				name := fmt.Sprintf("%s-%d", tp.Topic, p.Partition)
				if p.IsFuture {
					name += " (future)"
				}
				out[d.Dir] = append(out[d.Dir], name)
			}
		}
	}
	return out
}

func request[R kmsg.Request](r R, version int16) R {
	r.SetVersion(version)
	return r
}

func fetchRequest(version int16, topic string, partition int32, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MinBytes, req.MaxBytes, req.SessionEpoch, req.ReplicaID = version, 1, 1<<20, -1, -1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = partition, offset, 1<<20, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

func TestApiVersionsOfEveryVersionAreAnswered(t *testing.T) {
	c := brokertest.Start(t)
	r := dial(t, c)
	for v := int16(0); v <= 5; v++ {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = v, "raw", "1"
		resp := ask[*kmsg.ApiVersionsResponse](r, req)
		require.Zero(t, resp.ErrorCode)
		have := map[int16]kmsg.ApiVersionsResponseApiKey{}
		for _, k := range resp.ApiKeys {
			have[k.ApiKey] = k
		}
		require.Equal(t, int16(0), have[0].MinVersion, "Produce from 0, or librdkafka loses features")
		require.Equal(t, int16(13), have[0].MaxVersion)
		require.Equal(t, int16(0), have[11].MinVersion, "JoinGroup from 0")
		require.Equal(t, int16(0), have[3].MinVersion, "Metadata from 0")
		if v >= 3 {
			levels := map[string]int16{}
			for _, f := range resp.FinalizedFeatures {
				levels[f.Name] = f.MaxVersionLevel
			}
			require.Equal(t, int16(2), levels["transaction.version"], "clients use transactions of version 2 (KIP-890)")
		}
	}
	// A version nobody knows, with a header and body nobody can read.
	_, err := r.nc.Write(frame(18, 99, 4242, true, "future", []byte{1, 2, 3}))
	require.NoError(t, err)
	corr, b, err := r.frame()
	require.NoError(t, err)
	require.Equal(t, int32(4242), corr)
	resp := kmsg.NewPtrApiVersionsResponse() // of version 0
	require.NoError(t, resp.ReadFrom(b))
	require.Equal(t, kerr.UnsupportedVersion.Code, resp.ErrorCode)
	require.Equal(t, int16(18), resp.ApiKeys[0].ApiKey)
	require.Equal(t, int16(5), resp.ApiKeys[0].MaxVersion)
	require.Len(t, b, 2+4+6*len(resp.ApiKeys), "version 0 to the byte")
	// And the connection lives.
	req := kmsg.NewPtrApiVersionsRequest()
	require.Zero(t, ask[*kmsg.ApiVersionsResponse](r, req).ErrorCode)
}

func TestApiVersionsChecksWhoItTalksTo(t *testing.T) {
	c := brokertest.Start(t)
	r := dial(t, c)
	try := func(name string, cluster *string, node int32) int16 {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion, req.ClusterID, req.NodeID = 5, name, "1", cluster, node
		return ask[*kmsg.ApiVersionsResponse](r, req).ErrorCode
	}
	id := c.Quorum.Image().ClusterID
	other := "another"
	require.Zero(t, try("a", nil, -1))
	require.Zero(t, try("a", &id, 1))
	require.Equal(t, int16(129), try("a", &other, 1))
	require.Equal(t, int16(129), try("a", &id, 2))
	require.Equal(t, kerr.InvalidRequest.Code, try("a", &id, -1))
	require.Equal(t, kerr.InvalidRequest.Code, try("b a d", nil, -1))
}

func TestUnknownKeysAndOldProduceCloseTheConnection(t *testing.T) {
	c := brokertest.Start(t)
	for _, f := range [][]byte{
		frame(999, 0, 1, false, "x", nil), frame(-1, 0, 1, false, "x", nil), frame(5, 0, 1, false, "x", nil),
		frame(0, 2, 1, false, "x", []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 0}), frame(3, 14, 1, true, "x", nil),
		{0x7f, 0xff, 0xff, 0xff}, {0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 0}, {0, 0, 0, 3, 1, 2, 3},
		frame(3, 12, 1, true, "x", []byte{0xff, 0xff, 0xff, 0xff, 0x0f}),
		frame(3, 1, 1, false, "x", []byte{0x7f, 0xff, 0xff, 0xff}),
	} {
		r := dial(t, c)
		_, err := r.nc.Write(f)
		require.NoError(t, err)
		r.closed()
	}
	require.Zero(t, ask[*kmsg.ApiVersionsResponse](dial(t, c), kmsg.NewPtrApiVersionsRequest()).ErrorCode)
}

func TestAKeylessRecordOnACompactedTopicIsNamed(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1, "cleanup.policy", "compact")
	w := batch.Builder{}
	w.Append(1, []byte("k"), []byte("v"))
	w.Append(1, nil, []byte("v"))
	for _, v := range []int16{7, 8, 11} {
		p := ask[*kmsg.ProduceResponse](dial(t, c), produceRequest(v, "t", -1, w.MustBuild())).Topics[0].Partitions[0]
		require.Equal(t, kerr.InvalidRecord.Code, p.ErrorCode)
		require.Equal(t, int64(-1), p.BaseOffset)
		if v >= 8 {
			require.Len(t, p.ErrorRecords, 1)
			require.Equal(t, int32(1), p.ErrorRecords[0].RelativeOffset)
			require.Contains(t, *p.ErrorMessage, "rejected due to 1 record errors in total")
			require.Zero(t, p.LogStartOffset)
		}
	}
}

func TestBadBatchesAreRefusedWithTheirCodes(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1, "max.message.bytes", "5000")
	r := dial(t, c)
	code := func(version int16, b []byte) int16 {
		return ask[*kmsg.ProduceResponse](r, produceRequest(version, "t", -1, b)).Topics[0].Partitions[0].ErrorCode
	}
	bad := records(3)
	bad[len(bad)-1]++
	require.Equal(t, kerr.CorruptMessage.Code, code(9, bad))
	require.Equal(t, kerr.InvalidRecord.Code, code(9, records(3)[:70]), "no whole batch is no batch")
	require.Equal(t, kerr.MessageTooLarge.Code, code(9, records(1, func(w *batch.Builder) { w.Append(0, nil, make([]byte, 6000)) })))
	require.Equal(t, kerr.InvalidRecord.Code, code(9, append(records(1), records(1)...)), "one batch for a partition")
	require.Equal(t, kerr.InvalidRecord.Code, code(9, nil))
	require.Equal(t, kerr.TransactionalIDAuthorizationFailed.Code, code(9, records(1, func(w *batch.Builder) { w.Idempotent, w.Transactional, w.ProducerID = true, true, 5 })), "without a transactional id")
	sequence := func(n int32) []byte {
		return records(1, func(w *batch.Builder) { w.Idempotent, w.ProducerID, w.BaseSequence = true, 7, n })
	}
	require.Zero(t, code(9, sequence(0)))
	require.Equal(t, kerr.OutOfOrderSequenceNumber.Code, code(9, sequence(5)))
	require.Zero(t, code(9, sequence(0)), "a repetition is answered as the first time")
	old := records(1)
	old[batch.OffsetMagic] = 1
	require.Equal(t, kerr.InvalidRecord.Code, code(9, old))
	zstd := records(1, func(w *batch.Builder) { w.Codec = batch.Zstd })
	require.Equal(t, kerr.UnsupportedCompressionType.Code, code(6, zstd))
	require.Zero(t, code(7, zstd))
	acks := produceRequest(9, "t", 2, records(1))
	require.Equal(t, kerr.InvalidRequiredAcks.Code, ask[*kmsg.ProduceResponse](r, acks).Topics[0].Partitions[0].ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, ask[*kmsg.ProduceResponse](r, produceRequest(9, "nope", -1, records(1))).Topics[0].Partitions[0].ErrorCode)
	require.Equal(t, kerr.UnknownTopicID.Code, ask[*kmsg.ProduceResponse](r, produceRequest(13, "", -1, records(1))).Topics[0].Partitions[0].ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, ask[*kmsg.ProduceResponse](r, produceRequest(9, "a b", -1, records(1))).Topics[0].Partitions[0].ErrorCode)
}

func TestAcksZeroHasNoAnswerAndAFailureClosesTheConnection(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	r := dial(t, c)
	r.send(produceRequest(9, "t", 0, records(3)))
	req := kmsg.NewPtrApiVersionsRequest()
	require.Zero(t, ask[*kmsg.ApiVersionsResponse](r, req).ErrorCode, "the next answer is that of the next request")
	require.Equal(t, int64(3), ask[*kmsg.FetchResponse](r, fetchRequest(11, "t", 0, 0)).Topics[0].Partitions[0].HighWatermark)
	r.send(produceRequest(9, "gone", 0, records(3)))
	r.closed()
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	for _, durability := range []string{"os", "fsync"} {
		c := brokertest.Start(t, brokertest.With("log.durability", durability))
		c.CreateTopic(t, "t", 1)
		r := dial(t, c)
		const n = 300
		go func() {
			var all []byte
			for i := range int32(n) {
				switch i % 3 {
				case 0:
					p := produceRequest(9, "t", -1, records(1))
					all = append(all, frame(0, 9, i, true, "x", p.AppendTo(nil))...)
				case 1:
					f := fetchRequest(11, "t", 0, 0)
					all = append(all, frame(1, 11, i, false, "x", f.AppendTo(nil))...)
				default:
					m := kmsg.NewPtrMetadataRequest()
					all = append(all, frame(3, 0, i, false, "x", m.AppendTo(nil))...)
				}
			}
			// In odd pieces, so that frames arrive torn.
			for len(all) > 0 {
				k := min(1+rand.Intn(5000), len(all))
				if _, err := r.nc.Write(all[:k]); err != nil {
					return
				}
				all = all[k:]
			}
		}()
		next := int64(0)
		for i := range int32(n) {
			corr, b, err := r.frame()
			require.NoError(t, err)
			require.Equal(t, i, corr)
			if i%3 == 0 {
				resp := kmsg.NewPtrProduceResponse()
				resp.Version = 9
				require.NoError(t, resp.ReadFrom(b[1:]))
				require.Equal(t, next, resp.Topics[0].Partitions[0].BaseOffset, "requests take effect in order")
				next++
			}
		}
	}
}

func TestOffsetsOfAnUnknownGroupAreMinusOneWithoutAnError(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	r := dial(t, c)
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorKey = 0, "nobody"
	require.Zero(t, ask[*kmsg.FindCoordinatorResponse](r, find).ErrorCode)
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group = 5, "nobody"
	rt := kmsg.NewOffsetFetchRequestTopic()
	rt.Topic, rt.Partitions = "t", []int32{0}
	req.Topics = append(req.Topics, rt)
	var resp *kmsg.OffsetFetchResponse
	require.Eventually(t, func() bool {
		resp = ask[*kmsg.OffsetFetchResponse](r, req)
		return resp.ErrorCode != kerr.CoordinatorLoadInProgress.Code && resp.ErrorCode != kerr.NotCoordinator.Code
	}, 10*time.Second, 10*time.Millisecond)
	require.Zero(t, resp.ErrorCode)
	require.Zero(t, resp.Topics[0].Partitions[0].ErrorCode)
	require.Equal(t, int64(-1), resp.Topics[0].Partitions[0].Offset)
}

func TestMetadataOfAllVersions(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 2)
	id := c.Quorum.Image().Topic("t").ID
	r := dial(t, c)
	for v := int16(0); v <= 13; v++ {
		req := kmsg.NewPtrMetadataRequest()
		req.Version, req.AllowAutoTopicCreation = v, false
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = kmsg.StringPtr("t")
		req.Topics = append(req.Topics, rt)
		resp := ask[*kmsg.MetadataResponse](r, req)
		require.Len(t, resp.Brokers, 1, "version %d", v)
		require.Len(t, resp.Topics, 1)
		require.Zero(t, resp.Topics[0].ErrorCode)
		require.Len(t, resp.Topics[0].Partitions, 2)
		require.Equal(t, int32(1), resp.Topics[0].Partitions[0].Leader)
		req.Topics = nil
		require.Len(t, ask[*kmsg.MetadataResponse](r, req).Topics, 1, "all topics, version %d", v)
		if v >= 10 {
			require.Equal(t, [16]byte(id), resp.Topics[0].TopicID)
		}
		if v >= 1 {
			req.Topics = []kmsg.MetadataRequestTopic{}
			require.Empty(t, ask[*kmsg.MetadataResponse](r, req).Topics, "no topics, version %d", v)
		}
		if v >= 12 {
			byID := kmsg.NewMetadataRequestTopic()
			byID.TopicID = id
			unknown := kmsg.NewMetadataRequestTopic()
			unknown.TopicID = [16]byte{1}
			req.Topics = []kmsg.MetadataRequestTopic{byID, unknown}
			resp = ask[*kmsg.MetadataResponse](r, req)
			require.Equal(t, "t", *resp.Topics[0].Topic)
			require.Equal(t, kerr.UnknownTopicID.Code, resp.Topics[1].ErrorCode)
		}
		if v >= 4 {
			missing := kmsg.NewMetadataRequestTopic()
			missing.Topic = kmsg.StringPtr("missing")
			invalid := kmsg.NewMetadataRequestTopic()
			invalid.Topic = kmsg.StringPtr("in valid")
			req.Topics = []kmsg.MetadataRequestTopic{missing, invalid, missing}
			resp = ask[*kmsg.MetadataResponse](r, req)
			require.Len(t, resp.Topics, 2)
			require.Equal(t, kerr.UnknownTopicOrPartition.Code, resp.Topics[0].ErrorCode)
			require.Equal(t, kerr.InvalidTopicException.Code, resp.Topics[1].ErrorCode)
		}
	}
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 1
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = kmsg.StringPtr("made")
	req.Topics = append(req.Topics, rt)
	resp := ask[*kmsg.MetadataResponse](r, req)
	require.Zero(t, resp.Topics[0].ErrorCode, "auto.create.topics.enable")
	require.Len(t, resp.Topics[0].Partitions, 1)
}

func TestListOffsetsOfAllVersions(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	r := dial(t, c)
	w := batch.Builder{}
	w.Append(1000, nil, []byte("a"))
	w.Append(3000, nil, []byte("b"))
	w.Append(2000, nil, []byte("c"))
	require.Zero(t, ask[*kmsg.ProduceResponse](r, produceRequest(9, "t", -1, w.MustBuild())).Topics[0].Partitions[0].ErrorCode)
	list := func(v int16, ts int64) kmsg.ListOffsetsResponseTopicPartition {
		req := kmsg.NewPtrListOffsetsRequest()
		req.Version = v
		rt := kmsg.NewListOffsetsRequestTopic()
		rt.Topic = "t"
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Timestamp, rp.CurrentLeaderEpoch, rp.MaxNumOffsets = ts, -1, 10
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		return ask[*kmsg.ListOffsetsResponse](r, req).Topics[0].Partitions[0]
	}
	require.Equal(t, []int64{3, 0}, list(0, -1).OldStyleOffsets)
	require.Equal(t, []int64{0}, list(0, -2).OldStyleOffsets)
	for v := int16(1); v <= 11; v++ {
		require.Equal(t, int64(3), list(v, -1).Offset, "latest, version %d", v)
		require.Equal(t, int64(0), list(v, -2).Offset, "earliest, version %d", v)
		got := list(v, 1500)
		require.Equal(t, int64(1), got.Offset)
		require.Equal(t, int64(3000), got.Timestamp)
		require.Equal(t, int64(-1), list(v, 5000).Offset)
		for _, special := range []struct {
			ts     int64
			since  int16
			offset int64
		}{{-3, 7, 1}, {-4, 8, 0}, {-5, 9, -1}, {-6, 11, -1}} {
			got := list(v, special.ts)
			if v < special.since {
				require.Equal(t, kerr.UnsupportedVersion.Code, got.ErrorCode, "%d in version %d", special.ts, v)
			} else {
				require.Zero(t, got.ErrorCode)
				require.Equal(t, special.offset, got.Offset, "%d in version %d", special.ts, v)
			}
		}
	}
}

func TestMembersOfOldGroupVersionsGetTheirIDAtOnce(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	r := dial(t, c)
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorKey = 2, "g"
	require.Zero(t, ask[*kmsg.FindCoordinatorResponse](r, find).ErrorCode)
	join := func(v int16, group string) *kmsg.JoinGroupResponse {
		req := kmsg.NewPtrJoinGroupRequest()
		req.Version, req.Group, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = v, group, 10_000, 10_000, "consumer"
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = "range", []byte{1}
		req.Protocols = append(req.Protocols, p)
		var resp *kmsg.JoinGroupResponse
		require.Eventually(t, func() bool {
			resp = ask[*kmsg.JoinGroupResponse](r, req)
			return resp.ErrorCode != kerr.CoordinatorLoadInProgress.Code
		}, 10*time.Second, 10*time.Millisecond)
		return resp
	}
	for v := int16(0); v <= 3; v++ {
		resp := join(v, fmt.Sprint("old", v))
		require.Zero(t, resp.ErrorCode, "version %d", v)
		require.NotEmpty(t, resp.MemberID)
	}
	for v := int16(4); v <= 9; v++ {
		resp := join(v, fmt.Sprint("new", v))
		require.Equal(t, kerr.MemberIDRequired.Code, resp.ErrorCode, "version %d", v)
		require.NotEmpty(t, resp.MemberID)
	}
}

func TestTheBrokerRewritesOffsetsOutsideOfTheChecksum(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	c.CreateTopic(t, "stamped", 1, "message.timestamp.type", "LogAppendTime")
	r := dial(t, c)
	sent := records(2, func(w *batch.Builder) { w.Codec = batch.Zstd })
	for range 2 {
		ask[*kmsg.ProduceResponse](r, produceRequest(9, "t", -1, append([]byte(nil), sent...)))
	}
	got := ask[*kmsg.FetchResponse](r, fetchRequest(11, "t", 0, 2)).Topics[0].Partitions[0].RecordBatches
	require.Equal(t, sent[batch.OffsetCRC:], got[batch.OffsetCRC:], "the producer's bytes as they were")
	require.Equal(t, int64(2), batch.Batch(got).BaseOffset())

	p := ask[*kmsg.ProduceResponse](r, produceRequest(9, "stamped", -1, append([]byte(nil), sent...))).Topics[0].Partitions[0]
	require.Positive(t, p.LogAppendTime)
	b := batch.Batch(ask[*kmsg.FetchResponse](r, fetchRequest(11, "stamped", 0, 0)).Topics[0].Partitions[0].RecordBatches)
	require.True(t, b.IsLogAppendTime())
	require.Equal(t, p.LogAppendTime, b.MaxTimestamp())
	require.Equal(t, b.CRC(), crc32.Checksum(b[batch.OffsetAttributes:], crc32.MakeTable(crc32.Castagnoli)))
}

// TestHostileBytes sends every API random bytes and broken requests: the broker must stay, and serve others.
func TestHostileBytes(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("auto.create.topics.enable", "false"))
	c.CreateTopic(t, "t", 1)
	rnd := rand.New(rand.NewSource(1))
	for _, a := range wire.APIs() {
		for v := a.MinServed; v <= a.Max; v++ {
			for range 4 {
				req := kmsg.RequestForKey(a.Key)
				req.SetVersion(v)
				body := req.AppendTo(nil)
				switch rnd.Intn(3) {
				case 0:
					body = body[:rnd.Intn(len(body)+1)]
				case 1:
					body = append(body, make([]byte, 1+rnd.Intn(20))...)
					for range 3 {
						body[rnd.Intn(len(body))] = byte(rnd.Intn(256))
					}
				default:
					body = make([]byte, rnd.Intn(60))
					rnd.Read(body)
				}
				nc, err := net.Dial("tcp", c.Addr())
				require.NoError(t, err)
				_, _ = nc.Write(frame(a.Key, v, 1, v >= a.Flexible, "x", body))
				_ = nc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				_, _ = nc.Read(make([]byte, 100))
				_ = nc.Close()
			}
		}
	}
	require.Zero(t, ask[*kmsg.ProduceResponse](dial(t, c), produceRequest(9, "t", -1, records(1))).Topics[0].Partitions[0].ErrorCode)
	require.Eventually(t, func() bool { return gauge(t, c, "kafka_network_requestchannel_requestmemory_bytes") == 0 }, 5*time.Second, 5*time.Millisecond, "no frame is forgotten")
}
