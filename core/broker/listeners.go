package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/moldau-io/moldau/core/metadata"
)

// MemoryListenerName is the name of the listener behind Broker.Dial.
const MemoryListenerName = "MEMORY"

// boundListener is one listener that is open.
type boundListener struct {
	name       string
	l          net.Listener
	advertised *metadata.Listener // nil when clients are not told of it
	stop       context.CancelFunc
	ctx        context.Context
}

// listenCtx ends when the broker stops accepting.
func (b *Broker) listenCtx() context.Context { return b.ctx }

// listen binds all listeners. Nothing is accepted before serve.
func (b *Broker) listen(ctx context.Context) error {
	var lc net.ListenConfig
	for _, e := range b.cfg.Core.Listeners {
		if b.set.controllerListeners[e.Name] {
			continue // the quorum's own
		}
		l, err := b.bind(ctx, lc, net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port))))
		if err != nil {
			return fmt.Errorf("listen on %s: %w", e, err)
		}
		if n := b.set.listenBacklog; n > 0 {
			if err := setBacklog(l, n); err != nil {
				_ = l.Close()
				return fmt.Errorf("listen on %s with socket.listen.backlog.size=%d: %w", e, n, err)
			}
		}
		bl := boundListener{name: e.Name, l: l}
		bl.ctx, bl.stop = context.WithCancel(b.ctx)
		port := uint16(l.Addr().(*net.TCPAddr).Port)
		for _, a := range b.cfg.Core.Advertised {
			if a.Name != e.Name {
				continue
			}
			adv := metadata.Listener{Name: a.Name, Host: a.Host, Port: a.Port, SecurityProtocol: securityProtocols[a.Protocol]}
			if adv.Host == "" {
				adv.Host = hostname()
			}
			if adv.Port == 0 {
				adv.Port = port
			}
			bl.advertised = &adv
		}
		b.listeners = append(b.listeners, bl)
	}
	if len(b.listeners) == 0 {
		return errors.New("listeners names no listener for clients")
	}
	bl := boundListener{name: MemoryListenerName, l: b.memory}
	bl.ctx, bl.stop = context.WithCancel(b.ctx)
	b.listeners = append(b.listeners, bl)
	return nil
}

// bind waits a little for a port that an earlier process is just giving up.
func (b *Broker) bind(ctx context.Context, lc net.ListenConfig, addr string) (net.Listener, error) {
	for wait := 20 * time.Millisecond; ; wait *= 2 {
		l, err := lc.Listen(ctx, "tcp", addr)
		if err == nil || wait > time.Second || ctx.Err() != nil {
			return l, err
		}
		time.Sleep(wait)
	}
}

// serve accepts on all listeners.
func (b *Broker) serve() {
	for i := range b.listeners {
		bl := b.listeners[i]
		b.serving.Add(1)
		go func() {
			defer b.serving.Done()
			if err := b.server.ServeListener(bl.ctx, bl.l, b.listenerOptions(bl.name)); err != nil {
				select {
				case b.failed <- fmt.Errorf("listener %s: %w", bl.name, err):
				default:
				}
			}
		}()
	}
}

// Addr is the address that the first listener for clients is advertised at, host:port. It is empty before Start.
func (b *Broker) Addr() string {
	for i := range b.listeners {
		if a := b.listeners[i].advertised; a != nil {
			return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
		}
	}
	return ""
}

// ListenerAddr is the address a listener is advertised at, by its name; empty when there is none.
func (b *Broker) ListenerAddr(name string) string {
	for i := range b.listeners {
		if a := b.listeners[i].advertised; a != nil && a.Name == name {
			return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
		}
	}
	return ""
}

// isOwn says whether an address is one this broker is advertised at.
func (b *Broker) isOwn(address string) bool {
	for i := range b.listeners {
		if a := b.listeners[i].advertised; a != nil && net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port))) == address {
			return true
		}
	}
	return false
}

// securityProtocols are Kafka's numbers.
var securityProtocols = map[string]int16{"PLAINTEXT": 0, "SSL": 1, "SASL_PLAINTEXT": 2, "SASL_SSL": 3}
