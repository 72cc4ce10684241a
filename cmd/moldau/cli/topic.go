package cli

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (a *app) topicCommand() *cobra.Command {
	return noun("topic", "Topics: list, create, delete, describe, alter, records and offsets",
		a.topicList(), a.topicCreate(), a.topicDelete(), a.topicDescribe(), a.topicAlter(), a.topicDeleteRecords(), a.topicOffsets(), a.topicElect())
}

type topicRow struct {
	Name        string `json:"name"`
	Partitions  int    `json:"partitions"`
	Replication int    `json:"replication_factor"`
	Internal    bool   `json:"internal"`
}

func (a *app) topicList() *cobra.Command {
	var internal bool
	c := &cobra.Command{Use: "list", Short: "List topics", Args: cobra.NoArgs, RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, _ []string) error {
		topics, err := adm.ListTopicsWithInternal(ctx)
		if err != nil {
			return fmt.Errorf("list topics: %w", err)
		}
		rows, t := []topicRow{}, &table{head: []string{"TOPIC", "PARTITIONS", "REPLICATION"}}
		for _, d := range topics.Sorted() {
			if d.IsInternal && !internal {
				continue
			}
			r := topicRow{Name: d.Topic, Partitions: len(d.Partitions), Replication: d.Partitions.NumReplicas(), Internal: d.IsInternal}
			rows = append(rows, r)
			t.add(r.Name, r.Partitions, r.Replication)
		}
		return a.emit(rows, t)
	})}
	c.Flags().BoolVar(&internal, "internal", false, "list the cluster's own topics as well, such as __consumer_offsets")
	return c
}

// keyValues splits KEY=VALUE flags.
func keyValues(flag string, l []string) (map[string]string, error) {
	m := map[string]string{}
	for _, kv := range l {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return nil, usagef("write --"+flag+" KEY=VALUE", "--%s %q is no KEY=VALUE", flag, kv)
		}
		m[k] = v
	}
	return m, nil
}

