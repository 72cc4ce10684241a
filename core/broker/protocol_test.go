package broker

import (
	"bufio"
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	"client:telemetry": "hidden, as by a Kafka without a telemetry receiver: clients that find the API absent do not push (KIP-714). Subscriptions are kept and listed, and nobody is told of them",
	"inter-broker":     "spoken between brokers only",
	"controller":       "spoken between brokers and controllers of Apache Kafka; the metadata quorum here is Raft of its own",
	"removed":          "removed in Kafka 4.0, with ZooKeeper",
}

// reasons are the APIs for clients that are absent.
var reasons = map[int16]string{71: "client:telemetry", 72: "client:telemetry"}

// remarks say what answers an API has that is served for its answers' sake.
var remarks = func() map[int16]string {
	const (
		tokens  = "delegation tokens are off: DELEGATION_TOKEN_AUTH_DISABLED, as from a broker without `delegation.token.secret.key`"
		share   = "share groups (KIP-932) are off: UNSUPPORTED_VERSION, as with `share.version` 0"
		streams = "streams groups (KIP-1071) are off: UNSUPPORTED_VERSION, as with `streams.version` 0"
	)
	return map[int16]string{
		38: tokens, 39: tokens, 40: tokens, 41: tokens, 76: share, 77: share, 78: share, 79: share, 90: share, 91: share, 92: share, 88: streams, 89: streams, 93: streams,
		94: "CONTROLLER_ID_NOT_REGISTERED, or INVALID_REQUEST for the active controller: there is one",
	}
}()

// differences are the reasons for which the answer to ApiVersions differs from that of Apache Kafka 4.3.1.
var differences = func() map[int16]string {
	const (
		since = "as Kafka 4.4"
		old   = "versions that Kafka 4.0 removed are kept for kafka-go, kafkajs, brod and other clients in use"
		share = "share groups are off; franz-go's client takes version 2 for the sign that a cluster has them, and would begin what cannot work"
	)
	return map[int16]string{
		2: old, 8: old, 9: old, 19: old, 20: old,
		18: since + ": the client may name the cluster and node that it means (KIP-1242)",
		28: since + ": topics by id (KIP-1319)",
		42: since + ": an error message for each group",
		78: share, 79: share,
		83: absent["inter-broker"], 84: absent["inter-broker"], 85: absent["inter-broker"], 86: absent["inter-broker"], 87: absent["inter-broker"],
		88: since, 89: since, 93: since, 94: since + " (KIP-1312)",
	}
}()

type kafkaAPI struct {
	key            int16
	name, versions string
	who            string
}

// kafkaAPIs are the APIs of Apache Kafka 4.4.
func kafkaAPIs(t *testing.T) []kafkaAPI {
	var l []kafkaAPI
	readTable(t, "testdata/kafka_apis.txt", 4, func(key int16, p []string) { l = append(l, kafkaAPI{key, p[0], p[1], p[2]}) })
	return l
}

// readTable reads lines of a key and further fields.
func readTable(t *testing.T, file string, fields int, line func(key int16, rest []string)) {
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if strings.HasPrefix(sc.Text(), "#") {
			continue
		}
		p := strings.SplitN(sc.Text(), " ", fields)
		require.Len(t, p, fields, sc.Text())
		k, err := strconv.ParseInt(p[0], 10, 16)
		require.NoError(t, err)
		line(int16(k), p[1:])
	}
}

// comparison is the part of the page that holds the answer to ApiVersions against that of a real broker, key by key.
func comparison(t *testing.T, b *strings.Builder) {
	names, theirs, ours := map[int16]string{}, map[int16]string{}, map[int16]string{}
	for _, k := range kafkaAPIs(t) {
		names[k.key] = k.name
	}
	readTable(t, "testdata/kafka_4_3_1_apiversions.txt", 2, func(key int16, p []string) { theirs[key] = p[0] })
	for _, a := range wire.APIs() {
		ours[a.Key] = versionRange(a.Min, a.Max)
	}
	b.WriteString(`
## Beside Apache Kafka 4.3.1

Its answer to ApiVersions was recorded with ` + "`share.version` and `streams.version`" + ` at 0. These keys differ; all others are the same.

| key | API | moldau | Kafka 4.3.1 | why |
|--:|---|---|---|---|
`)
	for key := range int16(kmsg.MaxKey + 1) {
		here, there := cmp.Or(ours[key], "none"), cmp.Or(theirs[key], "none")
		if here == there {
			require.NotContains(t, differences, key, "%s does not differ from Kafka 4.3.1", names[key])
			continue
		}
		require.Contains(t, differences, key, "%s is %s here and %s in Kafka 4.3.1: say why in this file", names[key], here, there)
		fmt.Fprintf(b, "| %d | %s | %s | %s | %s |\n", key, names[key], here, there, differences[key])
	}
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
a line in the log, but for ApiVersions, which is answered with the versions that are served (KIP-511). So does one that wants the same thing
described more than 16 times.

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
		if r := remarks[a.Key]; r != "" {
			notes = append(notes, r)
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
	comparison(t, &b)
	onPurpose(t, &b)
	b.WriteString("\n## Features\n\nWhat ApiVersions advertises, with the levels that can be finalised. Features of Kafka that are not listed are off.\n\n| feature | levels | of a new cluster |\n|---|---|--:|\n")
	for _, f := range supportedFeatures {
		fmt.Fprintf(&b, "| `%s` | %s | %d |\n", f.Name, versionRange(f.MinVersion, f.MaxVersion), bootstrapLevel(f.Name))
	}
	storagePage(&b)
	return b.String()
}

// onPurpose lists what is answered in another way than Apache Kafka answers it, from the recorded answers that say so.
func onPurpose(t *testing.T, b *strings.Builder) {
	files, err := filepath.Glob("testdata/answers/*.txt")
	require.NoError(t, err)
	seen := map[string]bool{}
	var whys []string
	asked := 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "> ") && strings.Contains(line, "{") {
				asked++
			}
			if why, ok := strings.CutPrefix(strings.TrimSpace(line), "#~ "); ok && !seen[why] {
				seen[why] = true
				whys = append(whys, why)
			}
		}
	}
	slices.Sort(whys)
	fmt.Fprintf(b, "\n## Answers that differ on purpose\n\n%d requests, the unusual but legal ones among them, were put to Apache Kafka 4.3.1 and its answers written down "+
		"(`core/broker/testdata/answers`); a test holds the broker to them, error codes and texts included. These differ:\n\n", asked)
	for _, why := range whys {
		fmt.Fprintf(b, "- %s.\n", why)
	}
}

// newest says why the newest version of Kafka's is not served.
func newest(key, hi int16, kafka string) string {
	switch {
	case strings.HasSuffix(kafka, "*"):
		return "the newest is unstable in Kafka and not advertised there either"
	case key == int16(kmsg.ShareFetch) || key == int16(kmsg.ShareAcknowledge):
		return "2 is kept back, see below"
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
