package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (a *app) aclCommand() *cobra.Command {
	return noun("acl", "Access control: list, create, delete", a.aclList(), a.aclChange(true), a.aclChange(false))
}

type aclRow struct {
	Resource   string `json:"resource_type"`
	Name       string `json:"resource_name"`
	Pattern    string `json:"pattern_type"`
	Principal  string `json:"principal"`
	Host       string `json:"host"`
	Operation  string `json:"operation"`
	Permission string `json:"permission"`
}

// emitACLs answers with rules, each once, sorted.
func (a *app) emitACLs(rows []aclRow) error {
	slices.SortFunc(rows, func(x, y aclRow) int {
		key := func(r aclRow) string {
			return strings.Join([]string{r.Resource, r.Name, r.Pattern, r.Principal, r.Host, r.Operation, r.Permission}, "\x00")
		}
		return strings.Compare(key(x), key(y))
	})
	rows = slices.Compact(rows)
	t := &table{head: []string{"RESOURCE", "NAME", "PATTERN", "PRINCIPAL", "HOST", "OPERATION", "PERMISSION"}}
	for _, r := range rows {
		t.add(r.Resource, r.Name, r.Pattern, r.Principal, r.Host, r.Operation, r.Permission)
	}
	return a.emit(rows, t)
}

// aclFlags say which rules: what they are about, for whom, and what they allow or deny.
type aclFlags struct {
	topics, groups, txns, users []string
	cluster                     bool
	pattern                     string
	allow, deny                 []string
	hosts, operations           []string
}

func (f *aclFlags) flags(c *cobra.Command, a *app) {
	fl := c.Flags()
	fl.StringArrayVar(&f.topics, "topic", nil, "a topic, * for all; may be repeated")
	fl.StringArrayVar(&f.groups, "group", nil, "a group; may be repeated")
	fl.StringArrayVar(&f.txns, "transactional-id", nil, "a transactional id; may be repeated")
	fl.StringArrayVar(&f.users, "user-principal", nil, "a user as a resource (of delegation tokens), User:NAME; may be repeated")
	fl.BoolVar(&f.cluster, "cluster", false, "the cluster")
	fl.StringVar(&f.pattern, "pattern", "literal", "how names match: literal or prefixed; to list and delete also any and match")
	fl.StringArrayVar(&f.allow, "allow", nil, "a principal that may, User:NAME; may be repeated")
	fl.StringArrayVar(&f.deny, "deny", nil, "a principal that may not; may be repeated")
	fl.StringArrayVar(&f.hosts, "host", nil, "the address it comes from; default * (any); may be repeated")
	fl.StringSliceVar(&f.operations, "operation", nil, "read, write, create, delete, alter, describe, cluster-action, describe-configs, alter-configs, idempotent-write, all")
	complete(c, "operation", fixed("read", "write", "create", "delete", "alter", "describe", "cluster-action", "describe-configs", "alter-configs", "idempotent-write", "all"))
	complete(c, "pattern", fixed("literal", "prefixed", "any", "match"))
	complete(c, "topic", a.names(topicNames))
	complete(c, "group", a.names(groupNames))
}

type aclResource struct {
	kind kmsg.ACLResourceType
	name string
}

func (f *aclFlags) resources() []aclResource {
	var l []aclResource
	for _, x := range []struct {
		kind  kmsg.ACLResourceType
		names []string
	}{{kmsg.ACLResourceTypeTopic, f.topics}, {kmsg.ACLResourceTypeGroup, f.groups}, {kmsg.ACLResourceTypeTransactionalId, f.txns}, {kmsg.ACLResourceTypeUser, f.users}} {
		for _, n := range x.names {
			l = append(l, aclResource{x.kind, n})
		}
	}
	if f.cluster {
		l = append(l, aclResource{kmsg.ACLResourceTypeCluster, "kafka-cluster"})
	}
	return l
}

