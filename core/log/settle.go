package log

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"
)

// A settlement collects what many partitions have to make durable, so that it is done together: opening and closing a directory
// of ten thousand partitions is bound by syncs, as is a checkpoint of them, and a sync costs much the same whether it carries one file or all of them. Contents
// come first, then temporary files get their names, then folders are synced; within each of the three there is no order.
type settlement struct {
	d    *Dir
	what string // what it is for: "open", "close", "checkpoint"

	mu      sync.Mutex
	files   []string
	open    []dirtyFile
	renames []string
	dirs    map[string]bool
}

// treeSyncer is an FS that can make everything in a directory and below durable at once. done is false when it cannot do that here.
type treeSyncer interface {
	SyncTree(name string) (done bool, err error)
}

// treeSyncFrom is how many syncs there must be before the whole file system is synced instead: that also writes what others have
// left there.
const treeSyncFrom = 64

func newSettlement(d *Dir, what string) *settlement {
	return &settlement{d: d, what: what, dirs: map[string]bool{}}
}

// file has a file synced; one that is gone by then is none.
func (s *settlement) file(name string) {
	s.mu.Lock()
	s.files = append(s.files, name)
	s.mu.Unlock()
}

// written has a file synced that is open and was written to: only that one is sure to tell of all that went wrong.
func (s *settlement) written(df dirtyFile) {
	s.mu.Lock()
	s.open = append(s.open, df)
	s.mu.Unlock()
}

// dir has the entries of a directory synced.
func (s *settlement) dir(name string) {
	s.mu.Lock()
	s.dirs[name] = true
	s.mu.Unlock()
}

// replace has a temporary file, which was written, synced and then put in place of name. The caller sees to the folder.
func (s *settlement) replace(name string) {
	s.mu.Lock()
	s.files = append(s.files, name+suffixTmp)
	s.renames = append(s.renames, name)
	s.mu.Unlock()
}

// put has a file hold p, replacing it at once. The caller sees to the folder, also when the file was like that before: its name may not
// be durable.
func (s *settlement) put(name string, p []byte) error {
	if s.has(name, p) {
		s.file(name)
		return nil
	}
	if err := writeFile(s.d.fs, name+suffixTmp, p, false); err != nil {
		return err
	}
	s.replace(name)
	return nil
}

// overwrite is put in place: a crash may leave any part of it, which must not be believed then.
func (s *settlement) overwrite(name string, p []byte) error {
	s.file(name)
	if s.has(name, p) {
		return nil
	}
	return writeFile(s.d.fs, name, p, false)
}

// has says whether a file holds p, on disk or not.
func (s *settlement) has(name string, p []byte) bool {
	old, err := readFile(s.d.fs, name, int64(len(p)))
	return err == nil && bytes.Equal(old, p)
}

// commit makes it all durable.
func (s *settlement) commit() error {
	if fn := s.d.opts.settling; fn != nil {
		fn(s.what)
		defer fn("")
	}
	tree, err := s.tree(len(s.files) + len(s.open) + len(s.dirs))
	if err != nil {
		return err
	}
	if !tree {
		if err := s.all(s.files, func(name string) error { return syncFile(s.d.fs, name) }); err != nil {
			return err
		}
	}
	var g errgroup.Group
	g.SetLimit(s.d.opts.SyncWorkers)
	for _, df := range s.open {
		g.Go(func() error {
			if err := df.f.Sync(); err != nil {
				return fmt.Errorf("sync %s: %w", df.s.path(suffixLog), err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	err = s.all(s.renames, func(name string) error {
		return s.unlessGone(filepath.Dir(name), s.d.fs.Rename(name+suffixTmp, name))
	})
	if err != nil {
		return err
	}
	if tree && len(s.renames) == 0 {
		return nil
	}
	if tree, err = s.tree(len(s.dirs)); tree || err != nil {
		return err
	}
	dirs := make([]string, 0, len(s.dirs))
	for name := range s.dirs {
		dirs = append(dirs, name)
	}
	return s.all(dirs, func(name string) error { return s.unlessGone(name, s.d.fs.SyncDir(name)) })
}

// unlessGone is err, but nil when it comes from the folder being gone: its partition was deleted during a checkpoint.
func (s *settlement) unlessGone(dir string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		if _, serr := s.d.fs.Stat(dir); errors.Is(serr, fs.ErrNotExist) {
			return nil
		}
	}
	return err
}

// tree syncs the whole file system if that pays for n syncs, but not for a checkpoint when records are left to the operating system:
// once a minute all of them would be written.
func (s *settlement) tree(n int) (done bool, err error) {
	if s.what == "checkpoint" && s.d.opts.Durability == DurabilityOS {
		return false, nil
	}
	if ts, ok := s.d.fs.(treeSyncer); ok && n >= s.d.opts.treeSyncFrom {
		return ts.SyncTree(s.d.path)
	}
	return false, nil
}

// all calls fn for each name, several at a time.
func (s *settlement) all(names []string, fn func(string) error) error {
	var g errgroup.Group
	g.SetLimit(s.d.opts.SyncWorkers)
	for _, name := range names {
		g.Go(func() error { return fn(name) })
	}
	return g.Wait()
}

// each calls fn for each log, several at a time, and returns all errors.
func (d *Dir) each(logs []*Log, fn func(i int, l *Log) error) error {
	var g errgroup.Group
	g.SetLimit(d.opts.SyncWorkers)
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
