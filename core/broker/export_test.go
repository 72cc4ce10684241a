package broker

import "time"

// ReadAhead is how many fetch sessions have records that were read ahead, and the memory of all that is charged for such.
func (b *Broker) ReadAhead() (sessions int, charged int64) {
	b.sessions.mu.Lock()
	defer b.sessions.mu.Unlock()
	for _, s := range b.sessions.sessions {
		s.mu.Lock()
		if s.ahead != nil {
			sessions++
		}
		s.mu.Unlock()
	}
	return sessions, b.aheadMemory.Used()
}

// KeepReadAhead sets how long what was read ahead is kept.
func (b *Broker) KeepReadAhead(d time.Duration) { b.aheadFor = d }

// AnswerAsAcrossANetwork has peers on this machine be given answers as they are for those on another one nearby, of 4 MiB. It comes before the first fetch.
func (b *Broker) AnswerAsAcrossANetwork() { b.answers = nearAnswers[1:] }

// Truncate cuts a partition's log at offset, as a new leader will have it done.
func (b *Broker) Truncate(topic string, partition int32, offset int64) error {
	return b.localPartition(topic, partition).Log().TruncateTo(offset)
}
