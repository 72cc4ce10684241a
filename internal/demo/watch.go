package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/linkedin/goavro/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/internal/story"
)

// watcher is an ordinary Kafka consumer of the captured tables' topics. It counts what is in the log, remembers where tombstones lie,
// measures how old changes are when a consumer sees them, and shows progress.
type watcher struct {
	d      *demo
	cl     *kgo.Client
	cancel context.CancelFunc
	done   chan struct{}

	mu        sync.Mutex
	all, data int64
	last      time.Time
	ends      map[string]map[int32]int64          // topic -> partition -> next offset
	stones    map[string]map[int32]map[int64]bool // offsets of tombstones, and of what no reader is given: markers and aborted records
	codecs    map[int32]*goavro.Codec
	measuring bool
	ages      []float64 // milliseconds
	err       error
}

func newWatcher(d *demo) (*watcher, error) {
	var topics []string
	for _, t := range d.tables {
		topics = append(topics, t.Topic)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(d.hub.Endpoints.Kafka), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100*time.Millisecond), kgo.MetadataMinAge(250*time.Millisecond), kgo.UnknownTopicRetries(-1))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{d: d, cl: cl, cancel: cancel, done: make(chan struct{}), ends: map[string]map[int32]int64{}, stones: map[string]map[int32]map[int64]bool{}, codecs: map[int32]*goavro.Codec{}}
	go w.consume(ctx)
	return w, nil
}

func (w *watcher) close() {
	w.cancel()
	<-w.done
	w.cl.Close()
}

func (w *watcher) consume(ctx context.Context) {
	defer close(w.done)
	for {
		fs := w.cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		now := time.Now()
		w.mu.Lock()
		fs.EachRecord(func(r *kgo.Record) {
			w.all++
			if w.ends[r.Topic] == nil {
				w.ends[r.Topic] = map[int32]int64{}
				w.stones[r.Topic] = map[int32]map[int64]bool{}
			}
			if w.stones[r.Topic][r.Partition] == nil {
				w.stones[r.Topic][r.Partition] = map[int64]bool{}
			}
			for o := w.ends[r.Topic][r.Partition]; o < r.Offset; o++ {
				w.stones[r.Topic][r.Partition][o] = true
			}
			w.ends[r.Topic][r.Partition] = r.Offset + 1
			if r.Value == nil {
				w.stones[r.Topic][r.Partition][r.Offset] = true
				return
			}
			w.data++
			w.last = now
			if w.measuring {
				if err := w.age(ctx, r, now); err != nil && w.err == nil {
					w.err = err
				}
			}
		})
		w.mu.Unlock()
	}
}

// age decodes an event with the schema that its id names in the registry, and notes how long ago its row was committed.
func (w *watcher) age(ctx context.Context, r *kgo.Record, now time.Time) error {
	if len(r.Value) < 5 || r.Value[0] != 0 {
		return fmt.Errorf("%s: a value without a schema id", r.Topic)
	}
	id := int32(binary.BigEndian.Uint32(r.Value[1:5]))
	codec := w.codecs[id]
	if codec == nil {
		var a struct {
			Schema string `json:"schema"`
		}
		if err := story.REST(ctx, http.MethodGet, fmt.Sprintf("%s/schemas/ids/%d", w.d.hub.Endpoints.Registry, id), nil, &a); err != nil {
			return err
		}
		var err error
		if codec, err = goavro.NewCodec(a.Schema); err != nil {
			return fmt.Errorf("schema %d: %w", id, err)
		}
		w.codecs[id] = codec
	}
	v, _, err := codec.NativeFromBinary(r.Value[5:])
	if err != nil {
		return fmt.Errorf("%s offset %d: %w", r.Topic, r.Offset, err)
	}
	row, _ := v.(map[string]any)
	source, _ := row["source"].(map[string]any)
	var us int64
	switch x := source["ts_us"].(type) {
	case map[string]any:
		us, _ = x["long"].(int64)
	case int64:
		us = x
	}
	if us == 0 {
		return errors.New("an event without source.ts_us")
	}
	w.ages = append(w.ages, float64(now.UnixMicro()-us)/1000)
	return nil
}

func (w *watcher) measure(on bool) { w.mu.Lock(); w.measuring = on; w.mu.Unlock() }

func (w *watcher) events() int64 { w.mu.Lock(); defer w.mu.Unlock(); return w.data }

func (w *watcher) records() int64 { w.mu.Lock(); defer w.mu.Unlock(); return w.all }

func (w *watcher) lastSeen() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.last }

func (w *watcher) latency() (p50, p99 float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.ages) == 0 {
		return 0, 0
	}
	s := slices.Sorted(slices.Values(w.ages))
	return s[len(s)/2], s[len(s)*99/100]
}

// until shows progress until want events have been seen, and fails when a connector has failed or nothing moves for a minute.
func (w *watcher) until(ctx context.Context, what string, want int64) error {
	began, moved, before := time.Now(), time.Now(), int64(-1)
	tty := isTerminal()
	shown := time.Time{}
	for {
		w.mu.Lock()
		n, err := w.data, w.err
		w.mu.Unlock()
		if err != nil {
			return err
		}
		if n != before {
			before, moved = n, time.Now()
		}
		if tty && time.Since(shown) > 200*time.Millisecond || !tty && time.Since(shown) > 2*time.Second || n >= want {
			shown = time.Now()
			end := "\n"
			if tty && n < want {
				end = "\r"
			}
			fmt.Printf("  %-9s %5.1f s  %9d of %d events in the log%s", what, time.Since(began).Seconds(), n, want, end)
		}
		if n >= want {
			return nil
		}
		if err := w.d.healthy(ctx); err != nil {
			return err
		}
		if time.Since(moved) > time.Minute {
			return fmt.Errorf("%s: nothing moves: %d of %d events are in the log\n%s", what, n, want, w.d.hub.Tail())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// healthy fails when a connector has failed.
func (d *demo) healthy(ctx context.Context) error {
	var all map[string]struct {
		Status story.ConnectorStatus `json:"status"`
	}
	if err := story.REST(ctx, http.MethodGet, d.hub.Endpoints.Connect+"/connectors?expand=status", nil, &all); err != nil {
		return err
	}
	for name, c := range all {
		if f := c.Status.Failed(); f != "" {
			return fmt.Errorf("connector %s failed: %s", name, f)
		}
	}
	return nil
}

func isTerminal() bool {
	fi, err := os.Stdout.Stat()
	return err == nil && fi.Mode()&os.ModeCharDevice != 0
}
