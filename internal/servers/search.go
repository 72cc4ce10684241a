package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// EnvSearch names an Elasticsearch or OpenSearch URL to use instead of our own. EnvSearchVersion chooses the OpenSearch to fetch.
const (
	EnvSearch        = "MOLDAU_OPENSEARCH_URL"
	EnvElastic       = "MOLDAU_ELASTICSEARCH_URL"
	EnvSearchVersion = "MOLDAU_OPENSEARCH_VERSION"
)

const (
	opensearch3    = "3.8.0"  // Java 21 and newer
	opensearch2    = "2.19.6" // Java 11 to 23
	elasticVersion = "7.17.29"
)

// Search is an OpenSearch or Elasticsearch node.
type Search struct {
	*Process // nil when it is not ours
	Product  string
	URL      string
	Version  string
}

type searchKind struct {
	product, version, java string
	group, main, short     string
	class                  string
	extra                  []string
}

func opensearchKind(ctx context.Context) (k searchKind, err error) {
	k = searchKind{product: "opensearch", group: "org.opensearch", main: "org.opensearch.bootstrap.OpenSearch", short: "opensearch"}
	k.version = os.Getenv(EnvSearchVersion)
	if k.version == "" {
		k.version = opensearch3
		if _, err := Java(ctx, 21, 99); err != nil {
			k.version = opensearch2
			if _, err := Java(ctx, 11, 23); err != nil && aptInstall(ctx, "openjdk-21-jre-headless") == nil {
				k.version = opensearch3
			}
		}
	}
	k.extra = []string{"org.opensearch:opensearch-plugin-classloader:" + k.version, "org.apache.logging.log4j:log4j-core:2.25.4"}
	if strings.HasPrefix(k.version, "2") {
		k.class = "org.opensearch.transport.Netty4Plugin"
		k.java, err = JavaOrInstall(ctx, 11, 23)
	} else {
		k.class = "org.opensearch.transport.Netty4ModulePlugin"
		k.extra = append(k.extra, "org.opensearch:opensearch-agent:"+k.version)
		k.java, err = JavaOrInstall(ctx, 21, 99)
	}
	return k, err
}

func elasticKind(ctx context.Context) (k searchKind, err error) {
	k = searchKind{product: "elasticsearch", version: elasticVersion, group: "org.elasticsearch", main: "org.elasticsearch.bootstrap.Elasticsearch",
		short: "es", class: "org.elasticsearch.transport.Netty4Plugin"}
	k.java, err = JavaOrInstall(ctx, 11, 23)
	return k, err
}

// fetch brings the server's jars: server, HTTP module, and what their poms leave out.
func (k searchKind) fetch(ctx context.Context) (string, error) {
	return cached(ctx, k.product+"-"+k.version, k.product+" "+k.version+" (Maven Central, 30 to 70 MB)", func(ctx context.Context, dir string) error {
		return mavenCopy(ctx, dir, append([]string{k.group + ":" + k.product + ":" + k.version,
			k.group + ".plugin:transport-netty4-client:" + k.version}, k.extra...)...)
	})
}

// FetchOpenSearch brings OpenSearch into the cache.
func FetchOpenSearch(ctx context.Context) error {
	k, err := opensearchKind(ctx)
	if err == nil {
		_, err = k.fetch(ctx)
	}
	return err
}

// FetchElasticsearch brings Elasticsearch into the cache.
func FetchElasticsearch(ctx context.Context) error {
	k, err := elasticKind(ctx)
	if err == nil {
		_, err = k.fetch(ctx)
	}
	return err
}

// StartOpenSearch starts a single OpenSearch node with its data in dir.
func StartOpenSearch(ctx context.Context, dir string) (*Search, error) {
	if u := os.Getenv(EnvSearch); u != "" {
		s := &Search{Product: "opensearch", URL: strings.TrimSuffix(u, "/")}
		return s, s.ping(ctx)
	}
	k, err := opensearchKind(ctx)
	if err != nil {
		return nil, err
	}
	return k.start(ctx, dir)
}

// StartElasticsearch starts a single Elasticsearch node with its data in dir.
func StartElasticsearch(ctx context.Context, dir string) (*Search, error) {
	if u := os.Getenv(EnvElastic); u != "" {
		s := &Search{Product: "elasticsearch", URL: strings.TrimSuffix(u, "/")}
		return s, s.ping(ctx)
	}
	k, err := elasticKind(ctx)
	if err != nil {
		return nil, err
	}
	return k.start(ctx, dir)
}

