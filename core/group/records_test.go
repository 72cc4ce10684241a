package group

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/javahash"
)

type kafkaRecord struct {
	partition  int32
	key, value []byte
}

func kafkaRecords(t testing.TB) []kafkaRecord {
	f, err := os.Open("testdata/records.txt")
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	var list []kafkaRecord
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || fields[0] == "#" {
			continue
		}
		r := kafkaRecord{}
		for _, c := range fields[0] {
			r.partition = r.partition*10 + c - '0'
		}
		r.key, err = hex.DecodeString(fields[1])
		require.NoError(t, err)
		if fields[2] != "-" {
			r.value, err = hex.DecodeString(fields[2])
			require.NoError(t, err)
		}
		list = append(list, r)
	}
	require.NoError(t, lines.Err())
	require.NotEmpty(t, list)
	return list
}

func TestRecordsOfKafkaAreReadAndWrittenByteForByte(t *testing.T) {
	groups, offsets, tombstones := 0, 0, 0
	for _, r := range kafkaRecords(t) {
		kind, k, group, err := decodeKey(r.key)
		require.NoError(t, err)
		switch {
		case r.value == nil:
			tombstones++
		case kind == keyOffset:
			offsets++
			v, err := decodeOffsetValue(r.value)
			require.NoError(t, err)
			require.Equal(t, r.value, appendOffsetValue(nil, v), "group %s", k.group)
		default:
			groups++
			s := NewShard(Config{})
			require.NoError(t, s.Replay(StoredRecord{Key: r.key, Value: r.value, ProducerID: -1}))
			require.NoError(t, s.check())
			g := s.groups[group]
			require.Equal(t, r.value, g.appendValue(nil, func(m *member) []byte { return m.assignment }), "group %s", group)
		}
		if kind == keyOffset {
			require.Equal(t, r.key, appendOffsetKey(nil, k.group, k.topic, k.partition))
			group = k.group
		} else {
			require.Equal(t, r.key, appendGroupKey(nil, group))
		}
		require.Equal(t, r.partition, javahash.Partition(group, 50), "group %s", group)
	}
	require.NotZero(t, groups)
	require.NotZero(t, offsets)
	require.NotZero(t, tombstones)
}

func TestPartitionOfAGroupIsJavas(t *testing.T) {
	for group, hash := range map[string]int32{
		"": 0, "a": 97, "schema-registry": -2135014679, "connect-cluster": 1440343063, "groupe-é": 506365602,
		"\U0001F600": 1772899, "polygenelubricants": math.MinInt32,
	} {
		require.Equal(t, hash, javahash.String(group), "%q", group)
	}
	require.Equal(t, int32(0), javahash.Partition("polygenelubricants", 50)) // Math.abs of it is negative in Java
	require.Equal(t, int32(2), javahash.Partition("groupe-é", 50))
	require.Equal(t, 2, utf16Len("\U0001F600"))
}

func TestOlderRecordVersionsAreRead(t *testing.T) {
	for v := range int16(5) {
		kv := kmsg.NewOffsetCommitValue()
		kv.Version, kv.Offset, kv.Metadata, kv.CommitTimestamp, kv.ExpireTimestamp, kv.LeaderEpoch = v, 7, "m", 8, 9, 10
		kv.TopicID = topicID("orders")
		got, err := decodeOffsetValue(kv.AppendTo(nil))
		require.NoError(t, err)
		want := offsetValue{offset: 7, epoch: -1, metadata: "m", commitMs: 8, expireMs: -1}
		switch {
		case v == 1:
			want.expireMs = 9
		case v == 3:
			want.epoch = 10
		case v == 4:
			want.epoch, want.topicID = 10, topicID("orders")
		}
		require.Equal(t, want, got, "version %d", v)

		gv := kmsg.NewGroupMetadataValue()
		gv.Version, gv.ProtocolType, gv.Generation, gv.Protocol, gv.Leader = v, "consumer", 3, kmsg.StringPtr("range"), kmsg.StringPtr("m1")
		gv.CurrentStateTimestamp = 5
		m := kmsg.NewGroupMetadataValueMember()
		m.MemberID, m.InstanceID, m.SessionTimeoutMillis, m.RebalanceTimeoutMillis = "m1", kmsg.StringPtr("i1"), 10, 20
		m.Subscription, m.Assignment = []byte("s"), []byte("a")
		gv.Members = append(gv.Members, m)
		s := NewShard(Config{})
		require.NoError(t, s.Replay(StoredRecord{Key: appendGroupKey(nil, "g"), Value: gv.AppendTo(nil), ProducerID: -1}))
		g := s.groups["g"]
		require.Equal(t, stateStable, g.state)
		require.Equal(t, int32(3), g.generation)
		got1 := g.members["m1"]
		require.Equal(t, v >= 3, got1.static)
		require.Equal(t, []byte("a"), got1.assignment)
		require.Equal(t, []byte("s"), got1.metadataOf("range"))
		if v == 0 {
			require.Equal(t, int32(10), got1.rebalanceTimeoutMs)
		} else {
			require.Equal(t, int32(20), got1.rebalanceTimeoutMs)
		}
		if v >= 2 {
			require.Equal(t, int64(5), g.stateTs)
		} else {
			require.Equal(t, int64(-1), g.stateTs)
		}
	}
	// Key version 0 is the same as 1.
	key := appendOffsetKey(nil, "g", "t", 4)
	key[1] = 0
	_, k, _, err := decodeKey(key)
	require.NoError(t, err)
	require.Equal(t, offsetKey{"g", "t", 4}, k)
}

