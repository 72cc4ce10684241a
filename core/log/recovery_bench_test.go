package log

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

// BenchmarkOpenAfterAKill opens a log with one active segment of 1 GiB, all but the last batches below the recovery point, as a process
// leaves it that is killed. It reports the median.
func BenchmarkOpenAfterAKill(b *testing.B) {
	for _, bc := range []struct {
		name string
		size int
	}{{"16KiB", 16 << 10}, {"256KiB", 256 << 10}} {
		b.Run(bc.name, func(b *testing.B) {
			dir := b.TempDir()
			d, err := OpenDir(dir, Options{Durability: DurabilityOS})
			require.NoError(b, err)
			cfg := DefaultConfig()
			cfg.SegmentBytes = 1<<31 - 1
			l, err := d.Create("t", 0, [16]byte{1}, cfg)
			require.NoError(b, err)
			w := batch.Builder{}
			for range bc.size / 1024 {
				w.Append(1_700_000_000_000, nil, slices.Repeat([]byte("0123456789abcdef"), 63))
			}
			raw := w.MustBuild()
			for l.Size() < 1<<30 {
				mustAppend(b, l, slices.Clone(raw))
			}
			require.NoError(b, l.Sync())
			require.NoError(b, d.checkpoint())
			mustAppend(b, l, slices.Clone(raw))
			end := l.EndOffset()
			d.syncer.stop()
			require.NoError(b, d.lock.Close())
			var took []time.Duration
			for b.Loop() {
				_ = os.Remove(filepath.Join(dir, fileCleanShutdown))
				began := time.Now()
				d, err := OpenDir(dir, Options{})
				took = append(took, time.Since(began))
				require.NoError(b, err)
				l, _ := d.Log("t", 0)
				require.Equal(b, end, l.EndOffset())
				d.syncer.stop()
				require.NoError(b, d.lock.Close())
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "ms/median")
		})
	}
}
