package quorum

import (
	"sync"

	"github.com/moldau-io/moldau/core/metadata"
)

// publisher delivers images to subscribers, in order, on its own goroutine, so that a slow subscriber does
// not stop Raft's heartbeats. Its queue is not bounded: what waits in it are images, which share
// almost everything.
type publisher struct {
	mu      sync.Mutex
	wake    sync.Cond
	queue   []publication
	stopped bool
}

// publication is one thing for the publisher to do.
type publication struct {
	image     *metadata.Image
	delta     metadata.Delta
	answer    []*request // to be answered when the image was delivered; their err is set
	leader    *Leader
	subscribe func(was, is *metadata.Image, d metadata.Delta)
	watch     func(Leader)
}

func (p *publisher) init() { p.wake.L = &p.mu }

func (p *publisher) push(x publication) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, x)
	p.wake.Signal()
}

func (p *publisher) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.wake.Signal()
}

// take returns what there is to do; ok is false when the publisher was stopped and all is done.
func (p *publisher) take() (queue []publication, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) == 0 && !p.stopped {
		p.wake.Wait()
	}
	queue, p.queue = p.queue, nil
	return queue, len(queue) > 0
}

// run delivers until stop; image and leader are what there was before the first publication.
func (p *publisher) run(image *metadata.Image, leader Leader) {
	var subscribers []func(was, is *metadata.Image, d metadata.Delta)
	var watchers []func(Leader)
	for {
		queue, ok := p.take()
		if !ok {
			return
		}
		for _, x := range queue {
			switch {
			case x.subscribe != nil:
				subscribers = append(subscribers, x.subscribe)
				x.subscribe(metadata.Empty(), image, metadata.Diff(metadata.Empty(), image))
			case x.watch != nil:
				watchers = append(watchers, x.watch)
				x.watch(leader)
			case x.leader != nil:
				leader = *x.leader
				for _, fn := range watchers {
					fn(leader)
				}
			default:
				if !x.delta.Empty() {
					for _, fn := range subscribers {
						fn(image, x.image, x.delta)
					}
				}
				image = x.image
				for _, r := range x.answer {
					close(r.done)
				}
			}
		}
	}
}
