package log

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkOpen opens a directory of MOLDAU_BENCH_PARTITIONS (2000) partitions with two segments each.
func BenchmarkOpen(b *testing.B) {
	n := 2000
	if s := os.Getenv("MOLDAU_BENCH_PARTITIONS"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	for _, clean := range []bool{true, false} {
		b.Run(fmt.Sprintf("clean=%v/partitions=%d", clean, n), func(b *testing.B) {
			path := benchDir(b)
			d := openDir(b, path, Options{Durability: DurabilityOS})
			began := time.Now()
			for i := range n {
				l, err := d.Create("topic", int32(i), [16]byte{1}, DefaultConfig())
				require.NoError(b, err)
				for range 2 {
					mustAppend(b, l, records(10, producer(1, 0, int32(l.EndOffset()))))
					require.NoError(b, l.Roll())
				}
				mustAppend(b, l, records(10))
			}
			b.Logf("created in %v", time.Since(began))
			shut := func(d *Dir) {
				if clean {
					require.NoError(b, d.Close())
					return
				}
				d.syncer.stop()
				require.NoError(b, d.checkpoint())
				for _, l := range d.Logs() {
					require.NoError(b, l.close())
				}
				require.NoError(b, d.lock.Close())
			}
			began = time.Now()
			shut(d)
			b.Logf("closed in %v", time.Since(began))
			b.ResetTimer()
			for range b.N {
				d, err := OpenDir(path, Options{Durability: DurabilityOS})
				require.NoError(b, err)
				b.StopTimer()
				require.Len(b, d.Logs(), n)
				shut(d)
				b.StartTimer()
			}
		})
	}
}
