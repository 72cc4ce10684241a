package broker

import (
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau-io/moldau/core/config"
	"github.com/moldau-io/moldau/core/metadata"
)

// Key and trust stores of running listeners (KIP-226): listener.name.NAME.ssl.keystore.location and its like can be set for this broker. The broker
// that is asked tries them before they are stored; when they are, new handshakes see them.

// listenerStores are the properties of stores that were set for this broker, by listener.
func (b *Broker) listenerStores(im *metadata.Image) map[string]map[string]string {
	return config.ListenerStores(im.Configs(metadata.BrokerResource, b.brokerName()))
}

// followStores puts in place what the image says of the stores, when it says something new.
func (b *Broker) followStores(im *metadata.Image, d metadata.Delta) {
	if !slices.Contains(d.Configs, metadata.ConfigResource{Type: metadata.BrokerResource, Name: b.brokerName()}) {
		return
	}
	set := b.listenerStores(im)
	for name, l := range b.security {
		if err := l.SetStores(set[name]); err != nil {
			b.log.Error("the key or trust store that was set cannot be used; the one before stays in force", "listener", name, "error", err)
		}
	}
}

// checkStores judges what a change of this broker's configs makes of the listeners' stores. What cannot be changed at all is left to the decision.
func (b *Broker) checkStores(res metadata.ConfigResource, keys []string, next map[string]string) error {
	changeable := config.ValidateBrokerUpdate(keys, false) == nil
	if res.Type != metadata.BrokerResource || res.Name == "" || !changeable {
		return nil
	}
	now, then := b.listenerStores(b.image()), config.ListenerStores(next)
	for name := range config.ListenerLimits(config.Layers{Broker: next}) {
		if b.security[name] == nil {
			return &metadata.Error{Code: kerr.InvalidRequest.Code, Message: fmt.Sprintf("The limits of the listener %s cannot be set: this broker has no such listener", name)}
		}
	}
	for name := range then {
		if b.security[name] == nil {
			return &metadata.Error{Code: kerr.InvalidRequest.Code, Message: fmt.Sprintf("The key store of the listener %s cannot be set: this broker has no such listener", name)}
		}
	}
	for name, l := range b.security {
		if maps.Equal(now[name], then[name]) {
			continue
		}
		if err := l.CheckStores(then[name]); err != nil {
			return &metadata.Error{
				Code:    kerr.InvalidRequest.Code,
				Message: fmt.Sprintf("Invalid value org.apache.kafka.common.config.ConfigException: Validation of dynamic config update of SSLFactory failed: %s for configuration Invalid dynamic configuration", err),
			}
		}
	}
	return nil
}

// altered is what operations make of this broker's configs, as far as they are no lists.
func (b *Broker) altered(res metadata.ConfigResource, ops []metadata.ConfigOp) map[string]string {
	next := map[string]string{}
	maps.Copy(next, b.image().Configs(res.Type, res.Name))
	for _, o := range ops {
		switch {
		case o.Op == metadata.OpDelete:
			delete(next, o.Key)
		case o.Op == metadata.OpSet && o.Value != nil:
			next[o.Key] = *o.Value
		}
	}
	return next
}
