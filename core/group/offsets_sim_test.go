package group

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
)

// offsetsModel is what the log means, record by record: plain values, and values in open transactions.
type offsetsModel struct {
	plain map[int32][2]int64           // partition -> offset, place in the log
	txns  map[int64]map[int32][2]int64 // producer -> the same
}

func (m *offsetsModel) apply(b Batch, place int64) {
	for _, r := range b.Records {
		_, k, _, err := decodeKey(r.Key)
		if err != nil || k.topic == "" {
			continue
		}
		if r.Value == nil {
			delete(m.plain, k.partition)
			for _, t := range m.txns {
				delete(t, k.partition)
			}
			continue
		}
		v, _ := decodeOffsetValue(r.Value)
		if b.ProducerID < 0 {
			m.plain[k.partition] = [2]int64{v.offset, place}
			continue
		}
		if m.txns[b.ProducerID] == nil {
			m.txns[b.ProducerID] = map[int32][2]int64{}
		}
		m.txns[b.ProducerID][k.partition] = [2]int64{v.offset, place}
	}
}

func (m *offsetsModel) end(producer int64, commit bool) {
	for p, v := range m.txns[producer] {
		if old, ok := m.plain[p]; commit && (!ok || old[1] < v[1]) {
			m.plain[p] = v
		}
	}
	delete(m.txns, producer)
}

// KIP-98: what a random order of plain commits, transactional commits, markers and deletions leaves behind
// is what the log says, before and after a reload.
func TestOffsetsFollowTheLogThroughTransactions(t *testing.T) {
	base := uint64(time.Now().UnixNano())
	t.Logf("seeds from %d", base)
	for i := range uint64(300) {
		r := rand.New(rand.NewPCG(base+i, 3))
		rg := newRig(t, Config{})
		rg.hold = true
		m := &offsetsModel{plain: map[int32][2]int64{}, txns: map[int64]map[int32][2]int64{}}
		var log []StoredRecord
		var place int64
		settle := func() {
			if len(rg.queue) == 0 {
				return
			}
			b := rg.queue[0]
			if r.IntN(10) == 0 {
				rg.settle(kerr.NotEnoughReplicas)
				return
			}
			place++
			m.apply(b, place)
			for _, rec := range b.Records {
				log = append(log, StoredRecord{Key: rec.Key, Value: rec.Value, ProducerID: b.ProducerID})
			}
			rg.settle(nil)
		}
		same := func(s *Shard) {
			t.Helper()
			for p := range int32(3) {
				want, ok := m.plain[p]
				if !ok {
					want[0] = -1
				}
				require.Equal(t, want[0], s.fetchOffset("g", "t", [16]byte{}, p, false).offset, "seed %d partition %d", base+i, p)
			}
		}
		for n := range 60 {
			p := int32(r.IntN(3))
			switch r.IntN(8) {
			case 0, 1:
				rg.commit(fmt.Sprint("c", n), "g", "", -1, "t", p, int64(n))
			case 2, 3:
				rg.txnCommit(fmt.Sprint("x", n), int64(r.IntN(2)), p, int64(n))
			case 4:
				rg.step(TopicDeleted{Topic: "t"})
			case 5: // a marker comes when what it ends is in the log
				for len(rg.queue) > 0 {
					settle()
				}
				producer, commit := int64(r.IntN(2)), r.IntN(2) == 0
				m.end(producer, commit)
				log = append(log, StoredRecord{ProducerID: producer, Control: true, Commit: commit})
				rg.step(TxnMarker{ProducerID: producer, Commit: commit})
			default:
				settle()
			}
			same(rg.s)
		}
		for len(rg.queue) > 0 {
			settle()
		}
		again := NewShard(Config{})
		for _, rec := range log {
			require.NoError(t, again.Replay(rec))
		}
		again.Step(Loaded{}, time.UnixMilli(rg.now))
		require.NoError(t, again.check())
		same(again)
		for p := range int32(3) {
			require.Equal(t, rg.s.fetchOffset("g", "t", [16]byte{}, p, true), again.fetchOffset("g", "t", [16]byte{}, p, true), "seed %d", base+i)
		}
	}
}
