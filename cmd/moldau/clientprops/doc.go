// Package clientprops reads Kafka's client properties, the file that Kafka's own tools take as --command-config, and makes franz-go
// options of them: the same file serves kafka-topics.sh and moldau.
//
// What is read: bootstrap and naming, security.protocol, sasl.* (PLAIN, SCRAM, OAUTHBEARER) with sasl.jaas.config, ssl.* in PEM,
// timeouts, and the producer's and consumer's tuning. A key that Kafka knows and this package does not act on is refused by name, and so is
// an unknown one, with the nearest that is known: nothing is ignored in silence.
package clientprops
