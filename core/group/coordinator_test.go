package group

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTestCoordinator(t *testing.T, store *memStore, cfg Config) *Coordinator {
	if cfg.OffsetsTopicPartitions == 0 {
		cfg.OffsetsTopicPartitions = 1
	}
	if cfg.InitialRebalanceDelayMs == 0 {
		cfg.InitialRebalanceDelayMs = -1
	}
	c, err := NewCoordinator(cfg, store, memTopics{"orders": 3, "audit": 1}, nil, nil)
	require.NoError(t, err)
	c.Start()
	t.Cleanup(c.Close)
	return c
}

// ask sends a request and waits for the answer.
func ask[R kmsg.Response](t *testing.T, c *Coordinator, req kmsg.Request) R {
	t.Helper()
	return hear[R](t, begin(c, req))
}

func begin(c *Coordinator, req kmsg.Request) <-chan kmsg.Response {
	ch := make(chan kmsg.Response, 2)
	dispatch(c, RequestContext{ClientID: "client", ClientHost: "/127.0.0.1"}, req, func(r kmsg.Response) { ch <- r })
	return ch
}

func hear[R kmsg.Response](t *testing.T, ch <-chan kmsg.Response) R {
	t.Helper()
	select {
	case r := <-ch:
		return r.(R)
	case <-time.After(10 * time.Second):
		require.Fail(t, "no answer")
		panic("unreachable")
	}
}

func serving(c *Coordinator, partitions int32) bool {
	n := int32(0)
	for _, code := range c.shards.All() {
		if code == codeNone {
			n++
		}
	}
	return n == partitions
}

func elect(t *testing.T, c *Coordinator, partitions int32) {
	t.Helper()
	for p := range partitions {
		c.OnElected(p, 1)
	}
	require.Eventually(t, func() bool { return serving(c, partitions) }, 10*time.Second, time.Millisecond)
}

// everyRequest has one request of each kind for group g, and how to find the error in its answer.
func everyRequest() map[string]kmsg.Request {
	var no [16]byte
	del := kmsg.NewPtrDeleteGroupsRequest()
	del.Version, del.Groups = 2, []string{"g", "h"}
	od := kmsg.NewPtrOffsetDeleteRequest()
	od.Group = "g"
	od.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: "orders", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{}}}}
	txn := kmsg.NewPtrTxnOffsetCommitRequest()
	txn.Version, txn.Group, txn.Generation = 4, "g", -1
	txn.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "orders", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{}}}}
	return map[string]kmsg.Request{
		"JoinGroup":       joinReq(9, "g", "", nil, "x:a"),
		"SyncGroup":       syncReq(4, "g", "m", 1, nil),
		"Heartbeat":       beatReq("g", "m", 1, nil),
		"LeaveGroup":      leaveReq(5, "g", leaver("m", nil)),
		"OffsetCommit":    commitReq(8, "g", "", -1, "orders", no, 0, 1, ""),
		"TxnOffsetCommit": txn,
		"OffsetFetch":     fetchReq(9, "g", false, "orders", no, 0),
		"OffsetFetch v7":  fetchReq(7, "g", false, "orders", no, 0),
		"OffsetFetch v1":  fetchReq(1, "g", false, "orders", no, 0),
		"OffsetDelete":    od,
		"DescribeGroups":  describeReq(5, "g"),
		"DeleteGroups":    del,
	}
}

