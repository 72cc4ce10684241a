package broker_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/security/acl"
)

// aclCase is a set of entries and what bob may do under it: for each topic the authorised operations, or the code of the refusal; and
// whether he may begin to write somewhere (InitProducerId).
type aclCase struct {
	Entries []aclEntry       `json:"entries"`
	Topics  map[string]int32 `json:"topics"` // operations; negative for an error code
	Init    int16            `json:"init"`
	Cluster int32            `json:"cluster"`
}

type aclEntry struct {
	Type       int8   `json:"t"`
	Name       string `json:"n"`
	Pattern    int8   `json:"p"`
	Principal  string `json:"w"`
	Host       string `json:"h"`
	Operation  int8   `json:"o"`
	Permission int8   `json:"a"`
}

// aclTable is what Apache Kafka 4.3.1 with its StandardAuthorizer answered to seeded sets of entries. It was recorded with
// MOLDAU_RECORD_ACLS=<address of a super user>,<address where bob authenticates> go test -run TestRecordACLs.
const aclTable = "testdata/acl_decisions.json.gz"

var aclTopics = []string{"a", "ab", "abc", "abd", "b", "c"}

func randomACLs(seed uint64) []aclEntry {
	r := rand.New(rand.NewPCG(seed, 430))
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	var out []aclEntry
	seen := map[aclEntry]bool{}
	for range 1 + r.IntN(10) {
		e := aclEntry{Type: int8(acl.Topic), Name: pick("a", "ab", "abc", "b", "*", "a", "ab"), Pattern: 3, Principal: pick("User:bob", "User:bob", "User:bob", "User:*", "User:carol"),
			Host: pick("*", "*", "*", "127.0.0.1", "10.0.0.1"), Operation: int8(2 + r.IntN(10)), Permission: 3}
		if r.IntN(4) == 0 {
			e.Permission = 2
		}
		if r.IntN(3) == 0 && e.Name != "*" {
			e.Pattern = 4
		}
		if r.IntN(10) == 0 {
			e.Type, e.Name, e.Pattern = int8(acl.Cluster), acl.ClusterName, 3
		}
		if e.Operation == 9 && e.Type != int8(acl.Cluster) {
			e.Operation = 3
		}
		if !seen[e] {
			seen[e] = true
			out = append(out, e)
		}
	}
	return out
}

// askACLs sets the entries with root and asks as bob what he may do.
func askACLs(t *testing.T, ctx context.Context, root, bob *kgo.Client, entries []aclEntry) aclCase {
	t.Helper()
	del := kmsg.NewPtrDeleteACLsRequest()
	f := kmsg.NewDeleteACLsRequestFilter()
	f.ResourceType, f.ResourcePatternType, f.Operation, f.PermissionType = 1, 1, 1, 1
	del.Filters = append(del.Filters, f)
	_, err := del.RequestWith(ctx, root)
	require.NoError(t, err)
	req := kmsg.NewPtrCreateACLsRequest()
	for _, e := range entries {
		q := kmsg.NewCreateACLsRequestCreation()
		q.ResourceType, q.ResourceName, q.ResourcePatternType = kmsg.ACLResourceType(e.Type), e.Name, kmsg.ACLResourcePatternType(e.Pattern)
		q.Principal, q.Host, q.Operation, q.PermissionType = e.Principal, e.Host, kmsg.ACLOperation(e.Operation), kmsg.ACLPermissionType(e.Permission)
		req.Creations = append(req.Creations, q)
	}
	resp, err := req.RequestWith(ctx, root)
	require.NoError(t, err)
	for _, r := range resp.Results {
		require.NoError(t, kerr.ErrorForCode(r.ErrorCode))
	}
	ask := func() aclCase {
		c := aclCase{Entries: entries, Topics: map[string]int32{}}
		m := kmsg.NewPtrMetadataRequest()
		m.IncludeTopicAuthorizedOperations, m.AllowAutoTopicCreation = true, false
		for i := range aclTopics {
			m.Topics = append(m.Topics, kmsg.MetadataRequestTopic{Topic: &aclTopics[i]})
		}
		resp, err := bob.Broker(1).Request(ctx, m)
		require.NoError(t, err)
		for _, mt := range resp.(*kmsg.MetadataResponse).Topics {
			c.Topics[*mt.Topic] = mt.AuthorizedOperations
			if mt.ErrorCode != 0 {
				c.Topics[*mt.Topic] = -int32(mt.ErrorCode)
			}
		}
		i := kmsg.NewPtrInitProducerIDRequest()
		i.ProducerID, i.ProducerEpoch = -1, -1
		iresp, err := bob.Broker(1).Request(ctx, i)
		require.NoError(t, err)
		c.Init = iresp.(*kmsg.InitProducerIDResponse).ErrorCode
		d := kmsg.NewPtrDescribeClusterRequest()
		d.IncludeClusterAuthorizedOperations = true
		dresp, err := bob.Broker(1).Request(ctx, d)
		require.NoError(t, err)
		c.Cluster = dresp.(*kmsg.DescribeClusterResponse).ClusterAuthorizedOperations
		return c
	}
	// The broker learns of the entries a moment after the controller.
	last := ask()
	for same := 0; same < 3; {
		time.Sleep(15 * time.Millisecond)
		next := ask()
		if fmt.Sprint(next) == fmt.Sprint(last) {
			same++
		} else {
			same = 0
		}
		last = next
	}
	return last
}

