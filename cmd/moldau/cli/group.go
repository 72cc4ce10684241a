package cli

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (a *app) groupCommand() *cobra.Command {
	return noun("group", "Consumer groups: list, describe with lag, delete, reset and delete offsets",
		a.groupList(), a.groupDescribe(), a.groupDelete(), a.groupReset(), a.groupDeleteOffsets())
}

type groupRow struct {
	Group       string `json:"group"`
	Type        string `json:"type"`
	Protocol    string `json:"protocol_type"`
	State       string `json:"state"`
	Coordinator int32  `json:"coordinator"`
}

// groups asks all brokers for their groups.
func (a *app) groups(ctx context.Context, states, types []string) ([]groupRow, error) {
	req := kmsg.NewPtrListGroupsRequest()
	req.StatesFilter, req.TypesFilter = states, types
	rows := []groupRow{}
	var failed error
	for _, sh := range a.client.RequestSharded(ctx, req) {
		if sh.Err != nil {
			failed = errors.Join(failed, fmt.Errorf("broker %d: %w", sh.Meta.NodeID, sh.Err))
			continue
		}
		resp := sh.Resp.(*kmsg.ListGroupsResponse)
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			failed = errors.Join(failed, fmt.Errorf("broker %d: %w", sh.Meta.NodeID, err))
			continue
		}
		for _, g := range resp.Groups {
			rows = append(rows, groupRow{g.Group, strings.ToLower(g.GroupType), g.ProtocolType, g.GroupState, sh.Meta.NodeID})
		}
	}
	slices.SortFunc(rows, func(x, y groupRow) int { return strings.Compare(x.Group, y.Group) })
	if failed != nil {
		return rows, fmt.Errorf("list groups: %w", failed)
	}
	return rows, nil
}

func (a *app) groupList() *cobra.Command {
	var states, types []string
	c := &cobra.Command{Use: "list", Short: "List groups", Args: cobra.NoArgs, RunE: a.kafka(func(ctx context.Context, _ *kadm.Client, _ *cobra.Command, _ []string) error {
		rows, err := a.groups(ctx, states, types)
		t := &table{head: []string{"GROUP", "TYPE", "PROTOCOL", "STATE", "COORDINATOR"}}
		for _, r := range rows {
			t.add(r.Group, r.Type, r.Protocol, r.State, r.Coordinator)
		}
		if eerr := a.emit(rows, t); err == nil {
			err = eerr
		}
		return err
	})}
	c.Flags().StringSliceVar(&states, "state", nil, "only groups in these states: Stable, Empty, PreparingRebalance, CompletingRebalance, Assigning, Reconciling, Dead")
	c.Flags().StringSliceVar(&types, "type", nil, "only groups of these types: classic, consumer, share, streams")
	complete(c, "state", fixed("Stable", "Empty", "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling", "Dead"))
	complete(c, "type", fixed("classic", "consumer"))
	return c
}

type memberRow struct {
	Member     string                `json:"member"`
	Instance   *string               `json:"instance"`
	Client     string                `json:"client_id"`
	Host       string                `json:"host"`
	Partitions []topicPartitionsJSON `json:"partitions"`
	Epoch      *int32                `json:"epoch,omitempty"`
}

type topicPartitionsJSON struct {
	Topic      string  `json:"topic"`
	Partitions []int32 `json:"partitions"`
}

type lagRow struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed *int64 `json:"committed"`
	Start     *int64 `json:"start_offset"`
	End       *int64 `json:"end_offset"`
	Lag       *int64 `json:"lag"`
	Metadata  string `json:"metadata,omitempty"`
	Member    string `json:"member,omitempty"`
	Client    string `json:"client_id,omitempty"`
	Host      string `json:"host,omitempty"`
}

type groupDescription struct {
	Group       string      `json:"group"`
	Type        string      `json:"type"`
	State       string      `json:"state"`
	Protocol    string      `json:"protocol_type"`
	Assignor    string      `json:"assignor"`
	Epoch       *int32      `json:"epoch,omitempty"`
	Coordinator int32       `json:"coordinator"`
	Lag         int64       `json:"lag"`
	Members     []memberRow `json:"members"`
	Offsets     []lagRow    `json:"offsets"`
}

