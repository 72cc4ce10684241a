package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProducerFiguresAreThoseOfTheWholeRun(t *testing.T) {
	mbs, p99, err := producerFigures("50001 records sent, 10000.2 records/sec (9.77 MB/sec), 3.1 ms avg latency, 40.0 ms max latency.\n" +
		"100000 records sent, 20000.0 records/sec (20.00 MB/sec), 2.5 ms avg latency, 40.0 ms max latency, 2 ms 50th, 7 ms 95th, 12 ms 99th, 38 ms 99.9th.\n")
	require.NoError(t, err)
	require.InDelta(t, 20.97152, mbs, 1e-9)
	require.InDelta(t, 12, p99, 0)
	_, _, err = producerFigures("org.apache.kafka.common.errors.TimeoutException\n")
	require.ErrorContains(t, err, "ProducerPerformance prints no rate:\norg.apache.kafka")
}

func TestConsumerFiguresAreTheRateOfTheFetches(t *testing.T) {
	const head = "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec\n"
	mbs, err := consumerFigures(head + "2026-01-02 03:04:05:006, 2026-01-02 03:04:07:006, 100.0, 50.0, 100000, 50000.0, 1000, 1000, 100.0, 100000.0\n")
	require.NoError(t, err)
	require.InDelta(t, 104.8576, mbs, 1e-9)
	_, err = consumerFigures(head)
	require.ErrorContains(t, err, "ConsumerPerformance prints no rate")
	_, err = consumerFigures("2026, b, c, d, e, f, g, h, fast, j\n")
	require.ErrorContains(t, err, `ConsumerPerformance: strconv.ParseFloat: parsing "fast"`)
}
