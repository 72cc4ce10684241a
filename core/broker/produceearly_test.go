package broker_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/log/batch"
)

// largeBatch is a batch of one record of about n bytes.
func largeBatch(n int, change ...func(*batch.Builder)) []byte {
	w := batch.Builder{}
	for _, f := range change {
		f(&w)
	}
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	v := make([]byte, n)
	for i := range v {
		v[i] = byte(rnd.Uint32())
	}
	w.Append(time.Now().UnixMilli(), nil, v)
	return w.MustBuild()
}

func endOfLarge(t *testing.T, c *brokertest.Cluster, topic string, partition int32) int64 {
	t.Helper()
	ends, err := c.Admin(t).ListEndOffsets(within(t, 20*time.Second), topic)
	require.NoError(t, err)
	o, ok := ends.Lookup(topic, partition)
	require.True(t, ok)
	require.NoError(t, o.Err)
	return o.Offset
}

func TestPartitionsOfALargeRequestAreAppendedAsTheyArrive(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 3)
	r := dial(t, c)
	req := produceRequest(9, "t", -1, largeBatch(400_000), largeBatch(400_001), largeBatch(400_002))
	b := frame(0, 9, 1, true, "raw", req.AppendTo(nil))
	_, err := r.nc.Write(b[:900_000])
	require.NoError(t, err)
	require.Eventually(t, func() bool { return endOfLarge(t, c, "t", 0) == 1 && endOfLarge(t, c, "t", 1) == 1 }, 20*time.Second, 5*time.Millisecond)
	require.Zero(t, endOfLarge(t, c, "t", 2))
	_, err = r.nc.Write(b[900_000:])
	require.NoError(t, err)
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	r.receive(resp, 1)
	require.Len(t, resp.Topics, 1)
	require.Equal(t, "t", resp.Topics[0].Topic)
	require.Len(t, resp.Topics[0].Partitions, 3)
	for i, p := range resp.Topics[0].Partitions {
		require.EqualValues(t, i, p.Partition)
		require.Zero(t, p.ErrorCode)
		require.Zero(t, p.BaseOffset)
		require.EqualValues(t, 1, endOfLarge(t, c, "t", int32(i)))
	}
}

func TestALargeRequestThatEndsInTheMiddleHurtsNobody(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 2)
	good := produceRequest(9, "t", -1, largeBatch(400_000), largeBatch(400_001))
	b := frame(0, 9, 1, true, "raw", good.AppendTo(nil))
	r := dial(t, c)
	_, err := r.nc.Write(b[:600_000])
	require.NoError(t, err)
	require.Eventually(t, func() bool { return endOfLarge(t, c, "t", 0) == 1 }, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, r.nc.Close())

	r = dial(t, c) // the second partition is longer than the request
	b = frame(0, 9, 1, true, "raw", good.AppendTo(nil))
	at := len(b) - 400_066 // in the first bytes of the second batch
	for b[at] != 0 || b[at+1] != 0 || b[at+2] != 0 || b[at+3] != 1 {
		at--
	}
	b[at+6] |= 0x40 // of its length
	_, err = r.nc.Write(b)
	require.NoError(t, err)
	r.closed()
	require.Zero(t, endOfLarge(t, c, "t", 1))

	resp := ask[*kmsg.ProduceResponse](dial(t, c), good)
	for _, p := range resp.Topics[0].Partitions {
		require.Zero(t, p.ErrorCode)
	}
	require.EqualValues(t, 1, endOfLarge(t, c, "t", 1))
}

// TestLargeRequestsAreAnsweredAsSmallOnes asks for the same with and without a large partition at the end, which goes to another topic.
func TestLargeRequestsAreAnsweredAsSmallOnes(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "large", 1)
	corrupt := records(1)
	corrupt[len(corrupt)-1] ^= 1
	other := kmsg.NewProduceRequestTopic()
	other.Topic = "large"
	part := kmsg.NewProduceRequestTopicPartition()
	part.Records = largeBatch(600_000)
	other.Partitions = append(other.Partitions, part)
	for _, version := range []int16{3, 7, 8, 9, 12} {
		for name, change := range map[string]func(*kmsg.ProduceRequest){
			"good": func(*kmsg.ProduceRequest) {},
			"one of each": func(q *kmsg.ProduceRequest) {
				q.Topics[0].Partitions[1].Records = corrupt
				q.Topics[0].Partitions[2].Records = nil
			},
			"unknown partition":            func(q *kmsg.ProduceRequest) { q.Topics[0].Partitions[1].Partition = 9 },
			"unknown topic":                func(q *kmsg.ProduceRequest) { q.Topics[0].Topic = "no" },
			"no partitions":                func(q *kmsg.ProduceRequest) { q.Topics[0].Partitions = nil },
			"twice the same topic":         func(q *kmsg.ProduceRequest) { q.Topics = append(q.Topics, q.Topics[0]) },
			"transactional without an id":  func(q *kmsg.ProduceRequest) { q.Topics[0].Partitions[0].Records = records(1, transactional) },
			"acks that there are not":      func(q *kmsg.ProduceRequest) { q.Acks = 5 },
			"with the id of a transaction": func(q *kmsg.ProduceRequest) { id := "x"; q.TransactionID = &id },
		} {
			t.Run(name, func(t *testing.T) {
				var answers []*kmsg.ProduceResponse
				for large := range 2 {
					topic := map[int]string{0: "small", 1: "early"}[large] + string(rune('a'+version)) + string(name[0]) + string(name[len(name)-1])
					c.CreateTopic(t, topic, 3)
					q := produceRequest(version, topic, -1, records(2), records(3), records(4))
					change(q)
					if large == 1 {
						q.Topics = append(q.Topics, other)
					}
					resp := ask[*kmsg.ProduceResponse](dial(t, c), q)
					if large == 1 {
						last := resp.Topics[len(resp.Topics)-1]
						require.Equal(t, "large", last.Topic)
						require.Len(t, last.Partitions, 1)
						if name == "good" {
							require.Zero(t, last.Partitions[0].ErrorCode)
						}
						resp.Topics = resp.Topics[:len(resp.Topics)-1]
					}
					for i := range resp.Topics {
						if resp.Topics[i].Topic == topic {
							resp.Topics[i].Topic = "t"
						}
					}
					answers = append(answers, resp)
				}
				require.Equal(t, answers[0], answers[1])
			})
		}
	}
}

func transactional(w *batch.Builder) {
	w.Idempotent, w.Transactional, w.ProducerID = true, true, 77
}

func TestALargeRequestWithoutAnswer(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 2)
	r := dial(t, c)
	q := produceRequest(9, "t", 0, largeBatch(400_000), largeBatch(400_001))
	r.send(q)
	ask[*kmsg.ApiVersionsResponse](r, kmsg.NewPtrApiVersionsRequest())
	require.EqualValues(t, 1, endOfLarge(t, c, "t", 1))
	q.Topics[0].Partitions[0].Partition = 9 // which there is not
	r.send(q)
	r.closed()
	require.EqualValues(t, 2, endOfLarge(t, c, "t", 1))
}
