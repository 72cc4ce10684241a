package mysql

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/moldau-io/moldau/plugins"
)

const benchRows = 300_000

const benchTable = `CREATE TABLE a (id bigint PRIMARY KEY, name varchar(100), city varchar(50), amount decimal(12,2), active tinyint(1), created datetime(6), updated timestamp, day date, score double, note varchar(50))`

func (d *database) fill(b *testing.B, from, n int) {
	b.Helper()
	var sb strings.Builder
	for i := from; i < from+n; i++ {
		if sb.Len() == 0 {
			sb.WriteString("INSERT INTO a VALUES ")
		} else {
			sb.WriteByte(',')
		}
		fmt.Fprintf(&sb, "(%d,'a name of usual length','Prague',%d.25,1,NOW(6),NOW(),CURDATE(),%d/3.0,'a note that says something')", i, i, i)
		if (i-from)%1000 == 999 || i == from+n-1 { // transactions of a thousand rows
			d.exec(sb.String())
			sb.Reset()
		}
	}
}

// BenchmarkSnapshotFromServer and BenchmarkStreamFromServer measure the connector with a real server on the same machine, without a log
// behind it. Use -benchtime 1x.
func BenchmarkSnapshotFromServer(b *testing.B) {
	d := newDatabase(b, servers.TestMySQL(b))
	d.exec(benchTable)
	d.fill(b, 1, benchRows)
	for b.Loop() {
		start := time.Now()
		r := d.start(nil)
		r.Drain(benchRows)
		b.ReportMetric(benchRows/time.Since(start).Seconds(), "rows/s")
		b.StopTimer()
		require.NoError(b, r.task.Stop())
		b.StartTimer()
	}
}

func BenchmarkStreamFromServer(b *testing.B) {
	d := newDatabase(b, servers.TestMySQL(b))
	d.exec(benchTable)
	r := d.start(nil, "snapshot.mode", "no_data")
	r.Streaming()
	r.Until("a position", func([]plugins.SourceRecord) bool { return r.Last != nil })
	for b.Loop() {
		b.StopTimer()
		d.exec("TRUNCATE a")
		stored := r.Stop()
		d.fill(b, 1, benchRows)
		b.StartTimer()
		start := time.Now()
		r = d.start(stored, "snapshot.mode", "no_data")
		r.Drain(benchRows)
		b.ReportMetric(benchRows/time.Since(start).Seconds(), "events/s")
	}
}
