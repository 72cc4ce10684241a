package file

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

var sections = []Section{
	{Name: "broker", Keys: []string{"num.partitions", "listeners", "log.retention.hours", "log.retention.ms", "node.id"}},
	{Name: "connect", Keys: []string{"group.id", "plugin.path", "snake_key", "dash-key", "camelKey"}, Known: func(k string) bool { return len(k) > 9 && k[:9] == "producer." }},
	{Name: "registry", Keys: []string{"listeners", "kafkastore.topic"}},
}

func write(t *testing.T, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "moldau.yaml")
	require.NoError(t, os.WriteFile(p, []byte(text), 0o600))
	return p
}

func TestFileEnvironmentAndFlagsHavePrecedence(t *testing.T) {
	p := write(t, `
broker:
  num.partitions: 3
  node.id: 007
  log:
    retention:
      hours: 24
    retention.ms: 1e3
  listeners: [ "PLAINTEXT://:1", PLAINTEXT://:2 ]
connect:
  producer.acks: all
  plugin.path: ""
registry:
`)
	s, err := Load(Options{
		Path:     p,
		Environ:  []string{"MOLDAU_BROKER_NUM_PARTITIONS=4", "MOLDAU_BROKER_NODE_ID=8", "HOME=/", "MOLDAU_HOME=/x", "MOLDAU_CONNECT_SNAKE__KEY=s", "MOLDAU_CONNECT_DASH___KEY=d", "MOLDAU_CONNECT_CAMELKEY=c", "MOLDAU_CONNECT_PRODUCER_LINGER_MS=5"},
		Set:      []string{"broker.node.id=9", "connect.group.id=a=b", "connect.plugin.path="},
		Sections: sections,
	})
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"num.partitions": "4", "node.id": "9", "log.retention.hours": "24", "log.retention.ms": "1e3", "listeners": "PLAINTEXT://:1,PLAINTEXT://:2",
	}, s.Section("broker"))
	require.Equal(t, map[string]string{
		"producer.acks": "all", "plugin.path": "", "snake_key": "s", "dash-key": "d", "camelKey": "c", "group.id": "a=b", "producer.linger.ms": "5",
	}, s.Section("connect"))
	require.Empty(t, s.Section("registry"))
	v, ok := s.Lookup("broker", "log.retention.hours")
	require.True(t, ok)
	require.Equal(t, p+":7", v.Origin)
	require.Equal(t, []string{"listeners", "log.retention.hours", "log.retention.ms", "node.id", "num.partitions"}, s.Keys("broker"))
}

func TestNothingSetIsNoError(t *testing.T) {
	for _, text := range []string{"", "# only words\n", "broker:\n", "---\n", "~"} {
		s, err := Load(Options{Path: write(t, text), Sections: sections})
		require.NoError(t, err, "%q", text)
		require.Empty(t, s.Section("broker"))
	}
	s, err := Load(Options{Sections: sections})
	require.NoError(t, err)
	require.Empty(t, s.Section("broker"))
}

