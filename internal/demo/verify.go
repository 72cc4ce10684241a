package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/moldau-io/moldau/internal/story"
)

// result is what the comparison of the sources with the sinks found.
type result struct {
	tables         []tableResult
	objects, docs  int
	bytes          int64
	missing, extra int64
	lag            time.Duration
	examples       []string
}

type tableResult struct {
	name             string
	rows, lake, docs int
}

// patience is how long the sinks may stand still before what they lack counts as lost. On a busy machine they may take much longer
// than that altogether.
const patience = 90 * time.Second

// verify waits until both sinks hold as much as the log, then compares every row. The lake must hold every offset of the log but
// tombstones exactly once, and folded to its final state equal the table; the index must hold exactly the table's rows.
func (d *demo) verify(ctx context.Context, lastChange time.Time) (*result, error) {
	res := &result{tables: make([]tableResult, len(d.tables))}
	want := make([]story.Rows, len(d.tables))
	for i, t := range d.tables {
		var err error
		if want[i], err = t.rows(ctx); err != nil {
			return nil, err
		}
		res.tables[i] = tableResult{name: t.Topic, rows: len(want[i])}
	}
	before, moved := result{}, time.Now()
	for {
		*res = result{tables: res.tables, lag: time.Since(lastChange)}
		for i, t := range d.tables {
			if err := d.compare(ctx, res, i, t, want[i]); err != nil {
				return nil, err
			}
		}
		if res.missing != before.missing || res.extra != before.extra || res.objects != before.objects || res.docs != before.docs {
			before, moved = *res, time.Now()
		}
		if res.missing == 0 && res.extra == 0 || time.Since(moved) > patience {
			return res, nil
		}
		fmt.Printf("  %5.1f s  %d missing, %d extra so far\n", time.Since(lastChange).Seconds(), res.missing, res.extra)
		if err := d.healthy(ctx); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func (d *demo) compare(ctx context.Context, res *result, i int, t captured, want story.Rows) error {
	note := func(where string, missing, extra, different int, examples []string) {
		res.missing += int64(missing + different)
		res.extra += int64(extra)
		for _, e := range examples {
			res.examples = append(res.examples, where+": "+e)
		}
	}
	if d.s3 != nil {
		lake, err := story.ReadLake(ctx, d.s3, "lake", t.Topic, "__offset")
		if err != nil {
			return err
		}
		d.watch.mu.Lock()
		gone, doubled := lake.Gaps(d.watch.ends[t.Topic], d.watch.stones[t.Topic])
		d.watch.mu.Unlock()
		res.objects += lake.Objects
		res.bytes += lake.Bytes
		if gone+doubled > 0 {
			note("S3", int(gone), int(doubled), 0, []string{fmt.Sprintf("%s: %d offsets are in no object, %d in two", t.Topic, gone, doubled)})
		} else {
			rows, err := lake.Fold(t.Table, "__deleted")
			if err != nil {
				return err
			}
			res.tables[i].lake = len(rows)
			m, e, diff, ex := story.Diff(t.Table, want, rows)
			note("S3", m, e, diff, ex)
		}
	}
	if d.search != nil {
		// Cheap first: as long as the counts differ there is no use in reading every document.
		index := url.PathEscape(strings.ToLower(t.Topic))
		n := story.IndexCount(ctx, d.search.URL, index)
		if n != len(want) {
			note("index", max(0, len(want)-n), max(0, n-len(want)), 0, []string{fmt.Sprintf("%s holds %d documents, the table %d rows", t.Topic, n, len(want))})
		} else {
			rows, err := story.IndexRows(ctx, d.search.URL, index, t.Table)
			if err != nil {
				return err
			}
			m, e, diff, ex := story.Diff(t.Table, want, rows)
			note("index", m, e, diff, ex)
		}
		res.tables[i].docs = n
		res.docs += n
	}
	return nil
}
