package quorum

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"
)

// ErrFull answers changes while the disk of the metadata log has no room. What was under way may still be made when there is room
// again; what came later is not.
var ErrFull = errors.New("the disk of the metadata log is full")

// roomRetry is how long the node waits before it tries the disk again.
const roomRetry = 250 * time.Millisecond

// noRoomError is a write that found the disk full and left nothing behind but bytes at the end, which can be taken back. A sync that
// finds it full is not one: the kernel may have dropped what was written before.
type noRoomError struct{ error }

func (e noRoomError) Unwrap() error { return e.error }

// noRoom marks an error of a write.
func noRoom(err error) error {
	if isFull(err) {
		return noRoomError{err}
	}
	return err
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// again brings the log back to its last whole frame after a write that did not go through, and waits for room. It returns nil when the
// write is to be tried again.
func (w *wal) again(err error) error {
	var full noRoomError
	if w.room == nil || !errors.As(err, &full) {
		return err
	}
	last := filepath.Join(w.dir, segmentName(w.segments[len(w.segments)-1].number))
	if terr := w.fs.Truncate(last, w.size); terr != nil {
		return errors.Join(err, terr)
	}
	if werr := w.room(err); werr != nil {
		return errors.Join(err, werr)
	}
	return nil
}

// awaitRoom waits a while, and refuses what is asked for meanwhile. It runs on the loop's goroutine, in the middle of a write: nothing else
// can go on, since a leader that cannot write must not promise anything. Peers elect another one.
func (n *Node) awaitRoom(ctx context.Context, err error) error {
	if !n.full {
		n.full = true
		n.logger.Error("the disk of the metadata log is full: changes are refused until there is room", "dir", n.cfg.Dir, "error", err)
	}
	refused := fmt.Errorf("%w: %w", ErrFull, err)
	for _, r := range append(n.inflight, n.waiting...) {
		r.finish(refused)
	}
	n.inflight, n.waiting = nil, nil
	retry := time.NewTimer(roomRetry)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-retry.C:
			return nil
		case r := <-n.requests:
			r.finish(refused)
		case <-n.inbox: // as if the network had lost it
		}
	}
}

// hasRoom notes that a write went through.
func (n *Node) hasRoom() {
	if n.full {
		n.full = false
		n.logger.Info("the disk of the metadata log has room again", "dir", n.cfg.Dir)
	}
}