// recordedPeers are clients of the Apache Kafka whose answers are to be recorded, as it lets everybody in and as bob: env has the addresses of the
// two listeners. Without it the test is skipped.
func recordedPeers(t *testing.T, env string, opts ...kgo.Opt) (root, bob *kgo.Client) {
	where := os.Getenv(env)
	if where == "" {
		t.Skip(env + " is not set")
	}
	rootAddr, bobAddr, _ := strings.Cut(where, ",")
	root, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(rootAddr)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(root.Close)
	bob, err = kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(bobAddr), kgo.SASL(plainAuth("bob", "bob-secret"))}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(bob.Close)
	return root, bob
}

func TestRecordACLs(t *testing.T) {
	root, bob := recordedPeers(t, "MOLDAU_RECORD_ACLS")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	createTopics(t, ctx, root)
	var table []aclCase
	for seed := range uint64(300) {
		table = append(table, askACLs(t, ctx, root, bob, randomACLs(seed)))
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	require.NoError(t, json.NewEncoder(z).Encode(table))
	require.NoError(t, z.Close())
	require.NoError(t, os.WriteFile(aclTable, b.Bytes(), 0o600))
}

func createTopics(t *testing.T, ctx context.Context, root *kgo.Client) {
	t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	for _, name := range aclTopics {
		q := kmsg.NewCreateTopicsRequestTopic()
		q.Topic, q.NumPartitions, q.ReplicationFactor = name, 1, 1
		req.Topics = append(req.Topics, q)
	}
	_, err := req.RequestWith(ctx, root)
	require.NoError(t, err)
}

func recordedACLs(t *testing.T) []aclCase {
	t.Helper()
	raw, err := os.ReadFile(aclTable)
	require.NoError(t, err)
	z, err := gzip.NewReader(bytes.NewReader(raw))
	require.NoError(t, err)
	raw, err = io.ReadAll(z)
	require.NoError(t, err)
	var table []aclCase
	require.NoError(t, json.Unmarshal(raw, &table))
	return table
}

// TestACLsDecideAsApacheKafka: the same entries give the same answers, over the wire and in the index alone.
func TestACLsDecideAsApacheKafka(t *testing.T) {
	table := recordedACLs(t)
	require.Len(t, table, 300)
	bob := acl.NewSubject("User:bob", "127.0.0.1")
	for i, c := range table {
		require.Equal(t, randomACLs(uint64(i)), c.Entries, "the table is of another generator")
		var entries []acl.Entry
		for _, e := range c.Entries {
			entries = append(entries, acl.Entry{Type: acl.ResourceType(e.Type), Name: e.Name, Pattern: acl.PatternType(e.Pattern), Principal: e.Principal, Host: e.Host, Operation: acl.Operation(e.Operation), Permission: acl.Permission(e.Permission)})
		}
		x := acl.New(entries, nil, false, 1)
		for topic, want := range c.Topics {
			got := x.AuthorizedOperations(&bob, acl.Topic, topic)
			if !x.Allowed(&bob, acl.Describe, acl.Topic, topic) {
				got = -int32(kerr.TopicAuthorizationFailed.Code)
			}
			require.Equal(t, want, got, "case %d, topic %s: %+v", i, topic, c.Entries)
		}
		init := int16(0)
		if !x.Allowed(&bob, acl.IdempotentWrite, acl.Cluster, acl.ClusterName) && !x.AllowedAny(&bob, acl.Write, acl.Topic) {
			init = kerr.ClusterAuthorizationFailed.Code
		}
		require.Equal(t, c.Init, init, "case %d: %+v", i, c.Entries)
	}
	cl := aclCluster(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	root, asBob := as(t, cl, plainAuth("alice", "alice-secret")), as(t, cl, plainAuth("bob", "bob-secret"))
	createTopics(t, ctx, root)
	for i := 0; i < len(table); i += 10 {
		require.Equal(t, table[i], askACLs(t, ctx, root, asBob, table[i].Entries), "case %d", i)
	}
}
