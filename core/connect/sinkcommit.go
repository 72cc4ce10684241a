package connect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/plugins"
)

// commit asks the task what is safe and stores it. mu is held. An error is one of the task; a commit that the coordinator does not take is
// logged and made again.
func (s *sinkRun) commit(ctx context.Context, full bool) error {
	s.nextCommit = time.Now().Add(s.w.set.flushInterval)
	s.reqMu.Lock()
	s.commitSoon = false
	s.reqMu.Unlock()
	if len(s.parts) == 0 {
		return nil
	}
	safe, err := s.task.PreCommit(ctx, full)
	if err != nil {
		s.metrics.committed(0, err)
		if plugins.IsRetriable(err) || ctx.Err() != nil {
			s.log.Warn("the task could not say which offsets are safe; none are committed", "error", err)
			return nil //nolint:nilerr // it is asked again
		}
		return fmt.Errorf("offset commit: %w", err)
	}
	if s.policy.dead != nil {
		if err := s.policy.dead.wait(ctx); err != nil {
			return err
		}
	}
	set := map[string]map[int32]kgo.EpochOffset{}
	for tp, st := range s.parts {
		off, ok := safe[tp]
		switch {
		case ok && off > st.consumed && st.consumed >= 0:
			s.log.Warn("the task says that records are safe which it was not given; the offset is not committed", "topic", tp.Topic, "partition", tp.Partition, "offset", off)
			continue
		case ok && off == st.delivered, !ok && st.delivered < 0 && st.consumed > 0:
			off = st.consumed // and with all that was delivered, what was dropped behind it
		case !ok:
			continue
		}
		if off < 0 || off == st.committed {
			continue
		}
		if set[tp.Topic] == nil {
			set[tp.Topic] = map[int32]kgo.EpochOffset{}
		}
		set[tp.Topic][tp.Partition] = kgo.EpochOffset{Epoch: st.epoch, Offset: off}
	}
	if len(set) == 0 {
		return nil
	}
	start := time.Now()
	err = s.store(set)
	s.metrics.committed(time.Since(start), err)
	if err != nil {
		s.log.Warn("offsets could not be committed; they will be with the next commit", "error", err)
	}
	return nil
}

func (s *sinkRun) store(set map[string]map[int32]kgo.EpochOffset) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	var failed error
	s.cl.CommitOffsetsSync(ctx, set, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			failed = err
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					failed = fmt.Errorf("topic %q partition %d: %w", t.Topic, p.Partition, err)
					continue
				}
				if st := s.parts[plugins.TopicPartition{Topic: t.Topic, Partition: p.Partition}]; st != nil {
					st.committed = set[t.Topic][p.Partition].Offset
				}
			}
		}
	})
	return failed
}

// finish gives all partitions back. Also after an error it commits, as Kafka Connect does: what the task says is safe then, without
// making more of it safe, so that a restart begins with the record that failed and does not write what lies before it once more. Only a
// panic leaves offsets alone.
func (s *sinkRun) finish(failed error) {
	s.mu.Lock()
	s.over = true
	if p := (*panicError)(nil); len(s.parts) > 0 && !errors.As(failed, &p) {
		// Not the run's context, which is done: the task may still make safe what it has.
		ctx, cancel := context.WithTimeout(context.Background(), s.w.set.graceful*4/5)
		err := guard(func() error {
			err := s.commit(ctx, failed == nil)
			var tps []plugins.TopicPartition
			for tp := range s.parts {
				tps = append(tps, tp)
			}
			return errors.Join(err, s.task.Close(ctx, tps))
		})
		cancel()
		if err != nil {
			s.log.Warn("closing partitions failed", "error", err)
		}
	}
	s.mu.Unlock()
	s.closeClient()
	if !s.leftBehind.Load() { // its place may be the next task's by now
		s.leave()
	}
}

// leave takes the static member out of the group, as closing a client does not: the partitions are free for the other tasks at once.
func (s *sinkRun) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if _, err := s.w.adm.LeaveGroup(ctx, kadm.LeaveGroup(s.group).InstanceIDs(s.label("consumer")).Reason("the task was stopped")); err != nil {
		s.log.Debug("could not leave the group; its coordinator will notice", "error", err)
	}
}
