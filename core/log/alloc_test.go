package log

import (
	"testing"

	"github.com/moldau-io/moldau/core/log/batch"
	"github.com/stretchr/testify/require"
)

func TestAppendAndReadDoNotAllocateAtSteadyState(t *testing.T) {
	cfg := DefaultConfig()
	cfg.SegmentBytes = 1 << 30
	l := newTestLog(t, Options{Durability: DurabilityOS}, cfg)
	plain := kilobytes(16)
	idempotent := records(16, producer(7, 0, 0))
	seq := int32(0)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		batch.Batch(plain).SetBaseOffset(0)
		if _, err := l.Append(plain, AppendOptions{}); err != nil {
			t.Fatal(err)
		}
	}), "append")
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		b := batch.Batch(idempotent)
		b.SetBaseOffset(0)
		b[batch.OffsetBaseSequence], b[batch.OffsetBaseSequence+1] = byte(seq>>24), byte(seq>>16)
		b[batch.OffsetBaseSequence+2], b[batch.OffsetBaseSequence+3] = byte(seq>>8), byte(seq)
		b.UpdateCRC()
		seq += 16
		if _, err := l.Append(b, AppendOptions{}); err != nil {
			t.Fatal(err)
		}
	}), "idempotent append")
	dst := make([]byte, 0, 1<<20)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := l.Read(dst, 100, 100<<10, l.EndOffset(), true); err != nil {
			t.Fatal(err)
		}
	}), "read")
}