func errorOf(r kmsg.Response) int16 {
	switch r := r.(type) {
	case *kmsg.JoinGroupResponse:
		return r.ErrorCode
	case *kmsg.SyncGroupResponse:
		return r.ErrorCode
	case *kmsg.HeartbeatResponse:
		return r.ErrorCode
	case *kmsg.LeaveGroupResponse:
		return r.ErrorCode
	case *kmsg.OffsetCommitResponse:
		return r.Topics[0].Partitions[0].ErrorCode
	case *kmsg.TxnOffsetCommitResponse:
		return r.Topics[0].Partitions[0].ErrorCode
	case *kmsg.OffsetFetchResponse:
		switch {
		case r.Version >= 8:
			return r.Groups[0].ErrorCode
		case r.Version >= 2:
			return r.ErrorCode
		}
		return r.Topics[0].Partitions[0].ErrorCode
	case *kmsg.OffsetDeleteResponse:
		return r.ErrorCode
	case *kmsg.DescribeGroupsResponse:
		return r.Groups[0].ErrorCode
	case *kmsg.DeleteGroupsResponse:
		return r.Groups[0].ErrorCode
	}
	return -99
}

func TestRequestsAreRefusedWhileTheShardDoesNotServe(t *testing.T) {
	store := &memStore{gate: make(chan struct{})}
	c := newTestCoordinator(t, store, Config{})
	refused := func(code int16) {
		t.Helper()
		for name, req := range everyRequest() {
			r := ask[kmsg.Response](t, c, req)
			require.Equal(t, req.GetVersion(), r.GetVersion(), name)
			want := code
			if name == "Heartbeat" && code == codeCoordinatorLoadInProgress {
				want = codeNone
			}
			require.Equal(t, want, errorOf(r), name)
			roundTrip(t, r, req.GetVersion())
		}
	}
	refused(codeNotCoordinator)
	list := kmsg.NewPtrListGroupsRequest()
	require.Zero(t, ask[*kmsg.ListGroupsResponse](t, c, list).ErrorCode)

	c.OnElected(0, 5)
	refused(codeCoordinatorLoadInProgress)
	require.Equal(t, codeCoordinatorLoadInProgress, ask[*kmsg.ListGroupsResponse](t, c, list).ErrorCode)

	close(store.gate)
	require.Eventually(t, func() bool { return serving(c, 1) }, 10*time.Second, time.Millisecond)
	require.Equal(t, codeMemberIDRequired, ask[*kmsg.JoinGroupResponse](t, c, everyRequest()["JoinGroup"]).ErrorCode)

	c.OnResigned(0)
	refused(codeNotCoordinator)
	c.Close()
	refused(codeCoordinatorNotAvailable)
	c.OnElected(0, 6)
	refused(codeCoordinatorNotAvailable)
}

func TestResigningWhileLoadingEndsTheLoad(t *testing.T) {
	store := &memStore{gate: make(chan struct{})}
	c := newTestCoordinator(t, store, Config{})
	c.OnElected(0, 1)
	c.OnResigned(0)
	store.mu.Lock()
	store.gate = nil
	store.mu.Unlock()
	elect(t, c, 1)
	c.OnElected(-1, 1)
	c.OnElected(1, 1)
	c.OnResigned(9)
}

