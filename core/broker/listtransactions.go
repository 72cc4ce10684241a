package broker

import (
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/txn"
)

// maxPattern bounds the pattern of ListTransactions, in bytes.
const maxPattern = 4 << 10

// listTransactions lists the transactional ids that this broker coordinates, filtered by state, producer id, duration (KIP-994)
// and pattern (KIP-1152).
func (b *Broker) listTransactions(_ call, req *kmsg.ListTransactionsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ListTransactionsResponse)
	f := txn.Filter{MinDurationMs: -1, ProducerIDs: map[int64]bool{}}
	for _, name := range req.StateFilters {
		if f.States == nil {
			f.States = map[txn.State]bool{}
		}
		if state, ok := txn.ParseState(name); ok {
			f.States[state] = true
		} else {
			resp.UnknownStateFilters = append(resp.UnknownStateFilters, name)
		}
	}
	for _, id := range req.ProducerIDFilters {
		f.ProducerIDs[id] = true
	}
	if req.Version >= 1 {
		f.MinDurationMs = req.DurationFilterMillis
	}
	if req.Version >= 2 && req.TransactionalIDPattern != nil && *req.TransactionalIDPattern != "" {
		if len(*req.TransactionalIDPattern) > maxPattern {
			resp.ErrorCode = kerr.InvalidRegularExpression.Code
			return resp
		}
		re, err := regexp.Compile(`^(?:` + *req.TransactionalIDPattern + `)$`)
		if err != nil {
			resp.ErrorCode = kerr.InvalidRegularExpression.Code
			return resp
		}
		f.Match = re.MatchString
	}
	list, code := b.txns.List(f)
	if resp.ErrorCode = code; code != 0 {
		return resp
	}
	slices.SortFunc(list, func(x, y txn.Entry) int { return strings.Compare(x.TransactionalID, y.TransactionalID) })
	for i := range list {
		s := kmsg.NewListTransactionsResponseTransactionState()
		s.TransactionalID, s.ProducerID, s.TransactionState = list[i].TransactionalID, list[i].ProducerID, list[i].State.String()
		resp.TransactionStates = append(resp.TransactionStates, s)
	}
	return resp
}
