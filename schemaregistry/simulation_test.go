package schemaregistry

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/moldau-io/moldau/schemaregistry/avro"
	"github.com/stretchr/testify/require"
)

// simNode is a node of the simulation: a state that has applied a part of the log.
type simNode struct {
	state *State
	next  int
	// pending is what the node decided and has not written yet.
	pending *simWrite
}

type simWrite struct {
	at      int64
	records []Record
	made    *registration
	text    string
}

// sim is a log with nodes that read and write it in any order.
type sim struct {
	t       *testing.T
	rnd     *rand.Rand
	log     []Record
	nodes   []*simNode
	decide  *decider
	offset  int64
	answers map[contextID]string // what an id stands for, once a client was told
}

func (s *sim) catchUp(n *simNode, to int) {
	for ; n.next < to; n.next++ {
		_, _ = n.state.Apply(s.log[n.next])
	}
}

// append writes records that were decided for offset at.
func (s *sim) append(at int64, records []Record) {
	for i, r := range records {
		r.Decided, r.Expected = true, at+int64(i)
		r.Offset = s.offset
		s.offset++
		s.log = append(s.log, r)
	}
}

// begin reads to the end of the log and decides; the records are written later, when others may have written.
func (s *sim) begin(n *simNode) {
	s.catchUp(n, len(s.log))
	q := qualify([]string{"a", "b", ":.c:a"}[s.rnd.IntN(3)])
	w := &simWrite{text: fmt.Sprintf(`{"type":"fixed","name":"F","size":%d}`, s.rnd.IntN(6))}
	var err error
	var records []Record
	switch s.rnd.IntN(10) {
	case 0:
		_, records, err = s.decide.deleteSubject(n.state, q, s.rnd.IntN(2) == 0)
	case 1:
		_, records, err = s.decide.deleteVersion(n.state, q, Latest, "latest", s.rnd.IntN(2) == 0)
	default:
		if w.made, err = s.decide.register(n.state, q, Request{Schema: w.text}, RegisterOptions{}); err == nil {
			if records = w.made.records; w.made.existing != nil {
				s.told(w.made.existing.subject, w.made.existing.id, w.text)
				return
			}
		}
	}
	if err == nil {
		w.records = append(n.state.repairs(), records...)
		w.at = s.offset
		n.pending = w
	}
}

// finish writes what was decided and reads it back. A node may die in between: then nobody is told.
func (s *sim) finish(n *simNode) {
	w := n.pending
	n.pending = nil
	s.append(w.at, w.records)
	if s.rnd.IntN(8) == 0 {
		*n = simNode{state: NewState("NONE", ReadWrite)} // a restart
		return
	}
	s.catchUp(n, len(s.log))
	if w.made == nil {
		return
	}
	if v := n.state.version(w.made.made); v != nil && v.id == w.made.id && v.content.hash == w.made.hash {
		s.told(v.subject, v.id, w.text)
	}
}

type contextID struct {
	context string
	id      int
}

// told checks that the id means what it meant when a client was told before.
func (s *sim) told(subject string, id int, text string) {
	k := contextID{qualify(subject).context, id}
	if old, ok := s.answers[k]; ok {
		require.Equal(s.t, old, text, "id %d of %s", id, subject)
	}
	s.answers[k] = text
}

// compact keeps the newest record of each key, as Kafka's cleaner may at any time, and restarts all nodes. Some live node repairs
// first: the cleaner only touches segments that are closed, hours later.
func (s *sim) compact() {
	n := &simNode{state: NewState("NONE", ReadWrite)}
	s.catchUp(n, len(s.log))
	s.append(s.offset, n.state.repairs())
	s.catchUp(n, len(s.log))
	require.Empty(s.t, n.state.rejected)
	newest := map[string]int{}
	for i, r := range s.log {
		newest[string(r.Key)] = i
	}
	cut := s.rnd.IntN(len(s.log) + 1)
	var log []Record
	for i, r := range s.log {
		if at := newest[string(r.Key)]; i == at && (r.Value != nil || i >= cut) || at >= cut && i >= cut {
			log = append(log, r)
		} else if i < cut && at >= cut {
			// The cleaner has not seen the newer record: it keeps the newest within its part.
			later := slices.ContainsFunc(s.log[i+1:cut], func(o Record) bool { return string(o.Key) == string(r.Key) })
			if !later {
				log = append(log, r)
			}
		}
	}
	s.log = log
	again := &simNode{state: NewState("NONE", ReadWrite)}
	s.catchUp(again, len(s.log))
	require.Equal(s.t, dump(n.state), dump(again.state), "compacted at %d", cut)
	for k, text := range s.answers {
		if id := again.state.idIn(k.context, k.id); id != nil {
			require.Equal(s.t, text, id.content.text)
		} else {
			delete(s.answers, k) // nothing has the id any more; after a restart it may be used again
		}
	}
	for i := range s.nodes {
		s.nodes[i] = &simNode{state: NewState("NONE", ReadWrite)}
	}
}

