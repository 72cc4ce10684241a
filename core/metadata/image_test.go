package metadata

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// apply applies records to the image at the next offset and fails the test when they do not fit.
func apply(t testing.TB, im *Image, records ...Record) *Image {
	t.Helper()
	next, _, err := im.Apply(Position{im.Offset + 1, 1}, records)
	require.NoError(t, err)
	return next
}

// history makes random records that fit the image.
type history struct{ rng *rand.Rand }

func (h history) ids(n int) []int32 {
	out := make([]int32, h.rng.IntN(n+1))
	for i := range out {
		out[i] = h.rng.Int32N(5)
	}
	return out
}

func (h history) list(n int) []int32 {
	if v := h.ids(n); len(v) > 0 {
		return v
	}
	return nil
}

func (h history) uuid() UUID {
	var u UUID
	for i := range u {
		u[i] = byte(h.rng.IntN(256))
	}
	return u
}

func (h history) topic(im *Image) *Topic {
	ts := im.Topics()
	if len(ts) == 0 {
		return nil
	}
	return ts[h.rng.IntN(len(ts))]
}

// next returns a record that fits, or nil.
func (h history) next(im *Image) Record {
	name := fmt.Sprintf("t%d", h.rng.IntN(8))
	switch h.rng.IntN(15) {
	case 0:
		return &NoOpRecord{}
	case 1:
		return &ClusterIDRecord{ClusterID: "c"}
	case 2:
		r := &RegisterBrokerRecord{BrokerID: h.rng.Int32N(5), IncarnationID: h.uuid(), Epoch: h.rng.Int64N(100), Fenced: h.rng.IntN(2) == 0, Rack: fmt.Sprint(h.rng.IntN(3)), InControlledShutdown: h.rng.IntN(2) == 0}
		for i := range h.rng.IntN(3) {
			r.Listeners = append(r.Listeners, Listener{Name: fmt.Sprint("L", i), Host: "h", Port: uint16(h.rng.IntN(65536)), SecurityProtocol: int16(i)})
			r.Features = append(r.Features, FeatureRange{Name: fmt.Sprint("f", i), Min: -1, Max: int16(i)})
			r.LogDirs = append(r.LogDirs, h.uuid())
		}
		return r
	case 3, 4:
		bs := im.Brokers()
		if len(bs) == 0 {
			return nil
		}
		b := bs[h.rng.IntN(len(bs))]
		if h.rng.IntN(4) == 0 {
			return &UnregisterBrokerRecord{BrokerID: b.ID, Epoch: b.Epoch}
		}
		return &BrokerRegistrationChangeRecord{BrokerID: b.ID, Epoch: b.Epoch, Fenced: Change(h.rng.IntN(3) - 1), InControlledShutdown: Change(h.rng.IntN(3) - 1)}
	case 5, 6:
		if im.Topic(name) != nil {
			return nil
		}
		return &TopicRecord{Name: name, ID: h.uuid()}
	case 7:
		if t := h.topic(im); t != nil && h.rng.IntN(3) == 0 {
			return &RemoveTopicRecord{ID: t.ID}
		}
	case 8, 9:
		if t := h.topic(im); t != nil {
			return &PartitionRecord{TopicID: t.ID, Partition: Partition{
				Index: int32(h.rng.IntN(len(t.Partitions) + 1)), Leader: h.rng.Int32N(5) - 1, LeaderEpoch: h.rng.Int32N(9), PartitionEpoch: h.rng.Int32N(9),
				Replicas: h.list(3), ISR: h.list(3), ELR: h.list(2), LastKnownELR: h.list(2), Adding: h.list(1), Removing: h.list(1), Recovery: LeaderRecovery(h.rng.IntN(2)),
			}}
		}
	case 10:
		if t := h.topic(im); t != nil && len(t.Partitions) > 0 {
			r := &PartitionChangeRecord{TopicID: t.ID, Partition: int32(h.rng.IntN(len(t.Partitions)))}
			if h.rng.IntN(2) == 0 {
				l := h.rng.Int32N(5) - 1
				r.Leader = &l
			}
			if h.rng.IntN(3) == 0 {
				v := LeaderRecovery(h.rng.IntN(2))
				r.Recovery = &v
			}
			for _, dst := range []*[]int32{&r.Replicas, &r.ISR, &r.ELR, &r.LastKnownELR, &r.Adding, &r.Removing} {
				if h.rng.IntN(2) == 0 {
					*dst = h.ids(2)
				}
			}
			return r
		}
	case 11:
		r := &ConfigRecord{Resource: ConfigResource{ResourceType(2 << h.rng.IntN(2)), name}, Key: fmt.Sprint("k", h.rng.IntN(3))}
		if h.rng.IntN(3) > 0 {
			v := fmt.Sprint(h.rng.IntN(9))
			r.Value = &v
		}
		return r
	case 12:
		if h.rng.IntN(2) == 0 {
			return &FeatureLevelRecord{Name: fmt.Sprint("f", h.rng.IntN(3)), Level: int16(h.rng.IntN(3))}
		}
		return &ProducerIDsRecord{BrokerID: 1, Epoch: 2, Next: im.NextProducerID + 1 + h.rng.Int64N(1000)}
	case 13:
		if t := h.topic(im); t != nil && h.rng.IntN(2) == 0 {
			return &ClearELRRecord{Topic: t.Name}
		}
		return &ClearELRRecord{}
	case 14:
		if t := h.topic(im); t != nil {
			r := &OfflineReplicasRecord{BrokerID: h.rng.Int32N(5), TopicID: t.ID}
			for i := range t.Partitions {
				if h.rng.IntN(2) == 0 {
					r.Partitions = append(r.Partitions, int32(i))
				}
			}
			return r
		}
	}
	return nil
}

