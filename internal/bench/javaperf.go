package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/moldau-io/moldau/internal/servers"
)

// perfMB is the MB of Kafka's performance tools in bytes: they count in MiB. All rows of a report are in MB.
const perfMB = 1.048576

var (
	perfRate = regexp.MustCompile(`\(([0-9.]+) MB/sec\)`)
	perfP99  = regexp.MustCompile(`([0-9]+) ms 99th`)
)

// producerPerformance runs Kafka's ProducerPerformance with acks=all and props, and returns the rate in MB/s and the 99th percentile of the
// latency in milliseconds.
func producerPerformance(ctx context.Context, tools *servers.KafkaTools, bootstrap, topic string, args []string, props ...string) (mbs, p99 float64, err error) {
	all := append([]string{"--topic", topic}, args...)
	all = append(append(all, "--producer-props", "bootstrap.servers="+bootstrap, "acks=all"), props...)
	out, err := tools.Command(ctx, "org.apache.kafka.tools.ProducerPerformance", all...).CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("ProducerPerformance: %w\n%s", err, out)
	}
	return producerFigures(string(out))
}

// producerFigures reads what ProducerPerformance prints: the last rate and percentile, which are those of the whole run, or of what followed its
// warm-up.
func producerFigures(out string) (mbs, p99 float64, err error) {
	rates, tails := perfRate.FindAllStringSubmatch(out, -1), perfP99.FindAllStringSubmatch(out, -1)
	if len(rates) == 0 || len(tails) == 0 {
		return 0, 0, fmt.Errorf("ProducerPerformance prints no rate:\n%s", out)
	}
	mbs, _ = strconv.ParseFloat(rates[len(rates)-1][1], 64)
	p99, _ = strconv.ParseFloat(tails[len(tails)-1][1], 64)
	return mbs * perfMB, p99, nil
}

// consumerPerformance runs Kafka's ConsumerPerformance over n records and returns the rate of its fetches in MB/s.
func consumerPerformance(ctx context.Context, tools *servers.KafkaTools, bootstrap, topic string, n int) (float64, error) {
	out, err := tools.Command(ctx, "org.apache.kafka.tools.ConsumerPerformance", "--topic", topic, "--num-records", strconv.Itoa(n),
		"--bootstrap-server", bootstrap, "--timeout", "60000").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("ConsumerPerformance: %w\n%s", err, out)
	}
	return consumerFigures(string(out))
}

// consumerFigures reads what ConsumerPerformance prints below its head, the line
//
//	start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec
func consumerFigures(out string) (mbs float64, err error) {
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), ", ")
		if len(f) >= 10 && strings.HasPrefix(f[0], "2") { // the year
			v, err := strconv.ParseFloat(f[8], 64)
			if err != nil {
				return 0, fmt.Errorf("ConsumerPerformance: %w in %q", err, line)
			}
			return v * perfMB, nil
		}
	}
	return 0, fmt.Errorf("ConsumerPerformance prints no rate:\n%s", out)
}
