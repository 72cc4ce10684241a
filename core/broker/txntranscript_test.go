package broker_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/log/batch"
)

// recordTxn is the address of an Apache Kafka (node with empty data, abort interval 500 ms) to record testdata/kafka_transactions.txt from.
var recordTxn = flag.String("record-transactions", "", "record the answers of the Apache Kafka at this address")

// script is a conversation about transactions and its transcript. Producer ids are written as the order in which they were met.
type script struct {
	*raw
	out []string
	ids map[int64]string
}

func (s *script) say(format string, args ...any) { s.out = append(s.out, fmt.Sprintf(format, args...)) }

func (s *script) id(id int64) string {
	if id < 0 {
		return fmt.Sprint(id)
	}
	if s.ids[id] == "" {
		s.ids[id] = "P" + fmt.Sprint(len(s.ids))
	}
	return s.ids[id]
}

func code(c int16) string {
	if c == 0 {
		return "OK"
	}
	if e, ok := kerr.ErrorForCode(c).(*kerr.Error); ok { //nolint:errorlint // it is one
		return e.Message
	}
	return fmt.Sprint(c)
}

// settled asks again while the answer is the one that says so.
func settled(ask func() int16) {
	for range 200 {
		if c := ask(); c != kerr.ConcurrentTransactions.Code && c != kerr.CoordinatorLoadInProgress.Code && c != kerr.CoordinatorNotAvailable.Code && c != kerr.NotCoordinator.Code {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// producer is what an answer gave.
type producer struct {
	id    int64
	epoch int16
}

var nobody = producer{-1, -1}

func (s *script) init(version int16, id string, timeoutMs int32, was producer) producer {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = version, &id, timeoutMs, was.id, was.epoch
	var resp *kmsg.InitProducerIDResponse
	settled(func() int16 { resp = ask[*kmsg.InitProducerIDResponse](s.raw, req); return resp.ErrorCode })
	s.say("InitProducerId/%d %q timeout=%d was=%s/%d: %s %s/%d", version, id, timeoutMs, s.id(was.id), was.epoch, code(resp.ErrorCode), s.id(resp.ProducerID), resp.ProducerEpoch)
	return producer{resp.ProducerID, resp.ProducerEpoch}
}

func (s *script) add(version int16, id string, p producer, verify bool, parts ...int32) {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	if req.Version = version; version < 4 {
		req.TransactionalID, req.ProducerID, req.ProducerEpoch = id, p.id, p.epoch
		req.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: "txns", Partitions: parts}}
	} else {
		req.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{{
			TransactionalID: id, ProducerID: p.id, ProducerEpoch: p.epoch, VerifyOnly: verify,
			Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: "txns", Partitions: parts}},
		}}
	}
	var codes []string
	settled(func() int16 {
		codes = nil
		last := int16(0)
		resp := ask[*kmsg.AddPartitionsToTxnResponse](s.raw, req)
		got := map[int32]int16{}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				got[p.Partition] = p.ErrorCode
			}
		}
		for _, x := range resp.Transactions {
			for _, t := range x.Topics {
				for _, p := range t.Partitions {
					got[p.Partition] = p.ErrorCode
				}
			}
		}
		for _, p := range parts {
			last = got[p]
			codes = append(codes, fmt.Sprintf("%d=%s", p, code(last)))
		}
		codes = append(codes, code(resp.ErrorCode))
		return last
	})
	s.say("AddPartitionsToTxn/%d %q %s/%d verify=%v: %s", version, id, s.id(p.id), p.epoch, verify, strings.Join(codes, " "))
}

func (s *script) produce(version int16, id string, p producer, part, seq int32) {
	w := batch.Builder{Idempotent: true, Transactional: true, ProducerID: p.id, ProducerEpoch: p.epoch, BaseSequence: seq}
	w.Append(time.Now().UnixMilli(), []byte("k"), []byte("v"))
	req := produceRequest(version, "txns", -1)
	req.Topics[0].Partitions = []kmsg.ProduceRequestTopicPartition{{Partition: part, Records: w.MustBuild()}}
	if id != "" {
		req.TransactionID = &id
	}
	var c int16
	var text string
	settled(func() int16 {
		resp := ask[*kmsg.ProduceResponse](s.raw, req)
		out := resp.Topics[0].Partitions[0]
		c, text = out.ErrorCode, ""
		if out.ErrorMessage != nil {
			text = strings.ReplaceAll(*out.ErrorMessage, fmt.Sprint(p.id), s.id(p.id))
		}
		return c
	})
	s.say("Produce/%d %q %s/%d partition=%d sequence=%d: %s %q", version, id, s.id(p.id), p.epoch, part, seq, code(c), text)
}

