package cli

import (
	"cmp"
	"context"
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

func (a *app) clusterCommand() *cobra.Command {
	return noun("cluster", "The cluster: brokers, features, quorum, log directories, API versions, reassignments",
		a.clusterDescribe(), a.clusterFeatures(), a.clusterQuorum(), a.clusterLogDirs(), a.clusterVersions(), a.clusterReassign())
}

func (a *app) clusterDescribe() *cobra.Command {
	return &cobra.Command{Use: "describe", Short: "Show the cluster's id, controller and brokers", Args: cobra.NoArgs, RunE: a.kafka(func(ctx context.Context, _ *kadm.Client, _ *cobra.Command, _ []string) error {
		resp, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(ctx, a.client)
		if err == nil {
			err = explain(kerr.ErrorForCode(resp.ErrorCode), text(resp.ErrorMessage))
		}
		if err != nil {
			return fmt.Errorf("describe cluster: %w", err)
		}
		type row struct {
			ID     int32   `json:"id"`
			Host   string  `json:"host"`
			Port   int32   `json:"port"`
			Rack   *string `json:"rack"`
			Fenced bool    `json:"fenced"`
		}
		out := struct {
			ID         string `json:"cluster_id"`
			Controller int32  `json:"controller"`
			Brokers    []row  `json:"brokers"`
		}{resp.ClusterID, resp.ControllerID, []row{}}
		head, t := &table{head: []string{"CLUSTER", "CONTROLLER"}}, &table{head: []string{"BROKER", "HOST", "PORT", "RACK", "FENCED"}}
		head.add(out.ID, out.Controller)
		for _, b := range resp.Brokers {
			out.Brokers = append(out.Brokers, row{b.NodeID, b.Host, b.Port, b.Rack, b.IsFenced})
		}
		slices.SortFunc(out.Brokers, func(x, y row) int { return cmp.Compare(x.ID, y.ID) })
		for _, b := range out.Brokers {
			t.add(b.ID, b.Host, b.Port, b.Rack, b.Fenced)
		}
		return a.emit(out, head, t)
	})}
}

func (a *app) clusterFeatures() *cobra.Command {
	return &cobra.Command{Use: "features", Short: "Show the features: what brokers support and what is finalised", Args: cobra.NoArgs, RunE: a.kafka(func(ctx context.Context, _ *kadm.Client, _ *cobra.Command, _ []string) error {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "moldau-cli", "1"
		resp, err := req.RequestWith(ctx, a.client)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err != nil {
			return fmt.Errorf("describe features: %w", err)
		}
		type row struct {
			Name      string `json:"name"`
			Min       int16  `json:"supported_min"`
			Max       int16  `json:"supported_max"`
			Finalized int16  `json:"finalized"`
		}
		rows, t := []row{}, &table{head: []string{"FEATURE", "SUPPORTED-MIN", "SUPPORTED-MAX", "FINALIZED"}}
		for _, f := range resp.SupportedFeatures {
			r := row{f.Name, f.MinVersion, f.MaxVersion, 0}
			for _, x := range resp.FinalizedFeatures {
				if x.Name == f.Name {
					r.Finalized = x.MaxVersionLevel
				}
			}
			rows = append(rows, r)
		}
		slices.SortFunc(rows, func(x, y row) int { return strings.Compare(x.Name, y.Name) })
		for _, r := range rows {
			t.add(r.Name, r.Min, r.Max, r.Finalized)
		}
		return a.emit(struct {
			Epoch    int64 `json:"epoch"`
			Features []row `json:"features"`
		}{resp.FinalizedFeaturesEpoch, rows}, t)
	})}
}

func (a *app) clusterQuorum() *cobra.Command {
	return &cobra.Command{Use: "quorum", Short: "Show the metadata quorum: leader, voters, observers and their lag", Args: cobra.NoArgs, RunE: a.kafka(func(ctx context.Context, _ *kadm.Client, _ *cobra.Command, _ []string) error {
		req := kmsg.NewPtrDescribeQuorumRequest()
		t := kmsg.NewDescribeQuorumRequestTopic()
		t.Topic = "__cluster_metadata"
		t.Partitions = append(t.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
		req.Topics = append(req.Topics, t)
		resp, err := req.RequestWith(ctx, a.client)
		if err == nil {
			err = explain(kerr.ErrorForCode(resp.ErrorCode), text(resp.ErrorMessage))
		}
		if err == nil && (len(resp.Topics) == 0 || len(resp.Topics[0].Partitions) == 0) {
			err = fmt.Errorf("the answer names no quorum")
		}
		if err != nil {
			return fmt.Errorf("describe quorum: %w", err)
		}
		p := resp.Topics[0].Partitions[0]
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
			return fmt.Errorf("describe quorum: %w", explain(err, text(p.ErrorMessage)))
		}
		type row struct {
			ID       int32  `json:"id"`
			Role     string `json:"role"`
			End      int64  `json:"log_end_offset"`
			Lag      int64  `json:"lag"`
			Fetched  int64  `json:"last_fetch_timestamp"`
			CaughtUp int64  `json:"last_caught_up_timestamp"`
		}
		out := struct {
			Leader int32 `json:"leader"`
			Epoch  int32 `json:"leader_epoch"`
			High   int64 `json:"high_watermark"`
			Nodes  []row `json:"nodes"`
		}{p.LeaderID, p.LeaderEpoch, p.HighWatermark, []row{}}
		var end int64
		for _, v := range p.CurrentVoters {
			if v.ReplicaID == p.LeaderID {
				end = v.LogEndOffset
			}
		}
		for _, x := range []struct {
			role string
			l    []kmsg.DescribeQuorumResponseTopicPartitionReplicaState
		}{{"voter", p.CurrentVoters}, {"observer", p.Observers}} {
			for _, v := range x.l {
				role := x.role
				if v.ReplicaID == p.LeaderID {
					role = "leader"
				}
				out.Nodes = append(out.Nodes, row{v.ReplicaID, role, v.LogEndOffset, max(end-v.LogEndOffset, 0), v.LastFetchTimestamp, v.LastCaughtUpTimestamp})
			}
		}
		slices.SortFunc(out.Nodes, func(x, y row) int { return cmp.Compare(x.ID, y.ID) })
		head, nt := &table{head: []string{"LEADER", "EPOCH", "HIGH-WATERMARK"}}, &table{head: []string{"NODE", "ROLE", "LOG-END", "LAG"}}
		head.add(out.Leader, out.Epoch, out.High)
		for _, n := range out.Nodes {
			nt.add(n.ID, n.Role, n.End, n.Lag)
		}
		return a.emit(out, head, nt)
	})}
}

func (a *app) clusterLogDirs() *cobra.Command {
	var topics []string
	c := &cobra.Command{Use: "log-dirs", Short: "Show the log directories of the brokers and the size of partitions", Args: cobra.NoArgs, RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, _ []string) error {
		var s kadm.TopicsSet
		if len(topics) > 0 {
			l, err := adm.ListTopicsWithInternal(ctx, topics...)
			if err != nil {
				return fmt.Errorf("describe topics: %w", err)
			}
			if err := l.Error(); err != nil {
				return fmt.Errorf("describe topics: %w", err)
			}
			s = l.TopicsSet()
		}
		all, err := adm.DescribeAllLogDirs(ctx, s)
		if err != nil {
			return fmt.Errorf("describe log dirs: %w", err)
		}
		type part struct {
			Topic     string `json:"topic"`
			Partition int32  `json:"partition"`
			Size      int64  `json:"size"`
			Lag       int64  `json:"offset_lag"`
			Future    bool   `json:"future"`
		}
		type row struct {
			Broker     int32  `json:"broker"`
			Dir        string `json:"dir"`
			Error      string `json:"error,omitempty"`
			Total      int64  `json:"total_bytes"`
			Usable     int64  `json:"usable_bytes"`
			Size       int64  `json:"size"`
			Partitions []part `json:"partitions"`
		}
		rows, t := []row{}, &table{head: []string{"BROKER", "DIR", "STATE", "PARTITIONS", "SIZE", "USABLE", "TOTAL"}}
		pt := &table{head: []string{"BROKER", "TOPIC", "PARTITION", "SIZE", "LAG"}}
		for _, id := range slices.Sorted(maps.Keys(all)) {
			for _, d := range all[id].Sorted() {
				r := row{Broker: id, Dir: d.Dir, Total: d.TotalBytes, Usable: d.UsableBytes, Size: d.Size(), Partitions: []part{}}
				if d.Err != nil {
					r.Error = d.Err.Error()
				}
				for _, topic := range slices.Sorted(maps.Keys(d.Topics)) {
					for _, n := range slices.Sorted(maps.Keys(d.Topics[topic])) {
						p := d.Topics[topic][n]
						r.Partitions = append(r.Partitions, part{topic, n, p.Size, p.OffsetLag, p.IsFuture})
						pt.add(id, topic, n, p.Size, p.OffsetLag)
					}
				}
				rows = append(rows, r)
				t.add(id, d.Dir, map[bool]string{true: "online", false: r.Error}[d.Err == nil], len(r.Partitions), r.Size, r.Usable, r.Total)
			}
		}
		if len(topics) == 0 {
			return a.emit(rows, t)
		}
		return a.emit(rows, t, pt)
	})}
	c.Flags().StringArrayVar(&topics, "topic", nil, "list the partitions of this topic; may be repeated")
	complete(c, "topic", a.names(topicNames))
	return c
}

