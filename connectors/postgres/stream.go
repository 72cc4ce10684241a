package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins"
)

// closeTimeout bounds the polite part of closing a connection.
const closeTimeout = 2 * time.Second

// replicationConn opens a connection that understands replication commands.
func (c *config) replicationConn(ctx context.Context) (*pgconn.PgConn, error) {
	cc, err := pgconn.ParseConfig(c.connString())
	if err != nil {
		return nil, fmt.Errorf("connection settings: %s", c.hide(err))
	}
	runtimeParams(cc.RuntimeParams)
	cc.RuntimeParams["replication"] = "database"
	conn, err := pgconn.ConnectConfig(ctx, cc)
	if err != nil {
		return nil, fmt.Errorf("connect to %s:%d/%s for replication: %w", c.host, c.port, c.dbname, err)
	}
	return conn, nil
}

func closeConn(c *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = c.Close(ctx)
}

// stream follows one START_REPLICATION. The reading goroutine decodes, assembles and fills the queue, where it may wait; a second one
// reports the confirmed position on its own timer, so that the server hears from us however long the log takes. Only whole frames are
// written, under a lock.
type stream struct {
	cfg   *config
	conn  net.Conn
	log   *slog.Logger
	asm   *assembler
	queue *cdc.Queue
	met   *cdc.Metrics

	// flushed is the confirmed position; shared with the task.
	flushed *atomic.Uint64
	// moved tells that flushed moved; capacity 1.
	moved chan struct{}

	wmu      sync.Mutex
	received atomic.Uint64
	heard    atomic.Bool // something was read since the last report
	interval time.Duration
	frames   *frameReader

	// onProgress is called once data flow, so that retries count from anew.
	onProgress func()
	lastMark   time.Time // last position or heartbeat record
	heartbeat  func(ctx context.Context) error
}

// reportInterval is how often the server hears from us: as asked for, and often enough for its own patience.
func (c *config) reportInterval(walSenderTimeout time.Duration) time.Duration {
	d := min(c.statusInterval, 10*time.Second)
	if walSenderTimeout > 0 {
		d = min(d, walSenderTimeout/3)
	}
	return max(d, 10*time.Millisecond)
}