func TestFailedLoadIsTriedAgain(t *testing.T) {
	store := &memStore{broke: errors.New("disk")}
	c := newTestCoordinator(t, store, Config{})
	c.OnElected(0, 1)
	require.Eventually(t, func() bool {
		store.mu.Lock()
		defer store.mu.Unlock()
		return store.loads == 1
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, codeCoordinatorLoadInProgress, ask[*kmsg.JoinGroupResponse](t, c, everyRequest()["JoinGroup"]).ErrorCode)
	store.mu.Lock()
	store.broke = nil
	store.mu.Unlock()
	require.Eventually(t, func() bool { return serving(c, 1) }, 10*time.Second, 10*time.Millisecond)
}

func TestGroupsSurviveAChangeOfCoordinator(t *testing.T) {
	store := &memStore{}
	c := newTestCoordinator(t, store, Config{})
	elect(t, c, 1)
	j := ask[*kmsg.JoinGroupResponse](t, c, joinReq(3, "g", "", nil, "x:a"))
	ask[*kmsg.SyncGroupResponse](t, c, syncReq(4, "g", j.MemberID, 1, nil, j.MemberID, "all"))
	ask[*kmsg.OffsetCommitResponse](t, c, commitReq(8, "g", j.MemberID, 1, "orders", [16]byte{}, 1, 42, "m"))

	other := newTestCoordinator(t, store, Config{})
	c.OnResigned(0)
	elect(t, other, 1)
	require.Zero(t, ask[*kmsg.HeartbeatResponse](t, other, beatReq("g", j.MemberID, 1, nil)).ErrorCode)
	f := ask[*kmsg.OffsetFetchResponse](t, other, fetchReq(9, "g", true, "", [16]byte{}))
	require.Equal(t, int64(42), f.Groups[0].Topics[0].Partitions[0].Offset)
	require.Equal(t, int32(5), f.Groups[0].Topics[0].Partitions[0].LeaderEpoch)
	d := ask[*kmsg.DescribeGroupsResponse](t, other, describeReq(5, "g"))
	require.Equal(t, "all", string(d.Groups[0].Members[0].MemberAssignment))
}

func TestTopicDeletedWhileLoadingLosesItsOffsets(t *testing.T) {
	store := &memStore{}
	c := newTestCoordinator(t, store, Config{})
	elect(t, c, 1)
	ask[*kmsg.OffsetCommitResponse](t, c, commitReq(8, "g", "", -1, "orders", [16]byte{}, 1, 42, ""))
	c.OnResigned(0)
	store.mu.Lock()
	store.gate = make(chan struct{})
	store.mu.Unlock()
	c.OnElected(0, 2)
	c.TopicDeleted("orders")
	close(store.gate)
	require.Eventually(t, func() bool {
		f := ask[*kmsg.OffsetFetchResponse](t, c, fetchReq(9, "g", false, "orders", [16]byte{}, 1))
		return f.Groups[0].ErrorCode == 0 && f.Groups[0].Topics[0].Partitions[0].Offset == -1
	}, 10*time.Second, time.Millisecond)
	c.TopicDeleted("audit")
}

// reversedStore reports batches durable in the wrong order.
type reversedStore struct {
	memStore
	n int
}

func (s *reversedStore) Append(p int32, b Batch, done func(error)) {
	s.memStore.Append(p, b, func(error) {})
	s.mu.Lock()
	s.held = append([]func(error){done}, s.held...)
	full := len(s.held) == s.n
	s.mu.Unlock()
	if full {
		s.release(nil)
	}
}

func TestBatchesThatBecomeDurableOutOfOrderAreReportedInOrder(t *testing.T) {
	store := &reversedStore{n: 5}
	c, err := NewCoordinator(Config{OffsetsTopicPartitions: 1}, store, memTopics{"orders": 5}, nil, nil)
	require.NoError(t, err)
	c.Start()
	defer c.Close()
	elect(t, c, 1)
	var answers []<-chan kmsg.Response
	for i := range 5 {
		answers = append(answers, begin(c, commitReq(8, "g", "", -1, "orders", [16]byte{}, int32(i), 1, "")))
	}
	for _, a := range answers {
		require.Zero(t, errorOf(hear[kmsg.Response](t, a)))
	}
}

func TestDeleteGroupsGathersTheAnswersOfItsShards(t *testing.T) {
	store := &memStore{}
	c := newTestCoordinator(t, store, Config{OffsetsTopicPartitions: 8})
	elect(t, c, 8)
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Version = 2
	for i := range 30 {
		g := fmt.Sprint("g", i)
		ask[*kmsg.OffsetCommitResponse](t, c, commitReq(8, g, "", -1, "orders", [16]byte{}, 1, 42, ""))
		req.Groups = append(req.Groups, g)
	}
	away := c.PartitionFor("g7")
	c.OnResigned(away)
	r := ask[*kmsg.DeleteGroupsResponse](t, c, req)
	require.Len(t, r.Groups, 30)
	for i, g := range r.Groups {
		require.Equal(t, req.Groups[i], g.Group)
		want := codeNone
		if c.PartitionFor(g.Group) == away {
			want = codeNotCoordinator
		}
		require.Equal(t, want, g.ErrorCode)
	}
	require.Empty(t, ask[*kmsg.DeleteGroupsResponse](t, c, kmsg.NewPtrDeleteGroupsRequest()).Groups)

	req.Version, req.Groups = 3, []string{""}
	for i := 0; i == 0 || c.PartitionFor(req.Groups[0]) == away; i++ {
		req.Groups[0] = fmt.Sprint("none", i)
	}
	require.Equal(t, "Group "+req.Groups[0]+" not found.", *ask[*kmsg.DeleteGroupsResponse](t, c, req).Groups[0].ErrorMessage)
}

func TestStoreErrorsReachTheClient(t *testing.T) {
	store := &memStore{}
	c := newTestCoordinator(t, store, Config{})
	elect(t, c, 1)
	store.mu.Lock()
	store.fail = fmt.Errorf("append: %w", kerr.NotLeaderForPartition)
	store.mu.Unlock()
	require.Equal(t, codeNotCoordinator, errorOf(ask[kmsg.Response](t, c, everyRequest()["OffsetCommit"])))
}

func TestTransactionEndsAtTheCoordinator(t *testing.T) {
	store := &memStore{}
	c := newTestCoordinator(t, store, Config{})
	elect(t, c, 1)
	txn := everyRequest()["TxnOffsetCommit"].(*kmsg.TxnOffsetCommitRequest)
	txn.ProducerID, txn.Topics[0].Partitions[0].Offset = 9, 77
	require.Zero(t, errorOf(ask[kmsg.Response](t, c, txn)))
	stable := fetchReq(9, "g", false, "orders", [16]byte{}, 0)
	stable.RequireStable = true
	require.Equal(t, codeUnstableOffsetCommit, ask[*kmsg.OffsetFetchResponse](t, c, stable).Groups[0].Topics[0].Partitions[0].ErrorCode)
	c.TransactionEnded(0, 9, true)
	require.Equal(t, int64(77), ask[*kmsg.OffsetFetchResponse](t, c, stable).Groups[0].Topics[0].Partitions[0].Offset)
	c.TransactionEnded(5, 9, true)

	// The same from the log.
	store.mu.Lock()
	store.logs[0] = append(store.logs[0], StoredRecord{ProducerID: 9, Control: true, Commit: true})
	store.mu.Unlock()
	c.OnResigned(0)
	elect(t, c, 1)
	require.Equal(t, int64(77), ask[*kmsg.OffsetFetchResponse](t, c, stable).Groups[0].Topics[0].Partitions[0].Offset)
}

func TestManyMembersOfManyGroupsComeTogether(t *testing.T) {
	store := &memStore{}
	c := newTestCoordinator(t, store, Config{OffsetsTopicPartitions: 4})
	elect(t, c, 4)
	var wg sync.WaitGroup
	var commits atomic.Int64
	for g := range 8 {
		for m := range 4 {
			wg.Go(func() {
				group, member := fmt.Sprint("group", g), ""
				deadline := time.Now().Add(20 * time.Second)
				for n := 0; n < 20 && time.Now().Before(deadline); {
					j := hear[*kmsg.JoinGroupResponse](t, begin(c, joinReq(9, group, member, nil, "x:"+fmt.Sprint(m))))
					member = j.MemberID
					if j.ErrorCode != 0 {
						continue
					}
					s := syncReq(4, group, member, j.Generation, nil)
					for _, p := range j.Members {
						a := kmsg.NewSyncGroupRequestGroupAssignment()
						a.MemberID, a.MemberAssignment = p.MemberID, []byte("work")
						s.GroupAssignment = append(s.GroupAssignment, a)
					}
					if hear[*kmsg.SyncGroupResponse](t, begin(c, s)).ErrorCode != 0 {
						continue
					}
					for n < 20 {
						if c.HeartbeatCode(beatReq(group, member, j.Generation, nil)) != 0 {
							break
						}
						if errorOf(hear[kmsg.Response](t, begin(c, commitReq(8, group, member, j.Generation, "orders", [16]byte{}, int32(m%3), int64(n), "")))) != 0 {
							break
						}
						n++
						commits.Add(1)
					}
				}
				hear[*kmsg.LeaveGroupResponse](t, begin(c, leaveReq(5, group, leaver(member, nil))))
			})
		}
	}
	stop := make(chan struct{})
	wg2 := sync.WaitGroup{}
	wg2.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			begin(c, kmsg.NewPtrListGroupsRequest())
			begin(c, describeReq(5, "group1", "group2"))
			time.Sleep(time.Millisecond)
		}
	})
	wg.Wait()
	close(stop)
	wg2.Wait()
	require.Equal(t, int64(8*4*20), commits.Load())
	require.NotZero(t, store.count())
}

