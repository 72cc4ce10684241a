package broker

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/txn"
)

// endTxn commits or aborts a transaction. From version 5 on the answer names the producer's next epoch (KIP-890).
func (b *Broker) endTxn(c call, r kmsg.Request) {
	req := r.(*kmsg.EndTxnRequest)
	version := int16(0)
	if req.Version >= 5 {
		version = 2
	}
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	b.txns.EndTxn(ctx, txn.EndTxn{
		TransactionalID: req.TransactionalID, ProducerID: req.ProducerID, ProducerEpoch: req.ProducerEpoch, Commit: req.Commit, Version: version,
		Reply: func(r txn.Result) {
			resp := req.ResponseKind().(*kmsg.EndTxnResponse)
			resp.ErrorCode, resp.ProducerID, resp.ProducerEpoch = r.Code, r.ProducerID, r.ProducerEpoch
			if req.Version < 2 {
				resp.ErrorCode = oldFencing(r.Code)
			}
			c.reply(resp)
		},
	})
}
