package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// turnLength is how long tests run before others get the machine.
const turnLength = 3*time.Minute + 30*time.Second

// turns shares the machine with others who hold the same lock while they load it, and counts the time that tests took.
type turns struct {
	file  string // to lock; "" to share with nobody
	began time.Time
	total time.Duration
}

// take waits for a turn, or until ctx ends; the function that it returns ends the turn.
func (t *turns) take(ctx context.Context) (func(), error) {
	var f *os.File
	if t.file != "" {
		var err error
		if f, err = os.OpenFile(t.file, os.O_CREATE|os.O_RDWR, 0o666); err != nil {
			return nil, fmt.Errorf("-lock: %w", err)
		}
		locked := make(chan error, 1)
		go func() {
			var err error = syscall.EINTR
			for errors.Is(err, syscall.EINTR) {
				err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
			}
			locked <- err
		}()
		select {
		case err := <-locked:
			if err != nil {
				return nil, fmt.Errorf("-lock: lock %s: %w", t.file, err)
			}
		case <-ctx.Done():
			return nil, ctx.Err() // the process ends, and the lock with it
		}
	}
	t.began = time.Now()
	return func() {
		t.total += time.Since(t.began)
		t.began = time.Time{}
		if f != nil {
			_ = f.Close()
		}
	}, nil
}

// over says that the turn has been long enough.
func (t *turns) over() bool { return t.file != "" && time.Since(t.began) > turnLength }

// spent is the time since reset in which it was our turn.
func (t *turns) spent() time.Duration {
	if t.began.IsZero() {
		return t.total
	}
	return t.total + time.Since(t.began)
}

func (t *turns) reset() { t.total = 0 }
