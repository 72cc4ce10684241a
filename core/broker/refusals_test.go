package broker_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/log/batch"
)

// refusalTable is what Apache Kafka 4.3.1 with its StandardAuthorizer answered to refusalCases under refusalGrants: which code stands where, and
// what is hidden from whom. It was recorded with
//
//	MOLDAU_RECORD_REFUSALS=<address of a super user>,<address where bob authenticates> go test ./core/broker -run TestRecordRefusals
//
// of a broker with the settings of refusalSettings and node.id=1.
const refusalTable = "testdata/refusals.json.gz"

// refusals is the table: texts, and by grant, case and version which of them was answered.
type refusals struct {
	Versions map[int16]int16 `json:"versions"` // the newest of each API that was asked
	Texts    []string        `json:"texts"`
	Answers  map[string]int  `json:"answers"`
}

// refusalPeer is a broker and two clients of it.
type refusalPeer struct {
	testing.TB
	root, bob *kgo.Client
	versions  map[int16]int16
	ids       map[string][16]byte
	names     map[[16]byte]string
	pid       int64
	settles   time.Duration // after which Kafka's broker has learned of what its controller lists
}

// pinnedRequest is a request of one version.
type pinnedRequest struct {
	kmsg.Request
	version int16
}

func (p pinnedRequest) MaxVersion() int16  { return p.version }
func (p pinnedRequest) SetVersion(v int16) { p.Request.SetVersion(min(v, p.version)) }

func (t *refusalPeer) ask(cl *kgo.Client, req kmsg.Request) (kmsg.Response, error) {
	if _, ok := req.(pinnedRequest); !ok {
		req = pinnedRequest{req, min(req.MaxVersion(), t.versions[req.Key()])}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return cl.Broker(1).Request(ctx, req)
}

// asRoot asks as the super user.
func (t *refusalPeer) asRoot(req kmsg.Request) kmsg.Response {
	resp, err := t.ask(t.root, req)
	require.NoError(t, err)
	return resp
}

func (t *refusalPeer) refresh() {
	m := kmsg.NewPtrMetadataRequest()
	resp := t.asRoot(m).(*kmsg.MetadataResponse)
	t.ids, t.names = map[string][16]byte{}, map[[16]byte]string{}
	for i := range resp.Topics {
		x := &resp.Topics[i]
		t.ids[*x.Topic], t.names[x.TopicID] = x.TopicID, *x.Topic
	}
}

// ensure makes the topics t and u, and removes what cases made.
func (t *refusalPeer) ensure() {
	t.refresh()
	create, remove := kmsg.NewPtrCreateTopicsRequest(), kmsg.NewPtrDeleteTopicsRequest()
	create.TimeoutMillis, remove.TimeoutMillis = 5000, 5000
	for _, n := range []string{"t", "u"} {
		if _, ok := t.ids[n]; !ok {
			x := kmsg.NewCreateTopicsRequestTopic()
			x.Topic, x.NumPartitions, x.ReplicationFactor = n, 2, 1
			create.Topics = append(create.Topics, x)
		}
	}
	for n := range t.ids {
		if strings.HasPrefix(n, "auto-") {
			remove.Topics = append(remove.Topics, kmsg.DeleteTopicsRequestTopic{Topic: pointer(n)})
		}
	}
	if len(remove.Topics) > 0 {
		t.asRoot(remove)
	}
	if len(create.Topics) > 0 {
		t.asRoot(create)
	}
	if len(create.Topics)+len(remove.Topics) > 0 {
		require.Eventually(t, func() bool {
			t.refresh()
			_, auto := t.ids["auto-1"]
			return !auto && t.led("t") && t.led("u")
		}, 10*time.Second, 5*time.Millisecond)
		time.Sleep(t.settles)
		t.refresh()
	}
}

// led says whether the partitions of a topic are there and have their leader.
func (t *refusalPeer) led(topic string) bool {
	if t.ids[topic] == [16]byte{} {
		return false
	}
	l := kmsg.NewPtrListOffsetsRequest()
	l.ReplicaID = -1
	l.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{{Partition: 0, Timestamp: -1}, {Partition: 1, Timestamp: -1}}}}
	for _, p := range t.asRoot(l).(*kmsg.ListOffsetsResponse).Topics[0].Partitions {
		if p.ErrorCode != 0 {
			return false
		}
	}
	return true
}