func (s *script) end(version int16, id string, p producer, commit bool) producer {
	req := kmsg.NewPtrEndTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = version, id, p.id, p.epoch, commit
	var resp *kmsg.EndTxnResponse
	settled(func() int16 { resp = ask[*kmsg.EndTxnResponse](s.raw, req); return resp.ErrorCode })
	s.say("EndTxn/%d %q %s/%d commit=%v: %s %s/%d", version, id, s.id(p.id), p.epoch, commit, code(resp.ErrorCode), s.id(resp.ProducerID), resp.ProducerEpoch)
	s.await(id)
	return producer{resp.ProducerID, resp.ProducerEpoch}
}

// await waits until no decision is on its way.
func (s *script) await(id string) {
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{id}
	for range 200 {
		if !strings.HasPrefix(ask[*kmsg.DescribeTransactionsResponse](s.raw, req).TransactionStates[0].State, "Prepare") {
			time.Sleep(30 * time.Millisecond) // what follows a record being durable
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *script) addOffsets(version int16, id string, p producer) {
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = version, id, p.id, p.epoch, "txngroup"
	var c int16
	settled(func() int16 { c = ask[*kmsg.AddOffsetsToTxnResponse](s.raw, req).ErrorCode; return c })
	s.say("AddOffsetsToTxn/%d %q %s/%d: %s", version, id, s.id(p.id), p.epoch, code(c))
}

func (s *script) commitOffset(version int16, id string, p producer, group string, generation int32, member string) {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group, req.Generation, req.MemberID = version, id, p.id, p.epoch, group, generation, member
	t := kmsg.NewTxnOffsetCommitRequestTopic()
	t.Topic = "txns"
	for _, i := range []int32{0, 99} {
		part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset = i, 5
		t.Partitions = append(t.Partitions, part)
	}
	req.Topics = append(req.Topics, t)
	var codes []string
	settled(func() int16 {
		codes = nil
		resp := ask[*kmsg.TxnOffsetCommitResponse](s.raw, req)
		for _, p := range resp.Topics[0].Partitions {
			codes = append(codes, fmt.Sprintf("%d=%s", p.Partition, code(p.ErrorCode)))
		}
		slices.Sort(codes)
		for _, p := range resp.Topics[0].Partitions {
			if p.Partition == 0 {
				return p.ErrorCode
			}
		}
		return 0
	})
	s.say("TxnOffsetCommit/%d %q %s/%d group=%q generation=%d member=%q: %s", version, id, s.id(p.id), p.epoch, group, generation, member, strings.Join(codes, " "))
}

func (s *script) fetchOffset(stable bool) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.RequireStable = 8, stable
	req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "txngroup", MemberEpoch: -1, Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "txns", Partitions: []int32{0}}}}}
	settled(func() int16 {
		g := ask[*kmsg.OffsetFetchResponse](s.raw, req).Groups[0]
		if g.ErrorCode != 0 {
			return g.ErrorCode
		}
		p := g.Topics[0].Partitions[0]
		s.say("OffsetFetch/8 stable=%v: %s %d", stable, code(p.ErrorCode), p.Offset)
		return 0
	})
}

func (s *script) describe(ids ...string) {
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = ids
	for _, t := range ask[*kmsg.DescribeTransactionsResponse](s.raw, req).TransactionStates {
		s.say("DescribeTransactions %q: %s state=%q timeout=%d started=%v producer=%s/%d partitions=%v", t.TransactionalID, code(t.ErrorCode), t.State, t.TimeoutMillis,
			t.StartTimestamp > 0, s.id(t.ProducerID), t.ProducerEpoch, t.Topics)
	}
}