type aclWho struct {
	principal  string
	permission kmsg.ACLPermissionType
}

func (f *aclFlags) who() ([]aclWho, error) {
	var l []aclWho
	for _, x := range []struct {
		flag string
		l    []string
		p    kmsg.ACLPermissionType
	}{{"allow", f.allow, kmsg.ACLPermissionTypeAllow}, {"deny", f.deny, kmsg.ACLPermissionTypeDeny}} {
		for _, p := range x.l {
			if !strings.Contains(p, ":") {
				return nil, usagef("write --"+x.flag+" User:"+p, "--%s %q is no principal", x.flag, p)
			}
			l = append(l, aclWho{p, x.p})
		}
	}
	return l, nil
}

func (f *aclFlags) parsed() ([]kmsg.ACLOperation, kmsg.ACLResourcePatternType, error) {
	var ops []kmsg.ACLOperation
	for _, o := range f.operations {
		op, err := kmsg.ParseACLOperation(o)
		if err != nil || op == kmsg.ACLOperationUnknown {
			return nil, 0, usagef("", "--operation %q is no operation", o)
		}
		ops = append(ops, op)
	}
	p, err := kmsg.ParseACLResourcePatternType(f.pattern)
	if err != nil || p == kmsg.ACLResourcePatternTypeUnknown {
		return nil, 0, usagef("", "--pattern %q must be literal, prefixed, any or match", f.pattern)
	}
	return ops, p, nil
}

func (a *app) aclList() *cobra.Command {
	var f aclFlags
	c := &cobra.Command{
		Use: "list", Short: "List access rules, all or those that match the flags", Args: cobra.NoArgs,
		RunE: a.kafka(func(ctx context.Context, _ *kadm.Client, c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("pattern") {
				f.pattern = "any"
			}
			filters, err := f.filters()
			if err != nil {
				return err
			}
			rows := []aclRow{}
			for _, fl := range filters {
				req := kmsg.NewPtrDescribeACLsRequest()
				req.ResourceType, req.ResourceName, req.ResourcePatternType = fl.ResourceType, fl.ResourceName, fl.ResourcePatternType
				req.Principal, req.Host, req.Operation, req.PermissionType = fl.Principal, fl.Host, fl.Operation, fl.PermissionType
				resp, err := req.RequestWith(ctx, a.client)
				if err == nil {
					err = explain(kerr.ErrorForCode(resp.ErrorCode), text(resp.ErrorMessage))
				}
				if err != nil {
					return fmt.Errorf("list acls: %w", err)
				}
				for _, r := range resp.Resources {
					for _, x := range r.ACLs {
						rows = append(rows, aclRow{r.ResourceType.String(), r.ResourceName, r.ResourcePatternType.String(), x.Principal, x.Host, x.Operation.String(), x.PermissionType.String()})
					}
				}
			}
			return a.emitACLs(rows)
		}),
	}
	f.flags(c, a)
	return c
}

// filters are the filters of the flags: what is not given matches all.
func (f *aclFlags) filters() ([]kmsg.DeleteACLsRequestFilter, error) {
	ops, pattern, err := f.parsed()
	if err != nil {
		return nil, err
	}
	who, err := f.who()
	if err != nil {
		return nil, err
	}
	if len(ops) == 0 {
		ops = []kmsg.ACLOperation{kmsg.ACLOperationAny}
	}
	if len(who) == 0 {
		who = []aclWho{{"", kmsg.ACLPermissionTypeAny}}
	}
	rs := f.resources()
	if len(rs) == 0 {
		rs = []aclResource{{kmsg.ACLResourceTypeAny, ""}}
	}
	hosts := f.hosts
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	var l []kmsg.DeleteACLsRequestFilter
	opt := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	for _, r := range rs {
		for _, w := range who {
			for _, h := range hosts {
				for _, op := range ops {
					x := kmsg.NewDeleteACLsRequestFilter()
					x.ResourceType, x.ResourceName, x.ResourcePatternType = r.kind, opt(r.name), pattern
					x.Principal, x.Host, x.Operation, x.PermissionType = opt(w.principal), opt(h), op, w.permission
					l = append(l, x)
				}
			}
		}
	}
	return l, nil
}