// setup stores offsets in the groups g and h, and makes the transactional ids x and y known.
func (t *refusalPeer) setup() {
	t.ensure()
	for _, g := range []string{"g", "h"} {
		require.Eventually(t, func() bool {
			o := kmsg.NewPtrOffsetCommitRequest()
			o.Group, o.Generation = g, -1
			for _, n := range []string{"t", "u"} {
				x := kmsg.NewOffsetCommitRequestTopic()
				x.Topic, x.TopicID = n, t.ids[n]
				p := kmsg.NewOffsetCommitRequestTopicPartition()
				p.Offset = 5
				x.Partitions = append(x.Partitions, p)
				o.Topics = append(o.Topics, x)
			}
			if t.asRoot(o).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode == 0 {
				return true
			}
			f := kmsg.NewPtrFindCoordinatorRequest()
			f.CoordinatorKeys = []string{g}
			t.asRoot(f)
			return false
		}, 20*time.Second, 50*time.Millisecond)
	}
	for _, id := range []*string{pointer("x"), pointer("y"), nil} {
		require.Eventually(t, func() bool {
			r := kmsg.NewPtrInitProducerIDRequest()
			r.TransactionalID, r.TransactionTimeoutMillis, r.ProducerID, r.ProducerEpoch = id, 60000, -1, -1
			resp := t.asRoot(r).(*kmsg.InitProducerIDResponse)
			if t.pid = resp.ProducerID; resp.ErrorCode == 0 {
				return true
			}
			f := kmsg.NewPtrFindCoordinatorRequest()
			f.CoordinatorType, f.CoordinatorKeys = 1, []string{"x", "y"}
			t.asRoot(f)
			return false
		}, 20*time.Second, 50*time.Millisecond)
	}
}

// grant replaces all entries, and waits until they count.
func (t *refusalPeer) grant(entries []aclEntry) {
	del := kmsg.NewPtrDeleteACLsRequest()
	f := kmsg.NewDeleteACLsRequestFilter()
	f.ResourceType, f.ResourcePatternType, f.Operation, f.PermissionType = 1, 1, 1, 1
	del.Filters = append(del.Filters, f)
	t.asRoot(del)
	create := kmsg.NewPtrCreateACLsRequest()
	for _, e := range entries {
		q := kmsg.NewCreateACLsRequestCreation()
		q.ResourceType, q.ResourceName, q.ResourcePatternType = kmsg.ACLResourceType(e.Type), e.Name, kmsg.ACLResourcePatternType(e.Pattern)
		q.Principal, q.Host, q.Operation, q.PermissionType = e.Principal, e.Host, kmsg.ACLOperation(e.Operation), kmsg.ACLPermissionType(e.Permission)
		create.Creations = append(create.Creations, q)
	}
	if len(entries) > 0 {
		for _, r := range t.asRoot(create).(*kmsg.CreateACLsResponse).Results {
			require.NoError(t, kerr.ErrorForCode(r.ErrorCode))
		}
	}
	require.Eventually(t, func() bool {
		d := kmsg.NewPtrDescribeACLsRequest()
		d.ResourceType, d.ResourcePatternType, d.Operation, d.PermissionType = 1, 1, 1, 1
		n := 0
		for _, r := range t.asRoot(d).(*kmsg.DescribeACLsResponse).Resources {
			n += len(r.ACLs)
		}
		return n == len(entries)
	}, 10*time.Second, 5*time.Millisecond)
}

