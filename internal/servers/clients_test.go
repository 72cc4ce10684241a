package servers

import (
	"context"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadersAndClientsRun(t *testing.T) {
	r := Tool(t, "readers", FetchReaders)
	out, err := r.Command(t.Context(), "import duckdb, fastavro; print(duckdb.sql('select 41 + 1').fetchone()[0])").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, "42\n", string(out))

	c := Tool(t, "clients", FetchPythonClients)
	out, err = c.Command(t.Context(), "from confluent_kafka.schema_registry.avro import AvroSerializer; print('ok')").CombinedOutput()
	require.NoError(t, err, string(out))

	n := Tool(t, "clients", FetchNodeClients)
	out, err = n.Command(t.Context(), "require('kafkajs'); require('@kafkajs/confluent-schema-registry'); require('lz4js'); require('zstd-codec'); require('kafkajs-snappy'); console.log('ok')").CombinedOutput()
	require.NoError(t, err, string(out))

	type kcat struct {
		path string
		env  []string
	}
	k := Tool(t, "clients", func(ctx context.Context) (kcat, error) {
		p, env, err := FetchKcat(ctx)
		return kcat{p, env}, err
	})
	cmd := exec.CommandContext(t.Context(), k.path, "-V")
	cmd.Env = append(cmd.Environ(), k.env...)
	out, err = cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}
