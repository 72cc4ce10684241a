package log

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

func TestAppendRefusesBadBatches(t *testing.T) {
	now := time.Now().UnixMilli()
	one := func(opts ...func(*batch.Builder)) batch.Batch { return records(1, opts...) }
	flip := func(b batch.Batch, at int) batch.Batch { b = slices.Clone(b); b[at] ^= 1; return b }
	at := func(ts int64) batch.Batch {
		w := batch.Builder{}
		w.Append(ts, []byte("k"), nil)
		return w.MustBuild()
	}
	keyless := func() batch.Batch {
		w := batch.Builder{}
		w.Append(now, []byte("k"), nil)
		w.Append(now, nil, nil)
		return w.MustBuild()
	}
	compacted := func(c *Config) { c.Compact = true }
	for name, c := range map[string]struct {
		data    []byte
		cfg     func(*Config)
		err     error
		text    string
		records []int32
	}{
		"nothing":                      {data: nil, err: ErrInvalidRecord},
		"short":                        {data: one()[:40], err: ErrCorruptMessage},
		"checksum":                     {data: flip(one(), 62), err: ErrCorruptMessage, text: "stored crc"},
		"magic 1":                      {data: func() []byte { b := one(); b[batch.OffsetMagic] = 1; return b }(), err: ErrUnsupportedFormat},
		"length":                       {data: flip(one(), batch.OffsetLength), err: ErrCorruptMessage},
		"too large":                    {data: one(), cfg: func(c *Config) { c.MaxMessageBytes = 50 }, err: ErrMessageTooLarge},
		"larger than segment":          {data: one(), cfg: func(c *Config) { c.SegmentBytes = 50 }, err: ErrRecordListTooLarge},
		"control":                      {data: batch.BuildEndTxn(now, 1, 0, batch.EndTxn{}), err: ErrInvalidRecord, text: "control"},
		"base offset":                  {data: one(func(w *batch.Builder) { w.BaseOffset = 5 }), err: ErrInvalidRecord, text: "baseOffset"},
		"no sequence":                  {data: one(producer(1, 0, -1)), err: ErrInvalidRecord},
		"transaction without producer": {data: one(func(w *batch.Builder) { w.Transactional = true }), err: ErrInvalidRecord},
		"two idempotent batches":       {data: append(one(producer(1, 0, 0)), one(producer(1, 0, 1))...), err: ErrInvalidRecord, text: "exactly one"},
		"old timestamp":                {data: at(now - 5000), cfg: func(c *Config) { c.TimestampBeforeMaxMs = 1000 }, err: ErrInvalidTimestamp, records: []int32{0}},
		"future timestamp":             {data: at(now + 4000000), err: ErrInvalidTimestamp, text: "out of range", records: []int32{0}},
		"keyless on compacted topic":   {data: keyless(), cfg: compacted, err: ErrInvalidRecord, text: "Compacted topic cannot accept message without key", records: []int32{1}},
		"records that are not": {data: func() []byte {
			b := records(3)
			b[len(b)-1] = 9
			batch.Batch(b).UpdateCRC()
			return b
		}(), err: ErrInvalidRecord},
		"wrong codec": {data: func() []byte {
			b := records(3)
			b[batch.OffsetAttributes+1] = 2
			batch.Batch(b).UpdateCRC()
			return b
		}(), err: ErrInvalidRecord},
		"unknown codec": {data: func() []byte {
			b := records(3)
			b[batch.OffsetAttributes+1] = 6
			batch.Batch(b).UpdateCRC()
			return b
		}(), err: ErrUnsupportedCompression},
		"count": {data: func() []byte {
			b := records(3)
			b[batch.OffsetRecordCount+3] = 2
			batch.Batch(b).UpdateCRC()
			return b
		}(), err: ErrInvalidRecord},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			if c.cfg != nil {
				c.cfg(&cfg)
			}
			l := newTestLog(t, Options{Durability: DurabilityOS}, cfg)
			_, err := l.Append(c.data, AppendOptions{})
			require.ErrorIs(t, err, c.err)
			require.ErrorContains(t, err, c.text)
			require.Zero(t, l.EndOffset())
			if c.records != nil {
				var ire *InvalidRecordError
				require.ErrorAs(t, err, &ire)
				var got []int32
				for _, r := range ire.Records {
					got = append(got, r.Index)
				}
				require.Equal(t, c.records, got)
			}
			mustAppend(t, newTestLog(t, Options{Durability: DurabilityOS}, DefaultConfig()), records(1))
		})
	}
}

