package cli

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/moldau-io/moldau/core/log"
	"github.com/moldau-io/moldau/core/log/batch"
)

func (a *app) logCommand() *cobra.Command {
	c := noun("log", "The storage engine's files: verify a log directory, dump a file", a.logVerify(), a.logDump())
	c.Long = `The storage engine's files, read as they lie on disk. Nothing is written and nothing is locked: it works beside a running broker, whose last
write may then look like a torn tail. The files are Apache Kafka's, so its directories can be read as well.`
	a.commonFlags(c.PersistentFlags())
	return c
}

type problemRow struct {
	Severity string `json:"severity"`
	File     string `json:"file"`
	Position *int64 `json:"position,omitempty"`
	Length   *int64 `json:"length,omitempty"`
	First    *int64 `json:"first_offset,omitempty"`
	Next     *int64 `json:"next_offset,omitempty"`
	Message  string `json:"message"`
}

func known(v int64) *int64 {
	if v < 0 {
		return nil
	}
	return &v
}

func problems(l []log.Problem) []problemRow {
	rows := []problemRow{}
	for _, p := range l {
		rows = append(rows, problemRow{string(p.Severity), p.File, known(p.Position), known(p.Length), known(p.FirstOffset), known(p.NextOffset), p.Message})
	}
	return rows
}

type partitionReport struct {
	Path      string       `json:"path"`
	Topic     string       `json:"topic"`
	Partition int32        `json:"partition"`
	TopicID   string       `json:"topic_id,omitempty"`
	OK        bool         `json:"ok"`
	Start     int64        `json:"start_offset"`
	End       int64        `json:"end_offset"`
	Segments  int          `json:"segments"`
	Batches   int64        `json:"batches"`
	Records   int64        `json:"records"`
	Bytes     int64        `json:"bytes"`
	Producers int          `json:"producers"`
	Problems  []problemRow `json:"problems"`
}

func reportOf(r *log.PartitionReport) partitionReport {
	p := partitionReport{Path: r.Path, Topic: r.Topic, Partition: r.Partition, OK: r.OK(), Start: r.StartOffset, End: r.EndOffset, Segments: len(r.Segments),
		Batches: r.Batches, Records: r.Records, Bytes: r.Bytes, Producers: r.Producers, Problems: problems(r.Problems)}
	if r.HasTopicID {
		p.TopicID = base64.RawURLEncoding.EncodeToString(r.TopicID[:])
	}
	return p
}

func (a *app) logVerify() *cobra.Command {
	var records, all bool
	c := &cobra.Command{
		Use: "verify PATH...", Short: "Check log directories or partition folders: every batch, index and checkpoint", Args: cobra.MinimumNArgs(1),
		Long: `Check log directories (such as data/log) or partition folders (data/log/orders-0): checksums, the order of offsets, indexes, snapshots, epochs.

An error is data or an index that is wrong; a warning is what recovery mends at the next start (a torn tail, an index that is behind); info is what was
left over. The exit code is 1 when there is an error.`,
		RunE: func(_ *cobra.Command, args []string) error {
			v, err := verify(args, log.VerifyOptions{Records: records})
			if err != nil {
				return err
			}
			return a.emitVerified(v, all)
		},
	}
	c.Flags().BoolVar(&records, "records", false, "decompress and read every record too")
	c.Flags().BoolVar(&all, "all", false, "list sound partitions too when there are more than 20")
	return c
}

// verified is what a verification found.
type verified struct {
	partitions []partitionReport
	dirs       []problemRow // of the directories themselves
}

func verify(paths []string, opts log.VerifyOptions) (v verified, err error) {
	for _, path := range paths {
		if st, err := os.Stat(path); err != nil {
			return v, pathError(err)
		} else if !st.IsDir() {
			return v, usagef("moldau log dump shows single files", "%s is no directory", path)
		}
		if log.IsPartitionFolder(path) {
			r, err := log.VerifyPartition(path, opts)
			if err != nil {
				return v, fmt.Errorf("verify %s: %w", path, err)
			}
			v.partitions = append(v.partitions, reportOf(r))
			continue
		}
		r, err := log.VerifyDir(path, opts, func(p *log.PartitionReport) { v.partitions = append(v.partitions, reportOf(p)) })
		if err != nil {
			return v, fmt.Errorf("verify %s: %w", path, err)
		}
		v.dirs = append(v.dirs, problems(r.Problems)...)
	}
	slices.SortFunc(v.partitions, func(x, y partitionReport) int { return strings.Compare(x.Path, y.Path) })
	return v, nil
}

