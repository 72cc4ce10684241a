package log

import (
	"context"
	"time"
)

// Tuning are those of the Options that can change while the directories are open. Zero or less is the default of Options.
type Tuning struct {
	ProducerIDExpiration time.Duration // in effect with the next check
	CleanerBackoff       time.Duration // at once
	CleanerBufferBytes   int64         // of the next compactions
	CleanerThreads       int           // fewer when a compaction ends, more with the next look at what is due
}

// Tune changes what can change while the directories are open.
func (ds *Dirs) Tune(t Tuning) {
	for _, d := range ds.all {
		d.tune(t)
	}
}

func (d *Dir) tune(t Tuning) {
	o := Options{ProducerIDExpiration: t.ProducerIDExpiration, CleanerBackoff: t.CleanerBackoff, CleanerBufferBytes: t.CleanerBufferBytes, CleanerThreads: t.CleanerThreads}
	o.setDefaults()
	t = Tuning{o.ProducerIDExpiration, o.CleanerBackoff, o.CleanerBufferBytes, o.CleanerThreads}
	d.cleaner.setThreads(t.CleanerThreads)
	if old := d.tuning.Swap(&t); old != nil && old.CleanerBackoff != t.CleanerBackoff {
		select {
		case d.tuned <- struct{}{}:
		default:
		}
	}
}

// compactRepeatedly runs fn each time the cleaner's backoff has passed, until ctx ends or the directory is not served any more.
func (d *Dir) compactRepeatedly(ctx context.Context, fn func(context.Context)) {
	t := time.NewTicker(d.tuning.Load().CleanerBackoff)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.tuned:
			t.Reset(d.tuning.Load().CleanerBackoff)
		case <-t.C:
			if d.failure() == nil {
				fn(ctx)
			}
		}
	}
}
