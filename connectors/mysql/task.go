package mysql

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
)

// Task captures one server. One goroutine reads and fills a bounded queue, Poll empties it. Positions are kept by the worker alone: the
// server removes its binlog by its own rules.
type Task struct {
	mariadb bool
	cfg     *config
	log     *slog.Logger
	queue   *cdc.Queue
	met     *cdc.Metrics
	asm     *assembler
	stored  *offset // where to begin; set before run starts, moved on by run alone

	cancel context.CancelFunc
	done   chan struct{}
	once   sync.Once

	attempts int64 // since data flowed last; run alone uses it
}

var _ plugins.SourceTask = (*Task)(nil)

// Start reads the stored position and begins to capture. The server need not be there: the task keeps trying.
func (t *Task) Start(ctx context.Context, env plugins.Env, v configdef.Values) error {
	cfg, err := parseConfig(v, t.mariadb)
	if err != nil {
		return err
	}
	t.cfg, t.log = cfg, env.Logger
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	t.log = t.log.With("server", cfg.Prefix)
	t.queue = cdc.NewQueue(cfg.MaxQueue, cfg.MaxQueueBytes)
	t.met = cfg.NewMetrics(env.Metrics, cfg.flavor, t.queue)
	if env.Offsets != nil {
		m, err := env.Offsets.Offset(ctx, map[string]any{"server": cfg.Prefix})
		if err != nil {
			t.met.Unregister()
			return fmt.Errorf("read stored offset: %w", err)
		}
		if t.stored, err = readOffset(m); err != nil {
			t.met.Unregister()
			return fmt.Errorf("%w; reset the connector's offsets to begin anew", err)
		}
	}
	em := cfg.NewEmitter(max(env.TaskID, 0), runID(), &t.met.Stats)
	t.asm = newAssembler(cfg, em, &t.met.Stats)
	t.asm.onError = t.onError
	rctx, cancel := context.WithCancel(context.Background())
	t.cancel, t.done = cancel, make(chan struct{})
	go t.run(rctx)
	return nil
}

// onError applies event.processing.failure.handling.mode to a change that cannot be converted.
func (t *Task) onError(err error) error {
	switch t.cfg.Failure {
	case cdc.FailureWarn:
		t.log.Warn("change is left out as it cannot be converted", "error", err)
		return nil
	case cdc.FailureSkip:
		t.log.Debug("change is left out as it cannot be converted", "error", err)
		return nil
	}
	return fatalError{err}
}

// runID is a random UUID, new at each start.
func runID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return formatUUID(b)
}

// Poll implements plugins.SourceTask.
func (t *Task) Poll(ctx context.Context) ([]plugins.SourceRecord, error) {
	return t.queue.Poll(ctx, t.cfg.MaxBatch, t.cfg.PollInterval)
}

// Commit implements plugins.SourceTask. The server is told nothing: it does not keep its binlog for replicas.
func (t *Task) Commit(context.Context, map[string]any, plugins.Offset) error { return nil }

