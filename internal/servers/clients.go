package servers

import (
	"context"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Python is a set of Python packages, apart from the machine's own.
type Python struct{ dir string }

// The sets of packages that tests use: readers of what sinks wrote that share no code with us, and clients.
var (
	pythonReaders = []string{"duckdb==1.4.1", "fastavro==1.12.1", "pytz==2025.2", "cramjam==2.11.0"}
	pythonClients = []string{"confluent-kafka==2.11.1", "attrs==26.1.0", "httpx==0.28.1", "authlib==1.9.9", "cachetools==8.0.1",
		"fastavro==1.12.1", "requests==2.34.2", "orjson==3.11.9"}
)

// FetchReaders brings DuckDB and fastavro.
func FetchReaders(ctx context.Context) (*Python, error) {
	return fetchPython(ctx, "python-readers", "DuckDB and fastavro (PyPI, 25 MB)", pythonReaders)
}

// FetchPythonClients brings confluent-kafka with its Avro serializer.
func FetchPythonClients(ctx context.Context) (*Python, error) {
	return fetchPython(ctx, "python-clients", "confluent-kafka (PyPI, 15 MB)", pythonClients)
}

func fetchPython(ctx context.Context, name, what string, packages []string) (*Python, error) {
	// The list is part of the name, so that a change of it is a new set.
	sum := crc32.ChecksumIEEE([]byte(strings.Join(packages, " ")))
	dir, err := cached(ctx, fmt.Sprintf("%s-%08x", name, sum), what, func(ctx context.Context, dir string) error {
		if err := pip(ctx); err != nil {
			return err
		}
		_, err := run(ctx, dir, nil, "python3", append([]string{"-m", "pip", "install", "-q", "--no-warn-script-location",
			"--disable-pip-version-check", "--root-user-action=ignore", "--retries", "5", "--target", dir}, packages...)...)
		return err
	})
	return &Python{dir}, err
}

// Command returns a command that runs a script (its text) with the packages on its path, and not the machine's own (-S), so that one
// which the set lacks is missed everywhere.
func (p *Python) Command(ctx context.Context, script string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "python3", append([]string{"-S", "-c", script}, args...)...)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+p.dir, "PYTHONDONTWRITEBYTECODE=1")
	return cmd
}

var nodeClients = []string{"kafkajs@2.2.4", "kafkajs-snappy@1.1.0", "lz4js@0.2.0", "zstd-codec@0.1.5", "@kafkajs/confluent-schema-registry@4.1.0"}

// Node is a set of npm packages.
type Node struct{ dir string }

// FetchNodeClients brings kafkajs with its codecs.
func FetchNodeClients(ctx context.Context) (*Node, error) {
	dir, err := cached(ctx, "node-clients", "kafkajs (npm, 2 MB)", func(ctx context.Context, dir string) error {
		npm, err := tool(ctx, "npm", "npm")
		if err != nil {
			return err
		}
		_, err = run(ctx, dir, nil, npm, append([]string{"install", "--silent", "--no-audit", "--no-fund", "--fetch-retries", "5", "--prefix", dir},
			nodeClients...)...)
		return err
	})
	return &Node{dir}, err
}

// Command returns a command that runs a script (its text) with the packages on its path.
func (n *Node) Command(ctx context.Context, script string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "node", append([]string{"-e", script, "--"}, args...)...)
	cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(n.dir, "node_modules"), "KAFKAJS_NO_PARTITIONER_WARNING=1")
	return cmd
}

// FetchKcat returns the path of kcat, unpacked from its Debian package when the machine has none.
func FetchKcat(ctx context.Context) (path string, env []string, err error) {
	if p, err := exec.LookPath("kcat"); err == nil {
		return p, nil, nil
	}
	dir, err := cached(ctx, "kcat-debian", "kcat (Debian, 3 MB)", func(ctx context.Context, dir string) error {
		return debTree(ctx, dir, "kcat")
	})
	libs, _ := filepath.Glob(filepath.Join(dir, "usr", "lib", "*-linux-gnu"))
	more, _ := filepath.Glob(filepath.Join(dir, "lib", "*-linux-gnu"))
	lib := ""
	for _, l := range append(libs, more...) {
		lib += l + ":"
	}
	return filepath.Join(dir, "usr", "bin", "kcat"), []string{"LD_LIBRARY_PATH=" + lib}, err
}

// Tool returns what fetch brings, or ends the test: it fails when the tool cannot be had and skips when it was excluded by name.
func Tool[T any](t testing.TB, name string, fetch func(ctx context.Context) (T, error)) T {
	t.Helper()
	if Excluded(name) {
		t.Skipf("%s was excluded by %s", name, EnvExclude)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	v, err := fetch(ctx)
	if err != nil {
		t.Fatalf("no %s to test with (exclude it by name with %s=%s): %v", name, EnvExclude, name, err)
	}
	return v
}
