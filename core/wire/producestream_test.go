package wire

import (
	"errors"
	"math/rand"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// arriving is a body of which no more is there than was waited for, and up to ahead bytes beyond.
type arriving struct {
	all, there []byte
	n, ahead   int
	waited     []int
	err        error // after so many bytes as cut says
	cut        int
}

func newArriving(b []byte, ahead int) *arriving {
	a := &arriving{all: b, there: slices.Repeat([]byte{0xa5}, len(b)), ahead: ahead, cut: len(b)}
	return a
}

func (a *arriving) await(n int) error {
	a.waited = append(a.waited, n)
	if n <= a.n {
		return nil
	}
	if n > len(a.all) {
		panic("waits for more than there is")
	}
	if n > a.cut {
		return a.err
	}
	to := min(n+a.ahead, len(a.all))
	copy(a.there[a.n:to], a.all[a.n:to])
	a.n = to
	return nil
}

// inParts decodes b as it arrives.
func inParts(version int16, b []byte, ahead int) (req ProduceRequest, a *arriving, err error) {
	a = newArriving(b, ahead)
	var s ProduceStream
	for err = s.Begin(&req, version, a.there, a.await); err == nil; {
		var ok bool
		if ok, err = s.Next(); !ok {
			break
		}
	}
	return req, a, err
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
			got, _, err := inParts(v, b, rnd.Intn(3)*rnd.Intn(5000))
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
	a := newArriving(b, 0)
	var s ProduceStream
	var req ProduceRequest
	require.NoError(t, s.Begin(&req, 9, a.there, a.await))
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
		f.Add(v, randomRequest(rnd, 0, v).AppendTo(nil), 0)
	}
	f.Fuzz(func(t *testing.T, v int16, b []byte, ahead int) {
		var whole ProduceRequest
		werr := whole.Decode(v, b)
		parts, _, perr := inParts(v, b, max(ahead, 0)%9000)
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
