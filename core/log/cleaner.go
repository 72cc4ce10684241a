package log

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"time"
)

// cleaner is what the directories of a broker share to compact their logs: at most so many at a time as log.cleaner.threads says, the dirtiest
// of all directories first, and no more bytes a second than log.cleaner.io.max.bytes.per.second lets be read and written by all of them together.
//
// Each directory offers what is due whenever it has looked, and what it had offered before is forgotten: a compaction that takes hours keeps one worker
// and no other log waiting. A worker goes on for as long as something waits, or until there are to be fewer. What a worker has taken is not due,
// for its log is locked; if it was offered again in between, compacting it finds nothing to do.
type cleaner struct {
	pace *pace

	mu      sync.Mutex
	threads int
	running int
	waiting []dueLog // dirtiest first
}

// dueLog is a log that is dirty enough to be compacted.
type dueLog struct {
	l     *Log
	ratio float64
}

func newCleaner() *cleaner { return &cleaner{pace: newPace(), threads: 1} }

// setThreads says how many logs are compacted at a time. Who is too many ends with its log; more begin with the next offer.
func (c *cleaner) setThreads(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.threads = n
}

// share is what one compaction has of memory that is for all of them.
func (c *cleaner) share(bytes int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes / int64(c.threads)
}

// offer replaces what waits of a directory.
func (c *cleaner) offer(d *Dir, due []dueLog) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(slices.DeleteFunc(c.waiting, func(w dueLog) bool { return w.l.d == d }), due...)
	sortDirtiest(c.waiting)
}

// begin gives a new worker its first log; ok is false when there are to be no more workers.
func (c *cleaner) begin() (l *Log, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running >= c.threads {
		return nil, false
	}
	c.running++
	return c.take()
}

// next gives a worker that is done with a log another; ok is false when it is to end.
func (c *cleaner) next() (l *Log, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running > c.threads {
		c.running--
		return nil, false
	}
	return c.take()
}

// take takes the dirtiest log for a worker that counts as running. Call with mu held.
func (c *cleaner) take() (*Log, bool) {
	if len(c.waiting) == 0 {
		c.running--
		return nil, false
	}
	l := c.waiting[0].l
	c.waiting = slices.Delete(c.waiting, 0, 1)
	return l, true
}

// work compacts l, and then what waits. It returns when it is to end, and soon after ctx has.
func (c *cleaner) work(ctx context.Context, l *Log) {
	worked := map[*Dir]bool{}
	for ok := true; ok; l, ok = c.next() {
		if ctx.Err() != nil || l.d.failure() != nil {
			continue
		}
		worked[l.d] = true
		l.d.logFailure(ctx, "compaction", l.compactDue(ctx))
	}
	for d := range worked {
		d.logFailure(ctx, "compaction", d.checkpointCleaner())
	}
}

func sortDirtiest(logs []dueLog) {
	slices.SortStableFunc(logs, func(a, b dueLog) int { return cmp.Compare(b.ratio, a.ratio) })
}

// logFailure logs that housekeeping failed, unless it was being stopped.
func (d *Dir) logFailure(ctx context.Context, task string, err error) {
	if err != nil && ctx.Err() == nil {
		d.log.Error("housekeeping failed", "task", task, "err", err)
	}
}

// SetCleanerRate bounds how many bytes a second all compactions together read and write, as log.cleaner.io.max.bytes.per.second: what is less than 0
// or no number is no bound, as in Kafka, and with 0 compaction stands still until there is another rate.
func (ds *Dirs) SetCleanerRate(bytes float64) { ds.cleaner.pace.set(cleanerRate(bytes), time.Now()) }

func cleanerRate(bytes float64) int64 {
	switch {
	case bytes == 0:
		return 0
	case !(bytes > 0), bytes >= math.MaxInt64:
		return math.MaxInt64
	}
	return max(1, int64(bytes))
}
