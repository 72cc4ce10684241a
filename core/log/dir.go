package log

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// Dir is an open log directory. All methods are safe for concurrent use.
type Dir struct {
	path   string
	fs     FS
	opts   Options
	log    *slog.Logger
	now    func() time.Time
	lock   io.Closer
	syncer *syncer

	files      clock        // open sealed segments
	pinned     atomic.Int64 // files that are open to be written to
	beside     bool         // two syncs of a file may run at the same time
	zeroers    atomic.Int64 // how many logs zeros are being written ahead in
	zeroing    sync.WaitGroup
	indexes    clock // indexes of sealed segments in memory
	decompress chan struct{}

	tuning atomic.Pointer[Tuning]
	tuned  chan struct{} // has room for one: the cleaner's backoff may have changed

	cleaner *cleaner // shared with the other directories

	failed  atomic.Pointer[error]
	noSpace atomic.Bool // the last write found the disk full

	mu        sync.RWMutex
	logs      map[topicPartition]*Log
	sorted    []*Log                  // of logs; nil when it has to be made
	creating  map[topicPartition]bool // or being deleted: the folder is in use
	closed    bool
	corrupted []*CorruptionError
	futures   []topicPartition // moves to here that were under way when it was opened

	trash trash

	checkpointMu sync.Mutex // one writer of the directory's checkpoints at a time
	checkpointed bool       // by Close: for the last time
	recoveryFile map[topicPartition]int64
	cleanerFile  map[topicPartition]int64
	// unforgotten are partitions that are gone and could not be taken out of the checkpoints.
	unforgotten map[topicPartition]bool

	clean       bool
	prevEpoch   int64
	brokerEpoch atomic.Int64
	metaMu      sync.Mutex
}

// deleteSuffix ends the name of the folder of a deleted partition.
const deleteSuffix = "-delete"

// OpenDir opens a log directory, creating it when it is absent: it locks it against other processes, loads every
// partition folder ("<topic>-<n>"), several at a time, and recovers them when the last close was not orderly. ErrLocked when
// another process has it open. An I/O error fails the opening; damage in a log does not: see Corruptions.
func OpenDir(path string, opts Options) (*Dir, error) {
	opts.setDefaults()
	d := newDir(path, opts)
	if err := d.make(path); err != nil {
		return nil, fmt.Errorf("open log directory: %w", err)
	}
	lock, err := d.fs.Lock(d.file(fileLock))
	if err != nil {
		return nil, fmt.Errorf("open log directory: %w", err)
	}
	d.lock = lock
	if err := d.open(); err != nil {
		if g := d.syncer.group; g != nil {
			err = errors.Join(err, g.Close())
		}
		return nil, errors.Join(fmt.Errorf("open log directory %s: %w", path, err), lock.Close())
	}
	return d, nil
}

// open reads what is in the directory, once it is locked.
func (d *Dir) open() (err error) {
	if b, ok := d.fs.(besideFS); ok {
		d.beside = b.SyncsBeside()
	}
	if g, ok := d.fs.(groupFS); ok {
		if d.syncer.group, err = g.OpenGroup(d.path); err != nil {
			return err
		}
	}
	return d.load()
}

func newDir(path string, opts Options) *Dir {
	d := &Dir{
		path: path, fs: opts.FS, opts: opts, log: opts.Logger, now: opts.Now, prevEpoch: -1,
		logs: map[topicPartition]*Log{}, creating: map[topicPartition]bool{}, unforgotten: map[topicPartition]bool{}, decompress: make(chan struct{}, max(2, runtime.GOMAXPROCS(0))),
		files: clock{limit: int64(opts.MaxOpenFiles)}, indexes: clock{limit: opts.IndexCacheBytes},
	}
	d.tuned = make(chan struct{}, 1)
	if d.cleaner = opts.cleaner; d.cleaner == nil {
		d.cleaner = newCleaner()
	}
	d.tune(Tuning{opts.ProducerIDExpiration, opts.CleanerBackoff, opts.CleanerBufferBytes, opts.CleanerThreads})
	d.brokerEpoch.Store(-1)
	d.syncer = newSyncer(d)
	return d
}

// make creates the directory and those above it, durably.
func (d *Dir) make(path string) error {
	if _, err := d.fs.Stat(path); err == nil {
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := d.make(parent); err != nil {
			return err
		}
	}
	if err := d.fs.MkdirAll(path); err != nil {
		return err
	}
	return d.fs.SyncDir(parent)
}

func (d *Dir) file(name string) string { return filepath.Join(d.path, name) }
func (d *Dir) nowMs() int64            { return d.now().UnixMilli() }

// Path is the directory's path.
func (d *Dir) Path() string { return d.path }

