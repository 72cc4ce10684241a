package mysql

import (
	"context"
	"time"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
)

// Task captures one server. Positions are kept by the worker alone: the server removes its binlog by its own rules.
type Task struct {
	mariadb bool
	cfg     *config
	runner  *cdc.Runner
	asm     *assembler
	stored  *offset // where to begin; set before the runner starts, moved on by its goroutine alone
}

var _ plugins.SourceTask = (*Task)(nil)

// Start reads the stored position and begins to capture. The server need not be there: the task keeps trying.
func (t *Task) Start(ctx context.Context, env plugins.Env, v configdef.Values) error {
	cfg, err := parseConfig(v, t.mariadb)
	if err != nil {
		return err
	}
	t.cfg = cfg
	t.runner = cfg.NewRunner(env, cfg.flavor, "server", cfg.Prefix)
	if err := t.runner.ReadOffset(ctx, env, func(m map[string]any) (err error) { t.stored, err = readOffset(m); return err }); err != nil {
		return err
	}
	t.asm = newAssembler(cfg, t.runner.Emitter, &t.runner.Metrics.Stats)
	t.asm.onError = t.onError
	t.runner.Start(&capture{t: t})
	return nil
}

func (t *Task) onError(err error) error { return t.runner.Unconvertible("change", err) }

// Poll implements plugins.SourceTask.
func (t *Task) Poll(ctx context.Context) ([]plugins.SourceRecord, error) {
	return t.runner.Poll(ctx)
}

// Commit implements plugins.SourceTask. The server is told nothing: it does not keep its binlog for replicas.
func (t *Task) Commit(context.Context, map[string]any, plugins.Offset) error { return nil }

// Stop implements plugins.SourceTask.
func (t *Task) Stop() error {
	t.runner.Stop(nil)
	return nil
}

// capture is the course of one task over all attempts. It implements cdc.Capture.
type capture struct {
	t        *Task
	begun    bool // the start position was decided
	snapshot bool // a snapshot is to be taken (again)
	resumed  bool // the assembler has its position
}

// Attempt implements cdc.Capture.
func (c *capture) Attempt(ctx context.Context) error {
	for {
		err := c.run(ctx)
		if err == nil || ctx.Err() != nil || !isGone(err) || c.t.cfg.snapshotMode != "when_needed" {
			return err
		}
		c.t.runner.Metrics.Connected.Store(false)
		c.t.runner.Log.Warn("the binlog does not reach back to the position; taking a new snapshot", "error", err)
		c.snapshot, c.resumed = true, false
	}
}

// Retriable implements cdc.Capture.
func (c *capture) Retriable(err error) bool { return retriable(err) }

// Explain implements cdc.Capture.
func (c *capture) Explain(err error) error { return explain(c.t.cfg, err) }

// run makes one attempt.
func (c *capture) run(ctx context.Context) error {
	t := c.t
	cat, err := openCatalog(ctx, t.cfg)
	if err != nil {
		return err
	}
	defer cat.close()
	if !c.begun {
		if _, err := cat.checkServer(t.runner.Log); err != nil {
			if serverError(err) != nil || retriable(err) {
				return err
			}
			return cdc.Fatal{Err: err}
		}
		list, err := cat.tables()
		if err != nil {
			return err
		}
		if len(list) == 0 {
			t.runner.Log.Warn("no table matches the filters yet; check database.include.list and table.include.list")
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
		t.runner.Log.Info("snapshot.mode=initial_only: nothing more to do")
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
			t.runner.Log.Warn("the stored offset is of an unfinished snapshot, which snapshot.mode=no_data does not finish")
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
	cdc.Sleep(ctx, t.cfg.SnapshotDelay)
	s := &snapshot{cfg: t.cfg, runner: t.runner, partition: t.asm.partition}
	var end *offset
	err := t.runner.Metrics.Snapshot(func() (err error) { end, err = s.run(ctx, cat); return err })
	if err != nil {
		return err
	}
	c.snapshot = false
	t.stored = end
	t.runner.Log.Info("snapshot is complete", "file", end.file, "pos", end.pos)
	if t.cfg.snapshotMode != "initial_only" {
		cdc.Sleep(ctx, t.cfg.StreamingDelay)
	}
	return nil
}
