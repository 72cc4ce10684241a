package broker

import (
	"context"
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/moldau-io/moldau/core/config"
	"github.com/moldau-io/moldau/core/server"
)

// connectionLimits are max.connections, of all and of single listeners, max.connections.per.ip and its overrides.
func (b *Broker) connectionLimits(c *config.Broker, listeners map[string]config.ListenerLimit) server.Limits {
	l := server.Limits{Connections: b.maxConnections(int(c.MaxConnections)), PerIP: int(c.MaxConnectionsPerIP), PerListener: map[string]int{}}
	if b.namesInterBroker() && b.listenersForClients() > 1 && l.Connections == int(c.MaxConnections) {
		// The broker's bound is for the others; the inter-broker listener is held to as many by itself (KIP-402). Kafka does so for the listener that
		// it takes by default, too; here somebody must have named it, since whoever floods it closes the connections of the others. The bound that
		// keeps files for the log is for all in any case.
		l.Spared = b.cfg.Core.InterBrokerListenerName
		l.PerListener[l.Spared] = l.Connections
	}
	for name, x := range listeners {
		if x.Connections < math.MaxInt32 {
			l.PerListener[name] = b.maxConnections(int(x.Connections))
		}
	}
	overrides, err := config.PerIPOverrides(c.MaxConnectionsPerIPOverrides)
	if err != nil || len(overrides) == 0 {
		if l.PerIP == math.MaxInt32 {
			l.PerIP = 0
		}
		return l // overrides were validated before they were stored
	}
	l.PerIPOf = map[string]int{}
	for host, n := range overrides {
		for _, a := range b.addressesOf(host) {
			l.PerIPOf[a] = n
		}
	}
	return l
}

// namesInterBroker says whether the configuration names the inter-broker listener.
func (b *Broker) namesInterBroker() bool {
	_, name := b.cfg.Core.Static["inter.broker.listener.name"]
	_, protocol := b.cfg.Core.Static["security.inter.broker.protocol"]
	return name || protocol
}

// listenersForClients is how many listeners there are beside those of the quorum.
func (b *Broker) listenersForClients() (n int) {
	for _, e := range b.cfg.Core.Listeners {
		if !b.set.controllerListeners[e.Name] {
			n++
		}
	}
	return n
}

// hostTimeout bounds a look-up of a host's name: changes of the metadata wait for it.
const hostTimeout = 2 * time.Second

// addressesOf are the addresses of a host, in the form in which connections name them.
func (b *Broker) addressesOf(host string) []string {
	if a, err := netip.ParseAddr(host); err == nil {
		return []string{a.Unmap().String()}
	}
	ctx, cancel := context.WithTimeout(context.Background(), hostTimeout)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		b.log.Error("a host of max.connections.per.ip.overrides is not known, its number does not count", "host", host, "error", err)
	}
	out := make([]string, 0, len(found))
	for _, a := range found {
		out = append(out, a.Unmap().String())
	}
	return out
}