// startReplication sends the command on a connection taken over from pgconn and waits for the server's agreement.
func startReplication(ctx context.Context, pc *pgconn.PgConn, cfg *config, version int, from uint64) (*pgconn.HijackedConn, *frameReader, error) {
	opts := []string{`proto_version '1'`, `publication_names ` + quoteLiteral(quoteIdent(cfg.publication))}
	if version >= 140000 {
		opts = append(opts, `messages 'true'`)
	}
	for _, p := range cfg.streamParams {
		opts = append(opts, quoteIdent(p[0])+" "+quoteLiteral(p[1]))
	}
	sql := fmt.Sprintf("START_REPLICATION SLOT %s LOGICAL %s (%s)", quoteIdent(cfg.slot), formatLSN(from), strings.Join(opts, ", "))
	if err := pc.SyncConn(ctx); err != nil {
		return nil, nil, fmt.Errorf("start replication: %w", err)
	}
	h, err := pc.Hijack()
	if err != nil {
		closeConn(pc)
		return nil, nil, fmt.Errorf("start replication: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = h.Conn.SetDeadline(time.Now()) })
	defer stop()
	msg := append([]byte{'Q'}, binary.BigEndian.AppendUint32(nil, uint32(len(sql)+5))...)
	msg = append(append(msg, sql...), 0)
	fr := newFrameReader(h.Conn)
	fail := func(err error) (*pgconn.HijackedConn, *frameReader, error) {
		_ = h.Conn.Close()
		return nil, nil, fmt.Errorf("start replication of slot %q: %w", cfg.slot, err)
	}
	if _, err := h.Conn.Write(msg); err != nil {
		return fail(err)
	}
	for {
		kind, payload, err := fr.next()
		if err != nil {
			return fail(err)
		}
		switch kind {
		case 'W': // CopyBothResponse
			return h, fr, nil
		case 'E':
			return fail(serverError(payload))
		case 'N', 'S':
		default:
			return fail(fmt.Errorf("unexpected message %q", kind))
		}
	}
}

// serverError reads an ErrorResponse.
func serverError(b []byte) error {
	e := &pgconn.PgError{}
	for len(b) > 1 {
		field := b[0]
		c := cursor{b: b[1:]}
		v := string(c.cstring())
		if c.bad {
			break
		}
		b = c.b
		switch field {
		case 'S':
			e.Severity = v
		case 'C':
			e.Code = v
		case 'M':
			e.Message = v
		case 'D':
			e.Detail = v
		case 'H':
			e.Hint = v
		}
	}
	return e
}

// run reads until the connection ends, which is an error, or ctx does.
func (s *stream) run(ctx context.Context) error {
	rctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var deadline sync.Mutex // after ctx is done nobody moves the deadline into the future again
	stop := context.AfterFunc(ctx, func() {
		deadline.Lock()
		defer deadline.Unlock()
		_ = s.conn.SetReadDeadline(time.Now())
	})
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.report(rctx)
	}()
	defer func() { cancel(); <-done }()
	patience := 4*s.interval + 10*time.Second
	s.frames.beforeRead = func() {
		deadline.Lock()
		defer deadline.Unlock()
		if ctx.Err() == nil {
			_ = s.conn.SetReadDeadline(time.Now().Add(patience))
		}
	}
	s.lastMark = time.Now()
	chunk := min(cdc.ChunkRecords, s.cfg.MaxBatch)
	var m message
	for {
		if !s.frames.ready() || len(s.asm.out.Records) >= chunk {
			if err := s.flush(ctx); err != nil {
				return err
			}
		}
		kind, payload, err := s.frames.next()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("replication stream: %w", err)
		}
		s.heard.Store(true)
		switch kind {
		case 'd':
			if err := s.data(ctx, payload, &m); err != nil {
				return err
			}
		case 'E':
			return fmt.Errorf("replication stream of slot %q: %w", s.cfg.slot, serverError(payload))
		case 'c', 'C', 'Z':
			return errStreamEnded
		case 'N', 'S':
		default:
			return fmt.Errorf("replication stream: unexpected message %q", kind)
		}
	}
}

var errStreamEnded = errors.New("the server ended the replication stream")

// data handles a CopyData payload.
func (s *stream) data(ctx context.Context, b []byte, m *message) error {
	if len(b) == 0 {
		return fmt.Errorf("replication stream: %w", errShort)
	}
	switch b[0] {
	case 'w':
		if len(b) < 25 {
			return fmt.Errorf("replication stream: %w", errShort)
		}
		lsn := binary.BigEndian.Uint64(b[1:])
		body := b[25:]
		if err := decode(body, m); err != nil {
			return fmt.Errorf("replication stream at %s: %w", formatLSN(lsn), err)
		}
		now := time.Now()
		if err := s.asm.handle(m, lsn, now.UnixNano(), len(body)); err != nil {
			return fmt.Errorf("replication stream at %s: %w", formatLSN(lsn), err)
		}
		s.received.Store(max(lsn, s.received.Load()))
		if m.kind == msgCommit {
			s.onProgress()
			s.met.Position.Store(int64(m.endLSN))
			s.met.Handled(m.micros/1000, now.UnixMilli())
			return s.mark(ctx, now, false)
		}
	case 'k':
		if len(b) < 18 {
			return fmt.Errorf("replication stream: %w", errShort)
		}
		end := binary.BigEndian.Uint64(b[1:])
		s.onProgress()
		s.received.Store(max(end, s.received.Load()))
		s.asm.idle(end)
		if !s.asm.inTx {
			s.met.LagMillis.Store(0)
			s.met.Position.Store(int64(end))
		}
		asked := b[17] == 1
		if asked {
			if err := s.status(false); err != nil {
				return err
			}
		}
		return s.mark(ctx, time.Now(), asked)
	}
	return nil
}