func TestAppendAcceptsEveryCodecAndKeepsItsBytes(t *testing.T) {
	l := newTestLog(t, Options{}, DefaultConfig())
	for c := batch.None; c <= batch.Zstd; c++ {
		b := records(10, func(w *batch.Builder) { w.Codec = c })
		sent := slices.Clone(b)
		r := mustAppend(t, l, b)
		p, err := l.Read(nil, r.BaseOffset, 1<<20, l.EndOffset(), true)
		require.NoError(t, err)
		require.Equal(t, sent[batch.OffsetMagic:], p[batch.OffsetMagic:], c)
	}
	require.Len(t, values(t, l, 0), 50)
}

func TestCompressionTypeOfTheTopicRecompresses(t *testing.T) {
	cfg, err := ParseConfig(map[string]string{"compression.type": "zstd"})
	require.NoError(t, err)
	l := newTestLog(t, Options{}, cfg)
	mustAppend(t, l, records(10, func(w *batch.Builder) { w.Codec = batch.Gzip }))
	mustAppend(t, l, records(10))
	p, err := l.Read(nil, 0, 1<<20, 20, true)
	require.NoError(t, err)
	for len(p) > 0 {
		var b batch.Batch
		b, p, _ = batch.Next(p)
		require.Equal(t, batch.Zstd, b.Codec())
	}
	require.Len(t, values(t, l, 0), 20)
}

func TestLogAppendTimeStampsTheBatchAndNeverStepsBack(t *testing.T) {
	cfg := DefaultConfig()
	cfg.LogAppendTime = true
	clock := newTestClock(time.UnixMilli(1_800_000_000_000))
	l := newTestLog(t, Options{Now: clock.now}, cfg)
	for i, want := range []int64{1_800_000_000_000, 1_800_000_000_000, 1_800_000_000_500} {
		r := mustAppend(t, l, records(2))
		require.Equal(t, want, r.LogAppendTimeMs)
		p, err := l.Read(nil, r.BaseOffset, 1<<20, 100, true)
		require.NoError(t, err)
		b := batch.Batch(p)
		require.NoError(t, b.Check())
		require.True(t, b.IsLogAppendTime())
		require.Equal(t, want, b.MaxTimestamp())
		clock.add(time.Duration(-1000+i*2500) * time.Millisecond)
	}
}

func TestWrongMaxTimestampIsCorrected(t *testing.T) {
	now := time.Now().UnixMilli()
	for _, c := range []struct {
		name   string
		base   int64
		deltas []int64
		want   int64
	}{
		{"first", now, []int64{0, -1}, now},
		{"last", now - 1, []int64{0, 1}, now},
		{"at the epoch", 0, []int64{0, 0}, 0},
		{"before the epoch", 3, []int64{0, -5}, 3},
		{"base before the epoch", -5, []int64{0, 10}, 5},
		{"all before the epoch", 3, []int64{-8, -9}, batch.NoTimestamp},
		{"none", batch.NoTimestamp, []int64{0}, batch.NoTimestamp},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.TimestampAfterMaxMs = math.MaxInt64
			l := newTestLog(t, Options{}, cfg)
			var w batch.Builder
			var recs []byte
			for i, d := range c.deltas {
				w.Append(c.base, nil, nil)
				recs = batch.AppendRecord(recs, 0, d, int32(i), nil, []byte("v"), nil)
			}
			p, err := batch.Recode(nil, w.MustBuild(), batch.None, 0, recs)
			require.NoError(t, err)
			b := batch.Batch(p)
			b.SetMaxTimestamp(77, false)
			b.UpdateCRC()
			mustAppend(t, l, b)
			p, err = l.Read(nil, 0, 1<<20, 100, true)
			require.NoError(t, err)
			require.NoError(t, batch.Batch(p).Check())
			require.Equal(t, c.want, batch.Batch(p).MaxTimestamp())
		})
	}
}