// damaged counts the partitions with errors, and the errors of directories.
func (v *verified) damaged() int {
	n := 0
	for i := range v.partitions {
		if !v.partitions[i].OK {
			n++
		}
	}
	for _, p := range v.dirs {
		if p.Severity == "error" {
			n++
		}
	}
	return n
}

// manyPartitions is from how many on sound ones are not listed.
const manyPartitions = 20

func (v *verified) tables(all bool) []*table {
	t := &table{head: []string{"TOPIC", "PARTITION", "STATE", "START", "END", "SEGMENTS", "BATCHES", "RECORDS", "BYTES"}}
	pt := &table{head: []string{"SEVERITY", "FILE", "POSITION", "OFFSETS", "PROBLEM"}}
	note := func(l []problemRow) {
		for _, p := range l {
			var offsets any
			if p.First != nil || p.Next != nil {
				offsets = cell(p.First) + ".." + cell(p.Next)
			}
			pt.add(p.Severity, p.File, p.Position, offsets, p.Message)
		}
	}
	for _, p := range v.partitions {
		state := "ok"
		if len(p.Problems) > 0 {
			state = "noted"
		}
		if !p.OK {
			state = "DAMAGED"
		}
		if all || state != "ok" || len(v.partitions) <= manyPartitions {
			t.add(p.Topic, p.Partition, state, p.Start, p.End, p.Segments, p.Batches, p.Records, p.Bytes)
		}
		note(p.Problems)
	}
	note(v.dirs)
	return slices.DeleteFunc([]*table{t, pt}, func(t *table) bool { return len(t.rows) == 0 })
}

func (a *app) emitVerified(v verified, all bool) error {
	bad := v.damaged()
	if err := a.emit(struct {
		OK         bool              `json:"ok"`
		Partitions []partitionReport `json:"partitions"`
		Problems   []problemRow      `json:"problems"`
	}{bad == 0, list(v.partitions), list(v.dirs)}, v.tables(all)...); err != nil {
		return err
	}
	if bad > 0 {
		return &Error{Code: exitFailed, Err: fmt.Errorf("%d of %d partitions or directories are damaged", bad, len(v.partitions))}
	}
	if !a.json {
		fmt.Fprintf(a.Out, "%d partitions checked\n", len(v.partitions))
	}
	return nil
}

func pathError(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &Error{Code: exitNotFound, Err: err}
	}
	return err
}

type dumpFlags struct {
	records  bool
	from, to int64
	max      int
}

