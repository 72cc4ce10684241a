package s3

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
)

// rotation holds the rules that say when the open objects of a topic partition are closed. It is a pure state machine over records and
// times, which is what makes names deterministic:
//
//	The invariant is that, between two closings, every offset from the first record on has been seen, so that closing ALL open objects
//	of the partition at once makes "everything below the next offset" safe. Which offsets a closing falls on depends on the records
//	alone when only flush.size, record time and schemas are used: a task started again from any earlier closing closes at the same
//	offsets again.
//
// forced is the exception: the end of an object that another run already completed (see upload.go). Up to it no rule applies.
type rotation struct {
	flushSize    int64
	interval     time.Duration // of record time; <= 0: off
	onPathChange bool

	records int64 // in the open objects
	base    int64 // time of the first record in them
	path    string
	forced  int64 // close exactly at this offset; 0: none
}

// before tells whether to close what is open before a record is written.
func (r *rotation) before(path string, ts int64, schemaChanged bool, offset int64) bool {
	if r.records == 0 {
		return false
	}
	if r.forced > 0 {
		return offset >= r.forced
	}
	if schemaChanged {
		return true
	}
	return r.interval > 0 && (ts-r.base >= r.interval.Milliseconds() || r.onPathChange && path != r.path)
}

// wrote notes a record and tells whether to close now.
func (r *rotation) wrote(path string, ts, offset int64) bool {
	if r.records == 0 {
		r.base = ts
	}
	r.path = path
	r.records++
	if r.forced > 0 {
		return offset+1 >= r.forced
	}
	return r.records >= r.flushSize
}

// closed notes that all open objects were closed.
func (r *rotation) closed() { r.records, r.path, r.forced = 0, "", 0 }

// object is one S3 object while it is written and uploaded.
type object struct {
	key    string // name in the bucket
	end    int64  // offset after the last record of the closing it belongs to; stored in its metadata
	start  int64  // offset of its first record
	source string // topic in the log
	id     topicID
	at     place
	schema *data.Schema
	enc    encoder
	buf    *buffer
}

// place is where an object lies: the topic of its name and the partition path.
type place struct{ topic, path string }

// closing is a set of objects that were closed together: when all are complete, offsets below end are safe.
type closing struct {
	start, end int64 // first offset of the range and the one after the last
	waiting    int   // objects not complete yet
}

// partition is the state of one assigned topic partition. It is owned by the task's goroutine.
type partition struct {
	tp       plugins.TopicPartition
	id       topicID // of the topic; zero while it is not known
	rot      rotation
	open     map[place]*object
	last     *object   // of open, the one that got the last record
	order    []*object // the same in order of opening
	next     int64     // the offset after the last record taken
	first    int64     // offset of the first record since the last closing
	started  bool
	closings []*closing // oldest first
	safe     int64      // committed so far; -1: nothing yet
	rewound  bool       // the records of this call are of before a rewind
	epoch    int        // bumped by a rewind, so that uploads of before are told apart
	schedule time.Time
}

func newPartition(tp plugins.TopicPartition, s settings) *partition {
	return &partition{tp: tp, open: map[place]*object{}, safe: -1,
		rot: rotation{flushSize: s.flushSize, interval: s.rotateInterval, onPathChange: s.rotateOnPathChange}}
}

// nextSchedule returns the first multiple of interval, counted from local midnight, after t.
func nextSchedule(t time.Time, interval time.Duration, loc *time.Location) time.Time {
	l := t.In(loc)
	midnight := time.Date(l.Year(), l.Month(), l.Day(), 0, 0, 0, 0, loc)
	done := t.Sub(midnight).Milliseconds() / interval.Milliseconds()
	return midnight.Add(time.Duration((done+1)*interval.Milliseconds()) * time.Millisecond)
}

// done marks an object of a closing complete and moves safe over the finished prefix.
func (p *partition) done(c *closing) {
	c.waiting--
	for len(p.closings) > 0 && p.closings[0].waiting == 0 {
		p.safe = p.closings[0].end
		p.closings = p.closings[1:]
	}
}

// drop forgets everything that is not safe and releases its memory; open objects only, those under upload release their own.
func (p *partition) drop() {
	for _, o := range p.order {
		o.buf.release()
	}
	p.open, p.last, p.order, p.closings = map[place]*object{}, nil, nil, nil
	p.rot.closed()
	p.started = false
	p.epoch++
}

// objectName is the original's: topics.dir/topic/path/topic+partition+offset.ext.
func (s *settings) objectName(topic, path string, part int32, offset int64, ext string) string {
	var sb strings.Builder
	if s.topicsDir != "" {
		sb.WriteString(s.topicsDir)
		sb.WriteString(s.dirDelim)
	}
	sb.WriteString(topic)
	sb.WriteString(s.dirDelim)
	if path != "" {
		sb.WriteString(path)
		sb.WriteString(s.dirDelim)
	}
	sb.WriteString(topic)
	sb.WriteString(s.delim)
	sb.WriteString(strconv.Itoa(int(part)))
	sb.WriteString(s.delim)
	fmt.Fprintf(&sb, "%0*d", s.pad, offset)
	sb.WriteString(ext)
	return sb.String()
}