func TestMetricsAreRegisteredAndCount(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	store := &memStore{}
	c, err := NewCoordinator(Config{OffsetsTopicPartitions: 2}, store, memTopics{"orders": 1}, nil, reg)
	require.NoError(t, err)
	c.Start()
	defer c.Close()
	elect(t, c, 2)
	ask[*kmsg.OffsetCommitResponse](t, c, commitReq(8, "g", "", -1, "orders", [16]byte{}, 0, 42, ""))
	c.OnResigned(1 - c.PartitionFor("g"))
	value := func(name string) float64 {
		all, err := reg.Gather()
		require.NoError(t, err)
		for _, f := range all {
			if f.GetName() == name {
				sum := 0.0
				for _, m := range f.Metric {
					sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
				}
				return sum
			}
		}
		require.Fail(t, "no metric", name)
		return 0
	}
	require.Equal(t, 1.0, value("kafka_coordinator_group_groupmetadatamanager_numgroups"))
	require.Equal(t, 1.0, value("kafka_coordinator_group_groupmetadatamanager_numoffsets"))
	require.Equal(t, 1.0, value("kafka_server_group_coordinator_metrics_offset_commit_total"))
	require.Equal(t, 1.0, value("kafka_server_group_coordinator_metrics_num_partitions"))
	c.OnResigned(c.PartitionFor("g"))
	require.Equal(t, 1.0, value("kafka_server_group_coordinator_metrics_offset_commit_total"), "counters do not go back")
	_, err = NewCoordinator(Config{}, store, memTopics{}, nil, reg)
	require.ErrorContains(t, err, "metrics")
}

