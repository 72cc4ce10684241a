package log

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

// kilobytes is a batch of n records of 1 KiB.
func kilobytes(n int) []byte {
	w := batch.Builder{}
	v := make([]byte, 1024-12)
	for i := range v {
		v[i] = byte(rand.Uint32())
	}
	for range n {
		w.Append(1, nil, v)
	}
	return w.MustBuild()
}

// benchDir is on the disk that MOLDAU_BENCH_DIR names, since the temporary folder may be in memory.
func benchDir(b *testing.B) string {
	if dir := os.Getenv("MOLDAU_BENCH_DIR"); dir != "" {
		p, err := os.MkdirTemp(dir, "bench")
		require.NoError(b, err)
		b.Cleanup(func() { _ = os.RemoveAll(p) })
		return p
	}
	return b.TempDir()
}

func benchConfig() Config {
	c := DefaultConfig()
	c.SegmentBytes = 64 << 20
	c.RetentionBytes = 256 << 20
	c.FileDeleteDelayMs = 0
	return c
}

// BenchmarkAppend appends batches of 16 records of 1 KiB in mode os; retention keeps the disk from filling.
func BenchmarkAppend(b *testing.B) {
	for _, o := range []Origin{Client, Replica} {
		b.Run(map[Origin]string{Client: "client", Replica: "replica"}[o], func(b *testing.B) {
			d := openDir(b, benchDir(b), Options{Durability: DurabilityOS})
			l, err := d.Create("t", 0, [16]byte{}, benchConfig())
			require.NoError(b, err)
			buf := kilobytes(16)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if o == Client {
					batch.Batch(buf).SetBaseOffset(0)
				} else {
					batch.Batch(buf).SetBaseOffset(l.EndOffset())
				}
				if _, err := l.Append(buf, AppendOptions{Origin: o}); err != nil {
					b.Fatal(err)
				}
				if i%(16<<10) == 0 {
					_, err := l.expire()
					require.NoError(b, err)
					err = l.dropExpired(false)
					require.NoError(b, err)
					require.NoError(b, d.emptyTrash(context.Background()))
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	d := openDir(b, benchDir(b), Options{Durability: DurabilityOS})
	l, err := d.Create("t", 0, [16]byte{}, benchConfig())
	require.NoError(b, err)
	buf := kilobytes(16)
	for range 8192 { // 128 MiB
		batch.Batch(buf).SetBaseOffset(0)
		mustAppend(b, l, buf)
	}
	for _, size := range []int{16 << 10, 128 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			dst := make([]byte, 0, 2<<20)
			offset, n := int64(0), int64(0)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				p, err := l.Read(dst[:0], offset, size, l.EndOffset(), true)
				if err != nil {
					b.Fatal(err)
				}
				n += int64(len(p))
				offset += int64(len(p)/len(buf)) * 16
				if offset >= l.EndOffset() {
					offset = 0
				}
			}
			b.SetBytes(n / int64(b.N))
		})
	}
}

// BenchmarkGroupCommit appends 1 KiB batches to many partitions from many goroutines, each waiting for its own to be durable.
func BenchmarkGroupCommit(b *testing.B) {
	for _, partitions := range []int{1, 8, 64} {
		for _, producers := range []int{1, 16, 128} {
			b.Run(fmt.Sprintf("partitions=%d/producers=%d", partitions, producers), func(b *testing.B) {
				var syncs atomic.Int64
				d := openDir(b, benchDir(b), Options{OnSync: func(_ time.Duration, _ error) { syncs.Add(1) }})
				logs := make([]*Log, partitions)
				for i := range logs {
					var err error
					logs[i], err = d.Create("t", int32(i), [16]byte{}, benchConfig())
					require.NoError(b, err)
				}
				buf := kilobytes(1)
				b.SetBytes(int64(len(buf)))
				b.SetParallelism((producers + 1) / 2)
				var who atomic.Int64
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					mine := append([]byte(nil), buf...)
					l := logs[int(who.Add(1))%partitions]
					for pb.Next() {
						batch.Batch(mine).SetBaseOffset(0)
						r, err := l.Append(mine, AppendOptions{})
						if err == nil {
							err = l.WaitDurable(context.Background(), r.LastOffset)
						}
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
				b.ReportMetric(float64(b.N)/float64(max(1, syncs.Load())), "appends/sync")
			})
		}
	}
}
