package story

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/stretchr/testify/require"
)

var built struct {
	sync.Once
	dir, bin string
	err      error
}

func TestMain(m *testing.M) {
	code := m.Run()
	servers.StopShared()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// hubBinary builds the hub once for all stories of this package, or takes the one that MOLDAU_BIN names.
func hubBinary(t *testing.T) string {
	t.Helper()
	built.Do(func() {
		if built.bin = os.Getenv("MOLDAU_BIN"); built.bin != "" {
			return
		}
		if built.dir, built.err = os.MkdirTemp("", "moldau-bin-"); built.err == nil {
			built.bin, built.err = BuildHub(context.Background(), built.dir)
		}
	})
	require.NoError(t, built.err)
	return built.bin
}

// startHub starts a hub that ends with the test; a failed test prints the end of its log.
func startHub(t *testing.T, change ...func(*Hub)) *Hub {
	t.Helper()
	h := &Hub{Bin: hubBinary(t), Dir: t.TempDir(), Set: []string{"broker.group.initial.rebalance.delay.ms=0"}}
	for _, c := range change {
		c(h)
	}
	t.Cleanup(func() {
		if err := h.Stop(); err != nil {
			t.Errorf("stop the hub: %v", err)
		}
		if t.Failed() {
			t.Logf("the hub's log ends with:\n%s", h.Tail())
			if keep := os.Getenv("MOLDAU_KEEP_LOGS"); keep != "" {
				if b, err := os.ReadFile(h.LogFile()); err == nil {
					_ = os.WriteFile(filepath.Join(keep, strings.ReplaceAll(t.Name(), "/", "-")+".log"), b, 0o644)
				}
			}
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, h.Start(ctx))
	return h
}

// eventually polls until f returns nil, and fails with its last error.
func eventually(t *testing.T, limit time.Duration, f func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var err error
	var said time.Time
	for {
		last := err
		if err = f(ctx); err == nil {
			return
		}
		if ctx.Err() != nil && last != nil {
			err = last // the last one that was not cut short
		}
		if time.Since(said) > 10*time.Second {
			said = time.Now()
			t.Logf("still waiting: %v", err)
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not within %s: %v", limit, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func scratch(t *testing.T, name, text string) string {
	t.Helper()
	f := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(f, []byte(text), 0o644))
	return f
}

func lines(n int, prefix string) string {
	s := ""
	for i := range n {
		s += fmt.Sprintf("%s-%d\n", prefix, i)
	}
	return s
}