func (a *app) clusterVersions() *cobra.Command {
	return &cobra.Command{Use: "api-versions", Short: "Show which versions of which APIs the brokers serve", Args: cobra.NoArgs, RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, _ []string) error {
		all, err := adm.ApiVersions(ctx)
		if err != nil {
			return fmt.Errorf("ask for api versions: %w", err)
		}
		type row struct {
			Key  int16  `json:"key"`
			Name string `json:"name"`
			Min  int16  `json:"min"`
			Max  int16  `json:"max"`
		}
		type broker struct {
			Broker int32 `json:"broker"`
			APIs   []row `json:"apis"`
		}
		out, t := []broker{}, &table{head: []string{"BROKER", "KEY", "API", "MIN", "MAX"}}
		for _, b := range all.Sorted() {
			if b.Err != nil {
				return fmt.Errorf("broker %d: %w", b.NodeID, b.Err)
			}
			x := broker{b.NodeID, []row{}}
			b.EachKeySorted(func(key, lo, hi int16) {
				x.APIs = append(x.APIs, row{key, kmsg.NameForKey(key), lo, hi})
				t.add(b.NodeID, key, kmsg.NameForKey(key), lo, hi)
			})
			out = append(out, x)
		}
		return a.emit(out, t)
	})}
}

func (a *app) clusterReassign() *cobra.Command {
	var assign []string
	var cancel bool
	c := &cobra.Command{
		Use: "reassign [TOPIC]", Short: "Move partitions to other brokers, or show the moves that are under way", Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.names(topicNames),
		Example: `  moldau cluster reassign
  moldau cluster reassign orders --assign 0:1,2,3 --assign 1:2,3,1
  moldau cluster reassign orders --cancel`,
		RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, args []string) error {
			if len(assign) == 0 && !cancel {
				return a.reassignments(ctx, adm, args)
			}
			if len(args) == 0 {
				return usagef("name the topic", "--assign and --cancel are for one topic")
			}
			topic := args[0]
			var req kadm.AlterPartitionAssignmentsReq
			for _, s := range assign {
				p, l, ok := strings.Cut(s, ":")
				n, err := strconv.ParseInt(p, 10, 32)
				if !ok || err != nil {
					return usagef("write --assign 0:1,2,3", "--assign %q is no PARTITION:BROKER,...", s)
				}
				var brokers []int32
				for b := range strings.SplitSeq(l, ",") {
					id, err := strconv.ParseInt(b, 10, 32)
					if err != nil {
						return usagef("write --assign 0:1,2,3", "--assign %q: %q is no broker", s, b)
					}
					brokers = append(brokers, int32(id))
				}
				req.Assign(topic, int32(n), brokers)
			}
			if cancel {
				now, err := adm.ListPartitionReassignments(ctx, nil)
				if err != nil {
					return fmt.Errorf("list reassignments: %w", err)
				}
				if len(now[topic]) == 0 {
					return notFound("no partition of topic %s is being moved", topic)
				}
				for p := range now[topic] {
					req.CancelAssign(topic, p)
				}
			}
			rs, err := adm.AlterPartitionAssignments(ctx, req)
			if err != nil {
				return fmt.Errorf("reassign partitions: %w", err)
			}
			var fail failures
			for _, r := range rs.Sorted() {
				if r.Err != nil {
					fail.add(partitionName(r.Topic, r.Partition), explain(r.Err, r.ErrMessage))
				}
			}
			if err := fail.err(); err != nil {
				return err
			}
			return a.done(map[string]any{"topic": topic, "started": !cancel, "cancelled": cancel}, "topic %s: %s", topic, map[bool]string{true: "moves cancelled", false: "moves started"}[cancel])
		}),
	}
	c.Flags().StringArrayVar(&assign, "assign", nil, "the brokers that shall hold a partition, PARTITION:BROKER,...; may be repeated")
	c.Flags().BoolVar(&cancel, "cancel", false, "cancel the moves of the topic")
	c.MarkFlagsMutuallyExclusive("assign", "cancel")
	return c
}