// dump lists all that a client can see.
func dump(s *State) []string {
	var out []string
	for name, sub := range s.subjects {
		for _, v := range sub.versions {
			out = append(out, fmt.Sprintf("%s %d id %d deleted %t %s", name, v.number, v.id, v.deleted, v.content.text))
		}
	}
	slices.Sort(out)
	return out
}

func TestRacingNodesNeverGiveAnIDTwoMeanings(t *testing.T) {
	seeds := []uint64{rand.Uint64()}
	if fixed, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
		seeds = []uint64{fixed}
	} else {
		for i := range uint64(300) {
			seeds = append(seeds, i)
		}
	}
	for _, seed := range seeds {
		s := &sim{t: t, rnd: rand.New(rand.NewPCG(seed, 0)), answers: map[contextID]string{}, decide: &decider{parser: newParser(Limits{}), mutableMode: true, validateNew: true}} //nolint:gosec // a simulation
		for range 3 {
			s.nodes = append(s.nodes, &simNode{state: NewState("NONE", ReadWrite)})
		}
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			s.t = t
			for range 150 {
				n := s.nodes[s.rnd.IntN(len(s.nodes))]
				switch {
				case n.pending != nil:
					s.finish(n)
				case s.rnd.IntN(25) == 0 && len(s.log) > 0:
					s.compact()
				default:
					s.begin(n)
				}
			}
			var dumps [][]string
			for _, n := range s.nodes {
				s.catchUp(n, len(s.log))
				dumps = append(dumps, dump(n.state))
			}
			require.Equal(t, dumps[0], dumps[1])
			require.Equal(t, dumps[0], dumps[2])
		})
	}
}

func apply(t *testing.T, s *State, key, value string) (Outcome, error) {
	t.Helper()
	r := Record{Key: []byte(key)}
	if value != "" {
		r.Value = []byte(value)
	}
	return s.Apply(r)
}

func TestKeysAreConfluentsBytes(t *testing.T) {
	for want, k := range map[string]key{
		`{"keytype":"NOOP","magic":0}`:                                        {kind: keyNoop},
		`{"keytype":"SCHEMA","subject":"a<b>é\"","version":3,"magic":1}`:      {kind: keySchema, subject: `a<b>é"`, version: 3},
		`{"keytype":"CONFIG","magic":0}`:                                      {kind: keyConfig},
		`{"keytype":"CONFIG","subject":"s","magic":0}`:                        {kind: keyConfig, subject: "s"},
		`{"keytype":"MODE","subject":"s","magic":0}`:                          {kind: keyMode, subject: "s"},
		`{"keytype":"DELETE_SUBJECT","subject":"s","magic":0}`:                {kind: keyDeleteSubject, subject: "s"},
		`{"keytype":"CLEAR_SUBJECT","subject":"s","magic":0}`:                 {kind: keyClearSubject, subject: "s"},
		`{"keytype":"CONTEXT","tenant":"default","context":".ctx","magic":0}`: {kind: keyContext, context: ".ctx"},
	} {
		require.Equal(t, want, k.canonical())
		back, err := parseKey([]byte(want))
		require.NoError(t, err)
		require.Equal(t, k, back)
	}
}

func TestValuesAreConfluents(t *testing.T) {
	c := &content{kind: TypeAvro, text: `"int"`}
	require.JSONEq(t, `{"subject":"s","version":1,"id":2,"schema":"\"int\"","deleted":false}`, string(schemaRecord("s", 1, 2, c, false).Value))
	require.JSONEq(t, `{"subject":"s","compatibilityLevel":"NONE"}`, string(configRecord("s", Config{CompatibilityLevel: "NONE"}).Value))
	require.JSONEq(t, `{"compatibilityLevel":"NONE"}`, string(configRecord("", Config{CompatibilityLevel: "NONE"}).Value))
	require.JSONEq(t, `{"subject":"s","mode":"READONLY"}`, string(modeRecord("s", ReadOnly).Value))
	require.JSONEq(t, `{"subject":"s","version":3}`, string(deleteRecord("s", 3).Value))
	require.JSONEq(t, `{"tenant":"default","context":".c"}`, string(contextRecord(".c").Value))
}

