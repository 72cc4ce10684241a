package jepsen

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func ok(process int, kind Kind, mops ...Mop) *Op {
	return &Op{Process: process, Kind: kind, Mops: mops}
}

func as(o *Op, outcome Outcome) *Op {
	o.Outcome = outcome
	return o
}

func subscribed(o *Op) *Op {
	o.Subscribed = true
	return o
}

func TestEachAnomalyIsFoundByItsName(t *testing.T) {
	both := func(process int, pairs ...Pair) *Op { return ok(process, KindPoll, Poll(0, pairs...)) }
	for _, c := range []struct {
		name string
		ops  []*Op
		want []string
	}{
		{"nothing", []*Op{ok(0, KindSend, Send(0, 1, 0)), ok(1, KindTxn, Send(0, 2, 1), Send(1, 1, 0)),
			both(2, Pair{0, 1}, Pair{1, 2}), ok(2, KindPoll, Poll(1, Pair{0, 1}))}, nil},
		{"an aborted value is polled", []*Op{as(ok(0, KindTxn, Send(0, 1, 0)), Fail), both(1, Pair{0, 1})}, []string{"G1a"}},
		{"a failed operation's polls count", []*Op{as(ok(0, KindTxn, Send(0, 1, 0)), Fail), as(both(1, Pair{0, 1}), Fail)}, []string{"G1a"}},
		{"an unknown value may be polled", []*Op{as(ok(0, KindTxn, Send(0, 1, Unknown)), Info), both(1, Pair{0, 1})}, nil},
		{"its own value", []*Op{ok(0, KindTxn, Send(0, 1, 0), Poll(0, Pair{0, 1}))}, []string{"precommitted-read"}},
		{"a value nobody sent", []*Op{both(0, Pair{0, 7})}, []string{"phantom"}},
		{"two values at an offset", []*Op{ok(0, KindSend, Send(0, 1, 0)), ok(0, KindCrash), ok(0, KindSend, Send(0, 2, 0)), both(1, Pair{0, 1}), ok(2, KindPoll, Poll(0, Pair{0, 2}))},
			[]string{"inconsistent-offsets"}},
		{"one value at two offsets", []*Op{ok(0, KindSend, Send(0, 1, 0)), both(1, Pair{0, 1}, Pair{1, 1})}, []string{"duplicate"}},
		{"passed over", []*Op{ok(0, KindSend, Send(0, 1, 0)), ok(0, KindSend, Send(0, 2, 1)), both(1, Pair{1, 2})}, []string{"lost-write"}},
		{"half a transaction", []*Op{as(ok(0, KindTxn, Send(0, 1, Unknown), Send(1, 1, Unknown)), Info), both(1, Pair{0, 1})}, []string{"lost-write"}},
		{"never seen", []*Op{ok(0, KindSend, Send(0, 1, 0)), ok(0, KindSend, Send(0, 2, 1)), both(1, Pair{0, 1})}, []string{"unseen"}},
		{"a failed send is not missed", []*Op{as(ok(0, KindSend, Send(0, 1, Unknown)), Fail)}, nil},
		{"skipped from poll to poll", []*Op{ok(0, KindTxn, Send(0, 1, 0), Send(0, 2, 1), Send(0, 3, 2)), both(1, Pair{0, 1}), both(1, Pair{2, 3}),
			both(2, Pair{0, 1}, Pair{1, 2}, Pair{2, 3})}, []string{"poll-skip"}},
		{"what aborted is not skipped", []*Op{ok(0, KindSend, Send(0, 1, 0)), as(ok(0, KindTxn, Send(0, 2, 1)), Fail), ok(0, KindSend, Send(0, 3, 2)), both(1, Pair{0, 1}), both(1, Pair{2, 3})}, nil},
		{"skipped in a poll", []*Op{ok(0, KindTxn, Send(0, 1, 0), Send(0, 2, 1), Send(0, 3, 2)), both(1, Pair{0, 1}, Pair{2, 3}),
			both(2, Pair{0, 1}, Pair{1, 2}, Pair{2, 3})}, []string{"int-poll-skip"}},
		{"back from poll to poll", []*Op{ok(0, KindTxn, Send(0, 1, 0), Send(0, 2, 1)), both(1, Pair{0, 1}, Pair{1, 2}), both(1, Pair{0, 1})}, []string{"nonmonotonic-poll"}},
		{"back after an assignment", []*Op{ok(0, KindTxn, Send(0, 1, 0), Send(0, 2, 1)), both(1, Pair{0, 1}, Pair{1, 2}), ok(1, KindAssign), both(1, Pair{0, 1})}, nil},
		{"back in a group", []*Op{ok(0, KindTxn, Send(0, 1, 0), Send(0, 2, 1)), subscribed(both(1, Pair{0, 1}, Pair{1, 2})), subscribed(both(1, Pair{0, 1}))}, nil},
		{"back in a poll", []*Op{ok(0, KindTxn, Send(0, 1, 0), Send(0, 2, 1)), both(1, Pair{0, 1}, Pair{1, 2}, Pair{0, 1})}, []string{"int-nonmonotonic-poll"}},
		{"sent backwards", []*Op{ok(0, KindSend, Send(0, 1, 1)), ok(0, KindSend, Send(0, 2, 0)), both(1, Pair{0, 2}, Pair{1, 1})}, []string{"nonmonotonic-send"}},
		{"sent backwards in a transaction", []*Op{ok(0, KindTxn, Send(0, 1, 1), Send(0, 2, 0)), both(1, Pair{0, 2}, Pair{1, 1})}, []string{"int-nonmonotonic-send"}},
		{"interleaved writes", []*Op{ok(0, KindTxn, Send(0, 1, 0), Send(0, 2, 2)), ok(1, KindTxn, Send(0, 3, 1), Send(0, 4, 3)),
			both(2, Pair{0, 1}, Pair{1, 3}, Pair{2, 2}, Pair{3, 4})}, nil},
		{"reading each other", []*Op{ok(0, KindTxn, Send(0, 1, 0), Poll(1, Pair{0, 2})), ok(1, KindTxn, Send(1, 2, 0), Poll(0, Pair{0, 1}))}, []string{"G1c"}},
		{"reading in a row", []*Op{ok(0, KindTxn, Send(0, 1, 0)), ok(1, KindTxn, Send(1, 2, 0), Poll(0, Pair{0, 1})), ok(2, KindTxn, Poll(1, Pair{0, 2}))}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Check(c.ops, true)
			require.Equal(t, c.want, r.Errors(), r.String())
		})
	}
	r := Check([]*Op{ok(0, KindTxn, Send(0, 1, 0), Send(0, 2, 2)), ok(1, KindTxn, Send(0, 3, 1), Send(0, 4, 3))}, false)
	require.Contains(t, r.Anomalies, "G0")
	require.Contains(t, r.Anomalies, "int-send-skip")
}