// load finds and loads the partitions.
func (d *Dir) load() error {
	began := time.Now()
	if err := d.takeCleanMarker(); err != nil {
		return err
	}
	if !d.clean {
		// What a process left that was killed is there, but its folders may not be on disk yet.
		if err := d.fs.SyncDir(d.path); err != nil {
			return err
		}
	}
	recovery, starts := d.readOffsets(fileRecoveryPoint), d.readOffsets(fileLogStart)
	d.recoveryFile, d.cleanerFile = recovery, d.readOffsets(fileCleaner)
	entries, err := d.fs.ReadDir(d.path)
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(d.opts.RecoveryThreads)
	st, configs := newSettlement(d, "open"), map[string]*topicConfig{}
	progress := d.progress("loading partitions", len(entries))
	defer progress.stop()
	for _, e := range entries {
		if !e.IsDir() {
			if strings.HasSuffix(e.Name(), suffixTmp) {
				if err := removeIfExists(d.fs, d.file(e.Name())); err != nil {
					return err
				}
			}
			continue
		}
		if strings.HasSuffix(e.Name(), deleteSuffix) {
			d.removeLater(d.file(e.Name()), 0)
			continue
		}
		if strings.HasSuffix(e.Name(), futureSuffix) {
			if tp, ok := parseFutureName(e.Name()); ok {
				d.futures = append(d.futures, tp)
			}
			d.removeLater(d.file(e.Name()), 0)
			continue
		}
		topic, partition, ok := parseFolderName(e.Name())
		if !ok {
			d.log.Warn("folder is no partition and ignored", "folder", d.file(e.Name()))
			continue
		}
		cfg := configs[topic]
		if cfg == nil {
			cfg = d.topicConfig(topic)
			configs[cfg.topic] = cfg
		}
		l := d.newLog(cfg.topic, partition, &cfg.Config, cfg.configured)
		tp := topicPartition{topic, partition}
		d.put(tp, l)
		l.dirtyFrom = d.cleanerFile[tp]
		g.Go(func() error {
			rp, start := recovery[tp], starts[tp]
			defer progress.done.Add(1)
			if err := l.load(d.clean, rp, start, st); err != nil {
				return fmt.Errorf("load partition %s: %w", l.id, err)
			}
			l.closeFiles()
			return nil
		})
	}
	err = g.Wait()
	if err == nil {
		progress.next("syncing partitions")
		err = st.commit()
	}
	if err != nil {
		for _, l := range d.logs {
			_ = l.close()
		}
		return err
	}
	if err := d.forgetStale(recovery, starts); err != nil {
		return err
	}
	d.log.Info("log directory is open", "dir", d.path, "partitions", len(d.logs), "clean", d.clean,
		"damaged", len(d.corrupted), "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// topicConfig is the configuration that the logs of a topic share.
type topicConfig struct {
	topic string
	Config
	configured bool // it is the topic's own
}

func (d *Dir) topicConfig(topic string) *topicConfig {
	c := &topicConfig{topic, DefaultConfig(), false}
	if d.opts.Config != nil {
		if own, ok := d.opts.Config(topic); ok {
			c.Config, c.configured = own, true
		}
	}
	return c
}

// failure is what every call answers once the directory has failed.
func (d *Dir) failure() error {
	if err := d.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Err is the error that failed the directory, or nil.
func (d *Dir) Err() error { return d.failure() }

// isFull says whether an error is one of a disk, or a quota, that has no room.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// full notes that the disk is full and returns the error for the caller. The directory goes on: what is there can be read, and
// the next append tries again.
func (d *Dir) full(err error) error {
	if !d.noSpace.Swap(true) {
		d.log.Error("log directory is full: appends to its partitions are refused until there is space", "dir", d.path, "err", err)
	}
	if errors.Is(err, ErrStorage) {
		return err
	}
	return fmt.Errorf("%w: directory %s is full: %w", ErrStorage, d.path, err)
}

// hasSpace notes that the disk is no longer full.
func (d *Dir) hasSpace() {
	if d.noSpace.Swap(false) {
		d.log.Info("log directory has space again", "dir", d.path)
	}
}

// Full says that the last write found no room on the disk.
func (d *Dir) Full() bool { return d.noSpace.Load() }

// fail marks the directory failed with the first error and returns that. See the package comment for why it stays so. A full disk is
// no failure: see full.
func (d *Dir) fail(err error) error {
	if isFull(err) && d.failed.Load() == nil {
		return d.full(err)
	}
	return d.broken(err)
}

// broken is fail where a full disk leaves files in doubt.
func (d *Dir) broken(err error) error {
	if errors.Is(err, ErrClosed) {
		return err
	}
	if !errors.Is(err, ErrStorage) {
		err = fmt.Errorf("%w: directory %s: %w", ErrStorage, d.path, err)
	}
	if d.failed.CompareAndSwap(nil, &err) {
		d.log.Error("log directory failed; it stays offline until it is opened again", "dir", d.path, "err", err)
		go d.failWaiters()
	}
	return d.failure()
}

func (d *Dir) failWaiters() {
	for _, l := range d.list() {
		l.wakeAll(d.failure())
	}
	if d.opts.OnFail != nil {
		d.opts.OnFail()
	}
}

// Corruptions lists the damage that recovery found when the directory was opened.
func (d *Dir) Corruptions() []*CorruptionError {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.Clone(d.corrupted)
}

func (d *Dir) report(c *CorruptionError) {
	d.log.Error("log is damaged", "topic", c.Topic, "partition", c.Partition, "file", c.File, "position", c.Position,
		"bytes", c.Length, "firstOffset", c.First, "nextOffset", c.Next, "repaired", c.Repaired)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.corrupted = append(d.corrupted, c)
}

// WasClean says that the close before this opening was orderly. After an unclean one, a broker must tell its controller
// (KIP-966): what was not synced may be gone.
func (d *Dir) WasClean() bool { return d.clean }

// PreviousBrokerEpoch is the broker epoch that the last orderly close recorded, or -1.
func (d *Dir) PreviousBrokerEpoch() int64 { return d.prevEpoch }

// SetBrokerEpoch sets the broker epoch that Close records.
func (d *Dir) SetBrokerEpoch(epoch int64) { d.brokerEpoch.Store(epoch) }

// Logs lists the partitions, by topic and number.
func (d *Dir) Logs() []*Log { return slices.Clone(d.list()) }

// list is Logs, not to be changed: what runs every second must not sort ten thousand names each time.
func (d *Dir) list() []*Log {
	d.mu.RLock()
	out := d.sorted
	d.mu.RUnlock()
	if out != nil {
		return out
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	out = make([]*Log, 0, len(d.logs))
	for _, l := range d.logs {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *Log) int {
		if c := strings.Compare(a.topic, b.topic); c != 0 {
			return c
		}
		return int(a.partition) - int(b.partition)
	})
	d.sorted = out
	return out
}

// put and take change the partitions. Call with mu held.
func (d *Dir) put(tp topicPartition, l *Log) { d.logs[tp], d.sorted = l, nil }
func (d *Dir) take(tp topicPartition) {
	delete(d.logs, tp)
	d.sorted = nil
}

// Log returns a partition's log.
func (d *Dir) Log(topic string, partition int32) (*Log, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	l, ok := d.logs[topicPartition{topic, partition}]
	return l, ok
}

// Create makes a partition. Its folder becomes durable with the first sync of its records, before anything is
// acknowledged. ErrExists when it is there.
func (d *Dir) Create(topic string, partition int32, topicID [16]byte, cfg Config) (*Log, error) {
	if err := d.failure(); err != nil {
		return nil, err
	}
	name := folderName(topic, partition)
	if t, p, ok := parseFolderName(name); !ok || t != topic || p != partition || topic != filepath.Base(topic) || topic == "." || topic == ".." || strings.ContainsAny(topic, " \t\r\n/\\") {
		return nil, fmt.Errorf("create partition %q: not a legal name", name)
	}
	tp := topicPartition{topic, partition}
	l := d.newLog(topic, partition, &cfg, true)
	l.topicID = topicID
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil, ErrClosed
	}
	if _, ok := d.logs[tp]; ok || d.creating[tp] {
		d.mu.Unlock()
		return nil, fmt.Errorf("create partition %s: %w", name, ErrExists)
	}
	d.creating[tp] = true
	d.mu.Unlock()
	err := d.forgetLeft(tp)
	if err == nil {
		err = l.create()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.creating, tp)
	if err != nil {
		if isFull(err) {
			_ = l.close()
			_ = d.fs.RemoveAll(l.dirPath())
		}
		return nil, d.fail(fmt.Errorf("create partition %s: %w", name, err))
	}
	d.put(tp, l)
	return l, nil
}

func (l *Log) create() error {
	d := l.d
	if err := d.fs.MkdirAll(l.dirPath()); err != nil {
		return err
	}
	if l.topicID != ([16]byte{}) {
		if err := writeFile(d.fs, l.file(fileTopicID), formatTopicID(l.topicID), false); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.openSegment(0); err != nil {
		return err
	}
	l.newFolder = true
	l.lastFlush = d.nowMs()
	// An idle partition needs no open file: the first append opens it.
	l.active.unpin()
	l.activeFile, l.indexStale = nil, false
	return nil
}

// SetTopicID records the topic's id in a folder that has none; an error when it has another one.
func (l *Log) SetTopicID(id [16]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.topicID == id {
		return nil
	}
	if l.topicID != ([16]byte{}) {
		return fmt.Errorf("partition %s belongs to another topic of that name", l.id)
	}
	if err := replaceFile(l.d.fs, l.file(fileTopicID), formatTopicID(id)); err != nil {
		return l.d.fail(err)
	}
	l.topicID = id
	return nil
}

// Delete takes a partition out: its folder is renamed, durably, and removed by Housekeep after file.delete.delay.ms. Calls
// to its Log answer ErrClosed from then on. ErrNotFound when there is none.
func (d *Dir) Delete(topic string, partition int32) error { return d.remove(topic, partition, nil) }

// remove is Delete, of no other log than only when that is not nil.
func (d *Dir) remove(topic string, partition int32, only *Log) error {
	if err := d.failure(); err != nil {
		return err
	}
	d.mu.Lock()
	tp := topicPartition{topic, partition}
	l, ok := d.logs[tp]
	if !ok || only != nil && l != only {
		d.mu.Unlock()
		return fmt.Errorf("delete partition %s: %w", folderName(topic, partition), ErrNotFound)
	}
	d.take(tp)
	d.creating[tp] = true // nobody may create it in the old folder
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.creating, tp)
		d.mu.Unlock()
	}()
	err := l.close()
	from := l.dirPath()
	to := deletedName(*l.name.Load())
	l.name.Store(&to)
	if rerr := d.fs.Rename(from, d.file(to)); rerr != nil {
		return d.broken(fmt.Errorf("delete partition: %w", errors.Join(err, rerr)))
	}
	if err := d.fs.SyncDir(d.path); err != nil {
		return d.broken(fmt.Errorf("delete partition: %w", err))
	}
	d.removeLater(d.file(to), time.Duration(min(l.config().FileDeleteDelayMs, 1<<40))*time.Millisecond)
	// Offsets of the old partition must not be applied to a new one of the same name.
	return d.forgetCheckpoints(tp)
}

// Run does the housekeeping until ctx ends: each kind at its interval. It returns nil.
func (d *Dir) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	every := func(interval time.Duration, fn func(context.Context)) {
		wg.Go(func() {
			t := time.NewTicker(interval)
			defer t.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-t.C:
					if d.failure() == nil {
						fn(ctx)
					}
				}
			}
		})
	}
	logged := func(what string, fn func(context.Context) error) func(context.Context) {
		return func(ctx context.Context) { d.logFailure(ctx, what, fn(ctx)) }
	}
	every(d.opts.RetentionInterval, logged("retention", d.retain))
	every(d.opts.CheckpointInterval, logged("checkpoint", func(context.Context) error { return d.checkpoint() }))
	every(min(d.opts.CheckpointInterval, time.Second), logged("flush", d.flushDue))
	every(min(d.opts.RetentionInterval, 10*time.Second), logged("remove files", d.emptyTrash))
	every(d.opts.ProbeInterval, logged("probe", func(context.Context) error { return d.probe() }))
	every(d.opts.ProducerExpirationCheck, logged("producer expiration", d.expireProducers))
	if !d.opts.DisableCleaner {
		wg.Go(func() {
			d.compactRepeatedly(ctx, func(ctx context.Context) {
				due, err := d.dueLogs()
				d.logFailure(ctx, "compaction", err)
				d.cleaner.offer(d, due)
				for l, ok := d.cleaner.begin(); ok; l, ok = d.cleaner.begin() {
					wg.Go(func() { d.cleaner.work(ctx, l) })
				}
			})
		})
	}
	wg.Wait()
	return nil
}

