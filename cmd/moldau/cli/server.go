package cli

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/moldau-io/moldau"
)

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print version and commit", Args: cobra.NoArgs,
		Run: func(*cobra.Command, []string) {
			fmt.Fprintln(a.Out, "moldau", moldau.Version, moldau.Commit)
		},
	}
}

func (a *app) server() *cobra.Command {
	var src moldau.Sources
	var roles, endpoints string
	c := &cobra.Command{
		Use:         "server",
		Short:       "Run the hub",
		Annotations: map[string]string{"ends": "interrupt"},
		Long: `Run the hub. Without flags: broker on 127.0.0.1:9092, registry on :8081, connect on :8083, admin on :8080, data in ./data.

A setting is SECTION.KEY with the sections broker, registry, connect and admin and, inside, Kafka's, the registry's and Kafka Connect's
own property names. --set wins over the environment (MOLDAU_BROKER_NUM_PARTITIONS=4), the environment over files (--config, --properties),
those over defaults.`,
		Example: `  moldau server --data-dir /var/lib/moldau --set broker.listeners=PLAINTEXT://0.0.0.0:9092
  moldau server --properties broker=server.properties --properties connect=connect-distributed.properties
  moldau server --roles connect,registry --set connect.bootstrap.servers=kafka:9092 --set registry.bootstrap.servers=kafka:9092`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			src.Environ = os.Environ()
			src.Roles = strings.Split(roles, ",")
			cfg, err := moldau.Load(src)
			if err != nil {
				return err
			}
			cfg.EndpointsFile = endpoints
			return run(c.Context(), cfg)
		},
	}
	f := c.Flags()
	f.StringVar(&src.File, "config", "", "a YAML file with the sections broker, registry, connect, admin")
	f.StringArrayVar(&src.Properties, "properties", nil, "SECTION=FILE: one of those sections from a file as Kafka, Connect or the registry is started with; may be repeated")
	f.StringVar(&src.DataDir, "data-dir", "data", "where the log and the metadata are kept")
	f.StringVar(&roles, "roles", "broker,controller,connect,registry", "the roles of this process")
	f.StringArrayVar(&src.Set, "set", nil, "a setting, SECTION.KEY=VALUE; may be repeated")
	f.StringVar(&endpoints, "endpoints", "", "a file to write the addresses to when all roles answer")
	return c
}

func run(ctx context.Context, cfg moldau.Config) error {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		// Memory is bounded by settings in bytes, most of it in buffers that live long: collecting later costs little and saves much.
		debug.SetGCPercent(200)
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		go giveMemoryBack(ctx)
	}
	n, err := moldau.New(cfg)
	if err != nil {
		return err
	}
	return n.Run(ctx)
}
