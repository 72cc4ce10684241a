package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// reference is docs/command-line.md, from the tree of commands.
func reference() string {
	a := &app{env: os.Getenv}
	root := a.root()
	var b strings.Builder
	b.WriteString(`# Command line

<!-- generated: go test ./cmd/moldau/cli -run TestReference -args -update -->

"moldau server" runs the hub; the other commands ask and order any Kafka cluster, Kafka Connect worker or Schema Registry.

Answers go to stdout, as tables or with "--json" as one document; what went wrong goes to stderr, with "--json" as
"{"error":{"kind","exit","message","kafka_error","remedy"}}". Lists are sorted.

| exit code | meaning |
|--:|---|
| 0 | done |
| 1 | the operation failed, or a check found damage |
| 2 | usage: a flag, an argument or a file that is not right |
| 3 | what was named does not exist |
| 4 | what should be created is there already |
| 5 | the cluster does not answer in time |
| 6 | not authenticated or not authorised |
| 130 | interrupted |

"server" and "consume" end with 0 when they are interrupted. Several failures in one command have the code of all of them, or 1 when they differ.

| variable | stands for |
|---|---|
`)
	for _, v := range [][2]string{{envServers, "--bootstrap-server"}, {envConfig, "--command-config"}, {envConnect, "--connect-url"}, {envSchemas, "--registry-url"}} {
		fmt.Fprintf(&b, "| `%s` | `%s` |\n", v[0], v[1])
	}
	b.WriteString("\nCompletion of commands, flags, topics, groups, connectors and subjects: `source <(moldau completion bash)`, or zsh, fish, powershell.\n")
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			return
		}
		if !c.HasSubCommands() {
			fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n    %s\n", c.CommandPath(), c.Short, c.UseLine())
			rows := 0
			c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
				if f.Name == "help" {
					return
				}
				if rows++; rows == 1 {
					b.WriteString("\n| flag | |\n|---|---|\n")
				}
				name := "--" + f.Name
				if f.Shorthand != "" {
					name = "-" + f.Shorthand + ", " + name
				}
				def := ""
				if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" && f.DefValue != "0s" {
					def = " (default `" + f.DefValue + "`)"
				}
				fmt.Fprintf(&b, "| `%s` | %s%s |\n", name, strings.ReplaceAll(f.Usage, "|", "\\|"), def)
			})
		}
		for _, s := range c.Commands() {
			walk(s)
		}
	}
	walk(root)
	b.WriteString("\n## Common flags\n\n| flag | |\n|---|---|\n")
	for _, c := range root.Commands() {
		if c.Name() == "topic" {
			c.PersistentFlags().VisitAll(func(f *pflag.Flag) { fmt.Fprintf(&b, "| `--%s` | %s |\n", f.Name, f.Usage) })
		}
	}
	return b.String()
}

func TestReferenceIsFresh(t *testing.T) {
	const page = "../../../docs/command-line.md"
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(reference()), 0o644))
	}
	b, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Equal(t, reference(), string(b), "docs/command-line.md is stale: go test ./cmd/moldau/cli -run TestReference -args -update")
}

// TestEveryCommandSaysWhatItDoes holds the tree to its rules: short texts, no panic while the flags are made, arguments that are checked.
func TestEveryCommandSaysWhatItDoes(t *testing.T) {
	a := &app{env: os.Getenv}
	seen := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		seen++
		require.NotEmpty(t, c.Short, c.CommandPath())
		require.False(t, strings.HasSuffix(c.Short, "."), c.CommandPath())
		c.Flags().VisitAll(func(f *pflag.Flag) { require.NotEmpty(t, f.Usage, "%s --%s", c.CommandPath(), f.Name) })
		for _, s := range c.Commands() {
			walk(s)
		}
	}
	walk(a.root())
	require.Greater(t, seen, 50)
}
