// Package mysql captures row changes of a MySQL or MariaDB server from its binlog: Debezium's MySQL and MariaDB connectors, with their
// configuration, events and offsets.
package mysql
