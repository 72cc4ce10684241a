package quorum

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// memFS is a file system in memory that tells what is durable from what is not, as a disk does: the content of a file
// up to its last Sync, the names of a directory up to its last SyncDir. crash loses a random part of the rest.
type memFS struct {
	mu      sync.Mutex
	names   map[string]*inode
	durable map[string]*inode
	journal []func(map[string]*inode) // changes of names since SyncDir, in order
	gen     int                       // writes through handles of an earlier life fail
	failing error                     // what every Sync answers
	bounded bool                      // room bounds what can be written
	room    int
	locked  map[string]bool
}

type inode struct {
	data   []byte
	synced int // bytes that are durable
}

func newMemFS() *memFS {
	return &memFS{names: map[string]*inode{}, durable: map[string]*inode{}, locked: map[string]bool{}}
}

var errPowerLoss = errors.New("power loss")

func (m *memFS) change(f func(map[string]*inode)) {
	f(m.names)
	m.journal = append(m.journal, f)
}

// crash is a power loss: names changed since SyncDir survive up to a random point, bytes written since Sync in
// random sectors.
func (m *memFS) crash(rng *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gen++
	m.locked = map[string]bool{}
	for _, f := range m.journal[:rng.IntN(len(m.journal)+1)] {
		f(m.durable)
	}
	m.journal = nil
	m.names = map[string]*inode{}
	for n, i := range m.durable {
		kept := bytes.Clone(i.data[:i.synced])
		if tail := i.data[i.synced:]; len(tail) > 0 && rng.IntN(3) > 0 {
			kept = append(kept, tail[:rng.IntN(len(tail)+1)]...)
			// Some sectors of the tail did not reach the disk; what of them is durable already stays.
			for at := i.synced; at < len(kept); {
				next := min((at/sector+1)*sector, len(kept))
				if rng.IntN(2) == 0 {
					clear(kept[at:next])
				}
				at = next
			}
		}
		*i = inode{data: kept, synced: len(kept)}
		m.names[n] = i
	}
}

func (m *memFS) MkdirAll(string) error { return nil }

func (m *memFS) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for n := range m.names {
		if filepath.Dir(n) == dir {
			out = append(out, filepath.Base(n))
		}
	}
	return out, nil
}

func (m *memFS) ReadFile(name string, limit int64) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.names[name]
	if i == nil {
		return nil, fmt.Errorf("%s does not exist", name)
	}
	return bytes.Clone(i.data), nil
}

type memFile struct {
	m   *memFS
	i   *inode
	gen int
}

func (m *memFS) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := &inode{}
	m.change(func(names map[string]*inode) { names[name] = i })
	return &memFile{m, i, m.gen}, nil
}

func (m *memFS) OpenAppend(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.names[name] == nil {
		return nil, fmt.Errorf("%s does not exist", name)
	}
	return &memFile{m, m.names[name], m.gen}, nil
}

func (m *memFS) Truncate(name string, size int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.names[name]
	if m.bounded {
		m.room += len(i.data) - int(size)
	}
	i.data, i.synced = i.data[:size], int(size)
	return nil
}

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.change(func(names map[string]*inode) {
		if i := names[from]; i != nil {
			names[to] = i
			delete(names, from)
		}
	})
	return nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.change(func(names map[string]*inode) { delete(names, name) })
	return nil
}

func (m *memFS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failing != nil {
		return m.failing
	}
	for _, f := range m.journal {
		f(m.durable)
	}
	m.journal = nil
	return nil
}

type memLock struct {
	m    *memFS
	name string
	gen  int
}

func (m *memFS) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked[name] {
		return nil, ErrLocked
	}
	m.locked[name] = true
	return memLock{m, name, m.gen}, nil
}

func (l memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.gen == l.m.gen {
		delete(l.m.locked, l.name)
	}
	return nil
}

func (f *memFile) Write(b []byte) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.gen != f.m.gen {
		return 0, errPowerLoss
	}
	if f.m.bounded {
		n := min(len(b), f.m.room)
		f.m.room -= n
		f.i.data = append(f.i.data, b[:n]...)
		if n < len(b) {
			return n, syscall.ENOSPC
		}
		return n, nil
	}
	f.i.data = append(f.i.data, b...)
	return len(b), nil
}

func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.gen != f.m.gen {
		return errPowerLoss
	}
	if f.m.failing != nil {
		return f.m.failing
	}
	f.i.synced = len(f.i.data)
	return nil
}

func (f *memFile) Close() error { return nil }

// leave bounds what can still be written to n bytes; -1 is no bound.
func (m *memFS) leave(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bounded, m.room = n >= 0, n
}

// edit changes the content of the file whose name has the suffix.
func (m *memFS) edit(suffix string, f func([]byte) []byte) {
	for n, i := range m.names {
		if strings.HasSuffix(n, suffix) {
			i.data = f(bytes.Clone(i.data))
			i.synced = len(i.data)
		}
	}
}

// copy returns a file system with the same durable files.
func (m *memFS) copy() *memFS {
	c := newMemFS()
	for n, i := range m.names {
		ci := &inode{data: bytes.Clone(i.data), synced: len(i.data)}
		c.names[n], c.durable[n] = ci, ci
	}
	return c
}
