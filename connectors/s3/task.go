package s3

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
)

// task is the sink task. All of its state belongs to the goroutine that the worker calls it from; uploads run beside it and report
// through the finished channel.
type task struct {
	env       plugins.SinkEnv
	s         settings
	path      partitioner
	time      extractor
	format    format
	pool      *pool
	up        *uploader
	now       clock
	parts     map[plugins.TopicPartition]*partition
	ctx       context.Context // ends with the task
	cancel    context.CancelFunc
	wg        sync.WaitGroup
	slots     chan struct{}
	finished  chan finish
	uploading int   // objects handed to uploads and not reported yet
	pending   int64 // their bytes
	held      bool  // partitions are paused because too much is pending
	failure   error
}

// finish is an upload's report.
type finish struct {
	p     *partition
	epoch int
	c     *closing
	o     *object
	size  int64
	err   error
}

// Start implements [plugins.SinkTask].
func (t *task) Start(ctx context.Context, env plugins.SinkEnv, cfg configdef.Values) error {
	s, err := newSettings(cfg)
	if err != nil {
		return err
	}
	cl, err := newClient(ctx, cfg)
	if err != nil {
		return err
	}
	if t.now == nil {
		t.now = time.Now
	}
	if t.path, t.time, err = newPartitioner(cfg, s.location, t.now); err != nil {
		return err
	}
	if t.format, err = newFormat(s); err != nil {
		return err
	}
	t.env, t.s, t.pool, t.up = env, s, newPool(s.bufferBytes), newUploader(cl, s, env.Logger)
	t.parts = map[plugins.TopicPartition]*partition{}
	t.slots, t.finished = make(chan struct{}, s.uploads), make(chan finish, 1024)
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return nil
}

// Open implements [plugins.SinkTask].
func (t *task) Open(_ context.Context, added []plugins.TopicPartition) error {
	for _, tp := range added {
		t.parts[tp] = newPartition(tp, t.s)
	}
	return nil
}

// Close implements [plugins.SinkTask]: what is not complete is dropped, another task writes it again.
func (t *task) Close(_ context.Context, removed []plugins.TopicPartition) error {
	for _, tp := range removed {
		if p := t.parts[tp]; p != nil {
			p.drop()
			delete(t.parts, tp)
		}
	}
	return nil
}

// Put implements [plugins.SinkTask].
func (t *task) Put(ctx context.Context, records []plugins.SinkRecord) error {
	// Rewinds that an earlier call asked for are through: what comes now comes from there. One that this call asks for is not: the
	// records at hand are beyond it, and taking one would make the partition start there and leave out what is between.
	for _, p := range t.parts {
		p.rewound = false
		if err := t.identify(p); err != nil {
			return err
		}
	}
	t.collect()
	if t.failure != nil {
		return t.failure
	}
	now := t.now()
	for i := range records {
		r := &records[i]
		p := t.parts[plugins.TopicPartition{Topic: r.OriginalTopic, Partition: r.Partition}]
		if p == nil || p.rewound || p.started && r.Offset < p.next {
			continue // taken away meanwhile, or before the place a rewind went to
		}
		if err := t.put(ctx, p, r, now); err != nil {
			return err
		}
	}
	if t.s.schedule > 0 {
		for _, p := range t.parts {
			if p.rot.records > 0 && !p.schedule.IsZero() && !now.Before(p.schedule) && p.rot.forced == 0 {
				if err := t.closeAll(p); err != nil {
					return err
				}
			}
		}
	}
	if err := t.squeeze(); err != nil {
		return err
	}
	t.throttle()
	return t.failure
}

// identify notes the id of a partition's topic.
func (t *task) identify(p *partition) error {
	if t.env.TopicID == nil {
		return nil
	}
	switch id := topicID(t.env.TopicID(p.tp.Topic)); {
	case id == topicID{} || id == p.id:
	case p.id == topicID{}:
		p.id = id
	default:
		return fmt.Errorf("topic %q was deleted and made anew while it was read (id %s, now %s): restart the task to read the new one", p.tp.Topic, p.id, id)
	}
	return nil
}

