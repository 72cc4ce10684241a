package broker

import "math"

// A connection is an open file, and so is every segment that is written to. A log directory whose files cannot be opened has failed, so
// connections must never take the last ones.

// fileReserve is how many open files are kept for the log, or half of all where there are few.
const fileReserve = 4096

// connectionBound is max.connections, or less where the process may not have as many files open.
func connectionBound(configured, files int) int {
	bound := max(files-min(files/2, fileReserve), 16)
	if configured > 0 {
		bound = min(bound, configured)
	}
	return bound
}

// maxStrangers is how many connections may not have authenticated, or sent nothing: so many that half of the places are for those who have,
// and no fewer than may come at once and mean well.
func maxStrangers(connections int) int { return min(10_000, max(connections/2, 100)) }

// maxConnections is connectionBound for this process, which was asked to take c.
func (b *Broker) maxConnections(c int) int {
	n := connectionBound(c, openFilesLimit())
	if c > n && c < math.MaxInt32 {
		b.log.Warn("max.connections is more than the limit of open files allows", "max.connections", c, "allowed", n)
	}
	return n
}
