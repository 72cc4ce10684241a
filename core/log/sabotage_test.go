package log

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

var sabotageTries = flag.Int("crash.sabotage", 0, "histories per sync that the sabotage test tries before it gives up; 0 for few of the sites, as many as fit in a test run")

// The crash tests are worth something only if they notice what they look for. This one finds every place in the package that asks for
// a sync, has the disk ignore the syncs of one place after the other, and runs crash histories until one of them complains. A
// place where none does is either not needed, and named below with the reason, or not tested.

// needless are the places whose sync nothing depends on, by the functions that lead to it.
var needless = map[string]string{}

var lineNumber = regexp.MustCompile(`:\d+`)

// sitesOf lists the places that sync, with the operations at which they did in the histories of the seeds given.
func sitesOf(t *testing.T, seeds []uint64) map[string]map[uint64][]int {
	t.Helper()
	out := map[string]map[uint64][]int{}
	note := func(seed uint64, seen map[string][]int, ops bool) {
		for site, at := range seen {
			if out[site] == nil {
				out[site] = map[uint64][]int{}
			}
			if ops {
				out[site][seed] = at
			}
		}
	}
	for _, seed := range seeds {
		h := history{seed: seed, at: 1 << 30, seen: map[string][]int{}}
		h.run()
		h.report(t)
		note(seed, h.seen, true)
		for at := 37; at < 900; at += 61 {
			h := history{seed: seed, at: at, seen: map[string][]int{}}
			h.run()
			h.report(t)
			note(seed, h.seen, false)
		}
	}
	for _, sc := range scenes() {
		seen := map[string][]int{}
		for at := 1; at < 400; at += 7 {
			if _, over := sc.play(at, 2, nil, seen); over {
				break
			}
		}
		note(0, seen, false)
	}
	return out
}

// nickname is a site without line numbers, for the table.
func nickname(site string) string { return lineNumber.ReplaceAllString(site, "") }

func TestEverySyncIsMissedWhenItIsIgnored(t *testing.T) {
	tries := *sabotageTries
	if tries == 0 {
		t.Skip("runs many crash histories: -crash.sabotage 300")
	}
	seeds := []uint64{1, 2, 3, 4}
	sites := sitesOf(t, seeds)
	require.Greater(t, len(sites), 15)
	var mu sync.Mutex
	missed := map[string]bool{}
	t.Run("sites", func(t *testing.T) {
		for _, site := range slices.Sorted(maps.Keys(sites)) {
			if needless[nickname(site)] != "" && *sabotageTries == 0 {
				continue
			}
			t.Run(strings.ReplaceAll(nickname(site), " < ", "<"), func(t *testing.T) {
				t.Parallel()
				n, found := 0, sabotageScenes(site)
				if found == "" {
					n, found = sabotage(site, sites[site], seeds, tries)
				}
				if found == "" {
					mu.Lock()
					missed[site] = true
					mu.Unlock()
				}
				t.Logf("%d histories: %.200s", n, strings.Join(strings.Fields(found), " "))
			})
		}
	})
	for _, site := range slices.Sorted(maps.Keys(missed)) {
		if needless[nickname(site)] == "" {
			t.Errorf("no history of %d noticed that a sync was ignored: %s", tries, site)
		}
	}
}

// sabotage ignores the syncs of a site until a history notices.
func sabotage(site string, ops map[uint64][]int, seeds []uint64, tries int) (n int, found string) {
	r := rand.New(rand.NewPCG(1, 2))
	fates := [][2]int{{0, 0}, {0, 3}, {3, 3}, {2, 0}, {4, 1}, {1, 3}, {1, 0}}
	for n = 1; n <= tries; n++ {
		seed := seeds[r.IntN(len(seeds))]
		h := history{seed: seed, at: 1 + r.IntN(1200), ignore: func(s string) bool { return s == site }}
		if r.IntN(2) == 0 {
			h.seed, h.focus = r.Uint64N(1000), []string{"plain", "compacted", "txncompacted", "bounded", "txn"}[r.IntN(5)]
			h.at = 1 + r.IntN(600)
		} else if at := ops[seed]; len(at) > 0 && r.IntN(8) > 0 {
			h.at = at[r.IntN(len(at))] + 1 + r.IntN(r.IntN(12)+1)
		}
		if r.IntN(8) > 0 {
			h.fates = &fates[r.IntN(len(fates))]
		}
		h.run()
		if h.found != "" {
			return n, fmt.Sprintf("seed %d, crash at %d: %s", h.seed, h.at, strings.Join(strings.Fields(h.found), " "))
		}
	}
	return tries, ""
}
