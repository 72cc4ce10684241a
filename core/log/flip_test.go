package log

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFlippedBitsLoseNoOtherBatch: with no recovery point, so that all is read, a damaged byte anywhere loses one batch at most, and what is
// served has its checksum.
func TestFlippedBitsLoseNoOtherBatch(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 9))
		cfg := DefaultConfig()
		cfg.SegmentBytes, cfg.IndexIntervalBytes, cfg.RetentionMs = 1200, 100, -1
		fs := newMemFS()
		d, _ := sceneLog(t, fs, cfg)
		disk := fs.crashWith(r, 0, 0)
		_ = d.Close()
		require.NoError(t, disk.Remove("/log/"+fileRecoveryPoint))
		segs, err := disk.ReadDir("/log/t-0")
		require.NoError(t, err)
		var logs []string
		for _, e := range segs {
			if filepath.Ext(e.Name()) == suffixLog && e.(memInfo).Size() > 0 {
				logs = append(logs, e.Name())
			}
		}
		name := filepath.Join("/log/t-0", logs[r.IntN(len(logs))])
		st, err := disk.Stat(name)
		require.NoError(t, err)
		disk.flip(name, r.Int64N(st.Size()), 1<<r.IntN(8))
		again, err := OpenDir("/log", Options{FS: disk})
		require.NoError(t, err)
		l, ok := again.Log("t", 0)
		require.True(t, ok)
		require.EqualValues(t, sceneEnd, l.EndOffset(), "seed %d", seed)
		committed(t, l) // reads all, with checksums
		lost := int64(0)
		for _, c := range again.Corruptions() {
			if !c.Repaired {
				lost += c.Next - c.First
			}
		}
		require.LessOrEqual(t, lost, int64(3), "seed %d: %v", seed, again.Corruptions())
		require.NoError(t, again.Close())
	}
}
