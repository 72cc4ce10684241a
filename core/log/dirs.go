package log

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Dirs are the log directories of a broker (log.dirs). A partition is in one of them; a new one goes where there are the
// fewest. A directory that fails, or could not be opened, is offline: its partitions answer ErrStorage, the others go on.
// All methods are safe for concurrent use.
type Dirs struct {
	all  []*Dir
	opts Options

	mu       sync.Mutex
	cordoned map[string]bool           // get no new partitions
	prefer   map[topicPartition]string // where a partition that does not exist yet is to go
	lost     map[topicPartition]*Log   // on a directory that is offline since the start
	moves    map[topicPartition]*Move
	ctx      context.Context // of Run; moves end with it
	cancel   context.CancelFunc
	moving   sync.WaitGroup
	pace     *pace // of moves
	cleaner  *cleaner
}

// OpenDirs opens log directories. One that cannot be opened is offline; it is an error when all of them cannot, when one is locked by
// another process, or when two are the same.
func OpenDirs(paths []string, opts Options) (*Dirs, error) {
	ds := &Dirs{cordoned: map[string]bool{}, prefer: map[topicPartition]string{}, lost: map[topicPartition]*Log{}, moves: map[topicPartition]*Move{}, pace: newPace()}
	if opts.cleaner == nil {
		opts.cleaner = newCleaner()
	}
	ds.opts, ds.cleaner = opts, opts.cleaner
	ds.ctx, ds.cancel = context.WithCancel(context.Background())
	ds.all = make([]*Dir, len(paths))
	errs := make([]error, len(paths))
	for i, p := range paths {
		if j := slices.IndexFunc(paths, func(q string) bool { return absolute(q) == absolute(p) }); j != i {
			return nil, fmt.Errorf("open log directories: %s is named twice", p)
		}
	}
	var g errgroup.Group
	for i, p := range paths {
		g.Go(func() error {
			ds.all[i], errs[i] = OpenDir(p, opts)
			return nil
		})
	}
	_ = g.Wait()
	online := 0
	for i, err := range errs {
		switch {
		case err == nil:
			online++
		case errors.Is(err, ErrLocked):
			return nil, errors.Join(err, ds.Close())
		default:
			ds.all[i] = offlineDir(paths[i], opts, err)
		}
	}
	if online == 0 {
		return nil, errors.Join(errors.Join(errs...), ds.Close())
	}
	if err := ds.resolve(); err != nil {
		return nil, errors.Join(err, ds.Close())
	}
	return ds, nil
}

// offlineDir stands for a directory that could not be opened.
func offlineDir(path string, opts Options, err error) *Dir {
	opts.setDefaults()
	d := newDir(path, opts)
	_ = d.fail(err)
	return d
}

func absolute(p string) string {
	if a, err := filepath.Abs(p); err == nil {
		return a
	}
	return filepath.Clean(p)
}

// resolve decides about partitions that are in two directories: a crash came at the end of a move, when both are the same, or one is what
// is left of a deleted topic. It begins moves again that a stop interrupted.
func (ds *Dirs) resolve() error {
	have := map[topicPartition]*Log{}
	for _, d := range ds.all {
		for _, l := range d.list() {
			tp := topicPartition{l.topic, l.partition}
			other := have[tp]
			if other == nil {
				have[tp] = l
				continue
			}
			if ds.better(l, other) {
				other, l = l, other
			}
			d.log.Warn("partition is in two directories, one stays", "partition", l.id, "kept", other.d.path, "removed", l.d.path)
			if err := l.d.Delete(l.topic, l.partition); err != nil {
				return err
			}
			have[tp] = other
		}
	}
	for _, d := range ds.all {
		for _, tp := range d.takeFutures() {
			if l := have[tp]; l != nil && l.d != d {
				d.log.Info("a move that was interrupted begins again", "partition", l.id, "from", l.d.path, "to", d.path)
				ds.mu.Lock()
				ds.moves[tp] = newMove(tp, d)
				ds.mu.Unlock()
			}
		}
	}
	return nil
}