func TestAHistoryWithoutAFinalPollIsNotJudgedByWhatWasNotPolled(t *testing.T) {
	require.Empty(t, Check([]*Op{ok(0, KindSend, Send(0, 1, 0))}, false).Errors())
}

// TestComponents holds Tarjan's algorithm against plain reachability on random graphs.
func TestComponents(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		n := 1 + rnd.IntN(9)
		var edges [][2]int
		reach := make([][]bool, n)
		for i := range reach {
			reach[i] = make([]bool, n)
			reach[i][i] = true
		}
		for range rnd.IntN(14) {
			e := [2]int{rnd.IntN(n), rnd.IntN(n)}
			edges = append(edges, e)
			reach[e[0]][e[1]] = true
		}
		for k := range n {
			for i := range n {
				for j := range n {
					reach[i][j] = reach[i][j] || reach[i][k] && reach[k][j]
				}
			}
		}
		got := map[[2]int]bool{}
		for _, c := range components(n, edges) {
			for _, x := range c {
				for _, y := range c {
					got[[2]int{x, y}] = true
				}
			}
		}
		for i := range n {
			for j := range n {
				if i != j {
					require.Equal(t, reach[i][j] && reach[j][i], got[[2]int{i, j}], "seed %d: %v", seed, edges)
				}
			}
		}
	}
}
