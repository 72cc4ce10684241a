package metadata

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
)

// cluster is an image of live brokers 1 to n, with topic "t" of two partitions on broker 1.
func cluster(t testing.TB, n int, features ...Record) *Image {
	t.Helper()
	im := apply(t, Empty(), append([]Record{&ClusterIDRecord{"c"}}, features...)...)
	for id := int32(1); id <= int32(n); id++ {
		im = apply(t, im, &RegisterBrokerRecord{BrokerID: id, Epoch: 100 + int64(id), IncarnationID: UUID{byte(id)}, Listeners: []Listener{{Name: "P"}}})
	}
	return apply(t, im, &TopicRecord{"t", UUID{9}},
		&PartitionRecord{TopicID: UUID{9}, Partition: Partition{Index: 0, Leader: 1, Replicas: []int32{1}, ISR: []int32{1}}},
		&PartitionRecord{TopicID: UUID{9}, Partition: Partition{Index: 1, Leader: 1, Replicas: []int32{1}, ISR: []int32{1}}})
}

func rules() Rules {
	rng := rand.New(rand.NewPCG(1, 2))
	return Rules{NumPartitions: 1, ReplicationFactor: 1, DeleteTopics: true, Configs: TableRules{}, Rand: rng.IntN}
}

func str(s string) *string { return &s }

func set(kv ...string) []ConfigValue {
	var out []ConfigValue
	for i := 0; i < len(kv); i += 2 {
		out = append(out, ConfigValue{kv[i], &kv[i+1]})
	}
	return out
}

func requireRefused(t testing.TB, err *Error, code *kerr.Error, text string) {
	t.Helper()
	require.NotNil(t, err)
	require.Equal(t, code.Message, kerr.TypedErrorForCode(err.Code).Message, err.Message)
	require.Equal(t, text, err.Message)
	require.ErrorIs(t, err, code)
}