// better says which of two logs of one partition is it. One is of a deleted topic of that name when their topic ids differ: it was on a
// directory that was away when the topic was made anew. Otherwise the one that goes further stays, and of two that go as far the one that
// begins later: a crash came before the start of a copy was on disk.
func (ds *Dirs) better(l, than *Log) bool {
	if l.topicID != than.topicID && ds.opts.TopicID != nil {
		if id, ok := ds.opts.TopicID(l.topic); ok && (l.topicID == id || than.topicID == id) {
			return l.topicID == id
		}
	}
	if l.EndOffset() == than.EndOffset() {
		return l.StartOffset() > than.StartOffset()
	}
	return l.EndOffset() > than.EndOffset()
}

// List returns the directories in the order of the configuration, those that are offline as well.
func (ds *Dirs) List() []*Dir { return slices.Clone(ds.all) }

// Offline counts the directories that have failed.
func (ds *Dirs) Offline() int {
	n := 0
	for _, d := range ds.all {
		if d.Err() != nil {
			n++
		}
	}
	return n
}

// Find returns the directory of a path; ok is false when it is not in the configuration.
func (ds *Dirs) Find(path string) (d *Dir, ok bool) {
	i := slices.IndexFunc(ds.all, func(d *Dir) bool { return absolute(d.path) == absolute(path) })
	if i < 0 {
		return nil, false
	}
	return ds.all[i], true
}

// Cordon says which directories get no new partitions (cordoned.log.dirs); "*" is all.
func (ds *Dirs) Cordon(paths []string) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	clear(ds.cordoned)
	for _, d := range ds.all {
		if slices.ContainsFunc(paths, func(p string) bool { return p == "*" || absolute(p) == absolute(d.path) }) {
			ds.cordoned[d.path] = true
		}
	}
}

// Cordoned says whether a directory gets no new partitions.
func (ds *Dirs) Cordoned(d *Dir) bool {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return ds.cordoned[d.path]
}

// Log returns a partition's log, also one on a directory that is offline.
func (ds *Dirs) Log(topic string, partition int32) (*Log, bool) {
	for range 2 { // one that is moved from a later directory to an earlier one may be missed in both
		for _, d := range ds.all {
			if l, ok := d.Log(topic, partition); ok {
				return l, true
			}
		}
	}
	ds.mu.Lock()
	defer ds.mu.Unlock()
	l, ok := ds.lost[topicPartition{topic, partition}]
	return l, ok
}

// Logs lists the partitions of all directories, by topic and number.
func (ds *Dirs) Logs() []*Log {
	var out []*Log
	for _, d := range ds.all {
		out = append(out, d.list()...)
	}
	slices.SortFunc(out, func(a, b *Log) int {
		if c := strings.Compare(a.topic, b.topic); c != 0 {
			return c
		}
		return int(a.partition) - int(b.partition)
	})
	return out
}

// Create makes a partition in the directory that was asked for with Prefer, or in the one with the fewest partitions of those that
// are neither offline nor cordoned. ErrStorage when there is none.
func (ds *Dirs) Create(topic string, partition int32, topicID [16]byte, cfg Config) (*Log, error) {
	tp := topicPartition{topic, partition}
	if _, ok := ds.Log(topic, partition); ok {
		return nil, fmt.Errorf("create partition %s: %w", folderName(topic, partition), ErrExists)
	}
	var tried []*Dir
	for {
		ds.mu.Lock()
		best := ds.place(tp, tried)
		ds.mu.Unlock()
		if best == nil {
			return nil, fmt.Errorf("create partition %s: %w: no log directory is online, with room and not cordoned", folderName(topic, partition), ErrStorage)
		}
		l, err := best.Create(topic, partition, topicID, cfg)
		if errors.Is(err, ErrStorage) && !errors.Is(err, ErrClosed) {
			tried = append(tried, best) // it has just failed, or is full
			continue
		}
		if err == nil {
			ds.mu.Lock()
			delete(ds.prefer, tp)
			ds.mu.Unlock()
		}
		return l, err
	}
}

// place chooses the directory of a new partition, none of those that were tried. Call with mu held.
func (ds *Dirs) place(tp topicPartition, tried []*Dir) *Dir {
	var best *Dir
	least := 0
	for _, d := range ds.all {
		if d.Err() != nil || slices.Contains(tried, d) {
			continue
		}
		if ds.prefer[tp] == d.path {
			return d
		}
		if ds.cordoned[d.path] {
			continue
		}
		if n := d.count(); best == nil || n < least {
			best, least = d, n
		}
	}
	return best
}

