package wire

// FetchResponse builds the frame of a Fetch response, versions 4 to 18, as pieces for one vectored write: record
// batches stay where they are and are not copied. Call Begin, then for each topic Topic and Partition as often as
// announced and EndTopic, then Finish. A FetchResponse may be reused after the pieces were written.
type FetchResponse struct {
	version int16
	flex    bool
	buf     []byte
	cuts    []fetchCut
	records int
	pieces  [][]byte
}

type fetchCut struct {
	at      int // in buf
	records []byte
}

// FetchedPartition is the answer for one partition of a Fetch request.
type FetchedPartition struct {
	Index            int32
	ErrorCode        int16
	HighWatermark    int64
	LastStableOffset int64
	LogStartOffset   int64
	// Aborted is the list of aborted transactions; nil is answered as null, which is what read_uncommitted gets.
	Aborted []AbortedTransaction
	// PreferredReadReplica is -1 for "stay here".
	PreferredReadReplica int32
	// DivergingEpoch and DivergingEndOffset tell a follower where to truncate (KIP-595); epoch -1 leaves them out.
	DivergingEpoch     int32
	DivergingEndOffset int64
	// LeaderID and LeaderEpoch point to the new leader; LeaderID -1 leaves them out.
	LeaderID    int32
	LeaderEpoch int32
	// Records holds whole record batches. None are encoded as empty, never as null, which librdkafka needs.
	Records []byte
	// More holds further batches in their order. On the wire they follow Records in the same field.
	More [][]byte
}

// RecordBytes is the size of all its batches.
func (p *FetchedPartition) RecordBytes() int {
	n := len(p.Records)
	for _, m := range p.More {
		n += len(m)
	}
	return n
}

// AbortedTransaction is one aborted transaction among the records answered.
type AbortedTransaction struct {
	ProducerID  int64
	FirstOffset int64
}

// Begin starts a frame.
func (f *FetchResponse) Begin(version int16, correlationID, throttleMs int32, errorCode int16, sessionID int32, topics int) {
	f.version, f.flex = version, version >= 12
	f.cuts, f.records = f.cuts[:0], 0
	b := AppendResponseHeader(f.buf[:0], 1, version, correlationID)
	b = appendInt32(b, throttleMs)
	if version >= 7 {
		b = appendInt16(b, errorCode)
		b = appendInt32(b, sessionID)
	}
	f.buf = appendArrayLen(b, f.flex, topics)
}

// Topic starts a topic: its name is encoded before version 13, its id from there on.
func (f *FetchResponse) Topic(name string, id [16]byte, partitions int) {
	if f.version >= 13 {
		f.buf = append(f.buf, id[:]...)
	} else {
		f.buf = appendString(f.buf, f.flex, name)
	}
	f.buf = appendArrayLen(f.buf, f.flex, partitions)
}

// Partition adds a partition to the current topic. p.Records must stay unchanged until the frame was written.
func (f *FetchResponse) Partition(p *FetchedPartition) {
	b := appendInt32(f.buf, p.Index)
	b = appendInt16(b, p.ErrorCode)
	b = appendInt64(b, p.HighWatermark)
	b = appendInt64(b, p.LastStableOffset)
	if f.version >= 5 {
		b = appendInt64(b, p.LogStartOffset)
	}
	if p.Aborted == nil {
		b = appendArrayLen(b, f.flex, -1)
	} else {
		b = appendArrayLen(b, f.flex, len(p.Aborted))
		for _, a := range p.Aborted {
			b = appendInt64(b, a.ProducerID)
			b = appendInt64(b, a.FirstOffset)
			if f.flex {
				b = append(b, 0)
			}
		}
	}
	if f.version >= 11 {
		b = appendInt32(b, p.PreferredReadReplica)
	}
	n := p.RecordBytes()
	b = appendArrayLen(b, f.flex, n) // a byte array's length is encoded as an array's
	if n > 0 {
		f.cuts = append(f.cuts, fetchCut{at: len(b), records: p.Records})
		for _, m := range p.More {
			f.cuts = append(f.cuts, fetchCut{at: len(b), records: m})
		}
		f.records += n
	}
	if f.flex {
		b = p.appendTags(b)
	}
	f.buf = b
}

func (p *FetchedPartition) appendTags(b []byte) []byte {
	n := byte(0)
	if p.DivergingEpoch >= 0 {
		n++
	}
	if p.LeaderID >= 0 {
		n++
	}
	b = append(b, n)
	if p.DivergingEpoch >= 0 {
		b = append(b, 0, 13)
		b = appendInt32(b, p.DivergingEpoch)
		b = appendInt64(b, p.DivergingEndOffset)
		b = append(b, 0)
	}
	if p.LeaderID >= 0 {
		b = append(b, 1, 9)
		b = appendInt32(b, p.LeaderID)
		b = appendInt32(b, p.LeaderEpoch)
		b = append(b, 0)
	}
	return b
}

// EndTopic ends the topic that Topic began.
func (f *FetchResponse) EndTopic() {
	if f.flex {
		f.buf = append(f.buf, 0)
	}
}

// Finish ends the frame and returns it in pieces, in order; some are empty. The slice is valid until the next Begin.
func (f *FetchResponse) Finish(nodes []NodeEndpoint) [][]byte {
	if f.flex {
		f.buf = appendNodeEndpoints(f.buf, f.version >= 16, nodes)
	}
	FinishFrame(f.buf, f.records)
	f.pieces = f.pieces[:0]
	at := 0
	for _, c := range f.cuts {
		f.pieces = append(f.pieces, f.buf[at:c.at], c.records)
		at = c.at
	}
	f.pieces = append(f.pieces, f.buf[at:])
	return f.pieces
}

// Reset drops the references to records, keeping the buffers.
func (f *FetchResponse) Reset() {
	clear(f.cuts)
	clear(f.pieces[:cap(f.pieces)])
	f.cuts, f.pieces, f.records = f.cuts[:0], f.pieces[:0], 0
}

// RecordBytes is the size of all records added.
func (f *FetchResponse) RecordBytes() int { return f.records }
