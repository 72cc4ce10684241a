package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// rig drives one shard by hand. Batches become durable at once unless hold is set.
type rig struct {
	t     *testing.T
	s     *Shard
	now   int64
	hold  bool
	queue []Batch
	log   []Record
	resp  map[string]kmsg.Response
	notes []string
	ids   int
}

func newRig(t *testing.T, cfg Config) *rig {
	r := &rig{t: t, now: 1_000_000, resp: map[string]kmsg.Response{}}
	if cfg.InitialRebalanceDelayMs == 0 {
		cfg.InitialRebalanceDelayMs = -1
	}
	cfg.NewMemberSuffix = func() string { r.ids++; return fmt.Sprint(r.ids) }
	r.s = NewShard(cfg)
	r.step(Loaded{LeaderEpoch: 1})
	return r
}

func (r *rig) step(ev Event) {
	batches, effects := r.s.Step(ev, time.UnixMilli(r.now))
	for _, e := range effects {
		if e.Response == nil {
			r.notes = append(r.notes, e.Note)
			continue
		}
		name := e.Waiter.(string)
		require.NotContains(r.t, r.resp, name, "answered twice")
		r.resp[name] = e.Response
	}
	require.NoError(r.t, r.s.check())
	r.queue = append(r.queue, batches...)
	for !r.hold && len(r.queue) > 0 {
		r.settle(nil)
	}
}

// settle reports the oldest batch.
func (r *rig) settle(err error) {
	require.NotEmpty(r.t, r.queue)
	b := r.queue[0]
	r.queue = r.queue[1:]
	if err == nil {
		r.log = append(r.log, b.Records...)
	}
	r.step(Appended{Seq: b.Seq, Err: err})
}

// pass lets time pass, in steps in which a timer may fire.
func (r *rig) pass(ms int64) {
	end := r.now + ms
	for r.now < end {
		r.now = min(end, max(r.now, min(end, r.s.NextDeadline())))
		r.step(Tick{})
		if r.now < end && r.s.NextDeadline() <= r.now {
			require.Fail(r.t, "a timer does not go away")
		}
	}
}

func (r *rig) join(name string, version int16, member string, instance *string, opts ...func(*kmsg.JoinGroupRequest)) {
	q := joinReq(version, "g", member, instance, "x:"+name)
	for _, o := range opts {
		o(q)
	}
	r.step(JoinGroup{Context: RequestContext{ClientID: name, ClientHost: "/host"}, Request: q, Waiter: name})
}

// take is the answer to a request, once.
func take[R kmsg.Response](r *rig, name string) R {
	r.t.Helper()
	require.Contains(r.t, r.resp, name)
	resp := r.resp[name].(R)
	delete(r.resp, name)
	return resp
}

func (r *rig) joined(name string) *kmsg.JoinGroupResponse {
	r.t.Helper()
	return take[*kmsg.JoinGroupResponse](r, name)
}

// quiet is that the request is not answered yet.
func (r *rig) quiet(name string) {
	r.t.Helper()
	require.NotContains(r.t, r.resp, name)
}

func (r *rig) sync(name, member string, gen int32, instance *string, assignments ...string) {
	r.step(SyncGroup{Request: syncReq(4, "g", member, gen, instance, assignments...), Waiter: name})
}

func (r *rig) synced(name string) *kmsg.SyncGroupResponse {
	r.t.Helper()
	return take[*kmsg.SyncGroupResponse](r, name)
}

func (r *rig) beat(member string, gen int32) int16 {
	return r.s.Heartbeat(beatReq("g", member, gen, nil), r.now)
}

func (r *rig) commit(name, group, member string, gen int32, topic string, partition int32, offset int64, opts ...func(*kmsg.OffsetCommitRequest)) {
	q := commitReq(8, group, member, gen, topic, [16]byte{}, partition, offset, "")
	for _, o := range opts {
		o(q)
	}
	resp := kmsg.NewPtrOffsetCommitResponse()
	resp.Version = q.Version
	for _, t := range q.Topics {
		resp.Topics = append(resp.Topics, kmsg.OffsetCommitResponseTopic{
			Topic: t.Topic, Partitions: make([]kmsg.OffsetCommitResponseTopicPartition, len(t.Partitions)),
		})
	}
	r.step(OffsetCommit{Request: q, Response: resp, Names: []string{topic}, IDs: [][16]byte{topicID(topic)}, Waiter: name})
}

func (r *rig) committed(name string) int16 {
	r.t.Helper()
	return take[*kmsg.OffsetCommitResponse](r, name).Topics[0].Partitions[0].ErrorCode
}

func (r *rig) fetch(group, topic string, p int32) int64 {
	return r.s.fetchOffset(group, topic, [16]byte{}, p, false).offset
}

// stable brings members into a stable group, with version 3 and one protocol; it returns their ids.
func (r *rig) stable(names ...string) (ids []string, gen int32) {
	r.t.Helper()
	old := r.s.cfg.InitialRebalanceDelayMs
	r.s.cfg.InitialRebalanceDelayMs = 1
	for _, n := range names {
		r.join(n, 3, "", nil)
	}
	r.s.cfg.InitialRebalanceDelayMs = old
	r.pass(2)
	var assignments []string
	for _, n := range names {
		j := r.joined(n)
		require.Zero(r.t, j.ErrorCode)
		ids, gen = append(ids, j.MemberID), j.Generation
		assignments = append(assignments, j.MemberID, "work of "+n)
	}
	for i, n := range names {
		r.sync(n, ids[i], gen, nil, assignments...)
	}
	for _, n := range names {
		require.Zero(r.t, r.synced(n).ErrorCode)
	}
	return ids, gen
}

func (r *rig) state() string { return r.s.describe("g", 6).State }

// reload is a new shard from what is durable.
func (r *rig) reload() *Shard {
	s := NewShard(r.s.cfg)
	for _, rec := range r.log {
		require.NoError(r.t, s.Replay(StoredRecord{Key: rec.Key, Value: rec.Value, ProducerID: -1}))
	}
	s.Step(Loaded{LeaderEpoch: 2}, time.UnixMilli(r.now))
	require.NoError(r.t, s.check())
	return s
}
