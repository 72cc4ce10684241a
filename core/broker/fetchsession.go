package broker

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau-io/moldau/core/wire"
)

// Fetch sessions (KIP-227): a consumer that asks for the same partitions again and again sends only what changed, and is answered only
// about partitions with news. Invariant: a session's partitions and epoch change only under its lock, by the one request
// whose epoch is the session's next.

const (
	// initialEpoch asks for a new session, finalEpoch for an answer without one.
	initialEpoch = 0
	finalEpoch   = -1
	// sessionEviction is min.incremental.fetch.session.eviction.ms: an idle session gives way to a new one after that.
	sessionEviction = 2 * time.Minute
)

// partKey names a partition in a session: by topic id when the client uses them, else by name.
type partKey struct {
	name  string
	id    [16]byte
	index int32
}

// sessionPart is one partition of a session: what to fetch, and what the client was told last.
type sessionPart struct {
	key       partKey
	req       wire.FetchPartition
	told      bool
	highWater int64
	logStart  int64
	forgotten bool
	next      int64 // the offset after the last records it was answered with
}

// fetchSession is the state of one consumer.
type fetchSession struct {
	id     int32
	useIDs bool

	mu    sync.Mutex
	epoch int32 // what the next request must say
	parts map[partKey]*sessionPart
	order []*sessionPart // partitions answered with data move to the end, so that all get their turn

	ahead       *fetchAhead // nil for nothing
	aheadTimer  *time.Timer
	aheadMissed int // how often in a row it was of no use
	aheadSkip   int // answers after which nothing is read ahead

	// Guarded by the cache's lock.
	lastUsed time.Time
	size     int
}

// sessionCache holds the sessions of a broker.
type sessionCache struct {
	mu       sync.Mutex
	slots    int
	sessions map[int32]*fetchSession
	total    int // partitions of all sessions
	evicted  int64
	now      func() time.Time
}

// maxSessionPartitions bounds the partitions that all sessions hold together; Kafka's bound on the number of sessions alone
// would let each be of any size.
const maxSessionPartitions = 1_000_000

func newSessionCache(slots int, now func() time.Time) *sessionCache {
	return &sessionCache{slots: slots, sessions: map[int32]*fetchSession{}, now: now}
}

// add makes a session for size partitions, or returns nil when the cache is full of sessions in use. A full cache gives up its
// longest idle session if that was idle for sessionEviction.
func (c *sessionCache) add(size int, useIDs bool) *fetchSession {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.slots <= 0 || size > maxSessionPartitions {
		return nil
	}
	for len(c.sessions) >= c.slots || (c.total+size > maxSessionPartitions && len(c.sessions) > 0) {
		var oldest *fetchSession
		for _, s := range c.sessions {
			if oldest == nil || s.lastUsed.Before(oldest.lastUsed) {
				oldest = s
			}
		}
		if now.Sub(oldest.lastUsed) < sessionEviction {
			return nil
		}
		c.drop(oldest)
		c.evicted++
	}
	s := &fetchSession{useIDs: useIDs, epoch: 1, parts: make(map[partKey]*sessionPart, size), lastUsed: now, size: size}
	for {
		s.id = rand.Int32N(1<<31-1) + 1
		if _, taken := c.sessions[s.id]; !taken {
			break
		}
	}
	c.sessions[s.id] = s
	c.total += size
	return s
}

// drop takes a session out. It needs c.mu.
func (c *sessionCache) drop(s *fetchSession) {
	if c.sessions[s.id] == s {
		delete(c.sessions, s.id)
		c.total -= s.size
	}
}

// resize notes that a session has n partitions now, and says whether there is room for them.
func (c *sessionCache) resize(s *fetchSession, n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions[s.id] != s {
		return true // evicted meanwhile: it serves this request and no other
	}
	if c.total+n-s.size > maxSessionPartitions && n > s.size {
		c.drop(s)
		c.evicted++
		return false
	}
	c.total += n - s.size
	s.size = n
	return true
}

func (c *sessionCache) get(id int32) *fetchSession {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sessions[id]
	if s != nil {
		s.lastUsed = c.now()
	}
	return s
}

func (c *sessionCache) remove(id int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sessions[id]; s != nil {
		c.drop(s)
	}
}