func (a *app) topicCreate() *cobra.Command {
	var partitions int32
	var replication int16
	var configs []string
	var ifNot, validate bool
	c := &cobra.Command{
		Use: "create TOPIC...", Short: "Create topics", Args: cobra.MinimumNArgs(1),
		Example: `  moldau topic create orders --partitions 12 --config cleanup.policy=compact`,
		RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, args []string) error {
			kv, err := keyValues("config", configs)
			if err != nil {
				return err
			}
			cfg := map[string]*string{}
			for k, v := range kv {
				cfg[k] = &v
			}
			create := adm.CreateTopics
			if validate {
				create = adm.ValidateCreateTopics
			}
			resp, err := create(ctx, partitions, replication, cfg, args...)
			if err != nil {
				return fmt.Errorf("create topics: %w", err)
			}
			type row struct {
				Name        string `json:"name"`
				ID          string `json:"id"`
				Partitions  int32  `json:"partitions"`
				Replication int16  `json:"replication_factor"`
				Created     bool   `json:"created"`
			}
			rows, t, fail := []row{}, &table{head: []string{"TOPIC", "PARTITIONS", "REPLICATION", "RESULT"}}, failures{}
			for _, name := range slices.Sorted(maps.Keys(resp)) {
				r := resp[name]
				switch {
				case ifNot && errors.Is(r.Err, kerr.TopicAlreadyExists):
					rows = append(rows, row{Name: name})
					t.add(name, "", "", "exists")
				case r.Err != nil:
					fail.add("topic "+name, explain(r.Err, r.ErrMessage))
				default:
					rows = append(rows, row{name, topicID(r.ID), r.NumPartitions, r.ReplicationFactor, !validate})
					t.add(name, r.NumPartitions, r.ReplicationFactor, map[bool]string{true: "valid", false: "created"}[validate])
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
	f := c.Flags()
	f.Int32Var(&partitions, "partitions", -1, "the number of partitions; -1 takes the broker's num.partitions")
	f.Int16Var(&replication, "replication-factor", -1, "replicas of each partition; -1 takes the broker's default.replication.factor")
	f.StringArrayVar(&configs, "config", nil, "a topic configuration, KEY=VALUE; may be repeated")
	f.BoolVar(&ifNot, "if-not-exists", false, "do not fail for a topic that is there")
	f.BoolVar(&validate, "validate-only", false, "ask whether it could be created, and create nothing")
	complete(c, "config", fixed(topicConfigNames...))
	return c
}

var topicConfigNames = []string{"cleanup.policy=", "compression.type=", "delete.retention.ms=", "max.message.bytes=", "message.timestamp.type=", "min.insync.replicas=", "retention.bytes=", "retention.ms=", "segment.bytes=", "segment.ms="}

func (a *app) topicDelete() *cobra.Command {
	var ifThere bool
	c := &cobra.Command{
		Use: "delete TOPIC...", Short: "Delete topics and all their records", Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.names(topicNames),
		RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, args []string) error {
			resp, err := adm.DeleteTopics(ctx, args...)
			if err != nil {
				return fmt.Errorf("delete topics: %w", err)
			}
			rows, t, fail := []map[string]any{}, &table{head: []string{"TOPIC", "RESULT"}}, failures{}
			for _, r := range resp.Sorted() {
				gone := ifThere && errors.Is(r.Err, kerr.UnknownTopicOrPartition)
				if r.Err != nil && !gone {
					fail.add("topic "+r.Topic, explain(r.Err, r.ErrMessage))
					continue
				}
				rows = append(rows, map[string]any{"name": r.Topic, "deleted": !gone})
				t.add(r.Topic, map[bool]string{true: "not there", false: "deleted"}[gone])
			}
			if len(rows) > 0 {
				if err := a.emit(rows, t); err != nil {
					return err
				}
			}
			return fail.err()
		}),
	}
	c.Flags().BoolVar(&ifThere, "if-exists", false, "do not fail for a topic that is not there")
	return c
}

type partitionRow struct {
	Partition int32   `json:"partition"`
	Leader    int32   `json:"leader"`
	Epoch     int32   `json:"leader_epoch"`
	Replicas  []int32 `json:"replicas"`
	ISR       []int32 `json:"isr"`
	Offline   []int32 `json:"offline_replicas"`
	Start     *int64  `json:"start_offset"`
	End       *int64  `json:"end_offset"`
	Error     string  `json:"error,omitempty"`
}

type configRow struct {
	Name   string  `json:"name"`
	Value  *string `json:"value"`
	Source string  `json:"source"`
	Secret bool    `json:"sensitive"`
}

type topicDescription struct {
	Name        string         `json:"name"`
	ID          string         `json:"id"`
	Internal    bool           `json:"internal"`
	Replication int            `json:"replication_factor"`
	Partitions  []partitionRow `json:"partitions"`
	Configs     []configRow    `json:"configs"`
}

func configRows(l []kadm.Config, all bool) []configRow {
	rows := []configRow{}
	for _, c := range l {
		if !all && c.Source != kmsg.ConfigSourceDynamicTopicConfig {
			continue
		}
		rows = append(rows, configRow{c.Key, c.Value, c.Source.String(), c.Sensitive})
	}
	slices.SortFunc(rows, func(a, b configRow) int { return strings.Compare(a.Name, b.Name) })
	return rows
}

func (r configRow) shown() string {
	if r.Secret {
		return "(hidden)"
	}
	if r.Value != nil && *r.Value == "" {
		return `""`
	}
	return cell(r.Value)
}

func (a *app) topicDescribe() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "describe TOPIC...", Short: "Show partitions, replicas, offsets and configuration of topics", Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.names(topicNames),
		RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, args []string) error {
			topics, err := adm.ListTopicsWithInternal(ctx, args...)
			if err != nil {
				return fmt.Errorf("describe topics: %w", err)
			}
			var fail failures
			there := []string{}
			for _, d := range topics.Sorted() {
				if d.Err != nil {
					fail.add("topic "+d.Topic, d.Err)
					continue
				}
				there = append(there, d.Topic)
			}
			out := []topicDescription{}
			tables := []*table{}
			if len(there) > 0 {
				starts, err := adm.ListStartOffsets(ctx, there...)
				if err != nil {
					return fmt.Errorf("list offsets: %w", err)
				}
				ends, err := adm.ListEndOffsets(ctx, there...)
				if err != nil {
					return fmt.Errorf("list offsets: %w", err)
				}
				configs, err := adm.DescribeTopicConfigs(ctx, there...)
				if err != nil {
					return fmt.Errorf("describe configs: %w", err)
				}
				for _, name := range there {
					d := topics[name]
					td := topicDescription{Name: name, ID: topicID(d.ID), Internal: d.IsInternal, Replication: d.Partitions.NumReplicas(), Partitions: []partitionRow{}, Configs: []configRow{}}
					t := &table{head: []string{"PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "START", "END"}}
					for _, p := range d.Partitions.Sorted() {
						r := partitionRow{Partition: p.Partition, Leader: p.Leader, Epoch: p.LeaderEpoch, Replicas: list(p.Replicas), ISR: list(p.ISR), Offline: list(p.OfflineReplicas)}
						if o, ok := starts.Lookup(name, p.Partition); ok && o.Err == nil {
							r.Start = &o.Offset
						}
						if o, ok := ends.Lookup(name, p.Partition); ok && o.Err == nil {
							r.End = &o.Offset
						}
						if p.Err != nil {
							r.Error = p.Err.Error()
						}
						td.Partitions = append(td.Partitions, r)
						t.add(r.Partition, r.Leader, r.Epoch, r.Replicas, r.ISR, r.Start, r.End)
					}
					ct := &table{head: []string{"CONFIG", "VALUE", "SOURCE"}}
					if rc, err := configs.On(name, nil); err != nil {
						fail.add("configs of topic "+name, err)
					} else if rc.Err != nil {
						fail.add("configs of topic "+name, explain(rc.Err, rc.ErrMessage))
					} else {
						td.Configs = configRows(rc.Configs, all)
						for _, r := range td.Configs {
							ct.add(r.Name, r.shown(), r.Source)
						}
					}
					out = append(out, td)
					head := &table{head: []string{"TOPIC", "ID", "PARTITIONS", "REPLICATION", "INTERNAL"}}
					head.add(name, td.ID, len(td.Partitions), td.Replication, td.Internal)
					tables = append(tables, head, t)
					if len(ct.rows) > 0 {
						tables = append(tables, ct)
					}
				}
				if err := a.emit(out, tables...); err != nil {
					return err
				}
			}
			return fail.err()
		}),
	}
	c.Flags().BoolVar(&all, "all-configs", false, "show the configurations that come from the brokers as well")
	return c
}