func TestDeletedSchemaOfAnOldReleaseDoesNotComeBack(t *testing.T) {
	s := NewState("BACKWARD", ReadWrite)
	old := `{"magic":0,"keytype":"SCHEMA","version":1,"subject":"s"}`
	outcome, err := apply(t, s, old, `{"subject":"s","version":1,"id":1,"schema":"\"int\""}`)
	require.NoError(t, err)
	require.Equal(t, Applied, outcome)
	d := &decider{parser: newParser(Limits{})}
	_, records, err := d.deleteVersion(s, qualify("s"), 1, "1", false)
	require.NoError(t, err)
	for _, r := range records {
		_, err = s.Apply(r)
		require.NoError(t, err)
	}
	_, records, err = d.deleteVersion(s, qualify("s"), 1, "1", true)
	require.NoError(t, err)
	var keys []string
	for _, r := range records {
		require.Nil(t, r.Value)
		keys = append(keys, string(r.Key))
		_, err = s.Apply(r)
		require.NoError(t, err)
	}
	require.Equal(t, []string{`{"keytype":"SCHEMA","subject":"s","version":1,"magic":1}`, old}, keys)
	require.Empty(t, s.spellings)
	require.Empty(t, s.subjects)
}

func TestDeleteMarkGoesWithItsVersions(t *testing.T) {
	s := NewState("BACKWARD", ReadWrite)
	for _, r := range []Record{schemaRecord("s", 1, 1, &content{kind: TypeAvro, text: `"int"`}, false), deleteRecord("s", 1)} {
		_, err := s.Apply(r)
		require.NoError(t, err)
	}
	_, records, err := (&decider{parser: newParser(Limits{})}).deleteSubject(s, qualify("s"), true)
	require.NoError(t, err)
	require.Equal(t, `{"keytype":"DELETE_SUBJECT","subject":"s","magic":0}`, string(records[len(records)-1].Key))
	require.Nil(t, records[len(records)-1].Value)
}

func TestRecordsOfOtherReleasesAreRead(t *testing.T) {
	s := NewState("BACKWARD", ReadWrite)
	ok := func(key, value string) {
		t.Helper()
		outcome, err := apply(t, s, key, value)
		require.NoError(t, err)
		require.Equal(t, Applied, outcome)
	}
	ok(`{"keytype":"SCHEMA","subject":"s","version":1,"magic":1}`, `{"subject":"s","version":1,"id":5,"schemaType":"AVRO","references":[],"schema":"\"int\"","deleted":false,"ts":1,"offset":2}`)
	ok(`{"keytype":"SCHEMA","subject":"p","version":1,"magic":1}`, `{"subject":"p","version":1,"id":6,"schemaType":"PROTOBUF","schema":"syntax = \"proto3\";","deleted":false}`)
	ok(`{"keytype":"CONFIG","subject":null,"magic":0}`, `{"compatibilityLevel":"FULL"}`)
	ok(`{"keytype":"NOOP","magic":0}`, ``)
	require.Equal(t, 5, s.find("s", Latest, Live).id)
	require.Equal(t, "PROTOBUF", s.find("p", 1, Live).content.kind)
	require.Equal(t, "FULL", s.configInScope(qualify("s")).CompatibilityLevel)
	for _, bad := range []string{`{"keytype":"ASSOC","magic":0}`, `x`, `{"keytype":"SCHEMA","subject":"s","version":1,"magic":2}`, `{"keytype":"SCHEMA","version":1,"magic":1}`} {
		outcome, err := apply(t, s, bad, `{}`)
		require.Error(t, err)
		require.Equal(t, Ignored, outcome)
	}
}

