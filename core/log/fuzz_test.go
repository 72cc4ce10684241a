package log

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

// FuzzAppend: whatever a client sends is refused with an error that maps to a Kafka code, or can be read back.
func FuzzAppend(f *testing.F) {
	for c := batch.None; c <= batch.Zstd; c++ {
		f.Add(records(3, func(w *batch.Builder) { w.Codec = c }), true)
	}
	f.Add(records(2, producer(1, 0, 0)), false)
	f.Add(append(records(1), records(2)...), false)
	f.Add([]byte(batch.BuildEndTxn(1, 1, 0, batch.EndTxn{})), false)
	f.Fuzz(func(t *testing.T, data []byte, compact bool) {
		fs := newMemFS()
		d, err := OpenDir("/log", Options{FS: fs, Durability: DurabilityOS, MaxDecompressedBatchSize: 1 << 20})
		require.NoError(t, err)
		cfg := DefaultConfig()
		cfg.Compact = compact
		l, err := d.Create("t", 0, [16]byte{1}, cfg)
		require.NoError(t, err)
		// Make checksums right, or the fuzzer never gets past them.
		for rest := data; len(rest) > 0; {
			b, r, err := batch.Next(rest)
			if err != nil || len(b) < batch.HeaderSize {
				break
			}
			b.UpdateCRC()
			rest = r
		}
		_, err = l.Append(data, AppendOptions{})
		if err != nil {
			for _, known := range []error{ErrCorruptMessage, ErrMessageTooLarge, ErrInvalidRecord, ErrInvalidTimestamp, ErrUnsupportedFormat,
				ErrUnsupportedCompression, ErrRecordListTooLarge, ErrOutOfOrderSequence} {
				if errors.Is(err, known) {
					require.NoError(t, d.Err())
					require.Zero(t, l.EndOffset())
					require.NoError(t, d.Close())
					return
				}
			}
			t.Fatalf("unexpected error: %v", err)
		}
		n := len(values(t, l, 0))
		require.EqualValues(t, l.EndOffset(), n)
		_, _, _, _, err = l.OffsetForTimestamp(0)
		require.NoError(t, err)
		require.NoError(t, d.Close())
	})
}

// FuzzRecovery: whatever is in a log file, opening ends in a log that can be read and appended to.
func FuzzRecovery(f *testing.F) {
	raw, starts, _ := crashedLog(f)
	f.Add(raw, int64(0))
	f.Add(raw[:starts[3]+20], int64(0))
	f.Add(raw[3:], int64(10))
	f.Add(append(append([]byte{}, raw[:starts[2]]...), raw[starts[3]:]...), int64(4))
	f.Fuzz(func(t *testing.T, data []byte, recoveryPoint int64) {
		if len(data) > 1<<16 {
			return
		}
		_, l := openRaw(t, data, recoveryPoint)
		for next := l.StartOffset(); next < l.EndOffset(); {
			p, err := l.Read(nil, next, 1<<20, l.EndOffset(), true)
			require.NoError(t, err)
			require.NotEmpty(t, p)
			for len(p) > 0 {
				var b batch.Batch
				b, p, err = batch.Next(p)
				require.NoError(t, err)
				require.NoError(t, b.Check())
				require.GreaterOrEqual(t, b.LastOffset(), next)
				next = b.NextOffset()
			}
		}
		if l.EndOffset() < 1<<30 {
			mustAppend(t, l, records(1))
		}
	})
}

func FuzzIndexLoad(f *testing.F) {
	f.Add(formatOffsetIndex([]offsetEntry{{1, 100}, {2, 200}}), int64(300))
	f.Add(formatTimeIndex([]timeEntry{{1, 100}, {2, 200}}), int64(300))
	f.Add(formatTxnIndex([]AbortedTxn{{1, 2, 3, 4}}), int64(1))
	f.Add(make([]byte, 64), int64(10))
	f.Fuzz(func(t *testing.T, data []byte, size int64) {
		if es, err := parseOffsetIndex(data, size); err == nil {
			for i, e := range es {
				require.Less(t, int64(e.pos), size)
				require.True(t, i == 0 || e.rel > es[i-1].rel)
				require.Equal(t, e.pos, lookupOffset(es, int64(e.rel)))
			}
		}
		if es, err := parseTimeIndex(data); err == nil {
			for i, e := range es {
				require.True(t, i == 0 || e.ts >= es[i-1].ts)
				_ = lookupTime(es, e.ts)
			}
		}
		if ts, err := parseTxnIndex(data); err == nil && len(ts) > 0 {
			require.Equal(t, data, formatTxnIndex(ts))
		}
	})
}

func FuzzCheckpoints(f *testing.F) {
	f.Add([]byte("0\n1\nt 0 5\n"))
	f.Add([]byte("0\n2\n1 0\n3 7\n"))
	f.Add([]byte("version: 0\ntopic_id: 3q0AAAAAAAAAAAAAAAAAAA"))
	f.Add([]byte("version=1\nnode.id=1\n"))
	p := newProducers(1000)
	b := batch.Batch(records(1, producer(1, 0, 0)))
	if _, err := p.apply(b, nil); err != nil {
		f.Fatal(err)
	}
	f.Add(p.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := parseOffsets(data); err == nil {
			again, err := parseOffsets(formatOffsets(m))
			require.NoError(t, err)
			require.Equal(t, m, again)
		}
		if es, err := parseEpochs(data); err == nil {
			c := epochCache{entries: es}
			for e := range int32(10) {
				c.endOffset(e, 100)
			}
			c.truncateStart(5)
			c.truncateEnd(7)
		}
		if id, err := parseTopicID(data); err == nil {
			again, err := parseTopicID(formatTopicID(id))
			require.NoError(t, err)
			require.Equal(t, id, again)
		}
		_, _ = parseProperties(data)
		if es, err := decodeSnapshot(data); err == nil {
			p := newProducers(1000)
			for i := range es {
				p.byID[es[i].id] = &es[i]
			}
			_, err := decodeSnapshot(p.encode())
			require.NoError(t, err)
		}
	})
}
