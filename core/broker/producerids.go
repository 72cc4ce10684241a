package broker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

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

func (b *Broker) initProducerID(c call, req *kmsg.InitProducerIDRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	switch {
	case req.TransactionalID != nil && *req.TransactionalID == "":
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp
	case req.TransactionalID != nil:
		b.log.Info("a transactional producer was refused: transactions are not supported yet", "client_id", c.r.ClientID, "transactional_id", *req.TransactionalID)
		resp.ErrorCode = kerr.UnsupportedVersion.Code
		return resp
	case (req.ProducerID == -1) != (req.ProducerEpoch == -1):
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp
	}
	// A producer without transactions that comes again, to bump its epoch after an error, gets a new id, as from Kafka.
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	id, err := b.ids.take(ctx, b)
	if err != nil {
		b.log.Warn("no producer id", "error", err)
		resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code // retriable, which is what Kafka answers meanwhile
		return resp
	}
	resp.ProducerID, resp.ProducerEpoch = id, 0
	return resp
}