// Stop implements plugins.SourceTask.
func (t *Task) Stop() error {
	t.once.Do(func() {
		if t.cancel == nil {
			return
		}
		t.cancel()
		t.queue.Close()
		<-t.done
		t.met.Unregister()
	})
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
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

// run captures until ctx is done, beginning again after errors that may pass. What an attempt learnt (the position in asm) stays.
func (t *Task) run(ctx context.Context) {
	defer close(t.done)
	wait := firstRetryWait
	phase := &capture{t: t}
	for {
		err := phase.run(ctx)
		t.met.Connected.Store(false)
		if ctx.Err() != nil {
			return
		}
		if err == nil { // initial_only is done: nothing more will come
			<-ctx.Done()
			return
		}
		if isGone(err) && t.cfg.snapshotMode == "when_needed" {
			t.log.Warn("the binlog does not reach back to the position; taking a new snapshot", "error", err)
			phase.snapshot, phase.resumed = true, false
			continue
		}
		if !retriable(err) {
			t.queue.Fail(explain(t.cfg, err))
			return
		}
		if phase.progressed {
			t.attempts, wait, phase.progressed = 0, firstRetryWait, false
		}
		t.attempts++
		if t.cfg.MaxRetries >= 0 && t.attempts > t.cfg.MaxRetries {
			t.queue.Fail(fmt.Errorf("gave up after %d retries (errors.max.retries): %w", t.cfg.MaxRetries, err))
			return
		}
		wait = min(wait, max(t.cfg.RetryWait, time.Millisecond))
		t.log.Warn("lost the server, trying again", "error", err, "attempt", t.attempts, "wait", wait)
		sleep(ctx, wait)
		wait = min(wait*2, max(t.cfg.RetryWait, time.Millisecond))
	}
}

const firstRetryWait = 250 * time.Millisecond

// capture is the course of one task over all attempts.
type capture struct {
	t          *Task
	begun      bool // the start position was decided
	snapshot   bool // a snapshot is to be taken (again)
	resumed    bool // the assembler has its position
	progressed bool // data flowed since the last error
}

// run makes one attempt.
func (c *capture) run(ctx context.Context) error {
	t := c.t
	cat, err := openCatalog(ctx, t.cfg)
	if err != nil {
		return err
	}
	defer cat.close()
	if !c.begun {
		if _, err := cat.checkServer(t.log); err != nil {
			if serverError(err) != nil || retriable(err) {
				return err
			}
			return fatalError{err}
		}
		list, err := cat.tables()
		if err != nil {
			return err
		}
		if len(list) == 0 {
			t.log.Warn("no table matches the filters yet; check database.include.list and table.include.list")
		}
		c.snapshot = c.wantsSnapshot()
		c.begun = true
	}
	if c.snapshot {
		if err := c.takeSnapshot(ctx, cat); err != nil {
			return err
		}
	}
	if t.cfg.snapshotMode == "initial_only" {
		t.log.Info("snapshot.mode=initial_only: nothing more to do")
		return nil
	}
	if !c.resumed {
		if err := c.resume(cat); err != nil {
			return err
		}
		c.resumed = true
	}
	return c.stream(ctx, cat)
}

// wantsSnapshot decides by snapshot.mode and the stored position.
func (c *capture) wantsSnapshot() bool {
	t := c.t
	o := t.stored
	unfinished := o == nil || o.snapshot
	switch t.cfg.snapshotMode {
	case "no_data":
		if o != nil && o.snapshot {
			t.log.Warn("the stored offset is of an unfinished snapshot, which snapshot.mode=no_data does not finish")
		}
		return false
	case "always":
		return true
	case "when_needed":
		if unfinished {
			return true
		}
		return false // what turns out to be gone is read again
	}
	return unfinished
}

// resume gives the assembler its position: the stored one, or the end of the binlog.
func (c *capture) resume(cat *catalog) error {
	t := c.t
	if t.stored != nil {
		if err := cat.locate(t.stored); err != nil {
			return err
		}
		t.asm.resume(t.stored, true)
		return nil
	}
	s, err := cat.binlogPosition()
	if err != nil {
		return err
	}
	o := &offset{file: s.file, pos: s.pos, gtidText: s.gtids, seconds: time.Now().Unix()}
	if err := cat.locate(o); err != nil {
		return err
	}
	t.asm.resume(o, false)
	return nil
}

// takeSnapshot reads the tables as of one position of the binlog and leaves the assembler ready to stream from there.
func (c *capture) takeSnapshot(ctx context.Context, cat *catalog) error {
	t := c.t
	sleep(ctx, t.cfg.SnapshotDelay)
	s := &snapshot{cfg: t.cfg, log: t.log, queue: t.queue, met: t.met, em: t.asm.em, partition: t.asm.partition, onError: t.onError}
	end, err := s.take(ctx, cat)
	if err != nil {
		return err
	}
	c.snapshot = false
	t.stored = end
	t.log.Info("snapshot is complete", "file", end.file, "pos", end.pos)
	if t.cfg.snapshotMode != "initial_only" {
		sleep(ctx, t.cfg.StreamingDelay)
	}
	return nil
}
