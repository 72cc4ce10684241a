package group

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func joinReq(version int16, group, member string, instance *string, protocols ...string) *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Version, r.Group, r.MemberID, r.InstanceID = version, group, member, instance
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis, r.ProtocolType = 10000, 10000, "connect"
	for _, p := range protocols {
		name, metadata, _ := strings.Cut(p, ":")
		jp := kmsg.NewJoinGroupRequestProtocol()
		jp.Name, jp.Metadata = name, []byte(metadata)
		r.Protocols = append(r.Protocols, jp)
	}
	if version < 5 {
		r.InstanceID = nil
	}
	return r
}

func syncReq(version int16, group, member string, generation int32, instance *string, assignments ...string) *kmsg.SyncGroupRequest {
	r := kmsg.NewPtrSyncGroupRequest()
	r.Version, r.Group, r.MemberID, r.Generation, r.InstanceID = version, group, member, generation, instance
	for i := 0; i+1 < len(assignments); i += 2 {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = assignments[i], []byte(assignments[i+1])
		r.GroupAssignment = append(r.GroupAssignment, a)
	}
	return r
}

func beatReq(group, member string, generation int32, instance *string) *kmsg.HeartbeatRequest {
	r := kmsg.NewPtrHeartbeatRequest()
	r.Version, r.Group, r.MemberID, r.Generation, r.InstanceID = 4, group, member, generation, instance
	return r
}

func leaveReq(version int16, group string, members ...kmsg.LeaveGroupRequestMember) *kmsg.LeaveGroupRequest {
	r := kmsg.NewPtrLeaveGroupRequest()
	r.Version, r.Group = version, group
	if version < 3 {
		r.MemberID = members[0].MemberID
		return r
	}
	r.Members = members
	return r
}

func leaver(id string, instance *string) kmsg.LeaveGroupRequestMember {
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID, m.InstanceID = id, instance
	return m
}

func commitReq(version int16, group, member string, generation int32, topic string, id [16]byte, partition int32, offset int64, metadata string) *kmsg.OffsetCommitRequest {
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Version, r.Group, r.MemberID, r.Generation = version, group, member, generation
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.TopicID = topic, id
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset, p.Metadata, p.LeaderEpoch = partition, offset, kmsg.StringPtr(metadata), 5
	t.Partitions = append(t.Partitions, p)
	r.Topics = append(r.Topics, t)
	return r
}

func fetchReq(version int16, group string, all bool, topic string, id [16]byte, partitions ...int32) *kmsg.OffsetFetchRequest {
	r := kmsg.NewPtrOffsetFetchRequest()
	r.Version = version
	if version >= 8 {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = group
		if !all {
			t := kmsg.NewOffsetFetchRequestGroupTopic()
			t.Topic, t.TopicID, t.Partitions = topic, id, partitions
			g.Topics = append(g.Topics, t)
		}
		r.Groups = append(r.Groups, g)
		return r
	}
	r.Group = group
	if !all {
		t := kmsg.NewOffsetFetchRequestTopic()
		t.Topic, t.Partitions = topic, partitions
		r.Topics = append(r.Topics, t)
	}
	return r
}

func describeReq(version int16, groups ...string) *kmsg.DescribeGroupsRequest {
	r := kmsg.NewPtrDescribeGroupsRequest()
	r.Version, r.Groups = version, groups
	return r
}

// enter makes a new dynamic member join, through MEMBER_ID_REQUIRED where the version asks for it.
func (s *script) enter(version int16, group string, protocols ...string) <-chan kmsg.Response {
	r := joinReq(version, group, "", nil, protocols...)
	if version >= 4 {
		r.MemberID = s.do(joinReq(version, group, "", nil, protocols...)).(*kmsg.JoinGroupResponse).MemberID
	}
	return s.start(r)
}

func (s *script) joined(c <-chan kmsg.Response) *kmsg.JoinGroupResponse {
	return s.await(c).(*kmsg.JoinGroupResponse)
}

