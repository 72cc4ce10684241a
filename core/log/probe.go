package log

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// A directory that nobody writes to would fail unnoticed until the next checkpoint. Apache Kafka notices within five seconds, by the high
// watermarks that it writes down (replica.high.watermark.checkpoint.interval.ms); here there are none to be written, so the directory is written
// to for this alone: one small file for all of its partitions.

// fileProbe is written by the probe and never read. It stays.
const fileProbe = ".probe"

// probeInterval is how often.
const probeInterval = 5 * time.Second

// probe finds out whether the directory can still be written to. It goes by the path: files that are open outlive a directory that is gone.
func (d *Dir) probe() error {
	err := writeProbe(d.fs, d.file(fileProbe))
	switch {
	case err == nil, isFull(err), errors.Is(err, ErrClosed):
		return nil // a full disk is what writers find out and wait for
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return nil // this process has no file left: that says nothing of the directory
	}
	return d.broken(fmt.Errorf("write %s: %w", fileProbe, err))
}

func writeProbe(fsys FS, name string) error {
	f, err := fsys.OpenFile(name, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte("0\n"), 0)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
