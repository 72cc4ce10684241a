package cdc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/moldau-io/moldau/plugins"
)

// Fatal is an error that trying again does not help.
type Fatal struct{ Err error }

// Error implements error.
func (e Fatal) Error() string { return e.Err.Error() }

// Unwrap returns the error itself.
func (e Fatal) Unwrap() error { return e.Err }

// Fatalf returns a Fatal error.
func Fatalf(format string, args ...any) error { return Fatal{fmt.Errorf(format, args...)} }

// IsFatal reports whether err is, or wraps, a Fatal error.
func IsFatal(err error) bool {
	var f Fatal
	return errors.As(err, &f)
}

// Capture is what a connector captures by. All calls come from the goroutine of one Runner.
type Capture interface {
	// Attempt captures until ctx is done or something fails; nil says that nothing more will come. What an attempt learnt stays.
	Attempt(ctx context.Context) error
	// Retriable reports whether an error of Attempt may pass by itself.
	Retriable(err error) bool
	// Explain adds the remedy to an error that will not pass.
	Explain(err error) error
}

// Runner is the life of a task that captures a source's log: one goroutine makes attempts, which fill a bounded queue, Poll empties it. The
// server need not be there: the goroutine keeps trying.
type Runner struct {
	Log     *slog.Logger
	Queue   *Queue
	Metrics *Metrics
	Emitter *Emitter

	cfg    *Config
	cancel context.CancelFunc
	done   chan struct{}
	once   sync.Once

	attempts   int64 // since data flowed last; these two are the goroutine's
	progressed bool  // data flowed since the last error
}

// NewRunner returns the runner of a task that was not started yet, whose log lines carry attrs. plugin is the metrics' name of the connector.
// Until Start, ending its Metrics is up to the caller.
func (c *Config) NewRunner(env plugins.Env, plugin string, attrs ...any) *Runner {
	log := env.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	r := &Runner{cfg: c, Log: log.With(attrs...), Queue: NewQueue(c.MaxQueue, c.MaxQueueBytes)}
	r.Metrics = c.NewMetrics(env.Metrics, plugin, r.Queue)
	r.Emitter = c.NewEmitter(max(env.TaskID, 0), newRunID(), &r.Metrics.Stats)
	return r
}

// newRunID is a random UUID, new at each start.
func newRunID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// ReadOffset hands the stored offset to parse, which gets an empty one when there is none. After an error the metrics are taken away.
func (r *Runner) ReadOffset(ctx context.Context, env plugins.Env, parse func(map[string]any) error) error {
	if env.Offsets == nil {
		return nil
	}
	m, err := env.Offsets.Offset(ctx, map[string]any{"server": r.cfg.Prefix})
	if err != nil {
		err = fmt.Errorf("read stored offset: %w", err)
	} else if err = parse(m); err != nil {
		err = fmt.Errorf("%w; reset the connector's offsets to begin anew", err)
	}
	if err != nil {
		r.Metrics.Unregister()
	}
	return err
}

// Start begins to capture.
func (r *Runner) Start(c Capture) {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan struct{})
	go r.run(ctx, c)
}

// Poll is that of plugins.SourceTask.
func (r *Runner) Poll(ctx context.Context) ([]plugins.SourceRecord, error) {
	return r.Queue.Poll(ctx, r.cfg.MaxBatch, r.cfg.PollInterval)
}

// Stop ends capturing, waits for it, and calls then, which may be nil. A runner that is nil, was not started or was stopped does nothing.
func (r *Runner) Stop(then func()) {
	if r == nil {
		return
	}
	r.once.Do(func() {
		if r.cancel == nil {
			return
		}
		r.cancel()
		r.Queue.Close()
		<-r.done
		if then != nil {
			then()
		}
		r.Metrics.Unregister()
	})
}

// Progressed tells that data flow, so that retries count from anew. It is for the goroutine of Attempt.
func (r *Runner) Progressed() { r.progressed = true }

// Unconvertible applies event.processing.failure.handling.mode to what (a change, a row) that cannot be converted: nil goes on without it.
func (r *Runner) Unconvertible(what string, err error) error {
	switch r.cfg.Failure {
	case FailureWarn:
		r.Log.Warn(what+" is left out as it cannot be converted", "error", err)
		return nil
	case FailureSkip:
		r.Log.Debug(what+" is left out as it cannot be converted", "error", err)
		return nil
	}
	return Fatal{err}
}

const firstRetryWait = 250 * time.Millisecond

// run captures until ctx is done, beginning again after errors that may pass.
func (r *Runner) run(ctx context.Context, c Capture) {
	defer close(r.done)
	wait := firstRetryWait
	for {
		err := c.Attempt(ctx)
		r.Metrics.Connected.Store(false)
		if ctx.Err() != nil {
			return
		}
		if err == nil { // nothing more will come
			<-ctx.Done()
			return
		}
		if !c.Retriable(err) {
			r.Queue.Fail(c.Explain(err))
			return
		}
		if r.progressed {
			r.attempts, wait, r.progressed = 0, firstRetryWait, false
		}
		r.attempts++
		if r.cfg.MaxRetries >= 0 && r.attempts > r.cfg.MaxRetries {
			r.Queue.Fail(fmt.Errorf("gave up after %d retries (errors.max.retries): %w", r.cfg.MaxRetries, err))
			return
		}
		most := max(r.cfg.RetryWait, time.Millisecond)
		wait = min(wait, most)
		r.Log.Warn("lost the server, trying again", "error", err, "attempt", r.attempts, "wait", wait)
		Sleep(ctx, wait)
		wait = min(wait*2, most)
	}
}

// Sleep waits for d or until ctx is done.
func Sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
