// Package file reads the hub's settings: one YAML file with a section for each role, properties files of
// single sections, the environment, and flags.
//
// # The file
//
//	broker:
//	  num.partitions: 4
//	  log:
//	    retention.hours: 24        # the same as log.retention.hours
//	  listeners: [PLAINTEXT://127.0.0.1:9092, INTERNAL://10.0.0.1:9094]
//	connect:
//	  group.id: connect-cluster
//
// Sections hold Kafka's, the registry's and Connect's own property names. Nested maps are joined by dots, so both
// notations can be mixed; a key that is given twice is an error. Lists are joined by commas. Scalars
// keep the text they are written with. A value of null, an anchor, an alias or a second document is an error.
//
// # Properties files
//
// --properties broker=server.properties reads the keys of one section from a file in Java's format, as Kafka, Connect and the registry
// are started with. What the YAML file sets as well is an error.
//
// # The environment
//
// MOLDAU_<SECTION>_<KEY> sets a key: in capitals, with "_" for ".", "__" for "_" and "___" for "-". So
// MOLDAU_BROKER_NUM_PARTITIONS is broker.num.partitions. Variables that begin with MOLDAU_ and no section are not
// settings, and are left alone.
//
// # Flags
//
// --set SECTION.KEY=VALUE, as in --set broker.num.partitions=4. The value may be empty and may hold "=".
//
// # Precedence
//
// A flag wins over the environment, that over the files, that over the default of whoever owns the key. Keys that
// the section does not know are errors with a suggestion. All errors are reported, not the first only.
package file
