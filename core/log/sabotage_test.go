package log

import (
	"cmp"
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

var sabotageTries = flag.Int("crash.sabotage", 0, "histories per sync that the sabotage test tries before it gives up, for all syncs; 0 for those that are noticed at once")

// The crash tests are worth something only if they notice what they look for. This one finds every place in the package that asks for
// a sync, has the disk ignore the syncs of one place after the other, and runs crash histories until one of them complains. A
// place where none does is either not needed, and named below with the reason, or not tested.

// needless are the places whose sync nothing depends on, by the functions that lead to it, and why. The number tells those of one function
// apart, in the order of their lines.
var needless = map[string]string{
	"sync .index.tmp < writeFile < (*segment).writeBeside < (*segment).writeIndexes < (*segment).rebuild":              damagedIndex,
	"sync .index.cleaned.tmp < writeFile < (*segment).writeBeside < (*segment).writeIndexes < (*segmentWriter).finish": damagedIndex,
	"sync .index.tmp < syncFile < (*settlement).commit.func1 for open":                                                 damagedIndex,
	"sync leader-epoch-checkpoint.tmp < syncFile < (*settlement).commit.func1 for close":                               damagedEpochs,
	"sync leader-epoch-checkpoint.tmp < syncFile < (*settlement).commit.func1 for checkpoint":                          damagedEpochs,
	"sync .kafka_cleanshutdown.tmp < writeFile < replaceFile < (*Dir).leaveCleanMarker":                                "that the marker is there counts; without its content only the broker epoch is unknown",
	"sync .log < (*Log).salvage": "reindex syncs the file once more",
	"sync cleaner-offset-checkpoint.tmp < writeFile < replaceFile < (*Dir).writeOffsets < (*Dir).writeCleaner":              damagedCheckpoint,
	"sync recovery-point-offset-checkpoint.tmp < writeFile < replaceFile < (*Dir).writeOffsets < (*Dir).Close":              damagedCheckpoint,
	"sync recovery-point-offset-checkpoint.tmp < writeFile < replaceFile < (*Dir).writeOffsets < (*Dir).checkpointRecovery": damagedCheckpoint,
	"sync recovery-point-offset-checkpoint.tmp < writeFile < replaceFile < (*Dir).writeOffsets < (*Dir).forgetCheckpoints":  damagedCheckpoint,
	"sync leader-epoch-checkpoint.tmp < writeFile < replaceFile < (*epochCache).flush < (*Log).cutTo":                       damagedEpochs,
	"sync leader-epoch-checkpoint.tmp < writeFile < replaceFile < (*epochCache).flush < (*Log).resetTo":                     damagedEpochs,
	"syncdir < (*Log).finishSwaps #2":                                                             swapStands,
	"syncdir < (*Log).rewrite #2":                                                                 swapStands,
	"syncdir < (*Log).swap.func1 < (*Log).swap #3":                                                swapStands,
	"syncdir < (*Log).swap.func1 < (*Log).swap #4":                                                "a time index that is missing has the segment recovered, and what a lost transaction index would hide was compacted away before",
	"syncdir < (*Log).swap.func1 < (*Log).swap #5":                                                "a segment without its index files is recovered",
	"syncdir < replaceFile < (*Dir).leaveCleanMarker":                                             "without the marker the directory is recovered",
	"syncdir < replaceFile < (*Dir).writeOffsets < (*Dir).Close":                                  "an older recovery point has more recovered",
	"syncdir < replaceFile < (*Dir).writeOffsets < (*Dir).writeCleaner":                           "compaction begins further back",
	"syncdir < replaceFile < (*Dir).writeOffsets < (*Dir).forgetCheckpoints":                      "what is stale is forgotten when the directory is opened",
	"syncdir < replaceFile < (*Dir).writeOffsets < (*Dir).writeStarts < (*Dir).forgetCheckpoints": "what is stale is forgotten when the directory is opened",
	"syncdir < replaceFile < (*Dir).writeOffsets < (*Dir).writeStarts < (*Dir).Close":             "starts are on disk before they are acknowledged; this repeats them",
	"syncdir < replaceFile < (*epochCache).flush < (*Log).cutTo":                                  "the sync that ends a truncation covers the folder",
	"syncdir < replaceFile < (*epochCache).flush < (*Log).resetTo":                                "the sync that ends a truncation covers the folder",
}

const (
	damagedIndex      = "an offset index that lost bytes is seen to be damaged, or is short and has reads look further"
	damagedCheckpoint = "a checkpoint that is damaged is seen to be, and ignored: more is recovered, or compacted again"
	damagedEpochs     = "a history of epochs that is damaged is seen to be, if only because its last line does not end, and made from the batches"
	swapStands        = "the .swap file stands for the segment, with all that is written to it, until its last name is durable"
)

// noticedAtOnce are the places that every test run tries.
var noticedAtOnce = map[string]bool{
	"sync .log < (*Log).syncFiles":                                           true,
	"syncdir < (*Log).syncFiles":                                             true,
	"syncdir < (*Log).syncFolder":                                            true,
	"syncdir < (*Dir).takeCleanMarker":                                       true,
	"syncdir < (*Dir).make":                                                  true,
	"sync .log.cleaned < (*segmentWriter).finish":                            true,
	"sync .timeindex < syncFile < (*settlement).commit.func1 for checkpoint": true,
	"syncgroup < (*syncer).syncGroup":                                        true,
}

var lineNumber = regexp.MustCompile(`:\d+`)

// sitesOf lists the places that sync, with the operations at which they did in the histories of the seeds given.
func sitesOf(t *testing.T, seeds []uint64, all bool) map[string]map[uint64][]int {
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
		for at := 37; at < 900 && all; at += 61 {
			h := history{seed: seed, at: at, seen: map[string][]int{}}
			h.run()
			h.report(t)
			note(seed, h.seen, false)
		}
	}
	for _, sc := range scenes() {
		if !all {
			break
		}
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

// nicknames are the sites without line numbers, for the table: with their number where several have the same.
func nicknames(sites []string) map[string]string {
	of := map[string][]string{}
	slices.SortFunc(sites, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) }) // by line
	for _, site := range sites {
		name := lineNumber.ReplaceAllString(site, "")
		of[name] = append(of[name], site)
	}
	out := map[string]string{}
	for name, same := range of {
		for i, site := range same {
			if out[site] = name; len(same) > 1 {
				out[site] = fmt.Sprintf("%s #%d", name, i+1)
			}
		}
	}
	return out
}

