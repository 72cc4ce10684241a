package cdc

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
)

// TestASnapshotMarksItsRows reads tables of so many rows each and looks at source.snapshot.
func TestASnapshotMarksItsRows(t *testing.T) {
	for _, c := range []struct {
		rows []int
		want []string
	}{
		{[]int{3, 2, 0, 1}, []string{"first", "true", "last_in_data_collection", "first_in_data_collection", "last_in_data_collection", "last"}},
		{[]int{1, 1, 1}, []string{"first", "last_in_data_collection", "last"}},
		{[]int{1}, []string{"last"}},
		{[]int{0}, []string{""}},
	} {
		cfg := parse(t, map[string]string{"snapshot.fetch.size": "2", "poll.interval.ms": "1"})
		table, err := cfg.NewTable(TableDef{ID: TableID{Table: "t"}, SourceSchema: SourceSchema("src").Build(),
			Columns: []Column{{Name: "id", Schema: data.Int32Schema}}, Key: []string{"id"}})
		require.NoError(t, err)
		r := cfg.NewRunner(plugins.Env{}, "test")
		running, end := at("running"), at("end")
		s := r.NewSnapshot(context.Background(), map[string]any{"server": "p"}, &running, len(c.rows))
		total := 0
		for _, n := range c.rows {
			s.BeginTable()
			for range n {
				src := cfg.SourceBlock(SourceOwn, "db")
				SetSourceTime(src, 1_500_000)
				require.NoError(t, s.Row(table, []data.Value{data.Int32(int32(total))}, src, 4))
				total++
			}
			require.EqualValues(t, n, s.EndTable())
		}
		require.NoError(t, s.Finish(&end))
		var marks []string
		for {
			recs, err := r.Poll(context.Background())
			require.NoError(t, err)
			if len(recs) == 0 {
				break
			}
			for i, rec := range recs {
				marks = append(marks, rec.Value.Field("source").Field("snapshot").Str())
				require.Equal(t, map[string]any{"server": "p"}, rec.SourcePartition)
				want := &running
				if len(marks) == len(c.want) && i == len(recs)-1 {
					want = &end
				}
				require.Equal(t, plugins.Offset(want), rec.SourceOffset)
			}
		}
		require.Equal(t, c.want, marks, "tables of %v rows", c.rows)
		require.EqualValues(t, total, r.Metrics.SnapshotRows.Load())
	}
}
