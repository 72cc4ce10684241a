package moldau

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moldau-io/moldau/core/connect"
)

// Confluent's registry has its connection to Kafka configured by properties that begin with "kafkastore."; here they have the names that the section
// connect has for them too.

const kafkastore = "kafkastore."

// kafkastoreKey returns the name without the prefix, if it is one of the connection's.
func kafkastoreKey(name string) (key string, ok bool) {
	key, ok = strings.CutPrefix(name, kafkastore)
	return key, ok && (key == "bootstrap.servers" || connect.IsClientSecurity(key))
}

// withoutKafkastore returns the section with one name for each property of the connection, and addresses without protocols.
func withoutKafkastore(section map[string]string) (map[string]string, error) {
	out := maps.Clone(section)
	for _, name := range slices.Sorted(maps.Keys(section)) {
		key, ok := kafkastoreKey(name)
		if !ok {
			continue
		}
		if other, both := section[key]; both && other != section[name] {
			return nil, fmt.Errorf("registry.%s and registry.%s are set to different values: keep one of them", name, key)
		}
		delete(out, name)
		out[key] = section[name]
	}
	given, ok := section[kafkastore+"bootstrap.servers"]
	if !ok {
		return out, nil
	}
	protocol := out["security.protocol"]
	if protocol == "" {
		protocol = "PLAINTEXT"
	}
	var servers []string
	for s := range strings.SplitSeq(given, ",") {
		s = strings.TrimSpace(s)
		if scheme, address, ok := strings.Cut(s, "://"); ok {
			if !strings.EqualFold(scheme, protocol) {
				return nil, fmt.Errorf("registry.%sbootstrap.servers: %s is not of the protocol %s, which registry.security.protocol says: set that, or leave out the address", kafkastore, s, protocol)
			}
			s = address
		}
		servers = append(servers, s)
	}
	out["bootstrap.servers"] = strings.Join(servers, ",")
	return out, nil
}