func (t *task) put(_ context.Context, p *partition, r *plugins.SinkRecord, now time.Time) error {
	if !p.started {
		p.started, p.first, p.next = true, r.Offset, r.Offset
		if p.safe < 0 {
			p.safe = r.Offset
		}
	}
	if r.Value.IsNull() {
		if !t.s.ignoreNulls {
			return t.reject(p, r, plugins.Dataf("%s-%d offset %d: the value is null; set behavior.on.null.values=ignore to leave such records out", r.Topic, r.Partition, r.Offset))
		}
		if t.s.reportNulls && t.env.Report != nil {
			t.report(p, r, errors.New("null value"))
		}
		p.next = r.Offset + 1
		return nil
	}
	path, err := t.path(r)
	if err != nil {
		return t.reject(p, r, err)
	}
	ts := int64(0)
	if p.rot.interval > 0 {
		if ts, err = t.time(r); err != nil {
			return t.reject(p, r, err)
		}
	}
	at := place{r.Topic, path}
	o := p.last
	if o == nil || o.at != at {
		o = p.open[at]
	}
	changed := o != nil && t.format.perSchema() && o.schema != r.ValueSchema && !o.schema.Equal(r.ValueSchema)
	if p.rot.before(path, ts, changed, r.Offset) {
		if err := t.closeAll(p); err != nil {
			return err
		}
		o = nil
	}
	if p.rot.records == 0 && t.s.schedule > 0 {
		p.schedule = nextSchedule(now, t.s.schedule, t.s.location)
	}
	fresh := o == nil
	if fresh {
		o = &object{start: r.Offset, source: r.OriginalTopic, id: p.id, at: at, schema: r.ValueSchema, buf: &buffer{pool: t.pool, scratch: t.s.scratch},
			key: t.s.objectName(r.Topic, path, r.Partition, r.Offset, t.format.extension())}
		if o.enc, err = t.format.newEncoder(o.buf, r.Topic, r.ValueSchema); err != nil {
			o.buf.release()
			return t.reject(p, r, err)
		}
	}
	if err := o.enc.write(r); err != nil {
		if fresh {
			o.buf.release()
		}
		return t.reject(p, r, err)
	}
	if fresh {
		p.open[at] = o
		p.order = append(p.order, o)
	}
	p.last = o
	p.next = r.Offset + 1
	if p.rot.wrote(path, ts, r.Offset) {
		return t.closeAll(p)
	}
	return nil
}

// reject reports a record that cannot be written, or fails the task with it.
func (t *task) reject(p *partition, r *plugins.SinkRecord, cause error) error {
	var de *plugins.DataError
	if t.env.Report == nil || !errors.As(cause, &de) {
		return cause
	}
	t.report(p, r, cause)
	p.next = r.Offset + 1
	return nil
}

// report hands a record to the dead-letter topic; the closing that its offset belongs to waits for it.
func (t *task) report(p *partition, r *plugins.SinkRecord, cause error) {
	c := &closing{start: p.first, end: p.safe, waiting: 1}
	if n := len(p.closings); n > 0 {
		c.end = p.closings[n-1].end
	}
	p.closings = append(p.closings, c)
	epoch, rec := p.epoch, *r
	t.uploading++
	t.env.Report(&rec, cause, func(err error) {
		f := finish{p: p, epoch: epoch, c: c, err: err}
		select {
		case t.finished <- f:
		default:
			// The callback must not block its caller, which may be this task's own goroutine.
			go func() {
				select {
				case t.finished <- f:
				case <-t.ctx.Done():
				}
			}()
		}
	})
}

// closeAll closes all open objects of a partition and hands them to uploads.
func (t *task) closeAll(p *partition) error {
	c := &closing{start: p.first, end: p.next, waiting: len(p.order)}
	for _, o := range p.order {
		if err := o.enc.close(); err != nil {
			return fmt.Errorf("complete object %s: %w", o.key, err)
		}
		o.enc, o.end = nil, c.end
	}
	p.closings = append(p.closings, c)
	for _, o := range p.order {
		t.send(p, c, o)
	}
	clear(p.open)
	p.last, p.order = nil, nil
	p.rot.closed()
	p.first = c.end
	return nil
}

