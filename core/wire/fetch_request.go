package wire

import (
	"encoding/binary"
	"fmt"
)

// FetchRequest is a decoded Fetch request, versions 4 to 18. It is made to be reused, as ProduceRequest is.
type FetchRequest struct {
	Version int16
	// ReplicaID is -1 for a consumer; a follower's id otherwise. ReplicaEpoch is its broker epoch, or -1.
	ReplicaID    int32
	ReplicaEpoch int64
	MaxWaitMs    int32
	MinBytes     int32
	MaxBytes     int32
	// ReadCommitted is isolation level 1.
	ReadCommitted bool
	// SessionID and SessionEpoch are those of KIP-227: 0 and -1 before version 7.
	SessionID    int32
	SessionEpoch int32
	Topics       []FetchTopic
	Partitions   []FetchPartition
	// Forgotten partitions are to be removed from the session; their fields besides Index are not set.
	Forgotten           []FetchTopic
	ForgottenPartitions []int32
	Rack                []byte
	// ClusterID is nil unless the sender checks it.
	ClusterID []byte
}

// FetchTopic is one topic of a Fetch request.
type FetchTopic struct {
	Name []byte
	ID   [16]byte
	// First and End delimit the topic's partitions in FetchRequest.Partitions, or ForgottenPartitions.
	First, End int
}

// FetchPartition asks for one partition.
type FetchPartition struct {
	Index int32
	// CurrentLeaderEpoch is what the client believes, -1 for no check (KIP-320).
	CurrentLeaderEpoch int32
	FetchOffset        int64
	// LastFetchedEpoch is the epoch of the last record a follower has, -1 for none.
	LastFetchedEpoch int32
	// LogStartOffset is a follower's, -1 for a consumer.
	LogStartOffset int64
	MaxBytes       int32
	// DirectoryID is a follower's log directory, KIP-853. HighWatermark is what it knows, KIP-1166; MaxInt64 when absent.
	DirectoryID   [16]byte
	HighWatermark int64
}

// Decode reads the body of a Fetch request.
func (f *FetchRequest) Decode(version int16, body []byte) error {
	*f = FetchRequest{
		Version: version, ReplicaID: -1, ReplicaEpoch: -1, SessionEpoch: -1,
		Topics: f.Topics[:0], Partitions: f.Partitions[:0], Forgotten: f.Forgotten[:0], ForgottenPartitions: f.ForgottenPartitions[:0],
	}
	flex := version >= 12
	r := reader{src: body}
	if version <= 14 {
		f.ReplicaID = r.int32()
	}
	f.MaxWaitMs = r.int32()
	f.MinBytes = r.int32()
	f.MaxBytes = r.int32()
	f.ReadCommitted = r.int8() == 1
	if version >= 7 {
		f.SessionID = r.int32()
		f.SessionEpoch = r.int32()
	}
	minTopic, minPartition := 6, 16
	if flex {
		minTopic, minPartition = 3, 17
	}
	for n := r.array(flex, minTopic); n > 0 && r.err == nil; n-- {
		if len(f.Topics)+len(f.Partitions) > MaxEntries {
			r.fail(ErrTooMany)
			break
		}
		t := FetchTopic{First: len(f.Partitions)}
		t.Name, t.ID = fetchTopicName(&r, version, flex)
		for m := r.array(flex, minPartition); m > 0 && r.err == nil; m-- {
			if len(f.Partitions) > MaxEntries {
				r.fail(ErrTooMany)
				break
			}
			f.Partitions = append(f.Partitions, decodeFetchPartition(&r, version, flex))
		}
		r.tags(flex, nil)
		t.End = len(f.Partitions)
		f.Topics = append(f.Topics, t)
	}
	if version >= 7 {
		for n := r.array(flex, minTopic); n > 0 && r.err == nil; n-- {
			if len(f.Forgotten)+len(f.ForgottenPartitions) > MaxEntries {
				r.fail(ErrTooMany)
				break
			}
			t := FetchTopic{First: len(f.ForgottenPartitions)}
			t.Name, t.ID = fetchTopicName(&r, version, flex)
			for m := r.array(flex, 4); m > 0 && r.err == nil; m-- {
				if len(f.ForgottenPartitions) > MaxEntries {
					r.fail(ErrTooMany)
					break
				}
				f.ForgottenPartitions = append(f.ForgottenPartitions, r.int32())
			}
			r.tags(flex, nil)
			t.End = len(f.ForgottenPartitions)
			f.Forgotten = append(f.Forgotten, t)
		}
	}
	if version >= 11 {
		f.Rack = r.str(flex)
	}
	if flex {
		decodeFetchTags(&r, f)
	}
	if r.err != nil {
		return fmt.Errorf("decode Fetch version %d: %w", version, r.err)
	}
	return nil
}

// Shrink drops memory that an unusually large request has left behind.
func (f *FetchRequest) Shrink() {
	if cap(f.Partitions)+cap(f.Topics)+cap(f.Forgotten)+cap(f.ForgottenPartitions) > keepEntries {
		f.Partitions, f.Topics, f.Forgotten, f.ForgottenPartitions = nil, nil, nil, nil
	}
}

func fetchTopicName(r *reader, version int16, flex bool) (name []byte, id [16]byte) {
	if version >= 13 {
		return nil, r.uuid()
	}
	return r.str(flex), id
}

func decodeFetchPartition(r *reader, version int16, flex bool) FetchPartition {
	p := FetchPartition{CurrentLeaderEpoch: -1, LastFetchedEpoch: -1, LogStartOffset: -1, HighWatermark: 1<<63 - 1}
	p.Index = r.int32()
	if version >= 9 {
		p.CurrentLeaderEpoch = r.int32()
	}
	p.FetchOffset = r.int64()
	if version >= 12 {
		p.LastFetchedEpoch = r.int32()
	}
	if version >= 5 {
		p.LogStartOffset = r.int64()
	}
	p.MaxBytes = r.int32()
	if !flex || r.err != nil {
		return p
	}
	if len(r.src) > 0 && r.src[0] == 0 { // the usual case: no tagged fields
		r.src = r.src[1:]
		return p
	}
	r.tags(true, func(tag uint32, v []byte) {
		switch {
		case tag == 0 && version >= 17 && len(v) == 16:
			copy(p.DirectoryID[:], v)
		case tag == 1 && version >= 18 && len(v) == 8:
			p.HighWatermark = int64(binary.BigEndian.Uint64(v))
		}
	})
	return p
}

func decodeFetchTags(r *reader, f *FetchRequest) {
	if len(r.src) > 0 && r.src[0] == 0 {
		r.src = r.src[1:]
		return
	}
	var inner error
	r.tags(true, func(tag uint32, v []byte) {
		switch {
		case tag == 0:
			c := reader{src: v}
			f.ClusterID = c.str(true)
			inner = c.err
		case tag == 1 && f.Version >= 15:
			c := reader{src: v}
			f.ReplicaID, f.ReplicaEpoch = c.int32(), c.int64()
			inner = c.err
		}
	})
	if inner != nil {
		r.fail(inner)
	}
}