func (a *app) reassignments(ctx context.Context, adm *kadm.Client, topics []string) error {
	rs, err := adm.ListPartitionReassignments(ctx, nil)
	if err != nil {
		return fmt.Errorf("list reassignments: %w", err)
	}
	type row struct {
		Topic     string  `json:"topic"`
		Partition int32   `json:"partition"`
		Replicas  []int32 `json:"replicas"`
		Adding    []int32 `json:"adding"`
		Removing  []int32 `json:"removing"`
	}
	rows, t := []row{}, &table{head: []string{"TOPIC", "PARTITION", "REPLICAS", "ADDING", "REMOVING"}}
	for _, r := range rs.Sorted() {
		if len(topics) > 0 && r.Topic != topics[0] {
			continue
		}
		rows = append(rows, row{r.Topic, r.Partition, list(r.Replicas), list(r.AddingReplicas), list(r.RemovingReplicas)})
		t.add(r.Topic, r.Partition, r.Replicas, r.AddingReplicas, r.RemovingReplicas)
	}
	return a.emit(rows, t)
}

func (a *app) transactionCommand() *cobra.Command {
	return noun("transaction", "Transactions: list, describe, producers, abort", a.transactionList(), a.transactionDescribe(), a.transactionProducers(), a.transactionAbort())
}

