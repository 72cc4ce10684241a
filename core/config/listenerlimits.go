package config

import (
	"fmt"
	"math"
	"slices"
)

// limitKeys are the bounds on a listener's connections. They can be set for a running listener, of one broker or of all, with listener.name.NAME.
// before them (KIP-402, KIP-612).
var limitKeys = []string{"max.connection.creation.rate", "max.connections"}

// limitKey takes the name of such a property apart; ok is false for any other.
func limitKey(full string) (listener string, k *Key, ok bool) {
	listener, mechanism, k := splitListenerKey(full)
	return listener, k, k != nil && mechanism == "" && slices.Contains(limitKeys, k.Name)
}

// ListenerLimit are the bounds on the connections of one listener; math.MaxInt32 where it has none of its own.
type ListenerLimit struct {
	Connections int32
	Rate        int32 // new ones each second
}

// ListenerLimits are the bounds in effect of the listeners that have some, by the listener's name in capitals.
func ListenerLimits(l Layers) map[string]ListenerLimit {
	out := map[string]ListenerLimit{}
	for _, layer := range []map[string]string{l.Static, l.Cluster, l.Broker} {
		for _, n := range sortedKeys(layer) {
			listener, k, ok := limitKey(n)
			if !ok {
				continue
			}
			v, problem := parse(k.Type, layer[n])
			if problem != "" {
				continue // cannot be: values are validated before they are stored
			}
			x, has := out[listener]
			if !has {
				x = ListenerLimit{Connections: math.MaxInt32, Rate: math.MaxInt32}
			}
			if k.Name == "max.connections" {
				x.Connections = int32(v.Int)
			} else {
				x.Rate = int32(v.Int)
			}
			out[listener] = x
		}
	}
	return out
}

// withoutLimits parts the overrides of a broker into those of its own keys, and judges the bounds of listeners.
func withoutLimits(overrides map[string]string) (map[string]string, error) {
	rest := map[string]string{}
	for _, n := range sortedKeys(overrides) {
		_, k, ok := limitKey(n)
		if !ok {
			rest[n] = overrides[n]
			continue
		}
		v, err := k.Parse(overrides[n])
		if err != nil {
			return nil, err
		}
		if v.Int == 0 {
			return nil, noLimit(k.Name)
		}
	}
	return rest, nil
}

// noLimit refuses a bound of zero, with Kafka's text.
func noLimit(key string) error {
	return invalid(fmt.Sprintf("Invalid value org.apache.kafka.common.config.ConfigException: Invalid %s 0 for configuration Invalid dynamic configuration", key))
}
