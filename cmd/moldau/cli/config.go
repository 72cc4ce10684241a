package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// configKinds are the resources that have configurations, by the word of the command line.
var configKinds = map[string]kmsg.ConfigResourceType{
	"topic": kmsg.ConfigResourceTypeTopic, "broker": kmsg.ConfigResourceTypeBroker, "broker-logger": kmsg.ConfigResourceTypeBrokerLogger,
	"group": kmsg.ConfigResourceTypeGroupConfig, "client-metrics": kmsg.ConfigResourceTypeClientMetrics,
}

func (a *app) configCommand() *cobra.Command {
	c := noun("config", "Configurations of topics, brokers, groups and client metrics: describe, alter", a.configDescribe(), a.configAlter(), a.configResources())
	c.Long = `Configurations of topics, brokers, groups and client metrics.

A resource is KIND NAME: topic orders, broker 1, broker default (of all brokers), broker-logger 1, group billing, client-metrics all.`
	return c
}

func kindAndName(args []string) (kmsg.ConfigResourceType, string, error) {
	k, ok := configKinds[args[0]]
	if !ok {
		return 0, "", usagef("", "%q must be topic, broker, broker-logger, group or client-metrics", args[0])
	}
	name := args[1]
	if args[0] == "broker" || args[0] == "broker-logger" {
		if name == "default" && args[0] == "broker" {
			return k, "", nil
		}
		if _, err := strconv.ParseInt(name, 10, 32); err != nil {
			return 0, "", usagef("", "%q is no broker id: give a number, or default", name)
		}
	}
	return k, name, nil
}

func (a *app) completeResource(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return []string{"topic", "broker", "broker-logger", "group", "client-metrics"}, cobra.ShellCompDirectiveNoFileComp
	}
	if len(args) == 1 {
		switch args[0] {
		case "topic":
			return a.names(topicNames)(c, args, prefix)
		case "group":
			return a.names(groupNames)(c, args, prefix)
		}
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) configDescribe() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "describe KIND NAME", Short: "Show the configuration of a resource", Args: cobra.ExactArgs(2), ValidArgsFunction: a.completeResource,
		Example: "  moldau config describe broker 1 --all",
		RunE: a.kafka(func(ctx context.Context, _ *kadm.Client, _ *cobra.Command, args []string) error {
			kind, name, err := kindAndName(args)
			if err != nil {
				return err
			}
			req := kmsg.NewPtrDescribeConfigsRequest()
			r := kmsg.NewDescribeConfigsRequestResource()
			r.ResourceType, r.ResourceName = kind, name
			req.Resources = append(req.Resources, r)
			resp, err := req.RequestWith(ctx, a.client)
			if err != nil {
				return fmt.Errorf("describe configs: %w", err)
			}
			type row struct {
				configRow
				ReadOnly bool `json:"read_only"`
			}
			rows, t := []row{}, &table{head: []string{"CONFIG", "VALUE", "SOURCE"}}
			for _, res := range resp.Resources {
				if err := kerr.ErrorForCode(res.ErrorCode); err != nil {
					return fmt.Errorf("%s %s: %w", args[0], args[1], explain(err, text(res.ErrorMessage)))
				}
				for _, k := range res.Configs {
					own := k.Source != kmsg.ConfigSourceDefaultConfig && (kind != kmsg.ConfigResourceTypeTopic || k.Source == kmsg.ConfigSourceDynamicTopicConfig)
					if all || own {
						rows = append(rows, row{configRow{k.Name, k.Value, k.Source.String(), k.IsSensitive}, k.ReadOnly})
					}
				}
			}
			slices.SortFunc(rows, func(x, y row) int { return strings.Compare(x.Name, y.Name) })
			for _, r := range rows {
				t.add(r.Name, r.shown(), r.Source)
			}
			return a.emit(rows, t)
		}),
	}
	c.Flags().BoolVar(&all, "all", false, "show those that have their default, or for a topic come from the brokers, as well")
	return c
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (a *app) configAlter() *cobra.Command {
	var set, del, app, sub []string
	var validate bool
	c := &cobra.Command{
		Use: "alter KIND NAME", Aliases: []string{"set"}, Short: "Change the configuration of a resource", Args: cobra.ExactArgs(2), ValidArgsFunction: a.completeResource,
		Example: "  moldau config alter broker default --set log.retention.ms=86400000",
		RunE: a.kafka(func(ctx context.Context, _ *kadm.Client, _ *cobra.Command, args []string) error {
			kind, name, err := kindAndName(args)
			if err != nil {
				return err
			}
			ops, err := alterations(set, del, app, sub)
			if err != nil {
				return err
			}
			if len(ops) == 0 {
				return usagef("give --set, --append, --subtract or --delete", "nothing to alter")
			}
			req := kmsg.NewPtrIncrementalAlterConfigsRequest()
			req.ValidateOnly = validate
			r := kmsg.NewIncrementalAlterConfigsRequestResource()
			r.ResourceType, r.ResourceName = kind, name
			for _, op := range ops {
				k := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
				k.Name, k.Value, k.Op = op.Name, op.Value, kmsg.IncrementalAlterConfigOp(op.Op)
				r.Configs = append(r.Configs, k)
			}
			req.Resources = append(req.Resources, r)
			resp, err := req.RequestWith(ctx, a.client)
			if err != nil {
				return fmt.Errorf("alter configs: %w", err)
			}
			for _, res := range resp.Resources {
				if err := kerr.ErrorForCode(res.ErrorCode); err != nil {
					return fmt.Errorf("%s %s: %w", args[0], args[1], explain(err, text(res.ErrorMessage)))
				}
			}
			return a.done(map[string]any{"kind": args[0], "name": args[1], "altered": !validate}, "%s %s %s", args[0], args[1], map[bool]string{true: "could be altered", false: "altered"}[validate])
		}),
	}
	configFlags(c, &set, &del, &app, &sub)
	c.Flags().BoolVar(&validate, "validate-only", false, "ask whether it could be altered, and alter nothing")
	return c
}

