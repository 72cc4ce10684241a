package server

import (
	"math/bits"
	"sync"
	"unsafe"
)

// Frame buffers come from pools of powers of two between 4 KiB and 32 MiB; larger ones are left to the collector. A client that writes to many
// partitions sends a batch of a megabyte for each in one frame.
const (
	minPooled = 12 // log2
	maxPooled = 25
)

// The pools hold pointers to the first byte of arrays of their size, which a sync.Pool takes without allocating.
var pools [maxPooled - minPooled + 1]sync.Pool

// GetBuffer returns a buffer of length 0 and at least capacity n, from a pool where it pays.
func GetBuffer(n int) []byte {
	c := poolClass(n)
	if c < 0 {
		return make([]byte, 0, n)
	}
	if p, _ := pools[c].Get().(*byte); p != nil {
		return unsafe.Slice(p, 1<<(c+minPooled))[:0]
	}
	return make([]byte, 0, 1<<(c+minPooled))
}

// PutBuffer gives a buffer from GetBuffer back. Nobody may hold a slice of it any more.
func PutBuffer(b []byte) {
	n := cap(b)
	if n < 1<<minPooled || n > 1<<maxPooled || n&(n-1) != 0 {
		return
	}
	pools[bits.Len(uint(n))-1-minPooled].Put(unsafe.SliceData(b))
}

// poolClass is the pool of buffers with capacity n, or -1.
func poolClass(n int) int {
	if n > 1<<maxPooled {
		return -1
	}
	c := bits.Len(uint(max(n, 1)-1)) - minPooled
	return max(c, 0)
}