func (s *script) list(version int16, states []string, ids []int64, durationMs int64, pattern *string) {
	req := kmsg.NewPtrListTransactionsRequest()
	req.Version, req.StateFilters, req.ProducerIDFilters, req.DurationFilterMillis, req.TransactionalIDPattern = version, states, ids, durationMs, pattern
	resp := ask[*kmsg.ListTransactionsResponse](s.raw, req)
	got := map[string]string{}
	for _, t := range resp.TransactionStates {
		got[t.TransactionalID] = s.id(t.ProducerID) + " " + t.TransactionState
	}
	p := "null"
	if pattern != nil {
		p = fmt.Sprintf("%q", *pattern)
	}
	s.say("ListTransactions/%d states=%v ids=%d duration=%d pattern=%s: %s unknown=%v %v", version, states, len(ids), durationMs, p, code(resp.ErrorCode), resp.UnknownStateFilters, got)
}

func (s *script) producers(part int32) {
	req := kmsg.NewPtrDescribeProducersRequest()
	req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "txns", Partitions: []int32{part}}}
	p := ask[*kmsg.DescribeProducersResponse](s.raw, req).Topics[0].Partitions[0]
	for _, a := range p.ActiveProducers {
		s.say("DescribeProducers %d: %s %s/%d last=%d timestamp=%v coordinator=%d open=%d", part, code(p.ErrorCode), s.id(a.ProducerID), a.ProducerEpoch, a.LastSequence, a.LastTimestamp > 0, a.CoordinatorEpoch, a.CurrentTxnStartOffset)
	}
}

func (s *script) offsets(part int32) {
	for _, isolation := range []int8{0, 1} {
		req := kmsg.NewPtrListOffsetsRequest()
		req.Version, req.IsolationLevel = 7, isolation
		t := kmsg.NewListOffsetsRequestTopic()
		q := kmsg.NewListOffsetsRequestTopicPartition()
		q.Partition, q.Timestamp = part, -1
		t.Topic, t.Partitions = "txns", append(t.Partitions, q)
		req.Topics = append(req.Topics, t)
		p := ask[*kmsg.ListOffsetsResponse](s.raw, req).Topics[0].Partitions[0]
		s.say("ListOffsets isolation=%d partition=%d: %s %d", isolation, part, code(p.ErrorCode), p.Offset)
	}
}

// fetch reads a partition and writes down what makes a transaction: headers, markers, the aborted list.
func (s *script) fetch(part int32, from int64, isolation int8) {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxBytes, req.IsolationLevel, req.ReplicaID, req.SessionEpoch = 11, 1<<20, isolation, -1, -1
	t := kmsg.NewFetchRequestTopic()
	q := kmsg.NewFetchRequestTopicPartition()
	q.Partition, q.FetchOffset, q.PartitionMaxBytes = part, from, 1<<20
	t.Topic, t.Partitions = "txns", append(t.Partitions, q)
	req.Topics = append(req.Topics, t)
	p := ask[*kmsg.FetchResponse](s.raw, req).Topics[0].Partitions[0]
	var aborted []string
	for _, a := range p.AbortedTransactions {
		aborted = append(aborted, fmt.Sprintf("%s@%d", s.id(a.ProducerID), a.FirstOffset))
	}
	s.say("Fetch partition=%d from=%d isolation=%d: %s high=%d stable=%d aborted=%v null=%v", part, from, isolation, code(p.ErrorCode), p.HighWatermark, p.LastStableOffset, aborted, p.AbortedTransactions == nil)
	var rd batch.Reader
	for rest := p.RecordBatches; len(rest) > 0; {
		b, more, err := batch.Next(rest)
		require.NoError(s.t, err)
		rest = more
		line := fmt.Sprintf("  %d..%d attributes=%d producer=%s/%d sequence=%d", b.BaseOffset(), b.LastOffset(), binary.BigEndian.Uint16(b[batch.OffsetAttributes:]), s.id(b.ProducerID()), b.ProducerEpoch(), b.BaseSequence())
		if b.IsControl() {
			require.NoError(s.t, rd.Reset(b))
			r, _ := rd.Next()
			line += fmt.Sprintf(" key=%x value=%x size=%d", r.Key, r.Value, len(b))
		}
		s.out = append(s.out, line)
	}
}