// Housekeep does everything that Run does, once.
func (d *Dir) Housekeep(ctx context.Context) error {
	if err := d.failure(); err != nil {
		return err
	}
	err := errors.Join(d.retain(ctx), d.flushDue(ctx), d.expireProducers(ctx))
	if !d.opts.DisableCleaner {
		err = errors.Join(err, d.compactDue(ctx))
	}
	return errors.Join(err, d.checkpoint(), d.emptyTrash(ctx))
}

func folderName(topic string, partition int32) string {
	return topic + "-" + strconv.Itoa(int(partition))
}

func parseFolderName(name string) (topic string, partition int32, ok bool) {
	i := strings.LastIndexByte(name, '-')
	if i <= 0 || strings.ContainsAny(name, " \t\r\n") {
		return "", 0, false
	}
	n, err := strconv.ParseInt(name[i+1:], 10, 32)
	if err != nil || n < 0 || name[i+1:] != strconv.FormatInt(n, 10) {
		return "", 0, false
	}
	return name[:i], int32(n), true
}

// deletedName is Kafka's name for the folder of a deleted partition: with a random part, and at most 255 bytes.
func deletedName(name string) string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	suffix := "." + hex.EncodeToString(id[:]) + deleteSuffix
	return name[:min(len(name), maxFolderName-len(suffix))] + suffix
}
