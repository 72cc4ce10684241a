package postgres

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const benchRows = 300_000

const benchTable = `CREATE TABLE a (id bigint PRIMARY KEY, name text, city text, amount numeric(12,2), active boolean, created timestamp, updated timestamptz, day date, score float8, note varchar(50))`

const benchFill = `INSERT INTO a SELECT i, 'a name of usual length', 'Prague', i * 1.25, true, now(), now(), now(), i / 3.0, 'a note that says something' FROM generate_series(1, $1) i`

const benchFillFrom = `INSERT INTO a SELECT i, 'a name of usual length', 'Prague', i * 1.25, true, now(), now(), now(), i / 3.0, 'a note that says something' FROM generate_series($1::int, $2::int) i`

// BenchmarkSnapshotFromServer and BenchmarkStreamFromServer measure the connector with a real server on the same machine, without a
// log behind it. Use -benchtime 1x.
func BenchmarkSnapshotFromServer(b *testing.B) {
	d := newDatabase(b)
	d.exec(benchTable)
	d.exec(benchFill, benchRows)
	for b.Loop() {
		b.StopTimer()
		r := startTask(b, d.config(), nil)
		b.StartTimer()
		start := time.Now()
		r.Drain(benchRows)
		b.ReportMetric(benchRows/time.Since(start).Seconds(), "rows/s")
		b.StopTimer()
		require.NoError(b, r.task.Stop())
		b.StartTimer()
	}
}

func BenchmarkStreamFromServer(b *testing.B) {
	d := newDatabase(b)
	d.exec(benchTable)
	r := startTask(b, d.config("snapshot.mode", "no_data"), nil)
	for !r.task.runner.Metrics.Connected.Load() {
		time.Sleep(time.Millisecond)
	}
	for b.Loop() {
		b.StopTimer()
		d.exec("TRUNCATE a")
		stored := r.Stop()
		for i := 0; i < benchRows; i += 1000 { // transactions of a thousand rows
			d.exec(benchFillFrom, i+1, i+1000)
		}
		b.StartTimer()
		start := time.Now()
		r = startTask(b, d.config("snapshot.mode", "no_data"), stored)
		r.Drain(benchRows)
		b.ReportMetric(benchRows/time.Since(start).Seconds(), "events/s")
	}
}
