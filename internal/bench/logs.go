package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/internal/servers"
)

const recordSize = 1024

// broker is one system that is measured as a log.
type broker struct {
	system, mode, bootstrap string
	topicConfig             map[string]*string
	short                   bool // one partition, few records
}

// newTopic makes a topic for a measurement and returns how to remove it. What the one before has left in memory is written first, so that
// it is not written at the expense of this one.
func newTopic(ctx context.Context, bootstrap, topic string, partitions int32, configs map[string]*string) (func(), error) {
	syscall.Sync()
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		return nil, err
	}
	adm := kadm.NewClient(cl)
	if _, err := adm.CreateTopic(ctx, partitions, 1, configs, topic); err != nil {
		cl.Close()
		return nil, fmt.Errorf("create %s: %w", topic, err)
	}
	return func() {
		_, _ = adm.DeleteTopics(context.WithoutCancel(ctx), topic)
		cl.Close()
	}, nil
}

// produce sends n records of 1 KiB with acks=all and returns MB/s, all acknowledged.
func produce(ctx context.Context, bootstrap, topic string, n int) (float64, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic(topic), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(50_000))
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	value := make([]byte, recordSize)
	_, _ = rand.Read(value)
	if err := cl.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr(); err != nil { // connections and metadata are there
		return 0, fmt.Errorf("produce to %s: %w", topic, err)
	}
	var failed atomic.Pointer[error]
	done := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
		}
	}
	began := time.Now()
	for range n - 1 {
		cl.Produce(ctx, &kgo.Record{Value: value}, done)
	}
	if err := cl.Flush(ctx); err != nil {
		return 0, err
	}
	took := time.Since(began)
	if e := failed.Load(); e != nil {
		return 0, fmt.Errorf("produce to %s: %w", topic, *e)
	}
	return float64(n-1) * recordSize / 1e6 / took.Seconds(), nil
}

// consume reads n records from the beginning and returns MB/s.
func consume(ctx context.Context, bootstrap, topic string, n int) (float64, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := cl.Ping(ctx); err != nil {
		return 0, err
	}
	began := time.Now()
	for got := 0; got < n; {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return 0, fmt.Errorf("consume %s after %d of %d records: %w", topic, got, n, err)
		}
		got += fs.NumRecords()
	}
	return float64(n) * recordSize / 1e6 / time.Since(began).Seconds(), nil
}

// warmUp loads every broker a little before the first round, so that no figure is one of a virtual machine that still compiles.
func (b *bench) warmUp(ctx context.Context, brokers []broker) error {
	n := b.produceMB << 20 / recordSize / 2
	for _, k := range brokers {
		if k.short {
			continue
		}
		topic := b.unique("warm")
		remove, err := newTopic(ctx, k.bootstrap, topic, 4, k.topicConfig)
		if err != nil {
			return err
		}
		if _, err = produce(ctx, k.bootstrap, topic, n); err == nil {
			_, err = consume(ctx, k.bootstrap, topic, n)
		}
		remove()
		if err != nil {
			return fmt.Errorf("warm up %s (%s): %w", k.system, k.mode, err)
		}
	}
	return nil
}

// logRound measures every broker once, one after the other.
func (b *bench) logRound(ctx context.Context, brokers []broker) error {
	for _, partitions := range []int32{1, 16} {
		for _, k := range brokers {
			n := b.produceMB << 20 / recordSize
			what := fmt.Sprintf("1 KiB records, %d partition%s, lean client", partitions, map[bool]string{true: "s"}[partitions > 1])
			if k.short {
				if partitions > 1 {
					continue
				}
				n = min(n, 16<<20/recordSize)
			}
			topic := b.unique("bench")
			remove, err := newTopic(ctx, k.bootstrap, topic, partitions, k.topicConfig)
			if err != nil {
				return err
			}
			p, err := produce(ctx, k.bootstrap, topic, n)
			if err == nil {
				b.rep.add("produce, "+what, k.system, k.mode, "MB/s", p)
				p, err = consume(ctx, k.bootstrap, topic, n)
			}
			remove()
			if err != nil {
				return fmt.Errorf("%s (%s): %w", k.system, k.mode, err)
			}
			if !k.short {
				b.rep.add("consume, "+what, k.system, k.mode, "MB/s", p)
			}
		}
	}
	tools, err := servers.FetchKafka(ctx)
	if err != nil {
		return err
	}
	for _, k := range brokers {
		if k.short {
			continue
		}
		if err := b.javaTools(ctx, tools, k); err != nil {
			return fmt.Errorf("%s (%s): %w", k.system, k.mode, err)
		}
	}
	return nil
}

// javaTools measures with the performance tools of Apache Kafka itself.
func (b *bench) javaTools(ctx context.Context, tools *servers.KafkaTools, k broker) error {
	n := b.produceMB << 20 / recordSize
	topic := b.unique("perf")
	remove, err := newTopic(ctx, k.bootstrap, topic, 1, k.topicConfig)
	if err != nil {
		return err
	}
	defer remove()
	mbs, _, err := producerPerformance(ctx, tools, k.bootstrap, topic,
		[]string{"--num-records", strconv.Itoa(n), "--record-size", strconv.Itoa(recordSize), "--throughput", "-1"},
		"batch.size=262144", "linger.ms=5", "buffer.memory=67108864")
	if err != nil {
		return err
	}
	b.rep.add("produce, 1 KiB records, 1 partition, ProducerPerformance", k.system, k.mode, "MB/s", mbs)
	if mbs, err = consumerPerformance(ctx, tools, k.bootstrap, topic, n); err != nil {
		return err
	}
	b.rep.add("consume, 1 KiB records, 1 partition, ConsumerPerformance", k.system, k.mode, "MB/s", mbs)
	return nil
}