func (k searchKind) start(ctx context.Context, dir string) (*Search, error) {
	jars, err := k.fetch(ctx)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	home, tmp := filepath.Join(dir, "home"), filepath.Join(dir, "tmp")
	module := filepath.Join(home, "modules", "transport-netty4")
	for _, d := range []string{"config", "data", "logs", "plugins"} {
		if err := os.MkdirAll(filepath.Join(home, d), 0o755); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(os.RemoveAll(module), os.MkdirAll(module, 0o755), os.MkdirAll(tmp, 0o755)); err != nil {
		return nil, err
	}
	// HTTP is a module: its jars get a folder of their own and a descriptor, which the jar does not carry.
	var classPath []string
	all, _ := filepath.Glob(filepath.Join(jars, "*.jar"))
	for _, j := range all {
		n := filepath.Base(j)
		if strings.HasPrefix(n, "netty-") || strings.HasPrefix(n, "transport-netty4-client-") || strings.HasPrefix(n, "opensearch-netty4-") {
			if err := copyFile(filepath.Join(module, n), j); err != nil {
				return nil, err
			}
			continue
		}
		classPath = append(classPath, j)
	}
	port, tport := FreePort(), FreePort()
	for port == tport {
		tport = FreePort()
	}
	files := map[string]string{
		filepath.Join(module, "plugin-descriptor.properties"): fmt.Sprintf("name=transport-netty4\ndescription=Netty transport\nversion=%[1]s\n%[2]s.version=%[1]s\njava.version=11\nclassname=%[3]s\n", k.version, k.product, k.class),
		filepath.Join(module, "plugin-security.policy"): `grant codeBase "${codebase.netty-common}" {
  permission java.net.SocketPermission "*", "accept,connect";
  permission java.io.FilePermission "/proc/sys/net/core/somaxconn", "read";
  permission java.lang.RuntimePermission "setContextClassLoader";
};
grant codeBase "${codebase.netty-transport}" {
  permission java.net.SocketPermission "*", "accept,connect";
  permission java.io.FilePermission "/proc/sys/net/core/somaxconn", "read";
};
`,
		filepath.Join(home, "config", k.product+".yml"):    fmt.Sprintf("cluster.name: moldau\nnode.name: n1\ndiscovery.type: single-node\nnetwork.host: 127.0.0.1\nhttp.port: %d\ntransport.port: %d\npath.data: %s/data\npath.logs: %s/logs\ncluster.routing.allocation.disk.threshold_enabled: false\n", port, tport, home, home),
		filepath.Join(home, "config", "log4j2.properties"): "appender.console.type = Console\nappender.console.name = console\nappender.console.layout.type = PatternLayout\nappender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n\nrootLogger.level = info\nrootLogger.appenderRef.console.ref = console\n",
	}
	for f, text := range files {
		if err := os.WriteFile(f, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	args := []string{"-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-Djava.io.tmpdir=" + tmp, "-Dlog4j2.disable.jmx=true"}
	if strings.HasPrefix(k.version, "3") {
		args = append(args, "-javaagent:"+filepath.Join(jars, "opensearch-agent-"+k.version+".jar"), "--enable-native-access=ALL-UNNAMED")
	} else {
		args = append(args, "-Djava.security.manager=allow")
	}
	args = append(args, fmt.Sprintf("-D%s.path.home=%s", k.short, home), fmt.Sprintf("-D%s.path.conf=%s/config", k.short, home),
		"-cp", strings.Join(classPath, ":"), k.main)
	s := &Search{Product: k.product, URL: fmt.Sprintf("http://127.0.0.1:%d", port)}
	s.Process = &Process{Name: k.product, Dir: dir, Port: port, spec: spec{
		path: k.java, args: args, dir: home, env: []string{"ES_TMPDIR=" + tmp, "LIBFFI_TMPDIR=" + tmp}, dropRoot: true,
		// 2.x and 7.x hang on TERM; a kill loses nothing, the translog is synced.
		stop: syscall.SIGTERM, patience: 3 * time.Second, ready: s.ping,
	}}
	return s, s.Start(ctx)
}

func copyFile(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(dst)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func (s *Search) ping(ctx context.Context) error {
	if err := getJSON(ctx, s.URL+"/_cluster/health?wait_for_status=yellow", nil); err != nil {
		return err
	}
	var root struct {
		Version struct{ Number, Distribution string }
	}
	err := getJSON(ctx, s.URL+"/", &root)
	s.Version = root.Version.Number
	return err
}

func getJSON(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(into)
}