// TestProducerSequences is a transcript: what Kafka answers to each append of producer 9.
func TestProducerSequences(t *testing.T) {
	l := newTestLog(t, Options{}, DefaultConfig())
	for i, c := range []struct {
		epoch int16
		seq   int32
		n     int
		base  int64
		dup   bool
		err   error
	}{
		{epoch: 0, seq: 0, n: 2, base: 0},
		{epoch: 0, seq: 2, n: 1, base: 2},
		{epoch: 0, seq: 2, n: 1, base: 2, dup: true},
		{epoch: 0, seq: 0, n: 2, base: 0, dup: true},
		{epoch: 0, seq: 4, n: 1, err: ErrOutOfOrderSequence},
		{epoch: 0, seq: 3, n: 1, base: 3},
		{epoch: 0, seq: 4, n: 1, base: 4},
		{epoch: 0, seq: 5, n: 1, base: 5},
		{epoch: 0, seq: 6, n: 1, base: 6},
		{epoch: 0, seq: 0, n: 2, err: ErrOutOfOrderSequence}, // the sixth last batch is forgotten
		{epoch: 0, seq: 2, n: 1, base: 2, dup: true},
		{epoch: 2, seq: 7, n: 1, err: ErrOutOfOrderSequence}, // a new epoch begins at 0
		{epoch: 2, seq: 0, n: 1, base: 7},
		{epoch: 1, seq: 0, n: 1, err: ErrInvalidProducerEpoch},
		{epoch: 0, seq: 7, n: 1, err: ErrInvalidProducerEpoch},
		{epoch: 2, seq: 0, n: 1, base: 7, dup: true},
	} {
		r, err := l.Append(records(c.n, producer(9, c.epoch, c.seq)), AppendOptions{})
		require.ErrorIs(t, err, c.err, "step %d", i)
		if c.err == nil {
			require.NoError(t, err, "step %d", i)
			require.Equal(t, []any{c.base, c.base + int64(c.n) - 1, c.dup}, []any{r.BaseOffset, r.LastOffset, r.Duplicate}, "step %d", i)
		}
	}
	ps, err := l.ActiveProducers()
	require.NoError(t, err)
	require.Len(t, ps, 1)
	require.Equal(t, ProducerState{9, 2, 0, ps[0].LastTimestamp, -1, -1}, ps[0])
}

func TestSequencesWrapAndUnknownProducersBeginAnywhere(t *testing.T) {
	l := newTestLog(t, Options{}, DefaultConfig())
	mustAppend(t, l, records(2, producer(1, 0, math.MaxInt32-2)))
	mustAppend(t, l, records(3, producer(1, 0, math.MaxInt32))) // MaxInt32, 0, 1
	_, err := l.Append(records(1, producer(1, 0, 1)), AppendOptions{})
	require.ErrorIs(t, err, ErrOutOfOrderSequence)
	mustAppend(t, l, records(1, producer(1, 0, 2)))
}

func TestProducersExpireButNotInATransaction(t *testing.T) {
	clock := newTestClock(time.Now())
	l := newTestLog(t, Options{Now: clock.now, ProducerIDExpiration: time.Minute}, DefaultConfig())
	mustAppend(t, l, records(1, producer(1, 0, 0)))
	mustAppend(t, l, records(1, producer(2, 0, 0), func(w *batch.Builder) { w.Transactional = true }))
	clock.add(2 * time.Minute)
	require.NoError(t, l.d.expireProducers(context.Background()))
	ps, err := l.ActiveProducers()
	require.NoError(t, err)
	require.Len(t, ps, 1)
	require.EqualValues(t, 2, ps[0].ProducerID)
	mustAppend(t, l, records(1, producer(1, 0, 77)))
}

