package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/cmd/moldau/clientprops"
	"github.com/moldau-io/moldau/core/config"
	"github.com/moldau-io/moldau/core/config/properties"
)

// Streams are what a command reads from and writes to.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// app is one run of the command line: the common flags and the streams.
type app struct {
	Streams
	env func(string) string

	servers string // --bootstrap-server
	file    string // --command-config
	json    bool
	timeout time.Duration
	props   []string // --command-property

	client *kgo.Client // of the command that runs
}

// environment variables that stand for common flags.
const (
	envServers = "MOLDAU_BOOTSTRAP_SERVER"
	envConfig  = "MOLDAU_COMMAND_CONFIG"
	envConnect = "MOLDAU_CONNECT_URL"
	envSchemas = "MOLDAU_REGISTRY_URL"
)

// Main runs a command line and returns its exit code.
func Main(ctx context.Context, args []string, s Streams) int {
	a := &app{Streams: s, env: os.Getenv}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	err = flagRules(c, err)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		if a.interruptible(root, args) {
			return exitOK
		}
		err = &Error{Code: exitInterrupted, Err: errors.New("interrupted")}
	}
	e := classify(err)
	a.complain(e)
	return e.Code
}

// interruptible tells whether an interrupt is the way to end a command: it serves, or follows.
func (a *app) interruptible(root *cobra.Command, args []string) bool {
	c, _, err := root.Find(args)
	return err == nil && c.Annotations["ends"] == "interrupt"
}

func (a *app) complain(e *Error) {
	if a.json {
		_ = json.NewEncoder(a.Err).Encode(struct {
			Error *Error `json:"error"`
		}{e})
		return
	}
	fmt.Fprintln(a.Err, "moldau:", e.Error())
	if e.Remedy != "" {
		fmt.Fprintln(a.Err, "  "+e.Remedy)
	}
}

func (a *app) root() *cobra.Command {
	c := &cobra.Command{
		Use:   "moldau",
		Short: "A data-integration hub: Kafka-protocol log, Kafka Connect worker and schema registry in one process",
		Long: `A data-integration hub: Kafka-protocol log, Kafka Connect worker and schema registry in one process.

The commands below "server" ask and order any Kafka cluster. Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 exists already,
5 the cluster does not answer, 6 not authorised, 130 interrupted.`,
		SilenceUsage: true, SilenceErrors: true,
	}
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		var unknown *pflag.NotExistError
		if errors.As(err, &unknown) {
			var names []string
			c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
			if s := config.Suggest(unknown.GetSpecifiedName(), names); s != "" {
				return usage(err, "did you mean --"+s+"?")
			}
		}
		return usage(err, "see "+c.CommandPath()+" --help")
	})
	c.AddGroup(&cobra.Group{ID: "hub", Title: "The hub:"}, &cobra.Group{ID: "cluster", Title: "Any Kafka cluster:"}, &cobra.Group{ID: "rest", Title: "Connect and Schema Registry:"}, &cobra.Group{ID: "tools", Title: "Tools:"})
	add := func(group string, cmds ...*cobra.Command) {
		for _, cmd := range cmds {
			cmd.GroupID = group
			c.AddCommand(cmd)
		}
	}
	add("hub", a.server(), a.version())
	add("cluster", a.clusterCommands()...)
	add("rest", a.connectorCommand(), a.schemaCommand())
	add("tools", a.benchCommand(), a.logCommand())
	c.CompletionOptions.HiddenDefaultCmd = false
	strict(c)
	return c
}

// clusterCommands are the nouns of a Kafka cluster; they share the flags that say where it is.
func (a *app) clusterCommands() []*cobra.Command {
	l := []*cobra.Command{
		a.topicCommand(), a.produceCommand(), a.consumeCommand(), a.groupCommand(), a.configCommand(), a.quotaCommand(),
		a.aclCommand(), a.userCommand(), a.clusterCommand(), a.transactionCommand(),
	}
	for _, c := range l {
		a.clusterFlags(c.PersistentFlags())
	}
	return l
}

