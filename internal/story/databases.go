package story

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/jackc/pgx/v5"
	"github.com/moldau-io/moldau/internal/servers"
)

// PostgresRows reads a whole table in canonical form.
func PostgresRows(ctx context.Context, url string, t Table) (Rows, error) {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer c.Close(ctx)
	var cols []string
	for _, col := range t.Columns {
		e := col.SQL
		if e == "" {
			e = col.Name + "::text"
		}
		cols = append(cols, e)
	}
	rs, err := c.Query(ctx, "SELECT "+strings.Join(cols, ", ")+" FROM "+t.Name)
	if err != nil {
		return nil, err
	}
	defer rs.Close()
	out := Rows{}
	for rs.Next() {
		vals := make([]*string, len(cols))
		dest := make([]any, len(cols))
		for i := range vals {
			dest[i] = &vals[i]
		}
		if err := rs.Scan(dest...); err != nil {
			return nil, err
		}
		if err := out.add(t, func(i int) (string, bool) {
			if vals[i] == nil {
				return "", false
			}
			return *vals[i], true
		}); err != nil {
			return nil, err
		}
	}
	return out, rs.Err()
}

func (r Rows) add(t Table, at func(i int) (string, bool)) error {
	row := make([]string, len(t.Columns))
	key := ""
	for i, c := range t.Columns {
		s, ok := at(i)
		if !ok {
			row[i] = Null
			continue
		}
		if c.Kind == JSON {
			var err error
			if s, err = CanonicalJSON(s); err != nil {
				return err
			}
		}
		row[i] = s
		if c.Name == t.Key {
			key = s
		}
	}
	r[key] = row
	return nil
}

// MySQLConn connects to a MySQL or MariaDB.
func MySQLConn(ctx context.Context, m *servers.MySQL) (*client.Conn, error) {
	c, err := client.ConnectWithContext(ctx, m.Addr, m.User, m.Password, "", 10*time.Second)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", m.Flavor, err)
	}
	_, err = c.Execute("SET time_zone = '+00:00', NAMES utf8mb4")
	return c, err
}

// MySQLRows reads a whole table in canonical form.
func MySQLRows(ctx context.Context, m *servers.MySQL, t Table) (Rows, error) {
	c, err := MySQLConn(ctx, m)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var cols []string
	for _, col := range t.Columns {
		e := col.SQL
		if e == "" {
			e = "CAST(" + col.Name + " AS CHAR)"
		}
		cols = append(cols, e)
	}
	res, err := c.Execute("SELECT " + strings.Join(cols, ", ") + " FROM " + t.Name)
	if err != nil {
		return nil, err
	}
	defer res.Close()
	out := Rows{}
	for r := range res.RowNumber() {
		if err := out.add(t, func(i int) (string, bool) {
			if null, err := res.IsNull(r, i); err != nil || null {
				return "", false
			}
			s, err := res.GetString(r, i)
			return s, err == nil
		}); err != nil {
			return nil, err
		}
	}
	return out, nil
}