func (a *app) aclChange(create bool) *cobra.Command {
	var f aclFlags
	c := &cobra.Command{
		Use: "create", Short: "Create access rules: every resource with every principal, host and operation", Args: cobra.NoArgs,
		Example: `  moldau acl create --topic orders --pattern prefixed --allow User:shop --operation write,describe`,
	}
	if !create {
		c.Use, c.Short = "delete", "Delete the access rules that match the flags"
		c.Example = `  moldau acl delete --allow User:shop`
	}
	c.RunE = a.kafka(func(ctx context.Context, _ *kadm.Client, c *cobra.Command, _ []string) error {
		if create {
			return a.createACLs(ctx, &f)
		}
		if !c.Flags().Changed("pattern") {
			f.pattern = "any"
		}
		if len(f.resources()) == 0 && len(f.allow)+len(f.deny)+len(f.hosts)+len(f.operations) == 0 {
			return usagef("give what to match, such as --topic orders or --allow User:shop", "delete without a flag would delete every rule")
		}
		return a.deleteACLs(ctx, &f)
	})
	f.flags(c, a)
	return c
}

func (a *app) createACLs(ctx context.Context, f *aclFlags) error {
	ops, pattern, err := f.parsed()
	if err != nil {
		return err
	}
	who, err := f.who()
	if err != nil {
		return err
	}
	rs := f.resources()
	switch {
	case len(rs) == 0:
		return usagef("give --topic, --group, --transactional-id, --user-principal or --cluster", "nothing says what the rule is about")
	case len(who) == 0:
		return usagef("give --allow User:NAME or --deny User:NAME", "nothing says whom the rule is for")
	case pattern != kmsg.ACLResourcePatternTypeLiteral && pattern != kmsg.ACLResourcePatternTypePrefixed:
		return usagef("any and match are to list and delete", "--pattern %q must be literal or prefixed", f.pattern)
	case len(ops) == 0:
		return usagef("give --operation read", "nothing says what the rule allows or denies")
	}
	if len(f.hosts) == 0 {
		f.hosts = []string{"*"}
	}
	req := kmsg.NewPtrCreateACLsRequest()
	rows := []aclRow{}
	for _, r := range rs {
		for _, w := range who {
			for _, h := range f.hosts {
				for _, op := range ops {
					x := kmsg.NewCreateACLsRequestCreation()
					x.ResourceType, x.ResourceName, x.ResourcePatternType = r.kind, r.name, pattern
					x.Principal, x.Host, x.Operation, x.PermissionType = w.principal, h, op, w.permission
					req.Creations = append(req.Creations, x)
					rows = append(rows, aclRow{r.kind.String(), r.name, pattern.String(), w.principal, h, op.String(), w.permission.String()})
				}
			}
		}
	}
	resp, err := req.RequestWith(ctx, a.client)
	if err != nil {
		return fmt.Errorf("create acls: %w", err)
	}
	var fail failures
	made := []aclRow{}
	for i, r := range resp.Results {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			what := "acl"
			if i < len(rows) {
				what = "acl of " + rows[i].Resource + " " + rows[i].Name
			}
			fail.add(what, explain(err, text(r.ErrorMessage)))
		} else if i < len(rows) {
			made = append(made, rows[i])
		}
	}
	if len(made) > 0 {
		if err := a.emitACLs(made); err != nil {
			return err
		}
	}
	return fail.err()
}