func (a *app) transactionList() *cobra.Command {
	var states []string
	var pattern string
	c := &cobra.Command{Use: "list", Short: "List transactional ids", Args: cobra.NoArgs, RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, _ []string) error {
		l, err := adm.ListTransactionsByTxPattern(ctx, nil, states, pattern)
		if err != nil {
			return fmt.Errorf("list transactions: %w", err)
		}
		type row struct {
			ID          string `json:"transactional_id"`
			State       string `json:"state"`
			ProducerID  int64  `json:"producer_id"`
			Coordinator int32  `json:"coordinator"`
		}
		rows, t := []row{}, &table{head: []string{"TRANSACTIONAL-ID", "STATE", "PRODUCER-ID", "COORDINATOR"}}
		for _, x := range l.Sorted() {
			rows = append(rows, row{x.TxnID, x.State, x.ProducerID, x.Coordinator})
		}
		slices.SortFunc(rows, func(x, y row) int { return strings.Compare(x.ID, y.ID) })
		for _, r := range rows {
			t.add(r.ID, r.State, r.ProducerID, r.Coordinator)
		}
		return a.emit(rows, t)
	})}
	c.Flags().StringSliceVar(&states, "state", nil, "only those in these states: Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort, Empty")
	c.Flags().StringVar(&pattern, "pattern", "", "only ids that match a regular expression (RE2)")
	complete(c, "state", fixed("Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Empty"))
	return c
}

func (a *app) transactionDescribe() *cobra.Command {
	return &cobra.Command{Use: "describe TRANSACTIONAL-ID...", Short: "Show transactions with their partitions", Args: cobra.MinimumNArgs(1), RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, args []string) error {
		ds, err := adm.DescribeTransactions(ctx, args...)
		if err != nil {
			return fmt.Errorf("describe transactions: %w", err)
		}
		type row struct {
			ID         string                `json:"transactional_id"`
			State      string                `json:"state"`
			ProducerID int64                 `json:"producer_id"`
			Epoch      int16                 `json:"producer_epoch"`
			Timeout    int32                 `json:"timeout_ms"`
			Start      int64                 `json:"start_timestamp"`
			Partitions []topicPartitionsJSON `json:"partitions"`
		}
		rows, t, fail := []row{}, &table{head: []string{"TRANSACTIONAL-ID", "STATE", "PRODUCER-ID", "EPOCH", "TIMEOUT-MS", "STARTED", "PARTITIONS"}}, failures{}
		for _, d := range ds.Sorted() {
			if d.Err != nil {
				fail.add("transactional id "+d.TxnID, d.Err)
				continue
			}
			r := row{d.TxnID, d.State, d.ProducerID, d.ProducerEpoch, d.TimeoutMillis, d.StartTimestamp, assigned(d.Topics)}
			rows = append(rows, r)
			var parts []string
			for _, tp := range r.Partitions {
				parts = append(parts, tp.Topic+"["+cell(tp.Partitions)+"]")
			}
			var started any
			if d.StartTimestamp > 0 {
				started = time.UnixMilli(d.StartTimestamp)
			}
			t.add(r.ID, r.State, r.ProducerID, r.Epoch, r.Timeout, started, strings.Join(parts, " "))
		}
		if len(rows) > 0 {
			if err := a.emit(rows, t); err != nil {
				return err
			}
		}
		return fail.err()
	})}
}