func TestTranscripts(t *testing.T) {
	str := kmsg.StringPtr
	transcript(t, "lifecycle of one member in every version", func(s *script) {
		for v := range int16(10) {
			g := s.group(string(rune('0' + v)))
			j := s.joined(s.enter(v, g, "a:meta"))
			sr := syncReq(min(v, 5), g, j.MemberID, j.Generation, nil, j.MemberID, "work")
			sr.ProtocolType, sr.Protocol = str("connect"), str("a")
			s.do(sr)
			hb := beatReq(g, j.MemberID, j.Generation, nil)
			hb.Version = min(v, 4)
			s.do(hb)
			s.do(describeReq(min(v, 6), g))
			s.do(leaveReq(min(v, 5), g, leaver(j.MemberID, nil)))
			s.do(describeReq(min(v, 6), g))
		}
	})
	transcript(t, "refusals", func(s *script) {
		g := s.group("main")
		s.do(joinReq(9, "", "", nil, "a:x"))
		s.do(joinReq(3, "", "", nil, "a:x"))
		for _, ms := range []int32{99, 1800001} {
			r := joinReq(9, g, "", nil, "a:x")
			r.SessionTimeoutMillis = ms
			s.do(r)
		}
		s.do(joinReq(9, g, "nobody", nil, "a:x"))
		s.do(describeReq(5, g))
		s.do(joinReq(9, s.group("no-protocols"), "", nil))
		s.do(describeReq(5, s.group("no-protocols")))
		untyped := joinReq(3, s.group("no-type"), "", nil, "a:x")
		untyped.ProtocolType = ""
		s.do(untyped)

		s.do(syncReq(4, g, "nobody", 1, nil))
		s.do(beatReq(g, "nobody", 1, nil))
		for _, v := range []int16{0, 2, 3, 5} {
			s.do(leaveReq(v, g, leaver("nobody", nil)))
		}
		s.do(syncReq(4, "", "nobody", 1, nil))
		s.do(beatReq("", "nobody", 1, nil))
		s.do(leaveReq(5, "", leaver("nobody", nil)))
		s.do(leaveReq(1, "", leaver("nobody", nil)))

		j := s.joined(s.enter(9, g, "a:x", "b:x"))
		s.do(beatReq(g, j.MemberID, j.Generation, nil))
		s.do(beatReq(g, j.MemberID, j.Generation+1, nil))
		s.do(beatReq(g, "nobody", j.Generation, nil))
		s.do(beatReq(g, j.MemberID, j.Generation, str("no-instance")))
		s.do(syncReq(4, g, "nobody", j.Generation, nil))
		s.do(syncReq(4, g, j.MemberID, j.Generation+1, nil))
		wrong := syncReq(5, g, j.MemberID, j.Generation, nil)
		s.do(wrong)
		wrong.ProtocolType, wrong.Protocol = str("consumer"), str("a")
		s.do(wrong)
		wrong = syncReq(5, g, j.MemberID, j.Generation, nil)
		wrong.ProtocolType, wrong.Protocol = str("connect"), str("b")
		s.do(wrong)
		s.do(describeReq(5, g))
		s.do(commitReq(9, g, j.MemberID, j.Generation, "orders", [16]byte{}, 0, 1, ""))
		s.do(syncReq(4, g, j.MemberID, j.Generation, nil, j.MemberID, "work", "stranger", "ignored"))
		s.do(syncReq(4, g, j.MemberID, j.Generation, nil, j.MemberID, "other work"))
		s.do(joinReq(9, g, "", nil, "c:x"))
		s.do(joinReq(1, g, "", nil, "c:x"))
		other := joinReq(9, g, "", nil, "a:x")
		other.ProtocolType = "consumer"
		s.do(other)
		s.do(joinReq(9, g, "nobody", nil, "a:x"))
		s.do(joinReq(9, g, j.MemberID, str("no-instance"), "a:x"))
		s.do(leaveReq(5, g, leaver("nobody", nil), leaver("", str("no-instance")), leaver(j.MemberID, str("no-instance")), leaver(j.MemberID, nil)))
		s.do(joinReq(9, g, j.MemberID, nil, "a:x"))
		s.do(describeReq(5, g))
	})
	transcript(t, "two members rebalance", func(s *script) {
		g := s.group("main")
		a := s.joined(s.enter(9, g, "x:a", "y:a"))
		s.do(syncReq(4, g, a.MemberID, a.Generation, nil, a.MemberID, "all"))
		bc := s.enter(9, g, "y:b", "x:b")
		s.quiet(bc)
		s.do(describeReq(6, g))
		s.do(beatReq(g, a.MemberID, a.Generation, nil))
		s.do(syncReq(4, g, a.MemberID, a.Generation, nil))
		s.do(commitReq(9, g, a.MemberID, a.Generation, "orders", [16]byte{}, 1, 17, "kept"))
		ac := s.start(joinReq(9, g, a.MemberID, nil, "y:a", "x:a"))
		a = s.joined(ac)
		b := s.joined(bc)
		s.do(commitReq(9, g, a.MemberID, a.Generation, "orders", [16]byte{}, 1, 18, "too early"))
		bs := s.start(syncReq(4, g, b.MemberID, b.Generation, nil))
		s.quiet(bs)
		s.do(joinReq(9, g, b.MemberID, nil, "y:b", "x:b")) // lost the answer: the same again
		s.do(syncReq(4, g, a.MemberID, a.Generation, nil, a.MemberID, "one half", b.MemberID, "other half"))
		s.await(bs)
		s.do(describeReq(6, g))
		s.do(joinReq(9, g, b.MemberID, nil, "y:b", "x:b"))
		s.do(beatReq(g, b.MemberID, b.Generation, nil))
		list := kmsg.NewPtrListGroupsRequest()
		list.Version = 5
		s.do(list)

		// the leader rejoins: a rebalance; the follower changes its metadata: another.
		ac = s.start(joinReq(9, g, a.MemberID, nil, "y:a", "x:a"))
		s.quiet(ac)
		s.do(beatReq(g, b.MemberID, b.Generation, nil))
		bc = s.start(joinReq(9, g, b.MemberID, nil, "y:b", "x:b"))
		a, b = s.joined(ac), s.joined(bc)
		bc = s.start(joinReq(9, g, b.MemberID, nil, "y:b2", "x:b2"))
		s.quiet(bc)
		s.do(syncReq(4, g, a.MemberID, a.Generation, nil, a.MemberID, "too late"))
		s.do(leaveReq(5, g, leaver(a.MemberID, nil)))
		b = s.joined(bc)
		s.do(syncReq(4, g, b.MemberID, b.Generation, nil, b.MemberID, "all"))
		s.do(fetchReq(7, g, true, "", [16]byte{}))
		s.do(leaveReq(2, g, leaver(b.MemberID, nil)))
		s.do(describeReq(6, g))
		s.do(list)
	})
	transcript(t, "initial rebalance delay waits for others", func(s *script) {
		g := s.group("main")
		ac := s.enter(9, g, "x:a")
		s.quiet(ac)
		bc := s.enter(9, g, "x:b")
		s.quiet(bc)
		s.do(describeReq(6, g))
		s.joined(ac)
		s.joined(bc)
	})
	transcript(t, "static member replaced in a stable group", func(s *script) {
		for _, v := range []int16{5, 9} {
			g := s.group(string(rune('0' + v)))
			l := s.joined(s.start(joinReq(v, g, "", str("leader"), "x:l")))
			s.do(syncReq(4, g, l.MemberID, l.Generation, str("leader"), l.MemberID, "all"))
			fc := s.start(joinReq(v, g, "", str("follower"), "x:f"))
			s.quiet(fc)
			lc := s.start(joinReq(v, g, l.MemberID, str("leader"), "x:l"))
			l = s.joined(lc)
			f := s.joined(fc)
			s.do(syncReq(4, g, l.MemberID, l.Generation, str("leader"), l.MemberID, "one", f.MemberID, "two"))
			s.do(syncReq(4, g, f.MemberID, f.Generation, str("follower")))

			f2 := s.joined(s.start(joinReq(v, g, "", str("follower"), "x:f")))
			s.do(syncReq(4, g, f2.MemberID, f2.Generation, str("follower")))
			s.do(beatReq(g, f.MemberID, f.Generation, str("follower")))
			s.do(beatReq(g, f.MemberID, f.Generation, nil))
			s.do(syncReq(4, g, f.MemberID, f.Generation, str("follower")))
			c := commitReq(9, g, f.MemberID, f.Generation, "orders", [16]byte{}, 0, 1, "")
			c.InstanceID = str("follower")
			s.do(c)
			s.do(joinReq(v, g, f.MemberID, str("follower"), "x:f"))
			s.do(leaveReq(5, g, leaver(f.MemberID, str("follower"))))
			s.do(beatReq(g, f2.MemberID, f2.Generation, str("follower")))

			l2 := s.joined(s.start(joinReq(v, g, "", str("leader"), "x:l")))
			s.do(syncReq(4, g, l2.MemberID, l2.Generation, str("leader")))
			s.do(beatReq(g, l2.MemberID, l2.Generation, str("leader")))
			s.do(describeReq(6, g))

			s.do(leaveReq(5, g, leaver("", str("leader")), leaver("", str("stranger"))))
			s.do(beatReq(g, f2.MemberID, f2.Generation, str("follower")))
			f3 := s.joined(s.start(joinReq(v, g, f2.MemberID, str("follower"), "x:f")))
			s.do(syncReq(4, g, f3.MemberID, f3.Generation, str("follower"), f3.MemberID, "all"))
			s.do(leaveReq(3, g, leaver(f3.MemberID, str("follower"))))
		}
	})
	transcript(t, "static member replaced while it waits", func(s *script) {
		g := s.group("main")
		l := s.joined(s.start(joinReq(9, g, "", str("l"), "x:l")))
		s.do(syncReq(4, g, l.MemberID, l.Generation, str("l"), l.MemberID, "all"))
		f := s.start(joinReq(9, g, "", str("f"), "x:f"))
		s.quiet(f)
		f2 := s.start(joinReq(9, g, "", str("f"), "x:f"))
		s.await(f)
		s.quiet(f2)
		l = s.joined(s.start(joinReq(9, g, l.MemberID, str("l"), "x:l")))
		fj := s.joined(f2)
		fs := s.start(syncReq(4, g, fj.MemberID, fj.Generation, str("f")))
		s.quiet(fs)
		f3 := s.start(joinReq(9, g, "", str("f"), "x:f"))
		s.await(fs)
		s.quiet(f3)
		s.do(beatReq(g, l.MemberID, l.Generation, str("l")))
		s.joined(s.start(joinReq(9, g, l.MemberID, str("l"), "x:l")))
		s.joined(f3)
	})
	transcript(t, "session timeout removes a member", func(s *script) {
		g := s.group("main")
		r := joinReq(9, g, "", nil, "x:a")
		r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = 400, 600
		r.MemberID = s.do(r).(*kmsg.JoinGroupResponse).MemberID
		j := s.joined(s.start(r))
		s.do(syncReq(4, g, j.MemberID, j.Generation, nil, j.MemberID, "all"))
		time.Sleep(1200 * time.Millisecond)
		s.do(beatReq(g, j.MemberID, j.Generation, nil))
		s.do(describeReq(6, g))
	})
	transcript(t, "a member that does not sync is removed", func(s *script) {
		g := s.group("main")
		r := joinReq(9, g, "", nil, "x:a")
		r.RebalanceTimeoutMillis = 600
		r.MemberID = s.do(r).(*kmsg.JoinGroupResponse).MemberID
		j := s.joined(s.start(r))
		time.Sleep(1200 * time.Millisecond)
		s.do(beatReq(g, j.MemberID, j.Generation, nil))
		s.do(describeReq(6, g))
	})
	transcript(t, "commit and fetch in every version", func(s *script) {
		for v := int16(2); v <= 10; v++ {
			g := s.group(string(rune('a' + v)))
			id := [16]byte{}
			if v == 10 {
				id = s.peer.topicID("orders")
			}
			r := commitReq(v, g, "", -1, "orders", id, 1, 40+int64(v), "note")
			more := commitReq(v, g, "", -1, "orders", id, 2, 99, strings.Repeat("m", 4097)).Topics[0].Partitions[0]
			missing := commitReq(v, g, "", -1, "orders", id, 3, 98, "").Topics[0].Partitions[0]
			null := commitReq(v, g, "", -1, "orders", id, 0, 97, "").Topics[0].Partitions[0]
			null.Metadata = nil
			r.Topics[0].Partitions = append(r.Topics[0].Partitions, more, missing, null)
			r.Topics = append(r.Topics, commitReq(v, g, "", -1, "absent", [16]byte{9}, 0, 1, "").Topics[0])
			s.do(r)
			s.do(fetchReq(max(v-1, 1), g, false, "orders", [16]byte{}, 0, 1, 2, 3))
			s.do(fetchReq(v, g, false, "orders", id, 1, 7))
			s.do(fetchReq(v, g, true, "", [16]byte{}))
			s.do(fetchReq(v, s.group("unknown"), false, "orders", id, 0))
			s.do(fetchReq(v, s.group("unknown"), true, "", [16]byte{}))
			s.do(describeReq(5, g))
		}
		s.do(fetchReq(9, s.group("m"), false, "absent", [16]byte{}, 0))
		s.do(fetchReq(10, s.group("m"), false, "", [16]byte{9}, 0))
		s.do(fetchReq(9, "", false, "orders", [16]byte{}, 0))
		multi := fetchReq(9, s.group("l"), true, "", [16]byte{})
		multi.Groups = append(multi.Groups, fetchReq(9, s.group("unknown"), false, "orders", [16]byte{}, 2).Groups...)
		multi.RequireStable = true
		s.do(multi)
		list := kmsg.NewPtrListGroupsRequest()
		list.Version = 5
		s.do(list)
	})
	transcript(t, "commit rules", func(s *script) {
		g := s.group("main")
		var no [16]byte
		s.do(commitReq(8, g, "", 0, "orders", no, 0, 1, ""))
		s.do(commitReq(9, g, "", 0, "orders", no, 0, 1, ""))
		s.do(commitReq(9, g, "nobody", -1, "orders", no, 0, 1, ""))
		s.do(commitReq(9, g, "nobody", 0, "orders", no, 0, 1, ""))
		j := s.joined(s.enter(9, g, "x:a"))
		s.do(commitReq(9, g, j.MemberID, j.Generation, "orders", no, 0, 2, ""))
		s.do(syncReq(4, g, j.MemberID, j.Generation, nil, j.MemberID, "all"))
		s.do(commitReq(9, g, j.MemberID, j.Generation, "orders", no, 0, 3, ""))
		s.do(commitReq(9, g, j.MemberID, j.Generation-1, "orders", no, 0, 4, ""))
		s.do(commitReq(9, g, j.MemberID, -1, "orders", no, 0, 5, ""))
		s.do(commitReq(9, g, "nobody", j.Generation, "orders", no, 0, 6, ""))
		s.do(commitReq(9, g, "", -1, "orders", no, 0, 7, ""))
		inst := commitReq(9, g, j.MemberID, j.Generation, "orders", no, 0, 8, "")
		inst.InstanceID = str("no-instance")
		s.do(inst)
		s.do(fetchReq(9, g, false, "orders", no, 0))
		s.do(leaveReq(5, g, leaver(j.MemberID, nil)))
		s.do(commitReq(9, g, j.MemberID, j.Generation, "orders", no, 0, 9, ""))
		s.do(commitReq(9, g, j.MemberID, -1, "orders", no, 0, 10, ""))
		s.do(commitReq(9, g, "", -1, "orders", no, 0, -1, ""))
		s.do(fetchReq(9, g, false, "orders", no, 0))
	})
	transcript(t, "commit with a retention of its own", func(s *script) {
		r := commitReq(4, s.group("main"), "", -1, "orders", [16]byte{}, 0, 1, "kept a day")
		r.RetentionTimeMillis = 86400000
		s.do(r)
		s.do(fetchReq(5, s.group("main"), true, "", [16]byte{}))
	})
	transcript(t, "deletions", func(s *script) {
		var no [16]byte
		g, simple := s.group("main"), s.group("simple")
		del := func(v int16, groups ...string) {
			r := kmsg.NewPtrDeleteGroupsRequest()
			r.Version, r.Groups = v, groups
			s.do(r)
		}
		delOffset := func(group, topic string, partitions ...int32) {
			r := kmsg.NewPtrOffsetDeleteRequest()
			r.Group = group
			dt := kmsg.NewOffsetDeleteRequestTopic()
			dt.Topic = topic
			for _, p := range partitions {
				dt.Partitions = append(dt.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: p})
			}
			r.Topics = append(r.Topics, dt)
			s.do(r)
		}
		del(2, g, "")
		delOffset(g, "orders", 0)
		delOffset("", "orders", 0)
		s.do(commitReq(9, simple, "", -1, "orders", no, 0, 1, ""))
		s.do(commitReq(9, simple, "", -1, "audit", no, 0, 1, ""))
		delOffset(simple, "orders", 0, 1, 9)
		delOffset(simple, "absent", 0)
		s.do(fetchReq(9, simple, true, "", no))
		delOffset(simple, "audit", 0)
		s.do(describeReq(6, simple))

		j := s.joined(s.enter(9, g, "x:a"))
		s.do(syncReq(4, g, j.MemberID, j.Generation, nil, j.MemberID, "all"))
		s.do(commitReq(9, g, j.MemberID, j.Generation, "orders", no, 0, 3, ""))
		delOffset(g, "orders", 0)
		del(2, g, simple, simple)
		s.do(leaveReq(5, g, leaver(j.MemberID, nil)))
		s.do(fetchReq(9, g, true, "", no))
		del(1, g)
		del(1, g)
		s.do(fetchReq(9, g, true, "", no))
		s.do(describeReq(6, g))
	})
	transcript(t, "offset delete in a consumer group", func(s *script) {
		var no [16]byte
		g := s.group("main")
		r := joinReq(3, g, "", nil, "range:\x00\x01\x00\x00\x00\x01\x00\x06orders\x00\x00\x00\x00\x00\x00\x00\x00")
		r.ProtocolType = "consumer"
		j := s.joined(s.start(r))
		s.do(syncReq(4, g, j.MemberID, j.Generation, nil, j.MemberID, "all"))
		s.do(commitReq(9, g, j.MemberID, j.Generation, "orders", no, 0, 3, ""))
		s.do(commitReq(9, g, j.MemberID, j.Generation, "audit", no, 0, 3, ""))
		d := kmsg.NewPtrOffsetDeleteRequest()
		d.Group = g
		for _, topic := range []string{"orders", "audit"} {
			dt := kmsg.NewOffsetDeleteRequestTopic()
			dt.Topic, dt.Partitions = topic, []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}
			d.Topics = append(d.Topics, dt)
		}
		s.do(d)
		s.do(fetchReq(9, g, true, "", no))
	})
	transcript(t, "list and describe", func(s *script) {
		var no [16]byte
		s.do(commitReq(9, s.group("simple"), "", -1, "orders", no, 0, 1, ""))
		j := s.joined(s.enter(9, s.group("stable"), "x:a"))
		s.do(syncReq(4, s.group("stable"), j.MemberID, j.Generation, nil, j.MemberID, "all"))
		s.joined(s.enter(9, s.group("completing"), "x:a"))
		s.do(joinReq(9, s.group("pending"), "", nil, "x:a"))
		time.Sleep(100 * time.Millisecond) // a new group is listed once it is durable
		for _, f := range [][2]string{{"", ""}, {"stable", ""}, {"Empty", ""}, {"COMPLETINGREBALANCE", ""}, {"nonsense", ""},
			{"", "classic"}, {"", "Classic"}, {"", "consumer"}, {"", "nonsense"}, {"stable", "classic"}} {
			r := kmsg.NewPtrListGroupsRequest()
			r.Version = 5
			if f[0] != "" {
				r.StatesFilter = []string{f[0]}
			}
			if f[1] != "" {
				r.TypesFilter = []string{f[1]}
			}
			s.do(r)
		}
		for _, v := range []int16{0, 3, 4} {
			r := kmsg.NewPtrListGroupsRequest()
			r.Version = v
			s.do(r)
		}
		for v := range int16(7) {
			s.do(describeReq(v, s.group("unknown"), s.group("stable"), s.group("pending"), s.group("completing"), s.group("simple")))
		}
	})
	transcript(t, "pending member leaves", func(s *script) {
		g := s.group("main")
		p := s.do(joinReq(9, g, "", nil, "x:a")).(*kmsg.JoinGroupResponse)
		s.do(leaveReq(5, g, leaver(p.MemberID, nil)))
		s.do(joinReq(9, g, p.MemberID, nil, "x:a"))
		p = s.do(joinReq(9, g, "", nil, "x:a")).(*kmsg.JoinGroupResponse)
		s.do(beatReq(g, p.MemberID, 0, nil))
		s.do(joinReq(9, g, p.MemberID, str("instance"), "x:a"))
	})
	transcript(t, "protocol by votes", func(s *script) {
		g := s.group("main")
		a := s.enter(9, g, "x:a", "y:a", "z:a")
		b := s.enter(9, g, "y:b", "x:b")
		c := s.enter(9, g, "w:c", "y:c", "x:c")
		s.joined(a)
		s.joined(b)
		s.joined(c)
	})
}
