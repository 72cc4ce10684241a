package story

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/stretchr/testify/require"
)

// Readers that share no code with the hub, as scripts: they print a JSON line {"file", "row"} for each record of the files under a
// folder, in the files' order.
const (
	duckdbReader = `
import sys, json, glob, duckdb
con = duckdb.connect()
con.execute("SET TimeZone = 'UTC'")
files = sorted(glob.glob(sys.argv[1] + "/**/*.parquet", recursive=True))
n = 0
for f in files:
    cur = con.execute("SELECT * FROM read_parquet(?)", [f])
    cols = [c[0] for c in cur.description]
    for row in cur.fetchall():
        n += 1
        print(json.dumps({"file": f, "row": dict(zip(cols, row))}, default=str))
# The files as one table, as a user would query them.
one = con.execute("SELECT count(*), count(DISTINCT (__partition, __offset)) FROM read_parquet(?, union_by_name = true)", [files]).fetchone()
if one != (n, n):
    sys.exit(f"{one} rows in all files together, {n} one by one")
`
	fastavroReader = `
import sys, json, glob, fastavro
for f in sorted(glob.glob(sys.argv[1] + "/**/*.avro", recursive=True)):
    with open(f, "rb") as fo:
        for row in fastavro.reader(fo):
            print(json.dumps({"file": f, "row": row}, default=str))
`
)

// readIndependently has objects read by one of the scripts above.
func readIndependently(t *testing.T, script, topic string, objects []Object) *Lake {
	t.Helper()
	python := servers.Tool(t, "readers", servers.FetchReaders)
	dir := t.TempDir()
	for _, o := range objects {
		f := filepath.Join(dir, filepath.FromSlash(o.Key))
		require.NoError(t, os.MkdirAll(filepath.Dir(f), 0o755))
		require.NoError(t, os.WriteFile(f, o.Body, 0o644))
	}
	out := output(t, python.Command(t.Context(), script, dir), "")
	rows := map[string][]map[string]any{}
	sc := bufio.NewScanner(bytes.NewReader([]byte(out)))
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var line struct {
			File string
			Row  map[string]any
		}
		d := json.NewDecoder(bytes.NewReader(sc.Bytes()))
		d.UseNumber()
		require.NoError(t, d.Decode(&line))
		rows[line.File] = append(rows[line.File], line.Row)
	}
	lake, err := MakeLake(topic, objects, "__offset", func(o Object) ([]map[string]any, error) {
		r := rows[filepath.Join(dir, filepath.FromSlash(o.Key))]
		if len(r) == 0 {
			return nil, fmt.Errorf("the independent reader finds nothing in it")
		}
		return r, nil
	})
	require.NoError(t, err)
	return lake
}
