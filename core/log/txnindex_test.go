package log

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

// renamingFS tells of each file that is about to be renamed.
type renamingFS struct {
	FS
	before func(from string)
}

func (f *renamingFS) Rename(from, to string) error {
	if f.before != nil {
		f.before(from)
	}
	return f.FS.Rename(from, to)
}

// abortedInTwoSegments writes the records of an aborted transaction and its marker, rolls, and writes more.
func abortedInTwoSegments(t *testing.T, l *Log) {
	now := time.Now().UnixMilli()
	for i := range 2 {
		w := batch.Builder{Transactional: true, Idempotent: true, ProducerID: 1, BaseSequence: int32(i)}
		w.Append(now, []byte{byte(i)}, []byte("aborted"))
		mustAppend(t, l, w.MustBuild())
		_, err := l.Append(batch.BuildEndTxn(now, 1, 0, batch.EndTxn{Type: batch.ControlAbort}), AppendOptions{Origin: Coordinator})
		require.NoError(t, err)
		require.NoError(t, l.Roll())
	}
	mustAppend(t, l, records(1))
	require.NoError(t, l.Sync())
}

// TestAbortedTransactionsAreKnownWhileTheirSegmentsAreReplaced: who has read the records just before would take them for committed.
func TestAbortedTransactionsAreKnownWhileTheirSegmentsAreReplaced(t *testing.T) {
	fs := &renamingFS{FS: newMemFS()}
	d := openDir(t, "/log", Options{FS: fs})
	cfg := compactedConfig()
	cfg.SegmentBytes = 1000
	l, err := d.Create("t", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	abortedInTwoSegments(t, l)
	want := []AbortedTxn{{1, 0, 1, 2}, {1, 2, 3, 4}}
	got := make(chan []AbortedTxn, 100)
	asked := 0
	fs.before = func(from string) {
		if strings.HasSuffix(from, suffixSnapshot) {
			return
		}
		asked++
		answered := make(chan struct{})
		go func() {
			a, err := l.AbortedTxns(0, l.EndOffset())
			if err != nil {
				a = nil
			}
			got <- a
			close(answered)
		}()
		select { // some answer at once, others when it is over
		case <-answered:
		case <-time.After(20 * time.Millisecond):
		}
	}
	require.NoError(t, l.Compact(t.Context()))
	require.Greater(t, asked, 5)
	for range asked {
		require.Equal(t, want, <-got)
	}
}

// TestAbortedTransactionsThatRetentionTookAreNotTakenForNone: the records may have been read before.
func TestAbortedTransactionsThatRetentionTookAreNotTakenForNone(t *testing.T) {
	l := newTestLog(t, Options{}, DefaultConfig())
	abortedInTwoSegments(t, l)
	a, err := l.AbortedTxns(0, l.EndOffset())
	require.NoError(t, err)
	require.Len(t, a, 2)
	require.NoError(t, l.DeleteRecordsBefore(2))
	require.NoError(t, l.d.retain(t.Context()))
	require.EqualValues(t, 2, l.SegmentInfos()[0].BaseOffset)
	_, err = l.AbortedTxns(0, l.EndOffset())
	require.ErrorIs(t, err, ErrOffsetOutOfRange)
	a, err = l.AbortedTxns(2, l.EndOffset())
	require.NoError(t, err)
	require.Len(t, a, 1)
}
