package wire

import (
	"errors"
	"fmt"
)

// ProduceRequest is a decoded Produce request, versions 3 to 13. It is made to be reused: Decode keeps the
// capacity of its slices. All byte slices are sub-slices of the frame.
type ProduceRequest struct {
	Version int16
	// TransactionalID is nil for a producer without transactions.
	TransactionalID []byte
	// Acks is 0, 1 or -1 in a valid request; it is not checked here.
	Acks int16
	// TimeoutMs bounds how long the producer wants to wait for replicas.
	TimeoutMs int32
	// Topics in the order of the request.
	Topics []ProduceTopic
	// Partitions of all topics, in order; a topic holds the range that is its own.
	Partitions []ProducePartition

	names []byte // of Topics, where they were decoded in parts
}

// MaxEntries bounds the topics and partitions of one Produce or Fetch request. An empty entry takes a few bytes of a frame
// and a hundred times that in memory; no honest client comes near.
const MaxEntries = 200_000

// ErrTooMany says that a request names more than MaxEntries topics or partitions.
var ErrTooMany = errors.New("request names too many topics or partitions")

// Shrink drops memory that an unusually large request has left behind.
func (p *ProduceRequest) Shrink() {
	if cap(p.Partitions) > keepEntries {
		p.Partitions = nil
	}
	if cap(p.Topics) > keepEntries {
		p.Topics = nil
	}
	if cap(p.names) > keepEntries {
		p.names = nil
	}
}

// keepEntries is how large slices a pooled request may keep.
const keepEntries = 4096

// ProduceTopic is one topic of a Produce request.
type ProduceTopic struct {
	// Name is set before version 13, ID from it on.
	Name []byte
	ID   [16]byte
	// First and End delimit this topic's partitions in ProduceRequest.Partitions.
	First, End int
}

// ProducePartition is the data for one partition.
type ProducePartition struct {
	Index int32
	// Records holds record batches back to back, nil when the field was null.
	Records []byte
}

// Decode reads the body of a Produce request. The records may be changed in place by the log afterwards.
func (p *ProduceRequest) Decode(version int16, body []byte) error {
	p.Version = version
	p.Topics, p.Partitions = p.Topics[:0], p.Partitions[:0]
	flex := version >= 9
	r := reader{src: body}
	p.TransactionalID = r.str(flex)
	p.Acks = r.int16()
	p.TimeoutMs = r.int32()
	minTopic, minPartition := 6, 8
	if flex {
		minTopic, minPartition = 3, 6
	}
	for n := r.array(flex, minTopic); n > 0 && r.err == nil; n-- {
		if len(p.Topics)+len(p.Partitions) > MaxEntries {
			r.fail(ErrTooMany)
			break
		}
		t := ProduceTopic{First: len(p.Partitions)}
		if version >= 13 {
			t.ID = r.uuid()
		} else {
			t.Name = r.str(flex)
		}
		for m := r.array(flex, minPartition); m > 0 && r.err == nil; m-- {
			if len(p.Partitions) > MaxEntries {
				r.fail(ErrTooMany)
				break
			}
			part := ProducePartition{Index: r.int32(), Records: r.bytes(flex)}
			r.tags(flex, nil)
			p.Partitions = append(p.Partitions, part)
		}
		r.tags(flex, nil)
		t.End = len(p.Partitions)
		p.Topics = append(p.Topics, t)
	}
	r.tags(flex, nil)
	if r.err != nil {
		return fmt.Errorf("decode Produce version %d: %w", version, r.err)
	}
	return nil
}

// ProduceResult is the answer for one partition of a Produce request.
type ProduceResult struct {
	Index     int32
	ErrorCode int16
	// BaseOffset is -1 with an error.
	BaseOffset int64
	// LogAppendTimeMs is -1 unless the topic stamps records itself.
	LogAppendTimeMs int64
	LogStartOffset  int64
	// RecordErrors names the records that made the batch fail (version 8 on).
	RecordErrors []RecordError
	// ErrorMessage explains ErrorCode, nil for none (version 8 on).
	ErrorMessage *string
	// LeaderID and LeaderEpoch point a client to the new leader (version 10 on), with NOT_LEADER_OR_FOLLOWER; LeaderID
	// -1 leaves them out. The zero value is therefore not "none": use -1.
	LeaderID    int32
	LeaderEpoch int32
}