func (a *app) configResources() *cobra.Command {
	return &cobra.Command{
		Use: "list [KIND]", Short: "List the resources that have a configuration of their own", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: fixed("topic", "broker", "broker-logger", "group", "client-metrics"),
		RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, args []string) error {
			var kinds []kadm.ConfigResourceType
			if len(args) == 1 {
				k, ok := configKinds[args[0]]
				if !ok {
					return usagef("", "%q must be topic, broker, broker-logger, group or client-metrics", args[0])
				}
				kinds = append(kinds, k)
			}
			l, err := adm.ListConfigResources(ctx, kinds...)
			if err == nil {
				err = l.Err
			}
			if err != nil {
				return fmt.Errorf("list config resources: %w", err)
			}
			type row struct {
				Kind string `json:"kind"`
				Name string `json:"name"`
			}
			rows, t := []row{}, &table{head: []string{"KIND", "NAME"}}
			for _, r := range l.Resources {
				for word, k := range configKinds {
					if k == r.Type {
						rows = append(rows, row{word, r.Name})
					}
				}
			}
			slices.SortFunc(rows, func(x, y row) int { return strings.Compare(x.Kind+"\x00"+x.Name, y.Kind+"\x00"+y.Name) })
			for _, r := range rows {
				t.add(r.Kind, r.Name)
			}
			return a.emit(rows, t)
		}),
	}
}

func (a *app) quotaCommand() *cobra.Command {
	return noun("quota", "Client quotas: describe, set, delete", a.quotaDescribe(), a.quotaAlter("set"), a.quotaAlter("delete"))
}

// entity are the flags that name whom a quota is for.
type entity struct{ user, client, ip string }

func (e *entity) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&e.user, "user", "", "a user, or default")
	f.StringVar(&e.client, "client-id", "", "a client id, or default")
	f.StringVar(&e.ip, "ip", "", "an address, or default")
	c.MarkFlagsMutuallyExclusive("ip", "user")
	c.MarkFlagsMutuallyExclusive("ip", "client-id")
}

func (e *entity) components() kadm.ClientQuotaEntity {
	var l kadm.ClientQuotaEntity
	for _, x := range []struct{ kind, name string }{{"user", e.user}, {"client-id", e.client}, {"ip", e.ip}} {
		switch x.name {
		case "":
		case "default":
			l = append(l, kadm.ClientQuotaEntityComponent{Type: x.kind})
		default:
			name := x.name
			l = append(l, kadm.ClientQuotaEntityComponent{Type: x.kind, Name: &name})
		}
	}
	return l
}

