package mysql

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/moldau-io/moldau/internal/story"
)

func TestTheDemoTableIsCaptured(t *testing.T) {
	flavors(t, func(t *testing.T, srv *servers.MySQL) {
		d := newDatabase(t, srv)
		d.exec("DROP TABLE IF EXISTS shop.payments")
		d.exec(story.PaymentsDDL)
		require.NoError(t, story.InsertPayments(d.conn, 1, 10))
		r := d.start(nil, "database.include.list", "shop")
		recs := r.Count(10)
		require.Equal(t, "p.shop.payments", recs[0].Topic)
		require.Equal(t, "first", recs[0].Value.Field("source").Field("snapshot").Str())
		require.Equal(t, "last", recs[9].Value.Field("source").Field("snapshot").Str())
		snap := recs[3].Value.Field("after").String()
		r.Streaming()
		require.NoError(t, story.UpdatePayments(d.conn, 1, 5))
		require.NoError(t, story.DeletePayments(d.conn, 1, 10))
		require.NoError(t, story.InsertPayments(d.conn, 1, 10))
		recs = r.Count(10 + 5 + 20 + 10)
		ops := ""
		for _, rec := range recs {
			if rec.Value.IsNull() {
				ops += "-"
				continue
			}
			ops += rec.Value.Field("op").Str()
		}
		require.Equal(t, "rrrrrrrrrr"+"uuuuu"+"d-d-d-d-d-d-d-d-d-d-"+"cccccccccc", ops)
		require.Equal(t, snap, recs[38].Value.Field("after").String(), "the same row looks the same in a snapshot and in the stream")
		t.Log(recs[38].Value, r.Last.OffsetMap())
		stored := r.Stop()
		require.NoError(t, story.InsertPayments(d.conn, 11, 3))
		r = d.start(stored, "database.include.list", "shop")
		recs = r.Count(3)
		require.EqualValues(t, 11, recs[0].Key.Field("id").Int())
	})
}