func (a *app) clusterFlags(f *pflag.FlagSet) {
	f.StringVar(&a.servers, "bootstrap-server", "", "brokers to ask first, HOST:PORT,...; default $"+envServers+", bootstrap.servers of --command-config, 127.0.0.1:9092")
	f.StringVar(&a.file, "command-config", "", "a file with Kafka's client properties: security.protocol, sasl.*, ssl.*, ...; default $"+envConfig)
	f.StringArrayVar(&a.props, "command-property", nil, "a client property, KEY=VALUE; may be repeated, wins over --command-config")
	a.commonFlags(f)
}

func (a *app) commonFlags(f *pflag.FlagSet) {
	f.BoolVar(&a.json, "json", false, "answer with a JSON document")
	f.DurationVar(&a.timeout, "timeout", 30*time.Second, "how long to wait for the cluster's answers")
}

// strict makes a command without an action refuse arguments that name none of its subcommands, instead of showing its help.
func strict(c *cobra.Command) {
	for _, sub := range c.Commands() {
		strict(sub)
	}
	if c.RunE != nil || c.Run != nil {
		inner := c.Args
		if inner != nil {
			c.Args = func(c *cobra.Command, args []string) error {
				if err := inner(c, args); err != nil {
					return usage(argumentError(c, args), "see "+c.CommandPath()+" --help")
				}
				return nil
			}
		}
		return
	}
	if c.HasSubCommands() && c.HasParent() {
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			remedy := "see " + c.CommandPath() + " --help"
			if s := c.SuggestionsFor(args[0]); len(s) > 0 {
				remedy = "did you mean " + strings.Join(s, " or ") + "?"
			}
			return usage(fmt.Errorf("%s has no command %q", c.CommandPath(), args[0]), remedy)
		}
		c.Args = cobra.ArbitraryArgs
		c.SuggestionsMinimumDistance = 2
	}
}

// argumentError says which arguments a command takes that was given others.
func argumentError(c *cobra.Command, args []string) error {
	given := "none is given"
	if len(args) > 0 {
		given = fmt.Sprintf("%d are given: %s", len(args), strings.Join(args, " "))
	}
	_, wanted, some := strings.Cut(c.Use, " ")
	if !some {
		return fmt.Errorf("%s takes no arguments, %s", c.CommandPath(), given)
	}
	return fmt.Errorf("%s takes %s, %s", c.CommandPath(), wanted, given)
}

// The texts of the rules about several flags, whose flags stand in brackets or quotes.
var (
	oneNeeded  = regexp.MustCompile(`^at least one of the flags in the group \[(.*)\] is required$`)
	exclusive  = regexp.MustCompile(`none of the others can be; \[(.*)\] were all set$`)
	flagNeeded = regexp.MustCompile(`^required flag\(s\) (.*) not set$`)
)

// flagRules says in words of the command line what rules about several flags refused.
func flagRules(c *cobra.Command, err error) error {
	flags := func(list, sep string) string {
		var names []string
		for _, n := range strings.FieldsFunc(list, func(r rune) bool { return r == ' ' || r == ',' || r == '"' }) {
			names = append(names, "--"+n)
		}
		return strings.Join(names, sep)
	}
	see := "see " + c.CommandPath() + " --help"
	text := err.Error()
	if m := oneNeeded.FindStringSubmatch(text); m != nil {
		return usagef(see, "one of %s is needed", flags(m[1], ", "))
	}
	if m := exclusive.FindStringSubmatch(text); m != nil {
		return usagef(see, "%s exclude each other", flags(m[1], " and "))
	}
	if m := flagNeeded.FindStringSubmatch(text); m != nil {
		return usagef(see, "%s is needed", flags(m[1], " and "))
	}
	return err
}

