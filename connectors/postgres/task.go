package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
)

// Task captures one database. Commit moves the confirmed position.
type Task struct {
	cfg    *config
	runner *cdc.Runner
	asm    *assembler
	stored *offset // where to begin; set before the runner starts, moved on by its goroutine alone

	flushed atomic.Uint64
	moved   chan struct{}
}

var _ plugins.SourceTask = (*Task)(nil)

// Start reads the stored position and begins to capture. The server need not be there: the task keeps trying.
func (t *Task) Start(ctx context.Context, env plugins.Env, v configdef.Values) error {
	cfg, err := parseConfig(v)
	if err != nil {
		return err
	}
	t.cfg = cfg
	t.runner = cfg.NewRunner(env, "postgres", "server", cfg.Prefix, "slot", cfg.slot)
	if err := t.runner.ReadOffset(ctx, env, func(m map[string]any) (err error) { t.stored, err = readOffset(m); return err }); err != nil {
		return err
	}
	t.asm = newAssembler(cfg, t.runner.Emitter, &t.runner.Metrics.Stats, nil)
	t.asm.onError = func(err error) error { return t.runner.Unconvertible("change", err) }
	t.moved = make(chan struct{}, 1)
	t.runner.Start(&capture{t: t})
	return nil
}

// Poll implements plugins.SourceTask.
func (t *Task) Poll(ctx context.Context) ([]plugins.SourceRecord, error) {
	return t.runner.Poll(ctx)
}

// Commit confirms the end of the last whole transaction at or before o, which is durable now; the server hears of it with the next report.
func (t *Task) Commit(_ context.Context, _ map[string]any, o plugins.Offset) error {
	var lsn uint64
	switch p := o.(type) {
	case nil:
		return nil
	case *offset:
		if p.snapshot != "" && !p.snapshotCompleted {
			return nil
		}
		lsn = p.lsnCommit
	default:
		q, err := readOffset(o.OffsetMap())
		if err != nil {
			return err
		}
		if q == nil || q.snapshot != "" && !q.snapshotCompleted {
			return nil
		}
		lsn = q.lsnCommit
	}
	for {
		old := t.flushed.Load()
		if lsn <= old {
			return nil
		}
		if t.flushed.CompareAndSwap(old, lsn) {
			select {
			case t.moved <- struct{}{}:
			default:
			}
			return nil
		}
	}
}

// Stop implements plugins.SourceTask.
func (t *Task) Stop() error {
	t.runner.Stop(func() {
		if t.cfg.dropSlot {
			t.dropSlot()
		}
	})
	return nil
}

func (t *Task) dropSlot() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		cat, err := openCatalog(ctx, t.cfg)
		if err == nil {
			err = cat.dropSlot(ctx)
			cat.close()
			if err == nil {
				return
			}
		}
		t.runner.Log.Warn("could not drop the slot on stop", "error", err)
		cdc.Sleep(ctx, 200*time.Millisecond)
	}
}

// retriable reports whether an error may pass by itself.
func retriable(err error) bool {
	if cdc.IsFatal(err) {
		return false
	}
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		switch {
		case strings.HasPrefix(pe.Code, "08"), // connection
			strings.HasPrefix(pe.Code, "53"),       // resources
			strings.HasPrefix(pe.Code, "57P"),      // shutdown, starting up, crash
			strings.HasPrefix(pe.Code, "40"),       // serialization, deadlock
			pe.Code == "55006", pe.Code == "55P03", // in use, lock timeout
			pe.Code == "57014": // cancelled
			return true
		}
		return false
	}
	var ne net.Error
	return errors.Is(err, errStreamEnded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &ne) ||
		errors.Is(err, net.ErrClosed) || pgconn.SafeToRetry(err) || pgconn.Timeout(err) || isConnectError(err) || errors.Is(err, context.DeadlineExceeded) ||
		strings.Contains(err.Error(), "conn closed")
}