// RecordError is one bad record of a batch.
type RecordError struct {
	BatchIndex int32
	Message    *string
}

// NodeEndpoint is the address of a leader that a Produce or Fetch response points to (KIP-951).
type NodeEndpoint struct {
	NodeID int32
	Host   string
	Port   int32
	Rack   *string
}

// ProduceTopicResult is one topic of a Produce response.
type ProduceTopicResult struct {
	Name       string
	ID         [16]byte
	Partitions []ProduceResult
}

// AppendProduceResponse appends a whole Produce response frame, versions 0 to 13 (0 to 2 carry only errors).
func AppendProduceResponse(dst []byte, version int16, correlationID int32, topics []ProduceTopicResult, nodes []NodeEndpoint, throttleMs int32) []byte {
	start := len(dst)
	flex := version >= 9
	dst = AppendResponseHeader(dst, 0, version, correlationID)
	dst = appendArrayLen(dst, flex, len(topics))
	for i := range topics {
		t := &topics[i]
		if version >= 13 {
			dst = append(dst, t.ID[:]...)
		} else {
			dst = appendString(dst, flex, t.Name)
		}
		dst = appendArrayLen(dst, flex, len(t.Partitions))
		for j := range t.Partitions {
			dst = t.Partitions[j].append(dst, version, flex)
		}
		if flex {
			dst = append(dst, 0)
		}
	}
	if version >= 1 {
		dst = appendInt32(dst, throttleMs)
	}
	if flex {
		dst = appendNodeEndpoints(dst, version >= 10, nodes)
	}
	FinishFrame(dst[start:], 0)
	return dst
}

func (p *ProduceResult) append(dst []byte, version int16, flex bool) []byte {
	dst = appendInt32(dst, p.Index)
	dst = appendInt16(dst, p.ErrorCode)
	dst = appendInt64(dst, p.BaseOffset)
	if version >= 2 {
		dst = appendInt64(dst, p.LogAppendTimeMs)
	}
	if version >= 5 {
		dst = appendInt64(dst, p.LogStartOffset)
	}
	if version >= 8 {
		dst = appendArrayLen(dst, flex, len(p.RecordErrors))
		for _, e := range p.RecordErrors {
			dst = appendInt32(dst, e.BatchIndex)
			dst = appendNullableString(dst, flex, e.Message)
			if flex {
				dst = append(dst, 0)
			}
		}
		dst = appendNullableString(dst, flex, p.ErrorMessage)
	}
	if flex {
		if version >= 10 && p.LeaderID >= 0 {
			dst = append(dst, 1, 0, 9) // one field: tag 0, nine bytes, itself ending in an empty tag section
			dst = appendInt32(dst, p.LeaderID)
			dst = appendInt32(dst, p.LeaderEpoch)
			return append(dst, 0)
		}
		dst = append(dst, 0)
	}
	return dst
}

// appendNodeEndpoints appends the tagged section that ends a Produce or Fetch response: tag 0 with the endpoints, if any.
func appendNodeEndpoints(dst []byte, allowed bool, nodes []NodeEndpoint) []byte {
	if !allowed || len(nodes) == 0 {
		return append(dst, 0)
	}
	body := appendUvarint(nil, uint32(len(nodes))+1)
	for _, n := range nodes {
		body = appendInt32(body, n.NodeID)
		body = appendString(body, true, n.Host)
		body = appendInt32(body, n.Port)
		body = appendNullableString(body, true, n.Rack)
		body = append(body, 0)
	}
	dst = append(dst, 1, 0)
	dst = appendUvarint(dst, uint32(len(body)))
	return append(dst, body...)
}