func assigned(s kadm.TopicsSet) []topicPartitionsJSON {
	l := []topicPartitionsJSON{}
	for _, t := range s.Sorted() {
		l = append(l, topicPartitionsJSON{t.Topic, t.Partitions})
	}
	return l
}

// members describes the state and the members of a group of either protocol.
func (a *app) members(ctx context.Context, adm *kadm.Client, kind, group string) (groupDescription, error) {
	d := groupDescription{Group: group, Type: kind, Members: []memberRow{}, Offsets: []lagRow{}}
	if kind == "consumer" {
		rs, err := adm.DescribeConsumerGroups(ctx, group)
		if err != nil {
			return d, err
		}
		g := rs[group]
		if g.Err != nil {
			return d, g.Err
		}
		d.State, d.Protocol, d.Assignor, d.Epoch, d.Coordinator = g.State, "consumer", g.AssignorName, &g.Epoch, g.Coordinator.NodeID
		for _, m := range g.Members {
			d.Members = append(d.Members, memberRow{m.MemberID, m.InstanceID, m.ClientID, m.ClientHost, assigned(m.Assignment), &m.MemberEpoch})
		}
		return d, nil
	}
	rs, err := adm.DescribeGroups(ctx, group)
	if err != nil {
		return d, err
	}
	g := rs[group]
	if g.Err != nil {
		return d, g.Err
	}
	if g.State == "Dead" {
		return d, kerr.GroupIDNotFound
	}
	d.State, d.Protocol, d.Assignor, d.Coordinator = g.State, g.ProtocolType, g.Protocol, g.Coordinator.NodeID
	for _, m := range g.Members {
		s := kadm.TopicsSet{}
		if c, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range c.Topics {
				s.Add(t.Topic, t.Partitions...)
			}
		}
		d.Members = append(d.Members, memberRow{m.MemberID, m.InstanceID, m.ClientID, m.ClientHost, assigned(s), nil})
	}
	return d, nil
}

