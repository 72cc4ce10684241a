package connecttest

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Wire is a way to a cluster that can be cut: what was sent is sent, and nothing comes or goes any more. With it a test makes a worker
// end as a killed process does.
type Wire struct {
	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
}

// Opt makes clients go through the wire.
func (w *Wire) Opt() kgo.Opt {
	d := &net.Dialer{}
	return kgo.Dialer(func(ctx context.Context, network, host string) (net.Conn, error) {
		c, err := d.DialContext(ctx, network, host)
		if err != nil {
			return nil, err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.cut {
			_ = c.Close()
			return nil, errors.New("the wire is cut")
		}
		if w.conns == nil {
			w.conns = map[net.Conn]struct{}{}
		}
		w.conns[c] = struct{}{}
		return c, nil
	})
}

// Break closes all connections once: what was under way is lost, or its answer is.
func (w *Wire) Break() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		_ = c.Close()
	}
	clear(w.conns)
}

// Cut cuts it for good.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for c := range w.conns {
		_ = c.Close()
	}
}
