package group

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A transcript is what Apache Kafka 4.3 answered to the requests of a scenario. The scenarios run against
// the coordinator here and must give the same text. With MOLDAU_RECORD_GROUPS=host:port they run against
// the Kafka there instead, which must have group.initial.rebalance.delay.ms=300 and
// group.min.session.timeout.ms=100 and group.consumer.assignment.interval.ms=0, and write the transcripts anew. With MOLDAU_CHECK_GROUPS=host:port they run
// over the network against a broker with the same properties and must give the same text.
const (
	recordEnv = "MOLDAU_RECORD_GROUPS"
	checkEnv  = "MOLDAU_CHECK_GROUPS"
)

// peer answers requests: a Kafka, or the coordinator here.
type peer interface {
	// send answers on the channel.
	send(t *testing.T, req kmsg.Request) <-chan kmsg.Response
	topicID(topic string) [16]byte
}

type script struct {
	t    *testing.T
	peer peer
	out  bytes.Buffer
	ids  map[string]string
}

var uuidPattern = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|:"[A-Za-z0-9_-]{22}"`)

// normal is v as text in which random ids have the names id1, id2, ... and arrays without an order are
// sorted.
func (s *script) normal(v any) string {
	switch r := v.(type) {
	case *kmsg.JoinGroupResponse:
		slices.SortFunc(r.Members, func(a, b kmsg.JoinGroupResponseMember) int {
			return bytes.Compare(a.ProtocolMetadata, b.ProtocolMetadata)
		})
	case *kmsg.DescribeGroupsResponse:
		slices.SortFunc(r.Groups, func(a, b kmsg.DescribeGroupsResponseGroup) int { return strings.Compare(a.Group, b.Group) })
		for i := range r.Groups {
			slices.SortFunc(r.Groups[i].Members, func(a, b kmsg.DescribeGroupsResponseGroupMember) int {
				return strings.Compare(s.rename(a.MemberID), s.rename(b.MemberID))
			})
		}
	case *kmsg.ListGroupsResponse:
		r.Groups = slices.DeleteFunc(r.Groups, func(g kmsg.ListGroupsResponseGroup) bool { return !strings.HasPrefix(g.Group, s.prefix()) })
		if len(r.Groups) == 0 {
			r.Groups = nil // as it is decoded when nobody else has groups
		}
		slices.SortFunc(r.Groups, func(a, b kmsg.ListGroupsResponseGroup) int { return strings.Compare(a.Group, b.Group) })
	case *kmsg.ConsumerGroupHeartbeatResponse:
		if r.Assignment != nil {
			s.sortTopics(len(r.Assignment.Topics), func(i int) [16]byte { return r.Assignment.Topics[i].TopicID },
				func(i, j int) {
					r.Assignment.Topics[i], r.Assignment.Topics[j] = r.Assignment.Topics[j], r.Assignment.Topics[i]
				},
				func(i int) { slices.Sort(r.Assignment.Topics[i].Partitions) })
		}
	case *kmsg.ConsumerGroupDescribeResponse:
		slices.SortFunc(r.Groups, func(a, b kmsg.ConsumerGroupDescribeResponseGroup) int { return strings.Compare(a.Group, b.Group) })
		for i := range r.Groups {
			ms := r.Groups[i].Members
			slices.SortFunc(ms, func(a, b kmsg.ConsumerGroupDescribeResponseGroupMember) int {
				return strings.Compare(s.rename(`:"`+a.MemberID+`"`), s.rename(`:"`+b.MemberID+`"`))
			})
			for j := range ms {
				slices.Sort(ms[j].SubscribedTopics)
				for _, a := range []*kmsg.Assignment{&ms[j].Assignment, &ms[j].TargetAssignment} {
					s.sortTopics(len(a.TopicPartitions), func(i int) [16]byte { return a.TopicPartitions[i].TopicID },
						func(i, j int) {
							a.TopicPartitions[i], a.TopicPartitions[j] = a.TopicPartitions[j], a.TopicPartitions[i]
						},
						func(i int) { slices.Sort(a.TopicPartitions[i].Partitions) })
				}
			}
		}
	case *kmsg.DeleteGroupsResponse:
		slices.SortFunc(r.Groups, func(a, b kmsg.DeleteGroupsResponseGroup) int { return strings.Compare(a.Group, b.Group) })
	case *kmsg.OffsetCommitResponse:
		slices.SortFunc(r.Topics, func(a, b kmsg.OffsetCommitResponseTopic) int {
			if c := strings.Compare(a.Topic, b.Topic); c != 0 {
				return c
			}
			return bytes.Compare(a.TopicID[:], b.TopicID[:])
		})
		for i := range r.Topics {
			slices.SortFunc(r.Topics[i].Partitions, func(a, b kmsg.OffsetCommitResponseTopicPartition) int {
				return int(a.Partition - b.Partition)
			})
		}
	case *kmsg.OffsetDeleteResponse:
		for i := range r.Topics {
			slices.SortFunc(r.Topics[i].Partitions, func(a, b kmsg.OffsetDeleteResponseTopicPartition) int {
				return int(a.Partition - b.Partition)
			})
		}
	case *kmsg.OffsetFetchResponse:
		for i := range r.Groups {
			slices.SortFunc(r.Groups[i].Topics, func(a, b kmsg.OffsetFetchResponseGroupTopic) int { return strings.Compare(a.Topic, b.Topic) })
		}
		slices.SortFunc(r.Topics, func(a, b kmsg.OffsetFetchResponseTopic) int { return strings.Compare(a.Topic, b.Topic) })
	}
	raw, err := json.Marshal(v)
	require.NoError(s.t, err)
	var tree any
	require.NoError(s.t, json.Unmarshal(raw, &tree))
	text, err := json.Marshal(s.clean(tree))
	require.NoError(s.t, err)
	return s.rename(strings.ReplaceAll(string(text), s.prefix(), "g-"))
}

// sortTopics sorts topics by their names, and something within each.
func (s *script) sortTopics(n int, id func(int) [16]byte, swap func(i, j int), within func(int)) {
	for i := range n {
		for j := i; j > 0 && id(j) == s.peer.topicID("audit"); j-- {
			swap(j, j-1)
		}
	}
	for i := range n {
		within(i)
	}
}

func (s *script) rename(text string) string {
	return uuidPattern.ReplaceAllStringFunc(text, func(id string) string {
		if s.ids[id] == "" {
			s.ids[id] = fmt.Sprintf("id%d", len(s.ids)+1)
		}
		return s.ids[id]
	})
}

// clean leaves out what says nothing, and shows bytes as text.
func (s *script) clean(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			switch {
			case k == "UnknownTags" || k == "Version" || k == "ThrottleMillis":
				delete(v, k)
			case k == "TopicID":
				var id [16]byte
				for i, b := range e.([]any) {
					id[i] = byte(b.(float64))
				}
				v[k] = "unknown"
				for _, topic := range []string{"orders", "audit"} {
					if id == s.peer.topicID(topic) {
						v[k] = "id of " + topic
					}
				}
				if id == [16]byte{} {
					delete(v, k)
				}
			case k == "Metadata" || k == "MemberAssignment" || k == "ProtocolMetadata":
				if str, ok := e.(string); ok && k != "Metadata" {
					b, err := base64.StdEncoding.DecodeString(str)
					require.NoError(s.t, err)
					v[k] = string(b)
				}
			default:
				v[k] = s.clean(e)
			}
		}
	case []any:
		for i := range v {
			v[i] = s.clean(v[i])
		}
	}
	return v
}

func (s *script) prefix() string {
	return strings.NewReplacer("Test", "", "/", "-").Replace(s.t.Name()) + "-" + runID + "-"
}

var runID = fmt.Sprintf("%x", time.Now().UnixNano())

func (s *script) group(name string) string { return s.prefix() + name }

// start sends the request without waiting.
func (s *script) start(req kmsg.Request) <-chan kmsg.Response {
	fmt.Fprintf(&s.out, "> %s v%d %s\n", kmsg.NameForKey(req.Key()), req.GetVersion(), s.normal(req))
	return s.peer.send(s.t, req)
}

// await writes down an answer.
func (s *script) await(c <-chan kmsg.Response) kmsg.Response {
	select {
	case r := <-c:
		fmt.Fprintf(&s.out, "< %s\n", s.normal(r))
		return r
	case <-time.After(20 * time.Second):
		require.Fail(s.t, "no answer", s.out.String())
		return nil
	}
}

func (s *script) do(req kmsg.Request) kmsg.Response { return s.await(s.start(req)) }

func (s *script) quiet(c <-chan kmsg.Response) {
	select {
	case r := <-c:
		require.Fail(s.t, "answered too early", "%s", s.normal(r))
	case <-time.After(50 * time.Millisecond):
	}
}

// localPeer is a coordinator over a log in memory.
type localPeer struct {
	c     *Coordinator
	store *memStore
}

func newLocalPeer(t *testing.T, cfg Config) *localPeer {
	store := &memStore{}
	c, err := NewCoordinator(cfg, store, memTopics{"orders": 3, "audit": 1}, nil, nil)
	require.NoError(t, err)
	c.Start()
	t.Cleanup(c.Close)
	for p := range int32(50) {
		c.OnElected(p, 0)
	}
	require.Eventually(t, func() bool {
		ok := true
		c.ListGroups(RequestContext{}, kmsg.NewPtrListGroupsRequest(), func(r *kmsg.ListGroupsResponse) { ok = r.ErrorCode == 0 })
		return ok
	}, 10*time.Second, time.Millisecond)
	return &localPeer{c, store}
}

func (p *localPeer) topicID(topic string) [16]byte { return topicID(topic) }

// roundTrip gives the response the form that it has on the wire.
func roundTrip(t *testing.T, r kmsg.Response, version int16) kmsg.Response {
	r.SetVersion(version)
	out := kmsg.ResponseForKey(r.Key())
	out.SetVersion(version)
	require.NoError(t, out.ReadFrom(r.AppendTo(nil)))
	return out
}

func (p *localPeer) send(t *testing.T, r kmsg.Request) <-chan kmsg.Response {
	ch := make(chan kmsg.Response, 2)
	version := r.GetVersion()
	wire := kmsg.RequestForKey(r.Key())
	wire.SetVersion(version)
	require.NoError(t, wire.ReadFrom(r.AppendTo(nil)))
	rc := RequestContext{ClientID: "client", ClientHost: "/127.0.0.1"}
	dispatch(p.c, rc, wire, func(resp kmsg.Response) { ch <- roundTrip(t, resp, version) })
	return ch
}

// dispatch calls the handler of the request.
func dispatch(c *Coordinator, rc RequestContext, req kmsg.Request, reply func(kmsg.Response)) {
	switch r := req.(type) {
	case *kmsg.JoinGroupRequest:
		c.JoinGroup(rc, r, func(x *kmsg.JoinGroupResponse) { reply(x) })
	case *kmsg.SyncGroupRequest:
		c.SyncGroup(rc, r, func(x *kmsg.SyncGroupResponse) { reply(x) })
	case *kmsg.HeartbeatRequest:
		c.Heartbeat(rc, r, func(x *kmsg.HeartbeatResponse) { reply(x) })
	case *kmsg.LeaveGroupRequest:
		c.LeaveGroup(rc, r, func(x *kmsg.LeaveGroupResponse) { reply(x) })
	case *kmsg.OffsetCommitRequest:
		c.OffsetCommit(rc, r, func(x *kmsg.OffsetCommitResponse) { reply(x) })
	case *kmsg.TxnOffsetCommitRequest:
		c.TxnOffsetCommit(rc, r, func(x *kmsg.TxnOffsetCommitResponse) { reply(x) })
	case *kmsg.OffsetFetchRequest:
		c.OffsetFetch(rc, r, func(x *kmsg.OffsetFetchResponse) { reply(x) })
	case *kmsg.OffsetDeleteRequest:
		c.OffsetDelete(rc, r, func(x *kmsg.OffsetDeleteResponse) { reply(x) })
	case *kmsg.DescribeGroupsRequest:
		c.DescribeGroups(rc, r, func(x *kmsg.DescribeGroupsResponse) { reply(x) })
	case *kmsg.ListGroupsRequest:
		c.ListGroups(rc, r, func(x *kmsg.ListGroupsResponse) { reply(x) })
	case *kmsg.ConsumerGroupHeartbeatRequest:
		c.ConsumerGroupHeartbeat(rc, r, func(x *kmsg.ConsumerGroupHeartbeatResponse) { reply(x) })
	case *kmsg.ConsumerGroupDescribeRequest:
		c.ConsumerGroupDescribe(rc, r, func(x *kmsg.ConsumerGroupDescribeResponse) { reply(x) })
	case *kmsg.DeleteGroupsRequest:
		c.DeleteGroups(rc, r, func(x *kmsg.DeleteGroupsResponse) { reply(x) })
	}
}

// wirePeer is a Kafka; each request has a connection of its own.
type wirePeer struct {
	addr string
	ids  map[string][16]byte
}

func newWirePeer(t *testing.T, addr string) *wirePeer {
	p := &wirePeer{addr: addr, ids: map[string][16]byte{}}
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Version, create.TimeoutMillis = 7, 10000
	for topic, n := range map[string]int32{"orders": 3, "audit": 1} {
		ct := kmsg.NewCreateTopicsRequestTopic()
		ct.Topic, ct.NumPartitions, ct.ReplicationFactor = topic, n, 1
		create.Topics = append(create.Topics, ct)
	}
	<-p.send(t, create)
	find := kmsg.NewPtrFindCoordinatorRequest() // makes the offsets topic
	find.Version, find.CoordinatorKey = 2, "x"
	require.Eventually(t, func() bool {
		return (<-p.send(t, find)).(*kmsg.FindCoordinatorResponse).ErrorCode == 0
	}, 30*time.Second, 200*time.Millisecond)
	meta := kmsg.NewPtrMetadataRequest()
	meta.Version = 12
	for _, mt := range (<-p.send(t, meta)).(*kmsg.MetadataResponse).Topics {
		p.ids[*mt.Topic] = mt.TopicID
	}
	list := kmsg.NewPtrListGroupsRequest()
	require.Eventually(t, func() bool {
		return (<-p.send(t, list)).(*kmsg.ListGroupsResponse).ErrorCode == 0
	}, 30*time.Second, 200*time.Millisecond)
	return p
}

func (p *wirePeer) topicID(topic string) [16]byte { return p.ids[topic] }

func (p *wirePeer) send(t *testing.T, req kmsg.Request) <-chan kmsg.Response {
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.addr)
	require.NoError(t, err)
	body := kmsg.NewRequestFormatter(kmsg.FormatterClientID("client")).AppendRequest(nil, req, 1)
	_, err = conn.Write(body)
	require.NoError(t, err)
	ch := make(chan kmsg.Response, 1)
	go func() {
		defer func() { _ = conn.Close() }()
		r := bufio.NewReader(conn)
		var size [4]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			t.Errorf("read the answer to %s v%d: %v", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
			return
		}
		b := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(r, b); err != nil {
			t.Errorf("read: %v", err)
			return
		}
		b = b[4:]
		if req.IsFlexible() {
			b = b[1:] // no tags
		}
		resp := req.ResponseKind()
		if err := resp.ReadFrom(b); err != nil {
			t.Errorf("decode: %v", err)
			return
		}
		ch <- resp
	}()
	return ch
}

// transcript runs the scenario and compares or writes its text.
func transcript(t *testing.T, name string, scenario func(s *script)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		s := &script{t: t, ids: map[string]string{}}
		file := filepath.Join("testdata", "transcripts", name+".txt")
		if addr := os.Getenv(recordEnv); addr != "" {
			s.peer = newWirePeer(t, addr)
			scenario(s)
			require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
			require.NoError(t, os.WriteFile(file, s.out.Bytes(), 0o644))
			return
		}
		if addr := os.Getenv(checkEnv); addr != "" {
			s.peer = newWirePeer(t, addr)
		} else {
			s.peer = newLocalPeer(t, Config{InitialRebalanceDelayMs: 300, MinSessionTimeoutMs: 100, ConsumerAssignmentIntervalMs: -1})
		}
		scenario(s)
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(want), s.out.String())
	})
}