func isConnectError(err error) bool {
	var ce *pgconn.ConnectError
	return errors.As(err, &ce)
}

// explain adds the remedy to errors that the server only names.
func explain(cfg *config, err error) error {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return err
	}
	switch {
	case pe.Code == "42704" && strings.Contains(pe.Message, "publication"):
		return fmt.Errorf("%w: publication %q must exist from before the slot's position on; create it, drop slot %q and let the connector begin anew (snapshot.mode=when_needed)", err, cfg.publication, cfg.slot)
	case pe.Code == "42704":
		return fmt.Errorf("%w: the slot was dropped while in use; changes since then are lost: use snapshot.mode=when_needed, or reset the connector's offsets", err)
	case pe.Code == "55000" && strings.Contains(pe.Message, "slot"):
		return fmt.Errorf("%w: the server removed log that slot %q needed (max_slot_wal_keep_size, idle_replication_slot_timeout), so changes are lost: drop the slot and use snapshot.mode=when_needed, or reset the connector's offsets", err, cfg.slot)
	case pe.Code == "42501":
		return fmt.Errorf("%w: user %q needs the REPLICATION attribute and SELECT on the captured tables", err, cfg.user)
	case pe.Code == "53400" || pe.Code == "53300":
		return fmt.Errorf("%w: raise max_replication_slots, max_wal_senders or max_connections", err)
	}
	return err
}

// capture is the course of one task over all attempts. It implements cdc.Capture.
type capture struct {
	t        *Task
	begun    bool // the start position was decided
	snapshot bool // a snapshot is to be taken (again)
}

// Retriable implements cdc.Capture.
func (c *capture) Retriable(err error) bool { return retriable(err) }

// Explain implements cdc.Capture.
func (c *capture) Explain(err error) error { return explain(c.t.cfg, err) }

