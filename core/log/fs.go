package log

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// FS is what a Dir needs of a file system. Names are paths as given to OpenDir joined with file names.
// Implementations must be safe for concurrent use.
type FS interface {
	// OpenFile opens for reading and writing; flag is a combination of os.O_CREATE, os.O_TRUNC, os.O_EXCL and os.O_RDONLY/O_RDWR.
	OpenFile(name string, flag int) (File, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
	MkdirAll(name string) error
	Rename(from, to string) error
	Remove(name string) error
	RemoveAll(name string) error
	// SyncDir makes the entries of a directory durable.
	SyncDir(name string) error
	// Lock takes an exclusive lock on a file, which it creates, until the result is closed; ErrLocked when it is taken.
	Lock(name string) (io.Closer, error)
}

// File is an open file. Its methods are safe for concurrent use.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	// Sync makes the contents and the size durable.
	Sync() error
	Size() (int64, error)
}

// besideFS is an FS that may have two syncs of one file run at the same time, each through a descriptor of its own.
type besideFS interface {
	// SyncsBeside says that each of the two waits for all that was written before it was called, whoever writes it to the disk, and tells of
	// what could not be written even when the other did before.
	SyncsBeside() bool
}

// OS is the file system of the operating system.
var OS FS = osFS{}

type osFS struct{}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return fdatasync(f.File) }

func (f osFile) Reserve(from, to int64) error { return reserve(f.File, from, to) }

func (f osFile) WriteOut(from, to int64) error { return writeOut(f.File, from, to) }

func (f osFile) Ahead() (free int64, use ahead) { return freeAhead(f.File) }

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (osFS) OpenFile(name string, flag int) (File, error) {
	f, err := openPlain(name, flag, 0o644)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := openPlain(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	es, err := f.ReadDir(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	slices.SortFunc(es, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return es, nil
}

func (osFS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }
func (osFS) MkdirAll(name string) error            { return os.MkdirAll(name, 0o755) }
func (osFS) Rename(from, to string) error          { return os.Rename(from, to) }
func (osFS) Remove(name string) error              { return os.Remove(name) }
func (osFS) RemoveAll(name string) error           { return os.RemoveAll(name) }
func (osFS) SyncDir(name string) error             { return syncDir(name) }
func (osFS) Lock(name string) (io.Closer, error)   { return lockFile(name) }

// readFile reads a whole file of at most limit bytes.
func readFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("%s: %d bytes, want at most %d", name, n, limit)
	}
	p := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, n), p); err != nil {
		return nil, err
	}
	return p, nil
}

// writeFile creates or replaces a file in place; sync makes it durable (but not its directory entry).
func writeFile(fsys FS, name string, p []byte, sync bool) error {
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(p, 0)
	if err == nil && sync {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// replaceFile puts a file in place at once and durably: written aside, synced, renamed, directory synced. After a crash
// there is the old file or the new one.
func replaceFile(fsys FS, name string, p []byte) error {
	tmp := name + ".tmp"
	if err := writeFile(fsys, tmp, p, true); err != nil {
		return fmt.Errorf("write %s: %w", tmp, err)
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

// removeIfExists removes a file that may be absent.
func removeIfExists(fsys FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
