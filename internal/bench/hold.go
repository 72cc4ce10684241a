package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	pageSize  = 4096
	blockSize = 2 << 20 // what a guest reports to its host as free
	holdChunk = 256 << 20
)

// heldMemory has the machine's free memory ready to be used, as it is on a machine that is no guest: all of it is touched once, and of each block of
// 2 MiB one page is kept in a pipe, from where the kernel cannot move it. A guest gives free blocks back to its host as a whole, so these stay.
type heldMemory struct {
	pipes []*os.File
	slots int // that the last pipe has left
	held  map[uint64]bool
}

// holdMemory needs to be told where pages are (/proc/self/pagemap), which is for root only.
func holdMemory() (_ *heldMemory, err error) {
	pagemap, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil, err
	}
	defer pagemap.Close()
	h := &heldMemory{held: map[uint64]bool{}}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	var chunks [][]byte
	defer func() {
		for _, m := range chunks {
			_ = unix.Munmap(m)
		}
	}()
	for told := time.Now(); meminfo("MemFree") > leastFree+holdChunk; {
		m, err := unix.Mmap(-1, 0, holdChunk, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return nil, err
		}
		chunks = append(chunks, m)
		_ = unix.Madvise(m, unix.MADV_NOHUGEPAGE)
		for at := 0; at < len(m); at += pageSize {
			m[at] = 1
		}
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			step("%d MiB of memory touched so far", len(chunks)*holdChunk>>20)
		}
	}
	entries := make([]byte, 8*holdChunk/pageSize)
	for _, m := range chunks {
		if _, err := pagemap.ReadAt(entries, int64(uintptr(unsafe.Pointer(&m[0]))/pageSize*8)); err != nil {
			return nil, fmt.Errorf("read /proc/self/pagemap: %w", err)
		}
		for at := 0; at < len(m); at += pageSize {
			entry := binary.LittleEndian.Uint64(entries[at/pageSize*8:])
			frame, present := entry&(1<<55-1), entry>>63 == 1
			if !present {
				continue
			}
			if frame == 0 {
				return nil, errors.New("/proc/self/pagemap does not say where pages are: root alone is told")
			}
			if block := frame / (blockSize / pageSize); !h.held[block] {
				if err := h.hold(m[at : at+pageSize]); err != nil {
					return nil, err
				}
				h.held[block] = true
			}
		}
	}
	return h, nil
}

// hold puts a page into a pipe.
func (h *heldMemory) hold(page []byte) error {
	if h.slots == 0 {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		h.pipes = append(h.pipes, r, w)
		size, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 1<<20)
		if err != nil {
			return fmt.Errorf("make a pipe larger: %w", err)
		}
		h.slots = size / pageSize
	}
	iov := []unix.Iovec{{Base: &page[0]}}
	iov[0].SetLen(len(page))
	if _, err := unix.Vmsplice(int(h.pipes[len(h.pipes)-1].Fd()), iov, unix.SPLICE_F_NONBLOCK); err != nil {
		return os.NewSyscallError("vmsplice", err)
	}
	h.slots--
	return nil
}

// ready has nothing to do: what a measurement has used is free again, and there.
func (h *heldMemory) ready() error { return nil }

func (h *heldMemory) close() {
	for _, f := range h.pipes {
		_ = f.Close()
	}
}
