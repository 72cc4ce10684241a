package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// has is partitions of orders.
func (s *script) has(ps ...int32) []kmsg.ConsumerGroupHeartbeatRequestTopic {
	if len(ps) == 0 {
		return []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	return []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: s.peer.topicID("orders"), Partitions: ps}}
}

type beatOpt func(*kmsg.ConsumerGroupHeartbeatRequest)

func topicsOpt(names ...string) beatOpt {
	return func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = names }
}

func instanceOpt(id string) beatOpt {
	return func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.InstanceID = &id }
}

func ownedOpt(ps []kmsg.ConsumerGroupHeartbeatRequestTopic) beatOpt {
	return func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Topics = ps }
}

func assignorOpt(name string) beatOpt {
	return func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = &name }
}

func regexOpt(expr string) beatOpt {
	return func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicRegex = &expr }
}

// newBeat is a heartbeat that says nothing; with epoch 0 it joins orders.
func newBeat(group, member string, epoch int32, opts ...beatOpt) *kmsg.ConsumerGroupHeartbeatRequest {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Version, r.Group, r.MemberID, r.MemberEpoch, r.RebalanceTimeoutMillis = 1, group, member, epoch, -1
	if epoch == 0 {
		r.RebalanceTimeoutMillis = 60000
		r.SubscribedTopicNames = []string{"orders"}
		r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	for _, o := range opts {
		o(r)
	}
	return r
}

func (s *script) beat848(group, member string, epoch int32, opts ...beatOpt) *kmsg.ConsumerGroupHeartbeatResponse {
	return s.do(newBeat(group, member, epoch, opts...)).(*kmsg.ConsumerGroupHeartbeatResponse)
}

func (s *script) describe848(groups ...string) {
	r := kmsg.NewPtrConsumerGroupDescribeRequest()
	r.Version, r.Groups = 1, groups
	s.do(r)
}

func (s *script) list848(types ...string) {
	r := kmsg.NewPtrListGroupsRequest()
	r.Version, r.TypesFilter = 5, types
	s.do(r)
}

func (s *script) delete848(group string) {
	r := kmsg.NewPtrDeleteGroupsRequest()
	r.Version, r.Groups = 2, []string{group}
	s.do(r)
}

// embedded is the subscription of a classic consumer.
func embedded(version int16, owned []int32, topics ...string) string {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics = version, topics
	if len(owned) > 0 {
		m.OwnedPartitions = []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: "orders", Partitions: owned}}
	}
	m.Generation = -1
	return string(m.AppendTo(nil))
}

func embeddedPartitions(version int16, ps ...int32) string {
	a := kmsg.NewConsumerMemberAssignment()
	a.Version = version
	a.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: "orders", Partitions: ps}}
	return string(a.AppendTo(nil))
}

func classicJoin(group, member string, instance *string, owned ...int32) *kmsg.JoinGroupRequest {
	r := joinReq(9, group, member, instance, "range:"+embedded(1, owned, "orders"))
	r.ProtocolType = consumerProtocol
	return r
}

// classicMember joins a group as a classic consumer, in two steps if need be.
func (s *script) classicMember(group string, owned ...int32) *kmsg.JoinGroupResponse {
	r := s.do(classicJoin(group, "", nil)).(*kmsg.JoinGroupResponse)
	return s.do(classicJoin(group, r.MemberID, nil, owned...)).(*kmsg.JoinGroupResponse)
}