// run is the conversation.
func (s *script) run() {
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorType, find.CoordinatorKeys = 4, 1, []string{"x"}
	settled(func() int16 { return ask[*kmsg.FindCoordinatorResponse](s.raw, find).Coordinators[0].ErrorCode })
	find.CoordinatorType, find.CoordinatorKeys = 0, []string{"txngroup"}
	settled(func() int16 { return ask[*kmsg.FindCoordinatorResponse](s.raw, find).Coordinators[0].ErrorCode })

	offsets := kmsg.NewPtrOffsetFetchRequest()
	offsets.Version = 8
	offsets.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "txngroup", MemberEpoch: -1}}
	require.Eventually(s.t, func() bool { return ask[*kmsg.OffsetFetchResponse](s.raw, offsets).Groups[0].ErrorCode == 0 }, time.Minute, 50*time.Millisecond)

	s.say("# InitProducerId")
	s.init(4, "", 1000, nobody)
	s.init(4, "x", 0, nobody)
	s.init(4, "x", 900_001, nobody)
	s.init(4, "x", 1000, producer{5, -1})
	a := s.init(4, "x", 60_000, nobody)
	b := s.init(4, "x", 60_000, nobody)
	s.init(3, "x", 60_000, a)
	s.init(4, "x", 60_000, a)
	c := s.init(5, "x", 60_000, b)
	s.init(5, "x", 60_000, b)
	s.init(4, "x", 60_000, producer{c.id + 100, 0})
	s.describe("x", "nosuch", "")

	s.say("# version 1")
	s.add(0, "x", a, false, 0)
	s.add(1, "x", a, false, 0)
	s.add(2, "x", a, false, 0)
	s.add(3, "x", producer{c.id + 100, 0}, false, 0)
	s.add(3, "nosuch", c, false, 0)
	s.add(3, "", c, false, 0)
	s.end(3, "x", c, true)
	s.end(3, "x", c, false)
	s.produce(9, "x", c, 0, 0)
	s.produce(11, "x", c, 0, 0)
	s.produce(11, "", c, 0, 0)
	s.add(3, "x", c, false, 0, 99)
	s.add(3, "x", c, false, 0, 1)
	s.describe("x")
	s.produce(9, "x", c, 2, 0)
	s.produce(11, "x", c, 2, 0)
	s.produce(9, "x", a, 0, 0)
	s.produce(9, "x", c, 0, 0)
	s.produce(9, "x", c, 0, 1)
	s.produce(9, "x", c, 0, 7)
	s.offsets(0)
	s.producers(0)
	s.add(4, "x", c, true, 0, 1, 2)
	s.add(5, "x", a, true, 0)
	s.addOffsets(1, "x", a)
	s.addOffsets(2, "x", a)
	s.commitOffset(3, "x", c, "txngroup", -1, "")
	s.commitOffset(4, "x", c, "txngroup", -1, "")
	s.addOffsets(3, "x", c)
	s.commitOffset(2, "x", c, "txngroup", -1, "")
	s.commitOffset(3, "x", c, "", -1, "")
	s.commitOffset(3, "x", c, "txngroup", 3, "stranger")
	s.fetchOffset(false)
	s.fetchOffset(true)
	s.end(1, "x", a, true)
	s.end(2, "x", a, true)
	s.end(3, "x", producer{c.id + 100, 0}, true)
	s.end(3, "x", c, true)
	s.end(3, "x", c, true)
	s.end(3, "x", c, false)
	s.fetchOffset(true)
	s.describe("x")
	s.producers(0)
	s.offsets(0)
	s.produce(9, "x", c, 0, 2)
	s.add(3, "x", c, false, 0)
	s.produce(9, "x", c, 0, 2)
	s.end(3, "x", c, false)
	s.fetch(0, 0, 0)
	s.fetch(0, 0, 1)
	s.fetch(0, 3, 1)

	s.say("# version 2")
	p := s.init(5, "y", 60_000, nobody)
	s.end(5, "y", p, true)
	q := s.end(5, "y", p, false)
	s.end(5, "y", p, false)
	s.end(5, "y", p, true)
	s.produce(12, "y", p, 1, 0)
	s.produce(12, "y", q, 1, 0)
	s.produce(12, "y", q, 1, 1)
	s.commitOffset(5, "y", p, "txngroup", -1, "")
	s.commitOffset(5, "y", q, "txngroup", -1, "")
	s.describe("y")
	s.offsets(1)
	r := s.end(5, "y", q, true)
	s.end(5, "y", q, true)
	s.end(5, "y", q, false)
	s.end(5, "y", r, true)
	s.produce(12, "y", q, 1, 2)
	s.produce(12, "y", r, 1, 2)
	s.produce(12, "y", r, 1, 0)
	u := s.end(5, "y", r, false)
	s.end(5, "y", r, true)
	s.end(5, "y", p, true)
	s.produce(12, "nosuch", u, 1, 0)
	s.produce(12, "y", producer{u.id + 100, 0}, 1, 0)
	s.fetch(1, 0, 1)
	s.producers(1)
	s.fetchOffset(true)

	s.say("# fencing")
	z := s.init(5, "z", 60_000, nobody)
	s.produce(12, "z", z, 2, 0)
	z2 := s.init(5, "z", 60_000, nobody)
	s.produce(12, "z", z, 2, 1)
	s.end(5, "z", z, true)
	s.end(1, "z", z, true)
	s.init(5, "z", 60_000, z)
	s.produce(12, "z", z2, 2, 0)
	time.Sleep(20 * time.Millisecond) // longer than a duration of 0
	s.list(0, nil, nil, -1, nil)
	s.list(1, []string{"Ongoing", "Nonsense", "ongoing"}, nil, -1, nil)
	s.list(1, []string{"Nonsense"}, nil, -1, nil)
	s.list(1, nil, []int64{z.id}, -1, nil)
	s.list(1, nil, nil, 3_600_000, nil)
	s.list(1, nil, nil, 0, nil)
	for _, pattern := range []string{"", "[xz]", "x|y", "(", "[a-z]+x"} {
		s.list(2, nil, nil, -1, &pattern)
	}
	s.fetch(2, 0, 1)
	s.end(5, "z", z2, true)

	s.say("# timeout")
	w := s.init(5, "w", 300, nobody)
	s.produce(12, "w", w, 3, 0)
	describe := kmsg.NewPtrDescribeTransactionsRequest()
	describe.TransactionalIDs = []string{"w"}
	for range 200 {
		if ask[*kmsg.DescribeTransactionsResponse](s.raw, describe).TransactionStates[0].State == "CompleteAbort" {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.describe("w")
	s.produce(12, "w", w, 3, 1)
	s.end(5, "w", w, true)
	s.init(5, "w", 300, w)
	s.init(5, "w", 300, nobody)
	s.fetch(3, 0, 1)

	s.say("# markers")
	markers := kmsg.NewPtrWriteTxnMarkersRequest()
	for _, m := range []kmsg.WriteTxnMarkersRequestMarker{
		{ProducerID: z.id, ProducerEpoch: 0, CoordinatorEpoch: 100},
		{ProducerID: z.id, ProducerEpoch: math.MaxInt16, CoordinatorEpoch: -1},
		{ProducerID: z.id, ProducerEpoch: math.MaxInt16, CoordinatorEpoch: 100, Committed: true},
	} {
		markers.Version = 1
		m.Topics = []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: "txns", Partitions: []int32{2}}, {Topic: "nosuch", Partitions: []int32{0}}}
		markers.Markers = []kmsg.WriteTxnMarkersRequestMarker{m}
		got := map[string]string{}
		for _, out := range ask[*kmsg.WriteTxnMarkersResponse](s.raw, markers).Markers {
			for _, t := range out.Topics {
				got[t.Topic] = code(t.Partitions[0].ErrorCode)
			}
		}
		s.say("WriteTxnMarkers/1 epoch=%d coordinator=%d: %v", m.ProducerEpoch, m.CoordinatorEpoch, got)
	}
}

func TestAnswersAboutTransactionsAreKafkas(t *testing.T) {
	const file = "kafka_transactions.txt"
	path := filepath.Join("testdata", file)
	addr := *recordTxn
	if addr == "" {
		c := brokertest.Start(t, brokertest.With("transaction.abort.timed.out.transaction.cleanup.interval.ms", "500"))
		addr = c.Addr()
	}
	nc, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer nc.Close()
	require.NoError(t, nc.SetDeadline(time.Now().Add(2*time.Minute)))
	s := &script{raw: &raw{t: t, nc: nc}, ids: map[int64]string{}}
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Version, create.TimeoutMillis = 7, 10_000
	ct := kmsg.NewCreateTopicsRequestTopic()
	ct.Topic, ct.NumPartitions, ct.ReplicationFactor = "txns", 4, 1
	create.Topics = append(create.Topics, ct)
	require.Zero(t, ask[*kmsg.CreateTopicsResponse](s.raw, create).Topics[0].ErrorCode)
	s.run()
	got := strings.Join(s.out, "\n") + "\n"
	if *recordTxn != "" {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}
