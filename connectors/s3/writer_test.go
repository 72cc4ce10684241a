package s3

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestObjectsCloseAtTheSameOffsetsFromAnyEarlierClosing(t *testing.T) {
	type rec struct {
		path   string
		ts     int64
		schema int
	}
	var log []rec
	for i := range int64(500) {
		log = append(log, rec{[]string{"a", "b"}[i/90%2], i * 37, int(i / 130)})
	}
	run := func(from int64) (ends []int64) {
		r := rotation{flushSize: 50, interval: 1500 * time.Millisecond, onPathChange: true}
		schema := 0
		for o := from; o < int64(len(log)); o++ {
			x := log[o]
			if r.before(x.path, x.ts, r.records > 0 && schema != x.schema, o) {
				ends = append(ends, o)
				r.closed()
			}
			schema = x.schema
			if r.wrote(x.path, x.ts, o) {
				ends = append(ends, o+1)
				r.closed()
			}
		}
		return ends
	}
	whole := run(0)
	require.Greater(t, len(whole), 10)
	for i, end := range whole {
		require.Equal(t, whole[i+1:], append([]int64{}, run(end)...), "restarted at %d", end)
	}
}

func TestAForcedEndOverridesEveryRule(t *testing.T) {
	r := rotation{flushSize: 3, interval: time.Second, forced: 6}
	for o := range int64(6) {
		require.False(t, r.before("p", o*5000, true, o))
		require.Equal(t, o == 5, r.wrote("p", o*5000, o))
	}
	r.closed()
	require.Zero(t, r.forced)
	require.False(t, r.wrote("p", 0, 6))
}

func TestScheduleCountsFromLocalMidnight(t *testing.T) {
	prague, err := time.LoadLocation("Europe/Prague")
	require.NoError(t, err)
	at := time.Date(2026, 11, 21, 10, 7, 0, 0, prague)
	require.Equal(t, time.Date(2026, 11, 21, 15, 0, 0, 0, prague), nextSchedule(at, 5*time.Hour, prague).In(prague))
	require.Equal(t, at.Add(5*time.Minute).Truncate(5*time.Minute).UTC(), nextSchedule(at, 5*time.Minute, prague).UTC())
}

func TestNamesAreTheOriginals(t *testing.T) {
	s := settings{topicsDir: "topics", dirDelim: "/", delim: "+", pad: 10}
	require.Equal(t, "topics/orders/partition=3/orders+3+0000000120.snappy.parquet", s.objectName("orders", "partition=3", 3, 120, ".snappy.parquet"))
}

func TestJodaPatterns(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 89_000_000, time.UTC)
	for pattern, want := range map[string]string{
		"'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH": "year=2026/month=03/day=04/hour=05",
		"yy-M-d 'o''clock' h a":                     "26-3-4 o'clock 5 AM",
		"EEE EEEE MMM MMMM":                         "Wed Wednesday Mar March",
		"HH:mm:ss.SSS ZZ D xxxx-ww e":               "05:06:07.089 +00:00 63 2026-10 3",
		"G CC Z ZZZ z kk KK hh":                     "AD 20 +0000 UTC UTC 05 05 05",
		"''yyyy'' 'x''y'":                           "'2026' x'y",
		"MM'open":                                   "03open",
	} {
		j, err := parseJoda(pattern)
		require.NoError(t, err)
		require.Equal(t, want, j.format(at), pattern)
	}
	for _, bad := range []string{"YYYY-QQ", "zzzz"} {
		_, err := parseJoda(bad)
		require.Error(t, err, bad)
	}
}
