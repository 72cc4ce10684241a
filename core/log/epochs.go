package log

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"sync"
)

// NoEpoch stands for an unknown leader epoch, and NoOffset for an unknown offset.
const (
	NoEpoch  int32 = -1
	NoOffset int64 = -1
)

// EpochEntry says that a leader epoch began at an offset.
type EpochEntry struct {
	Epoch       int32
	StartOffset int64
}

// epochCache is the history of leader epochs of a log (KIP-101): epochs and start offsets both rise from entry to entry.
// It is what a follower and its leader compare to find where they diverge, so it must match the batches in the log:
// it is extended by appends and cut by truncation. Its file is written by checkpoints: recovery brings an older one up to date
// from the batches after the recovery point.
type epochCache struct {
	// fileMu is held by the one that replaces the file, which may take a sync; it is taken before mu, and after Log.mu.
	fileMu sync.Mutex

	mu      sync.Mutex
	entries []EpochEntry
	dirty   bool // the file is behind
	changes int  // so far
}

// changed notes that the file is behind. Call with mu held.
func (c *epochCache) changed() {
	c.dirty = true
	c.changes++
}

func (c *epochCache) latest() int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) == 0 {
		return NoEpoch
	}
	return c.entries[len(c.entries)-1].Epoch
}

// assign notes that epoch begins at offset. It returns whether anything changed. An epoch that is not newer than the
// latest is ignored; entries that start at or after the offset never had a batch and are replaced.
func (c *epochCache) assign(epoch int32, offset int64) bool {
	if epoch < 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.entries); n > 0 && epoch <= c.entries[n-1].Epoch {
		return false
	}
	for n := len(c.entries); n > 0 && c.entries[n-1].StartOffset >= offset; n = len(c.entries) {
		c.entries = c.entries[:n-1]
	}
	c.entries = append(c.entries, EpochEntry{epoch, offset})
	c.changed()
	return true
}

// endOffset answers OffsetsForLeaderEpoch: the largest known epoch at or below the one asked for, and where it ended.
func (c *epochCache) endOffset(epoch int32, logEnd int64) (int32, int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.entries)
	if epoch < 0 || n == 0 {
		return NoEpoch, NoOffset
	}
	if c.entries[n-1].Epoch == epoch {
		return epoch, logEnd
	}
	higher := sort.Search(n, func(i int) bool { return c.entries[i].Epoch > epoch })
	switch {
	case higher == n:
		return NoEpoch, NoOffset
	case higher == 0:
		// Older than all that is known: it ended no later than where the first known one began.
		return epoch, c.entries[0].StartOffset
	}
	return c.entries[higher-1].Epoch, c.entries[higher].StartOffset
}

func (c *epochCache) truncateEnd(end int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := sort.Search(len(c.entries), func(i int) bool { return c.entries[i].StartOffset >= end })
	if i < len(c.entries) {
		c.entries = c.entries[:i]
		c.changed()
	}
}

// truncateStart drops what ended at or before the start; the epoch of the start offset itself then begins there.
func (c *epochCache) truncateStart(start int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := sort.Search(len(c.entries), func(i int) bool { return c.entries[i].StartOffset > start })
	if i == 0 {
		return
	}
	if i == 1 && c.entries[0].StartOffset == start {
		return
	}
	c.entries = slices.Delete(c.entries, 0, i-1)
	c.entries[0].StartOffset = start
	c.changed()
}

// found notes that there is a batch of an epoch at an offset. The history may be from before a truncation and what was written after it:
// epochs that are no newer than the batch's have not begun behind it.
func (c *epochCache) found(epoch int32, offset int64) {
	if epoch < 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	from := sort.Search(len(c.entries), func(i int) bool { return c.entries[i].StartOffset > offset })
	to := from
	for to < len(c.entries) && c.entries[to].Epoch <= epoch {
		to++
	}
	for from > 0 && c.entries[from-1].StartOffset == offset && c.entries[from-1].Epoch < epoch {
		from-- // it never had a batch
	}
	var here []EpochEntry
	if from == 0 || c.entries[from-1].Epoch < epoch {
		here = []EpochEntry{{epoch, offset}}
	}
	if from < to || len(here) > 0 {
		c.entries = slices.Replace(c.entries, from, to, here...)
		c.changed()
	}
}

