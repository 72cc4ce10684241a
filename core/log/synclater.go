package log

// SyncLater collects the logs of appends that belong together, those of one request, so that their syncs begin together. Without it the
// sync of the first begins while the last is still being appended: the request then waits for that one and for the one after it. The zero
// value is empty; it is not safe for concurrent use, and can be used again after Begin.
//
// A log in it counts as queued, so nobody else has it synced: who collects must call Begin, whatever happens, and soon.
type SyncLater struct {
	logs  []*Log
	bytes int
}

// syncLaterBytes is how much is collected before the syncs begin all the same: the disk can be busy while the rest is appended.
const syncLaterBytes = 4 << 20

// add collects a log that n bytes were appended to.
func (s *SyncLater) add(l *Log, n int) {
	if l.queued.CompareAndSwap(false, true) {
		s.logs = append(s.logs, l)
	}
	if s.bytes += n; s.bytes >= syncLaterBytes {
		s.Begin()
	}
}

// Begin has what was collected synced. It does not wait for it, and at steady state it does not allocate.
func (s *SyncLater) Begin() {
	for i, l := range s.logs {
		if l != nil {
			l.d.syncer.pushAll(s.logs[i:])
		}
	}
	clear(s.logs)
	s.logs, s.bytes = s.logs[:0], 0
}

// pushAll queues those of a directory's logs that count as queued, and takes them out of the list.
func (s *syncer) pushAll(logs []*Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for i, l := range logs {
		if l != nil && l.d == s.d {
			logs[i] = nil
			if !s.closed {
				s.queue = append(s.queue, l)
				n++
			}
		}
	}
	s.start(n)
}
