package log_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/broker"
	"github.com/moldau-io/moldau/core/config"
	"github.com/moldau-io/moldau/core/log"
	"github.com/moldau-io/moldau/core/loglevel"
	"github.com/moldau-io/moldau/core/quorum"
	"github.com/moldau-io/moldau/internal/jepsen"
)

// metadataFS gives the quorum the same disk as the log.
type metadataFS struct{ *log.ForgetfulFS }

func (m metadataFS) List(dir string) ([]string, error) {
	es, err := m.ReadDir(dir)
	var names []string
	for _, e := range es {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func (m metadataFS) ReadFile(name string, limit int64) ([]byte, error) {
	f, err := m.OpenFile(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil || size > limit {
		return nil, fmt.Errorf("read %s: %d bytes (%w)", name, size, err)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}

// appender writes at the end of a file.
type appender struct {
	log.File
	at int64
}

func (a *appender) Write(p []byte) (int, error) {
	n, err := a.WriteAt(p, a.at)
	a.at += int64(n)
	return n, err
}

func (m metadataFS) Create(name string) (quorum.File, error) {
	f, err := m.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_RDWR)
	if err != nil {
		return nil, err
	}
	return &appender{File: f}, nil
}

func (m metadataFS) OpenAppend(name string) (quorum.File, error) {
	f, err := m.OpenFile(name, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	return &appender{f, size}, err
}

func (m metadataFS) Truncate(name string, size int64) error {
	f, err := m.OpenFile(name, os.O_RDWR)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Sync(), f.Close())
}

func (m metadataFS) Remove(name string) error {
	if err := m.ForgetfulFS.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Lock is the log's: both are of one process.
func (m metadataFS) Lock(string) (io.Closer, error) { return io.NopCloser(strings.NewReader("")), nil }

// node is a whole broker on a disk in memory, reached without sockets. Its power can fail.
type node struct {
	t     testing.TB
	rnd   *rand.Rand
	disk  *log.ForgetfulFS
	props map[string]string

	mu     sync.Mutex
	broker *broker.Broker // nil while it is down
	stop   func()
}

func newNode(t testing.TB, seed uint64, durability string) *node {
	n := &node{t: t, rnd: rand.New(rand.NewPCG(seed, 3)), disk: log.NewForgetfulFS(), props: map[string]string{
		"node.id": "1", "listeners": "PLAINTEXT://127.0.0.1:0", "group.initial.rebalance.delay.ms": "0",
		"offsets.topic.num.partitions": "2", "transaction.state.log.num.partitions": "2", "log.durability": durability}}
	require.NoError(t, n.start())
	t.Cleanup(func() {
		if n.stop != nil {
			n.stop()
		}
	})
	return n
}

func (n *node) start() error {
	core, err := config.ParseBroker(n.props)
	if err != nil {
		return err
	}
	logger := slog.New(slog.DiscardHandler)
	if os.Getenv("MOLDAU_TEST_LOG") != "" {
		logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	q, err := quorum.Open(quorum.Config{NodeID: 1, Dir: "/metadata", FS: metadataFS{n.disk}, Bootstrap: broker.BootstrapRecords(), Logger: logger})
	if err != nil {
		return fmt.Errorf("open the quorum: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- q.Run(ctx) }()
	b, err := broker.New(broker.Config{Core: core, Quorum: q, LogDir: "/data", FS: n.disk, Log: loglevel.NewSwitch(logger.Handler())})
	if err != nil {
		cancel()
		return err
	}
	sctx, done := context.WithTimeout(ctx, 30*time.Second)
	defer done()
	if err := b.Start(sctx); err != nil {
		cancel()
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.broker = b
	n.stop = func() {
		gone, now := context.WithCancel(context.Background())
		now() // without waiting for anybody
		_ = b.Close(gone)
		_ = q.Close()
		cancel()
		<-ran
	}
	return nil
}

// powerLoss takes the power, and gives it back.
func (n *node) powerLoss() {
	n.mu.Lock()
	n.disk = n.disk.PowerLoss(n.rnd)
	n.broker = nil
	stop := n.stop
	n.stop = nil
	n.mu.Unlock()
	stop()
	require.NoError(n.t, n.start())
}

func (n *node) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	n.mu.Lock()
	b := n.broker
	n.mu.Unlock()
	if b == nil {
		return nil, errors.New("the node is down")
	}
	return b.Dial(ctx, network, b.Addr())
}

func seeds(t testing.TB, name string, otherwise int) int {
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	require.NoError(t, err)
	return n
}

// TestNoHistoryThroughPowerLossesIsWrong has clients send, poll and do both in transactions on a broker whose disk forgets, at random
// moments, whatever was not synced, and judges what they saw by the names of Jepsen's kafka workload.
//
// MOLDAU_SEEDS sets how many histories there are (12), MOLDAU_SEED the first of them.
func TestNoHistoryThroughPowerLossesIsWrong(t *testing.T) {
	first := uint64(seeds(t, "MOLDAU_SEED", int(time.Now().UnixNano()%1_000_000_000)))
	for seed := first; seed < first+uint64(seeds(t, "MOLDAU_SEEDS", 12)); seed++ {
		t.Run(fmt.Sprintf("MOLDAU_SEED=%d", seed), func(t *testing.T) {
			t.Parallel()
			r, err := losePower(t, seed, "fsync")
			require.NoError(t, err)
			require.Empty(t, r.Errors())
		})
	}
}

// TestAnAcknowledgementBeforeTheSyncIsFound has the judge see that it judges: without syncs acknowledged values are lost.
func TestAnAcknowledgementBeforeTheSyncIsFound(t *testing.T) {
	var found []string
	for seed := uint64(1); seed <= 10; seed++ {
		r, err := losePower(t, seed, "os")
		found = append(found, r.Errors()...)
		if err != nil {
			t.Log(err)
		}
		if slices.Contains(found, "lost-write") || slices.Contains(found, "unseen") {
			return
		}
	}
	t.Fatalf("nothing was lost: %v", found)
}

func losePower(t *testing.T, seed uint64, durability string) (*jepsen.Result, error) {
	n := newNode(t, seed, durability)
	rnd := rand.New(rand.NewPCG(seed, 4))
	client := []kgo.Opt{kgo.SeedBrokers("127.0.0.1:9"), kgo.Dialer(n.dial)}
	w := &jepsen.Workload{Client: client, Topic: "judged", Keys: 3, Workers: 4, Ops: 40, Seed: seed, Patience: 2 * time.Second, PollWait: 15 * time.Millisecond}
	cl, err := kgo.NewClient(client...)
	require.NoError(t, err)
	defer cl.Close()
	made, err := kadm.NewClient(cl).CreateTopic(t.Context(), int32(w.Keys), 1, nil, w.Topic)
	require.NoError(t, err)
	require.NoError(t, made.Err)

	history := jepsen.NewHistory()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.Run(t.Context(), history)
	}()
	losses := 0
	for over := false; !over; {
		select {
		case <-ended:
			over = true
		case <-time.After(time.Duration(50+rnd.IntN(300)) * time.Millisecond):
			losses++
			n.powerLoss()
		}
	}
	patience := time.Minute
	if durability != "fsync" {
		patience = 3 * time.Second // what was lost may leave a transaction open for ever
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err = w.Finish(ctx, history)
	r := jepsen.Check(history.Ops(), err == nil)
	t.Logf("%d power losses; %s", losses, r)
	if len(r.Errors()) > 0 {
		var b strings.Builder
		for _, o := range history.Ops() {
			fmt.Fprintln(&b, o)
		}
		file := filepath.Join(os.TempDir(), fmt.Sprintf("history-%d.txt", seed))
		_ = os.WriteFile(file, []byte(b.String()), 0o644)
		t.Logf("the history is in %s", file)
	}
	return r, err
}
