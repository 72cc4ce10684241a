package wire

import (
	"bytes"
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestProduceRequestDecodesWhatKmsgEncodes(t *testing.T) {
	rnd := rand.New(rand.NewSource(3))
	var p ProduceRequest
	for v := int16(3); v <= 13; v++ {
		for range 100 {
			want := randomRequest(rnd, 0, v).(*kmsg.ProduceRequest)
			require.NoError(t, p.Decode(v, want.AppendTo(nil)))
			require.Equal(t, want.Acks, p.Acks)
			require.Equal(t, want.TimeoutMillis, p.TimeoutMs)
			require.Equal(t, want.TransactionID != nil, p.TransactionalID != nil)
			require.Len(t, p.Topics, len(want.Topics))
			for i, wt := range want.Topics {
				got := p.Topics[i]
				if v < 13 {
					require.Equal(t, wt.Topic, string(got.Name))
				} else {
					require.Equal(t, wt.TopicID, got.ID)
				}
				require.Equal(t, len(wt.Partitions), got.End-got.First)
				for j, wp := range wt.Partitions {
					gp := p.Partitions[got.First+j]
					require.Equal(t, wp.Partition, gp.Index)
					require.True(t, bytes.Equal(wp.Records, gp.Records))
				}
			}
		}
	}
}

func TestFetchRequestDecodesWhatKmsgEncodes(t *testing.T) {
	rnd := rand.New(rand.NewSource(4))
	var f FetchRequest
	for v := int16(4); v <= 18; v++ {
		for range 100 {
			want := randomRequest(rnd, 1, v).(*kmsg.FetchRequest)
			require.NoError(t, f.Decode(v, want.AppendTo(nil)))
			replica := want.ReplicaID
			if v >= 15 {
				replica = want.ReplicaState.ID
			}
			require.Equal(t, replica, f.ReplicaID)
			require.Equal(t, want.MaxWaitMillis, f.MaxWaitMs)
			require.Equal(t, want.MinBytes, f.MinBytes)
			require.Equal(t, want.MaxBytes, f.MaxBytes)
			require.Equal(t, want.IsolationLevel == 1, f.ReadCommitted)
			if v >= 7 {
				require.Equal(t, want.SessionID, f.SessionID)
				require.Equal(t, want.SessionEpoch, f.SessionEpoch)
				require.Len(t, f.Forgotten, len(want.ForgottenTopics))
				for i, wt := range want.ForgottenTopics {
					require.Equal(t, len(wt.Partitions), f.Forgotten[i].End-f.Forgotten[i].First)
					for j, wp := range wt.Partitions {
						require.Equal(t, wp, f.ForgottenPartitions[f.Forgotten[i].First+j])
					}
				}
			}
			require.Len(t, f.Topics, len(want.Topics))
			for i, wt := range want.Topics {
				got := f.Topics[i]
				if v < 13 {
					require.Equal(t, wt.Topic, string(got.Name))
				} else {
					require.Equal(t, wt.TopicID, got.ID)
				}
				for j, wp := range wt.Partitions {
					gp := f.Partitions[got.First+j]
					require.Equal(t, wp.Partition, gp.Index)
					require.Equal(t, wp.FetchOffset, gp.FetchOffset)
					require.Equal(t, wp.PartitionMaxBytes, gp.MaxBytes)
					if v >= 9 {
						require.Equal(t, wp.CurrentLeaderEpoch, gp.CurrentLeaderEpoch)
					}
					if v >= 17 {
						require.Equal(t, wp.ReplicaDirectoryID, gp.DirectoryID)
					}
					if v >= 18 {
						require.Equal(t, wp.HighWatermark, gp.HighWatermark)
					}
				}
			}
			if v >= 11 {
				require.Equal(t, want.Rack, string(f.Rack))
			}
			if v >= 12 && want.ClusterID != nil {
				require.Equal(t, *want.ClusterID, string(f.ClusterID))
			}
		}
	}
}

// join concatenates the pieces of a response.
func join(pieces [][]byte) []byte { return bytes.Join(pieces, nil) }

// body strips length and response header.
func body(t *testing.T, key, version int16, frame []byte) []byte {
	t.Helper()
	r := reader{src: frame}
	require.Equal(t, len(frame)-4, int(r.int32()))
	require.Equal(t, int32(77), r.int32())
	if api, _ := Lookup(key); version >= api.Flexible && key != 18 {
		require.Equal(t, int8(0), r.int8())
	}
	return r.src
}

func TestFetchResponseIsWhatKmsgDecodes(t *testing.T) {
	id := [16]byte{1, 2, 3}
	rack := "r1"
	var f FetchResponse
	for v := int16(4); v <= 18; v++ {
		f.Begin(v, 77, 5, 9, 42, 2)
		f.Topic("t", id, 3)
		f.Partition(&FetchedPartition{Index: 0, HighWatermark: 10, LastStableOffset: 9, LogStartOffset: 1, PreferredReadReplica: -1, DivergingEpoch: -1, LeaderID: -1, Records: []byte("abc")})
		f.Partition(&FetchedPartition{Index: 1, ErrorCode: 6, HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1, PreferredReadReplica: 2, DivergingEpoch: 4, DivergingEndOffset: 100, LeaderID: 3, LeaderEpoch: 8})
		f.Partition(&FetchedPartition{Index: 2, PreferredReadReplica: -1, DivergingEpoch: -1, LeaderID: -1, Aborted: []AbortedTransaction{{ProducerID: 5, FirstOffset: 6}}, Records: []byte("de"), More: [][]byte{[]byte("f"), []byte("g")}})
		f.EndTopic()
		f.Topic("empty", [16]byte{}, 0)
		f.EndTopic()
		frame := join(f.Finish([]NodeEndpoint{{NodeID: 3, Host: "h", Port: 9, Rack: &rack}}))
		resp := kmsg.NewPtrFetchResponse()
		resp.Version = v
		require.NoError(t, resp.ReadFrom(body(t, 1, v, frame)))
		require.Equal(t, int32(5), resp.ThrottleMillis)
		if v >= 7 {
			require.Equal(t, int16(9), resp.ErrorCode)
			require.Equal(t, int32(42), resp.SessionID)
		}
		require.Len(t, resp.Topics, 2)
		p := resp.Topics[0].Partitions
		require.Equal(t, "abc", string(p[0].RecordBatches))
		require.Nil(t, p[0].AbortedTransactions)
		require.Equal(t, int64(10), p[0].HighWatermark)
		require.NotNil(t, p[1].RecordBatches, "no records are empty, not null")
		require.Empty(t, p[1].RecordBatches)
		require.Equal(t, int16(6), p[1].ErrorCode)
		require.Equal(t, "defg", string(p[2].RecordBatches))
		require.Equal(t, int64(6), p[2].AbortedTransactions[0].FirstOffset)
		if v >= 12 {
			require.Equal(t, int32(4), p[1].DivergingEpoch.Epoch)
			require.Equal(t, int64(100), p[1].DivergingEpoch.EndOffset)
			require.Equal(t, int32(3), p[1].CurrentLeader.LeaderID)
			require.Equal(t, int32(8), p[1].CurrentLeader.LeaderEpoch)
			require.Equal(t, int32(-1), p[0].CurrentLeader.LeaderID)
		}
		if v >= 16 {
			require.Len(t, resp.Brokers, 1)
			require.Equal(t, "h", resp.Brokers[0].Host)
		}
		// Byte for byte what kmsg would have sent.
		require.Equal(t, resp.AppendTo(nil), body(t, 1, v, frame), "version %d", v)
	}
}

func TestProduceResponseIsWhatKmsgDecodes(t *testing.T) {
	msg := "why"
	topics := []ProduceTopicResult{{Name: "t", ID: [16]byte{7}, Partitions: []ProduceResult{
		{Index: 1, BaseOffset: 5, LogAppendTimeMs: -1, LogStartOffset: 2, LeaderID: -1},
		{Index: 2, ErrorCode: 87, BaseOffset: -1, LogAppendTimeMs: -1, LogStartOffset: -1, ErrorMessage: &msg, RecordErrors: []RecordError{{BatchIndex: 3, Message: &msg}}, LeaderID: 4, LeaderEpoch: 6},
	}}}
	for v := int16(0); v <= 13; v++ {
		frame := AppendProduceResponse(nil, v, 77, topics, []NodeEndpoint{{NodeID: 4, Host: "h", Port: 1}}, 3)
		resp := kmsg.NewPtrProduceResponse()
		resp.Version = v
		require.NoError(t, resp.ReadFrom(body(t, 0, v, frame)))
		require.Equal(t, int64(5), resp.Topics[0].Partitions[0].BaseOffset)
		require.Equal(t, resp.AppendTo(nil), body(t, 0, v, frame), "version %d", v)
		if v >= 10 {
			require.Equal(t, int32(4), resp.Topics[0].Partitions[1].CurrentLeader.LeaderID)
			require.Len(t, resp.Brokers, 1)
		}
	}
}

func TestApiVersionsAnswersHaveNoTagByteInTheirHeader(t *testing.T) {
	resp := kmsg.NewPtrApiVersionsResponse()
	for v := int16(0); v <= 5; v++ {
		resp.Version = v
		frame := AppendResponse(nil, 77, resp)
		require.Equal(t, resp.AppendTo(nil), frame[8:], "version %d", v)
	}
}

func TestHeadersRefuseWhatIsNotServed(t *testing.T) {
	head := func(key, version int16) []byte {
		b := appendInt16(nil, key)
		b = appendInt16(b, version)
		b = appendInt32(b, 5)
		b = appendString(b, false, "me")
		return append(b, 0, 0, 0)
	}
	_, _, err := ParseHeader(head(9999, 0))
	require.ErrorContains(t, err, "api key 9999 is not served")
	_, _, err = ParseHeader(head(-1, 0))
	require.Error(t, err)
	_, _, err = ParseHeader(head(4, 0))
	require.Error(t, err, "a key of the ZooKeeper days")
	_, _, err = ParseHeader(head(0, 2))
	require.ErrorContains(t, err, "Produce version 2 is not served")
	_, _, err = ParseHeader(head(3, 99))
	require.ErrorContains(t, err, "Metadata version 99")
	h, _, err := ParseHeader(head(18, 99))
	require.NoError(t, err, "every version of ApiVersions is answered")
	require.False(t, h.VersionOK)
	require.Equal(t, int32(5), h.CorrelationID)
	h, rest, err := ParseHeader(head(3, 12))
	require.NoError(t, err)
	require.Equal(t, "me", h.ClientID)
	require.Len(t, rest, 2)
}

func TestHotDecodersDoNotAllocate(t *testing.T) {
	req := kmsg.NewPtrProduceRequest()
	req.Version = 11
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = "topic"
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Records = make([]byte, 1024)
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	raw := req.AppendTo(nil)
	var p ProduceRequest
	require.NoError(t, p.Decode(11, raw))
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = p.Decode(11, raw) }))

	fr := kmsg.NewPtrFetchRequest()
	fr.Version = 16
	ft := kmsg.NewFetchRequestTopic()
	ft.Partitions = append(ft.Partitions, kmsg.NewFetchRequestTopicPartition())
	fr.Topics = append(fr.Topics, ft)
	fraw := fr.AppendTo(nil)
	var f FetchRequest
	require.NoError(t, f.Decode(16, fraw))
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = f.Decode(16, fraw) }))

	var out FetchResponse
	part := FetchedPartition{PreferredReadReplica: -1, DivergingEpoch: -1, LeaderID: -1, Records: rp.Records}
	encode := func() {
		out.Begin(16, 1, 0, 0, 0, 1)
		out.Topic("topic", [16]byte{}, 100)
		for range 100 {
			out.Partition(&part)
		}
		out.EndTopic()
		out.Finish(nil)
	}
	encode()
	require.Zero(t, testing.AllocsPerRun(100, encode))

	results := []ProduceTopicResult{{Name: "topic", Partitions: []ProduceResult{{LeaderID: -1}}}}
	buf := AppendProduceResponse(nil, 11, 1, results, nil, 0)
	require.Zero(t, testing.AllocsPerRun(100, func() { buf = AppendProduceResponse(buf[:0], 11, 1, results, nil, 0) }))
}

func FuzzProduceRequest(f *testing.F) {
	rnd := rand.New(rand.NewSource(5))
	for v := int16(3); v <= 13; v++ {
		f.Add(v, randomRequest(rnd, 0, v).AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, v int16, b []byte) {
		var p ProduceRequest
		_ = p.Decode(v, b)
		if cap(p.Partitions) > 64+2*len(b) || cap(p.Topics) > 64+2*len(b) {
			t.Fatal("decoding allocates more than the bytes can hold")
		}
	})
}

func FuzzFetchRequest(f *testing.F) {
	rnd := rand.New(rand.NewSource(6))
	for v := int16(4); v <= 18; v++ {
		f.Add(v, randomRequest(rnd, 1, v).AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, v int16, b []byte) {
		var p FetchRequest
		_ = p.Decode(v, b)
	})
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte{0, 18, 0, 3, 0, 0, 0, 1, 0, 2, 'm', 'e', 0})
	f.Fuzz(func(t *testing.T, b []byte) { _, _, _ = ParseHeader(b) })
}
