package jepsen

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

func makeTopic(t testing.TB, client []kgo.Opt, name string, keys int) {
	t.Helper()
	cl, err := kgo.NewClient(client...)
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	resp, err := kadm.NewClient(cl).CreateTopic(ctx, int32(keys), 1, nil, name)
	require.NoError(t, err)
	require.NoError(t, resp.Err)
}

// judge finishes a run, checks it, and shows the history when it is bad.
func judge(t testing.TB, w *Workload, h *History) *Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	require.NoError(t, w.Finish(ctx, h), "seed %d", w.Seed)
	r := Check(h.Ops(), true)
	if len(r.Errors()) > 0 {
		var b strings.Builder
		for _, o := range h.Ops() {
			fmt.Fprintln(&b, o)
		}
		file := fmt.Sprintf("%s/jepsen-%d.txt", os.TempDir(), w.Seed)
		_ = os.WriteFile(file, []byte(b.String()), 0o644)
		t.Logf("seed %d: the history is in %s\n%s", w.Seed, file, r)
	}
	return r
}

// TestAHealthyBrokerIsFoundHealthy works on a broker of its own, or on the cluster that MOLDAU_TEST_KAFKA names.
func TestAHealthyBrokerIsFoundHealthy(t *testing.T) {
	seed := os.Getenv("MOLDAU_TEST_KAFKA")
	if seed == "" {
		seed = brokertest.Start(t).Addr()
	}
	client := []kgo.Opt{kgo.SeedBrokers(strings.Split(seed, ",")...)}
	w := &Workload{Client: client, Topic: fmt.Sprintf("jepsen-%d", time.Now().UnixNano()), Keys: 4, Workers: 5, Ops: 120, Seed: uint64(time.Now().UnixNano()), Patience: 3 * time.Second, PollWait: 50 * time.Millisecond}
	makeTopic(t, client, w.Topic, w.Keys)
	h := NewHistory()
	w.Run(t.Context(), h)
	r := judge(t, w, h)
	require.Empty(t, r.Errors())
	t.Log(r)
}

// TestABrokenBrokerIsFound breaks the broker on purpose, in one way after the other, and looks for each anomaly.
func TestABrokenBrokerIsFound(t *testing.T) {
	addr := os.Getenv("MOLDAU_TEST_KAFKA")
	if addr == "" {
		addr = brokertest.Start(t, brokertest.With("transaction.state.log.num.partitions", "4"), brokertest.With("offsets.topic.num.partitions", "4")).Addr()
	}
	for _, c := range []struct {
		name string
		how  sabotage
		want []string
	}{
		{"ignores isolation", ignoresIsolation, []string{"G1a", "precommitted-read", "G1c"}},
		{"forgets some", forgetsSome, []string{"lost-write"}},
		{"loses a partition", losesAPartition, []string{"unseen"}},
		{"appends twice", appendsTwice, []string{"duplicate"}},
		{"twists values", twistsValues, []string{"inconsistent-offsets", "phantom"}},
		{"skips", skips, []string{"poll-skip", "int-poll-skip"}},
		{"loses places", losesPlaces, []string{"nonmonotonic-poll", "int-nonmonotonic-poll"}},
		{"acknowledges elsewhere", acknowledgesElsewhere, []string{"nonmonotonic-send", "int-nonmonotonic-send"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var found []string
			var last *Result
			for seed := uint64(1); seed <= 8 && !subset(found, c.want); seed++ {
				s := newSaboteur(t, addr, seed, c.how)
				client := []kgo.Opt{kgo.SeedBrokers(addr), kgo.Dialer(s.dial)}
				w := &Workload{Client: client, Plain: true, Topic: fmt.Sprintf("broken-%d", time.Now().UnixNano()), Keys: 2, Workers: 4, Ops: 60, Seed: seed, Patience: 2 * time.Second, PollWait: 30 * time.Millisecond}
				makeTopic(t, client, w.Topic, w.Keys)
				h := NewHistory()
				w.Run(t.Context(), h)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				if err := w.Finish(ctx, h); err != nil {
					t.Log(err) // so it is broken
				}
				cancel()
				last = Check(h.Ops(), true)
				found = append(found, last.Errors()...)
			}
			require.Subset(t, found, c.want, last.String())
		})
	}
}

func subset(found, want []string) bool {
	for _, w := range want {
		if !slices.Contains(found, w) {
			return false
		}
	}
	return true
}
