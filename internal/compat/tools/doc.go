// Package tools runs Apache Kafka's own command-line tools, the classes behind kafka-*.sh, against the hub and against Apache Kafka with the same
// script of operations, and compares what they print.
//
//	harness.go     one JVM that runs main classes one after the other (Harness.java)
//	script.go      the operations, and why an output differs where it does
//	normalise.go   what is taken out before outputs are compared: ids, times, addresses, figures
//	page.go        docs/compatibility-tools.md, from the script
//
// A step whose outputs differ without a reason fails the test, and so does a reason for a step whose outputs do not differ any more.
package tools