// partitionArg reads TOPIC PARTITION.
func partitionArg(args []string) (string, int32, error) {
	p, err := strconv.ParseInt(args[1], 10, 32)
	if err != nil || p < 0 {
		return "", 0, usagef("", "%q is no partition", args[1])
	}
	return args[0], int32(p), nil
}

func (a *app) transactionProducers() *cobra.Command {
	return &cobra.Command{Use: "producers TOPIC PARTITION", Short: "Show the producers that a partition remembers", Args: cobra.ExactArgs(2), ValidArgsFunction: a.names(topicNames), RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, args []string) error {
		topic, partition, err := partitionArg(args)
		if err != nil {
			return err
		}
		l, err := a.producers(ctx, adm, topic, partition)
		if err != nil {
			return err
		}
		type row struct {
			ProducerID  int64 `json:"producer_id"`
			Epoch       int16 `json:"producer_epoch"`
			Coordinator int32 `json:"coordinator_epoch"`
			Sequence    int32 `json:"last_sequence"`
			Timestamp   int64 `json:"last_timestamp"`
			Start       int64 `json:"transaction_start_offset"`
		}
		rows, t := []row{}, &table{head: []string{"PRODUCER-ID", "EPOCH", "LAST-SEQUENCE", "LAST-WRITE", "TRANSACTION-START"}}
		for _, p := range l {
			rows = append(rows, row{p.ProducerID, p.ProducerEpoch, p.CoordinatorEpoch, p.LastSequence, p.LastTimestamp, p.CurrentTxnStartOffset})
			var start any
			if p.CurrentTxnStartOffset >= 0 {
				start = p.CurrentTxnStartOffset
			}
			t.add(p.ProducerID, p.ProducerEpoch, p.LastSequence, time.UnixMilli(p.LastTimestamp), start)
		}
		return a.emit(rows, t)
	})}
}

func (a *app) producers(ctx context.Context, adm *kadm.Client, topic string, partition int32) ([]kadm.DescribedProducer, error) {
	s := kadm.TopicsSet{}
	s.Add(topic, partition)
	ds, err := adm.DescribeProducers(ctx, s)
	if err == nil {
		err = ds[topic].Partitions[partition].Err
	}
	if err != nil {
		return nil, fmt.Errorf("describe producers of %s-%d: %w", topic, partition, err)
	}
	return ds[topic].Partitions[partition].ActiveProducers.Sorted(), nil
}

func (a *app) transactionAbort() *cobra.Command {
	var start int64
	var yes bool
	c := &cobra.Command{
		Use: "abort TOPIC PARTITION", Short: "Abort a hanging transaction, by the offset at which it began on a partition", Args: cobra.ExactArgs(2), ValidArgsFunction: a.names(topicNames),
		Long: `Write an abort marker for a transaction that its coordinator has forgotten and that holds back the last stable offset of a partition. What it wrote
is lost to those who read committed records. See "transaction producers" for the offset.`,
		RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, args []string) error {
			topic, partition, err := partitionArg(args)
			if err != nil {
				return err
			}
			l, err := a.producers(ctx, adm, topic, partition)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(l, func(p kadm.DescribedProducer) bool { return p.CurrentTxnStartOffset == start && start >= 0 })
			if i < 0 {
				return notFound("no open transaction of %s-%d began at offset %d", topic, partition, start)
			}
			if !yes {
				return usagef("add --yes", "producer %d's transaction on %s-%d would be aborted, which cannot be undone", l[i].ProducerID, topic, partition)
			}
			s := kadm.TopicsSet{}
			s.Add(topic, partition)
			rs, err := adm.WriteTxnMarkers(ctx, kadm.TxnMarkers{ProducerID: l[i].ProducerID, ProducerEpoch: l[i].ProducerEpoch, CoordinatorEpoch: max(l[i].CoordinatorEpoch, 0), Topics: s})
			if err != nil {
				return fmt.Errorf("write marker: %w", err)
			}
			var fail failures
			rs.EachPartition(func(r kadm.TxnMarkersPartitionResponse) {
				if r.Err != nil {
					fail.add(partitionName(r.Topic, r.Partition), r.Err)
				}
			})
			if err := fail.err(); err != nil {
				return err
			}
			return a.done(map[string]any{"topic": topic, "partition": partition, "producer_id": l[i].ProducerID, "aborted": true}, "transaction of producer %d on %s-%d aborted", l[i].ProducerID, topic, partition)
		}),
	}
	c.Flags().Int64Var(&start, "start-offset", -1, "the offset at which it began")
	c.Flags().BoolVar(&yes, "yes", false, "really do it")
	if err := c.MarkFlagRequired("start-offset"); err != nil {
		panic(err)
	}
	return c
}
