package group

import "math"

// What a timer is for.
type timerKind uint8

const (
	timerSession      timerKind = iota // of a member, or of a pending member id
	timerJoin                          // the end of a join phase
	timerInitialDelay                  // the end of an empty group's initial rebalance delay
	timerSync                          // members that joined and do not sync
	timerCommit                        // answers that have waited too long for their records
	timerCleanup                       // the expiry of offsets and groups

	// Of a member of a KIP-848 group:
	timerConsumerSession   // its silence
	timerConsumerRebalance // to give up partitions
	timerConsumerJoin      // to join again, if it uses the classic protocol
	timerConsumerSync      // and to ask for its assignment
)

// timer is one deadline. Moving it later, which is what a heartbeat does, writes one field: the heap keeps
// the old time, and an entry that surfaces early is put back.
type timer struct {
	deadline int64 // when it is due, ms
	when     int64 // where it stands in the heap; never after deadline
	pos      int   // index in the heap + 1; 0: not set
	kind     timerKind
	group    *group
	member   *member
	pending  *pendingMember
	consumer *consumerGroup
	name     string // the member of consumer
}

func (t *timer) isSet() bool { return t.pos != 0 }

// timerHeap is a binary heap by when.
type timerHeap []*timer

// set moves the timer to deadline, and starts it if it does not run.
func (h *timerHeap) set(t *timer, deadline int64) {
	t.deadline = deadline
	switch {
	case t.pos == 0:
		t.when = deadline
		*h = append(*h, t)
		t.pos = len(*h)
		h.up(t.pos - 1)
	case deadline < t.when:
		t.when = deadline
		h.up(t.pos - 1)
	}
}

func (h *timerHeap) cancel(t *timer) {
	if t.pos == 0 {
		return
	}
	i, last := t.pos-1, len(*h)-1
	h.swap(i, last)
	(*h)[last] = nil
	*h = (*h)[:last]
	t.pos = 0
	if i < last {
		h.down(i)
		h.up(i)
	}
}

// due takes out a timer whose deadline is not after now, or nil.
func (h *timerHeap) due(now int64) *timer {
	for len(*h) > 0 {
		t := (*h)[0]
		if t.when > now {
			return nil
		}
		if t.deadline > t.when {
			t.when = t.deadline
			h.down(0)
			continue
		}
		h.cancel(t)
		return t
	}
	return nil
}

// next is when due may have something, math.MaxInt64 if never.
func (h *timerHeap) next() int64 {
	if len(*h) == 0 {
		return math.MaxInt64
	}
	return (*h)[0].when
}

func (h *timerHeap) swap(i, j int) {
	s := *h
	s[i], s[j] = s[j], s[i]
	s[i].pos, s[j].pos = i+1, j+1
}

func (h *timerHeap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if (*h)[parent].when <= (*h)[i].when {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *timerHeap) down(i int) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(*h); c++ {
			if (*h)[c].when < (*h)[least].when {
				least = c
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}
