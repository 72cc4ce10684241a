package config

import (
	"maps"
	"slices"
)

// storeKeys are the properties of a listener's key and trust store. They can be set for a running listener of one broker, with
// listener.name.NAME. before them (KIP-226).
var storeKeys = []string{
	"ssl.key.password", "ssl.keystore.certificate.chain", "ssl.keystore.key", "ssl.keystore.location", "ssl.keystore.password", "ssl.keystore.type",
	"ssl.truststore.certificates", "ssl.truststore.location", "ssl.truststore.password", "ssl.truststore.type",
}

// storeKey takes the name of such a property apart; ok is false for any other.
func storeKey(full string) (listener string, k *Key, ok bool) {
	listener, mechanism, k := splitListenerKey(full)
	return listener, k, k != nil && mechanism == "" && slices.Contains(storeKeys, k.Name)
}

// ListenerStores are the properties of key and trust stores among what was set for a broker at run time, by the listener's name in capitals and by
// their own.
func ListenerStores(overrides map[string]string) map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, n := range sortedKeys(overrides) {
		if listener, k, ok := storeKey(n); ok {
			if out[listener] == nil {
				out[listener] = map[string]string{}
			}
			out[listener][k.Name] = overrides[n]
		}
	}
	return out
}

// withoutStores parts the overrides of a broker into those of its own keys, and judges those of listeners' stores.
func withoutStores(overrides map[string]string) (map[string]string, error) {
	rest := map[string]string{}
	for _, n := range sortedKeys(overrides) {
		if _, _, ok := storeKey(n); !ok {
			rest[n] = overrides[n]
			continue
		}
		if err := checkListenerKey(n, overrides[n]); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// describeListeners answers DescribeConfigs for the properties of single listeners: those of a broker, its defaults among their synonyms, or what was
// set for all brokers. Kafka says of them that they are read only.
func describeListeners(l Layers, names []string, broker bool) []Entry {
	layers := []struct {
		values map[string]string
		source Source
	}{{l.Broker, SourceBroker}, {l.Cluster, SourceClusterDefault}, {l.Static, SourceStatic}}
	if !broker {
		layers = layers[1:2]
	}
	if names == nil {
		all := map[string]bool{}
		for _, layer := range layers {
			for n := range layer.values {
				all[n] = true
			}
		}
		names = slices.Sorted(maps.Keys(all))
	}
	var out []Entry
	for _, n := range names {
		_, mechanism, k := splitListenerKey(n)
		if k == nil {
			continue
		}
		e := Entry{Name: n, ReadOnly: true, Sensitive: k.Sensitive(), Type: k.Type, Doc: k.Doc}
		forms, set := []string{n, k.Name}, false
		if mechanism != "" {
			forms = forms[:1]
		}
		for _, layer := range layers {
			for _, name := range forms {
				v, ok := layer.values[name]
				if !ok {
					continue
				}
				e.Synonyms = append(e.Synonyms, Synonym{name, shown(k, v), layer.source})
				if name == n && !set {
					e.Value, e.Source, set = shown(k, v), layer.source, true
				}
			}
		}
		if !set {
			continue
		}
		if broker && mechanism == "" && k.Default != nil {
			e.Synonyms = append(e.Synonyms, Synonym{k.Name, shown(k, *k.Default), SourceDefault})
		}
		out = append(out, e)
	}
	return out
}