// fetchOffsets asks for a group's commits; a cluster that has seen no group yet makes its coordinators first, and is waited for.
func fetchOffsets(ctx context.Context, adm *kadm.Client, group string) (kadm.OffsetResponses, error) {
	for {
		rs, err := adm.FetchOffsets(ctx, group)
		if !errors.Is(err, kerr.CoordinatorNotAvailable) && !errors.Is(err, kerr.CoordinatorLoadInProgress) && !errors.Is(err, kerr.NotCoordinator) {
			return rs, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (a *app) describeGroup(ctx context.Context, adm *kadm.Client, kind, group string) (groupDescription, error) {
	d, err := a.members(ctx, adm, kind, group)
	if err != nil {
		return d, err
	}
	committed, err := fetchOffsets(ctx, adm, group)
	if err != nil {
		return d, fmt.Errorf("fetch offsets: %w", err)
	}
	owner := map[kadm.Partition]*memberRow{}
	all := kadm.TopicsSet{}
	for i := range d.Members {
		for _, t := range d.Members[i].Partitions {
			for _, p := range t.Partitions {
				owner[kadm.Partition{Topic: t.Topic, Partition: p}] = &d.Members[i]
				all.Add(t.Topic, p)
			}
		}
	}
	committed.Each(func(o kadm.OffsetResponse) { all.Add(o.Topic, o.Partition) })
	if len(all) == 0 {
		return d, nil
	}
	starts, err := adm.ListStartOffsets(ctx, all.Topics()...)
	if err != nil {
		return d, fmt.Errorf("list offsets: %w", err)
	}
	ends, err := adm.ListEndOffsets(ctx, all.Topics()...)
	if err != nil {
		return d, fmt.Errorf("list offsets: %w", err)
	}
	for _, t := range all.Sorted() {
		for _, p := range t.Partitions {
			r := lagRow{Topic: t.Topic, Partition: p}
			if o, ok := starts.Lookup(t.Topic, p); ok && o.Err == nil {
				r.Start = &o.Offset
			}
			if o, ok := ends.Lookup(t.Topic, p); ok && o.Err == nil {
				r.End = &o.Offset
			}
			if o, ok := committed.Lookup(t.Topic, p); ok && o.Err == nil && o.At >= 0 {
				r.Committed, r.Metadata = &o.At, o.Metadata
			}
			if r.Committed != nil && r.End != nil {
				lag := max(*r.End-*r.Committed, 0)
				r.Lag = &lag
				d.Lag += lag
			}
			if m := owner[kadm.Partition{Topic: t.Topic, Partition: p}]; m != nil {
				r.Member, r.Client, r.Host = m.Member, m.Client, m.Host
			}
			d.Offsets = append(d.Offsets, r)
		}
	}
	return d, nil
}

func (a *app) groupDescribe() *cobra.Command {
	var members, state bool
	c := &cobra.Command{
		Use: "describe GROUP...", Short: "Show state, members, committed offsets and lag of groups", Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.names(groupNames),
		RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, args []string) error {
			known, err := a.groups(ctx, nil, nil)
			if err != nil {
				return err
			}
			kinds := map[string]string{}
			for _, g := range known {
				kinds[g.Group] = g.Type
			}
			out, tables, fail := []groupDescription{}, []*table{}, failures{}
			for _, g := range slices.Compact(slices.Sorted(slices.Values(args))) {
				d, err := a.describeGroup(ctx, adm, kinds[g], g)
				if err != nil {
					fail.add("group "+g, err)
					continue
				}
				out = append(out, d)
				head := &table{head: []string{"GROUP", "TYPE", "STATE", "ASSIGNOR", "COORDINATOR", "MEMBERS", "LAG"}}
				head.add(g, d.Type, d.State, d.Assignor, d.Coordinator, len(d.Members), d.Lag)
				tables = append(tables, head)
				if members {
					t := &table{head: []string{"MEMBER", "INSTANCE", "CLIENT", "HOST", "PARTITIONS"}}
					for _, m := range d.Members {
						var parts []string
						for _, tp := range m.Partitions {
							parts = append(parts, tp.Topic+"["+cell(tp.Partitions)+"]")
						}
						t.add(m.Member, m.Instance, m.Client, m.Host, strings.Join(parts, " "))
					}
					tables = append(tables, t)
				} else if !state {
					t := &table{head: []string{"TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER", "HOST", "CLIENT"}}
					for _, r := range d.Offsets {
						t.add(r.Topic, r.Partition, r.Committed, r.End, r.Lag, r.Member, r.Host, r.Client)
					}
					tables = append(tables, t)
				}
			}
			if len(out) > 0 {
				if err := a.emit(out, tables...); err != nil {
					return err
				}
			}
			return fail.err()
		}),
	}
	c.Flags().BoolVar(&members, "members", false, "show members instead of offsets")
	c.Flags().BoolVar(&state, "state", false, "show the first line only")
	c.MarkFlagsMutuallyExclusive("members", "state")
	return c
}

func (a *app) groupDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete GROUP...", Short: "Delete groups that have no members, with their offsets", Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.names(groupNames),
		RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, args []string) error {
			rs, err := adm.DeleteGroups(ctx, args...)
			if err != nil {
				return fmt.Errorf("delete groups: %w", err)
			}
			rows, t, fail := []map[string]any{}, &table{head: []string{"GROUP", "RESULT"}}, failures{}
			for _, r := range rs.Sorted() {
				if r.Err != nil {
					fail.add("group "+r.Group, explain(r.Err, r.ErrMessage))
					continue
				}
				rows = append(rows, map[string]any{"group": r.Group, "deleted": true})
				t.add(r.Group, "deleted")
			}
			if len(rows) > 0 {
				if err := a.emit(rows, t); err != nil {
					return err
				}
			}
			return fail.err()
		}),
	}
}

// topicSelection reads TOPIC or TOPIC:0,1,2.
func topicSelection(l []string) (kadm.TopicsSet, error) {
	s := kadm.TopicsSet{}
	for _, x := range l {
		i := strings.LastIndexByte(x, ':')
		if i < 0 {
			s.Add(x)
			continue
		}
		for p := range strings.SplitSeq(x[i+1:], ",") {
			n, err := strconv.ParseInt(p, 10, 32)
			if err != nil || n < 0 {
				return nil, usagef("write --topic orders or --topic orders:0,1", "--topic %q: %q is no partition", x, p)
			}
			s.Add(x[:i], int32(n))
		}
	}
	return s, nil
}

