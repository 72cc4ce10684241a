// Package cli is moldau's command line: one file a noun (topic, group, acl, ...), all on franz-go against any Kafka.
//
// Every command answers on stdout, as a table for people or with --json as one JSON document whose shape is stable: lists are sorted and never
// null. What went wrong goes to stderr, with --json as a document too. The exit code tells the kind:
//
//	0    done
//	1    the operation failed, or a check found damage
//	2    usage: a flag, an argument or a file that is not right; nothing was sent
//	3    what was named does not exist (topic, partition, group, user, connector, subject)
//	4    what should be created is there already
//	5    the cluster does not answer in time
//	6    not authenticated or not authorised
//	130  interrupted
//
// The kinds of several failures in one command add up to 1 unless they are all of one kind.
package cli
