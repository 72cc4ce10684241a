package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memory is what is done about memory that a virtual machine has given back to its host because it was free: a broker that writes new records
// waits for the host page by page, 2 s for a GiB have been seen, three times what the broker itself takes, and the same for every broker.
type memory interface {
	// ready is called before each measurement.
	ready() error
	close()
}

func newMemory(dir string) (memory, error) {
	step("touching the machine's free memory")
	h, err := holdMemory()
	if err == nil {
		return h, nil
	}
	step("filling the page cache, for free memory cannot be held (%v)", err)
	return newPageCache(dir)
}

// pageCache keeps the machine's page cache full, as it is on one that has run for a while: new pages come from old ones that were not used for
// long, part of which the host has back meanwhile. What fills it is a file of nothing, which takes no room on the disk and is dropped as soon as anybody wants the memory.
type pageCache struct {
	f        *os.File
	at, size int64
	buf      []byte
}

// leastFree is what is left free.
const leastFree = 512 << 20

func newPageCache(dir string) (*pageCache, error) {
	f, err := os.Create(filepath.Join(dir, "nothing"))
	if err != nil {
		return nil, fmt.Errorf("fill the page cache: %w", err)
	}
	c := &pageCache{f: f, size: meminfo("MemTotal"), buf: make([]byte, 4<<20)}
	if err := f.Truncate(c.size); err != nil {
		return nil, errors.Join(fmt.Errorf("fill the page cache: %w", err), f.Close())
	}
	return c, nil
}

// ready fills it up.
func (c *pageCache) ready() error {
	for meminfo("MemFree") > leastFree {
		for range 16 {
			if c.at+int64(len(c.buf)) > c.size {
				c.at = 0
			}
			n, err := c.f.ReadAt(c.buf, c.at)
			if c.at += int64(n); err != nil && !errors.Is(err, io.EOF) {
				return fmt.Errorf("fill the page cache: %w", err)
			}
		}
	}
	return nil
}

func (c *pageCache) close() { _ = c.f.Close() }

// meminfo is a figure of /proc/meminfo in bytes, 0 when it is not known.
func meminfo(name string) int64 {
	data, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}