// send uploads an object beside the task.
func (t *task) send(p *partition, c *closing, o *object) {
	size, epoch := o.buf.size(), p.epoch
	t.uploading++
	t.pending += size
	t.wg.Go(func() {
		var err error
		select {
		case t.slots <- struct{}{}:
			err = t.up.upload(t.ctx, o)
			<-t.slots
		case <-t.ctx.Done():
			err = t.ctx.Err()
		}
		o.buf.release()
		select {
		case t.finished <- finish{p, epoch, c, o, size, err}:
		case <-t.ctx.Done():
		}
	})
}

// collect takes the reports of uploads that have ended.
func (t *task) collect() {
	for {
		select {
		case f := <-t.finished:
			t.took(f)
		default:
			return
		}
	}
}

func (t *task) took(f finish) {
	t.uploading--
	t.pending -= f.size
	if f.p.epoch != f.epoch || t.parts[f.p.tp] != f.p {
		return // of before a rewind, or of a partition that went away
	}
	var conflict *errConflict
	switch {
	case f.err == nil:
		f.p.done(f.c)
		t.env.RequestCommit()
	case errors.As(f.err, &conflict):
		// Another run completed this object with another end. Go back to the first record of the closing and close exactly there.
		t.env.Logger.Info("an object is complete already and ends elsewhere; writing its companions to the same end", "key", f.o.key, "end", conflict.end)
		// Older closings under way are written again too: they are found complete.
		oldest := f.p.closings[0]
		f.p.drop()
		f.p.rewound = true
		if oldest == f.c {
			f.p.rot.forced = conflict.end
		}
		t.env.Rewind(f.p.tp, oldest.start)
	case t.failure == nil:
		t.failure = f.err
	}
}

// squeeze makes encoders hand over what they hold when all of them together hold more than half of the buffer memory.
func (t *task) squeeze() error {
	var held int64
	var open int64
	for _, p := range t.parts {
		for _, o := range p.order {
			held += o.enc.held()
			open++
		}
	}
	if held <= t.s.bufferBytes/2 {
		return nil
	}
	limit := t.s.bufferBytes / 4 / open
	for _, p := range t.parts {
		for _, o := range p.order {
			if o.enc.held() >= limit {
				if err := o.enc.flush(); err != nil {
					return fmt.Errorf("object %s: %w", o.key, err)
				}
			}
		}
	}
	return nil
}

// throttle pauses all partitions while uploads lag, and resumes them when they have caught up.
func (t *task) throttle() {
	switch {
	case !t.held && t.pending > t.s.bufferBytes:
		t.held = true
		t.env.Pause(t.assigned()...)
	case t.held && t.pending <= t.s.bufferBytes/2:
		t.held = false
		t.env.Resume(t.assigned()...)
	}
}

func (t *task) assigned() []plugins.TopicPartition {
	var tps []plugins.TopicPartition
	for tp := range t.parts {
		tps = append(tps, tp)
	}
	return tps
}

// PreCommit implements [plugins.SinkTask]. With full it waits for the uploads under way; it never completes an object early, as that
// would change the names of those after it.
func (t *task) PreCommit(ctx context.Context, full bool) (map[plugins.TopicPartition]int64, error) {
	t.collect()
	for full && t.uploading > 0 && t.failure == nil {
		select {
		case f := <-t.finished:
			t.took(f)
		case <-ctx.Done():
			full = false
		}
	}
	out := map[plugins.TopicPartition]int64{}
	for tp, p := range t.parts {
		if !p.started {
			continue
		}
		// Records that were left out (nulls) with nothing open before them are safe as well.
		if len(p.closings) == 0 && p.rot.records == 0 {
			p.safe, p.first = p.next, p.next
		}
		out[tp] = p.safe
	}
	return out, t.failure
}

// Stop implements [plugins.SinkTask].
func (t *task) Stop() error {
	if t.cancel == nil {
		return nil
	}
	t.cancel()
	t.wg.Wait()
	for _, p := range t.parts {
		p.drop()
	}
	return nil
}
