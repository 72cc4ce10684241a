package story

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// logView is what a topic holds.
type logView struct {
	records, stones int
	ends            map[int32]int64
	stoneAt         map[int32]map[int64]bool // and where there is nothing to read: markers of transactions, aborted records
	all             []*kgo.Record
}

// readLog reads the committed records of a topic from its start to its end of now.
func readLog(ctx context.Context, bootstrap, topic string) (*logView, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(bootstrap, ",")...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	if err := ends.Error(); err != nil {
		return nil, err
	}
	v := &logView{ends: map[int32]int64{}, stoneAt: map[int32]map[int64]bool{}}
	open, next := map[int32]bool{}, map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		v.ends[o.Partition] = o.Offset
		v.stoneAt[o.Partition] = map[int64]bool{}
		if o.Offset > 0 {
			open[o.Partition] = true
		}
	})
	for len(open) > 0 {
		fs := cl.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			return nil, fmt.Errorf("read %s: %w", topic, err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			if r.Offset >= v.ends[r.Partition] {
				delete(open, r.Partition)
				return
			}
			for ; next[r.Partition] < r.Offset; next[r.Partition]++ {
				v.stoneAt[r.Partition][next[r.Partition]] = true
			}
			next[r.Partition] = r.Offset + 1
			if r.Attrs.IsControl() {
				v.stoneAt[r.Partition][r.Offset] = true
			} else {
				v.records++
				v.all = append(v.all, r)
				if r.Value == nil {
					v.stones++
					v.stoneAt[r.Partition][r.Offset] = true
				}
			}
			if r.Offset == v.ends[r.Partition]-1 {
				delete(open, r.Partition)
			}
		})
	}
	return v, nil
}

// versions returns the schemas of a subject, oldest first.
func versions(t *testing.T, registry, subject string) []string {
	t.Helper()
	var numbers []int
	require.NoError(t, REST(t.Context(), http.MethodGet, registry+"/subjects/"+subject+"/versions", nil, &numbers))
	var out []string
	for _, n := range numbers {
		var a struct{ Schema string }
		require.NoError(t, REST(t.Context(), http.MethodGet, fmt.Sprintf("%s/subjects/%s/versions/%d", registry, subject, n), nil, &a))
		require.True(t, json.Valid([]byte(a.Schema)))
		out = append(out, a.Schema)
	}
	return out
}

// healthy fails when a connector of the hub has failed.
func healthy(ctx context.Context, h *Hub, names ...string) error {
	for _, n := range names {
		st, err := h.Status(ctx, n)
		if err != nil {
			return err
		}
		if f := st.Failed(); f != "" {
			return fmt.Errorf("connector %s failed: %s", n, f)
		}
	}
	return nil
}

// create makes connectors and waits until they run.
func create(t *testing.T, h *Hub, cs ...Connector) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, c := range cs {
		require.NoError(t, h.Create(ctx, c))
	}
	for _, c := range cs {
		require.NoError(t, h.WaitRunning(ctx, c.Name))
	}
}