// alterations makes incremental operations of --set, --delete, --append and --subtract.
func alterations(set, del, app, sub []string) ([]kadm.AlterConfig, error) {
	var l []kadm.AlterConfig
	for _, x := range []struct {
		flag string
		kvs  []string
		op   kadm.IncrementalOp
	}{{"set", set, kadm.SetConfig}, {"append", app, kadm.AppendConfig}, {"subtract", sub, kadm.SubtractConfig}} {
		m, err := keyValues(x.flag, x.kvs)
		if err != nil {
			return nil, err
		}
		for _, k := range slices.Sorted(maps.Keys(m)) {
			v := m[k]
			l = append(l, kadm.AlterConfig{Op: x.op, Name: k, Value: &v})
		}
	}
	for _, k := range del {
		l = append(l, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: k})
	}
	return l, nil
}

func (a *app) topicAlter() *cobra.Command {
	var partitions int
	var set, del, app, sub []string
	c := &cobra.Command{
		Use: "alter TOPIC", Short: "Add partitions to a topic and change its configuration", Args: cobra.ExactArgs(1), ValidArgsFunction: a.names(topicNames),
		Example: `  moldau topic alter orders --partitions 24
  moldau topic alter orders --set retention.ms=86400000 --delete segment.bytes`,
		RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, c *cobra.Command, args []string) error {
			topic := args[0]
			ops, err := alterations(set, del, app, sub)
			if err != nil {
				return err
			}
			if len(ops) == 0 && !c.Flags().Changed("partitions") {
				return usagef("give --partitions, --set, --append, --subtract or --delete", "nothing to alter")
			}
			if len(ops) > 0 {
				rs, err := adm.AlterTopicConfigs(ctx, ops, topic)
				if err != nil {
					return fmt.Errorf("alter configs of topic %s: %w", topic, err)
				}
				for _, r := range rs {
					if r.Err != nil {
						return fmt.Errorf("alter configs of topic %s: %w", topic, explain(r.Err, r.ErrMessage))
					}
				}
			}
			if c.Flags().Changed("partitions") {
				rs, err := adm.UpdatePartitions(ctx, partitions, topic)
				if err != nil {
					return fmt.Errorf("add partitions to topic %s: %w", topic, err)
				}
				if r := rs[topic]; r.Err != nil {
					return fmt.Errorf("add partitions to topic %s: %w", topic, explain(r.Err, r.ErrMessage))
				}
			}
			return a.done(map[string]any{"name": topic, "altered": true}, "topic %s altered", topic)
		}),
	}
	f := c.Flags()
	f.IntVar(&partitions, "partitions", 0, "the number of partitions it shall have; it only grows")
	configFlags(c, &set, &del, &app, &sub)
	return c
}

