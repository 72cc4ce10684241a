// Package story holds what the demo and the end-to-end tests tell their stories with: a hub running as a process of its own, a REST
// client for its connectors, tables with a workload, and readers that bring rows back from PostgreSQL, MySQL, S3 objects and search
// indices in one canonical text form, so that a source and its sinks can be compared row by row.
//
// Nothing here uses the hub's own packages: the hub is a binary behind its public interfaces, and objects are read with libraries
// that did not write them where there is one.
package story