func TestRecordsThatCannotBeReadAreLeftOut(t *testing.T) {
	s := NewShard(Config{})
	offset := appendOffsetKey(nil, "g", "t", 0)
	for name, r := range map[string]StoredRecord{
		"no key":                    {},
		"short key":                 {Key: []byte{0}},
		"truncated offset key":      {Key: offset[:6]},
		"truncated group key":       {Key: []byte{0, 2, 0, 9}},
		"kind of a later feature":   {Key: []byte{0, 11, 0, 1, 'g'}, Value: []byte{0, 0}},
		"empty value":               {Key: offset, Value: []byte{}},
		"value of a later version":  {Key: offset, Value: []byte{0, 9, 0}},
		"truncated value":           {Key: offset, Value: []byte{0, 3, 0}},
		"group of a later version":  {Key: appendGroupKey(nil, "g"), Value: []byte{0, 9, 0}},
		"group with absurd members": {Key: appendGroupKey(nil, "g"), Value: append(emptyGroupValue(0)[:20], 0x7f, 0xff, 0xff, 0xff)},
	} {
		r.ProducerID = -1
		require.Error(t, s.Replay(r), name)
	}
	require.ErrorIs(t, s.Replay(StoredRecord{Key: []byte{0, 11, 0, 1, 'g'}, ProducerID: -1}), errUnknownKind)
	require.Empty(t, s.groups)
	require.Equal(t, int64(11), s.Stats().SkippedRecords)
	require.NoError(t, s.check())
}

func TestALoadKeepsTheFirstOfTwoMembersWithOneInstance(t *testing.T) {
	gv := kmsg.NewGroupMetadataValue()
	gv.Version, gv.ProtocolType, gv.Generation, gv.Protocol, gv.Leader = 3, "consumer", 3, kmsg.StringPtr("range"), kmsg.StringPtr("gone")
	for _, id := range []string{"a", "b", "a"} {
		m := kmsg.NewGroupMetadataValueMember()
		m.MemberID, m.InstanceID = id, kmsg.StringPtr("i")
		gv.Members = append(gv.Members, m)
	}
	s := NewShard(Config{})
	require.NoError(t, s.Replay(StoredRecord{Key: appendGroupKey(nil, "g"), Value: gv.AppendTo(nil), ProducerID: -1}))
	require.Len(t, s.groups["g"].members, 1)
	require.Equal(t, "a", s.groups["g"].leader.id)
	s.Step(Loaded{}, time.UnixMilli(1))
	require.NoError(t, s.check())
}

func TestSubscriptionIsParsedWithinItsBounds(t *testing.T) {
	good := []byte("\x00\x03\x00\x00\x00\x02\x00\x01a\x00\x02bc tail")
	topics, ok := parseSubscription(good)
	require.True(t, ok)
	require.Equal(t, []string{"a", "bc"}, topics)
	for n := range 13 {
		_, ok := parseSubscription(good[:n])
		require.False(t, ok, "%d bytes", n)
	}
	for _, bad := range []string{"\xff\xff\x00\x00\x00\x00", "\x00\x00\xff\xff\xff\xff", "\x00\x00\x7f\xff\xff\xff\x00\x00", "\x00\x00\x00\x00\x00\x01\xff\xff"} {
		_, ok := parseSubscription([]byte(bad))
		require.False(t, ok, "%q", bad)
	}
}

func FuzzReplay(f *testing.F) {
	for _, r := range kafkaRecords(f) {
		f.Add(r.key, r.value, int64(-1))
	}
	f.Add([]byte{0, 3}, []byte{}, int64(1))
	f.Fuzz(func(t *testing.T, key, value []byte, producer int64) {
		s := NewShard(Config{})
		for range 2 { // once onto nothing, once onto itself
			err := s.Replay(StoredRecord{Key: key, Value: value, ProducerID: producer})
			if err != nil && len(s.groups) > 1 {
				t.Fatalf("a bad record left groups: %v", err)
			}
		}
		_ = s.Replay(StoredRecord{Key: key, Value: value, ProducerID: -1})
		_ = s.Replay(StoredRecord{ProducerID: producer, Control: true, Commit: true})
		batches, _ := s.Step(Loaded{}, time.UnixMilli(1_700_000_000_000))
		if err := s.check(); err != nil {
			t.Fatal(err)
		}
		_, _ = s.Step(Tick{}, time.UnixMilli(1_800_000_000_000))
		for i := range batches {
			_, _ = s.Step(Appended{Seq: batches[i].Seq}, time.UnixMilli(1_800_000_000_000))
		}
		if err := s.check(); err != nil {
			t.Fatal(err)
		}
		// What it kept, it writes so that it reads the same.
		for _, g := range s.groups {
			if len(g.members) == 0 {
				continue
			}
			rec := Record{appendGroupKey(nil, g.id), g.appendValue(nil, func(m *member) []byte { return m.assignment })}
			again := NewShard(Config{})
			if err := again.Replay(StoredRecord{Key: rec.Key, Value: rec.Value, ProducerID: -1}); err != nil {
				t.Fatal(err)
			}
			if len(again.groups[g.id].members) != len(g.members) {
				t.Fatal("members were lost")
			}
		}
	})
}

func FuzzSubscription(f *testing.F) {
	f.Add([]byte("\x00\x03\x00\x00\x00\x02\x00\x01a\x00\x02bc tail"))
	f.Fuzz(func(t *testing.T, b []byte) {
		topics, ok := parseSubscription(b)
		if !ok {
			return
		}
		out := binary.BigEndian.AppendUint32(append([]byte{}, b[:2]...), uint32(len(topics)))
		for _, topic := range topics {
			out = appendString(out, topic)
		}
		require.Equal(t, b[:len(out)], out)
	})
}
