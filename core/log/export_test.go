package log

import "math/rand/v2"

// ForgetfulFS is the disk in memory of this package's crash tests, for tests of what is built on the log.
type ForgetfulFS = memFS

// NewForgetfulFS returns an empty disk.
func NewForgetfulFS() *ForgetfulFS {
	m := newMemFS()
	m.inPlace, m.small = true, true
	return m
}

// tune has what is done to large files done to small ones.
func (m *memFS) tune(o *Options) {
	if m.small {
		o.room, o.zeros, o.writeOut = smallRoom, smallZeros, smallWriteOut
	}
}

// PowerLoss returns the disk as it is after the power failed now, and fails whatever is still asked of the old one.
func (m *memFS) PowerLoss(r *rand.Rand) *ForgetfulFS {
	m.mu.Lock()
	m.failAt = 1
	m.mu.Unlock()
	return m.crash(r)
}
