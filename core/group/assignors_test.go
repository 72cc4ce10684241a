package group

import (
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// kafkaScenario is a group whose members come, go and change their subscriptions, with the targets that
// Apache Kafka 4.3.1 computed after each step, and its hashes of the topics.
type kafkaScenario struct {
	Assignor string
	Topics   []struct {
		ID, Name, Hash string
		Partitions     int32
	}
	Steps []struct {
		Join        string
		Instance    *string
		Leave       string
		Topics      []string
		Homogeneous bool
		Hash        string
		Result      map[string]map[string][]int32
	}
}

// fixedImage is metadata that a test wrote down.
type fixedImage struct {
	emptyImage
	byName map[string]TopicInfo
	byID   map[uuid]TopicInfo
}

func newFixedImage(topics ...TopicInfo) fixedImage {
	im := fixedImage{byName: map[string]TopicInfo{}, byID: map[uuid]TopicInfo{}}
	for _, t := range topics {
		im.byName[t.Name], im.byID[t.ID] = t, t
	}
	return im
}

func (f fixedImage) Topic(name string) (TopicInfo, bool)     { t, ok := f.byName[name]; return t, ok }
func (f fixedImage) TopicByID(id [16]byte) (TopicInfo, bool) { t, ok := f.byID[id]; return t, ok }

func parseUUID(t testing.TB, s string) (id uuid) {
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	copy(id[:], b)
	return id
}

func TestTargetsAndHashesAreThoseOfKafka(t *testing.T) {
	f, err := os.Open("testdata/assignments-4.3.1.json.gz")
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	var scenarios []kafkaScenario
	require.NoError(t, json.NewDecoder(z).Decode(&scenarios))
	require.NotEmpty(t, scenarios)
	for i, sc := range scenarios {
		t.Run(fmt.Sprintf("%d %s", i, sc.Assignor), func(t *testing.T) { replayScenario(t, sc) })
	}
}

func replayScenario(t *testing.T, sc kafkaScenario) {
	var topics []TopicInfo
	for _, x := range sc.Topics {
		topics = append(topics, TopicInfo{ID: parseUUID(t, x.ID), Name: x.Name, Partitions: x.Partitions})
	}
	s := NewShard(Config{})
	s.setImage(newFixedImage(topics...))
	for i, x := range sc.Topics {
		require.Equal(t, x.Hash, strconv.FormatInt(int64(topicHash(s.image, topics[i])), 10))
	}
	g := newConsumerGroup("g")
	for n, st := range sc.Steps {
		id := st.Join
		if id != "" {
			m := newConsumerMember(id)
			if old := g.members[id]; old != nil {
				m = old
			}
			r := m.memberRecord
			r.instance, r.topics = st.Instance, uniqueTopics(st.Topics)
			require.NoError(t, g.apply(&consumerRecord{kind: keyConsumerMember, name: id, value: &r}))
		} else {
			for _, r := range removeMember("g", st.Leave) {
				require.NoError(t, g.apply(&r))
			}
		}
		require.Equal(t, st.Homogeneous, g.homogeneous)
		require.Equal(t, st.Hash, strconv.FormatInt(s.metadataHash(g.topics), 10), "step %d", n)
		if len(g.members) == 0 {
			continue
		}
		one := g.members[sortedKeys(g.members)[0]]
		result, err := assign(sc.Assignor, s.specOf(g, g.homogeneous, one))
		require.NoError(t, err)
		want := map[string]assignment{}
		for m, a := range st.Result {
			want[m] = assignment{}
			for id, ps := range a {
				want[m][parseUUID(t, id)] = ps
			}
		}
		for m := range g.members {
			require.Equal(t, want[m], orEmpty(result[m]).parts, "step %d, member %s", n, m)
			require.NoError(t, g.apply(&consumerRecord{kind: keyConsumerTargetMember, name: m, value: orEmpty(result[m])}))
		}
	}
}

// Whatever the group, every partition with a subscriber has exactly one owner, who subscribes to it; where all
// subscribe to the same, nobody has two more than another; and a target that is balanced stays as it is.
func TestTargetsAreCompleteBalancedAndSticky(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		parts := map[uuid]int32{}
		var topics []uuid
		for i := range 1 + rng.IntN(6) {
			id := uuid{byte(i + 1), byte(rng.Uint32())}
			topics, parts[id] = append(topics, id), 1+rng.Int32N(30)
		}
		spec := &groupSpec{homogeneous: rng.IntN(2) == 0, partitions: func(id uuid) int32 { return parts[id] }, owned: map[uuid]map[int32]bool{}}
		for i := range 1 + rng.IntN(40) {
			m := memberSpec{id: fmt.Sprint("m", i), subscribed: len(topics)}
			for _, id := range topics {
				if spec.homogeneous || rng.IntN(2) == 0 {
					m.topics = append(m.topics, id)
				}
			}
			spec.members = append(spec.members, m)
		}
		for _, name := range []string{assignorRange, assignorUniform} {
			first, err := assign(name, spec)
			require.NoError(t, err)
			owners := map[topicPartition]string{}
			least, most := 1<<30, 0
			for i := range spec.members {
				m := &spec.members[i]
				n := 0
				for id, ps := range first[m.id].get() {
					require.True(t, m.subscribes(id), "seed %d", seed)
					for _, p := range ps {
						require.Empty(t, owners[topicPartition{id, p}], "seed %d: two owners", seed)
						owners[topicPartition{id, p}] = m.id
						n++
					}
				}
				least, most = min(least, n), max(most, n)
			}
			for id, n := range parts {
				for p := range n {
					wanted := false
					for i := range spec.members {
						wanted = wanted || spec.members[i].subscribes(id)
					}
					require.Equal(t, wanted, owners[topicPartition{id, p}] != "", "seed %d %s", seed, name)
				}
			}
			if name == assignorRange {
				continue
			}
			if spec.homogeneous {
				require.LessOrEqual(t, most-least, 1, "seed %d", seed)
			}
			again := *spec
			again.members, again.owned = nil, map[uuid]map[int32]bool{}
			for _, m := range spec.members {
				m.old = first[m.id]
				again.members = append(again.members, m)
				for id, ps := range m.old.get() {
					for _, p := range ps {
						if again.owned[id] == nil {
							again.owned[id] = map[int32]bool{}
						}
						again.owned[id][p] = true
					}
				}
			}
			second, err := assign(name, &again)
			require.NoError(t, err)
			for m, a := range first {
				require.True(t, a.get().equal(second[m].get()), "seed %d: a balanced target moved", seed)
			}
		}
	}
}
