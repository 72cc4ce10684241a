package log

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAHistoryFromBeforeATruncationIsBroughtInLine: the file of leader epochs may be from before a truncation, and from after batches that it took.
func TestAHistoryFromBeforeATruncationIsBroughtInLine(t *testing.T) {
	for _, c := range []struct {
		why         string
		file, found []EpochEntry
		want        []EpochEntry
	}{
		{"nothing is known", nil, []EpochEntry{{3, 10}}, []EpochEntry{{3, 10}}},
		{"a batch of the epoch that is known", []EpochEntry{{3, 10}}, []EpochEntry{{3, 12}}, []EpochEntry{{3, 10}}},
		{"a newer one", []EpochEntry{{3, 10}}, []EpochEntry{{4, 12}}, []EpochEntry{{3, 10}, {4, 12}}},
		{"the epoch began earlier", []EpochEntry{{3, 10}, {4, 20}}, []EpochEntry{{4, 15}}, []EpochEntry{{3, 10}, {4, 15}}},
		{"and took the place of others", []EpochEntry{{3, 10}, {4, 17}, {5, 26}, {6, 34}}, []EpochEntry{{6, 23}}, []EpochEntry{{3, 10}, {4, 17}, {6, 23}}},
		{"of one that begins where it does", []EpochEntry{{3, 10}, {4, 17}}, []EpochEntry{{5, 17}}, []EpochEntry{{3, 10}, {5, 17}}},
		{"one that nobody has noted", []EpochEntry{{3, 10}, {6, 34}}, []EpochEntry{{5, 20}}, []EpochEntry{{3, 10}, {5, 20}, {6, 34}}},
		{"an epoch above that of the next batch is damage", []EpochEntry{{3, 10}, {4, 30}}, []EpochEntry{{3, 10}, {77, 12}, {3, 14}, {4, 30}}, []EpochEntry{{3, 10}, {4, 30}}},
		{"one below is not believed against the history", []EpochEntry{{3, 10}, {4, 20}}, []EpochEntry{{4, 20}, {1, 25}, {4, 30}}, []EpochEntry{{3, 10}, {4, 20}}},
	} {
		l := &Log{epochs: &epochCache{}}
		l.end.Store(1000)
		l.epochs.replace(c.file)
		require.NoError(t, l.loadEpochs(nil, c.found), c.why)
		require.Equal(t, c.want, l.epochs.snapshot(), c.why)
	}
}

// TestTheHistoryOfBatchesIsFoundFromAnyEarlierOne has the epochs of a log truncated and written again, and brings the file of any time in line with the
// batches that are there at the end.
func TestTheHistoryOfBatchesIsFoundFromAnyEarlierOne(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 7))
		var batches []EpochEntry
		history := func() []EpochEntry {
			var es []EpochEntry
			for _, b := range batches {
				if len(es) == 0 || es[len(es)-1].Epoch < b.Epoch {
					es = append(es, b)
				}
			}
			return es
		}
		files := [][]EpochEntry{nil}
		epoch := int32(0)
		for range 30 {
			switch r.IntN(5) {
			case 0:
				batches = batches[:r.IntN(len(batches)+1)]
			case 1:
				epoch++
			default:
				batches = append(batches, EpochEntry{epoch, int64(len(batches))})
			}
			files = append(files, history())
		}
		for _, file := range files {
			l := &Log{epochs: &epochCache{}}
			l.end.Store(int64(len(batches)))
			l.epochs.replace(file)
			require.NoError(t, l.loadEpochs(nil, batches))
			require.Equal(t, append([]EpochEntry{}, history()...), append([]EpochEntry{}, l.epochs.snapshot()...), fmt.Sprintf("seed %d, the file has %v, the log %v", seed, file, batches))
		}
	}
}
