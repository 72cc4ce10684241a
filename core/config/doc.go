// Package config is Kafka's property tables: which broker, topic and group configs there are, their types,
// defaults, checks and meanings, how a topic's config follows from the broker's, and what DescribeConfigs
// answers about all of it.
//
// # Keys that are not supported
//
// The tables hold every key that Kafka 4 knows, and three that only moldau knows. A key that moldau does not act
// on yet has [Key.Unsupported] set. Setting it to its default value is allowed, since that describes what
// happens anyway; setting it to anything else is an error that names it. Nothing is ignored in silence.
//
// # Where a value comes from
//
// A topic's value is its own override; or that of the broker property it follows from (retention.ms from
// log.retention.ms), as changed at run time for this broker, for all brokers, or as set in the file; or the
// default. Some broker properties have forms in other units (log.retention.ms, .minutes, .hours): the first
// that is set anywhere counts. [Layers] holds these sources.
package config