// count returns the number of sessions and of their partitions, and how many were evicted ever.
func (c *sessionCache) count() (sessions, partitions int, evicted int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sessions), c.total, c.evicted
}

// open finds the session of a request and brings it up to date with it. It returns the session (nil for none), whether the
// answer is incremental, and a Kafka error code for the whole answer.
func (c *sessionCache) open(q *wire.FetchRequest) (s *fetchSession, incremental bool, code int16) {
	useIDs := q.Version >= 13
	switch {
	case q.Version < 7 || q.SessionEpoch == finalEpoch:
		if q.SessionID != 0 {
			c.remove(q.SessionID)
		}
		return nil, false, 0
	case q.SessionEpoch == initialEpoch:
		if q.SessionID != 0 {
			c.remove(q.SessionID)
		}
		s = c.add(len(q.Partitions), useIDs)
		if s != nil {
			s.mu.Lock()
			s.update(q)
			s.mu.Unlock()
		}
		return s, false, 0
	}
	s = c.get(q.SessionID)
	if s == nil {
		return nil, false, kerr.FetchSessionIDNotFound.Code
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.epoch != q.SessionEpoch:
		return nil, false, kerr.InvalidFetchSessionEpoch.Code
	case s.useIDs != useIDs:
		return nil, false, kerr.FetchSessionTopicIDError.Code
	}
	s.epoch = nextEpoch(s.epoch)
	s.update(q)
	if len(s.parts) == 0 {
		// Everything was forgotten: the session ends with this answer.
		c.remove(s.id)
		return nil, false, 0
	}
	if !c.resize(s, len(s.parts)) {
		return nil, false, kerr.FetchSessionIDNotFound.Code
	}
	return s, true, 0
}

// len is the number of partitions.
func (s *fetchSession) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.parts)
}

func nextEpoch(e int32) int32 {
	if e == 1<<31-1 {
		return 1
	}
	return e + 1
}

// update adds, changes and forgets partitions as the request says. It needs s.mu.
func (s *fetchSession) update(q *wire.FetchRequest) {
	for i := range q.Topics {
		t := &q.Topics[i]
		name := ""
		if !s.useIDs {
			name = string(t.Name)
		}
		for j := t.First; j < t.End; j++ {
			k := partKey{name: name, id: t.ID, index: q.Partitions[j].Index}
			p := s.parts[k]
			if p == nil {
				p = &sessionPart{key: k}
				s.parts[k] = p
				s.order = append(s.order, p)
			}
			p.req, p.next = q.Partitions[j], 0
		}
	}
	if len(q.Forgotten) == 0 {
		return
	}
	for i := range q.Forgotten {
		t := &q.Forgotten[i]
		for j := t.First; j < t.End; j++ {
			k := partKey{id: t.ID, index: q.ForgottenPartitions[j]}
			if !s.useIDs {
				k.name = string(t.Name)
			}
			if p := s.parts[k]; p != nil {
				p.forgotten = true
				delete(s.parts, k)
			}
		}
	}
	keep := s.order[:0]
	for _, p := range s.order {
		if !p.forgotten {
			keep = append(keep, p)
		}
	}
	clear(s.order[len(keep):])
	s.order = keep
}

// news says whether an incremental answer must name the partition, and notes that it was told. It needs s.mu.
func (p *sessionPart) news(f *wire.FetchedPartition) bool {
	changed := !p.told || len(f.Records) > 0 || f.ErrorCode != 0 || f.DivergingEpoch >= 0 || f.PreferredReadReplica >= 0 ||
		p.highWater != f.HighWatermark || p.logStart != f.LogStartOffset
	p.told = f.ErrorCode == 0 // after an error, the recovery is news too
	p.highWater, p.logStart = f.HighWatermark, f.LogStartOffset
	return changed
}

// rotate moves the partitions that moved says to the end, keeping their order. It needs s.mu.
func (s *fetchSession) rotate(moved map[*sessionPart]bool) {
	if len(moved) == 0 || len(moved) == len(s.order) {
		return
	}
	keep := make([]*sessionPart, 0, len(s.order))
	for _, p := range s.order {
		if !moved[p] {
			keep = append(keep, p)
		}
	}
	for _, p := range s.order {
		if moved[p] {
			keep = append(keep, p)
		}
	}
	s.order = keep
}
