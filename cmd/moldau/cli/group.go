package cli

import (
	"context"
	"errors"
	"fmt"
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