func (a *app) deleteACLs(ctx context.Context, f *aclFlags) error {
	filters, err := f.filters()
	if err != nil {
		return err
	}
	req := kmsg.NewPtrDeleteACLsRequest()
	req.Filters = filters
	resp, err := req.RequestWith(ctx, a.client)
	if err != nil {
		return fmt.Errorf("delete acls: %w", err)
	}
	var fail failures
	rows := []aclRow{}
	for _, r := range resp.Results {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			fail.add("acl", explain(err, text(r.ErrorMessage)))
			continue
		}
		for _, m := range r.MatchingACLs {
			if err := kerr.ErrorForCode(m.ErrorCode); err != nil {
				fail.add("acl of "+m.ResourceType.String()+" "+m.ResourceName, explain(err, text(m.ErrorMessage)))
				continue
			}
			rows = append(rows, aclRow{m.ResourceType.String(), m.ResourceName, m.ResourcePatternType.String(), m.Principal, m.Host, m.Operation.String(), m.PermissionType.String()})
		}
	}
	if err := fail.err(); err != nil {
		return err
	}
	if len(rows) == 0 {
		return notFound("no acl matches")
	}
	return a.emitACLs(rows)
}

func (a *app) userCommand() *cobra.Command {
	return noun("user", "SCRAM users: list, set a password, delete", a.userList(), a.userSet(), a.userDelete())
}

func scramOf(s string) (kadm.ScramMechanism, error) {
	switch strings.ToUpper(s) {
	case "SCRAM-SHA-256":
		return kadm.ScramSha256, nil
	case "SCRAM-SHA-512":
		return kadm.ScramSha512, nil
	}
	return 0, usagef("", "--mechanism %q must be SCRAM-SHA-256 or SCRAM-SHA-512", s)
}

func (a *app) userList() *cobra.Command {
	return &cobra.Command{
		Use: "list [USER...]", Short: "List users with their SCRAM mechanisms",
		RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, args []string) error {
			us, err := adm.DescribeUserSCRAMs(ctx, args...)
			if err != nil {
				return fmt.Errorf("describe users: %w", err)
			}
			type row struct {
				User       string `json:"user"`
				Mechanism  string `json:"mechanism"`
				Iterations int32  `json:"iterations"`
			}
			rows, t, fail := []row{}, &table{head: []string{"USER", "MECHANISM", "ITERATIONS"}}, failures{}
			for _, u := range us.Sorted() {
				if u.Err != nil {
					fail.add("user "+u.User, explain(u.Err, u.ErrMessage))
					continue
				}
				slices.SortFunc(u.CredInfos, func(x, y kadm.CredInfo) int { return int(x.Mechanism) - int(y.Mechanism) })
				for _, c := range u.CredInfos {
					rows = append(rows, row{u.User, c.Mechanism.String(), c.Iterations})
					t.add(u.User, c.Mechanism.String(), c.Iterations)
				}
			}
			if err := a.emit(rows, t); err != nil {
				return err
			}
			return fail.err()
		}),
	}
}

