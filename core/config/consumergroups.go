package config

import (
	"fmt"
	"strings"
	"time"
)

// groupBounds are the numbers that a group may have of its own, with the broker's bounds for them, in the order that Kafka judges them in.
var groupBounds = []struct{ key, lower, upper string }{
	{"consumer.heartbeat.interval.ms", "group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"},
	{"consumer.session.timeout.ms", "group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"},
	{"consumer.assignment.interval.ms", "group.consumer.min.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"},
	{"share.heartbeat.interval.ms", "group.share.min.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"},
	{"share.session.timeout.ms", "group.share.min.session.timeout.ms", "group.share.max.session.timeout.ms"},
	{"share.record.lock.duration.ms", "group.share.min.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"},
	{"share.delivery.count.limit", "group.share.min.delivery.count.limit", "group.share.max.delivery.count.limit"},
	{"share.partition.max.record.locks", "group.share.min.partition.max.record.locks", "group.share.max.partition.max.record.locks"},
	{"share.assignment.interval.ms", "group.share.min.assignment.interval.ms", "group.share.max.assignment.interval.ms"},
	{"streams.heartbeat.interval.ms", "group.streams.min.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"},
	{"streams.session.timeout.ms", "group.streams.min.session.timeout.ms", "group.streams.max.session.timeout.ms"},
	{"streams.num.standby.replicas", "", "group.streams.max.standby.replicas"},
	{"streams.assignment.interval.ms", "group.streams.min.assignment.interval.ms", "group.streams.max.assignment.interval.ms"},
}

// checkGroupBounds holds a group's overrides against the broker's bounds, with Kafka's texts.
func checkGroupBounds(overrides, static map[string]string) error {
	broker := func(name string) int64 {
		s, ok := static[name]
		if !ok {
			s = *BrokerKeys.Key(name).Default
		}
		v, _ := parse(Int, s)
		return v.Int
	}
	value := func(name string) int64 {
		if s, ok := overrides[name]; ok {
			v, _ := parse(Int, s)
			return v.Int
		}
		return broker("group." + name)
	}
	for _, b := range groupBounds {
		if _, ok := overrides[b.key]; !ok {
			continue
		}
		switch v := value(b.key); {
		case b.lower != "" && v < broker(b.lower):
			return invalid(fmt.Sprintf("%s must be greater than or equal to %s", b.key, b.lower))
		case v > broker(b.upper):
			return invalid(fmt.Sprintf("%s must be less than or equal to %s", b.key, b.upper))
		}
	}
	if value("consumer.session.timeout.ms") <= value("consumer.heartbeat.interval.ms") {
		return invalid("consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms")
	}
	return nil
}

// checkConsumerGroups holds the properties of consumer groups against each other, with Kafka's texts.
func (b *Broker) checkConsumerGroups() error {
	for _, c := range []struct {
		name             string
		low, value, high time.Duration
	}{
		{"heartbeat.interval.ms", b.GroupConsumerMinHeartbeatInterval, b.GroupConsumerHeartbeatInterval, b.GroupConsumerMaxHeartbeatInterval},
		{"session.timeout.ms", b.GroupConsumerMinSessionTimeout, b.GroupConsumerSessionTimeout, b.GroupConsumerMaxSessionTimeout},
		{"assignment.interval.ms", b.GroupConsumerMinAssignmentInterval, b.GroupConsumerAssignmentInterval, b.GroupConsumerMaxAssignmentInterval},
	} {
		own, low, high := "group.consumer."+c.name, "group.consumer.min."+c.name, "group.consumer.max."+c.name
		switch {
		case c.high < c.low:
			return invalid(fmt.Sprintf("requirement failed: %s must be greater than or equal to %s", high, low))
		case c.value < c.low:
			return invalid(fmt.Sprintf("requirement failed: %s must be greater than or equal to %s", own, low))
		case c.value > c.high:
			return invalid(fmt.Sprintf("requirement failed: %s must be less than or equal to %s", own, high))
		}
	}
	if b.GroupConsumerHeartbeatInterval >= b.GroupConsumerSessionTimeout {
		return invalid("requirement failed: group.consumer.heartbeat.interval.ms must be less than group.consumer.session.timeout.ms")
	}
	if len(b.GroupConsumerAssignors) == 0 {
		return invalid("Invalid value [] for configuration group.consumer.assignors: name at least one of uniform and range")
	}
	for _, a := range b.GroupConsumerAssignors {
		if a != "uniform" && a != "range" {
			return invalid(fmt.Sprintf("Invalid value %s for configuration group.consumer.assignors: moldau has uniform and range, and runs no other", strings.Join(b.GroupConsumerAssignors, ",")))
		}
	}
	return nil
}