func TestProducerStateSurvivesCleanCloseAndCrash(t *testing.T) {
	for _, clean := range []bool{true, false} {
		path := t.TempDir()
		d := openDir(t, path, Options{})
		cfg := DefaultConfig()
		cfg.SegmentBytes = 400
		l, err := d.Create("t", 0, [16]byte{1}, cfg)
		require.NoError(t, err)
		for i := range int32(10) {
			mustAppend(t, l, records(2, producer(5, 3, i*2)))
		}
		require.NoError(t, l.Sync())
		if clean {
			require.NoError(t, d.Close())
		} else {
			require.NoError(t, d.lock.Close())
		}
		d = openDir(t, path, Options{})
		l, _ = d.Log("t", 0)
		r := mustAppend(t, l, records(2, producer(5, 3, 18)))
		require.True(t, r.Duplicate)
		require.EqualValues(t, 18, r.BaseOffset)
		_, err = l.Append(records(1, producer(5, 3, 21)), AppendOptions{})
		require.ErrorIs(t, err, ErrOutOfOrderSequence)
		mustAppend(t, l, records(1, producer(5, 3, 20)))
	}
}

func TestTransactionsMoveTheStableOffsetAndFillTheTxnIndex(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, Options{})
	l, err := d.Create("t", 0, [16]byte{1}, DefaultConfig())
	require.NoError(t, err)
	txn := func(w *batch.Builder) { w.Transactional = true }
	mark := func(id int64, typ batch.ControlType, coordinator int32) error {
		_, err := l.Append(batch.BuildEndTxn(time.Now().UnixMilli(), id, 0, batch.EndTxn{Type: typ, CoordinatorEpoch: coordinator}), AppendOptions{Origin: Coordinator})
		return err
	}
	mustAppend(t, l, records(1))                         // 0
	mustAppend(t, l, records(2, producer(1, 0, 0), txn)) // 1-2
	mustAppend(t, l, records(1, producer(2, 0, 0), txn)) // 3
	require.EqualValues(t, 1, l.LastStableOffset())
	_, err = l.Append(records(1, producer(1, 0, 2)), AppendOptions{})
	require.ErrorIs(t, err, ErrInvalidTxnState)
	require.NoError(t, mark(1, batch.ControlAbort, 7)) // 4
	require.EqualValues(t, 3, l.LastStableOffset())
	require.EqualValues(t, 1, l.StableOffset(4), "the marker is not replicated")
	require.ErrorIs(t, mark(1, batch.ControlCommit, 6), ErrCoordinatorFenced)
	mustAppend(t, l, records(1, producer(1, 0, 2), txn)) // 5
	require.NoError(t, mark(2, batch.ControlCommit, 7))  // 6
	require.EqualValues(t, 5, l.LastStableOffset())
	want := []AbortedTxn{{ProducerID: 1, FirstOffset: 1, LastOffset: 4, LastStableOffset: 3}}
	check := func() {
		got, err := l.AbortedTxns(0, 7)
		require.NoError(t, err)
		require.Equal(t, want, got)
		got, err = l.AbortedTxns(5, 7)
		require.NoError(t, err)
		require.Empty(t, got)
		require.EqualValues(t, 5, l.LastStableOffset())
	}
	check()
	require.NoError(t, d.Close())
	d = openDir(t, path, Options{})
	l, _ = d.Log("t", 0)
	check()
	require.NoError(t, l.Sync())
	require.NoError(t, d.lock.Close()) // a crash
	d = openDir(t, path, Options{})
	l, _ = d.Log("t", 0)
	check()
	require.NoError(t, mark(1, batch.ControlCommit, 8))
	require.EqualValues(t, 8, l.LastStableOffset())
}

