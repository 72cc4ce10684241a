package wire

import (
	"errors"
	"math/rand"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// arriving is a body of which nothing is there but what was asked for and not given up.
type arriving struct {
	all, there []byte
	from, n    int   // of all, there has these
	err        error // after so many bytes as cut says
	cut        int
}

func newArriving(b []byte) *arriving {
	return &arriving{all: b, there: slices.Repeat([]byte{0xa5}, len(b)), cut: len(b)}
}

func (a *arriving) part(from, to int) ([]byte, error) {
	if from < a.from || from > a.n || to < from || to > len(a.all) {
		panic("asks for what there is not")
	}
	if to > a.cut {
		return nil, a.err
	}
	for ; a.from < from; a.from++ {
		a.there[a.from] = 0xa5
	}
	if to > a.n {
		copy(a.there[a.n:to], a.all[a.n:to])
		a.n = to
	}
	return a.there[from:to:to], nil
}

// inParts decodes b as it arrives.
func inParts(version int16, b []byte) (req ProduceRequest, err error) {
	a := newArriving(b)
	var s ProduceStream
	for err = s.Begin(&req, version, len(b), a.part); err == nil; {
		var ok bool
		if ok, err = s.Next(); !ok {
			break
		}
		p := &req.Partitions[len(req.Partitions)-1]
		p.Records = slices.Clone(p.Records)
	}
	return req, err
}

func sameRequest(t *testing.T, want, got *ProduceRequest) {
	t.Helper()
	require.Equal(t, want.Version, got.Version)
	require.Equal(t, want.Acks, got.Acks)
	require.Equal(t, want.TimeoutMs, got.TimeoutMs)
	require.Len(t, got.Topics, len(want.Topics))
	for i := range want.Topics {
		require.Equal(t, want.Topics[i], got.Topics[i])
	}
	require.Len(t, got.Partitions, len(want.Partitions))
	for i := range want.Partitions {
		require.Equal(t, want.Partitions[i], got.Partitions[i])
	}
}

func TestProduceRequestsInPartsAreTheSame(t *testing.T) {
	rnd := rand.New(rand.NewSource(7))
	for v := int16(3); v <= 13; v++ {
		for range 200 {
			b := randomRequest(rnd, 0, v).AppendTo(nil)
			var want ProduceRequest
			require.NoError(t, want.Decode(v, b))
			got, err := inParts(v, b)
			if want.TransactionalID != nil {
				require.ErrorIs(t, err, ErrNotInParts)
				continue
			}
			require.NoError(t, err)
			sameRequest(t, &want, &got)
		}
	}
}

func TestPartitionsAreThereBeforeTheNextArrive(t *testing.T) {
	one, two := make([]byte, 100_000), make([]byte, 50_000)
	one[99_999], two[49_999] = 1, 2
	b := []byte{0, 0, 1, 0, 0, 0, 1, 2} // no transactional id, acks=1, timeout, one topic
	b = append(append(b, 2, 't'), 3)    // its name, two partitions
	b = append(appendUvarint(append(b, 0, 0, 0, 7), uint32(len(one)+1)), one...)
	second := len(b) + 1
	b = append(appendUvarint(append(b, 0, 0, 0, 0, 8), uint32(len(two)+1)), two...)
	b = append(b, 0, 0, 0)
	a := newArriving(b)
	var s ProduceStream
	var req ProduceRequest
	require.NoError(t, s.Begin(&req, 9, len(b), a.part))
	ok, err := s.Next()
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, ProducePartition{7, one}, req.Partitions[0])
	require.LessOrEqual(t, a.n, second+streamAhead, "little of the second is waited for")
	a.cut, a.err = a.n, errors.New("cut")
	_, err = s.Next()
	require.ErrorIs(t, err, a.err)
}

func FuzzProduceInParts(f *testing.F) {
	rnd := rand.New(rand.NewSource(5))
	for v := int16(3); v <= 13; v++ {
		f.Add(v, randomRequest(rnd, 0, v).AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, v int16, b []byte) {
		var whole ProduceRequest
		werr := whole.Decode(v, b)
		parts, perr := inParts(v, b)
		if errors.Is(perr, ErrNotInParts) {
			return
		}
		if (werr == nil) != (perr == nil) {
			t.Fatalf("as a whole %v, in parts %v", werr, perr)
		}
		if werr == nil {
			sameRequest(t, &whole, &parts)
		}
		if cap(parts.Partitions) > 64+2*len(b) || cap(parts.Topics) > 64+2*len(b) {
			t.Fatal("decoding allocates more than the bytes can hold")
		}
	})
}
