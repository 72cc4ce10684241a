package broker

import (
	"context"
	"fmt"
	"sync"

	"github.com/moldau-io/moldau/core/metadata"
)

// producerIDs is this broker's block of producer ids. What is left of a block when the broker stops is never given out.
type producerIDs struct {
	mu   sync.Mutex
	next int64
	left int32
}

// take returns a new producer id, from a new block of the quorum when the last is used up.
func (p *producerIDs) take(ctx context.Context, b *Broker) (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == 0 {
		var block metadata.ProducerIDBlock
		err := b.quorum.Do(ctx, func(im *metadata.Image) ([]metadata.Record, error) {
			records, bl, err := metadata.AllocateProducerIDs(im, b.set.nodeID, b.epoch)
			block = bl
			return records, err
		})
		if err != nil {
			return -1, fmt.Errorf("allocate producer ids: %w", err)
		}
		p.next, p.left = block.First, block.Len
	}
	id := p.next
	p.next++
	p.left--
	return id, nil
}
