package broker

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/txn"
)

// initProducerID gives a producer its id and epoch. One without transactions gets a new id every time, also when it comes again
// to bump its epoch after an error, as from Kafka.
func (b *Broker) initProducerID(c call, r kmsg.Request) {
	req := r.(*kmsg.InitProducerIDRequest)
	respond := func(code int16, id int64, epoch int16) {
		resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ErrorCode, resp.ProducerID, resp.ProducerEpoch = code, id, epoch
		if req.Version < 4 {
			resp.ErrorCode = oldFencing(code)
		}
		c.reply(resp)
	}
	if (req.ProducerID == -1) != (req.ProducerEpoch == -1) {
		respond(kerr.InvalidRequest.Code, -1, -1)
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	defer c.uncounted()() // it may wait for a block of ids
	if req.TransactionalID != nil {
		b.txns.InitProducerID(ctx, txn.InitProducerID{
			TransactionalID: *req.TransactionalID, TimeoutMs: req.TransactionTimeoutMillis,
			ExpectedID: req.ProducerID, ExpectedEpoch: req.ProducerEpoch,
			Reply: func(r txn.Result) { respond(r.Code, r.ProducerID, r.ProducerEpoch) },
		})
		return
	}
	id, err := b.ids.take(ctx, b)
	if err != nil {
		b.log.Warn("no producer id", "error", err)
		respond(kerr.CoordinatorLoadInProgress.Code, -1, -1) // retriable, which is what Kafka answers meanwhile
		return
	}
	respond(0, id, 0)
}

// oldFencing is a code for clients of before KIP-588, which do not know PRODUCER_FENCED.
func oldFencing(code int16) int16 {
	if code == kerr.ProducerFenced.Code {
		return kerr.InvalidProducerEpoch.Code
	}
	return code
}
