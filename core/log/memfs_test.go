package log

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// memFS is a file system in memory that forgets like a real one: what was not synced may be gone after a crash, in part or
// entirely, and a new name may be gone when its directory was not synced. It can fail at chosen operations, which is how a
// test stops the world at a point, fill up, and flip bits; crash gives what a disk would hold then. It never lies about a
// sync, unless a test has it ignore one on purpose (to see that the tests notice).
//
// Directories keep a journal of the operations since their last sync. A crash keeps none of them, all, a prefix, as journaling
// file systems do, or any subset, as POSIX allows. Files keep a journal of writes: a crash keeps none, all, a prefix with the
// write after it torn, any subset of them, or any subset of their sectors.
type memFS struct {
	mu   sync.Mutex
	root *memDir
	ops  int // operations that change something so far
	// failAt makes the operation of that number and all later ones fail; 0 never.
	failAt int
	// failOnce makes only the operation of that number fail.
	failOnce int
	// judge, when set, may fail any operation, reads included.
	judge func(op memOp) error
	// capacity bounds the bytes of all files, 0 for no bound: a write that has no room is cut short with ENOSPC.
	capacity int64
	used     int64
	// ignore makes the syncs of a call site do nothing; seen, when not nil, notes the operations of each call site.
	ignore func(site string) bool
	seen   map[string][]int
	locked map[string]bool
	// settling is what the settlement under way is for.
	settling string
	// tree says that it can sync all at once.
	tree bool
	// inPlace says that zeros may be written ahead.
	inPlace bool
	// small says that segments are, see tune.
	small bool
}

// memOp is an operation as judge sees it.
type memOp struct {
	kind string // open, create, read, write, reserve, truncate, sync, syncdir, mkdir, rename, remove
	name string
}

type memDir struct {
	now     map[string]*memNode
	durable map[string]*memNode
	journal []memDirOp
}

// memDirOp is a change of a directory: from is taken out if it still is the node, to is put in.
type memDirOp struct {
	from, to string
	node     *memNode
}

func (op memDirOp) apply(e map[string]*memNode) {
	if op.from != "" && e[op.from] == op.node {
		delete(e, op.from)
	}
	if op.to != "" {
		e[op.to] = op.node
	}
}

type memNode struct {
	data    []byte
	durable []byte
	journal []memWrite
	room    int64 // up to where blocks are reserved, when that is behind the end
	mod     time.Time
	sub     *memDir // of a folder
	// losses counts the writes that the disk has refused behind everybody's back, and told those that a descriptor was told of.
	losses, told int
}

// memWrite is a write, or a truncation when data is nil.
type memWrite struct {
	pos  int64
	data []byte
}

var (
	errInjected = errors.New("injected failure")
	errLost     = errors.New("input/output error")
)

// sectorSize is the unit that a disk writes at once.
const sectorSize = 512

func newMemFS() *memFS { return &memFS{root: newMemDir()} }

func newMemDir() *memDir { return &memDir{now: map[string]*memNode{}, durable: map[string]*memNode{}} }

// op counts a changing operation and fails it when its time has come. Call with mu held.
func (m *memFS) op(kind, name string) error {
	m.ops++
	if m.failAt > 0 && m.ops >= m.failAt || m.failOnce > 0 && m.ops == m.failOnce {
		return errInjected
	}
	if m.judge != nil {
		return m.judge(memOp{kind, name})
	}
	return nil
}

// peek asks judge about an operation that changes nothing. Call with mu held.
func (m *memFS) peek(kind, name string) error {
	if m.judge != nil {
		return m.judge(memOp{kind, name})
	}
	return nil
}

// syncOp is op for a sync; skip says that a test wants it to do nothing.
func (m *memFS) syncOp(kind, name string) (skip bool, err error) {
	if m.ignore == nil && m.seen == nil {
		return false, m.op(kind, name)
	}
	site := syncSite(kind)
	if m.settling != "" && strings.Contains(site, "(*settlement)") {
		site += " for " + m.settling
	}
	if m.seen != nil {
		m.seen[site] = append(m.seen[site], m.ops+1)
	}
	if err := m.op(kind, name); err != nil {
		return false, err
	}
	return m.ignore != nil && m.ignore(site), nil
}