func (a *app) userSet() *cobra.Command {
	var mechanism, password, file string
	var iterations int32
	c := &cobra.Command{
		Use: "set USER", Short: "Set the password of a user, who is created", Args: cobra.ExactArgs(1),
		Long: `Set the password of a user, who is created if not there. The password is read from the first line of --password-file ("-" is the standard input);
it is salted and hashed here and never sent.`,
		Example: `  moldau user set alice --password-file - <<< s3cret`,
		RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, args []string) error {
			m, err := scramOf(mechanism)
			if err != nil {
				return err
			}
			if iterations < 4096 || iterations > 16384 {
				return usagef("", "--iterations must be 4096 to 16384")
			}
			if file != "" {
				if password, err = a.secret(file); err != nil {
					return usage(fmt.Errorf("--password-file: %w", err), "")
				}
			}
			if password == "" {
				return usagef("give --password-file FILE, or - for the standard input", "the password is empty")
			}
			rs, err := adm.AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{{User: args[0], Mechanism: m, Iterations: iterations, Password: password}})
			if err != nil {
				return fmt.Errorf("set user %s: %w", args[0], err)
			}
			if r := rs[args[0]]; r.Err != nil {
				return fmt.Errorf("set user %s: %w", args[0], explain(r.Err, r.ErrMessage))
			}
			return a.done(map[string]any{"user": args[0], "mechanism": m.String(), "set": true}, "password of user %s set for %s", args[0], m)
		}),
	}
	f := c.Flags()
	f.StringVar(&mechanism, "mechanism", "SCRAM-SHA-512", "SCRAM-SHA-256 or SCRAM-SHA-512")
	f.StringVar(&password, "password", "", "the password; others on this machine can see it: prefer --password-file")
	f.StringVar(&file, "password-file", "", "a file with the password; - is the standard input")
	f.Int32Var(&iterations, "iterations", 8192, "rounds of the hash")
	c.MarkFlagsMutuallyExclusive("password", "password-file")
	c.MarkFlagsOneRequired("password", "password-file")
	complete(c, "mechanism", fixed("SCRAM-SHA-256", "SCRAM-SHA-512"))
	return c
}

// maxSecret bounds a password, in bytes.
const maxSecret = 4096

// secret is the first line of a file.
func (a *app) secret(file string) (string, error) {
	in := a.In
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	line, err := bufio.NewReader(io.LimitReader(in, maxSecret+1)).ReadString('\n') // a pipe may give it in pieces
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return "", err
	case line == "":
		return "", errors.New("it is empty")
	case len(line) > maxSecret:
		return "", fmt.Errorf("its first line has more than %d bytes", maxSecret)
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
}

func (a *app) userDelete() *cobra.Command {
	var mechanisms []string
	c := &cobra.Command{
		Use: "delete USER", Short: "Delete the passwords of a user", Args: cobra.ExactArgs(1),
		RunE: a.kafka(func(ctx context.Context, adm *kadm.Client, _ *cobra.Command, args []string) error {
			var del []kadm.DeleteSCRAM
			for _, s := range mechanisms {
				m, err := scramOf(s)
				if err != nil {
					return err
				}
				del = append(del, kadm.DeleteSCRAM{User: args[0], Mechanism: m})
			}
			none := notFound("user %s has no SCRAM password", args[0])
			if len(del) == 0 {
				us, err := adm.DescribeUserSCRAMs(ctx, args[0])
				if err != nil {
					return fmt.Errorf("describe user %s: %w", args[0], err)
				}
				if u := us[args[0]]; errors.Is(u.Err, kerr.ResourceNotFound) {
					return none
				} else if u.Err != nil {
					return fmt.Errorf("user %s: %w", args[0], explain(u.Err, u.ErrMessage))
				}
				for _, c := range us[args[0]].CredInfos {
					del = append(del, kadm.DeleteSCRAM{User: args[0], Mechanism: c.Mechanism})
				}
			}
			deleted := false
			for _, d := range del { // one request a mechanism: Kafka refuses a user named twice
				rs, err := adm.AlterUserSCRAMs(ctx, []kadm.DeleteSCRAM{d}, nil)
				if err != nil {
					return fmt.Errorf("delete user %s: %w", args[0], err)
				}
				r := rs[args[0]]
				if errors.Is(r.Err, kerr.ResourceNotFound) {
					continue // the broker that was asked had not heard of its end yet
				}
				if r.Err != nil {
					return fmt.Errorf("delete user %s: %w", args[0], explain(r.Err, r.ErrMessage))
				}
				deleted = true
			}
			if !deleted {
				return none
			}
			return a.done(map[string]any{"user": args[0], "deleted": true}, "user %s deleted", args[0])
		}),
	}
	c.Flags().StringArrayVar(&mechanisms, "mechanism", nil, "this mechanism only; may be repeated")
	complete(c, "mechanism", fixed("SCRAM-SHA-256", "SCRAM-SHA-512"))
	return c
}
