package jepsen

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Finish ends transactions that workers left open and polls every partition to its end, as one more process. Faults must be over.
func (w *Workload) Finish(ctx context.Context, h *History) error {
	cl, err := kgo.NewClient(slices.Concat(w.Client, []kgo.Opt{kgo.RetryTimeout(30 * time.Second)})...)
	if err != nil {
		return err
	}
	defer cl.Close()
	// A new producer of the same transactional id ends what the old one left open, as its next life would.
	for i := range w.Workers {
		if err := w.fence(ctx, cl, i); err != nil {
			return fmt.Errorf("end the transaction of process %d: %w", i, err)
		}
	}
	ends, err := w.ends(ctx, kadm.NewClient(cl))
	if err != nil {
		return err
	}
	return w.sweep(ctx, h, ends)
}

func (w *Workload) fence(ctx context.Context, cl *kgo.Client, process int) error {
	for {
		req := kmsg.NewPtrInitProducerIDRequest()
		id := w.transactionalID(process)
		req.TransactionalID, req.TransactionTimeoutMillis = &id, 10_000
		resp, err := req.RequestWith(ctx, cl)
		if err == nil && resp.ErrorCode == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w (last answer: %+v, %w)", ctx.Err(), resp, err)
		}
		pause(ctx, 20*time.Millisecond) // CONCURRENT_TRANSACTIONS until the markers are written
	}
}

// ends waits until the last stable offset of every partition is its end, and returns the ends.
func (w *Workload) ends(ctx context.Context, adm *kadm.Client) (map[int]int64, error) {
	for {
		ends, err := adm.ListEndOffsets(ctx, w.Topic)
		if err != nil {
			return nil, err
		}
		stable, err := adm.ListCommittedOffsets(ctx, w.Topic)
		if err != nil {
			return nil, err
		}
		out := map[int]int64{}
		open := 0
		for key := range w.Keys {
			e, _ := ends.Lookup(w.Topic, int32(key))
			s, _ := stable.Lookup(w.Topic, int32(key))
			out[key] = e.Offset
			if e.Err != nil || s.Err != nil || s.Offset != e.Offset {
				open++
			}
		}
		if open == 0 {
			return out, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%d partitions have a transaction that stays open: %w", open, ctx.Err())
		}
		pause(ctx, 20*time.Millisecond)
	}
}

func (w *Workload) sweep(ctx context.Context, h *History, ends map[int]int64) error {
	o := &Op{Process: w.Workers, Kind: KindPoll, Start: h.Now()}
	defer h.Add(o)
	parts := map[int32]kgo.Offset{}
	for key, end := range ends {
		if end > 0 {
			parts[int32(key)] = kgo.NewOffset().At(0)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	// Control records are kept so that the end of each partition is seen to be reached.
	cl, err := kgo.NewClient(slices.Concat(w.Client, []kgo.Opt{kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.FetchMaxWait(50 * time.Millisecond), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{w.Topic: parts})})...)
	if err != nil {
		return err
	}
	defer cl.Close()
	reached := map[int]int64{}
	for len(parts) > 0 {
		if ctx.Err() != nil {
			return fmt.Errorf("the last poll reached %v of %v: %w", reached, ends, ctx.Err())
		}
		fs := cl.PollFetches(ctx)
		m := Mop{Polled: map[int][]Pair{}}
		fs.EachRecord(func(r *kgo.Record) {
			key := int(r.Partition)
			reached[key] = r.Offset + 1
			if !r.Attrs.IsControl() {
				m.Polled[key] = append(m.Polled[key], Pair{r.Offset, int64(binary.BigEndian.Uint64(r.Value))})
			}
			if reached[key] >= ends[key] {
				delete(parts, r.Partition)
			}
		})
		o.Mops = append(o.Mops, m)
	}
	return nil
}