func TestEverySyncIsMissedWhenItIsIgnored(t *testing.T) {
	tries, all := *sabotageTries, true
	seeds := []uint64{1, 2, 3, 4}
	if tries == 0 {
		tries, all, seeds = 300, false, seeds[:1]
	}
	sites := sitesOf(t, seeds, all)
	require.Greater(t, len(sites), 15)
	nickname := nicknames(slices.Collect(maps.Keys(sites)))
	var mu sync.Mutex
	missed := map[string]bool{}
	t.Run("sites", func(t *testing.T) {
		for _, site := range slices.Sorted(maps.Keys(sites)) {
			if needless[nickname[site]] != "" || !all && !noticedAtOnce[nickname[site]] {
				continue
			}
			t.Run(strings.ReplaceAll(nickname[site], " < ", "<"), func(t *testing.T) {
				t.Parallel()
				n, found := sabotage(site, sites[site], seeds, tries)
				if found == "" && all {
					found = sabotageScenes(site)
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
	if all {
		for name := range needless {
			if !slices.Contains(slices.Collect(maps.Values(nickname)), name) {
				t.Errorf("no such sync is left: %s", name)
			}
		}
		t.Logf("%d places, %d of them needless", len(sites), len(needless))
	}
	for _, site := range slices.Sorted(maps.Keys(missed)) {
		t.Errorf("no history of %d noticed that a sync was ignored: %s", tries, site)
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