// Prefer has a partition that does not exist yet be made in a directory.
func (ds *Dirs) Prefer(topic string, partition int32, d *Dir) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if len(ds.prefer) < maxPreferences {
		ds.prefer[topicPartition{topic, partition}] = d.path
	}
}

// maxPreferences bounds what is remembered of partitions that do not exist.
const maxPreferences = 10_000

// Lost gives a partition that should be here, and is not while a directory is offline, a log that answers ErrStorage: its records may
// be there. ok is false when all directories are online.
func (ds *Dirs) Lost(topic string, partition int32, topicID [16]byte) (l *Log, ok bool) {
	i := slices.IndexFunc(ds.all, func(d *Dir) bool { return d.Err() != nil })
	if i < 0 {
		return nil, false
	}
	d := ds.all[i]
	cfg := DefaultConfig()
	l = d.newLog(topic, partition, &cfg, false)
	l.topicID = topicID
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.lost[topicPartition{topic, partition}] = l
	return l, true
}

// Delete takes a partition out, as Dir.Delete does. One on a directory that has failed is forgotten: its files stay there.
func (ds *Dirs) Delete(topic string, partition int32) error {
	tp := topicPartition{topic, partition}
	ds.CancelMove(topic, partition)
	ds.mu.Lock()
	_, lost := ds.lost[tp]
	delete(ds.lost, tp)
	ds.mu.Unlock()
	if lost {
		return nil
	}
	for _, d := range ds.all {
		if _, ok := d.Log(topic, partition); ok {
			if d.failed.Load() == nil {
				return d.Delete(topic, partition)
			}
			d.forget(tp)
			return nil
		}
	}
	return fmt.Errorf("delete partition %s: %w", folderName(topic, partition), ErrNotFound)
}

// forget takes a partition out of a directory that has failed.
func (d *Dir) forget(tp topicPartition) {
	d.mu.Lock()
	l := d.logs[tp]
	d.take(tp)
	d.mu.Unlock()
	if l != nil {
		_ = l.close()
	}
}

// Run does the housekeeping of all directories until ctx ends.
func (ds *Dirs) Run(ctx context.Context) error {
	var g errgroup.Group
	for _, d := range ds.all {
		g.Go(func() error { return d.Run(ctx) })
	}
	return g.Wait()
}

// Housekeep does everything that Run does, once.
func (ds *Dirs) Housekeep(ctx context.Context) error {
	var err error
	for _, d := range ds.all {
		if d.Err() == nil {
			err = errors.Join(err, d.Housekeep(ctx))
		}
	}
	return err
}

// Close stops moves and closes the directories. Those that are offline release what they hold and are no error.
func (ds *Dirs) Close() error {
	ds.cancel()
	ds.moving.Wait()
	errs := make([]error, len(ds.all))
	var g errgroup.Group
	for i, d := range ds.all {
		if d == nil {
			continue
		}
		g.Go(func() error {
			offline := d.Err() != nil
			if errs[i] = d.Close(); offline {
				errs[i] = nil
			}
			return nil
		})
	}
	_ = g.Wait()
	return errors.Join(errs...)
}

// count is the number of partitions.
func (d *Dir) count() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.logs) + len(d.creating)
}

// futureSuffix ends the name of the folder that a partition is being moved to.
const futureSuffix = "-future"

// maxFolderName is how long the name of a folder may be.
const maxFolderName = 255

// futureName is Kafka's name for that folder: "<topic>-<n>.<32 hex digits>-future", what comes before the dot cut to fit.
func futureName(name string, id [16]byte) string {
	suffix := "." + hex.EncodeToString(id[:]) + futureSuffix
	return name[:min(len(name), maxFolderName-len(suffix))] + suffix
}

// parseFutureName is the inverse of futureName. A name that may have been cut tells of no partition.
func parseFutureName(name string) (tp topicPartition, ok bool) {
	s, ok := strings.CutSuffix(name, futureSuffix)
	if !ok || len(name) >= maxFolderName {
		return tp, false
	}
	i := strings.LastIndexByte(s, '.')
	if i < 0 || len(s)-i-1 != 32 {
		return tp, false
	}
	tp.topic, tp.partition, ok = parseFolderName(s[:i])
	return tp, ok
}

// takeFutures returns the moves that were under way to this directory when it was opened.
func (d *Dir) takeFutures() []topicPartition {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.futures
	d.futures = nil
	return out
}