func TestMistakesAreNamedWithARemedy(t *testing.T) {
	for _, c := range []struct {
		text string
		env  []string
		set  []string
		want []string
	}{
		{text: "broker:\n  num.partition: 3\n", want: []string{`moldau.yaml:2: unknown key "num.partition" in section "broker", did you mean "num.partitions"?`}},
		{text: "broker:\n  num_partitions: 3\n", want: []string{`did you mean "num.partitions"?`}},
		{text: "broker:\n  group.id: 3\n", want: []string{`unknown key "group.id" in section "broker"; it belongs to section "connect"`}},
		{text: "brokers:\n  node.id: 3\n", want: []string{`unknown section "brokers", did you mean "broker"?`}},
		{text: "zookeeper: {}\n", want: []string{`the sections are broker, connect, registry`}},
		{text: "broker.node.id: 3\n", want: []string{`"broker.node.id" belongs under "broker:"`}},
		{text: "broker:\n  node.id: 3\n  node: {id: 4}\n", want: []string{"moldau.yaml:3: node.id is set already at", "moldau.yaml:2"}},
		{text: "broker:\n  node.id: 3\n  node.id: 4\n", want: []string{"node.id"}},
		{text: "broker: {}\nbroker: {}\n", want: []string{"broker"}},
		{text: "broker: 3\n", want: []string{"must hold keys and values"}},
		{text: "- a\n", want: []string{"must hold sections"}},
		{text: "broker:\n  node.id:\n", want: []string{"node.id has no value"}},
		{text: "broker:\n  node.id: &a 3\n  num.partitions: *a\n", want: []string{"anchors are not supported", "aliases are not supported"}},
		{text: "broker:\n  listeners: [[a]]\n", want: []string{"must be plain values"}},
		{text: "broker:\n  listeners: [\"a,b\"]\n", want: []string{"must not hold a comma"}},
		{text: "broker:\n  node.id: 1\n---\nbroker: {}\n", want: []string{"more than one document"}},
		{text: "broker:\n\tnode.id: 1\n", want: []string{"read settings"}},
		{text: "broker:\n  a: 1\n  b: 2\n", env: []string{"MOLDAU_BROKER_NUM_PARTITIONZ=1"}, set: []string{"x", "brokr.a=1", "broker.nodeid=1"},
			want: []string{`unknown key "a"`, `unknown key "b"`, `environment variable MOLDAU_BROKER_NUM_PARTITIONZ: unknown key "num.partitionz" in section "broker", did you mean "num.partitions"?`, "want SECTION.KEY=VALUE", `unknown section "brokr", did you mean "broker"?`, `did you mean "node.id"?`}},
	} {
		_, err := Load(Options{Path: write(t, c.text), Environ: c.env, Set: c.set, Sections: sections})
		require.Error(t, err, "%q", c.text)
		for _, w := range c.want {
			require.ErrorContains(t, err, w)
		}
	}
	_, err := Load(Options{Path: "/does/not/exist.yaml"})
	require.ErrorContains(t, err, "read settings")
	_, err = Load(Options{Path: write(t, string(make([]byte, maxFile+1)))})
	require.ErrorContains(t, err, "larger than")
}

func TestEnvironmentNamesAreUnambiguous(t *testing.T) {
	require.Equal(t, "MOLDAU_BROKER_NUM_PARTITIONS", EnvironmentName("broker", "num.partitions"))
	for _, k := range []string{"num.partitions", "a_b.c-d", "x"} {
		require.Equal(t, k, keyOf(environmentKey(k)))
	}
}

func FuzzYAML(f *testing.F) {
	f.Add("broker:\n  num.partitions: 3\n  log: {retention: {hours: 1}}\n  listeners: [a, b]\n")
	f.Add("broker: &a {node.id: *a}")
	f.Add("? [a]\n: b\n")
	f.Add("broker:\n  <<: {node.id: 1}\n")
	f.Fuzz(func(t *testing.T, text string) {
		s := &Settings{values: map[string]map[string]Value{}}
		if s.yaml("f", []byte(text), sections) != nil {
			return
		}
		for sec, kv := range s.values {
			for k := range kv {
				require.True(t, section(sections, sec).knows(k))
			}
		}
	})
}

func TestPropertiesFilesHoldOneSection(t *testing.T) {
	yaml := write(t, "broker:\n  node.id: 1\nconnect:\n  group.id: y\n")
	kafka := write(t, "# Kafka's\nnum.partitions=2\nlisteners=PLAINTEXT://:1,\\\n  PLAINTEXT://:2\nlog.retention.hours : 3\nlog.retention.hours=4\n")
	s, err := Load(Options{Path: yaml, Properties: []string{"broker=" + kafka}, Environ: []string{"MOLDAU_BROKER_NUM_PARTITIONS=5"}, Sections: sections})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"node.id": "1", "num.partitions": "5", "listeners": "PLAINTEXT://:1,PLAINTEXT://:2", "log.retention.hours": "4"}, s.Section("broker"))
	v, _ := s.Lookup("broker", "listeners")
	require.Equal(t, kafka+":3", v.Origin)

	connect := write(t, "group.id=p\nplugin.paht=/x\nnode.id=1\n")
	_, err = Load(Options{Path: yaml, Properties: []string{"connect=" + connect, "brokers=" + kafka, "broker", "broker=/nowhere/x", "broker=" + write(t, "a=\\u12")}, Sections: sections})
	for _, want := range []string{
		connect + ":1: group.id is set in " + yaml + ":4 too", connect + `:2: unknown key "plugin.paht" in section "connect", did you mean "plugin.path"?`,
		connect + `:3: unknown key "node.id" in section "connect"; it belongs to section "broker"`, `--properties brokers=` + kafka + `: unknown section "brokers", did you mean "broker"?`,
		"--properties broker: want SECTION=FILE", "open /nowhere/x", "line 1: \\u needs four hexadecimal digits",
	} {
		require.ErrorContains(t, err, want)
	}
}