type resetFlags struct {
	topics                                  []string
	all, earliest, latest, current, execute bool
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
			return a.resetOffsets(ctx, adm, c, args[0], f)
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
	fl.Bool("export", false, "print TOPIC,PARTITION,OFFSET lines")
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

func (a *app) resetOffsets(ctx context.Context, adm *kadm.Client, c *cobra.Command, group string, f resetFlags) error {
	flags := c.Flags()
	known, err := a.groups(ctx, nil, nil)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(known, func(g groupRow) bool { return g.Group == group }); i >= 0 {
		d, err := a.members(ctx, adm, known[i].Type, group)
		if err != nil {
			return fmt.Errorf("group %s: %w", group, err)
		}
		if len(d.Members) > 0 {
			return &Error{Code: exitFailed, Err: fmt.Errorf("group %s has %d members (%s): offsets can only be set when it has none", group, len(d.Members), d.State), Remedy: "stop its consumers first"}
		}
	}
	committed, err := fetchOffsets(ctx, adm, group)
	if err != nil {
		return fmt.Errorf("fetch offsets of group %s: %w", group, err)
	}
	target := kadm.Offsets{}
	scope := kadm.TopicsSet{}
	switch {
	case f.file != "":
		if target, err = offsetsOfFile(f.file); err != nil {
			return usage(fmt.Errorf("--from-file %s: %w", f.file, err), "")
		}
		target.Each(func(o kadm.Offset) { scope.Add(o.Topic, o.Partition) })
	case f.all:
		committed.Each(func(o kadm.OffsetResponse) { scope.Add(o.Topic, o.Partition) })
	case len(f.topics) > 0:
		if scope, err = topicSelection(f.topics); err != nil {
			return err
		}
	default:
		return usagef("give --topic TOPIC, --all-topics or --from-file FILE", "nothing says which topics")
	}
	if len(scope) == 0 {
		return notFound("group %s has no committed offsets", group)
	}
	topics, err := adm.ListTopicsWithInternal(ctx, scope.Topics()...)
	if err != nil {
		return fmt.Errorf("describe topics: %w", err)
	}
	for _, t := range topics.Sorted() {
		if t.Err != nil {
			return fmt.Errorf("topic %s: %w", t.Topic, t.Err)
		}
		if len(scope[t.Topic]) == 0 {
			scope.Add(t.Topic, t.Partitions.Numbers()...)
		}
		for p := range scope[t.Topic] {
			if _, ok := t.Partitions[p]; !ok {
				return notFound("topic %s has no partition %d: it has %d", t.Topic, p, len(t.Partitions))
			}
		}
	}
	starts, err := adm.ListStartOffsets(ctx, scope.Topics()...)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return fmt.Errorf("list offsets: %w", err)
	}
	ends, err := adm.ListEndOffsets(ctx, scope.Topics()...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("list offsets: %w", err)
	}
	var timed kadm.ListedOffsets
	if f.at != "" || f.by != "" {
		when := time.Now()
		if f.at != "" {
			if when, err = moment(f.at, when); err != nil {
				return usage(fmt.Errorf("--to-datetime: %w", err), "")
			}
		} else {
			d, err := isoDuration(f.by)
			if err != nil {
				return usage(fmt.Errorf("--by-duration: %w", err), "")
			}
			when = when.Add(-d)
		}
		if timed, err = adm.ListOffsetsAfterMilli(ctx, when.UnixMilli(), scope.Topics()...); err == nil {
			err = timed.Error()
		}
		if err != nil {
			return fmt.Errorf("list offsets: %w", err)
		}
	}
	type row struct {
		Topic     string `json:"topic"`
		Partition int32  `json:"partition"`
		Committed *int64 `json:"committed"`
		New       int64  `json:"new_offset"`
	}
	rows, t := []row{}, &table{head: []string{"GROUP", "TOPIC", "PARTITION", "COMMITTED", "NEW-OFFSET"}}
	commit := kadm.Offsets{}
	for _, tp := range scope.Sorted() {
		for _, p := range tp.Partitions {
			s, _ := starts.Lookup(tp.Topic, p)
			e, _ := ends.Lookup(tp.Topic, p)
			var now *int64
			if o, ok := committed.Lookup(tp.Topic, p); ok && o.At >= 0 {
				now = &o.At
			}
			var to int64
			switch {
			case f.file != "":
				o, _ := target.Lookup(tp.Topic, p)
				to = o.At
			case f.earliest:
				to = s.Offset
			case f.latest:
				to = e.Offset
			case f.current:
				to = e.Offset
				if now != nil {
					to = *now
				}
			case flags.Changed("to-offset"):
				to = f.offset
			case timed != nil:
				o, _ := timed.Lookup(tp.Topic, p)
				to = o.Offset
			default:
				if now == nil {
					return &Error{Code: exitFailed, Err: fmt.Errorf("--shift-by: group %s has no committed offset of %s-%d", group, tp.Topic, p), Remedy: "use another --to- flag for this partition"}
				}
				to = *now + f.shift
			}
			to = min(max(to, s.Offset), e.Offset)
			rows = append(rows, row{tp.Topic, p, now, to})
			t.add(group, tp.Topic, p, now, to)
			commit.AddOffset(tp.Topic, p, to, -1)
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
	if export, _ := flags.GetBool("export"); export {
		w := csv.NewWriter(a.Out)
		for _, r := range rows {
			_ = w.Write([]string{r.Topic, strconv.Itoa(int(r.Partition)), strconv.FormatInt(r.New, 10)})
		}
		w.Flush()
		return w.Error()
	}
	if err := a.emit(struct {
		Group    string `json:"group"`
		Executed bool   `json:"executed"`
		Offsets  []row  `json:"offsets"`
	}{group, f.execute, rows}, t); err != nil {
		return err
	}
	if !f.execute && !a.json {
		fmt.Fprintln(a.Err, "nothing was committed: add --execute")
	}
	return nil
}

func (a *app) groupDeleteOffsets() *cobra.Command {
	var topics []string
	c := &cobra.Command{
		Use: "delete-offsets GROUP", Short: "Delete committed offsets of topics that the group does not consume", Args: cobra.ExactArgs(1), ValidArgsFunction: a.names(groupNames),
		RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, args []string) error {
			scope, err := topicSelection(topics)
			if err != nil {
				return err
			}
			committed, err := fetchOffsets(ctx, adm, args[0])
			if err != nil {
				return fmt.Errorf("fetch offsets of group %s: %w", args[0], err)
			}
			for topic, ps := range scope {
				if len(ps) == 0 {
					for p := range committed[topic] {
						scope.Add(topic, p)
					}
				}
				if len(scope[topic]) == 0 {
					return notFound("group %s has no committed offsets of topic %s", args[0], topic)
				}
			}
			rs, err := adm.DeleteOffsets(ctx, args[0], scope)
			if err != nil {
				return fmt.Errorf("delete offsets of group %s: %w", args[0], err)
			}
			rows, t, fail := []map[string]any{}, &table{head: []string{"TOPIC", "PARTITION", "RESULT"}}, failures{}
			for _, tp := range scope.Sorted() {
				for _, p := range tp.Partitions {
					if err := rs[tp.Topic][p]; err != nil {
						fail.add(partitionName(tp.Topic, p), err)
						continue
					}
					rows = append(rows, map[string]any{"topic": tp.Topic, "partition": p, "deleted": true})
					t.add(tp.Topic, p, "deleted")
				}
			}
			if len(rows) > 0 {
				if err := a.emit(rows, t); err != nil {
					return err
				}
			}
			return fail.err()
		}),
	}
	c.Flags().StringArrayVar(&topics, "topic", nil, "a topic, or TOPIC:PARTITION,...; may be repeated")
	if err := c.MarkFlagRequired("topic"); err != nil {
		panic(err)
	}
	complete(c, "topic", a.names(topicNames))
	return c
}
