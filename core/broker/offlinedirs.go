package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/moldau-io/moldau/core/metadata"
)

// dirsChanged has the controller told which replicas cannot be served. It never blocks.
func (b *Broker) dirsChanged() {
	select {
	case b.offline <- struct{}{}:
	default:
	}
}

// reopenInterval is how soon it is tried again to open logs that could not be made, once there is room; when that does not help, it takes twice as
// long each time, up to longestReopen: each try is a record in the metadata.
const (
	reopenInterval = 2 * time.Second
	longestReopen  = time.Minute
)

// reopening says when to try.
type reopening struct {
	next  time.Time
	pause time.Duration
}

// due says whether to try at now, and counts it as a try.
func (r *reopening) due(now time.Time) bool {
	if now.Before(r.next) {
		return false
	}
	r.pause = min(max(2*r.pause, reopenInterval), longestReopen)
	r.next = now.Add(r.pause)
	return true
}

// followDirs reports replicas whenever a log directory failed or a log could not be opened, and tries to open those again.
func (b *Broker) followDirs() {
	b.serving.Add(1)
	go func() {
		defer b.serving.Done()
		again := time.NewTicker(reopenInterval)
		defer again.Stop()
		var tries reopening
		for {
			select {
			case <-b.ctx.Done():
				return
			case now := <-again.C:
				if !b.unopened.Load() {
					tries = reopening{}
					continue
				}
				if !b.hasRoom() || !tries.due(now) {
					continue
				}
				if err := b.reopen(); err != nil && b.ctx.Err() == nil {
					b.log.Error("partitions that could not be opened could not be tried again", "error", err)
				}
			case <-b.offline:
			}
			if err := b.reportOffline(b.ctx); err != nil && b.ctx.Err() == nil {
				b.log.Error("replicas on a log directory that has failed could not be reported", "error", err)
			}
			b.failWithoutDirs()
		}
	}()
}

// failWithoutDirs ends the broker when all of its log directories have failed: it has nothing left to serve, and whoever supervises the
// process finds out by its end what a restart brings.
func (b *Broker) failWithoutDirs() {
	dirs := b.dir.List()
	if b.dir.Offline() < len(dirs) || b.ctx.Err() != nil {
		return
	}
	select {
	case b.failed <- fmt.Errorf("all log directories have failed: %w", dirs[0].Err()):
	default:
	}
}

// reportOffline tells the controller which replicas of this broker are on a log directory that has failed, or could not be opened, so that
// others lead them, or nobody does.
func (b *Broker) reportOffline(ctx context.Context) error {
	r := metadata.OfflineReplicas{BrokerID: b.set.nodeID, Epoch: b.epoch, Partitions: b.offlineReplicas()}
	err := b.retry(ctx, func(im *metadata.Image) ([]metadata.Record, error) {
		return metadata.DecideOfflineReplicas(im, b.rules, r)
	})
	if err != nil {
		return fmt.Errorf("report offline replicas: %w", err)
	}
	return nil
}

// hasRoom says whether a log could be made in some directory, as far as is known.
func (b *Broker) hasRoom() bool {
	for _, d := range b.dir.List() {
		if _, usable := diskSpace(d.Path()); d.Err() == nil && (usable < 0 || usable >= roomOfLog) {
			return true
		}
	}
	return false
}

// roomOfLog is more than the files of an empty log take.
const roomOfLog = 64 << 10

// reopen has apply come to the topics again that have partitions without a log: the metadata says that these have changed, and no more.
func (b *Broker) reopen() error {
	return b.retry(b.ctx, func(im *metadata.Image) ([]metadata.Record, error) {
		var records []metadata.Record
		for _, s := range b.topics.all() {
			mt := im.TopicByID(s.id)
			if mt == nil {
				continue
			}
			for i, p := range *s.parts.Load() {
				if p == nil && i < len(mt.Partitions) && holds(&mt.Partitions[i], b.set.nodeID) {
					records = append(records, &metadata.PartitionChangeRecord{TopicID: s.id, Partition: int32(i)})
				}
			}
		}
		return records, nil
	})
}

// offlineReplicas lists this broker's partitions without a log that works, by topic. Those that it has not come to yet are not among them.
func (b *Broker) offlineReplicas() map[metadata.UUID][]int32 {
	out := map[metadata.UUID][]int32{}
	im, unopened := b.image(), false
	defer func() { b.unopened.Store(unopened) }()
	for _, s := range b.topics.all() {
		mt := im.TopicByID(s.id)
		if mt == nil {
			continue
		}
		for i, p := range *s.parts.Load() {
			if i < len(mt.Partitions) && holds(&mt.Partitions[i], b.set.nodeID) && (p == nil || p.Log().Dir().Err() != nil) {
				unopened = unopened || p == nil
				out[s.id] = append(out[s.id], int32(i))
			}
		}
	}
	return out
}
