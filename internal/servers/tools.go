package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
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

// aptInstall installs Debian packages; it needs root and apt.
func aptInstall(ctx context.Context, packages ...string) error {
	aptMu.Lock()
	defer aptMu.Unlock()
	hint := fmt.Sprintf("install %s (Debian: apt-get install --no-install-recommends %s)", strings.Join(packages, " and "), strings.Join(packages, " "))
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return errors.New(hint)
	}
	say("  installing Debian packages %s", strings.Join(packages, " "))
	env := []string{"DEBIAN_FRONTEND=noninteractive"}
	if _, err := run(ctx, "", env, "apt-get", "-qq", "update"); err != nil {
		return fmt.Errorf("%s: %w", hint, err)
	}
	if _, err := run(ctx, "", env, "apt-get", append([]string{"-qq", "-y", "install", "--no-install-recommends"}, packages...)...); err != nil {
		return fmt.Errorf("%s: %w", hint, err)
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
	if _, err := run(ctx, "", nil, "python3", "-m", "pip", "--version"); err == nil {
		return nil
	}
	return aptInstall(ctx, "python3-pip")
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
	return "", last
}