// TestCreateTopicIsRefusedAsKafkaDoes holds codes and texts that a Kafka 4.3 controller gave for the same requests.
func TestCreateTopicIsRefusedAsKafkaDoes(t *testing.T) {
	long := strings.Repeat("x", 250)
	const illegal = "' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
	plain := func(name string) CreateTopic { return CreateTopic{Name: name, NumPartitions: 1, ReplicationFactor: 1} }
	manual := func(as ...Assignment) CreateTopic {
		return CreateTopic{Name: "m", NumPartitions: -1, ReplicationFactor: -1, Assignments: as}
	}
	config := func(kv ...string) CreateTopic {
		c := plain("cfg")
		c.Configs = set(kv...)
		return c
	}
	for _, c := range []struct {
		topic CreateTopic
		code  *kerr.Error
		text  string
	}{
		{plain("t"), kerr.TopicAlreadyExists, "Topic 't' already exists."},
		{plain(""), kerr.InvalidTopicException, "Topic name is invalid: the empty string is not allowed"},
		{plain("."), kerr.InvalidTopicException, "Topic name is invalid: '.' is not allowed"},
		{plain(".."), kerr.InvalidTopicException, "Topic name is invalid: '..' is not allowed"},
		{plain("a b"), kerr.InvalidTopicException, "Topic name is invalid: 'a b" + illegal},
		{plain("t/1"), kerr.InvalidTopicException, "Topic name is invalid: 't/1" + illegal},
		{plain("é"), kerr.InvalidTopicException, "Topic name is invalid: 'é" + illegal},
		{plain(long), kerr.InvalidTopicException, "Topic name is invalid: the length of '" + long + "' is longer than the max allowed length 249"},
		{plain("__cluster_metadata"), kerr.InvalidRequest, "Creation of internal topic __cluster_metadata is prohibited."},
		{plain("a_b"), kerr.InvalidTopicException, "Topic 'a_b' collides with existing topic: a.b"},
		{CreateTopic{Name: "p", NumPartitions: 0, ReplicationFactor: 1}, kerr.InvalidPartitions, "Number of partitions was set to an invalid non-positive value."},
		{CreateTopic{Name: "p", NumPartitions: -2, ReplicationFactor: 1}, kerr.InvalidPartitions, "Number of partitions was set to an invalid non-positive value."},
		{CreateTopic{Name: "p", NumPartitions: 1, ReplicationFactor: 0}, kerr.InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value."},
		{CreateTopic{Name: "p", NumPartitions: 1, ReplicationFactor: -2}, kerr.InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value."},
		{CreateTopic{Name: "p", NumPartitions: 0, ReplicationFactor: 0}, kerr.InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value."},
		{CreateTopic{Name: "p", NumPartitions: 1, ReplicationFactor: 3}, kerr.InvalidReplicationFactor, "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because only 1 broker(s) are registered or some brokers have all their log directories cordoned."},
		{CreateTopic{Name: "p", NumPartitions: 10001, ReplicationFactor: 1}, kerr.PolicyViolation, "Excessively large number of partitions per request."},
		{CreateTopic{Name: "m", NumPartitions: 1, ReplicationFactor: 1, Assignments: []Assignment{{0, []int32{1}}}}, kerr.InvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1."},
		{CreateTopic{Name: "m", NumPartitions: 1, ReplicationFactor: -1, Assignments: []Assignment{{0, []int32{1}}}}, kerr.InvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1."},
		{manual(Assignment{0, []int32{1}}, Assignment{0, []int32{1}}), kerr.InvalidReplicaAssignment, "Found multiple manual partition assignments for partition 0"},
		{manual(Assignment{0, []int32{1}}, Assignment{2, []int32{1}}), kerr.InvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence"},
		{manual(Assignment{-1, []int32{1}}), kerr.InvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence"},
		{manual(Assignment{0, nil}), kerr.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list."},
		{manual(Assignment{0, []int32{9}}), kerr.InvalidReplicaAssignment, "The manual partition assignment includes broker 9, but no such broker is registered."},
		{manual(Assignment{0, []int32{1, 1}}), kerr.InvalidReplicaAssignment, "The manual partition assignment includes the broker 1 more than once."},
		{manual(Assignment{0, []int32{1, 2}}), kerr.InvalidReplicaAssignment, "The manual partition assignment includes broker 2, but no such broker is registered."},
		{CreateTopic{Name: "n", NumPartitions: 1, ReplicationFactor: 1, Configs: []ConfigValue{{Key: "retention.ms"}}}, kerr.InvalidConfig, "Null value not supported for topic configs: retention.ms"},
		{config("nope", "1"), kerr.InvalidConfig, "Unknown topic config name: nope"},
		{config("nope", "1", "retention.ms", "x"), kerr.InvalidConfig, "Unknown topic config name: nope"},
		{config("message.downconversion.enable", "false"), kerr.InvalidConfig, "Unknown topic config name: message.downconversion.enable"},
		{config("retention.ms", "x"), kerr.InvalidConfig, "Invalid value x for configuration retention.ms: Not a number of type LONG"},
		{config("retention.ms", "-2"), kerr.InvalidConfig, "Invalid value -2 for configuration retention.ms: Value must be at least -1"},
		{config("cleanup.policy", "bad"), kerr.InvalidConfig, "Invalid value bad for configuration cleanup.policy: String must be one of: compact, delete"},
		{config("min.compaction.lag.ms", "100", "max.compaction.lag.ms", "50"), kerr.InvalidConfig, "conflict topic config setting min.compaction.lag.ms (100) > max.compaction.lag.ms (50)"},
	} {
		im := apply(t, cluster(t, 1), &TopicRecord{"a.b", UUID{8}})
		records, res := CreateTopics(im, rules(), []CreateTopic{c.topic})
		require.Empty(t, records, c.text)
		require.Len(t, res, 1)
		requireRefused(t, res[0].Err, c.code, c.text)
		require.Equal(t, CreateTopicResult{Name: c.topic.Name, Err: res[0].Err, NumPartitions: -1, ReplicationFactor: -1}, res[0])
	}
}

func TestCreateTopicsAnswersEachTopicByItself(t *testing.T) {
	im := cluster(t, 1)
	records, res := CreateTopics(im, rules(), []CreateTopic{
		{Name: "d", NumPartitions: 1, ReplicationFactor: 1}, {Name: "good", NumPartitions: 3, ReplicationFactor: -1, Configs: set("retention.ms", "5", "cleanup.policy", "compact")},
		{Name: "d", NumPartitions: 1, ReplicationFactor: 1}, {Name: "t", NumPartitions: 1, ReplicationFactor: 1},
		{Name: "man", NumPartitions: -1, ReplicationFactor: -1, Assignments: []Assignment{{1, []int32{1}}, {0, []int32{1}}}}, {Name: "def", NumPartitions: -1, ReplicationFactor: -1},
	})
	require.Len(t, res, 5)
	requireRefused(t, res[0].Err, kerr.InvalidRequest, "Duplicate topic name.")
	require.Nil(t, res[1].Err)
	requireRefused(t, res[2].Err, kerr.TopicAlreadyExists, "Topic 't' already exists.")
	im = apply(t, im, records...)
	require.Nil(t, im.Topic("d"))
	require.Equal(t, CreateTopicResult{Name: "good", ID: im.Topic("good").ID, NumPartitions: 3, ReplicationFactor: 1, Configs: map[string]string{"retention.ms": "5", "cleanup.policy": "compact"}}, res[1])
	require.Equal(t, map[string]string{"retention.ms": "5", "cleanup.policy": "compact"}, im.Configs(TopicResource, "good"))
	require.Equal(t, Partition{Index: 2, Leader: 1, Replicas: []int32{1}, ISR: []int32{1}}, *im.Partition("good", 2))
	require.Len(t, im.Topic("man").Partitions, 2)
	require.Len(t, im.Topic("def").Partitions, 1)
}

func TestFencedBrokersLeadNothing(t *testing.T) {
	im := apply(t, cluster(t, 2), &BrokerRegistrationChangeRecord{BrokerID: 2, Epoch: 102, Fenced: SetTrue})
	records, res := CreateTopics(im, rules(), []CreateTopic{{Name: "x", NumPartitions: 4, ReplicationFactor: 2}, {Name: "y", NumPartitions: -1, ReplicationFactor: -1, Assignments: []Assignment{{0, []int32{2}}}}})
	require.Nil(t, res[0].Err)
	requireRefused(t, res[1].Err, kerr.InvalidReplicaAssignment, "All brokers specified in the manual partition assignment for partition 0 are fenced or in controlled shutdown.")
	im = apply(t, im, records...)
	for _, p := range im.Topic("x").Partitions {
		require.Equal(t, []int32{1, 2}, p.Replicas)
		require.Equal(t, []int32{1}, p.ISR)
		require.Equal(t, int32(1), p.Leader)
	}
	im = apply(t, im, &BrokerRegistrationChangeRecord{BrokerID: 1, Epoch: 101, Fenced: SetTrue})
	_, res = CreateTopics(im, rules(), []CreateTopic{{Name: "z", NumPartitions: 1, ReplicationFactor: 1}})
	requireRefused(t, res[0].Err, kerr.InvalidReplicationFactor, "Unable to replicate the partition 1 time(s): All brokers are currently fenced.")
}

// TestPlacementSpreadsReplicas holds the goals of place over many cluster shapes.
func TestPlacementSpreadsReplicas(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		n, racks := 1+rng.IntN(9), 1+rng.IntN(4)
		im := Empty()
		for id := range int32(n) {
			im = apply(t, im, &RegisterBrokerRecord{BrokerID: id, Epoch: 1, Rack: string(rune('a' + int(id)%racks)), Fenced: id > 0 && rng.IntN(6) == 0})
		}
		factor, parts := 1+rng.IntN(n), 1+rng.IntN(40)
		r := rules()
		r.Rand = rng.IntN
		out, err := place(im, &r, parts, factor)
		require.Nil(t, err)
		live, liveRacks := 0, map[string]bool{}
		for _, b := range im.Brokers() {
			if !b.Fenced {
				live++
				liveRacks[b.Rack] = true
			}
		}
		leaders := map[int32]int{}
		for _, replicas := range out {
			require.Len(t, replicas, factor)
			seen, onRacks, fenced := map[int32]bool{}, map[string]bool{}, 0
			for _, id := range replicas {
				require.False(t, seen[id])
				seen[id] = true
				if im.Broker(id).Fenced {
					fenced++
				} else {
					onRacks[im.Broker(id).Rack] = true
				}
			}
			require.False(t, im.Broker(replicas[0]).Fenced)
			require.Equal(t, max(0, factor-live), fenced)
			require.Len(t, onRacks, min(factor, len(liveRacks)))
			leaders[replicas[0]]++
		}
		for _, c := range leaders {
			require.LessOrEqual(t, c, parts/live+1)
		}
	}
}

func TestDeleteTopics(t *testing.T) {
	im := cluster(t, 1)
	r := rules()
	one := func(refs ...TopicRef) *Error {
		_, res := DeleteTopics(im, r, refs)
		return res[0].Err
	}
	requireRefused(t, one(TopicRef{Name: str("nope")}), kerr.UnknownTopicOrPartition, "This server does not host this topic-partition.")
	requireRefused(t, one(TopicRef{Name: str("")}), kerr.UnknownTopicOrPartition, "This server does not host this topic-partition.")
	requireRefused(t, one(TopicRef{Name: str("t")}, TopicRef{Name: str("t")}), kerr.InvalidRequest, "Duplicate topic name.")
	requireRefused(t, one(TopicRef{ID: UUID{1}}), kerr.UnknownTopicID, "This server does not host this topic ID.")
	requireRefused(t, one(TopicRef{}), kerr.InvalidRequest, "Neither topic name nor id were specified.")
	requireRefused(t, one(TopicRef{ID: UUID{1}}, TopicRef{ID: UUID{1}}), kerr.InvalidRequest, "Duplicate topic id.")
	requireRefused(t, one(TopicRef{Name: str("t"), ID: UUID{9}}), kerr.InvalidRequest, "You may not specify both topic name and topic id.")
	r.DeleteTopics = false
	requireRefused(t, one(TopicRef{Name: str("t")}), kerr.TopicDeletionDisabled, "Topic deletion is disabled.")
	r.DeleteTopics = true
	for _, ref := range []TopicRef{{Name: str("t")}, {ID: UUID{9}}} {
		records, res := DeleteTopics(im, r, []TopicRef{ref})
		require.Equal(t, []DeleteTopicResult{{Name: "t", ID: UUID{9}}}, res)
		require.Nil(t, apply(t, im, records...).Topic("t"))
	}
	// Asked for by name and by id it is refused, once, and stays.
	records, res := DeleteTopics(im, r, []TopicRef{{Name: str("t")}, {ID: UUID{9}}})
	require.Empty(t, records)
	require.Len(t, res, 1)
	requireRefused(t, res[0].Err, kerr.InvalidRequest, "The provided topic name maps to an ID that was already supplied.")
}

func TestCreatePartitions(t *testing.T) {
	im := cluster(t, 2)
	for _, c := range []struct {
		in   CreatePartition
		code *kerr.Error
		text string
	}{
		{CreatePartition{Topic: "t", Count: 2}, kerr.InvalidPartitions, "Topic already has 2 partition(s)."},
		{CreatePartition{Topic: "t", Count: 1}, kerr.InvalidPartitions, "The topic t currently has 2 partition(s); 1 would not be an increase."},
		{CreatePartition{Topic: "t", Count: -1}, kerr.InvalidPartitions, "The topic t currently has 2 partition(s); -1 would not be an increase."},
		{CreatePartition{Topic: "nope", Count: 3}, kerr.UnknownTopicOrPartition, ""},
		{CreatePartition{Topic: "", Count: 3}, kerr.UnknownTopicOrPartition, ""},
		{CreatePartition{Topic: "t", Count: 20000}, kerr.PolicyViolation, "Excessively large number of partitions per request."},
		{CreatePartition{Topic: "t", Count: 4, Assignments: [][]int32{{1}}}, kerr.InvalidReplicaAssignment, "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified."},
		{CreatePartition{Topic: "t", Count: 3, Assignments: [][]int32{{9}}}, kerr.InvalidReplicaAssignment, "The manual partition assignment includes broker 9, but no such broker is registered."},
		{CreatePartition{Topic: "t", Count: 3, Assignments: [][]int32{{1, 1}}}, kerr.InvalidReplicaAssignment, "The manual partition assignment includes the broker 1 more than once."},
		{CreatePartition{Topic: "t", Count: 3, Assignments: [][]int32{{}}}, kerr.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list."},
		{CreatePartition{Topic: "t", Count: 3, Assignments: [][]int32{{1, 2}}}, kerr.InvalidReplicaAssignment, "The manual partition assignment includes a partition with 2 replica(s), but this is not consistent with previous partitions, which have 1 replica(s)."},
	} {
		records, res := CreatePartitions(im, rules(), []CreatePartition{c.in})
		require.Empty(t, records)
		requireRefused(t, res[0].Err, c.code, c.text)
	}
	_, res := CreatePartitions(im, rules(), []CreatePartition{{Topic: "t", Count: 3}, {Topic: "t", Count: 4}})
	require.Len(t, res, 1)
	requireRefused(t, res[0].Err, kerr.InvalidRequest, "Duplicate topic name.")
	records, res := CreatePartitions(im, rules(), []CreatePartition{{Topic: "t", Count: 4, Assignments: [][]int32{{2}, {1}}}})
	require.Nil(t, res[0].Err)
	im = apply(t, im, records...)
	require.Equal(t, int32(2), im.Partition("t", 2).Leader)
	records, res = CreatePartitions(im, rules(), []CreatePartition{{Topic: "t", Count: 6}})
	require.Nil(t, res[0].Err)
	require.Len(t, apply(t, im, records...).Topic("t").Partitions, 6)
}

func TestIncrementalAlterConfigs(t *testing.T) {
	topic := ConfigResource{TopicResource, "t"}
	broker, all := ConfigResource{BrokerResource, "1"}, ConfigResource{BrokerResource, ""}
	op := func(op AlterOp, k, v string) []ConfigOp { return []ConfigOp{{k, &v, op}} }
	for _, c := range []struct {
		r    ConfigResource
		ops  []ConfigOp
		code *kerr.Error
		text string
	}{
		{topic, op(OpSet, "retention.ms", "x"), kerr.InvalidConfig, "Invalid value x for configuration retention.ms: Not a number of type LONG"},
		{topic, op(OpSet, "nope", "1"), kerr.InvalidConfig, "Unknown topic config name: nope"},
		{topic, op(OpSet, "retention.mss", "1"), kerr.InvalidConfig, "Unknown topic config name: retention.mss. Did you mean retention.ms?"},
		{topic, op(OpAppend, "retention.ms", "4"), kerr.InvalidConfig, "Can't APPEND to key retention.ms because its type is not LIST."},
		{topic, op(OpSubtract, "retention.ms", "4"), kerr.InvalidConfig, "Can't SUBTRACT to key retention.ms because its type is not LIST."},
		{topic, op(OpAppend, "cleanup.policy", "bad"), kerr.InvalidConfig, "Invalid value bad for configuration cleanup.policy: String must be one of: compact, delete"},
		{topic, op(9, "retention.ms", "1"), kerr.InvalidRequest, "Unknown operation type 9 for config key retention.ms"},
		{topic, []ConfigOp{{"retention.ms", nil, OpSet}}, kerr.InvalidRequest, "Null value not supported for : retention.ms"},
		{topic, []ConfigOp{{"retention.ms", str("1"), OpSet}, {"retention.ms", nil, OpDelete}}, kerr.InvalidRequest, "Error due to duplicate config keys"},
		{ConfigResource{TopicResource, "nope"}, op(OpSet, "retention.ms", "1"), kerr.UnknownTopicOrPartition, "The topic 'nope' does not exist."},
		{ConfigResource{TopicResource, "nope"}, op(OpSet, "retention.ms", "x"), kerr.InvalidConfig, "Invalid value x for configuration retention.ms: Not a number of type LONG"},
		{ConfigResource{TopicResource, "nope"}, op(OpAppend, "retention.ms", "1"), kerr.InvalidConfig, "Can't APPEND to key retention.ms because its type is not LIST."},
		{ConfigResource{TopicResource, ""}, op(OpSet, "retention.ms", "1"), kerr.InvalidRequest, "Default topic resources are not allowed."},
		{ConfigResource{TopicResource, "a b"}, op(OpSet, "retention.ms", "1"), kerr.InvalidTopicException, "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"},
		{broker, op(OpSet, "num.partitions", "3"), kerr.InvalidRequest, "Cannot update these configs dynamically: [num.partitions]"},
		{broker, op(OpSet, "log.retention.ms", "0"), kerr.InvalidRequest, "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1"},
		{all, op(OpSet, "log.retention.ms", "abc"), kerr.InvalidRequest, "Invalid value abc for configuration log.retention.ms: Not a number of type LONG"},
		{all, op(OpSet, "message.max.bytes", "-1"), kerr.InvalidRequest, "Invalid value -1 for configuration message.max.bytes: Value must be at least 0"},
		{all, op(OpSet, "sasl.kerberos.service.name", "x"), kerr.InvalidRequest, "Cannot update these configs at default cluster level, broker id must be specified: [sasl.kerberos.service.name]"},
		{all, op(OpSet, "nope", "1"), kerr.InvalidRequest, "Unknown broker config name: nope"},
		{ConfigResource{BrokerResource, "x"}, op(OpSet, "log.retention.ms", "1"), kerr.InvalidRequest, "Node id must be an integer, but it is: x"},
		{ConfigResource{BrokerResource, "7"}, op(OpSet, "log.retention.ms", "1"), kerr.InvalidRequest, "No node registered with id 7"},
		{ConfigResource{3, "x"}, op(OpSet, "a", "1"), kerr.InvalidRequest, "Unknown resource type 3"},
		{ConfigResource{GroupResource, ""}, op(OpSet, "a", "1"), kerr.InvalidRequest, "Default group resources are not allowed."},
		{ConfigResource{GroupResource, "g"}, op(OpSet, "nope", "1"), kerr.InvalidConfig, "Unknown group config name: nope"},
		{ConfigResource{ClientMetricsResource, ""}, op(OpSet, "a", "1"), kerr.InvalidRequest, "Subscription name can't be empty"},
		{topic, op(OpSet, "remote.storage.enable", "true"), kerr.InvalidConfig, "Invalid value true for configuration remote.storage.enable: moldau does not support this configuration yet (there is no tiered storage); it accepts the default false only"},
	} {
		records, res := IncrementalAlterConfigs(cluster(t, 1), rules(), []AlterConfig{{c.r, c.ops}})
		require.Empty(t, records)
		requireRefused(t, res[0].Err, c.code, c.text)
	}

	im := cluster(t, 1)
	alter := func(r ConfigResource, ops ...ConfigOp) {
		t.Helper()
		records, res := IncrementalAlterConfigs(im, rules(), []AlterConfig{{r, ops}})
		require.Nil(t, res[0].Err, "%v", res[0].Err)
		im = apply(t, im, records...)
	}
	alter(topic, ConfigOp{"nope", nil, OpDelete}) // deleting what is not there is no error
	alter(topic, ConfigOp{"cleanup.policy", str("compact"), OpAppend})
	require.Equal(t, "delete,compact", im.Config(topic)["cleanup.policy"], "appends to the default")
	alter(topic, ConfigOp{"cleanup.policy", str("compact"), OpAppend}, ConfigOp{"retention.ms", str("5"), OpSet})
	require.Equal(t, map[string]string{"cleanup.policy": "delete,compact", "retention.ms": "5"}, im.Config(topic))
	alter(topic, ConfigOp{"cleanup.policy", str("delete"), OpSubtract}, ConfigOp{"retention.ms", nil, OpDelete})
	require.Equal(t, map[string]string{"cleanup.policy": "compact"}, im.Config(topic))
	alter(all, ConfigOp{"log.retention.ms", str("9"), OpSet})
	alter(broker, ConfigOp{"log.retention.ms", str("8"), OpSet})
	require.Equal(t, "9", im.Layers("t", 1, nil).Cluster["log.retention.ms"])
	require.Equal(t, "8", im.Layers("t", 1, nil).Broker["log.retention.ms"])
	records, res := IncrementalAlterConfigs(im, rules(), []AlterConfig{{topic, nil}, {topic, nil}})
	require.Empty(t, records)
	require.Len(t, res, 2)
	requireRefused(t, res[1].Err, kerr.InvalidRequest, "Each resource must appear at most once.")
}

func TestAlterConfigsReplacesAllOverrides(t *testing.T) {
	topic := ConfigResource{TopicResource, "t"}
	im := cluster(t, 1)
	for _, c := range []struct {
		cs   []ConfigValue
		want map[string]string
	}{{set("retention.ms", "7", "segment.ms", "9"), map[string]string{"retention.ms": "7", "segment.ms": "9"}}, {set("retention.ms", "8"), map[string]string{"retention.ms": "8"}}, {nil, nil}} {
		records, res := AlterConfigs(im, rules(), []ReplaceConfig{{topic, c.cs}})
		require.Nil(t, res[0].Err)
		im = apply(t, im, records...)
		require.Equal(t, c.want, im.Config(topic))
	}
	absent := ConfigResource{TopicResource, "nope"}
	for _, c := range []struct {
		r    ConfigResource
		cs   []ConfigValue
		code *kerr.Error
		text string
	}{
		{topic, set("retention.ms", "1", "retention.ms", "2"), kerr.InvalidRequest, "Error due to duplicate config keys"},
		{topic, []ConfigValue{{Key: "retention.ms"}}, kerr.InvalidRequest, "Null value not supported for : retention.ms"},
		{topic, set("nope", "1"), kerr.InvalidConfig, "Unknown topic config name: nope"},
		{absent, set("retention.ms", "1"), kerr.UnknownTopicOrPartition, "The topic 'nope' does not exist."},
		{absent, set("nope", "1"), kerr.InvalidConfig, "Unknown topic config name: nope"},
	} {
		_, res := AlterConfigs(im, rules(), []ReplaceConfig{{c.r, c.cs}})
		requireRefused(t, res[0].Err, c.code, c.text)
	}
}

func TestProducerIDsComeInBlocks(t *testing.T) {
	im := cluster(t, 1)
	_, _, err := AllocateProducerIDs(im, 1, 7)
	require.ErrorIs(t, err, kerr.StaleBrokerEpoch)
	require.ErrorContains(t, err, "Expected broker epoch 101, but got broker epoch 7")
	_, _, err = AllocateProducerIDs(im, 5, 7)
	require.ErrorContains(t, err, "No broker registration found for broker id 5")
	for i := range int64(3) {
		records, block, err := AllocateProducerIDs(im, 1, 101)
		require.NoError(t, err)
		require.Equal(t, ProducerIDBlock{i * 1000, 1000}, block)
		im = apply(t, im, records...)
	}
}
