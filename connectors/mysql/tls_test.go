package mysql

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/internal/servers"
)

func TestConnectionsAreEncryptedAsAskedFor(t *testing.T) {
	srv := servers.TestMySQL(t)
	if srv.Process == nil {
		t.Skip("the certificates of the server given are not known")
	}
	d := newDatabase(t, srv)
	ca := filepath.Join(srv.Dir, "data", "ca.pem")
	if _, err := os.Stat(ca); err != nil {
		t.Skip("this server made no certificates")
	}
	d.exec("CREATE TABLE t (id int PRIMARY KEY)")
	d.exec("INSERT INTO t VALUES (1)")
	cipher := func(kv ...string) (string, error) {
		v, err := Def(false).Parse(d.config(kv...))
		require.NoError(t, err)
		cfg, err := parseConfig(v, false)
		require.NoError(t, err)
		cat, err := openCatalog(context.Background(), cfg)
		if err != nil {
			return "", err
		}
		defer cat.close()
		r, err := cat.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
		require.NoError(t, err)
		return cell(r, 0, 1), nil
	}
	plain, err := cipher("database.ssl.mode", "disabled")
	require.NoError(t, err)
	require.Empty(t, plain)
	for _, kv := range [][]string{{"database.ssl.mode", "required"}, {}, {"database.ssl.mode", "verify_ca", "database.ssl.truststore", ca}} {
		c, err := cipher(kv...)
		require.NoError(t, err, kv)
		require.NotEmpty(t, c, kv)
	}
	_, err = cipher("database.ssl.mode", "verify_ca")
	require.Error(t, err, "the server's certificate is its own")
	_, err = cipher("database.ssl.mode", "verify_identity", "database.ssl.truststore", ca)
	require.Error(t, err, "its name is not the host's")
	r := d.start(nil, "database.ssl.mode", "verify_ca", "database.ssl.truststore", ca)
	r.Count(1)
	r.Streaming()
	d.exec("INSERT INTO t VALUES (2)")
	r.Count(2)
	_, err = readPEM("database.ssl.truststore", os.Args[0])
	require.ErrorContains(t, err, "Java keystores are not supported")
}