// properties reads what says how to reach the cluster.
func (a *app) properties() (*clientprops.Config, error) {
	file := a.file
	if file == "" {
		file = a.env(envConfig)
	}
	props := map[string]string{}
	if file != "" {
		p, err := properties.ReadFile(file)
		if err != nil {
			return nil, usage(fmt.Errorf("--command-config: %w", err), "give a readable file in the format of Kafka's client properties")
		}
		props = p
	}
	for _, kv := range a.props {
		k, v, ok := strings.Cut(kv, "=")
		if !ok {
			return nil, usage(fmt.Errorf("--command-property %q has no '='", kv), "write KEY=VALUE")
		}
		props[k] = v
	}
	c, err := clientprops.New(props)
	if err != nil {
		return nil, usage(fmt.Errorf("client properties: %w", err), "")
	}
	switch {
	case a.servers != "":
		c.Bootstrap = clientprops.SplitServers(a.servers)
	case a.env(envServers) != "":
		c.Bootstrap = clientprops.SplitServers(a.env(envServers))
	}
	if len(c.Bootstrap) == 0 {
		c.Bootstrap = []string{"127.0.0.1:9092"}
	}
	for _, s := range c.Bootstrap {
		if i := strings.LastIndexByte(s, ':'); i <= 0 || i == len(s)-1 {
			return nil, usage(fmt.Errorf("--bootstrap-server %q is no HOST:PORT", s), "such as --bootstrap-server 127.0.0.1:9092")
		}
	}
	return c, nil
}

// clientOptions are given to every client: quick to fail, since somebody waits.
func (a *app) clientOptions(c *clientprops.Config) []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(c.Bootstrap...), kgo.ClientID("moldau-cli"), kgo.RetryTimeout(a.timeout), kgo.DialTimeout(min(a.timeout, 10*time.Second)), kgo.MetadataMinAge(50 * time.Millisecond)}
}

// admin makes a client that asks and orders, bounded by --timeout.
func (a *app) admin(ctx context.Context) (*kadm.Client, context.Context, func(), error) {
	c, err := a.properties()
	if err != nil {
		return nil, nil, nil, err
	}
	cl, err := kgo.NewClient(append(a.clientOptions(c), c.AdminOptions()...)...)
	if err != nil {
		return nil, nil, nil, usage(fmt.Errorf("client properties: %w", err), "")
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	done := func() { cancel(); cl.Close() }
	if err := cl.Ping(ctx); err != nil {
		done()
		return nil, nil, nil, unreachable(c.Bootstrap, err)
	}
	a.client = cl
	adm := kadm.NewClient(cl)
	adm.SetTimeoutMillis(int32(min(a.timeout, time.Hour).Milliseconds()))
	return adm, ctx, done, nil
}

// kafka runs f with a client.
func (a *app) kafka(f func(ctx context.Context, adm *kadm.Client, c *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		adm, ctx, done, err := a.admin(c.Context())
		if err != nil {
			return err
		}
		defer done()
		if err := f(ctx, adm, c, args); err != nil {
			if errors.Is(err, context.DeadlineExceeded) && c.Context().Err() == nil {
				return &Error{Code: exitUnreachable, Err: fmt.Errorf("no answer within %s: %w", a.timeout, err), Remedy: "a larger --timeout waits longer"}
			}
			return err
		}
		return nil
	}
}

// names completes with what list returns, sorted.
func (a *app) names(list func(ctx context.Context, adm *kadm.Client) ([]string, error)) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		a.timeout = 3 * time.Second // somebody pressed Tab
		adm, ctx, done, err := a.admin(context.Background())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer done()
		all, err := list(ctx, adm)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var l []string
		for _, n := range all {
			if strings.HasPrefix(n, prefix) {
				l = append(l, n)
			}
		}
		return l, cobra.ShellCompDirectiveNoFileComp
	}
}

func topicNames(ctx context.Context, adm *kadm.Client) ([]string, error) {
	t, err := adm.ListTopicsWithInternal(ctx)
	return t.Names(), err
}

func groupNames(ctx context.Context, adm *kadm.Client) ([]string, error) {
	g, err := adm.ListGroups(ctx)
	return g.Groups(), err
}

// fixed completes with given words.
func fixed(words ...string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

// complete sets how the value of a flag is completed.
func complete(c *cobra.Command, flag string, f func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)) {
	if err := c.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // a flag that the command does not have
	}
}

// noun is a command that only holds others.
func noun(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.AddCommand(subs...)
	return c
}