// Attempt implements cdc.Capture.
func (c *capture) Attempt(ctx context.Context) error {
	t := c.t
	cat, err := openCatalog(ctx, t.cfg)
	if err != nil {
		return err
	}
	defer cat.close()
	list, err := cat.tables(ctx)
	if err != nil {
		return err
	}
	if !c.begun {
		if len(list) == 0 {
			t.runner.Log.Warn("no table matches the filters yet; check table.include.list and schema.include.list")
		}
		if err := cat.setIdentities(ctx, list); err != nil {
			return err
		}
		if c.snapshot, err = c.wantsSnapshot(ctx, cat); err != nil {
			return err
		}
		if !c.snapshot && t.cfg.snapshotMode != "initial_only" {
			if err := c.checkSlot(ctx, cat); err != nil {
				return err
			}
		}
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
	return c.stream(ctx, cat)
}

// wantsSnapshot decides by snapshot.mode and the stored position.
func (c *capture) wantsSnapshot(ctx context.Context, cat *catalog) (bool, error) {
	t := c.t
	o := t.stored
	unfinished := o == nil || o.snapshot != "" && !o.snapshotCompleted
	switch t.cfg.snapshotMode {
	case "no_data":
		if o != nil && o.snapshot != "" && !o.snapshotCompleted {
			t.runner.Log.Warn("the stored offset is of an unfinished snapshot, which snapshot.mode=no_data does not finish")
		}
		return false, nil
	case "always":
		return true, nil
	case "when_needed":
		if unfinished {
			return true, nil
		}
		s, err := cat.slot(ctx)
		if err != nil {
			return false, err
		}
		if s == nil || s.lost || s.confirmed > o.lsn && s.confirmed > o.lsnCommit {
			t.runner.Log.Warn("the slot does not reach back to the stored offset; taking a new snapshot", "offset", formatLSN(o.lsn))
			return true, nil
		}
		return false, nil
	}
	return unfinished, nil
}

// checkSlot makes sure that the stream can go on from the stored position without a gap, and creates the slot where there is no position
// to go on from.
func (c *capture) checkSlot(ctx context.Context, cat *catalog) error {
	t := c.t
	if err := cat.ensurePublication(ctx); err != nil {
		return err
	}
	s, err := cat.slot(ctx)
	if err != nil {
		return err
	}
	o := t.stored
	trust := t.cfg.mismatch == "trust_slot" || t.cfg.mismatch == "trust_greater_lsn"
	switch {
	case s == nil && o != nil && !trust:
		return cdc.Fatalf("replication slot %q does not exist although changes up to %s were read: whatever was changed since is lost. "+
			"Use snapshot.mode=when_needed to read the tables again, or offset.mismatch.strategy=trust_slot to go on with a gap", t.cfg.slot, formatLSN(o.lsn))
	case s == nil:
		e, err := t.cfg.createSlot(ctx, cat.version, false)
		if err != nil {
			return err
		}
		e.close()
		t.stored = nil
		t.asm.resume(&offset{lsnCommit: e.lsn, lsn: e.lsn, kind: "COMMIT"})
		t.asm.out.Position = nil // to be stored with the first record or mark
		return nil
	case s.lost:
		return cdc.Fatalf("replication slot %q has lost the log it needs (max_slot_wal_keep_size, idle_replication_slot_timeout): drop it and use snapshot.mode=when_needed", t.cfg.slot)
	case o == nil:
		t.asm.resume(nil)
		return nil
	case s.confirmed > o.lsn && s.confirmed > o.lsnCommit:
		if !trust {
			return cdc.Fatalf("replication slot %q stands at %s, beyond the stored offset %s: someone else moved or recreated it and changes in between are lost. "+
				"Use snapshot.mode=when_needed to read the tables again, or offset.mismatch.strategy=trust_slot to go on with a gap", t.cfg.slot, formatLSN(s.confirmed), formatLSN(o.lsn))
		}
		t.runner.Log.Warn("the slot is ahead of the stored offset; going on from the slot as offset.mismatch.strategy says", "slot", formatLSN(s.confirmed), "offset", formatLSN(o.lsn))
		o = &offset{lsnCommit: s.confirmed, lsn: s.confirmed, kind: "COMMIT"}
	case t.cfg.mismatch == "trust_slot" && s.confirmed < o.lsnCommit:
		t.runner.Log.Warn("the stored offset is ahead of the slot; going on from the slot as offset.mismatch.strategy says", "slot", formatLSN(s.confirmed), "offset", formatLSN(o.lsn))
		o = &offset{lsnCommit: s.confirmed, lsn: s.confirmed, kind: "COMMIT"}
	}
	t.stored = o
	t.asm.resume(o)
	t.flushed.Store(o.lsnCommit)
	return nil
}

// takeSnapshot reads the tables as of a slot's position and leaves the assembler ready to stream from there.
func (c *capture) takeSnapshot(ctx context.Context, cat *catalog) error {
	t := c.t
	cdc.Sleep(ctx, t.cfg.SnapshotDelay)
	s := &snapshot{cfg: t.cfg, runner: t.runner, partition: t.asm.partition}
	var exp *exported
	if t.cfg.snapshotMode != "initial_only" {
		if err := cat.ensurePublication(ctx); err != nil {
			return err
		}
		have, err := cat.slot(ctx)
		if err != nil {
			return err
		}
		if have != nil && have.lost {
			t.runner.Log.Warn("replacing the slot, which has lost its log")
			if err := cat.dropSlot(ctx); err != nil {
				return err
			}
			have = nil
		}
		t.runner.Log.Info("creating a slot and its snapshot; the server waits for transactions that are running")
		if exp, err = t.cfg.createSlot(ctx, cat.version, have != nil); err != nil {
			return err
		}
	}
	defer func() { exp.close() }()
	name, lsn := "", uint64(0)
	if exp != nil {
		name, lsn = exp.snapshot, exp.lsn
	}
	var end *offset
	err := t.runner.Metrics.Snapshot(func() (err error) { end, err = s.run(ctx, cat, name, lsn); return err })
	if err != nil {
		return err
	}
	c.snapshot = false
	t.stored = end
	t.asm.resume(end)
	t.runner.Log.Info("snapshot is complete", "lsn", formatLSN(end.lsn))
	if t.cfg.snapshotMode != "initial_only" {
		cdc.Sleep(ctx, t.cfg.StreamingDelay)
	}
	return nil
}

// stream follows the slot from the assembler's position.
func (c *capture) stream(ctx context.Context, cat *catalog) error {
	t := c.t
	timeout, err := cat.walSenderTimeout(ctx)
	if err != nil {
		return err
	}
	horizon, err := cat.logEnd(ctx)
	if err != nil {
		return err
	}
	from := t.asm.restart(horizon)
	pc, err := t.cfg.replicationConn(ctx)
	if err != nil {
		return err
	}
	h, frames, err := startReplication(ctx, pc, t.cfg, cat.version, from)
	for retry := 0; err != nil && slotInUse(err); retry++ {
		// A slot stays busy until the server notices that its last user is gone: look again soon, give up when the time is over.
		if total := t.cfg.slotRetryDelay * time.Duration(t.cfg.slotRetries); time.Duration(retry)*slotPoll(t.cfg) >= total {
			return cdc.Fatalf("slot.max.retries: %w", err)
		}
		if retry == 0 {
			t.runner.Log.Warn("the slot is in use, waiting for it", "error", err)
		}
		cdc.Sleep(ctx, slotPoll(t.cfg))
		if pc, err = t.cfg.replicationConn(ctx); err != nil {
			return err
		}
		h, frames, err = startReplication(ctx, pc, t.cfg, cat.version, from)
	}
	if err != nil {
		return err
	}
	t.runner.Log.Info("streaming", "from", formatLSN(from), "publication", t.cfg.publication)
	t.runner.Metrics.Connected.Store(true)
	t.asm.source = newBuilder(ctx, cat, t.runner.Log)
	s := &stream{cfg: t.cfg, conn: h.Conn, log: t.runner.Log, asm: t.asm, queue: t.runner.Queue, met: t.runner.Metrics, flushed: &t.flushed, moved: t.moved, frames: frames,
		interval: t.cfg.reportInterval(timeout), onProgress: t.runner.Progressed}
	if q := t.cfg.HeartbeatQuery; q != "" {
		s.heartbeat = func(ctx context.Context) error {
			if _, err := cat.conn.Exec(ctx, q); err != nil {
				if retriable(err) {
					return fmt.Errorf("heartbeat.action.query: %w", err)
				}
				t.runner.Log.Warn("heartbeat.action.query failed", "error", err)
			}
			return nil
		}
	}
	defer s.close()
	return s.run(ctx)
}

func slotPoll(c *config) time.Duration {
	return max(min(c.slotRetryDelay, 500*time.Millisecond), time.Millisecond)
}

func slotInUse(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == "55006"
}

// logEnd reads the end of the server's log.
func (c *catalog) logEnd(ctx context.Context) (uint64, error) {
	var s string
	if err := c.conn.QueryRow(ctx, "SELECT pg_current_wal_lsn()::text").Scan(&s); err != nil {
		return 0, fmt.Errorf("read the log's position: %w", err)
	}
	return parseLSN(s)
}

// walSenderTimeout reads how long the server waits to hear from a client, 0 for ever.
func (c *catalog) walSenderTimeout(ctx context.Context) (time.Duration, error) {
	var ms int64
	err := c.conn.QueryRow(ctx, "SELECT setting::bigint FROM pg_settings WHERE name = 'wal_sender_timeout'").Scan(&ms)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read wal_sender_timeout: %w", err)
	}
	return time.Duration(ms) * time.Millisecond, nil
}
