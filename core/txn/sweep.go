package txn

import (
	"log/slog"
	"slices"
)

// abortTimedOut aborts the transactions that have been open for longer than their producers asked for, and fences the producers.
func (s *Shard) abortTimedOut() {
	for _, t := range s.choose(func(t *transaction) bool {
		return t.State == Ongoing && t.StartMs+int64(t.TimeoutMs) < s.now
	}) {
		id := t.TransactionalID
		s.fence(t, func(r Result) {
			switch r.Code {
			case codeNone:
				s.note(slog.LevelInfo, "aborted a transaction that took longer than its timeout", "transactional_id", id)
			default:
				s.note(slog.LevelWarn, "could not abort a transaction that took longer than its timeout", "transactional_id", id, "code", r.Code)
			}
		})
	}
}

// expire forgets the transactional ids that nobody has used for transactional.id.expiration.ms.
func (s *Shard) expire() {
	idle := s.choose(func(t *transaction) bool {
		return (t.State == Empty || t.State == CompleteCommit || t.State == CompleteAbort) && t.LastUpdateMs <= s.now-s.cfg.ExpirationMs
	})
	for len(idle) > 0 {
		var recs []Record
		size, n := 0, 0
		for n < len(idle) && (n == 0 || size < s.cfg.MaxBatchBytes) {
			t := idle[n]
			key := AppendKey(nil, t.TransactionalID)
			size += len(key) + 16
			recs = append(recs, Record{Key: key})
			t.pending = Dead
			n++
		}
		gone := idle[:n]
		idle = idle[n:]
		s.emit(recs, func(code int16) {
			for _, t := range gone {
				if t.pending = none; code == codeNone {
					s.drop(t)
				}
			}
		})
	}
}

// choose lists the transactions without a pending change that fit, by transactional id.
func (s *Shard) choose(fits func(*transaction) bool) []*transaction {
	var out []*transaction
	for _, t := range s.txns {
		if t.pending == none && fits(t) {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b *transaction) int {
		switch {
		case a.TransactionalID < b.TransactionalID:
			return -1
		case a.TransactionalID > b.TransactionalID:
			return 1
		}
		return 0
	})
	return out
}
