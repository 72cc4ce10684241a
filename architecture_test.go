package moldau_test

import (
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/moldau-io/moldau"

// TestImportsRunOneWay holds the import rule of docs/architecture.md: who may import what of this module.
func TestImportsRunOneWay(t *testing.T) {
	// A package may import another of this module when the first rule whose From fits it lists it. Prefixes of paths below the module.
	rules := []struct {
		from string
		may  []string
		why  string
	}{
		{"connectors/", []string{"plugins", "connectors/cdc", "connectors/SELF"}, "connectors see the plugin API and their driver only"},
		{"plugins", []string{"plugins", "schemaregistry/avro", "schemaregistry/client"}, "plugins see each other and the registry's client"},
		{"core/connect", []string{"plugins", "core/connect", "core/javahash", "core/kafkaclient", "core/loglevel"}, "the worker reaches the log as a Kafka client"},
		{"schemaregistry", []string{"schemaregistry"}, "the registry reaches the log as a Kafka client"},
		{"rest/", []string{"rest", "core/connect/api", "schemaregistry/api"}, "rest declares the interfaces that it needs"},
		{"core/log", []string{"core/log"}, "the log knows nothing above it"},
		{"core/kafkaclient", []string{"core/kafkaclient"}, "what clients need knows nothing above it"},
		{"core/config", []string{"core/config"}, "property tables know nothing above them"},
		{"core/metadata", []string{"core/metadata", "core/config"}, "controller decisions are pure"},
		{"core/quorum", []string{"core/quorum", "core/metadata"}, "consensus carries metadata records"},
		{"core/wire", []string{"core/wire"}, "codecs know no server"},
		{"core/server", []string{"core/server", "core/wire"}, "the server moves bytes and headers, not meaning"},
		{"core/security", []string{"core/security", "core/config"}, "who a peer is and what it may do is decided without the broker"},
		{"core/coordinator", []string{"core/coordinator"}, "the runtime of coordinators knows no kind of them"},
		{"core/group", []string{"core/group", "core/coordinator", "core/javahash"}, "coordinators are pure and declare their store"},
		{"core/txn", []string{"core/txn", "core/coordinator", "core/javahash"}, "coordinators are pure and declare their store"},
		{"core/replica", []string{"core/replica", "core/log"}, "a partition is a log with followers"},
		{"core/broker", []string{"core"}, "the broker puts the log's parts together; it knows neither connect nor registry"},
	}
	forbidden := map[string][]string{"core/broker": {"core/connect"}}

	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	require.NoError(t, err)
	dec := json.NewDecoder(strings.NewReader(string(out)))
	seen := 0
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else {
			require.NoError(t, err)
		}
		seen++
		from := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if from == "" || strings.HasPrefix(from, "cmd/") || strings.HasPrefix(from, "internal/") {
			continue // the root package and the command line see everything
		}
		for _, imp := range p.Imports {
			if !strings.HasPrefix(imp, module) {
				continue
			}
			to := strings.TrimPrefix(strings.TrimPrefix(imp, module), "/")
			require.NotEmptyf(t, to, "%s imports the root package: only cmd may", from)
			require.Falsef(t, strings.HasPrefix(to, "internal/") || strings.HasPrefix(to, "cmd/"), "%s imports %s: that is for the demo and the tests", from, to)
			for _, r := range rules {
				if !strings.HasPrefix(from, r.from) {
					continue
				}
				ok := false
				for _, m := range r.may {
					if rest, self := strings.CutSuffix(m, "SELF"); self {
						m = rest + strings.Split(strings.TrimPrefix(from, rest), "/")[0]
					}
					ok = ok || to == m || strings.HasPrefix(to, m+"/")
				}
				for _, f := range forbidden[r.from] {
					ok = ok && !strings.HasPrefix(to, f)
				}
				require.Truef(t, ok, "%s imports %s, but %s: declare an interface in %s and let the root package wire it", from, to, r.why, from)
				break
			}
		}
	}
	require.Greater(t, seen, 10)
}
