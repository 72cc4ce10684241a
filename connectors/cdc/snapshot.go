package cdc

import (
	"context"
	"time"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
)

// Values of source.snapshot.
var (
	markFirst   = data.String("first")
	markFirstIn = data.String("first_in_data_collection")
	markTrue    = data.String("true")
	markLastIn  = data.String("last_in_data_collection")
	markLast    = data.String("last")
)

// Snapshot hands on the rows of tables as events of op r. One record is held back all the time, as the last one of a table and of the
// snapshot are marked: for each table BeginTable, Row for each row, EndTable; Finish at the end. It belongs to one goroutine.
type Snapshot struct {
	ctx       context.Context
	queue     *Queue
	met       *Metrics
	em        *Emitter
	partition map[string]any
	running   plugins.Offset // position of all records but the last
	chunk     int

	out   []plugins.SourceRecord
	bytes int64
	first bool  // no row was read yet
	rows  int64 // of the present table
}

// NewSnapshot begins to hand on the rows of so many tables until ctx is done. All records but the last are at position running.
func (r *Runner) NewSnapshot(ctx context.Context, partition map[string]any, running plugins.Offset, tables int) *Snapshot {
	r.Metrics.SnapshotTables.Store(int64(tables))
	r.Metrics.SnapshotTablesLeft.Store(int64(tables))
	return &Snapshot{ctx: ctx, queue: r.Queue, met: r.Metrics, em: r.Emitter, partition: partition, running: running, first: true,
		chunk: max(1, min(ChunkRecords, r.cfg.SnapshotFetchSize, r.cfg.MaxBatch))}
}

// BeginTable begins the next table.
func (s *Snapshot) BeginTable() { s.rows = 0 }

// Row hands on a row of table, of about size bytes in the source, with its source block. It waits for room in the queue.
func (s *Snapshot) Row(table *Table, row, source []data.Value, size int) error {
	// The held record is complete now; let full chunks go, all but the new one.
	if len(s.out) >= s.chunk {
		recs, bytes := s.out, s.bytes
		s.out, s.bytes = make([]plugins.SourceRecord, 0, s.chunk), 0
		if err := s.queue.Put(s.ctx, recs, bytes); err != nil {
			return err
		}
	}
	switch {
	case s.first:
		source[SourceSnapshot] = markFirst
	case s.rows == 0:
		source[SourceSnapshot] = markFirstIn
	default:
		source[SourceSnapshot] = markTrue
	}
	s.rows++
	s.first = false
	s.met.SnapshotRows.Add(1)
	now := time.Now().UnixNano()
	from := len(s.out)
	s.out = s.em.Append(s.out, &Change{Table: table, Op: OpRead, After: row, Source: source, Nanos: now})
	for i := from; i < len(s.out); i++ {
		s.out[i].SourcePartition, s.out[i].SourceOffset = s.partition, s.running
		s.bytes += RecordOverhead + 2*int64(size)
	}
	s.met.LastEventMillis.Store(now / 1e6)
	return nil
}

// EndTable marks the last row of the table and returns how many there were.
func (s *Snapshot) EndTable() (rows int64) {
	if s.rows > 0 && (s.rows > 1 || !s.isMarked(markFirst)) {
		s.mark(markLastIn)
	}
	return s.rows
}

// Finish marks the last row, puts it at position end and lets everything go.
func (s *Snapshot) Finish(end plugins.Offset) error {
	if n := len(s.out); n > 0 {
		s.mark(markLast)
		s.out[n-1].SourceOffset = end
	} else { // an empty database: the end is worth storing all the same
		s.out = append(s.out, plugins.SourceRecord{SourcePartition: s.partition, SourceOffset: end})
	}
	err := s.queue.Put(s.ctx, s.out, s.bytes)
	s.out, s.bytes = nil, 0
	return err
}

// mark sets source.snapshot of the held record, which nobody else has seen yet.
func (s *Snapshot) mark(v data.Value) {
	if st := s.out[len(s.out)-1].Value.Struct(); st != nil {
		st.Values[2].Struct().Values[SourceSnapshot] = v
	}
}

func (s *Snapshot) isMarked(v data.Value) bool {
	return s.out[len(s.out)-1].Value.Struct().Values[2].Struct().Values[SourceSnapshot].Equal(v)
}
