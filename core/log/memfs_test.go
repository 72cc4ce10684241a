package log

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// memFS is a file system in memory that forgets like a real one: what was not synced may be gone after a crash, in part or
// entirely, and a new name may be gone when its directory was not synced. It can fail from a chosen operation on, which is
// how a test stops the world at a point, and crash gives what a disk would hold then.
//
// Directories keep a journal of the operations since their last sync: a crash keeps a prefix of it, as journaling file systems
// do. Files keep a journal of writes: a crash keeps a prefix with the write after it torn, or any subset of them.
type memFS struct {
	mu   sync.Mutex
	root *memDir
	ops  int // operations that change something so far
	// failAt makes the operation of that number and all later ones fail; 0 never.
	failAt int
	// failOnce makes only the operation of that number fail.
	failOnce int
	locked   bool
}

type memDir struct {
	now     map[string]*memNode
	durable map[string]*memNode
	journal []func(map[string]*memNode)
}

type memNode struct {
	data    []byte
	durable []byte
	journal []memWrite
	mod     time.Time
	sub     *memDir // of a folder
}

// memWrite is a write, or a truncation when data is nil.
type memWrite struct {
	pos  int64
	data []byte
}

var errInjected = errors.New("injected failure")

func newMemFS() *memFS { return &memFS{root: newMemDir()} }

func newMemDir() *memDir { return &memDir{now: map[string]*memNode{}, durable: map[string]*memNode{}} }

// op counts a changing operation and fails it when its time has come. Call with mu held.
func (m *memFS) op() error {
	m.ops++
	if m.failAt > 0 && m.ops >= m.failAt || m.failOnce > 0 && m.ops == m.failOnce {
		return errInjected
	}
	return nil
}

// find walks to a folder.
func (m *memFS) find(name string) (*memDir, error) {
	d := m.root
	for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		if part == "" {
			continue
		}
		n, ok := d.now[part]
		if !ok || n.sub == nil {
			return nil, fs.ErrNotExist
		}
		d = n.sub
	}
	return d, nil
}

// dir returns the folder that holds name, and its last part.
func (m *memFS) dir(name string) (*memDir, string, error) {
	d, err := m.find(filepath.Dir(name))
	return d, filepath.Base(name), err
}

func (d *memDir) do(fn func(map[string]*memNode)) {
	fn(d.now)
	d.journal = append(d.journal, fn)
}

func (m *memFS) OpenFile(name string, flag int) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.dir(name)
	if err != nil {
		return nil, err
	}
	n, ok := d.now[base]
	if !ok && flag&os.O_CREATE == 0 {
		return nil, fs.ErrNotExist
	}
	if !ok {
		if err := m.op(); err != nil {
			return nil, err
		}
		n = &memNode{mod: time.Now()}
		d.do(func(e map[string]*memNode) { e[base] = n })
	}
	if flag&os.O_TRUNC != 0 && len(n.data) > 0 {
		if err := m.op(); err != nil {
			return nil, err
		}
		n.data = nil
		n.journal = append(n.journal, memWrite{})
	}
	return &memFile{m, n}, nil
}

func (m *memFS) ReadDir(name string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.find(name)
	if err != nil {
		return nil, err
	}
	var out []fs.DirEntry
	for base, n := range d.now {
		out = append(out, memInfo{base, n})
	}
	slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return out, nil
}

func (m *memFS) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if name == "/" {
		return memInfo{"/", &memNode{sub: m.root}}, nil
	}
	d, base, err := m.dir(name)
	if err != nil {
		return nil, err
	}
	n, ok := d.now[base]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return memInfo{base, n}, nil
}

func (m *memFS) MkdirAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.dir(name)
	if err != nil {
		return err
	}
	if _, ok := d.now[base]; ok {
		return nil
	}
	if err := m.op(); err != nil {
		return err
	}
	n := &memNode{sub: newMemDir(), mod: time.Now()}
	d.do(func(e map[string]*memNode) { e[base] = n })
	return nil
}

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op(); err != nil {
		return err
	}
	d, a, err := m.dir(from)
	if err != nil {
		return err
	}
	if filepath.Dir(from) != filepath.Dir(to) {
		return errors.New("rename across directories")
	}
	b := filepath.Base(to)
	if _, ok := d.now[a]; !ok {
		return fs.ErrNotExist
	}
	d.do(func(e map[string]*memNode) {
		if n, ok := e[a]; ok {
			delete(e, a)
			e[b] = n
		}
	})
	return nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.dir(name)
	if err != nil {
		return err
	}
	if _, ok := d.now[base]; !ok {
		return fs.ErrNotExist
	}
	if err := m.op(); err != nil {
		return err
	}
	d.do(func(e map[string]*memNode) { delete(e, base) })
	return nil
}

