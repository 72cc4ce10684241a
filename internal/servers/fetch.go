package servers

import (
	"archive/zip"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// mavenFlags: quiet, no download without its checksum, a transfer that breaks is tried again.
var mavenFlags = []string{"-q", "-B", "-C", "-Dstyle.color=never", "-Dmaven.wagon.http.retryHandler.count=3",
	"-Daether.connector.http.retryHandler.count=3"}

// mavenCopy copies artifacts (group:artifact:version[:classifier]) with their runtime dependencies into dir; one that begins with
// "!" comes without dependencies.
func mavenCopy(ctx context.Context, dir string, artifacts ...string) error {
	if _, err := JavaOrInstall(ctx, 11, 99); err != nil {
		return err
	}
	mvn, err := tool(ctx, "mvn", "maven")
	if err != nil {
		return err
	}
	var sb strings.Builder
	sb.WriteString(`<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>` +
		`<groupId>moldau</groupId><artifactId>fetch</artifactId><version>1</version><packaging>pom</packaging><dependencies>`)
	for _, a := range artifacts {
		bare, alone := strings.CutPrefix(a, "!")
		p := append(strings.Split(bare, ":"), "")
		fmt.Fprintf(&sb, "<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version>", p[0], p[1], p[2])
		if p[3] != "" {
			fmt.Fprintf(&sb, "<classifier>%s</classifier>", p[3])
		}
		if alone {
			sb.WriteString("<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>")
		}
		sb.WriteString("</dependency>")
	}
	sb.WriteString("</dependencies></project>")
	pom := filepath.Join(dir, "fetch-pom.xml")
	if err := os.WriteFile(pom, []byte(sb.String()), 0o644); err != nil {
		return err
	}
	_, err = run(ctx, dir, nil, mvn, append(mavenFlags, "-f", pom, "dependency:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory="+dir)...)
	if err != nil {
		return err
	}
	return os.Remove(pom)
}

// unzip unpacks the members of a zip or jar for which keep returns a target name (relative to dir); executable bits are set on all,
// as jars do not carry them.
func unzip(file, dir string, keep func(name string) string) error {
	z, err := zip.OpenReader(file)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, f := range z.File {
		target := keep(f.Name)
		if target == "" || f.FileInfo().IsDir() {
			continue
		}
		if !filepath.IsLocal(target) {
			return fmt.Errorf("%s: member %q leaves the folder", file, f.Name)
		}
		if err := unzipOne(f, filepath.Join(dir, target)); err != nil {
			return fmt.Errorf("%s: %s: %w", file, f.Name, err)
		}
	}
	return nil
}

func unzipOne(f *zip.File, target string) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in) //nolint:gosec // a known package, checked by its registry's client
	return errors.Join(err, out.Close())
}

var (
	aptInst = regexp.MustCompile(`(?m)^Inst (\S+)`)
	aptURI  = regexp.MustCompile(`(?m)^(\S+) (\S+)$`)
)

// debTree unpacks Debian packages with the libraries that they need into dir, from the machine's own mirror and release, without
// installing anything: apt works on a private state folder, so it needs no root.
func debTree(ctx context.Context, dir string, packages ...string) error {
	work, err := os.MkdirTemp("", "moldau-apt-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	for _, d := range []string{"none", "apt/lists/partial", "cache/archives/partial", "debs"} {
		if err := os.MkdirAll(filepath.Join(work, d), 0o755); err != nil {
			return err
		}
	}
	out, err := run(ctx, "", nil, "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages")
	if err != nil {
		return fmt.Errorf("no Debian package lists (this machine has no apt): %w", err)
	}
	src := ""
	for _, m := range aptURI.FindAllStringSubmatch(out, -1) {
		if !strings.Contains(m[1], "security") && !strings.Contains(m[2], "updates") && !strings.Contains(m[2], "backports") {
			src = m[1] + " " + m[2]
			break
		}
	}
	if src == "" {
		return errors.New("apt names no Debian mirror")
	}
	key, components := "", "main"
	if f := "/usr/share/keyrings/debian-archive-keyring.gpg"; exists(f) {
		key = "[signed-by=" + f + "] "
	}
	if strings.Contains(src, "ubuntu") {
		key, components = "", "main universe"
	}
	conf := fmt.Sprintf(`Dir::Etc::sourcelist "%[1]s/sources.list"; Dir::Etc::sourceparts "%[1]s/none"; Dir::Etc::preferencesparts "%[1]s/none";
Dir::State "%[1]s/apt"; Dir::State::status "%[1]s/apt/status"; Dir::Cache "%[1]s/cache";
Acquire::Languages "none"; Acquire::Check-Valid-Until "false"; Acquire::Retries "3"; APT::Sandbox::User "root";
`, work)
	if err := errors.Join(
		os.WriteFile(work+"/sources.list", []byte("deb "+key+src+" "+components+"\n"), 0o644),
		os.WriteFile(work+"/apt/status", nil, 0o644),
		os.WriteFile(work+"/apt.conf", []byte(conf), 0o644)); err != nil {
		return err
	}
	env := []string{"APT_CONFIG=" + work + "/apt.conf"}
	if _, err := run(ctx, "", env, "apt-get", "-qq", "update"); err != nil {
		return err
	}
	sim, err := run(ctx, "", env, "apt-get", append([]string{"install", "-s", "-y", "--no-install-recommends"}, packages...)...)
	if err != nil {
		return err
	}
	want := map[string]bool{}
	for _, p := range packages {
		want[p] = true
	}
	args := []string{"-qq", "download"}
	for _, m := range aptInst.FindAllStringSubmatch(sim, -1) {
		// libc is the machine's own: its release is the same.
		if p := m[1]; want[p] || strings.HasPrefix(p, "lib") && p != "libc6" && p != "libc-bin" && !strings.HasPrefix(p, "libperl") {
			args = append(args, p)
		}
	}
	if _, err := run(ctx, work+"/debs", env, "apt-get", args...); err != nil {
		return err
	}
	debs, _ := filepath.Glob(work + "/debs/*.deb")
	for _, d := range debs {
		if _, err := run(ctx, "", nil, "dpkg-deb", "-x", d, dir); err != nil {
			return err
		}
	}
	return nil
}

// goInstall builds a program from a Go module into dir.
func goInstall(ctx context.Context, dir, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "install", "-v", "-trimpath", "-ldflags", "-s -w", pkg)
	cmd.Dir = os.TempDir()
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-buildvcs=false", "CGO_ENABLED=0")
	out, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("go install %s: %w", pkg, err)
	}
	// -v names each module that is downloaded and each package that is compiled.
	var tail []string
	modules, packages := 0, 0
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		l := lines.Text()
		if tail = append(tail, l); len(tail) > 20 {
			tail = tail[1:]
		}
		if strings.HasPrefix(l, "go: downloading") {
			modules++
		} else {
			packages++
		}
		setFar(ctx, fmt.Sprintf("%d modules downloaded, %d packages compiled", modules, packages))
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("go install %s: %w\n%s", pkg, err, strings.Join(tail, "\n"))
	}
	return nil
}

func exists(file string) bool { _, err := os.Stat(file); return err == nil }
