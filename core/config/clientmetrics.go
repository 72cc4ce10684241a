package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ClientMetricsKeys are the configs of a subscription to clients' metrics (KIP-714). They are kept and listed; as on a Kafka without a telemetry
// receiver no client is told of them.
var ClientMetricsKeys = newTable("client metrics", []Key{
	{Name: "interval.ms", Type: Int, Default: text("300000"), Importance: Medium, Doc: "How often clients push the metrics, in milliseconds."},
	{Name: "match", Type: List, Default: text(""), Check: noneEmpty, Importance: Medium,
		Doc: "Which clients push them: what=pattern, where what is one of " + strings.Join(clientMatches, ", ") + ". A client must match all; none means that all clients do."},
	{Name: "metrics", Type: List, Default: text(""), Check: noneEmpty, Importance: Medium,
		Doc: "The metrics that are subscribed to, by the beginnings of their names. * means all of them."},
})

// clientMatches are what a client can be known by.
var clientMatches = []string{"client_id", "client_instance_id", "client_software_name", "client_software_version", "client_source_address", "client_source_port"}

const minPushMs, maxPushMs = 100, 3_600_000

// RequestError is a refused config for which Kafka blames the request (INVALID_REQUEST), not the value (INVALID_CONFIG).
type RequestError struct{ Message string }

// Error implements error.
func (e *RequestError) Error() string { return e.Message }

// ValidateClientMetrics judges all that is set for a subscription to clients' metrics, with Kafka's texts. pattern judges a regular expression in
// Java's syntax; its errors that are [errors.ErrUnsupported] are of patterns that Java has and that cannot be run here, which nothing does.
func ValidateClientMetrics(overrides map[string]string, pattern func(string) error) error {
	for _, n := range sortedKeys(overrides) {
		if ClientMetricsKeys.Key(n) == nil {
			return &RequestError{"Unknown client metrics configuration: " + n}
		}
	}
	values := map[string]Value{}
	for _, n := range []string{"metrics", "interval.ms", "match"} { // in this order by Kafka
		s, ok := overrides[n]
		if !ok {
			continue
		}
		v, err := ClientMetricsKeys.Key(n).Parse(s)
		if err != nil {
			return err
		}
		values[n] = v
	}
	if v, ok := values["interval.ms"]; ok && (v.Int < minPushMs || v.Int > maxPushMs) {
		return &RequestError{fmt.Sprintf("Invalid value %d for interval.ms, interval must be between %d and %d (1 hour)", v.Int, minPushMs, maxPushMs)}
	}
	for _, m := range values["match"].List {
		if !validMatch(m, pattern) {
			return invalid("Illegal client matching pattern: " + m)
		}
	}
	return nil
}

// validMatch judges what=pattern. As when Java splits a text, what is behind the last of the signs does not count when it is empty.
func validMatch(m string, pattern func(string) error) bool {
	what, expr, ok := strings.Cut(strings.TrimRight(m, "="), "=")
	if !ok || strings.Contains(expr, "=") || !slices.Contains(clientMatches, strings.TrimSpace(what)) {
		return false
	}
	err := pattern(strings.TrimSpace(expr))
	return err == nil || errors.Is(err, errors.ErrUnsupported)
}

// DescribeClientMetrics answers DescribeConfigs for a subscription with these overrides: the named keys, or all when names is nil.
func DescribeClientMetrics(overrides map[string]string, names []string) []Entry {
	return describe(ClientMetricsKeys, names, func(k *Key) Entry {
		if s, ok := overrides[k.Name]; ok {
			v := shown(k, s)
			return Entry{Value: v, Source: SourceClientMetrics, Synonyms: []Synonym{{k.Name, v, SourceClientMetrics}}}
		}
		return Entry{Value: shown(k, *k.Default), Source: SourceDefault}
	})
}