func TestConfigSaysWhatCannotBe(t *testing.T) {
	require.NoError(t, Config{}.WithDefaults().Validate())
	none := Config{InitialRebalanceDelayMs: -1}.WithDefaults().WithDefaults()
	require.Zero(t, none.initialRebalanceDelay())
	for want, cfg := range map[string]Config{
		"offsets.topic.num.partitions":             {OffsetsTopicPartitions: -1},
		"group.max.session.timeout.ms":             {MinSessionTimeoutMs: 100, MaxSessionTimeoutMs: 50},
		"group.max.size":                           {MaxGroupSize: -1},
		"offset.metadata.max.bytes":                {OffsetMetadataMaxBytes: -1},
		"offsets.retention.minutes":                {OffsetsRetentionMs: 1},
		"offsets.retention.check.interval.ms is -": {OffsetsRetentionCheckMs: -1},
		"offsets.commit.timeout.ms":                {CommitTimeoutMs: -1},
	} {
		_, err := NewCoordinator(cfg, &memStore{}, memTopics{}, nil, nil)
		require.ErrorContains(t, err, want)
	}
	ids := map[string]bool{}
	for range 100 {
		id := randomUUID()
		require.Regexp(t, "^"+uuidPattern.String()+"$", id)
		ids[id] = true
	}
	require.Len(t, ids, 100)
	require.False(t, strings.Contains(randomUUID(), "\x00"))
}
