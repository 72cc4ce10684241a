package cli

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

type resetFlags struct {
	topics                                  []string
	all, earliest, latest, current, execute bool
	export, toOffset                        bool // toOffset: --to-offset was given
	offset, shift                           int64
	at, by, file                            string
}

func (a *app) groupReset() *cobra.Command {
	var f resetFlags
	c := &cobra.Command{
		Use: "reset-offsets GROUP", Short: "Set the committed offsets of a group that has no members",
		Long: `Set the committed offsets of a group that has no members. Without --execute it only shows what it would commit.

The scope is --all-topics (those with commits), --topic (all partitions of a topic, or TOPIC:0,1), or the lines of --from-file, which are
TOPIC,PARTITION,OFFSET as this command writes them with --export.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.names(groupNames),
		Example: `  moldau group reset-offsets billing --topic orders --to-datetime 2026-01-01T00:00:00Z
  moldau group reset-offsets billing --all-topics --to-earliest --execute`,
		RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, c *cobra.Command, args []string) error {
			f.toOffset = c.Flags().Changed("to-offset")
			return a.resetOffsets(ctx, adm, args[0], f)
		}),
	}
	fl := c.Flags()
	fl.StringArrayVar(&f.topics, "topic", nil, "a topic, or TOPIC:PARTITION,...; may be repeated")
	fl.BoolVar(&f.all, "all-topics", false, "all topics that the group has commits of")
	fl.BoolVar(&f.earliest, "to-earliest", false, "to the first offset")
	fl.BoolVar(&f.latest, "to-latest", false, "to the end")
	fl.BoolVar(&f.current, "to-current", false, "to what is committed now")
	fl.Int64Var(&f.offset, "to-offset", 0, "to an offset, kept within the partition")
	fl.StringVar(&f.at, "to-datetime", "", "to the first record at or after a time")
	fl.StringVar(&f.by, "by-duration", "", "to the first record of so long ago: 1h30m, or PT1H30M as Kafka's tool has it")
	fl.Int64Var(&f.shift, "shift-by", 0, "by so many records, forward or (negative) back")
	fl.StringVar(&f.file, "from-file", "", "to the offsets in a file of TOPIC,PARTITION,OFFSET lines")
	fl.BoolVar(&f.execute, "execute", false, "commit, instead of only showing")
	fl.BoolVar(&f.export, "export", false, "print TOPIC,PARTITION,OFFSET lines")
	fl.Bool("dry-run", true, "only show; what is done without --execute anyway")
	how := []string{"to-earliest", "to-latest", "to-current", "to-offset", "to-datetime", "by-duration", "shift-by", "from-file"}
	c.MarkFlagsMutuallyExclusive(how...)
	c.MarkFlagsOneRequired(how...)
	c.MarkFlagsMutuallyExclusive("topic", "all-topics", "from-file")
	c.PreRunE = func(*cobra.Command, []string) error {
		switch dry, _ := fl.GetBool("dry-run"); {
		case !fl.Changed("dry-run"):
		case dry && f.execute:
			return usagef("give one of them", "--dry-run only shows, --execute commits")
		case !dry && !f.execute:
			return usagef("give --execute to commit, or leave --dry-run=false out", "--dry-run=false alone commits nothing")
		}
		return nil
	}
	complete(c, "topic", a.names(topicNames))
	return c
}

// isoDuration reads PT1H30M, P1D, or a duration of Go.
func isoDuration(s string) (time.Duration, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return d, nil
	}
	rest, ok := strings.CutPrefix(strings.ToUpper(s), "P")
	if !ok || rest == "" {
		return 0, fmt.Errorf("%q is no duration: write 1h30m or PT1H30M", s)
	}
	var total time.Duration
	days, clock, _ := strings.Cut(rest, "T")
	read := func(part string, units map[byte]time.Duration) error {
		for part != "" {
			i := strings.IndexFunc(part, func(r rune) bool { return r >= 'A' && r <= 'Z' })
			if i <= 0 {
				return fmt.Errorf("%q is no duration: write 1h30m or PT1H30M", s)
			}
			n, err := strconv.ParseFloat(part[:i], 64)
			u := units[part[i]]
			if err != nil || u == 0 {
				return fmt.Errorf("%q is no duration: write 1h30m or PT1H30M", s)
			}
			total += time.Duration(n * float64(u))
			part = part[i+1:]
		}
		return nil
	}
	if err := read(days, map[byte]time.Duration{'D': 24 * time.Hour}); err != nil {
		return 0, err
	}
	return total, read(clock, map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second})
}

// offsetsOfFile reads TOPIC,PARTITION,OFFSET lines.
func offsetsOfFile(path string) (kadm.Offsets, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rd := csv.NewReader(bufio.NewReader(f))
	rd.Comment, rd.FieldsPerRecord, rd.TrimLeadingSpace = '#', 3, true
	rows, err := rd.ReadAll()
	if err != nil {
		return nil, err
	}
	os := kadm.Offsets{}
	for _, r := range rows {
		p, err1 := strconv.ParseInt(r[1], 10, 32)
		o, err2 := strconv.ParseInt(r[2], 10, 64)
		if err := errors.Join(err1, err2); err != nil || p < 0 || o < 0 {
			return nil, fmt.Errorf("%q is no TOPIC,PARTITION,OFFSET", strings.Join(r, ","))
		}
		os.AddOffset(r[0], int32(p), o, -1)
	}
	return os, nil
}

// reset is what reset-offsets works with: the group, and the offsets that its partitions have.
type reset struct {
	flags     resetFlags
	group     string
	committed kadm.OffsetResponses
	file      kadm.Offsets   // of --from-file
	scope     kadm.TopicsSet // partitions to set
	starts    kadm.ListedOffsets
	ends      kadm.ListedOffsets
	timed     kadm.ListedOffsets // at the time that was asked for; nil without one
}

// resetRow is one offset that is set, or would be.
type resetRow struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed *int64 `json:"committed"`
	New       int64  `json:"new_offset"`
}

func (a *app) resetOffsets(ctx context.Context, adm *kadm.Client, group string, f resetFlags) error {
	if err := a.withoutMembers(ctx, adm, group); err != nil {
		return err
	}
	r := reset{flags: f, group: group}
	var err error
	if r.committed, err = fetchOffsets(ctx, adm, group); err != nil {
		return fmt.Errorf("fetch offsets of group %s: %w", group, err)
	}
	if err := r.selectPartitions(ctx, adm); err != nil {
		return err
	}
	if err := r.list(ctx, adm); err != nil {
		return err
	}
	rows, t := []resetRow{}, &table{head: []string{"GROUP", "TOPIC", "PARTITION", "COMMITTED", "NEW-OFFSET"}}
	commit := kadm.Offsets{}
	for _, tp := range r.scope.Sorted() {
		for _, p := range tp.Partitions {
			row, err := r.row(tp.Topic, p)
			if err != nil {
				return err
			}
			rows = append(rows, row)
			t.add(group, row.Topic, p, row.Committed, row.New)
			commit.AddOffset(row.Topic, p, row.New, -1)
		}
	}
	if f.execute {
		rs, err := adm.CommitOffsets(ctx, group, commit)
		if err == nil {
			err = rs.Error()
		}
		if err != nil {
			return fmt.Errorf("commit offsets of group %s: %w", group, err)
		}
	}
	if f.export {
		return exportOffsets(a.Out, rows)
	}
	if err := a.emit(struct {
		Group    string     `json:"group"`
		Executed bool       `json:"executed"`
		Offsets  []resetRow `json:"offsets"`
	}{group, f.execute, rows}, t); err != nil {
		return err
	}
	if !f.execute && !a.json {
		fmt.Fprintln(a.Err, "nothing was committed: add --execute")
	}
	return nil
}

// withoutMembers refuses a group that has members: they would not notice, and commit what they have.
func (a *app) withoutMembers(ctx context.Context, adm *kadm.Client, group string) error {
	known, err := a.groups(ctx, nil, nil)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(known, func(g groupRow) bool { return g.Group == group })
	if i < 0 {
		return nil
	}
	d, err := a.members(ctx, adm, known[i].Type, group)
	if err != nil {
		return fmt.Errorf("group %s: %w", group, err)
	}
	if len(d.Members) > 0 {
		return &Error{Code: exitFailed, Err: fmt.Errorf("group %s has %d members (%s): offsets can only be set when it has none", group, len(d.Members), d.State), Remedy: "stop its consumers first"}
	}
	return nil
}

// selectPartitions finds the partitions that the flags name, and whether they are there.
func (r *reset) selectPartitions(ctx context.Context, adm *kadm.Client) (err error) {
	r.scope = kadm.TopicsSet{}
	switch f := &r.flags; {
	case f.file != "":
		if r.file, err = offsetsOfFile(f.file); err != nil {
			return usage(fmt.Errorf("--from-file %s: %w", f.file, err), "")
		}
		r.file.Each(func(o kadm.Offset) { r.scope.Add(o.Topic, o.Partition) })
	case f.all:
		r.committed.Each(func(o kadm.OffsetResponse) { r.scope.Add(o.Topic, o.Partition) })
	case len(f.topics) > 0:
		if r.scope, err = topicSelection(f.topics); err != nil {
			return err
		}
	default:
		return usagef("give --topic TOPIC, --all-topics or --from-file FILE", "nothing says which topics")
	}
	if len(r.scope) == 0 {
		return notFound("group %s has no committed offsets", r.group)
	}
	topics, err := adm.ListTopicsWithInternal(ctx, r.scope.Topics()...)
	if err != nil {
		return fmt.Errorf("describe topics: %w", err)
	}
	for _, t := range topics.Sorted() {
		if t.Err != nil {
			return fmt.Errorf("topic %s: %w", t.Topic, t.Err)
		}
		if len(r.scope[t.Topic]) == 0 {
			r.scope.Add(t.Topic, t.Partitions.Numbers()...)
		}
		for p := range r.scope[t.Topic] {
			if _, ok := t.Partitions[p]; !ok {
				return notFound("topic %s has no partition %d: it has %d", t.Topic, p, len(t.Partitions))
			}
		}
	}
	return nil
}

// list asks for the first and the last offsets, and for those of the time that the flags name.
func (r *reset) list(ctx context.Context, adm *kadm.Client) (err error) {
	when, timed, err := r.flags.moment(time.Now())
	if err != nil {
		return err
	}
	ask := func(to *kadm.ListedOffsets, list func(context.Context, ...string) (kadm.ListedOffsets, error)) error {
		l, err := list(ctx, r.scope.Topics()...)
		if err == nil {
			err = l.Error()
		}
		if err != nil {
			return fmt.Errorf("list offsets: %w", err)
		}
		*to = l
		return nil
	}
	if err := ask(&r.starts, adm.ListStartOffsets); err != nil {
		return err
	}
	if err := ask(&r.ends, adm.ListEndOffsets); err != nil || !timed {
		return err
	}
	return ask(&r.timed, func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
		return adm.ListOffsetsAfterMilli(ctx, when.UnixMilli(), topics...)
	})
}

// moment is the time of --to-datetime or --by-duration, false without either.
func (f *resetFlags) moment(now time.Time) (time.Time, bool, error) {
	switch {
	case f.at != "":
		when, err := moment(f.at, now)
		if err != nil {
			return now, false, usage(fmt.Errorf("--to-datetime: %w", err), "")
		}
		return when, true, nil
	case f.by != "":
		d, err := isoDuration(f.by)
		if err != nil {
			return now, false, usage(fmt.Errorf("--by-duration: %w", err), "")
		}
		return now.Add(-d), true, nil
	}
	return now, false, nil
}

// row is what the group has committed of a partition and what it will have, which is within the partition.
func (r *reset) row(topic string, p int32) (resetRow, error) {
	start, _ := r.starts.Lookup(topic, p)
	end, _ := r.ends.Lookup(topic, p)
	row := resetRow{Topic: topic, Partition: p}
	if o, ok := r.committed.Lookup(topic, p); ok && o.At >= 0 {
		row.Committed = &o.At
	}
	switch f := &r.flags; {
	case f.file != "":
		o, _ := r.file.Lookup(topic, p)
		row.New = o.At
	case f.earliest:
		row.New = start.Offset
	case f.latest:
		row.New = end.Offset
	case f.current:
		row.New = end.Offset
		if row.Committed != nil {
			row.New = *row.Committed
		}
	case f.toOffset:
		row.New = f.offset
	case r.timed != nil:
		o, _ := r.timed.Lookup(topic, p)
		row.New = o.Offset
	case row.Committed == nil:
		return row, &Error{Code: exitFailed, Err: fmt.Errorf("--shift-by: group %s has no committed offset of %s-%d", r.group, topic, p), Remedy: "use another --to- flag for this partition"}
	default:
		row.New = *row.Committed + f.shift
	}
	row.New = min(max(row.New, start.Offset), end.Offset)
	return row, nil
}

// exportOffsets writes TOPIC,PARTITION,OFFSET lines.
func exportOffsets(to io.Writer, rows []resetRow) error {
	w := csv.NewWriter(to)
	for _, r := range rows {
		_ = w.Write([]string{r.Topic, strconv.Itoa(int(r.Partition)), strconv.FormatInt(r.New, 10)})
	}
	w.Flush()
	return w.Error()
}
