package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/moldau-io/moldau/internal/story"
)

const (
	kafkaName   = "Apache Kafka " + servers.ConnectVersion
	connectName = "Kafka Connect " + servers.ConnectVersion + " + Debezium " + servers.DebeziumVersion
)

func (b *bench) hub(ctx context.Context, name string, set ...string) (*story.Hub, error) {
	h := &story.Hub{Bin: b.bin, Dir: filepath.Join(b.dir, name), Set: append(set, "broker.group.initial.rebalance.delay.ms=0")} // as the peer runs
	if err := h.Start(ctx); err != nil {
		return nil, err
	}
	b.hubs = append(b.hubs, h)
	return h, nil
}

// starts measures how long each system takes until it answers, first with an empty data folder and then with the one that it left, and
// its memory ten seconds later. Kafka and Connect of the last round stay up.
func (b *bench) starts(ctx context.Context) (kafka *servers.Kafka, connect *servers.Connect, err error) {
	const fresh, again, idle = "start, empty data folder", "start, restart", "resident memory, idle for 10 s"
	if _, err := servers.FetchKafka(ctx); err != nil { // before the clock runs
		return nil, nil, err
	}
	if err := servers.FetchConnect(ctx); err != nil {
		return nil, nil, err
	}
	timed := func(what, system, mode string, start func() error) error {
		began := time.Now()
		if err := start(); err != nil {
			return err
		}
		b.rep.add(what, system, mode, "ms", float64(time.Since(began).Microseconds())/1000)
		return nil
	}
	for i := range b.runs {
		h := &story.Hub{Bin: b.bin, Dir: filepath.Join(b.dir, fmt.Sprintf("start%d", i))}
		start := func() error { return h.Start(ctx) }
		if err := timed(fresh, "moldau", "all roles", start); err != nil {
			return nil, nil, err
		}
		b.hubs = append(b.hubs, h)
		if err := h.Stop(); err != nil {
			return nil, nil, err
		}
		if err := timed(again, "moldau", "all roles", start); err != nil {
			return nil, nil, err
		}

		kdir := filepath.Join(b.dir, fmt.Sprintf("kafka%d", i))
		if err := timed(fresh, kafkaName, "with its format step", func() (err error) { kafka, err = servers.StartKafka(ctx, kdir); return err }); err != nil {
			return nil, nil, err
		}
		b.keep(kafka.Process)
		if err := kafka.Stop(); err != nil {
			return nil, nil, err
		}
		if err := timed(again, kafkaName, "", func() error { return kafka.Start(ctx) }); err != nil {
			return nil, nil, err
		}
		cdir := filepath.Join(b.dir, fmt.Sprintf("connect%d", i))
		if err := timed(fresh, connectName, "on a running Kafka", func() (err error) {
			connect, err = servers.StartConnect(ctx, cdir, kafka.Bootstrap)
			return err
		}); err != nil {
			return nil, nil, err
		}
		b.keep(connect.Process)
		if err := connect.Stop(); err != nil {
			return nil, nil, err
		}
		if err := timed(again, connectName, "on a running Kafka", func() error { return connect.Start(ctx) }); err != nil {
			return nil, nil, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(10 * time.Second):
		}
		b.rep.add(idle, "moldau", "all roles, one process", "MB", rss(h.PID()))
		b.rep.add(idle, kafkaName, "-Xmx1g", "MB", rss(kafka.PID()))
		b.rep.add(idle, connectName, "-Xmx2g", "MB", rss(connect.PID()))
		if err := h.Stop(); err != nil {
			return nil, nil, err
		}
		if i < b.runs-1 {
			if err := connect.Stop(); err != nil {
				return nil, nil, err
			}
			if err := kafka.Stop(); err != nil {
				return nil, nil, err
			}
			if err := os.RemoveAll(kdir); err != nil {
				return nil, nil, err
			}
		}
	}
	return kafka, connect, nil
}