func (a *app) logDump() *cobra.Command {
	var f dumpFlags
	c := &cobra.Command{
		Use: "dump FILE...", Short: "Show the content of a segment, index, snapshot, checkpoint or any other file of a log", Args: cobra.MinimumNArgs(1),
		Long: `Show the content of a file of a log: .log, .index, .timeindex, .txnindex, .snapshot, leader-epoch-checkpoint, partition.metadata, the checkpoints and
meta.properties of a log directory. Each line (with --json each document) is one batch, record or entry. Damage is shown where it is, and what
comes after it goes on. The exit code is 1 when there was damage.`,
		Example: `  moldau log dump data/log/orders-0/00000000000000000000.log --records --from 100 --max 10`,
		RunE: func(_ *cobra.Command, args []string) error {
			damaged := false
			for i, path := range args {
				if len(args) > 1 && !a.json {
					if i > 0 {
						fmt.Fprintln(a.Out)
					}
					fmt.Fprintln(a.Out, path)
				}
				bad, err := a.dump(path, f)
				if err != nil {
					return fmt.Errorf("dump %s: %w", path, pathError(err))
				}
				damaged = damaged || bad
			}
			if damaged {
				return &Error{Code: exitFailed, Err: errors.New("there is damage")}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&f.records, "records", false, "show the records of a segment, not only its batches")
	c.Flags().Int64Var(&f.from, "from", 0, "begin at the batch that holds this offset")
	c.Flags().Int64Var(&f.to, "to", -1, "end before this offset")
	c.Flags().IntVar(&f.max, "max", 0, "end after so many batches")
	return c
}

type batchRow struct {
	Position      int64           `json:"position"`
	Size          int64           `json:"size"`
	Base          *int64          `json:"base_offset,omitempty"`
	Last          *int64          `json:"last_offset,omitempty"`
	Count         *int32          `json:"records,omitempty"`
	Epoch         *int32          `json:"leader_epoch,omitempty"`
	Codec         string          `json:"compression,omitempty"`
	Timestamp     *int64          `json:"max_timestamp,omitempty"`
	TimestampType string          `json:"timestamp_type,omitempty"`
	ProducerID    *int64          `json:"producer_id,omitempty"`
	ProducerEpoch *int16          `json:"producer_epoch,omitempty"`
	Sequence      *int32          `json:"base_sequence,omitempty"`
	Transactional bool            `json:"transactional,omitempty"`
	Control       bool            `json:"control,omitempty"`
	Horizon       *int64          `json:"delete_horizon_ms,omitempty"`
	CRC           *uint32         `json:"crc,omitempty"`
	Error         string          `json:"error,omitempty"`
	Contents      []segmentRecord `json:"contents,omitempty"`
}

type segmentRecord struct {
	Offset    int64        `json:"offset"`
	Timestamp int64        `json:"timestamp"`
	Key       *string      `json:"key"`
	Value     *string      `json:"value"`
	KeyHex    string       `json:"key_hex,omitempty"`
	ValueHex  string       `json:"value_hex,omitempty"`
	Headers   []jsonHeader `json:"headers,omitempty"`
	Marker    string       `json:"marker,omitempty"`
}

// shown is text when it is text and hexadecimal otherwise.
func shown(b []byte) (*string, string) {
	switch {
	case b == nil:
		return nil, ""
	case utf8.Valid(b):
		s := string(b)
		return &s, ""
	}
	return nil, hex.EncodeToString(b)
}

func ptr[T any](v T) *T { return &v }

func (a *app) dump(path string, f dumpFlags) (damaged bool, err error) {
	if _, err := os.Stat(path); err != nil {
		return false, err
	}
	kind, _ := log.KindOf(path)
	rows := func(head []string, n int, row func(i int) ([]any, any)) error {
		t := &table{head: head}
		for i := range n {
			cells, v := row(i)
			if a.json {
				if err := a.line(v); err != nil {
					return err
				}
				continue
			}
			t.add(cells...)
		}
		if a.json {
			return nil
		}
		return t.write(a.Out)
	}
	switch kind {
	case log.KindLog, log.KindDeleted, log.KindCleaned, log.KindSwap, log.KindCorrupt:
		return a.dumpSegment(path, f)
	case log.KindIndex:
		l, err := log.DumpOffsetIndex(path)
		return false, errors.Join(err, rows([]string{"OFFSET", "POSITION"}, len(l), func(i int) ([]any, any) {
			return []any{l[i].Offset, l[i].Position}, map[string]int64{"offset": l[i].Offset, "position": l[i].Position}
		}))
	case log.KindTimeIndex:
		l, err := log.DumpTimeIndex(path)
		return false, errors.Join(err, rows([]string{"TIMESTAMP", "OFFSET"}, len(l), func(i int) ([]any, any) {
			return []any{time.UnixMilli(l[i].Timestamp), l[i].Offset}, map[string]int64{"timestamp": l[i].Timestamp, "offset": l[i].Offset}
		}))
	case log.KindTxnIndex:
		l, err := log.DumpTxnIndex(path)
		return false, errors.Join(err, rows([]string{"PRODUCER-ID", "FIRST-OFFSET", "LAST-OFFSET", "LAST-STABLE-OFFSET"}, len(l), func(i int) ([]any, any) {
			x := l[i]
			return []any{x.ProducerID, x.FirstOffset, x.LastOffset, x.LastStableOffset},
				map[string]int64{"producer_id": x.ProducerID, "first_offset": x.FirstOffset, "last_offset": x.LastOffset, "last_stable_offset": x.LastStableOffset}
		}))
	case log.KindSnapshot:
		l, err := log.DumpSnapshot(path)
		return false, errors.Join(err, rows([]string{"PRODUCER-ID", "EPOCH", "LAST-SEQUENCE", "LAST-WRITE", "TRANSACTION-START"}, len(l), func(i int) ([]any, any) {
			x := l[i]
			return []any{x.ProducerID, x.ProducerEpoch, x.LastSequence, time.UnixMilli(x.LastTimestamp), known(x.CurrentTxnStartOffset)},
				map[string]any{"producer_id": x.ProducerID, "producer_epoch": x.ProducerEpoch, "last_sequence": x.LastSequence, "last_timestamp": x.LastTimestamp,
					"coordinator_epoch": x.CoordinatorEpoch, "transaction_start_offset": known(x.CurrentTxnStartOffset)}
		}))
	case log.KindEpochs:
		l, err := log.DumpEpochs(path)
		return false, errors.Join(err, rows([]string{"EPOCH", "START-OFFSET"}, len(l), func(i int) ([]any, any) {
			return []any{l[i].Epoch, l[i].StartOffset}, map[string]any{"epoch": l[i].Epoch, "start_offset": l[i].StartOffset}
		}))
	case log.KindCheckpoint:
		l, err := log.DumpCheckpoint(path)
		return false, errors.Join(err, rows([]string{"TOPIC", "PARTITION", "OFFSET"}, len(l), func(i int) ([]any, any) {
			return []any{l[i].Topic, l[i].Partition, l[i].Offset}, map[string]any{"topic": l[i].Topic, "partition": l[i].Partition, "offset": l[i].Offset}
		}))
	case log.KindTopicID:
		id, err := log.DumpTopicID(path)
		if err != nil {
			return false, err
		}
		s := base64.RawURLEncoding.EncodeToString(id[:])
		return false, rows([]string{"TOPIC-ID"}, 1, func(int) ([]any, any) { return []any{s}, map[string]string{"topic_id": s} })
	case log.KindProperties:
		p, err := log.DumpProperties(path)
		keys := slices.Sorted(maps.Keys(p))
		return false, errors.Join(err, rows([]string{"KEY", "VALUE"}, len(keys), func(i int) ([]any, any) {
			return []any{keys[i], p[keys[i]]}, map[string]string{"key": keys[i], "value": p[keys[i]]}
		}))
	}
	return false, usagef("files are known by their names, as the broker writes them", "%s is no file of a log", filepath.Base(path))
}

// line writes v as one line of JSON.
func (a *app) line(v any) error {
	b, err := marshal(v)
	if err != nil {
		return err
	}
	_, err = a.Out.Write(b)
	return err
}

var errEnough = errors.New("enough")

func (a *app) dumpSegment(path string, f dumpFlags) (damaged bool, err error) {
	rd := &batch.Reader{}
	n := 0
	err = log.DumpSegment(path, func(d log.DumpedBatch) error {
		r := batchRow{Position: d.Position, Size: d.Size}
		if d.Err != nil {
			r.Error = d.Err.Error()
			damaged = damaged || !errors.Is(d.Err, log.ErrTornTail)
		}
		b := d.Batch
		if b != nil {
			if d.Err == nil && (b.LastOffset() < f.from) {
				return nil
			}
			if f.to >= 0 && d.Err == nil && b.BaseOffset() >= f.to {
				return errEnough
			}
			r.Base, r.Last, r.Count, r.Epoch = ptr(b.BaseOffset()), ptr(b.LastOffset()), ptr(b.RecordCount()), ptr(b.LeaderEpoch())
			r.Codec, r.Timestamp, r.CRC = b.Codec().String(), ptr(b.MaxTimestamp()), ptr(b.CRC())
			r.TimestampType = map[bool]string{true: "LogAppendTime", false: "CreateTime"}[b.IsLogAppendTime()]
			if b.ProducerID() >= 0 {
				r.ProducerID, r.ProducerEpoch, r.Sequence = ptr(b.ProducerID()), ptr(b.ProducerEpoch()), ptr(b.BaseSequence())
			}
			r.Transactional, r.Control = b.IsTransactional(), b.IsControl()
			if ms, ok := b.DeleteHorizonMs(); ok {
				r.Horizon = &ms
			}
		}
		if n++; f.max > 0 && n > f.max {
			return errEnough
		}
		if f.records && b != nil && d.Err == nil {
			if rerr := contents(rd, b, &r); rerr != nil {
				r.Error, damaged = rerr.Error(), true
			}
		}
		if a.json {
			return a.line(r)
		}
		return a.batchLine(r)
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return damaged, err
}

func contents(rd *batch.Reader, b batch.Batch, r *batchRow) error {
	r.Contents = []segmentRecord{}
	if b.IsControl() {
		m, ok, err := batch.ParseEndTxn(rd, b)
		if err != nil {
			return err
		}
		if ok {
			r.Contents = append(r.Contents, segmentRecord{Offset: b.BaseOffset(), Timestamp: b.MaxTimestamp(), Marker: fmt.Sprintf("%s, coordinator epoch %d", map[bool]string{true: "COMMIT", false: "ABORT"}[m.Type == batch.ControlCommit], m.CoordinatorEpoch)})
			return nil
		}
	}
	if err := rd.Reset(b); err != nil {
		return err
	}
	for {
		rec, ok := rd.Next()
		if !ok {
			return rd.Err()
		}
		s := segmentRecord{Offset: rec.Offset, Timestamp: rec.Timestamp}
		s.Key, s.KeyHex = shown(rec.Key)
		s.Value, s.ValueHex = shown(rec.Value)
		for _, h := range rec.Headers {
			v, x := shown(h.Value)
			jh := jsonHeader{Key: string(h.Key), Value: v}
			if x != "" {
				jh.ValueBase64 = base64.StdEncoding.EncodeToString(h.Value)
			}
			s.Headers = append(s.Headers, jh)
		}
		r.Contents = append(r.Contents, s)
	}
}

func (a *app) batchLine(r batchRow) error {
	var b strings.Builder
	fmt.Fprintf(&b, "@%d %d bytes", r.Position, r.Size)
	if r.Base != nil {
		fmt.Fprintf(&b, ": offsets %d..%d, %d records, epoch %d, %s, %s %s", *r.Base, *r.Last, *r.Count, *r.Epoch, r.Codec, r.TimestampType, cell(time.UnixMilli(*r.Timestamp)))
		if r.ProducerID != nil {
			fmt.Fprintf(&b, ", producer %d/%d sequence %d", *r.ProducerID, *r.ProducerEpoch, *r.Sequence)
		}
		if r.Transactional {
			b.WriteString(", transactional")
		}
		if r.Control {
			b.WriteString(", control")
		}
		if r.Horizon != nil {
			fmt.Fprintf(&b, ", delete horizon %s", cell(time.UnixMilli(*r.Horizon)))
		}
	}
	if r.Error != "" {
		b.WriteString(" ERROR " + r.Error)
	}
	b.WriteByte('\n')
	quoted := func(s *string, x string) string {
		if x != "" {
			return "0x" + x
		}
		if s == nil {
			return "null"
		}
		return fmt.Sprintf("%q", *s)
	}
	for _, c := range r.Contents {
		fmt.Fprintf(&b, "  %d %s ", c.Offset, cell(time.UnixMilli(c.Timestamp)))
		if c.Marker != "" {
			b.WriteString(c.Marker + "\n")
			continue
		}
		b.WriteString(quoted(c.Key, c.KeyHex) + " " + quoted(c.Value, c.ValueHex))
		for _, h := range c.Headers {
			fmt.Fprintf(&b, " %s=%s", h.Key, quoted(h.Value, h.ValueBase64))
		}
		b.WriteByte('\n')
	}
	_, err := a.Out.Write([]byte(b.String()))
	return err
}