func TestReplicaAppendKeepsOffsetsAndEpochs(t *testing.T) {
	l := newTestLog(t, Options{}, DefaultConfig())
	at := func(offset int64, epoch int32) []byte {
		return records(2, func(w *batch.Builder) { w.BaseOffset, w.LeaderEpoch = offset, epoch })
	}
	r, err := l.Append(append(at(0, 1), at(10, 4)...), AppendOptions{Origin: Replica})
	require.NoError(t, err)
	require.Equal(t, []int64{0, 11}, []int64{r.BaseOffset, r.LastOffset})
	_, err = l.Append(at(5, 4), AppendOptions{Origin: Replica})
	require.ErrorIs(t, err, ErrOutOfOrderOffsets)
	require.Equal(t, []EpochEntry{{1, 0}, {4, 10}}, l.Epochs())
	require.Equal(t, []string{"10:v0", "11:v1"}, values(t, l, 2))
	// Offsets further apart than a segment can express roll.
	_, err = l.Append(at(1<<40, 4), AppendOptions{Origin: Replica})
	require.NoError(t, err)
	require.Equal(t, 2, l.Segments())
	require.Equal(t, []string{"1099511627776:v0", "1099511627777:v1"}, values(t, l, 12))
}

func TestSegmentsMayNeverRollByAgeWithAnyJitter(t *testing.T) {
	cfg := DefaultConfig()
	cfg.SegmentMs, cfg.SegmentJitterMs = math.MaxInt64, math.MaxInt64
	l := newTestLog(t, Options{}, cfg)
	mustAppend(t, l, records(1))
	cfg.SegmentJitterMs--
	l.UpdateConfig(cfg)
	mustAppend(t, l, records(1))
	require.Equal(t, 1, l.Segments())
}

func TestSegmentsRollBySizeAgeAndIndex(t *testing.T) {
	clock := newTestClock(time.Now())
	for name, set := range map[string]func(*Config){
		"size":  func(c *Config) { c.SegmentBytes = 250 },
		"age":   func(c *Config) { c.SegmentMs = 1000 },
		"index": func(c *Config) { c.SegmentIndexBytes, c.IndexIntervalBytes = 8, 10 },
		"lag":   func(c *Config) { c.Compact, c.MaxCompactionLagMs = true, 1000 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			set(&cfg)
			l := newTestLog(t, Options{Now: clock.now}, cfg)
			for i := range 8 {
				w := batch.Builder{}
				w.Append(clock.now().UnixMilli()+int64(i)*600, []byte("k"), []byte("0123456789"))
				w.Append(clock.now().UnixMilli()+int64(i)*600, []byte("k"), []byte("0123456789"))
				mustAppend(t, l, w.MustBuild())
			}
			require.Greater(t, l.Segments(), 2)
			require.Len(t, values(t, l, 0), 16)
		})
	}
}

func TestReadLimits(t *testing.T) {
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes = 1000, 150
	l := newTestLog(t, Options{}, cfg)
	size := 0
	for range 50 {
		b := records(2)
		size = len(b)
		mustAppend(t, l, b)
	}
	require.Greater(t, l.Segments(), 3)
	for offset := range int64(100) {
		for _, c := range []struct {
			max    int
			upTo   int64
			minOne bool
			want   int
		}{
			{1, 100, true, 1},
			{1, 100, false, 0},
			{0, 100, true, 1},
			{0, 100, false, 0},
			{size, 100, false, 1},
			{3*size - 1, 100, false, 2},
			{3 * size, 100, false, 3},
			{100 * size, offset + 5, false, 3},
			{100 * size, offset, true, 0},
			{100 * size, 1000, true, 50},
		} {
			p, err := l.Read([]byte("keep"), offset, c.max, c.upTo, c.minOne)
			require.NoError(t, err)
			require.Equal(t, "keep", string(p[:4]))
			p = p[4:]
			limit := min(c.upTo, 100)
			want := min(c.want, int((limit-1-offset/2*2)/2)+1)
			if offset >= limit {
				want = 0
			}
			require.Len(t, p, want*size, "offset %d, %+v", offset, c)
			if want > 0 {
				require.Equal(t, offset/2*2, batch.Batch(p).BaseOffset())
			}
		}
	}
	for _, offset := range []int64{-1, 101} {
		_, err := l.Read(nil, offset, 10, 100, true)
		require.ErrorIs(t, err, ErrOffsetOutOfRange)
	}
	p, err := l.Read(nil, 100, 10, 100, true)
	require.NoError(t, err)
	require.Empty(t, p)
}

