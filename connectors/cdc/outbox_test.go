package cdc

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins"
)

// at is a position of a test.
type at string

func (a at) OffsetMap() map[string]any { return map[string]any{"at": string(a)} }

// changed appends the records of a change to the outbox and holds them at position to.
func changed(o *Outbox[*at], to at, topics ...string) {
	from := len(o.Records)
	for _, t := range topics {
		o.Records = append(o.Records, plugins.SourceRecord{Topic: t})
	}
	o.Hold(from, &to, 10)
}

// taken renders what comes out as topic@position.
func taken(o *Outbox[*at]) (out []string) {
	recs, _ := o.Take()
	for _, r := range recs {
		pos := "none"
		if p, ok := r.SourceOffset.(*at); ok {
			pos = string(*p)
		}
		out = append(out, r.Topic+"@"+pos)
	}
	return out
}

func TestOnlyTheLastRecordOfAChangeMovesThePosition(t *testing.T) {
	o := NewOutbox[*at](map[string]any{"server": "s"})
	changed(&o, "1", "a")
	changed(&o, "2", "b", "b tombstone", "b again")
	require.Equal(t, []string{"a@1"}, taken(&o), "the latest change may be the last of its transaction")
	end := at("end")
	o.Commit(nil, 0, &end)
	require.Equal(t, []string{"b@1", "b tombstone@1", "b again@end"}, taken(&o))
	require.Equal(t, &end, o.Position)
	require.Empty(t, taken(&o))
}

func TestRecordsWithoutAChangeReleaseWhatIsHeld(t *testing.T) {
	o := NewOutbox[*at](map[string]any{"server": "s"})
	o.Add(plugins.SourceRecord{Topic: "heartbeat"}, nil, 0)
	changed(&o, "1", "a")
	mark := at("mark")
	o.Add(plugins.SourceRecord{}, &mark, 0)
	o.Add(plugins.SourceRecord{Topic: "heartbeat"}, nil, 0)
	require.Equal(t, []string{"heartbeat@none", "a@1", "@mark", "heartbeat@mark"}, taken(&o))
}

func TestBytesOfHeldRecordsStayWithThem(t *testing.T) {
	o := NewOutbox[*at](nil)
	changed(&o, "1", "a")
	changed(&o, "2", "b", "b tombstone")
	_, bytes := o.Take()
	require.EqualValues(t, RecordOverhead+20, bytes)
	o.Release()
	_, bytes = o.Take()
	require.EqualValues(t, 2*RecordOverhead+20, bytes)
}

func TestATransactionsBeginGoesOutWithItsFirstChange(t *testing.T) {
	cfg := parse(t, map[string]string{"provide.transaction.metadata": "true"})
	tx := cfg.NewTransactions()
	o := NewOutbox[*at](nil)
	status := func() (out []string) {
		recs, _ := o.Take()
		for _, r := range recs {
			out = append(out, fmt.Sprint(r.Topic, r.Value.Field("status").Str()))
		}
		return out
	}
	o.Begin(tx, "7", 1, false)
	require.Empty(t, status())
	require.True(t, o.Restart(), "nothing but its BEGIN was there")
	o.Begin(tx, "7", 1, false)
	changed(&o, "1", "a")
	changed(&o, "2", "b")
	require.Equal(t, []string{"p.transactionBEGIN", "a"}, status())
	require.False(t, o.Restart())
	require.Equal(t, []string{"b"}, status())
	o.Begin(tx, "7", 1, true) // the stream brings it again
	changed(&o, "3", "c")
	end := at("end")
	o.Commit(tx, 1, &end)
	require.Equal(t, []string{"c", "p.transactionEND"}, status())
	require.Equal(t, &end, o.Position)
}