func configFlags(c *cobra.Command, set, del, app, sub *[]string) {
	f := c.Flags()
	f.StringArrayVar(set, "set", nil, "set a configuration, KEY=VALUE; may be repeated")
	f.StringArrayVar(del, "delete", nil, "give a configuration its default back, KEY; may be repeated")
	f.StringArrayVar(app, "append", nil, "append to a list, KEY=VALUE; may be repeated")
	f.StringArrayVar(sub, "subtract", nil, "take from a list, KEY=VALUE; may be repeated")
}

// moment reads a point in time: RFC 3339, a date, milliseconds since 1970, or a duration ago (-1h, 90m).
func moment(s string, now time.Time) (time.Time, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		return time.UnixMilli(n), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.000", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	if d, err := time.ParseDuration(strings.TrimPrefix(s, "-")); err == nil {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%q is no time: write 2006-01-02T15:04:05Z, milliseconds since 1970, or a duration ago such as -1h", s)
}

// partitionOffsets reads PARTITION:OFFSET flags.
func partitionOffsets(flag string, l []string) (map[int32]int64, error) {
	m := map[int32]int64{}
	for _, s := range l {
		p, o, ok := strings.Cut(s, ":")
		pn, err1 := strconv.ParseInt(p, 10, 32)
		on, err2 := strconv.ParseInt(o, 10, 64)
		if !ok || err1 != nil || err2 != nil || pn < 0 {
			return nil, usagef("write --"+flag+" 0:1234", "--%s %q is no PARTITION:OFFSET", flag, s)
		}
		m[int32(pn)] = on
	}
	return m, nil
}

