package mysql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins"
)

// Bounds of what is read ahead of the decoder.
const (
	aheadEvents = 64
	aheadBytes  = 8 << 20
)

// markInterval is how often the position is stored while nothing of interest happens.
const markInterval = 10 * time.Second

var errStreamEnded = errors.New("the server ended the stream")

// feed carries raw events from the library's goroutine to ours, bounded in events and bytes. It implements replication.EventHandler.
type feed struct {
	ctx    context.Context
	events chan *replication.BinlogEvent
	room   chan int // bytes that were taken out
	bytes  int      // of the handler's goroutine
}

// HandleEvent implements replication.EventHandler.
func (f *feed) HandleEvent(e *replication.BinlogEvent) error {
	for f.bytes > aheadBytes {
		select {
		case n := <-f.room:
			f.bytes -= n
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
	for more := true; more; {
		select {
		case n := <-f.room:
			f.bytes -= n
		default:
			more = false
		}
	}
	select {
	case f.events <- e:
		f.bytes += len(e.RawData)
		return nil
	case <-f.ctx.Done():
		return f.ctx.Err()
	}
}

// took tells that an event was taken out.
func (f *feed) took(e *replication.BinlogEvent) {
	select {
	case f.room <- len(e.RawData):
	case <-f.ctx.Done():
	}
}

// stream follows the binlog from the assembler's position.
func (c *capture) stream(ctx context.Context, cat *catalog) error {
	t := c.t
	from := t.asm.restart()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	alive := min(max(t.cfg.keepAlive, time.Second), time.Minute)
	cfg := replication.BinlogSyncerConfig{
		ServerID: t.cfg.serverID, Flavor: t.cfg.flavor, Host: t.cfg.host, Port: t.cfg.port, User: t.cfg.user, Password: t.cfg.password,
		RawModeEnabled: true, DisableRetrySync: true, DiscardGTIDSet: true, EventCacheCount: 1, Logger: slog.New(slog.DiscardHandler),
		HeartbeatPeriod: alive, ReadTimeout: 3 * alive, FillZeroLogPos: t.cfg.mariadb, RecvBufferSize: 1 << 20,
	}
	if cat.encrypt {
		cfg.TLSConfig = t.cfg.tls
	}
	cfg.Option = func(conn *client.Conn) error { // a server that is busy may not send for long; and it need not wait for us
		_, err := conn.Execute("SET SESSION net_write_timeout = 3600")
		return err
	}
	if t.cfg.mariadb && t.cfg.includeQuery {
		cfg.DumpCommandFlag = replication.BINLOG_SEND_ANNOTATE_ROWS_EVENT
	}
	f := &feed{ctx: ctx, events: make(chan *replication.BinlogEvent, aheadEvents), room: make(chan int, 2*aheadEvents+2)}
	cfg.SynchronousEventHandler = f
	syncer := replication.NewBinlogSyncer(cfg)
	defer syncer.Close()
	defer cancel() // lets the handler go before Close waits for it
	stop := context.AfterFunc(ctx, func() { syncer.Close() })
	defer stop()
	var streamer *replication.BinlogStreamer
	var err error
	if from.gtids != nil {
		streamer, err = syncer.StartSyncGTID(from.gtids.all())
	} else {
		streamer, err = syncer.StartSync(mysql.Position{Name: from.file, Pos: uint32(from.pos)})
	}
	if err != nil {
		return fmt.Errorf("read the binlog from %s:%d: %w", from.file, from.pos, err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := streamer.GetEvent(ctx)
		ended <- err
	}()
	t.runner.Log.Info("streaming", "file", from.file, "pos", from.pos, "gtids", from.gtidSet())
	b := newBuilder(t.cfg, cat, t.runner.Log)
	t.asm.source = b
	s := &stream{t: t, cat: cat, feed: f, asm: t.asm, lastMark: time.Now()}
	if t.asm.out.Position == nil { // a position that is not stored yet
		s.lastMark = time.Time{}
	}
	return s.run(ctx, ended)
}

// stream is the reading loop.
type stream struct {
	t        *Task
	cat      *catalog
	feed     *feed
	asm      *assembler
	lastMark time.Time
	event    binlogEvent
}

func (s *stream) run(ctx context.Context, ended <-chan error) error {
	cfg := s.t.cfg
	chunk := min(cdc.ChunkRecords, cfg.MaxBatch)
	every := markInterval
	if cfg.HeartbeatInterval > 0 {
		every = cfg.HeartbeatInterval
	}
	if err := s.mark(ctx, time.Now(), every); err != nil {
		return err
	}
	timer := time.NewTicker(max(every/4, 10*time.Millisecond))
	defer timer.Stop()
	for {
		var e *replication.BinlogEvent
		select {
		case e = <-s.feed.events:
		default:
			if err := s.flush(ctx); err != nil {
				return err
			}
			select {
			case e = <-s.feed.events:
			case now := <-timer.C:
				if err := s.mark(ctx, now, every); err != nil {
					return err
				}
				continue
			case err := <-ended:
				if len(s.feed.events) > 0 { // what was read before counts
					for len(s.feed.events) > 0 {
						if err := s.take(ctx, <-s.feed.events, chunk, every); err != nil {
							return err
						}
					}
					if err := s.flush(ctx); err != nil {
						return err
					}
				}
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err == nil {
					err = errStreamEnded
				}
				return fmt.Errorf("read the binlog: %w", err)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := s.take(ctx, e, chunk, every); err != nil {
			return err
		}
	}
}

// take handles one event.
func (s *stream) take(ctx context.Context, e *replication.BinlogEvent, chunk int, every time.Duration) error {
	s.feed.took(e)
	s.t.runner.Metrics.Connected.Store(true)
	h := e.Header
	ev := &s.event
	*ev = binlogEvent{typ: h.EventType, seconds: h.Timestamp, serverID: h.ServerID}
	if h.LogPos > 0 && h.Flags&replication.LOG_EVENT_ARTIFICIAL_F == 0 {
		ev.end = uint64(h.LogPos)
		ev.start = ev.end - min(uint64(h.EventSize), ev.end)
	}
	switch g := e.Event.(type) {
	case *replication.GenericEvent:
		ev.body = g.Data
	case *replication.RotateEvent:
		if len(e.RawData) < replication.EventHeaderSize {
			return errShort
		}
		ev.body = append(e.RawData[replication.EventHeaderSize:replication.EventHeaderSize+8:replication.EventHeaderSize+8], g.NextLogName...)
	}
	now := time.Now()
	before := s.asm.stats.Transactions.Load()
	if err := s.asm.handle(ev, now.UnixNano()); err != nil {
		return err
	}
	if s.asm.stats.Transactions.Load() != before {
		s.t.runner.Progressed()
		s.t.runner.Metrics.Position.Store(int64(s.asm.last.pos))
		s.t.runner.Metrics.Handled(s.asm.micros/1000, now.UnixMilli())
	}
	if len(s.asm.out.Records) >= chunk {
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	if h.EventType == replication.HEARTBEAT_EVENT || h.EventType == replication.HEARTBEAT_LOG_EVENT_V2 {
		s.t.runner.Metrics.LagMillis.Store(0)
	}
	if !s.asm.inTx && now.Sub(s.lastMark) >= every {
		return s.mark(ctx, now, every)
	}
	return nil
}

// mark adds a heartbeat or a bare position to the records when it is time: the stored offset moves on although nothing of interest
// happens, so that the binlog behind it may go.
func (s *stream) mark(ctx context.Context, now time.Time, every time.Duration) error {
	if s.asm.inTx || now.Sub(s.lastMark) < every {
		return nil
	}
	cfg := s.t.cfg
	first := s.lastMark.IsZero()
	if cfg.HeartbeatInterval > 0 && !first {
		s.lastMark = now
		rec := cfg.Heartbeat(now)
		rec.Headers = s.asm.em.Headers()
		s.asm.out.Add(rec, s.asm.position(), 0)
		if q := cfg.HeartbeatQuery; q != "" {
			if _, err := s.cat.query(q); err != nil {
				if retriable(err) {
					return fmt.Errorf("heartbeat.action.query: %w", err)
				}
				s.t.runner.Log.Warn("heartbeat.action.query failed", "error", err)
			}
		}
	} else {
		s.lastMark = now
		if o := s.asm.position(); o != nil {
			s.asm.out.Add(plugins.SourceRecord{}, o, 0)
		}
	}
	return s.flush(ctx)
}

func (s *stream) flush(ctx context.Context) error {
	recs, bytes := s.asm.out.Take()
	return s.t.runner.Queue.Put(ctx, recs, bytes)
}