func (m *memFS) RemoveAll(name string) error {
	if err := m.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (m *memFS) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op(); err != nil {
		return err
	}
	d, err := m.find(name)
	if err != nil {
		return err
	}
	for _, fn := range d.journal {
		fn(d.durable)
	}
	d.journal = nil
	return nil
}

type memLock struct{ m *memFS }

func (l memLock) Close() error { l.m.locked = false; return nil }

func (m *memFS) Lock(string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked {
		return nil, ErrLocked
	}
	m.locked = true
	return memLock{m}, nil
}

type memFile struct {
	m *memFS
	n *memNode
}

func (f *memFile) ReadAt(p []byte, pos int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if pos >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[pos:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, pos int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.op(); err != nil {
		return 0, err
	}
	w := memWrite{pos, slices.Clone(p)}
	f.n.data = w.apply(f.n.data)
	f.n.journal = append(f.n.journal, w)
	f.n.mod = time.Now()
	return len(p), nil
}

func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.op(); err != nil {
		return err
	}
	w := memWrite{pos: size}
	f.n.data = w.apply(f.n.data)
	f.n.journal = append(f.n.journal, w)
	return nil
}

func (w memWrite) apply(data []byte) []byte {
	if w.data == nil {
		return slices.Clone(data[:min(int(w.pos), len(data))])
	}
	end := int(w.pos) + len(w.data)
	if len(data) < end {
		data = append(data, make([]byte, end-len(data))...)
	}
	copy(data[w.pos:], w.data)
	return data
}

func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.op(); err != nil {
		return err
	}
	f.n.durable, f.n.journal = slices.Clone(f.n.data), nil
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.n.data)), nil
}

func (f *memFile) Close() error { return nil }

type memInfo struct {
	name string
	n    *memNode
}

func (i memInfo) Name() string               { return i.name }
func (i memInfo) IsDir() bool                { return i.n.sub != nil }
func (i memInfo) Type() fs.FileMode          { return i.Mode().Type() }
func (i memInfo) Info() (fs.FileInfo, error) { return i, nil }
func (i memInfo) ModTime() time.Time         { return i.n.mod }
func (i memInfo) Sys() any                   { return nil }
func (i memInfo) Size() int64 {
	return int64(len(i.n.data))
}

func (i memInfo) Mode() fs.FileMode {
	if i.IsDir() {
		return fs.ModeDir
	}
	return 0
}

// crash returns the disk after a power loss now. r decides what of the unsynced survives.
func (m *memFS) crash(r *rand.Rand) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memFS{root: m.root.afterCrash(r, r.IntN(4))}
}

func (d *memDir) afterCrash(r *rand.Rand, mode int) *memDir {
	entries := maps.Clone(d.durable)
	for _, fn := range d.journal[:r.IntN(len(d.journal)+1)] {
		fn(entries)
	}
	out := newMemDir()
	for _, base := range slices.Sorted(maps.Keys(entries)) { // the same choices for the same seed
		n := &memNode{mod: entries[base].mod}
		if sub := entries[base].sub; sub != nil {
			n.sub = sub.afterCrash(r, mode)
		} else {
			n.data = entries[base].afterCrash(r, mode)
			n.durable = slices.Clone(n.data)
		}
		out.now[base], out.durable[base] = n, n
	}
	return out
}

func (n *memNode) afterCrash(r *rand.Rand, mode int) []byte {
	data := slices.Clone(n.durable)
	switch mode {
	case 0: // nothing that was not synced
	case 1: // everything: the process died, not the machine
		data = slices.Clone(n.data)
	case 2: // a prefix, and the write after it torn
		k := r.IntN(len(n.journal) + 1)
		for _, w := range n.journal[:k] {
			data = w.apply(data)
		}
		if k < len(n.journal) && len(n.journal[k].data) > 0 {
			w := n.journal[k]
			cut := r.IntN(len(w.data))
			part := slices.Clone(w.data)
			if r.IntN(2) == 0 {
				part = part[:cut] // the file ends in the middle
			} else {
				clear(part[cut:]) // the file has its size but not the bytes
			}
			if len(part) > 0 {
				data = memWrite{w.pos, part}.apply(data)
			}
		}
	case 3: // any of them
		for _, w := range n.journal {
			if w.data == nil || r.IntN(2) == 0 {
				data = w.apply(data)
			}
		}
	}
	return data
}
