package wire

import "github.com/twmb/franz-go/pkg/kmsg"

// API is one row of the version table.
type API struct {
	// Key and Name are Kafka's.
	Key  int16
	Name string
	// Min and Max are the versions advertised by ApiVersions.
	Min, Max int16
	// MinServed is the first version that is answered. It differs from Min for Produce: versions 0 to 2 must be
	// advertised or librdkafka switches off features (KAFKA-18659), and are refused since their message formats are gone.
	MinServed int16
	// Flexible is the first version with compact strings and tagged fields (KIP-482).
	Flexible int16
}

const never = 1<<15 - 1

// apis holds Apache Kafka 4.4's ranges, with the older minimums that clients in use still need.
var apis = []API{
	{Key: 0, Name: "Produce", Min: 0, MinServed: 3, Max: 13, Flexible: 9},
	{Key: 1, Name: "Fetch", Min: 4, Max: 18, Flexible: 12},
	{Key: 2, Name: "ListOffsets", Min: 0, Max: 11, Flexible: 6},
	{Key: 3, Name: "Metadata", Min: 0, Max: 13, Flexible: 9},
	{Key: 8, Name: "OffsetCommit", Min: 0, Max: 10, Flexible: 8},
	{Key: 9, Name: "OffsetFetch", Min: 0, Max: 10, Flexible: 6},
	{Key: 10, Name: "FindCoordinator", Min: 0, Max: 6, Flexible: 3},
	{Key: 11, Name: "JoinGroup", Min: 0, Max: 9, Flexible: 6},
	{Key: 12, Name: "Heartbeat", Min: 0, Max: 4, Flexible: 4},
	{Key: 13, Name: "LeaveGroup", Min: 0, Max: 5, Flexible: 4},
	{Key: 14, Name: "SyncGroup", Min: 0, Max: 5, Flexible: 4},
	{Key: 15, Name: "DescribeGroups", Min: 0, Max: 6, Flexible: 5},
	{Key: 16, Name: "ListGroups", Min: 0, Max: 5, Flexible: 3},
	{Key: 17, Name: "SaslHandshake", Min: 0, Max: 1, Flexible: never},
	{Key: 18, Name: "ApiVersions", Min: 0, Max: 5, Flexible: 3},
	{Key: 19, Name: "CreateTopics", Min: 0, Max: 7, Flexible: 5},
	{Key: 20, Name: "DeleteTopics", Min: 0, Max: 6, Flexible: 4},
	{Key: 21, Name: "DeleteRecords", Min: 0, Max: 2, Flexible: 2},
	{Key: 22, Name: "InitProducerId", Min: 0, Max: 5, Flexible: 2},
	{Key: 23, Name: "OffsetForLeaderEpoch", Min: 2, Max: 4, Flexible: 4},
	{Key: 24, Name: "AddPartitionsToTxn", Min: 0, Max: 5, Flexible: 3},
	{Key: 25, Name: "AddOffsetsToTxn", Min: 0, Max: 4, Flexible: 3},
	{Key: 26, Name: "EndTxn", Min: 0, Max: 5, Flexible: 3},
	{Key: 27, Name: "WriteTxnMarkers", Min: 1, Max: 2, Flexible: 1},
	{Key: 28, Name: "TxnOffsetCommit", Min: 0, Max: 6, Flexible: 3},
	{Key: 29, Name: "DescribeAcls", Min: 1, Max: 3, Flexible: 2},
	{Key: 30, Name: "CreateAcls", Min: 1, Max: 3, Flexible: 2},
	{Key: 31, Name: "DeleteAcls", Min: 1, Max: 3, Flexible: 2},
	{Key: 32, Name: "DescribeConfigs", Min: 1, Max: 4, Flexible: 4},
	{Key: 33, Name: "AlterConfigs", Min: 0, Max: 2, Flexible: 2},
	{Key: 34, Name: "AlterReplicaLogDirs", Min: 1, Max: 2, Flexible: 2},
	{Key: 35, Name: "DescribeLogDirs", Min: 1, Max: 5, Flexible: 2},
	{Key: 36, Name: "SaslAuthenticate", Min: 0, Max: 2, Flexible: 2},
	{Key: 37, Name: "CreatePartitions", Min: 0, Max: 3, Flexible: 2},
	{Key: 38, Name: "CreateDelegationToken", Min: 1, Max: 3, Flexible: 2},
	{Key: 39, Name: "RenewDelegationToken", Min: 1, Max: 2, Flexible: 2},
	{Key: 40, Name: "ExpireDelegationToken", Min: 1, Max: 2, Flexible: 2},
	{Key: 41, Name: "DescribeDelegationToken", Min: 1, Max: 3, Flexible: 2},
	{Key: 42, Name: "DeleteGroups", Min: 0, Max: 3, Flexible: 2},
	{Key: 43, Name: "ElectLeaders", Min: 0, Max: 2, Flexible: 2},
	{Key: 44, Name: "IncrementalAlterConfigs", Min: 0, Max: 1, Flexible: 1},
	{Key: 45, Name: "AlterPartitionReassignments", Min: 0, Max: 1, Flexible: 0},
	{Key: 46, Name: "ListPartitionReassignments", Min: 0, Max: 0, Flexible: 0},
	{Key: 47, Name: "OffsetDelete", Min: 0, Max: 0, Flexible: never},
	{Key: 48, Name: "DescribeClientQuotas", Min: 0, Max: 1, Flexible: 1},
	{Key: 49, Name: "AlterClientQuotas", Min: 0, Max: 1, Flexible: 1},
	{Key: 50, Name: "DescribeUserScramCredentials", Min: 0, Max: 0, Flexible: 0},
	{Key: 51, Name: "AlterUserScramCredentials", Min: 0, Max: 0, Flexible: 0},
	{Key: 55, Name: "DescribeQuorum", Min: 0, Max: 2, Flexible: 0},
	{Key: 57, Name: "UpdateFeatures", Min: 0, Max: 2, Flexible: 0},
	{Key: 60, Name: "DescribeCluster", Min: 0, Max: 2, Flexible: 0},
	{Key: 61, Name: "DescribeProducers", Min: 0, Max: 0, Flexible: 0},
	{Key: 64, Name: "UnregisterBroker", Min: 0, Max: 0, Flexible: 0},
	{Key: 65, Name: "DescribeTransactions", Min: 0, Max: 0, Flexible: 0},
	{Key: 66, Name: "ListTransactions", Min: 0, Max: 2, Flexible: 0},
	{Key: 68, Name: "ConsumerGroupHeartbeat", Min: 0, Max: 1, Flexible: 0},
	{Key: 69, Name: "ConsumerGroupDescribe", Min: 0, Max: 1, Flexible: 0},
	{Key: 74, Name: "ListConfigResources", Min: 0, Max: 1, Flexible: 0},
	{Key: 75, Name: "DescribeTopicPartitions", Min: 0, Max: 0, Flexible: 0},
	// Share and streams groups are off: these are answered with UNSUPPORTED_VERSION, as by Kafka with share.version and streams.version 0.
	// ShareFetch and ShareAcknowledge stop short of 2, by which franz-go's client knows whether a cluster has share groups.
	{Key: 76, Name: "ShareGroupHeartbeat", Min: 1, Max: 1, Flexible: 0},
	{Key: 77, Name: "ShareGroupDescribe", Min: 1, Max: 1, Flexible: 0},
	{Key: 78, Name: "ShareFetch", Min: 1, Max: 1, Flexible: 0},
	{Key: 79, Name: "ShareAcknowledge", Min: 1, Max: 1, Flexible: 0},
	{Key: 80, Name: "AddRaftVoter", Min: 0, Max: 1, Flexible: 0},
	{Key: 81, Name: "RemoveRaftVoter", Min: 0, Max: 0, Flexible: 0},
	{Key: 88, Name: "StreamsGroupHeartbeat", Min: 0, Max: 1, Flexible: 0},
	{Key: 89, Name: "StreamsGroupDescribe", Min: 0, Max: 1, Flexible: 0},
	{Key: 90, Name: "DescribeShareGroupOffsets", Min: 0, Max: 1, Flexible: 0},
	{Key: 91, Name: "AlterShareGroupOffsets", Min: 0, Max: 0, Flexible: 0},
	{Key: 92, Name: "DeleteShareGroupOffsets", Min: 0, Max: 0, Flexible: 0},
	{Key: 93, Name: "StreamsGroupTopologyDescriptionUpdate", Min: 0, Max: 0, Flexible: 0},
	{Key: 94, Name: "UnregisterController", Min: 0, Max: 0, Flexible: 0},
}

// byKey indexes apis by API key; a Max of -1 marks a hole.
var byKey = func() []API {
	t := make([]API, kmsg.MaxKey+1)
	for i := range t {
		t[i].Max = -1
	}
	for i, a := range apis {
		if a.MinServed == 0 {
			apis[i].MinServed = a.Min
		}
		t[a.Key] = apis[i]
	}
	return t
}()

// APIs returns the version table in the order of keys. The slice is shared and must not be changed.
func APIs() []API { return apis }

// Lookup returns the row of an API key, and false when this broker does not serve it.
func Lookup(key int16) (API, bool) {
	if key < 0 || int(key) >= len(byKey) || byKey[key].Max < 0 {
		return API{}, false
	}
	return byKey[key], true
}
