package broker

import (
	"cmp"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/wire"
)

// A large produce request is appended partition by partition while the rest of it is still arriving: the records of one are checked and written
// while they are in the processor's caches. A client whose connection ends in the middle has no answer, and does not know what was appended; it
// is the same to it whether that is nothing, a part or all. Requests of transactions are not taken apart: all of their partitions are in the
// transaction before anything is appended.

// Early implements server.EarlyHandler.
func (b *Broker) Early(h wire.Header) bool { return h.Key == int16(kmsg.Produce) }

// entriesCharged is for how many partitions of a request that arrives memory is charged at a time.
const entriesCharged = 4096

// early appends what the request holds as it arrives, and says whether all went well. With wire.ErrNotInParts the request is complete now, and
// nothing has happened. With any other error the connection must end; some of it may have been appended.
func (c *produceCall) early() (ok bool, err error) {
	defer c.later.Begin()
	c.results, c.parts, c.topics, c.txn = c.results[:0], c.parts[:0], c.topics[:0], nil
	c.waiting.Store(1) // this function
	var s wire.ProduceStream
	if err := s.Begin(&c.req, c.r.Version, c.r.BodySize(), c.part); err != nil {
		if !errors.Is(err, wire.ErrNotInParts) {
			return false, err
		}
		defer c.call().uncounted()()
		return false, cmp.Or(c.r.Whole(), err)
	}
	ok = true
	var topic *topicState
	for {
		more, err := s.Next()
		if err != nil {
			return false, err
		}
		for i := len(c.topics); i < len(c.req.Topics); i++ {
			if i > 0 {
				c.hide(topic, &c.req.Topics[i-1], &c.topics[i-1])
			}
			t := &c.req.Topics[i]
			topic = c.b.topicFor(t.Name, t.ID)
			c.topics = append(c.topics, wire.ProduceTopicResult{})
			nameTopic(&c.topics[i], topic, t)
		}
		if !more {
			break
		}
		slot := len(c.results)
		if slot%entriesCharged == entriesCharged-1 {
			if !c.b.decodeMemory.TryAcquire(entriesCharged * produceEntryBytes) {
				return false, errTooManyEntries
			}
			c.charged += entriesCharged * produceEntryBytes
		}
		if c.txn == nil && transactionalRecords(c.req.Partitions[slot].Records) { // without a transactional id
			c.txn = &produceTxn{denied: kerr.TransactionalIDAuthorizationFailed}
		}
		c.results, c.parts = append(c.results, wire.ProduceResult{}), append(c.parts, nil)
		if !c.appendOne(topic, slot) {
			ok = false
		}
	}
	for i := range c.topics {
		t := &c.req.Topics[i]
		c.topics[i].Partitions = c.results[t.First:t.End]
	}
	if n := len(c.topics); n > 0 {
		c.hide(topic, &c.req.Topics[n-1], &c.topics[n-1])
	}
	return ok, nil
}

// part returns the bytes of the body between two places when they are there.
func (c *produceCall) part(from, to int) ([]byte, error) {
	if !c.r.There(to) {
		c.later.Begin() // nobody else has those synced
		defer c.call().uncounted()()
	}
	return c.r.Part(from, to)
}