// mark adds a heartbeat or a bare position to the records when it is time: the stored offset, and after it the slot, move on although
// nothing of interest happens. asked: the server wants to hear now, as one that shuts down does, which ends only when all of its log is
// confirmed.
func (s *stream) mark(ctx context.Context, now time.Time, asked bool) error {
	if s.asm.inTx {
		return nil
	}
	if asked {
		if o := s.asm.position(); o != nil {
			s.asm.out.Add(plugins.SourceRecord{}, o, 0)
		}
	}
	if every := s.cfg.HeartbeatInterval; every > 0 {
		if now.Sub(s.lastMark) >= every {
			s.lastMark = now
			rec := s.cfg.Heartbeat(now)
			rec.Headers = s.asm.em.Headers()
			s.asm.out.Add(rec, s.asm.position(), 0)
			if s.heartbeat != nil {
				return s.heartbeat(ctx)
			}
		}
		return nil
	}
	if now.Sub(s.lastMark) < s.cfg.statusInterval {
		return nil
	}
	if o := s.asm.position(); o != nil {
		s.lastMark = now
		s.asm.out.Add(plugins.SourceRecord{}, o, 0)
	}
	return nil
}

func (s *stream) flush(ctx context.Context) error {
	recs, bytes := s.asm.out.Take()
	return s.queue.Put(ctx, recs, bytes)
}

// reportGap is the least time between two reports.
const reportGap = 100 * time.Millisecond

// report tells the server the confirmed position: on a timer, and soon after it moved.
func (s *stream) report(ctx context.Context) {
	every := s.interval
	if hb := s.cfg.HeartbeatInterval; hb > 0 { // the server's answers are what heartbeats are made at
		every = max(min(every, hb), 10*time.Millisecond)
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		last := s.flushed.Load()
		if err := s.status(!s.heard.Swap(false) || s.cfg.HeartbeatInterval > 0); err != nil && ctx.Err() == nil {
			s.log.Debug("could not report the confirmed position", "error", err)
		}
		select {
		case <-ctx.Done():
			if s.flushed.Load() != last {
				_ = s.status(false)
			}
			return
		case <-s.moved:
			cdc.Sleep(ctx, min(reportGap, every))
		case <-t.C:
		}
	}
}

// status writes a standby status update. ask requests an answer, by which a dead connection is told from a quiet one.
func (s *stream) status(ask bool) error {
	flushed := uint64(0)
	if s.cfg.confirm {
		flushed = s.flushed.Load()
	}
	b := make([]byte, 0, 39)
	b = append(b, 'd', 0, 0, 0, 38, 'r')
	b = binary.BigEndian.AppendUint64(b, max(s.received.Load(), flushed))
	b = binary.BigEndian.AppendUint64(b, flushed)
	b = binary.BigEndian.AppendUint64(b, flushed)
	b = binary.BigEndian.AppendUint64(b, uint64(time.Now().UnixMicro()-pgEpochMicros))
	if ask {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	s.wmu.Lock()
	defer s.wmu.Unlock()
	_ = s.conn.SetWriteDeadline(time.Now().Add(30 * time.Second))
	if _, err := s.conn.Write(b); err != nil {
		return fmt.Errorf("replication stream: report position: %w", err)
	}
	return nil
}

// close ends the stream politely, so that the slot is free for the next user at once.
func (s *stream) close() {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	_ = s.conn.SetDeadline(time.Now().Add(closeTimeout))
	_, _ = s.conn.Write([]byte{'c', 0, 0, 0, 4, 'X', 0, 0, 0, 4}) // CopyDone, Terminate
	_ = s.conn.Close()
}

func parseLSN(s string) (uint64, error) {
	hi, lo, ok := strings.Cut(s, "/")
	h, err1 := strconv.ParseUint(hi, 16, 32)
	l, err2 := strconv.ParseUint(lo, 16, 32)
	if !ok || err1 != nil || err2 != nil {
		return 0, fmt.Errorf("%q is no log position", s)
	}
	return h<<32 | l, nil
}