func entityName(e kadm.ClientQuotaEntity) string {
	var l []string
	for _, c := range e {
		name := "default"
		if c.Name != nil {
			name = *c.Name
		}
		l = append(l, c.Type+"="+name)
	}
	slices.Sort(l)
	return strings.Join(l, ",")
}

func (a *app) quotaDescribe() *cobra.Command {
	var e entity
	var strict bool
	c := &cobra.Command{
		Use: "describe", Short: "Show quotas, all or those of an entity", Args: cobra.NoArgs,
		RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, _ []string) error {
			var filter []kadm.DescribeClientQuotaComponent
			for _, c := range e.components() {
				d := kadm.DescribeClientQuotaComponent{Type: c.Type, MatchName: c.Name, MatchType: kmsg.QuotasMatchTypeExact}
				if c.Name == nil {
					d.MatchType = kmsg.QuotasMatchTypeDefault
				}
				filter = append(filter, d)
			}
			qs, err := adm.DescribeClientQuotas(ctx, strict, filter)
			if err != nil {
				return fmt.Errorf("describe quotas: %w", err)
			}
			type row struct {
				Entity map[string]*string `json:"entity"`
				Name   string             `json:"-"`
				Quotas map[string]float64 `json:"quotas"`
			}
			rows, t := []row{}, &table{head: []string{"ENTITY", "QUOTA", "VALUE"}}
			for _, q := range qs {
				r := row{map[string]*string{}, entityName(q.Entity), map[string]float64{}}
				for _, c := range q.Entity {
					r.Entity[c.Type] = c.Name
				}
				for _, v := range q.Values {
					r.Quotas[v.Key] = v.Value
				}
				rows = append(rows, r)
			}
			slices.SortFunc(rows, func(x, y row) int { return strings.Compare(x.Name, y.Name) })
			for _, r := range rows {
				for _, k := range sortedKeys(r.Quotas) {
					t.add(r.Name, k, r.Quotas[k])
				}
			}
			return a.emit(rows, t)
		}),
	}
	e.flags(c)
	c.Flags().BoolVar(&strict, "strict", false, "only entities that have no other part than those named")
	return c
}

func (a *app) quotaAlter(verb string) *cobra.Command {
	var e entity
	use, short := "set QUOTA=VALUE...", "Set quotas of an entity"
	if verb == "delete" {
		use, short = "delete QUOTA...", "Delete quotas of an entity"
	}
	names := []string{"producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate", "connection_creation_rate"}
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.MinimumNArgs(1), ValidArgsFunction: fixed(names...),
		RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, args []string) error {
			entry := kadm.AlterClientQuotaEntry{Entity: e.components()}
			if len(entry.Entity) == 0 {
				return usagef("give --user, --client-id or --ip", "nothing says whose quotas")
			}
			for _, arg := range args {
				k, v, ok := strings.Cut(arg, "=")
				if !slices.Contains(names, k) {
					return usagef("", "%q must be one of %s", k, strings.Join(names, ", "))
				}
				if verb == "delete" {
					entry.Ops = append(entry.Ops, kadm.AlterClientQuotaOp{Key: k, Remove: true})
					continue
				}
				n, err := strconv.ParseFloat(v, 64)
				if !ok || err != nil {
					return usagef("write "+k+"=1048576", "%q is no QUOTA=NUMBER", arg)
				}
				entry.Ops = append(entry.Ops, kadm.AlterClientQuotaOp{Key: k, Value: n})
			}
			rs, err := adm.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{entry})
			if err != nil {
				return fmt.Errorf("alter quotas: %w", err)
			}
			for _, r := range rs {
				if r.Err != nil {
					return fmt.Errorf("quotas of %s: %w", entityName(r.Entity), explain(r.Err, r.ErrMessage))
				}
			}
			return a.done(map[string]any{"entity": entityName(entry.Entity), "altered": true}, "quotas of %s altered", entityName(entry.Entity))
		}),
	}
	e.flags(c)
	return c
}

func sortedKeys[V any](m map[string]V) []string {
	l := make([]string, 0, len(m))
	for k := range m {
		l = append(l, k)
	}
	slices.Sort(l)
	return l
}
