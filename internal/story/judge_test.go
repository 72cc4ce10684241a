package story

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/internal/jepsen"
)

// TestNoHistoryThroughKillsAndFreezesIsWrong has clients send, poll and do both in transactions while the hub's process is killed with
// SIGKILL and frozen with SIGSTOP, and judges what they saw by the names of Jepsen's kafka workload.
//
// MOLDAU_ROUNDS sets the number of hubs (2), MOLDAU_SEED the seed of the first.
func TestNoHistoryThroughKillsAndFreezesIsWrong(t *testing.T) {
	rounds, seed := 2, uint64(time.Now().UnixNano())
	if s := os.Getenv("MOLDAU_ROUNDS"); s != "" {
		var err error
		rounds, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	if s := os.Getenv("MOLDAU_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	for i := range rounds {
		t.Run(fmt.Sprintf("MOLDAU_SEED=%d", seed+uint64(i)), func(t *testing.T) { judgeRound(t, seed+uint64(i)) })
	}
}

func judgeRound(t *testing.T, seed uint64) {
	h := startHub(t, func(h *Hub) {
		h.Roles = "broker,controller"
		h.Set = append(h.Set, "broker.transaction.abort.timed.out.transaction.cleanup.interval.ms=500")
	})
	client := []kgo.Opt{kgo.SeedBrokers(h.Endpoints.Kafka)}
	w := &jepsen.Workload{Client: client, Topic: "judged", Keys: 4, Workers: 5, Ops: 1 << 30, Seed: seed, Patience: 4 * time.Second, PollWait: 50 * time.Millisecond, Pace: 20 * time.Millisecond}
	cl, err := kgo.NewClient(client...)
	require.NoError(t, err)
	defer cl.Close()
	made, err := kadm.NewClient(cl).CreateTopic(t.Context(), int32(w.Keys), 1, nil, w.Topic)
	require.NoError(t, err)
	require.NoError(t, made.Err)

	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
	defer cancel()
	history := jepsen.NewHistory()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.Run(ctx, history)
	}()
	rnd := rand.New(rand.NewPCG(seed, 99))
	kills, freezes := 0, 0
	wait := func(least, most time.Duration) {
		select {
		case <-ctx.Done():
		case <-time.After(least + time.Duration(rnd.Int64N(int64(most-least)))):
		}
	}
	for ctx.Err() == nil {
		wait(200*time.Millisecond, 900*time.Millisecond)
		switch rnd.IntN(3) {
		case 0:
			kills++
			require.NoError(t, h.Kill())
			up, stop := context.WithTimeout(t.Context(), time.Minute)
			require.NoError(t, h.Start(up))
			stop()
		case 1:
			freezes++
			require.NoError(t, syscall.Kill(h.PID(), syscall.SIGSTOP))
			wait(100*time.Millisecond, 1500*time.Millisecond)
			require.NoError(t, syscall.Kill(h.PID(), syscall.SIGCONT))
		}
	}
	<-ended
	last, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	require.NoError(t, w.Finish(last, history))
	r := jepsen.Check(history.Ops(), true)
	t.Logf("%d kills, %d freezes; %s", kills, freezes, r)
	if len(r.Errors()) > 0 {
		var b strings.Builder
		for _, o := range history.Ops() {
			fmt.Fprintln(&b, o)
		}
		file := filepath.Join(os.TempDir(), fmt.Sprintf("history-%d.txt", seed))
		_ = os.WriteFile(file, []byte(b.String()), 0o644)
		t.Logf("the history is in %s", file)
	}
	require.Empty(t, r.Errors())
	require.Positive(t, r.Acked)
	require.Positive(t, r.OKs)
}