// syncSite names the place in this package that asked for a sync: the functions up to the first that is no helper, with line
// numbers only to tell several in one function apart.
func syncSite(kind string) string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs[:])])
	site := kind
	for range 4 {
		f, more := frames.Next()
		_, name, _ := strings.Cut(filepath.Base(f.Function), ".")
		site += fmt.Sprintf(" < %s:%d", name, f.Line)
		switch name {
		case "syncFile", "writeFile", "replaceFile", "(*segment).writeBeside", "(*Dir).writeOffsets", "(*segment).writeIndexes", "(*Log).swap.func1", "(*Log).writeSnapshot",
			"(*epochCache).flush", "(*Dir).writeStarts", "(*settlement).tree":
		default:
			return site
		}
		if !more {
			break
		}
	}
	return site
}

// settle is an Options.settling: it tells sites apart that are one place in the package.
func (m *memFS) settle(what string) {
	m.mu.Lock()
	m.settling = what
	m.mu.Unlock()
}

// grow takes room for a file that becomes larger or smaller; short is how many bytes of want there are.
func (m *memFS) grow(want int64) (short int64, err error) {
	if want > 0 && m.capacity > 0 && m.used+want > m.capacity {
		short = max(0, m.capacity-m.used)
		m.used += short
		return short, &fs.PathError{Op: "write", Path: "mem", Err: syscall.ENOSPC}
	}
	m.used += want
	return want, nil
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

func (d *memDir) do(op memDirOp) {
	op.apply(d.now)
	d.journal = append(d.journal, op)
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
	if err := m.peek("open", name); err != nil {
		return nil, err
	}
	if !ok {
		if err := m.op("create", name); err != nil {
			return nil, err
		}
		n = &memNode{mod: time.Now()}
		d.do(memDirOp{to: base, node: n})
	}
	if flag&os.O_TRUNC != 0 && n.blocks() > 0 {
		if err := m.op("truncate", name); err != nil {
			return nil, err
		}
		_, _ = m.grow(-n.blocks())
		n.room = 0
		n.data = nil
		n.journal = append(n.journal, memWrite{})
	}
	f := &memFile{m: m, n: n, name: name, seen: n.told}
	return f, nil
}

// lose has the disk refuse what was written to a file and not synced, as it does in the background: the page cache has it still, and takes it
// for written. Each open descriptor is told once, by its next sync, and one that is opened while nobody was. Call with mu held.
func (m *memFS) lose(name string) {
	d, base, err := m.dir(name)
	if err != nil || d.now[base] == nil {
		return
	}
	n := d.now[base]
	n.losses++
	n.journal = nil
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
	if err := m.op("mkdir", name); err != nil {
		return err
	}
	n := &memNode{sub: newMemDir(), mod: time.Now()}
	d.do(memDirOp{to: base, node: n})
	return nil
}

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op("rename", from); err != nil {
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
	n, ok := d.now[a]
	if !ok {
		return fs.ErrNotExist
	}
	if old, ok := d.now[b]; ok {
		_, _ = m.grow(-int64(len(old.data)))
	}
	d.do(memDirOp{from: a, to: b, node: n})
	return nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.dir(name)
	if err != nil {
		return err
	}
	n, ok := d.now[base]
	if !ok {
		return fs.ErrNotExist
	}
	if err := m.op("remove", name); err != nil {
		return err
	}
	_, _ = m.grow(-n.blocks())
	n.room = 0
	d.do(memDirOp{from: base, node: n})
	return nil
}

func (m *memFS) RemoveAll(name string) error {
	if es, err := m.ReadDir(name); err == nil {
		for _, e := range es {
			if err := m.RemoveAll(filepath.Join(name, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := m.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (m *memFS) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	skip, err := m.syncOp("syncdir", name)
	if err != nil || skip {
		return err
	}
	d, err := m.find(name)
	if err != nil {
		return err
	}
	for _, op := range d.journal {
		op.apply(d.durable)
	}
	d.journal = nil
	return nil
}

func (m *memFS) SyncTree(name string) (done bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.tree {
		return false, nil
	}
	skip, err := m.syncOp("synctree", name)
	if err != nil || skip {
		return err == nil, err
	}
	m.root.sync()
	return true, nil
}

func (m *memFS) SyncsBeside() bool { return true }

// memGroup syncs all that is in the file system.
type memGroup struct{ m *memFS }

func (m *memFS) OpenGroup(string) (fileGroup, error) {
	if !m.tree {
		return nil, nil
	}
	return memGroup{m}, nil
}

func (g memGroup) Sync() error {
	g.m.mu.Lock()
	defer g.m.mu.Unlock()
	skip, err := g.m.syncOp("syncgroup", "")
	if err == nil && !skip {
		g.m.root.sync()
	}
	return err
}

func (g memGroup) Check(File) error { return nil }
func (g memGroup) Worthwhile() bool { return true }
func (g memGroup) Close() error     { return nil }

// sync makes a directory and all below it durable.
func (d *memDir) sync() {
	for _, op := range d.journal {
		op.apply(d.durable)
	}
	d.journal = nil
	for _, n := range d.now {
		if n.sub != nil {
			n.sub.sync()
			continue
		}
		n.durable, n.journal = slices.Clone(n.data), nil
	}
}

type memLock struct {
	m    *memFS
	name string
}

func (l memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	delete(l.m.locked, l.name)
	return nil
}

func (m *memFS) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.peek("lock", name); err != nil {
		return nil, err
	}
	if m.locked[name] {
		return nil, ErrLocked
	}
	if m.locked == nil {
		m.locked = map[string]bool{}
	}
	m.locked[name] = true
	return memLock{m, name}, nil
}

type memFile struct {
	m    *memFS
	n    *memNode
	name string
	seen int // of n.losses
}

func (f *memFile) ReadAt(p []byte, pos int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.peek("read", f.name); err != nil {
		return 0, err
	}
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
	if err := f.m.op("write", f.name); err != nil {
		return 0, err
	}
	more := max(0, pos+int64(len(p))-f.n.blocks())
	room, err := f.m.grow(more)
	p = p[:int64(len(p))-more+room]
	if len(p) > 0 {
		w := memWrite{pos, slices.Clone(p)}
		f.n.data = w.apply(f.n.data)
		f.n.journal = append(f.n.journal, w)
		f.n.mod = time.Now()
	}
	return len(p), err
}

// blocks is what the file takes of the disk.
func (n *memNode) blocks() int64 { return max(int64(len(n.data)), n.room) }

// Reserve takes what is to be had, as fallocate does.
func (f *memFile) Reserve(from, to int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.op("reserve", f.name); err != nil {
		return err
	}
	more, err := f.m.grow(max(0, to-f.n.blocks()))
	f.n.room = f.n.blocks() + more
	return err
}

// WriteOut makes nothing durable: no test may count on it.
func (f *memFile) WriteOut(_, _ int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.m.op("writeout", f.name)
}

func (f *memFile) Ahead() (free int64, use ahead) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	use = ahead{reserve: true, zeros: f.m.inPlace}
	if f.m.capacity == 0 {
		return 1 << 40, use
	}
	return max(0, f.m.capacity-f.m.used), use
}

func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.op("truncate", f.name); err != nil {
		return err
	}
	w := memWrite{pos: size}
	_, _ = f.m.grow(min(size, int64(len(f.n.data))) - f.n.blocks())
	f.n.room = 0
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
	skip, err := f.m.syncOp("sync "+strings.TrimLeft(filepath.Base(f.name), "0123456789"), f.name)
	if err != nil || skip {
		return err
	}
	if f.seen < f.n.losses {
		f.seen, f.n.told = f.n.losses, f.n.losses
		return errLost
	}
	if f.n.losses > 0 {
		return nil // what it has lost it does not write again
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
func (m *memFS) crash(r *rand.Rand) *memFS { return m.crashWith(r, r.IntN(5), r.IntN(4)) }

// crashWith is crash with the fates of files (see memNode.afterCrash) and directories (see memDir.afterCrash) chosen.
func (m *memFS) crashWith(r *rand.Rand, files, dirs int) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	if files == 1 && dirs == 1 {
		// Only the process died: what was not synced is still there, and still not synced.
		out := &memFS{root: m.root.clone(map[*memNode]*memNode{}), capacity: m.capacity, tree: m.tree, inPlace: m.inPlace, small: m.small}
		out.used = out.root.bytes()
		return out
	}
	out := &memFS{root: m.root.afterCrash(r, files, dirs), capacity: m.capacity, tree: m.tree, inPlace: m.inPlace, small: m.small}
	out.used = out.root.bytes()
	return out
}

// clone copies a directory with all that is not synced.
func (d *memDir) clone(nodes map[*memNode]*memNode) *memDir {
	node := func(n *memNode) *memNode {
		if c := nodes[n]; c != nil {
			return c
		}
		c := &memNode{data: slices.Clone(n.data), durable: slices.Clone(n.durable), journal: slices.Clone(n.journal), mod: n.mod}
		nodes[n] = c
		if n.sub != nil {
			c.sub = n.sub.clone(nodes)
		}
		return c
	}
	out := newMemDir()
	for _, k := range slices.Sorted(maps.Keys(d.now)) {
		out.now[k] = node(d.now[k])
	}
	for k, n := range d.durable {
		out.durable[k] = node(n)
	}
	for _, op := range d.journal {
		op.node = node(op.node)
		out.journal = append(out.journal, op)
	}
	return out
}

func (d *memDir) bytes() int64 {
	n := int64(0)
	for _, e := range d.now {
		n += int64(len(e.data))
		if e.sub != nil {
			n += e.sub.bytes()
		}
	}
	return n
}

func (d *memDir) afterCrash(r *rand.Rand, files, dirs int) *memDir {
	entries := maps.Clone(d.durable)
	prefix := r.IntN(len(d.journal) + 1)
	for i, op := range d.journal {
		keep := false
		switch dirs {
		case 0: // nothing that was not synced
		case 1:
			keep = true
		case 2: // a prefix
			keep = i < prefix
		case 3: // any of them
			keep = r.IntN(2) == 0
		}
		if keep {
			op.apply(entries)
		}
	}
	out := newMemDir()
	for _, base := range slices.Sorted(maps.Keys(entries)) { // the same choices for the same seed
		n := &memNode{mod: entries[base].mod}
		if sub := entries[base].sub; sub != nil {
			n.sub = sub.afterCrash(r, files, dirs)
		} else {
			n.data = entries[base].afterCrash(r, files)
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
	case 4: // any of their sectors; the file has its size
		before := slices.Clone(data)
		for _, w := range n.journal {
			data = w.apply(data)
		}
		for at := 0; at < len(data); at += sectorSize {
			if r.IntN(2) == 0 {
				continue
			}
			end := min(at+sectorSize, len(data))
			clear(data[at:end])
			if at < len(before) {
				copy(data[at:end], before[at:])
			}
		}
	}
	return data
}

// flip damages a byte of a file, as a decaying disk does.
func (m *memFS) flip(name string, pos int64, mask byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.dir(name)
	if err != nil || d.now[base] == nil || pos >= int64(len(d.now[base].data)) {
		return
	}
	n := d.now[base]
	n.data[pos] ^= mask
	if pos < int64(len(n.durable)) {
		n.durable[pos] ^= mask
	}
}