func TestGUIDIsTheMD5OfAllThatMakesASchema(t *testing.T) {
	// The MD5 of nothing.
	require.Equal(t, "d41d8cd9-8f00-b204-e980-0998ecf8427e", hashContent("", nil, nil, nil).guid())
	a := hashContent(`"int"`, nil, nil, nil)
	require.NotEqual(t, a, hashContent(`"int"`, nil, &Metadata{}, nil))
	require.NotEqual(t, a, hashContent(`"int"`, nil, nil, &RuleSet{}))
	require.NotEqual(t, a, hashContent(`"int"`, []Reference{{Name: "a", Subject: "b", Version: 1}}, nil, nil))
	require.Equal(t, hashContent(``, nil, &Metadata{Sensitive: []string{"b", "a"}}, nil), hashContent(``, nil, &Metadata{Sensitive: []string{"a", "b"}}, nil))
}

func TestPropertiesAreNamedWhenTheyAreWrong(t *testing.T) {
	o, err := ParseConfig(map[string]string{"kafkastore.topic": "x", "schema.compatibility.level": "full", "mode.mutability": "False", "kafkastore.timeout.ms": "100", "leader.eligibility": "true"})
	require.NoError(t, err)
	require.Equal(t, "x", o.Topic)
	require.Equal(t, string(avro.Full), o.Level)
	require.True(t, o.ImmutableMode)
	for props, want := range map[[2]string]string{
		{"kafkastore.topik", "x"}:           "kafkastore.topik is not a property of the registry; did you mean kafkastore.topic?",
		{"schema.compatibility.level", "x"}: `schema.compatibility.level is "x", not one of none, backward, forward, full, backward_transitive, forward_transitive, full_transitive`,
		{"leader.eligibility", "false"}:     `leader.eligibility is "false", but only "true" is supported. nodes do not elect a leader yet; every node may write`,
		{"resource.extension.class", "a"}:   "resource.extension.class is not supported: there are no plugins in the registry",
		{"kafkastore.timeout.ms", "0"}:      `kafkastore.timeout.ms is "0", not a number of milliseconds above 0`,
	} {
		_, err := ParseConfig(map[string]string{props[0]: props[1]})
		require.EqualError(t, err, want)
	}
	seen := map[string]bool{}
	for _, p := range Properties() {
		require.False(t, seen[p.Name], p.Name)
		seen[p.Name] = true
		if p.set != nil && p.Default != "" {
			_, err := ParseConfig(map[string]string{p.Name: p.Default})
			require.NoError(t, err)
		}
	}
	o, err = ParseConfig(nil)
	require.NoError(t, err)
	for _, p := range Properties() {
		if p.set != nil && p.Default != "" {
			require.NoError(t, p.set(&o, p.Default))
		}
	}
	require.Equal(t, fmt.Sprint(DefaultOptions()), fmt.Sprint(o), "the table's defaults are the defaults")
}

func FuzzApply(f *testing.F) {
	f.Add([]byte(`{"keytype":"SCHEMA","subject":"s","version":1,"magic":1}`), []byte(`{"subject":"s","version":1,"id":5,"schema":"\"int\"","references":[{"name":"a","subject":"b","version":1}],"deleted":false}`))
	f.Add([]byte(`{"keytype":"CONFIG","magic":0}`), []byte(`{"compatibilityLevel":"FULL","defaultMetadata":{"tags":{"a":["b"]}}}`))
	f.Add([]byte(`{"keytype":"DELETE_SUBJECT","subject":"s","magic":0}`), []byte(`{"subject":"s","version":1}`))
	f.Add([]byte(`{"keytype":"CLEAR_SUBJECT","subject":":.c:","magic":0}`), []byte(`{}`))
	f.Add([]byte(`{"keytype":"CONTEXT","tenant":"default","context":".c","magic":0}`), []byte(`{"tenant":"default"}`))
	f.Add([]byte(`{"keytype":"MODE","subject":"s","magic":0}`), []byte(`{"mode":"IMPORT"}`))
	f.Fuzz(func(t *testing.T, k, v []byte) {
		s := NewState("BACKWARD", ReadWrite)
		_, _ = s.Apply(schemaRecord("s", 1, 1, &content{kind: TypeAvro, text: `"long"`}, false))
		_, _ = s.Apply(Record{Key: k, Value: v})
		_, _ = s.Apply(Record{Key: k, Value: v})
		_, _ = s.Apply(Record{Key: k})
		_ = s.repairs()
		live, deleted := 0, 0
		for _, sub := range s.subjects {
			for _, v := range sub.versions {
				if v.deleted {
					deleted++
				} else {
					live++
				}
			}
		}
		if live != s.live || deleted != s.deleted {
			t.Fatalf("counts %d and %d, but %d and %d versions", s.live, s.deleted, live, deleted)
		}
	})
}
