package log

import (
	"fmt"
	"time"
)

// groupFS is an FS that can make many files durable with one call.
type groupFS interface {
	// OpenGroup returns nil where files are better synced one by one.
	OpenGroup(name string) (fileGroup, error)
}

// fileGroup is what is in a directory and below.
type fileGroup interface {
	// Sync makes everything durable that was written before the call. An error may be about files of others.
	Sync() error
	// Check returns what went wrong with a file when it was last synced, by Sync too.
	Check(f File) error
	// Worthwhile says whether so little of others waits to be written that Sync costs less than some files one by one.
	Worthwhile() bool
	Close() error
}

// groupFrom is how many logs must wait for their sync before they are synced together.
const groupFrom = 4

// syncGroup syncs the logs in s.grouped together. Where that fails each is synced for itself: whose fault it was shows then.
func (s *syncer) syncGroup() {
	s.runs = s.runs[:0]
	late := s.grouped[:0]
	work := false
	for _, l := range s.grouped {
		if !l.tryHoldSyncs() { // somebody syncs it already
			late = append(late, l)
			continue
		}
		l.queued.Store(false) // from here on, appends queue the log again
		r, _, err := l.beginSync(true)
		if err != nil {
			l.letSyncs()
			continue
		}
		s.runs = append(s.runs, r)
		work = work || !r.nothing()
	}
	var err error
	if work {
		began := time.Now()
		err = s.group.Sync()
		if s.d.opts.OnSync != nil {
			s.d.opts.OnSync(time.Since(began), err)
		}
	}
	for i := range s.runs {
		r := &s.runs[i]
		l := r.l
		_ = l.endSync(r, l.settleRun(r, err)) // a failure fails the directory and everyone who waits
		l.letSyncs()
	}
	for _, l := range late {
		_ = l.syncInTurn()
	}
	clear(s.grouped)
	clear(s.runs)
}

// settleRun returns what a sync of the group, which ended with err, means for one log.
func (l *Log) settleRun(r *syncRun, err error) error {
	switch {
	case r.nothing():
		return nil
	case err != nil:
		return l.syncFiles(r)
	}
	for _, df := range r.files {
		if err := l.d.syncer.group.Check(df.f); err != nil {
			return fmt.Errorf("sync %s: %w", df.s.path(suffixLog), err)
		}
	}
	return nil
}