// TestImageIsAFunctionOfItsRecords drives random histories and holds the package's invariants after each batch: the
// encoding keeps the records, an image is never changed by what is applied to it, a snapshot rebuilds the
// image, and the delta says what a comparison of the images says.
func TestImageIsAFunctionOfItsRecords(t *testing.T) {
	for seed := range uint64(40) {
		h := history{rand.New(rand.NewPCG(seed, 1))}
		im := Empty()
		for range 120 {
			var batch []Record
			scratch := im
			for range 1 + h.rng.IntN(6) {
				if r := h.next(scratch); r != nil {
					batch = append(batch, r)
					scratch = apply(t, scratch, r)
				}
			}
			b := Encode(nil, batch)
			decoded, err := Decode(b)
			require.NoError(t, err, "seed %d", seed)
			require.Equal(t, b, Encode(nil, decoded), "seed %d", seed)

			before := Encode(nil, im.Records())
			next, delta, err := im.Apply(Position{im.Offset + 1, 3}, decoded)
			require.NoError(t, err, "seed %d", seed)
			require.Equal(t, before, Encode(nil, im.Records()), "seed %d: the old image changed", seed)
			require.Equal(t, Encode(nil, scratch.Records()), Encode(nil, next.Records()), "seed %d: one batch or several", seed)
			require.Equal(t, Diff(im, next), delta, "seed %d", seed)

			again, _, err := Empty().Apply(Position{next.Offset, next.Epoch}, next.Records())
			require.NoError(t, err, "seed %d", seed)
			require.Equal(t, next, again, "seed %d: snapshot", seed)
			require.True(t, Diff(next, again).Empty())
			n := 0
			for _, topic := range next.Topics() {
				require.Same(t, topic, next.TopicByID(topic.ID))
				for i, p := range topic.Partitions {
					require.Equal(t, int32(i), p.Index)
					require.Same(t, &topic.Partitions[i], next.Partition(topic.Name, int32(i)))
				}
				n += len(topic.Partitions)
			}
			require.Equal(t, n, next.NumPartitions())
			im = next
		}
	}
}

func TestRecordsThatContradictTheImageAreRefused(t *testing.T) {
	id := UUID{1}
	im := apply(t, Empty(), &ClusterIDRecord{"c"}, &TopicRecord{"a", id}, &RegisterBrokerRecord{BrokerID: 1, Epoch: 5}, &ProducerIDsRecord{Next: 10})
	for _, r := range []Record{
		&ClusterIDRecord{"d"}, &TopicRecord{"a", UUID{2}}, &TopicRecord{"b", id}, &TopicRecord{"b", UUID{}}, &RemoveTopicRecord{UUID{3}},
		&PartitionRecord{TopicID: UUID{3}}, &PartitionRecord{TopicID: id, Partition: Partition{Index: 1}}, &PartitionRecord{TopicID: id, Partition: Partition{Index: -1}},
		&PartitionChangeRecord{TopicID: id}, &PartitionChangeRecord{TopicID: UUID{3}}, &UnregisterBrokerRecord{2, 5}, &UnregisterBrokerRecord{1, 4},
		&BrokerRegistrationChangeRecord{BrokerID: 1, Epoch: 4}, &ProducerIDsRecord{Next: 10}, &ClearELRRecord{"b"},
	} {
		_, _, err := im.Apply(Position{9, 9}, []Record{r})
		require.Error(t, err, "%T %+v", r, r)
	}
}

