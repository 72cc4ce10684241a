package log

import (
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"
)

// A settlement collects what many partitions have to make durable, so that it is done together: opening and closing a directory
// of ten thousand partitions is bound by syncs, and a sync costs the same whether it carries one file or all of them. What is
// settled must be in no order among itself; an order (a file before its name) is two settlements, one after the other.
type settlement struct {
	d *Dir

	mu    sync.Mutex
	files []string
	dirs  map[string]bool
}

// treeSyncer is an FS that can make everything in a directory and below durable at once. done is false when it cannot do that here.
type treeSyncer interface {
	SyncTree(name string) (done bool, err error)
}

// treeSyncFrom is how many syncs a settlement must hold before the whole file system is synced instead: that also writes what others have
// left there.
const treeSyncFrom = 64

func newSettlement(d *Dir) *settlement { return &settlement{d: d, dirs: map[string]bool{}} }

// file has a file synced; one that is gone by then is none.
func (s *settlement) file(name string) {
	s.mu.Lock()
	s.files = append(s.files, name)
	s.mu.Unlock()
}

// dir has the entries of a directory synced, after the files.
func (s *settlement) dir(name string) {
	s.mu.Lock()
	s.dirs[name] = true
	s.mu.Unlock()
}

// commit syncs what was collected.
func (s *settlement) commit() error {
	n := len(s.files) + len(s.dirs)
	if n == 0 {
		return nil
	}
	if ts, ok := s.d.fs.(treeSyncer); ok && n >= s.d.opts.treeSyncFrom {
		if done, err := ts.SyncTree(s.d.path); done || err != nil {
			return err
		}
	}
	var g errgroup.Group
	g.SetLimit(s.d.opts.SyncWorkers)
	for _, name := range s.files {
		g.Go(func() error { return syncFile(s.d.fs, name) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var dirs errgroup.Group
	dirs.SetLimit(s.d.opts.SyncWorkers)
	for name := range s.dirs {
		dirs.Go(func() error { return s.d.fs.SyncDir(name) })
	}
	return dirs.Wait()
}

// each calls fn for each log, several at a time, and returns all errors.
func (d *Dir) each(logs []*Log, workers int, fn func(i int, l *Log) error) error {
	var g errgroup.Group
	g.SetLimit(workers)
	errs := make([]error, len(logs))
	for i, l := range logs {
		g.Go(func() error {
			errs[i] = fn(i, l)
			return nil
		})
	}
	_ = g.Wait()
	return errors.Join(errs...)
}
