package story

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/internal/servers"
)

//go:embed Streams.java
var streamsSource string

// streamsApp is one instance of the application of Streams.java.
type streamsApp struct {
	cmd  *exec.Cmd
	in   io.Closer
	errs bytes.Buffer
}

func startStreams(t *testing.T, java *servers.KafkaTools, args ...string) *streamsApp {
	t.Helper()
	a := &streamsApp{cmd: java.Command(t.Context(), scratch(t, "Streams.java", streamsSource), append(args, t.TempDir())...)}
	a.cmd.Stderr = &a.errs
	in, err := a.cmd.StdinPipe()
	require.NoError(t, err)
	a.in = in
	require.NoError(t, a.cmd.Start())
	t.Cleanup(func() {
		a.kill()
		if t.Failed() {
			t.Logf("an instance of the application said:\n%s", a.errs.String())
		}
	})
	return a
}

// kill ends it in the middle of what it does; one that has ended stays as it is.
func (a *streamsApp) kill() {
	_ = a.cmd.Process.Kill()
	_ = a.cmd.Wait()
}

// writeAmounts writes "product amount" until stop is closed, and what it wrote into totals and counts.
func writeAmounts(ctx context.Context, bootstrap, topic string, stop <-chan struct{}, totals, counts map[string]int) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		product, amount := fmt.Sprintf("p%d", i%7), i%11+1
		if err := cl.ProduceSync(ctx, kgo.StringRecord(fmt.Sprintf("%s %d", product, amount))).FirstErr(); err != nil {
			return err
		}
		totals[product], counts[product] = totals[product]+amount, counts[product]+1
		select {
		case <-stop:
			return nil
		case <-tick.C:
		}
	}
}

// TestKafkaStreamsExactlyOnce has two instances of an application of Kafka Streams on the log, which regroups over a repartition topic and
// keeps sums in a store with a changelog. One of them and the hub are killed; each amount is in the sums once all the same.
func TestKafkaStreamsExactlyOnce(t *testing.T) {
	java := servers.Tool(t, "kafka", servers.FetchKafkaStreams)
	hub := startHub(t, func(h *Hub) {
		h.Roles = "broker,controller"
		h.Set = append(h.Set, "broker.group.min.session.timeout.ms=1000", "broker.transaction.abort.timed.out.transaction.cleanup.interval.ms=200")
	})
	b := hub.Endpoints.Kafka
	makeTopic(t, b, "amounts", 3)
	makeTopic(t, b, "sums", 3)
	one, two := startStreams(t, java, b, "app", "amounts", "sums"), startStreams(t, java, b, "app", "amounts", "sums")

	// Amounts come all the time, so that each kill meets a transaction that is open.
	totals, counts := map[string]int{}, map[string]int{}
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() { stopped <- writeAmounts(t.Context(), b, "amounts", stop, totals, counts) }()
	sums := 0
	more := func(n int) {
		t.Helper()
		eventually(t, time.Minute, func(ctx context.Context) error {
			log, err := readLog(ctx, b, "sums")
			if err == nil && log.records < sums+n {
				err = fmt.Errorf("%d sums of %d", log.records, sums+n)
			}
			if err == nil {
				sums = log.records
			}
			return err
		})
	}
	more(1)
	more(100)
	one.kill()
	one = startStreams(t, java, b, "app", "amounts", "sums")
	more(200)
	require.NoError(t, hub.Kill())
	require.NoError(t, hub.Start(t.Context()))
	more(200)
	close(stop)
	require.NoError(t, <-stopped)
	written := 0
	for _, n := range counts {
		written += n
	}
	if written > sums {
		more(written - sums)
	}

	log, err := readLog(t.Context(), b, "sums")
	require.NoError(t, err)
	last, updates := map[string]int{}, map[string]int{}
	for _, r := range log.all {
		sum, err := strconv.Atoi(string(r.Value))
		require.NoError(t, err)
		require.Greater(t, sum, last[string(r.Key)], "sums of %s grow", r.Key)
		last[string(r.Key)] = sum
		updates[string(r.Key)]++
	}
	require.Equal(t, totals, last)
	require.Equal(t, counts, updates)

	// What the application has read of its own topic it deletes (DeleteRecords), and its topics are as it wants them.
	cl, err := kgo.NewClient(kgo.SeedBrokers(b))
	require.NoError(t, err)
	defer cl.Close()
	adm := kadm.NewClient(cl)
	eventually(t, 30*time.Second, func(ctx context.Context) error {
		starts, err := adm.ListStartOffsets(ctx, "app-by-product-repartition")
		if err != nil {
			return err
		}
		deleted := int64(0)
		starts.Each(func(o kadm.ListedOffset) { deleted += o.Offset })
		if deleted < int64(written) {
			return fmt.Errorf("%d of %d records are deleted", deleted, written)
		}
		return nil
	})
	configs, err := adm.DescribeTopicConfigs(t.Context(), "app-by-product-repartition", "app-sums-changelog")
	require.NoError(t, err)
	policies := map[string]string{}
	for _, c := range configs {
		for _, v := range c.Configs {
			if v.Key == "cleanup.policy" || v.Key == "retention.ms" && strings.HasSuffix(c.Name, "repartition") {
				policies[c.Name+" "+v.Key] = v.MaybeValue()
			}
		}
	}
	require.Equal(t, map[string]string{
		"app-by-product-repartition cleanup.policy": "delete", "app-by-product-repartition retention.ms": "-1", "app-sums-changelog cleanup.policy": "compact",
	}, policies)

	for _, a := range []*streamsApp{one, two} {
		require.NoError(t, a.in.Close())
		require.NoError(t, a.cmd.Wait(), "it ends in order: %s", a.errs.String())
	}
}
