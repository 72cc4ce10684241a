package log

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func BenchmarkOpenManyPartitions(b *testing.B) {
	const n = 10_000
	dir := b.TempDir()
	d, err := OpenDir(dir, Options{Durability: DurabilityOS})
	require.NoError(b, err)
	for i := range n {
		l, err := d.Create(fmt.Sprint("topic", i/100), int32(i%100), [16]byte{1}, DefaultConfig())
		require.NoError(b, err)
		_, err = l.Append(records(1, producer(1, 0, 0)), AppendOptions{})
		require.NoError(b, err)
	}
	began := time.Now()
	require.NoError(b, d.Close())
	b.Logf("close: %v", time.Since(began))
	b.ResetTimer()
	for range b.N {
		for _, clean := range []bool{true, false} {
			if !clean {
				require.NoError(b, os.Remove(dir+"/"+fileCleanShutdown))
			}
			began := time.Now()
			d, err := OpenDir(dir, Options{})
			require.NoError(b, err)
			b.ReportMetric(float64(time.Since(began).Milliseconds()), fmt.Sprintf("ms/clean=%v", clean))
			began = time.Now()
			require.NoError(b, d.Close())
			b.ReportMetric(float64(time.Since(began).Milliseconds()), fmt.Sprintf("ms/close,clean=%v", clean))
		}
	}
}