// replace takes another history over.
func (c *epochCache) replace(es []EpochEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = es
	c.changed()
}

func (c *epochCache) snapshot() []EpochEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.entries)
}

func parseEpochs(p []byte) ([]EpochEntry, error) {
	var es []EpochEntry
	err := parseCheckpoint(p, 2, func(f []string) error {
		e, err1 := strconv.ParseInt(f[0], 10, 32)
		o, err2 := strconv.ParseInt(f[1], 10, 64)
		if err1 != nil || err2 != nil || e < 0 || o < 0 {
			return fmt.Errorf("malformed checkpoint line %q %q", f[0], f[1])
		}
		if n := len(es); n > 0 && (es[n-1].Epoch >= int32(e) || es[n-1].StartOffset > o) {
			return fmt.Errorf("leader epoch %d at offset %d does not follow epoch %d at %d", e, o, es[n-1].Epoch, es[n-1].StartOffset)
		}
		es = append(es, EpochEntry{int32(e), o})
		return nil
	})
	return es, err
}

// load reads the checkpoint. found is false when it is absent or damaged; the caller then rebuilds it from the batches.
func (c *epochCache) load(fsys FS, dir string) (found bool, err error) {
	p, err := readFile(fsys, filepath.Join(dir, fileEpochs), maxCheckpointBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	es, perr := parseEpochs(p)
	if perr != nil {
		return false, nil //nolint:nilerr // damaged means rebuild
	}
	c.entries = es
	return true, nil
}

// flush replaces the file when the cache has changed.
func (c *epochCache) flush(fsys FS, dir string) error {
	c.fileMu.Lock()
	defer c.fileMu.Unlock()
	p, changes := c.behind()
	if p == nil {
		return nil
	}
	if err := replaceFile(fsys, filepath.Join(dir, fileEpochs), p); err != nil {
		return fmt.Errorf("write leader epochs: %w", err)
	}
	c.caughtUp(changes)
	return nil
}

// isBehind says whether the file is.
func (c *epochCache) isBehind() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dirty
}

// behind is what the file should hold, and after how many changes, when that is not what it holds. Call with fileMu held.
func (c *epochCache) behind() (p []byte, changes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dirty {
		return nil, 0
	}
	return c.format(), c.changes
}

// caughtUp says that the file holds what was there after so many changes. Call with fileMu held.
func (c *epochCache) caughtUp(changes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes == changes {
		c.dirty = false
	}
}

// writeAside writes the temporary file that is to take the place of the file, without syncing it, when the cache has changed. From then
// on fileMu is held until done is called, which is told whether it took its place.
func (c *epochCache) writeAside(fsys FS, dir string) (done func(ok bool), err error) {
	c.fileMu.Lock()
	p, changes := c.behind()
	if p == nil {
		c.fileMu.Unlock()
		return nil, nil
	}
	if err := writeFile(fsys, filepath.Join(dir, fileEpochs)+suffixTmp, p, false); err != nil {
		c.fileMu.Unlock()
		return nil, fmt.Errorf("write leader epochs: %w", err)
	}
	return func(ok bool) {
		if ok {
			c.caughtUp(changes)
		}
		c.fileMu.Unlock()
	}, nil
}

func (c *epochCache) format() []byte {
	b := fmt.Appendf(nil, "0\n%d\n", len(c.entries))
	for _, e := range c.entries {
		b = fmt.Appendf(b, "%d %d\n", e.Epoch, e.StartOffset)
	}
	return b
}