func TestLookups(t *testing.T) {
	im := apply(t, Empty(), &RegisterBrokerRecord{BrokerID: 2, Listeners: []Listener{{Name: "A", Host: "h", Port: 1}}}, &RegisterBrokerRecord{BrokerID: 1, Fenced: true},
		&TopicRecord{"__consumer_offsets", UUID{1}}, &FeatureLevelRecord{"f", 2})
	l, ok := im.Broker(2).Listener("A")
	require.True(t, ok)
	require.Equal(t, "h", l.Host)
	_, ok = im.Broker(2).Listener("B")
	require.False(t, ok)
	require.True(t, im.Broker(2).Active())
	require.False(t, im.Broker(1).Active())
	require.Equal(t, int32(1), im.Brokers()[0].ID)
	require.True(t, im.Topic("__consumer_offsets").Internal)
	require.Nil(t, im.Topic("x"))
	require.Nil(t, im.TopicByID(UUID{9}))
	require.Nil(t, im.Partition("__consumer_offsets", 0))
	require.Equal(t, int16(2), im.Feature("f"))
	require.Equal(t, 1, im.NumTopics())
	require.Nil(t, im.Config(ConfigResource{TopicResource, "x"}))
}

func TestUUIDText(t *testing.T) {
	for range 100 {
		u := RandomUUID()
		require.Len(t, u.String(), 22)
		require.NotEqual(t, byte('-'), u.String()[0])
		back, err := ParseUUID(u.String())
		require.NoError(t, err)
		require.Equal(t, u, back)
	}
	for _, bad := range []string{"", "abc", "!!!!!!!!!!!!!!!!!!!!!!", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		_, err := ParseUUID(bad)
		require.Error(t, err)
	}
}

func TestDecodeSaysWhatItDoesNotKnow(t *testing.T) {
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{nil, "cut short"}, {[]byte{'M'}, "cut short"}, {[]byte{'X', 1, 0}, "magic"}, {[]byte{'M', 2, 0}, "upgrade this node"},
		{[]byte{'M', 1, 1, 99, 1, 0}, "type 99 is not known"}, {[]byte{'M', 1, 1, 0, 2, 0}, "version 2 is not known"},
		{[]byte{'M', 1, 1, 0, 1, 1, 0}, "left over"}, {[]byte{'M', 1, 0, 0}, "left over"}, {[]byte{'M', 1, 0xff, 0xff, 0xff, 0xff, 0x0f}, "cut short"},
	} {
		_, err := Decode(c.b)
		require.ErrorContains(t, err, c.want)
	}
}

// FuzzDecode gives arbitrary bytes to the decoder: no panic, and what it accepts has one encoding of its records.
func FuzzDecode(f *testing.F) {
	h := history{rand.New(rand.NewPCG(7, 7))}
	im := Empty()
	var all []Record
	for range 300 {
		if r := h.next(im); r != nil {
			im = apply(f, im, r)
			all = append(all, r)
			f.Add(Encode(nil, []Record{r}))
		}
	}
	f.Add(Encode(nil, all))
	f.Fuzz(func(t *testing.T, b []byte) {
		rs, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Decode(Encode(nil, rs))
		require.NoError(t, err)
		require.Equal(t, rs, again)
		next, _, err := Empty().Apply(Position{1, 1}, rs)
		if err == nil {
			_, _, err = Empty().Apply(Position{1, 1}, next.Records())
			require.NoError(t, err)
		}
	})
}

func BenchmarkApplyOnManyTopics(b *testing.B) {
	im := Empty()
	var rs []Record
	for i := range 10_000 {
		id := UUID{byte(i), byte(i >> 8), 1}
		rs = append(rs, &TopicRecord{fmt.Sprint("t", i), id}, &PartitionRecord{TopicID: id, Partition: Partition{Replicas: []int32{1}, ISR: []int32{1}}})
	}
	im = apply(b, im, rs...)
	leader := int32(2)
	change := []Record{&PartitionChangeRecord{TopicID: UUID{1, 0, 1}, Leader: &leader}}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := im.Apply(Position{2, 1}, change); err != nil {
			b.Fatal(err)
		}
	}
}