func (a *app) topicDeleteRecords() *cobra.Command {
	var offsets []string
	var before string
	var all bool
	c := &cobra.Command{
		Use: "delete-records TOPIC", Short: "Delete the records of a topic before given offsets", Args: cobra.ExactArgs(1), ValidArgsFunction: a.names(topicNames),
		Example: `  moldau topic delete-records orders --offset 0:1500 --offset 1:1320
  moldau topic delete-records orders --before 2026-01-01T00:00:00Z
  moldau topic delete-records orders --all`,
		RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, args []string) error {
			topic := args[0]
			want, err := partitionOffsets("offset", offsets)
			if err != nil {
				return err
			}
			os := kadm.Offsets{}
			switch {
			case len(want) > 0:
				for p, o := range want {
					os.AddOffset(topic, p, o, -1)
				}
			case all || before != "":
				var l kadm.ListedOffsets
				if all {
					l, err = adm.ListEndOffsets(ctx, topic)
				} else {
					var at time.Time
					if at, err = moment(before, time.Now()); err != nil {
						return usage(fmt.Errorf("--before: %w", err), "")
					}
					l, err = adm.ListOffsetsAfterMilli(ctx, at.UnixMilli(), topic)
				}
				if err == nil {
					err = l.Error()
				}
				if err != nil {
					return fmt.Errorf("list offsets of topic %s: %w", topic, err)
				}
				os = l.Offsets()
			default:
				return usagef("give --offset PARTITION:OFFSET, --before TIME or --all", "nothing says which records to delete")
			}
			rs, err := adm.DeleteRecords(ctx, os)
			if err != nil {
				return fmt.Errorf("delete records of topic %s: %w", topic, err)
			}
			type row struct {
				Topic     string `json:"topic"`
				Partition int32  `json:"partition"`
				Low       int64  `json:"low_watermark"`
			}
			rows, t, fail := []row{}, &table{head: []string{"TOPIC", "PARTITION", "LOW-WATERMARK"}}, failures{}
			for _, r := range rs.Sorted() {
				if r.Err != nil {
					fail.add(fmt.Sprintf("partition %s-%d", r.Topic, r.Partition), r.Err)
					continue
				}
				rows = append(rows, row{r.Topic, r.Partition, r.LowWatermark})
				t.add(r.Topic, r.Partition, r.LowWatermark)
			}
			if len(rows) > 0 {
				if err := a.emit(rows, t); err != nil {
					return err
				}
			}
			return fail.err()
		}),
	}
	f := c.Flags()
	f.StringArrayVar(&offsets, "offset", nil, "delete the records before an offset, PARTITION:OFFSET (-1: all); may be repeated")
	f.StringVar(&before, "before", "", "delete the records before a time")
	f.BoolVar(&all, "all", false, "delete all records")
	c.MarkFlagsMutuallyExclusive("offset", "before", "all")
	return c
}