// TestReadsTakeLittleMemoryWhereTheIndexIsSparse: what lies between an entry of the index and the offset is not all held at once.
func TestReadsTakeLittleMemoryWhereTheIndexIsSparse(t *testing.T) {
	cfg := DefaultConfig()
	cfg.IndexIntervalBytes = math.MaxInt32
	l := newTestLog(t, Options{Durability: DurabilityOS}, cfg)
	for range 200 {
		w := batch.Builder{}
		w.Append(1, nil, make([]byte, 50_000))
		mustAppend(t, l, w.MustBuild())
	}
	for _, minOne := range []bool{true, false} {
		for offset := range l.EndOffset() {
			out, err := l.Read(nil, offset, 60_000, l.EndOffset(), minOne)
			require.NoError(t, err)
			require.Equal(t, offset, batch.Batch(out).BaseOffset())
			require.Less(t, cap(out), 200_000)
			l.active.hints = [4]readHint{} // another reader
		}
	}
}

func TestConcurrentAppendersReadersAndSyncs(t *testing.T) {
	cfg := DefaultConfig()
	cfg.SegmentBytes = 20000
	d := openDir(t, t.TempDir(), Options{MaxOpenFiles: 2, IndexCacheBytes: 2000})
	var wg sync.WaitGroup
	const writers, each = 4, 200
	for p := range int32(3) {
		l, err := d.Create("t", p, [16]byte{1}, cfg)
		require.NoError(t, err)
		var seen sync.Map
		l.SetListener(func(end, durable int64) { seen.Store(durable <= end, true) })
		for range writers {
			wg.Go(func() {
				for range each {
					r, err := l.Append(records(3), AppendOptions{})
					if err == nil {
						err = l.WaitDurable(context.Background(), r.LastOffset)
					}
					if err != nil || l.DurableOffset() <= r.LastOffset {
						t.Error("append", err)
						return
					}
				}
			})
		}
		wg.Go(func() {
			next := int64(0)
			var buf []byte
			for next < writers*each*3 {
				p, err := l.Read(buf[:0], next, 5000, l.DurableOffset(), true)
				if err != nil {
					t.Error(err)
					return
				}
				buf = p
				for len(p) > 0 {
					var b batch.Batch
					b, p, err = batch.Next(p)
					if err != nil || b.Check() != nil || b.BaseOffset() != next {
						t.Error("read", err, next)
						return
					}
					next = b.NextOffset()
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, d.Close())
}

func TestWaitersLearnOfClose(t *testing.T) {
	l := newTestLog(t, Options{}, DefaultConfig())
	got := make(chan error, 2)
	l.NotifyDurable(10, func(err error) { got <- err })
	require.NoError(t, l.d.Close())
	require.ErrorIs(t, <-got, ErrClosed)
	l.NotifyDurable(10, func(err error) { got <- err })
	require.ErrorIs(t, <-got, ErrStorage)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.Error(t, l.WaitDurable(ctx, 10))
	require.True(t, errors.Is(ErrClosed, ErrStorage))
}

func TestOSDurabilityDoesNotWait(t *testing.T) {
	var syncs atomic.Int64
	cfg := DefaultConfig()
	l := newTestLog(t, Options{Durability: DurabilityOS, OnSync: func(time.Duration, error) { syncs.Add(1) }}, cfg)
	r := mustAppend(t, l, records(5))
	require.NoError(t, l.WaitDurable(context.Background(), r.LastOffset))
	require.EqualValues(t, 5, l.DurableOffset())
	require.Zero(t, syncs.Load())
	cfg.FlushMessages = 1 // flush.messages=1 is Kafka's way to ask for a sync of each append
	l.UpdateConfig(cfg)
	r = mustAppend(t, l, records(5))
	require.NoError(t, l.WaitDurable(context.Background(), r.LastOffset))
	require.EqualValues(t, 10, l.DurableOffset())
	require.Equal(t, fmt.Sprint(DurabilityFsync), l.durability().String())
}
