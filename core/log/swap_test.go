package log

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

// TestACompactedSegmentIsSyncedOnTheWay: never is more than a little of it left to be written by one sync.
func TestACompactedSegmentIsSyncedOnTheWay(t *testing.T) {
	fs := newMemFS()
	d, err := OpenDir("/log", Options{FS: fs})
	require.NoError(t, err)
	l, err := d.Create("t", 0, [16]byte{1}, DefaultConfig())
	require.NoError(t, err)
	w, err := l.newSegmentWriter(0)
	require.NoError(t, err)
	synced, most := int64(0), int64(0)
	fs.judge = func(op memOp) error {
		switch {
		case op.kind == "write":
			most = max(most, w.flushed+int64(len(w.buf))-synced)
		case strings.HasPrefix(op.kind, "sync"):
			synced = w.flushed
		}
		return nil
	}
	for i := range int64(40) {
		b := batch.Builder{BaseOffset: i}
		b.Append(1, nil, make([]byte, 1<<20))
		require.NoError(t, w.write(b.MustBuild()))
	}
	require.NoError(t, w.flush())
	require.Greater(t, w.flushed, int64(40<<20))
	require.Less(t, most, int64(10<<20))
	fs.judge = nil
	w.abandon()
	require.NoError(t, d.Close())
}
