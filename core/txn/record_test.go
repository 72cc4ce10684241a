package txn

import (
	"encoding/hex"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// sample is an entry that uses every field.
func sample() Entry {
	return Entry{
		TransactionalID: "x", ProducerID: 4711, PreviousProducerID: 4710, NextProducerID: 4712, ProducerEpoch: 3, TimeoutMs: 60_000, State: PrepareCommit,
		Partitions:   []TopicPartition{{"a", 0}, {"a", 2}, {"b", 1}},
		LastUpdateMs: 1_700_000_000_123, StartMs: 1_700_000_000_000, ClientVersion: 2,
	}
}

func TestRecordsAreReadAsTheyWereWritten(t *testing.T) {
	for _, version := range []int16{0, 1} {
		for state := Empty; state <= CompleteAbort; state++ {
			e := sample()
			if e.State = state; state == Empty {
				e.Partitions = nil
			}
			key := AppendKey(nil, e.TransactionalID)
			id, err := DecodeKey(key)
			require.NoError(t, err)
			require.Equal(t, "x", id)
			got, err := DecodeValue(AppendValue(nil, &e, version))
			require.NoError(t, err)
			want := e
			want.TransactionalID = ""
			if version == 0 {
				want.PreviousProducerID, want.NextProducerID, want.ClientVersion = -1, -1, 0
			}
			require.Equal(t, want, got)
		}
	}
}

func TestRecordBytesAreKafkas(t *testing.T) {
	e := sample()
	require.Equal(t, "0000"+"0001"+"78", hex.EncodeToString(AppendKey(nil, "x")))
	require.Equal(t, "0001"+"0000000000001267"+"0003"+"0000ea60"+"02"+
		"03"+"0261"+"03"+"00000000"+"00000002"+"00"+"0262"+"02"+"00000001"+"00"+
		"0000018bcfe5687b"+"0000018bcfe56800"+
		"03"+"0008"+"0000000000001266"+"0108"+"0000000000001268"+"0202"+"0002",
		hex.EncodeToString(AppendValue(nil, &e, 1)))
	require.Equal(t, "0000"+"0000000000001267"+"0003"+"0000ea60"+"02"+
		"00000002"+"000161"+"00000002"+"00000000"+"00000002"+"000162"+"00000001"+"00000001"+
		"0000018bcfe5687b"+"0000018bcfe56800",
		hex.EncodeToString(AppendValue(nil, &e, 0)))
	e.State, e.Partitions, e.PreviousProducerID, e.NextProducerID, e.ClientVersion = Empty, nil, -1, -1, 0
	require.Equal(t, "0001"+"0000000000001267"+"0003"+"0000ea60"+"00"+"00"+"0000018bcfe5687b"+"0000018bcfe56800"+"00", hex.EncodeToString(AppendValue(nil, &e, 1)))
	require.Equal(t, "0000"+"0000000000001267"+"0003"+"0000ea60"+"00"+"ffffffff"+"0000018bcfe5687b"+"0000018bcfe56800", hex.EncodeToString(AppendValue(nil, &e, 0)))
}

func TestAnIdThatIsNoTextIsFoundAgain(t *testing.T) {
	id, err := DecodeKey(AppendKey(nil, "x\xff"))
	require.NoError(t, err)
	require.Equal(t, "x\xff", id, "what was served before a restart is served after it")
}

func TestDamagedRecordsAreLeftOut(t *testing.T) {
	e := sample()
	for _, version := range []int16{0, 1} {
		whole := AppendValue(nil, &e, version)
		for n := range whole {
			_, err := DecodeValue(whole[:n])
			require.ErrorIs(t, err, errMalformed, "version %d, %d bytes", version, n)
		}
	}
	bad := AppendValue(nil, &e, 1)
	bad[1] = 2
	_, err := DecodeValue(bad)
	require.ErrorContains(t, err, "unknown version 2")
	bad[1], bad[16] = 1, 6
	_, err = DecodeValue(bad)
	require.ErrorContains(t, err, "status")
	_, err = DecodeKey([]byte{0, 1, 0, 1, 'x'})
	require.ErrorIs(t, err, ErrUnknownKey)
	_, err = DecodeKey([]byte{0, 0, 0xff, 0xff})
	require.ErrorIs(t, err, errMalformed)
	s := NewShard(Config{})
	require.Error(t, s.Replay(AppendKey(nil, "x"), []byte{1}))
	require.Empty(t, s.txns)
}

func TestFieldsOfLaterVersionsAreSkipped(t *testing.T) {
	e := sample()
	b := AppendValue(nil, &e, 1)
	b[len(b)-(1+2*10+4)] = 4  // the number of tagged fields
	b = append(b, 3, 2, 0, 9) // one that is not known yet
	got, err := DecodeValue(b)
	require.NoError(t, err)
	require.Equal(t, int64(4712), got.NextProducerID)
}

func FuzzDecodeRecord(f *testing.F) {
	e := sample()
	f.Add(AppendKey(nil, "x"), AppendValue(nil, &e, 0))
	f.Add(AppendKey(nil, ""), AppendValue(nil, &e, 1))
	e.ProducerID, e.State, e.Partitions = math.MaxInt64, Empty, nil
	f.Add(AppendKey(nil, "\U0001F600"), AppendValue(nil, &e, 1))
	f.Add([]byte{}, []byte{0, 1, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if id, err := DecodeKey(key); err == nil {
			again, err := DecodeKey(AppendKey(nil, id))
			require.NoError(t, err)
			require.Equal(t, id, again)
		}
		got, err := DecodeValue(value)
		if err != nil {
			return
		}
		again, err := DecodeValue(AppendValue(nil, &got, 1))
		require.NoError(t, err)
		require.Equal(t, got, again)
		s := NewShard(Config{})
		s.SetVersion(2)
		if s.Replay(key, value) == nil {
			s.Step(Loaded{}, s.cfg.Clock.Now())
		}
	})
}

// Values that Apache Kafka 4.3 wrote, in the order of two transactions of one producer.
var kafkaValues = []string{
	"0001000000000000000100000000ea600000000001a1fe8dc0dbffffffffffffffff0100080000000000000001",
	"0001000000000000000100010000ea600301000001a1fe8dc139000001a1fe8dc139020008000000000000000102020002",
	"0001000000000000000100010000ea600501000001a1fe8dc13c000001a1fe8dc139020008000000000000000102020002",
	"0001000000000000000100010000ea6001020574786e73020000000100000001a1fe8dc1bf000001a1fe8dc1bf020008000000000000000102020002",
	"0001000000000000000100010000ea600103135f5f636f6e73756d65725f6f6666736574730200000015000574786e73020000000100000001a1fe8dc1ce000001a1fe8dc1bf020008000000000000000102020002",
	"0001000000000000000100020000ea600203135f5f636f6e73756d65725f6f6666736574730200000015000574786e73020000000100000001a1fe8dc1e9000001a1fe8dc1bf020008000000000000000102020002",
	"0001000000000000000100020000ea600401000001a1fe8dc1ea000001a1fe8dc1bf020008000000000000000102020002",
}

func TestWhatKafkaWroteIsReadAndWrittenTheSame(t *testing.T) {
	states := []State{Empty, PrepareAbort, CompleteAbort, Ongoing, Ongoing, PrepareCommit, CompleteCommit}
	s := NewShard(Config{})
	for i, text := range kafkaValues {
		value, err := hex.DecodeString(text)
		require.NoError(t, err)
		e, err := DecodeValue(value)
		require.NoError(t, err)
		require.Equal(t, states[i], e.State)
		require.Equal(t, text, hex.EncodeToString(AppendValue(nil, &e, 1)))
		require.NoError(t, s.Replay(AppendKey(nil, "y"), value))
	}
	e, ok := s.Describe("y")
	require.True(t, ok)
	require.Equal(t, Entry{
		TransactionalID: "y", ProducerID: 1, PreviousProducerID: 1, NextProducerID: -1, ProducerEpoch: 2, TimeoutMs: 60_000, State: CompleteCommit,
		LastUpdateMs: 0x1a1fe8dc1ea, StartMs: 0x1a1fe8dc1bf, ClientVersion: 2,
	}, e)
}