func (a *app) topicOffsets() *cobra.Command {
	var at string
	c := &cobra.Command{
		Use: "offsets TOPIC...", Short: "Show the offsets of partitions: first, last, last stable, or those at a time", Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.names(topicNames),
		RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, args []string) error {
			type row struct {
				Topic     string `json:"topic"`
				Partition int32  `json:"partition"`
				Start     *int64 `json:"start_offset,omitempty"`
				End       *int64 `json:"end_offset,omitempty"`
				Stable    *int64 `json:"last_stable_offset,omitempty"`
				Offset    *int64 `json:"offset,omitempty"`
				Timestamp *int64 `json:"timestamp,omitempty"`
			}
			rows, fail := []row{}, failures{}
			var t *table
			if at == "" {
				starts, err := adm.ListStartOffsets(ctx, args...)
				if err != nil {
					return fmt.Errorf("list offsets: %w", err)
				}
				ends, err := adm.ListEndOffsets(ctx, args...)
				if err != nil {
					return fmt.Errorf("list offsets: %w", err)
				}
				stable, err := adm.ListCommittedOffsets(ctx, args...)
				if err != nil {
					return fmt.Errorf("list offsets: %w", err)
				}
				t = &table{head: []string{"TOPIC", "PARTITION", "START", "END", "STABLE"}}
				for _, o := range sortedOffsets(ends) {
					if o.Err != nil {
						fail.add(partitionName(o.Topic, o.Partition), o.Err)
						continue
					}
					s, _ := starts.Lookup(o.Topic, o.Partition)
					l, _ := stable.Lookup(o.Topic, o.Partition)
					r := row{Topic: o.Topic, Partition: o.Partition, Start: &s.Offset, End: &o.Offset, Stable: &l.Offset}
					rows = append(rows, r)
					t.add(r.Topic, r.Partition, r.Start, r.End, r.Stable)
				}
			} else {
				var l kadm.ListedOffsets
				var err error
				switch at {
				case "earliest":
					l, err = adm.ListStartOffsets(ctx, args...)
				case "latest":
					l, err = adm.ListEndOffsets(ctx, args...)
				case "max-timestamp":
					l, err = adm.ListMaxTimestampOffsets(ctx, args...)
				default:
					when, perr := moment(at, time.Now())
					if perr != nil {
						return usage(fmt.Errorf("--at: %w", perr), "or earliest, latest or max-timestamp")
					}
					l, err = adm.ListOffsetsAfterMilli(ctx, when.UnixMilli(), args...)
				}
				if err != nil {
					return fmt.Errorf("list offsets: %w", err)
				}
				t = &table{head: []string{"TOPIC", "PARTITION", "OFFSET", "TIMESTAMP"}}
				for _, o := range sortedOffsets(l) {
					if o.Err != nil {
						fail.add(partitionName(o.Topic, o.Partition), o.Err)
						continue
					}
					rows = append(rows, row{Topic: o.Topic, Partition: o.Partition, Offset: &o.Offset, Timestamp: &o.Timestamp})
					t.add(o.Topic, o.Partition, o.Offset, o.Timestamp)
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
	c.Flags().StringVar(&at, "at", "", "the offset at earliest, latest, max-timestamp or a time, instead of first and last")
	complete(c, "at", fixed("earliest", "latest", "max-timestamp"))
	return c
}

func sortedOffsets(l kadm.ListedOffsets) []kadm.ListedOffset {
	var s []kadm.ListedOffset
	l.Each(func(o kadm.ListedOffset) { s = append(s, o) })
	slices.SortFunc(s, func(a, b kadm.ListedOffset) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return int(a.Partition - b.Partition)
	})
	return s
}

// partitionName names a partition in errors; ListOffsets of an unknown topic has the partition -1.
func partitionName(topic string, partition int32) string {
	if partition < 0 {
		return "topic " + topic
	}
	return fmt.Sprintf("partition %s-%d", topic, partition)
}

func (a *app) topicElect() *cobra.Command {
	var unclean bool
	var partition int32
	c := &cobra.Command{
		Use: "elect-leaders [TOPIC]", Short: "Elect the preferred leaders of a topic's partitions, or of all", Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.names(topicNames),
		RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, c *cobra.Command, args []string) error {
			how := kadm.ElectPreferredReplica
			if unclean {
				how = kadm.ElectLiveReplica
			}
			var s kadm.TopicsSet
			if len(args) == 1 {
				topics, err := adm.ListTopicsWithInternal(ctx, args[0])
				if err != nil {
					return fmt.Errorf("describe topics: %w", err)
				}
				if err := topics[args[0]].Err; err != nil {
					return fmt.Errorf("topic %s: %w", args[0], err)
				}
				s = kadm.TopicsSet{}
				for p := range topics[args[0]].Partitions {
					if !c.Flags().Changed("partition") || p == partition {
						s.Add(args[0], p)
					}
				}
			} else if unclean {
				return usagef("name the topic", "--unclean may lose records: it is not done for all topics at once")
			}
			rs, err := adm.ElectLeaders(ctx, how, s)
			if err != nil {
				return fmt.Errorf("elect leaders: %w", err)
			}
			type row struct {
				Topic     string `json:"topic"`
				Partition int32  `json:"partition"`
				Elected   bool   `json:"elected"`
			}
			rows, t, fail := []row{}, &table{head: []string{"TOPIC", "PARTITION", "RESULT"}}, failures{}
			for _, topic := range slices.Sorted(maps.Keys(rs)) {
				for _, p := range slices.Sorted(maps.Keys(rs[topic])) {
					r := rs[topic][p]
					needless := errors.Is(r.Err, kerr.ElectionNotNeeded)
					if r.Err != nil && !needless {
						fail.add(partitionName(topic, p), explain(r.Err, r.ErrMessage))
						continue
					}
					rows = append(rows, row{topic, p, !needless})
					t.add(topic, p, map[bool]string{true: "not needed", false: "elected"}[needless])
				}
			}
			if err := a.emit(rows, t); err != nil {
				return err
			}
			return fail.err()
		}),
	}
	c.Flags().BoolVar(&unclean, "unclean", false, "elect a replica that is not in sync: records may be lost")
	c.Flags().Int32Var(&partition, "partition", 0, "this partition only")
	return c
}

// topicID is an id in Kafka's way of writing it.
func topicID(id kadm.TopicID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }
