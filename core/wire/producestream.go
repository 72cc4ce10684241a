package wire

import (
	"errors"
	"fmt"
)

// ErrNotInParts says that a Produce request is to be decoded as a whole: it belongs to a transaction, which all of its partitions must be in before
// anything is appended.
var ErrNotInParts = errors.New("request is not decoded in parts")

// ProduceStream decodes a Produce request partition by partition while its frame is arriving, so that no more than one partition's records need be
// in memory. It takes what [ProduceRequest.Decode] takes, and nothing else.
type ProduceStream struct {
	req    *ProduceRequest
	size   int // of the body
	at     int // of the body, decoded
	part   func(from, to int) ([]byte, error)
	flex   bool
	topics int  // left, the one being decoded among them
	parts  int  // left of the topic being decoded
	open   bool // what follows the records of the last partition was not decoded
}

// Begin decodes what comes before the partitions of a body of size bytes. part returns those between two places when they are there, or an error,
// which Begin and Next then return. It is never asked for what comes before the first of the two again, and may overwrite then what it returned
// before. With ErrNotInParts it was asked for the beginning alone, and the request can be decoded as a whole.
func (s *ProduceStream) Begin(req *ProduceRequest, version int16, size int, part func(from, to int) ([]byte, error)) error {
	*s = ProduceStream{req: req, size: size, part: part, flex: version >= 9}
	req.Version = version
	req.Topics, req.Partitions, req.names = req.Topics[:0], req.Partitions[:0], req.names[:0]
	minTopic := 6
	if s.flex {
		minTopic = 3
	}
	err := s.parse(func(r *reader) {
		req.TransactionalID = r.str(s.flex)
		req.Acks, req.TimeoutMs = r.int16(), r.int32()
		s.topics = r.array(s.flex, minTopic)
	})
	if err == nil && req.TransactionalID != nil {
		return ErrNotInParts
	}
	if err == nil && s.topics > 0 {
		err = s.topic()
	}
	return err
}

// Next decodes the next partition, into the last places of the request's Partitions and Topics. ok is false at the end of the request. The End of a
// topic counts what was decoded. Its Records are there until Next is called again.
func (s *ProduceStream) Next() (ok bool, err error) {
	if s.open {
		if err := s.parse(s.skipTags); err != nil {
			return false, err
		}
		s.open = false
	}
	for s.topics > 0 && s.parts <= 0 {
		if err := s.parse(s.skipTags); err != nil {
			return false, err
		}
		if s.topics--; s.topics > 0 {
			if err := s.topic(); err != nil {
				return false, err
			}
		}
	}
	if s.topics <= 0 {
		return false, s.parse(s.skipTags)
	}
	s.parts--
	if len(s.req.Partitions)+len(s.req.Topics) > MaxEntries {
		return false, fmt.Errorf("decode Produce version %d: %w", s.req.Version, ErrTooMany)
	}
	var p ProducePartition
	n := 0
	if err := s.parse(func(r *reader) { p.Index, n = r.int32(), r.bytesLen(s.flex) }); err != nil {
		return false, err
	}
	if n > s.size-s.at || n < -1 {
		return false, fmt.Errorf("decode Produce version %d: %w", s.req.Version, ErrBadLength)
	}
	if n >= 0 {
		if p.Records, err = s.part(s.at, s.at+n); err != nil {
			return false, err
		}
		s.at += n
	}
	s.open = true
	s.req.Partitions = append(s.req.Partitions, p)
	s.req.Topics[len(s.req.Topics)-1].End = len(s.req.Partitions)
	return true, nil
}

func (s *ProduceStream) skipTags(r *reader) { r.tags(s.flex, nil) }

// topic decodes what comes before the partitions of a topic.
func (s *ProduceStream) topic() error {
	t := ProduceTopic{First: len(s.req.Partitions), End: len(s.req.Partitions)}
	minPartition := 8
	if s.flex {
		minPartition = 6
	}
	err := s.parse(func(r *reader) {
		if s.req.Version >= 13 {
			t.ID = r.uuid()
		} else {
			t.Name = r.str(s.flex)
		}
		s.parts = r.array(s.flex, minPartition)
	})
	if err != nil {
		return err
	}
	if len(t.Name) > 0 { // it is to outlive its part
		at := len(s.req.names)
		s.req.names = append(s.req.names, t.Name...)
		t.Name = s.req.names[at:len(s.req.names):len(s.req.names)]
	}
	s.req.Topics = append(s.req.Topics, t)
	return nil
}

// streamAhead is how much is waited for when what is there ends within a field.
const streamAhead = 4 << 10

// parse has fn decode what comes next. When the bytes that are there do not suffice it waits for more and calls fn again.
func (s *ProduceStream) parse(fn func(r *reader)) error {
	for have := min(s.at+streamAhead, s.size); ; have = min(have+max(streamAhead, have-s.at), s.size) {
		b, err := s.part(s.at, have)
		if err != nil {
			return err
		}
		r := reader{src: b}
		fn(&r)
		if r.err == nil {
			s.at = have - len(r.src)
			return nil
		}
		if have == s.size {
			return fmt.Errorf("decode Produce version %d: %w", s.req.Version, r.err)
		}
	}
}