func TestConsumerGroupsAnswerAsKafka(t *testing.T) {
	var no [16]byte
	transcript(t, "848 lifecycle", func(s *script) {
		g := s.group("main")
		s.beat848(g, "m1", 0)
		s.beat848(g, "m1", 2)
		s.beat848(g, "m1", 2, ownedOpt(s.has(0, 1, 2)))
		s.beat848(g, "m1", 2, ownedOpt(s.has(0, 1, 2)), topicsOpt("orders"), func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMillis = 60000 })
		s.describe848(g, s.group("unknown"))
		s.list848("consumer")
		s.list848("Classic")
		for v := int16(5); v <= 6; v++ {
			s.do(describeReq(v, g))
		}
		for _, c := range []struct {
			version int16
			member  string
			epoch   int32
		}{{9, "m1", 2}, {9, "m1", 3}, {9, "m1", 1}, {9, "m2", 2}, {9, "", -1}, {8, "m1", 2}, {8, "", -1}} {
			s.do(commitReq(c.version, g, c.member, c.epoch, "orders", no, 0, 7, ""))
		}
		for _, c := range []struct {
			member string
			epoch  int32
		}{{"m1", 2}, {"m1", 1}, {"m2", 2}, {"", -1}} {
			f := fetchReq(9, g, true, "", no)
			if f.Groups[0].MemberEpoch = c.epoch; c.member != "" {
				f.Groups[0].MemberID = &c.member
			}
			s.do(f)
		}
		s.delete848(g)
		s.beat848(g, "m1", -1)
		s.beat848(g, "m1", 2)
		s.beat848(g, "m1", -1)
		s.describe848(g)
		s.do(commitReq(9, g, "", -1, "orders", no, 0, 9, ""))
		s.delete848(g)
		s.describe848(g)
		s.do(fetchReq(9, g, true, "", no))
	})
	transcript(t, "848 requests that cannot be", func(s *script) {
		g := s.group("main")
		s.beat848("", "m1", 0)
		s.beat848(g, "", 0)
		s.beat848(g, "", 5)
		s.beat848(g, "m1", 0, instanceOpt(""))
		s.beat848(g, "m1", 0, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RackID = new(string) })
		s.beat848(g, "m1", 0, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMillis = -1 })
		s.beat848(g, "m1", 0, ownedOpt(nil))
		s.beat848(g, "m1", 0, ownedOpt(s.has(1)))
		s.beat848(g, "m1", 0, topicsOpt())
		s.beat848(g, "m1", 0, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = nil })
		s.beat848(g, "m1", -2)
		s.beat848(g, "m1", -3)
		s.beat848(g, "m1", 0, assignorOpt("sticky"))
		s.beat848(g, "m1", 0, regexOpt("a("))
		s.beat848(g, "m1", 0, regexOpt("[z-a]"))
		s.beat848(g, "m1", 0, regexOpt("*"))
		s.beat848(g, "m1", 7)
		s.beat848(g, "m1", -1)
		s.describe848("")
		v0 := newBeat(g, "", 0)
		v0.Version = 0
		r := s.do(v0).(*kmsg.ConsumerGroupHeartbeatResponse)
		if r.MemberID != nil {
			s.beat848(g, *r.MemberID, r.MemberEpoch)
		}
	})
	transcript(t, "848 two members share", func(s *script) {
		g := s.group("main")
		s.beat848(g, "m1", 0)
		s.beat848(g, "m2", 0)
		s.beat848(g, "m1", 2, ownedOpt(s.has(0, 1, 2)))
		s.describe848(g)
		s.beat848(g, "m2", 3, ownedOpt(s.has()))
		s.beat848(g, "m1", 2)
		s.beat848(g, "m1", 2, ownedOpt(s.has(0, 1)))
		s.beat848(g, "m2", 3, ownedOpt(s.has()))
		s.beat848(g, "m2", 3, ownedOpt(s.has(2)))
		s.describe848(g)
		s.do(commitReq(9, g, "m1", 2, "orders", no, 0, 7, "")) // had it before the new epoch
		s.do(commitReq(9, g, "m1", 2, "orders", no, 2, 7, "")) // gave it up
		s.beat848(g, "m1", 2, ownedOpt(s.has(0)))              // did not hear of the new epoch
		s.beat848(g, "m1", 2, ownedOpt(s.has(2)))
		s.beat848(g, "m1", 9)
		s.beat848(g, "m2", -1)
		s.beat848(g, "m1", 3, ownedOpt(s.has(0, 1)))
		s.beat848(g, "m1", 0)
		s.describe848(g)
	})
	transcript(t, "848 subscriptions change", func(s *script) {
		g := s.group("main")
		s.beat848(g, "m1", 0, topicsOpt("orders", "audit", "absent"))
		s.beat848(g, "m1", 2, topicsOpt("audit"))
		s.describe848(g)
		s.beat848(g, "m1", 2, ownedOpt([]kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: s.peer.topicID("audit"), Partitions: []int32{0}}}))
		s.beat848(g, "m1", 3, topicsOpt())
		s.beat848(g, "m1", 3, ownedOpt(s.has()))
		s.beat848(g, "m1", 4, assignorOpt("range"), topicsOpt("orders"))
		s.describe848(g)
	})
	transcript(t, "848 static members", func(s *script) {
		g := s.group("main")
		s.beat848(g, "m1", 0, instanceOpt("i1"))
		s.beat848(g, "m2", 0, instanceOpt("i1"))
		s.beat848(g, "m1", 2, instanceOpt("i2"))
		s.beat848(g, "m2", 2, instanceOpt("i1"))
		s.beat848(g, "m2", -2, instanceOpt("i1"))
		s.beat848(g, "m1", -2, instanceOpt("i1"))
		s.describe848(g)
		s.beat848(g, "m1", 2, instanceOpt("i1"))
		s.beat848(g, "m3", 0, instanceOpt("i1"))
		s.describe848(g)
		s.beat848(g, "m1", 2, instanceOpt("i1"))
		s.do(leaveReq(5, g, leaver("", kmsg.StringPtr("i1")), leaver("m1", nil), leaver("", kmsg.StringPtr("i9"))))
		s.describe848(g)
	})
	transcript(t, "848 regular expressions", func(s *script) {
		g := s.group("main")
		s.beat848(g, "m1", 0, topicsOpt(), regexOpt("ord.*"))
		time.Sleep(300 * time.Millisecond)
		s.beat848(g, "m1", 2)
		s.describe848(g)
		s.beat848(g, "m2", 0, topicsOpt(), regexOpt("ord.*"))
		s.beat848(g, "m1", 3, ownedOpt(s.has(0, 1)))
		s.beat848(g, "m2", -1)
		s.describe848(g)
	})
	transcript(t, "848 range", func(s *script) {
		g := s.group("main")
		for i := range 4 {
			s.beat848(g, fmt.Sprint("m", i), 0, assignorOpt("range"), topicsOpt("orders", "audit"))
		}
		s.describe848(g)
	})
	transcript(t, "848 classic and back without members", func(s *script) {
		g := s.group("main")
		s.do(commitReq(9, g, "", -1, "orders", no, 0, 5, ""))
		s.beat848(g, "m1", 0)
		s.do(fetchReq(9, g, true, "", no))
		s.beat848(g, "m1", -1)
		j := s.classicMember(g)
		s.do(syncReq(4, g, j.MemberID, j.Generation, nil, j.MemberID, embeddedPartitions(1, 0, 1, 2)))
		s.do(describeReq(6, g))
		s.beat848(g, "m1", 3)
		s.beat848(g, "m1", -1)
		s.describe848(g)
		s.do(fetchReq(9, g, true, "", no))
		s.do(leaveReq(5, g, leaver(j.MemberID, nil)))
		s.list848()
		s.beat848(g, "m1", 0)
		s.list848()
	})
	transcript(t, "848 upgrade and downgrade", func(s *script) {
		g := s.group("main")
		j := s.classicMember(g)
		s.do(syncReq(4, g, j.MemberID, j.Generation, nil, j.MemberID, embeddedPartitions(1, 0, 1, 2)))
		s.beat848(g, "m1", 0)
		s.describe848(g)
		s.do(beatReq(g, j.MemberID, j.Generation, nil))
		s.do(commitReq(8, g, j.MemberID, j.Generation, "orders", no, 0, 7, ""))
		j2 := s.do(classicJoin(g, j.MemberID, nil, 0, 1, 2)).(*kmsg.JoinGroupResponse)
		s.do(syncReq(4, g, j.MemberID, j2.Generation, nil))
		s.do(beatReq(g, j.MemberID, j2.Generation, nil))
		s.describe848(g)
		j3 := s.do(classicJoin(g, j.MemberID, nil, 0, 1)).(*kmsg.JoinGroupResponse)
		s.do(syncReq(4, g, j.MemberID, j3.Generation, nil))
		s.do(beatReq(g, j.MemberID, j3.Generation, nil))
		s.beat848(g, "m1", j3.Generation)
		s.do(beatReq(g, "m1", j3.Generation, nil))
		s.do(beatReq(g, j.MemberID, 77, nil))
		s.describe848(g)
		s.do(commitReq(8, g, j.MemberID, j3.Generation, "orders", no, 0, 8, ""))
		s.beat848(g, "m1", -1)
		s.do(beatReq(g, j.MemberID, j3.Generation, nil))
		s.do(describeReq(6, g))
		s.list848()
		j4 := s.do(classicJoin(g, j.MemberID, nil, 0, 1)).(*kmsg.JoinGroupResponse)
		s.do(syncReq(4, g, j.MemberID, j4.Generation, nil, j.MemberID, embeddedPartitions(1, 0, 1, 2)))
		s.do(describeReq(6, g))
	})
	transcript(t, "848 a classic member changes over", func(s *script) {
		g := s.group("main")
		j := s.classicMember(g)
		s.do(syncReq(4, g, j.MemberID, j.Generation, nil, j.MemberID, embeddedPartitions(1, 0, 1, 2)))
		s.beat848(g, j.MemberID, 0)
		s.do(beatReq(g, j.MemberID, j.Generation, nil))
		s.describe848(g)
		k := s.do(classicJoin(g, "", kmsg.StringPtr("i1"))).(*kmsg.JoinGroupResponse)
		s.do(syncReq(4, g, k.MemberID, k.Generation, kmsg.StringPtr("i1")))
		s.describe848(g)
		s.beat848(g, "m1", 0, instanceOpt("i1"))
		s.beat848(g, "m1", -2, instanceOpt("i1"))
		s.beat848(g, j.MemberID, -1)
		l := s.do(classicJoin(g, "", kmsg.StringPtr("i1"))).(*kmsg.JoinGroupResponse) // the last of the other protocol
		s.do(syncReq(4, g, l.MemberID, l.Generation, kmsg.StringPtr("i1")))
		s.list848()
	})
	transcript(t, "848 upgrades that cannot be", func(s *script) {
		g := s.group("main")
		j := s.joined(s.enter(9, g, "x:a"))
		s.do(syncReq(4, g, j.MemberID, j.Generation, nil, j.MemberID, "work"))
		s.beat848(g, "m1", 0)
		g = s.group("custom")
		k := s.classicMember(g)
		a := kmsg.NewConsumerMemberAssignment()
		a.UserData = []byte("secret")
		s.do(syncReq(4, g, k.MemberID, k.Generation, nil, k.MemberID, string(a.AppendTo(nil))))
		s.beat848(g, "m1", 0)
		g = s.group("other")
		s.beat848(g, "m1", 0)
		s.do(joinReq(9, g, "", nil, "x:a"))
		r := joinReq(9, g, "", nil, "x:a")
		r.ProtocolType = "consumer"
		s.do(r)
		s.do(syncReq(4, g, "m1", 2, nil))
		s.do(beatReq(g, "m1", 2, nil))
		s.do(leaveReq(2, g, leaver("m9", nil)))
		d := kmsg.NewPtrOffsetDeleteRequest()
		d.Group = g
		for _, topic := range []string{"orders", "audit"} {
			dt := kmsg.NewOffsetDeleteRequestTopic()
			dt.Topic, dt.Partitions = topic, []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}
			d.Topics = append(d.Topics, dt)
		}
		s.do(d)
	})
}