// refusalBatch is a batch of one record.
func refusalBatch(producer int64, epoch int16, sequence int32, transactional bool) []byte {
	return records(1, func(w *batch.Builder) {
		w.Idempotent, w.ProducerID, w.ProducerEpoch, w.BaseSequence, w.Transactional = producer >= 0, producer, epoch, sequence, transactional
	})
}

// leftOut are fields that differ from broker to broker and from run to run.
var leftOut = []string{
	"UnknownTags", "Version", "ThrottleMillis", "ClusterID", "Port", "Host", "LogDir", "Dir", "TotalBytes", "UsableBytes", "LeaderEpoch", "ReplicaDirectoryID", "LastFetchTimestamp",
	"LastCaughtUpTimestamp", "LogEndOffset", "EndOffset", "Documentation", "CurrentLeaderEpoch", "LogStartOffset", "BaseOffset", "Offset", "HighWatermark", "LowWatermark", "LastStableOffset",
	"Size", "UserHost", "ConfigSynonyms", "PartitionCount", "ProducerID", "ActiveProducers", "LogAppendTime", "Listeners", "AbortedTransactions", "IsCordoned",
	"Assignment", "TargetAssignment", "Epoch", "AssignmentEpoch", "MemberEpoch", "ProducerEpoch",
}

// plain makes maps and lists of an answer, the lists sorted.
func (t *refusalPeer) plain(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return t.plain(v.Elem())
	case reflect.Struct:
		m := map[string]any{}
		for i := range v.NumField() {
			switch n := v.Type().Field(i).Name; {
			case slices.Contains(leftOut, n):
			case n == "RecordBatches", n == "Configs" && v.Type() == reflect.TypeFor[kmsg.CreateTopicsResponseTopic]():
				m[n] = v.Field(i).Len() > 0
			case n == "TopicID":
				m[n] = t.names[v.Field(i).Interface().([16]byte)]
			default:
				m[n] = t.plain(v.Field(i))
			}
		}
		return m
	case reflect.Slice:
		switch {
		case v.IsNil():
			return nil
		case v.Type().Elem().Kind() == reflect.Uint8:
			return fmt.Sprintf("%x", v.Bytes())
		}
		items := make([]string, v.Len())
		for i := range items {
			b, err := json.Marshal(t.plain(v.Index(i)))
			require.NoError(t, err)
			items[i] = string(b)
		}
		slices.Sort(items)
		list := make([]json.RawMessage, len(items))
		for i := range items {
			list[i] = json.RawMessage(items[i])
		}
		return list
	case reflect.Array:
		return fmt.Sprint(v.Interface())
	}
	return v.Interface()
}

// internals is what Kafka shows of itself in some texts.
var internals = regexp.MustCompile(`Request Request\(.*?needs [A-Z_]+ permission\.`)

// groupStates come one soon after the other.
var groupStates = regexp.MustCompile(`"(Assigning|Reconciling|Stable)"`)

func (t *refusalPeer) text(resp kmsg.Response, err error) string {
	if err != nil {
		return "error " + err.Error()
	}
	b, err := json.Marshal(t.plain(reflect.ValueOf(resp)))
	require.NoError(t, err)
	s := groupStates.ReplaceAllString(internals.ReplaceAllString(string(b), "Cluster authorization failed."), `"Alive"`)
	for n, id := range t.ids {
		s = strings.ReplaceAll(s, base64.RawURLEncoding.EncodeToString(id[:]), "id of "+n)
	}
	return s
}

// each asks everything under every grant.
func (t *refusalPeer) each(fn func(key, text string)) {
	t.setup()
	for _, g := range refusalGrants() {
		t.grant(g.entries)
		time.Sleep(t.settles)
		for _, c := range refusalCases() {
			versions := c.versions
			if versions == nil {
				versions = []int16{-1}
			}
			for _, v := range versions {
				t.ensure()
				req := c.make(t)
				if v >= 0 {
					req = pinnedRequest{req, v}
				}
				fn(fmt.Sprintf("%s | %s %d", g.name, c.name, v), t.text(t.ask(t.bob, req)))
				if strings.HasPrefix(c.name, "DeleteTopics") {
					time.Sleep(t.settles)
				}
			}
		}
	}
}

