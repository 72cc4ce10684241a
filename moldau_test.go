package moldau

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins"
)

func TestTheExampleFileLoads(t *testing.T) {
	cfg, err := Load(Sources{File: "configs/moldau.yaml"})
	require.NoError(t, err)
	require.Equal(t, "1", cfg.Broker["num.partitions"])
	require.Equal(t, "http://127.0.0.1:8083", cfg.Connect["listeners"])
}

func TestFlagsWinOverEnvironmentAndThatOverTheFile(t *testing.T) {
	f := filepath.Join(t.TempDir(), "m.yaml")
	require.NoError(t, os.WriteFile(f, []byte("broker:\n  num.partitions: 1\n  log.retention.hours: 1\n  log.segment.bytes: 1048576\n"), 0o600))
	cfg, err := Load(Sources{File: f, Environ: []string{"MOLDAU_BROKER_NUM_PARTITIONS=2", "MOLDAU_BROKER_LOG_RETENTION_HOURS=2"}, Set: []string{"broker.num.partitions=3"}})
	require.NoError(t, err)
	require.Equal(t, "3", cfg.Broker["num.partitions"])
	require.Equal(t, "2", cfg.Broker["log.retention.hours"])
	require.Equal(t, "1048576", cfg.Broker["log.segment.bytes"])
}

func TestAMistypedKeyIsAnsweredWithTheRightOne(t *testing.T) {
	_, err := Load(Sources{Set: []string{"broker.num.partition=3"}})
	require.ErrorContains(t, err, "num.partition")
	require.ErrorContains(t, err, "did you mean")
	_, err = Load(Sources{Set: []string{"admin.log.level=loud"}})
	require.ErrorContains(t, err, "admin.log.level")
}

func TestShippedConnectorConfigsFitTheirDefinitions(t *testing.T) {
	reg := plugins.NewRegistry()
	connectors(reg)
	files, err := filepath.Glob("configs/connectors/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	// Keys of the worker, not of the connector.
	worker := regexp.MustCompile(`^(connector\.class|name|tasks\.max|topics|topics\.regex|transforms.*|predicates.*|errors\..*|(consumer|producer|admin)\.override\..*|topic\.creation\..*|(key|value|header)\.converter.*)$`)
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		var c struct {
			Name   string            `json:"name"`
			Config map[string]string `json:"config"`
		}
		require.NoError(t, json.Unmarshal(b, &c), f)
		spec, ok := reg.Connector(c.Config["connector.class"])
		require.True(t, ok, f)
		own := map[string]string{}
		for k, v := range c.Config {
			switch {
			case worker.MatchString(k):
				continue
			case regexp.MustCompile(`_PORT}`).MatchString(v):
				v = "1234"
			case regexp.MustCompile(`(URL|ENDPOINT)}`).MatchString(v):
				v = "http://127.0.0.1:1"
			case regexp.MustCompile(`\$\{env:`).MatchString(v):
				v = "dummy"
			}
			_, known := spec.Config.Key(k)
			require.True(t, known || spec.Config.Known(k), "%s: %s is not a key of the connector", f, k)
			own[k] = v
		}
		_, err = spec.Config.Parse(own)
		require.NoError(t, err, f)
	}
}

func testConfig(t *testing.T, dir string) Config {
	cfg, err := Load(Sources{DataDir: dir, Set: []string{"broker.listeners=PLAINTEXT://127.0.0.1:0", "registry.listeners=http://127.0.0.1:0",
		"connect.listeners=http://127.0.0.1:0", "admin.listeners=http://127.0.0.1:0", "admin.log.level=error"}})
	require.NoError(t, err)
	return cfg
}

func TestAnEmbeddedHubStartsStopsAndKeepsItsClusterID(t *testing.T) {
	dir := t.TempDir()
	var ids []string
	for range 2 {
		cfg := testConfig(t, dir)
		cfg.EndpointsFile = filepath.Join(dir, "endpoints.json")
		n, err := New(cfg)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- n.Run(ctx) }()
		select {
		case <-n.Ready():
		case err := <-done:
			cancel()
			require.NoError(t, err)
			t.Fatal("ended before it was ready")
		case <-time.After(time.Minute):
			cancel()
			t.Fatal("not ready")
		}
		var ep Endpoints
		b, err := os.ReadFile(cfg.EndpointsFile)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(b, &ep))
		require.Equal(t, n.Endpoints(), ep)
		r, err := http.Get(ep.Connect + "/")
		require.NoError(t, err)
		var root map[string]string
		require.NoError(t, json.NewDecoder(r.Body).Decode(&root))
		require.NoError(t, r.Body.Close())
		ids = append(ids, root["kafka_cluster_id"])
		cancel()
		require.NoError(t, <-done)
		require.ErrorContains(t, n.Run(t.Context()), "make another")
	}
	require.NotEmpty(t, ids[0])
	require.Equal(t, ids[0], ids[1])
}

func TestAPortInUseIsNamedWithItsKeyAndARemedy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	cfg := testConfig(t, t.TempDir())
	cfg.Admin["listeners"] = "http://" + l.Addr().String()
	n, err := New(cfg)
	require.NoError(t, err)
	err = n.Run(t.Context())
	require.ErrorContains(t, err, "admin.listeners")
	require.ErrorContains(t, err, "port 0")
}

// TestWhatIsWrongWithTheConfigurationComesBeforePortsAndFiles: the error names every section that is wrong.
func TestWhatIsWrongWithTheConfigurationComesBeforePortsAndFiles(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	cfg := testConfig(t, t.TempDir())
	cfg.Admin["listeners"] = "http://" + l.Addr().String()
	cfg.Broker["num.partitions"] = "0"
	cfg.Registry = map[string]string{"listeners": "http://127.0.0.1:0", "schema.compatibility.level": "sideways"}
	cfg.Connect["offset.flush.interval.ms"] = "soon"
	_, err = New(cfg)
	for _, want := range []string{"section broker", "num.partitions", "section registry", "schema.compatibility.level", "section connect", "offset.flush.interval.ms"} {
		require.ErrorContains(t, err, want)
	}
}

func TestADirectoryThatIsInUseIsNamedWithARemedy(t *testing.T) {
	dir := t.TempDir()
	start := func(change func(Config)) error {
		cfg := testConfig(t, dir)
		cfg.Roles = []Role{RoleBroker, RoleController}
		change(cfg)
		n, err := New(cfg)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- n.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-done })
		select {
		case <-n.Ready():
			return nil
		case err := <-done:
			done <- err
			return err
		}
	}
	require.NoError(t, start(func(Config) {}))
	for name, change := range map[string]func(Config){
		"metadata": func(Config) {},
		"log":      func(c Config) { c.Broker["metadata.log.dir"] = filepath.Join(dir, "other") },
	} {
		err := start(change)
		require.ErrorContains(t, err, filepath.Join(dir, name), name)
		require.ErrorContains(t, err, "another process", name)
		require.ErrorContains(t, err, "--data-dir", name)
	}
}

func TestRolesWithoutABrokerNeedACluster(t *testing.T) {
	_, err := New(Config{Roles: []Role{RoleConnect}})
	require.ErrorContains(t, err, "connect.bootstrap.servers")
	_, err = New(Config{Roles: []Role{RoleBroker}})
	require.ErrorContains(t, err, "controller")
}
