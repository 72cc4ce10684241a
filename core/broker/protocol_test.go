package broker

import (
	"bufio"
	"cmp"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/wire"
)

var updateProtocol = flag.Bool("update-protocol", false, "write docs/protocol.md anew")

// absent says why an API of Kafka's is not served; every one that is not in wire.APIs has its reason here.
var absent = map[string]string{
	"client:token":     "delegation tokens are off, as in a broker without `delegation.token.secret.key`",
	"client:share":     "share groups (KIP-932) are off: `share.version` is not advertised",
	"client:streams":   "streams groups (KIP-1071) are off: `streams.version` is not advertised",
	"client:telemetry": "no client metrics are subscribed to: clients that find the API absent do not push (KIP-714)",
	"client:quorum":    "there is one controller: nothing to unregister",
	"inter-broker":     "spoken between brokers only",
	"controller":       "spoken between brokers and controllers of Apache Kafka; the metadata quorum here is Raft of its own",
	"removed":          "removed in Kafka 4.0, with ZooKeeper",
}

// reasons are the APIs for clients that are absent.
var reasons = map[int16]string{
	38: "client:token", 39: "client:token", 40: "client:token", 41: "client:token", 71: "client:telemetry", 72: "client:telemetry",
	76: "client:share", 77: "client:share", 78: "client:share", 79: "client:share", 90: "client:share", 91: "client:share", 92: "client:share",
	88: "client:streams", 89: "client:streams", 93: "client:streams", 94: "client:quorum",
}

type kafkaAPI struct {
	key            int16
	name, versions string
	who            string
}

// kafkaAPIs are the APIs of Apache Kafka 4.4.
func kafkaAPIs(t *testing.T) []kafkaAPI {
	f, err := os.Open("testdata/kafka_apis.txt")
	require.NoError(t, err)
	defer f.Close()
	var l []kafkaAPI
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if strings.HasPrefix(sc.Text(), "#") {
			continue
		}
		p := strings.SplitN(sc.Text(), " ", 4)
		require.Len(t, p, 4, sc.Text())
		k, err := strconv.ParseInt(p[0], 10, 16)
		require.NoError(t, err)
		l = append(l, kafkaAPI{int16(k), p[1], p[2], p[3]})
	}
	return l
}

func versionRange(lo, hi int16) string {
	if lo == hi {
		return strconv.Itoa(int(lo))
	}
	return fmt.Sprintf("%d-%d", lo, hi)
}

// protocolPage is docs/protocol.md, from the tables that the broker runs on.
func protocolPage(t *testing.T) string {
	var b strings.Builder
	b.WriteString(`# Protocol

<!-- generated: go test ./core/broker -run TestProtocolPage -args -update-protocol -->

Which APIs of the Kafka protocol the broker serves, in which versions, beside Apache Kafka 4.4, and what is absent on purpose. A version
that is older than Kafka's first is kept for clients in use that ask for it. A request of a key or a version that is not listed closes the connection with
a line in the log, but for ApiVersions, which is answered with the versions that are served (KIP-511).

## Served

| key | API | versions | Kafka 4.4 | flexible from | |
|--:|---|---|---|--:|---|
`)
	kafka := map[int16]kafkaAPI{}
	for _, k := range kafkaAPIs(t) {
		kafka[k.key] = k
	}
	served := map[int16]bool{}
	for _, a := range wire.APIs() {
		served[a.Key] = true
		var notes []string
		if a.MinServed > a.Min {
			notes = append(notes, fmt.Sprintf("%s advertised and refused, as in Kafka (KAFKA-18659)", versionRange(a.Min, a.MinServed-1)))
		}
		k := kafka[a.Key]
		lo, hi, _ := strings.Cut(strings.TrimSuffix(k.versions, "*"), "-")
		hi = cmp.Or(hi, lo)
		if n, err := strconv.Atoi(lo); err == nil && int(a.MinServed) < n {
			notes = append(notes, "older versions kept")
		}
		if n, err := strconv.Atoi(hi); err == nil && int(a.Max) < n {
			notes = append(notes, newest(a.Key, a.Max, k.versions))
		}
		if k.who != "client" {
			notes = append(notes, "between brokers")
		}
		flexible := "none"
		if a.Flexible < 1<<15-1 {
			flexible = strconv.Itoa(int(a.Flexible))
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s |\n", a.Key, a.Name, versionRange(a.Min, a.Max), strings.TrimSuffix(k.versions, "*"), flexible, strings.Join(notes, "; "))
	}
	b.WriteString("\n## Absent\n\n| key | API | Kafka 4.4 | why |\n|--:|---|---|---|\n")
	for _, k := range kafkaAPIs(t) {
		if served[k.key] {
			continue
		}
		why := reasons[k.key]
		if why == "" && k.who != "client" {
			why = strings.Fields(k.who)[0]
		}
		require.Contains(t, absent, why, "%s (key %d) is not served: say why in this file", k.name, k.key)
		fmt.Fprintf(&b, "| %d | %s | %s | %s |\n", k.key, k.name, k.versions, absent[why])
	}
	b.WriteString("\n## Features\n\nWhat ApiVersions advertises, with the levels that can be finalised. Features of Kafka that are not listed are off.\n\n| feature | levels |\n|---|---|\n")
	for _, f := range supportedFeatures {
		fmt.Fprintf(&b, "| `%s` | %s |\n", f.Name, versionRange(f.MinVersion, f.MaxVersion))
	}
	return b.String()
}

// newest says why the newest version of Kafka's is not served.
func newest(key, hi int16, kafka string) string {
	switch {
	case strings.HasSuffix(kafka, "*"):
		return "the newest is unstable in Kafka and not advertised there either"
	case key == int16(kmsg.TxnOffsetCommit):
		return "6 identifies topics by id; clients take 5"
	}
	return fmt.Sprintf("%d is the newest of the message library", hi)
}

// TestProtocolPage holds docs/protocol.md to the tables, the tables to the handlers, and everything that is absent to a reason.
func TestProtocolPage(t *testing.T) {
	names := map[int16]string{}
	for _, k := range kafkaAPIs(t) {
		names[k.key] = k.name
	}
	handlers := (&Broker{}).handlers()
	for _, a := range wire.APIs() {
		require.Equal(t, names[a.Key], a.Name, "key %d", a.Key)
		_, ok := handlers[a.Key]
		require.True(t, ok || a.Key == int16(kmsg.Produce) || a.Key == int16(kmsg.Fetch), "%s is in the version table and has no handler", a.Name)
	}
	for key := range handlers {
		_, ok := wire.Lookup(key)
		require.True(t, ok, "%s has a handler and no row in the version table", names[key])
	}
	const page = "../../docs/protocol.md"
	want := protocolPage(t)
	if *updateProtocol {
		require.NoError(t, os.WriteFile(page, []byte(want), 0o644))
	}
	got, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Equal(t, want, string(got), "docs/protocol.md is stale: go test ./core/broker -run TestProtocolPage -args -update-protocol")
}