func newestVersions(tb testing.TB, cl *kgo.Client) map[int16]int16 {
	tb.Helper()
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "refusals", "1"
	resp, err := cl.Broker(1).Request(context.Background(), req)
	require.NoError(tb, err)
	out := map[int16]int16{}
	kversion.FromApiVersionsResponse(resp.(*kmsg.ApiVersionsResponse)).EachMaxKeyVersion(func(k, v int16) { out[k] = v })
	return out
}

func TestRecordRefusals(t *testing.T) {
	root, bob := recordedPeers(t, "MOLDAU_RECORD_REFUSALS", kgo.RequestRetries(0))
	peer := &refusalPeer{TB: t, root: root, bob: bob, versions: newestVersions(t, root), settles: 40 * time.Millisecond}
	table := refusals{Versions: peer.versions, Answers: map[string]int{}}
	known := map[string]int{}
	peer.each(func(key, text string) {
		n, ok := known[text]
		if !ok {
			n = len(table.Texts)
			known[text], table.Texts = n, append(table.Texts, text)
		}
		table.Answers[key] = n
	})
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	require.NoError(t, json.NewEncoder(z).Encode(table))
	require.NoError(t, z.Close())
	require.NoError(t, os.WriteFile(refusalTable, b.Bytes(), 0o600))
}

// TestRefusalsAreKafkas: each API refuses what Apache Kafka's refuses, in the same places, and hides the same.
func TestRefusalsAreKafkas(t *testing.T) {
	raw, err := os.ReadFile(refusalTable)
	require.NoError(t, err)
	z, err := gzip.NewReader(bytes.NewReader(raw))
	require.NoError(t, err)
	raw, err = io.ReadAll(z)
	require.NoError(t, err)
	var table refusals
	require.NoError(t, json.Unmarshal(raw, &table))
	c := aclCluster(t, brokertest.With("offsets.topic.num.partitions", "4"), brokertest.With("transaction.state.log.num.partitions", "4"), brokertest.With("scram.bootstrap.credentials", ""))
	peer := &refusalPeer{
		TB: t, versions: table.Versions,
		root: as(t, c, plainAuth("alice", "alice-secret"), kgo.RequestRetries(0)), bob: as(t, c, plainAuth("bob", "bob-secret"), kgo.RequestRetries(0)),
	}
	asked, wrong := 0, map[string][]string{}
	peer.each(func(key, text string) {
		asked++
		n, ok := table.Answers[key]
		require.True(t, ok, "the table has no %q: record it again", key)
		grant, request, _ := strings.Cut(key, " | ")
		if want := table.Texts[n]; want != text && !differsOnPurpose(request, want, text) {
			what := fmt.Sprintf("%s\n  Kafka  %s\n  moldau %s", request, want, text)
			wrong[what] = append(wrong[what], grant)
		}
	})
	require.Len(t, table.Answers, asked, "the table is of other cases")
	for what, grants := range wrong {
		t.Errorf("%s\n  under %s", what, strings.Join(grants, ", "))
	}
}

// differsOnPurpose says whether an answer that is not Kafka's is meant to be so.
func differsOnPurpose(request, kafka, moldau string) bool {
	name, _, _ := strings.Cut(request, " ")
	switch name {
	case "Metadata": // a topic that is created by being asked for is there at once, which Kafka's second answer says
		return strings.Contains(kafka, `"ErrorCode":3,`) && strings.Contains(moldau, `"Topic":"auto-1"`)
	case "AlterUserSCRAM", "DescribeUserSCRAM": // Kafka answers some of these refusals by an error in itself
		return strings.HasPrefix(kafka, "error ")
	}
	return false
}
