package log

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

// collected are logs of one directory whose group counts, and how often one of their files was synced by itself.
func collected(t *testing.T, n int) (*countedGroup, *atomic.Int64, []*Log) {
	t.Helper()
	m, g, alone := newMemFS(), &countedGroup{}, new(atomic.Int64)
	m.judge = func(op memOp) error {
		if op.kind == "sync .log" {
			alone.Add(1)
		}
		return nil
	}
	d, err := OpenDir("/log", Options{FS: m})
	require.NoError(t, err)
	d.syncer.group = g
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	logs := make([]*Log, n)
	for i := range logs {
		logs[i], err = d.Create("t", int32(i), [16]byte{1}, DefaultConfig())
		require.NoError(t, err)
		r := appendOne(t, logs[i])
		require.NoError(t, logs[i].WaitDurable(context.Background(), r.LastOffset))
		logs[i].holdSyncs() // the sync has ended
		logs[i].letSyncs()
	}
	g.syncs.Store(0)
	alone.Store(0)
	return g, alone, logs
}

func TestLogsOfOneRequestAreSyncedTogether(t *testing.T) {
	g, alone, logs := collected(t, 3*groupFrom)
	var later SyncLater
	for range 3 {
		for _, l := range logs {
			for range 2 { // one log twice is one sync
				_, err := l.Append(records(1), AppendOptions{Origin: Coordinator, SyncLater: &later})
				require.NoError(t, err)
			}
		}
		require.Zero(t, g.syncs.Load())
		require.Less(t, logs[0].DurableOffset(), logs[0].EndOffset())
		later.Begin()
		for _, l := range logs {
			require.NoError(t, l.WaitDurable(context.Background(), l.EndOffset()-1))
		}
		require.EqualValues(t, 1, g.syncs.Swap(0))
		require.Zero(t, alone.Load())
	}
	later.Begin() // of nothing
}

func TestAppendsOfOthersToCollectedLogsAreSyncedWithThem(t *testing.T) {
	_, _, logs := collected(t, 2)
	var later SyncLater
	_, err := logs[0].Append(records(1), AppendOptions{Origin: Coordinator, SyncLater: &later})
	require.NoError(t, err)
	other := told(t, logs[0])
	free := told(t, logs[1])
	require.NoError(t, soon(t, free))
	require.Empty(t, other)
	later.Begin()
	require.NoError(t, soon(t, other))
}

func TestSyncOfMuchIsNotPutOff(t *testing.T) {
	_, _, logs := collected(t, 1)
	var later SyncLater
	w := batch.Builder{}
	w.Append(1, nil, make([]byte, syncLaterBytes/8))
	b := w.MustBuild()
	for range 8 {
		require.Less(t, later.bytes, syncLaterBytes)
		_, err := logs[0].Append(b, AppendOptions{Origin: Coordinator, SyncLater: &later})
		require.NoError(t, err)
	}
	require.NoError(t, logs[0].WaitDurable(context.Background(), logs[0].EndOffset()-1))
}

func TestCollectedLogsOfSeveralDirectories(t *testing.T) {
	var later SyncLater
	var logs []*Log
	for range 3 {
		_, _, of := collected(t, 2)
		logs = append(logs, of...)
	}
	for _, i := range []int{0, 2, 4, 1, 3, 5} {
		_, err := logs[i].Append(records(1), AppendOptions{Origin: Coordinator, SyncLater: &later})
		require.NoError(t, err)
	}
	later.Begin()
	for _, l := range logs {
		require.NoError(t, l.WaitDurable(context.Background(), l.EndOffset()-1))
	}
}
