package main

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/moldau-io/moldau/internal/story"
)

// How many rows each part of the workload changes in each database: 210,000 at the least with both.
const (
	firstRows    = 45_000
	burstInserts = 30_000
	burstUpdates = 20_000
	burstDeletes = 8_000
	batch        = 500
	pacedRate    = 1_000 // changes a second in each database
	pacedSeconds = 8
	pacedBatch   = 10
)

// workload changes rows and counts what it committed.
type workload struct {
	*demo
	first   int64
	changes atomic.Int64
}

// prepare makes the tables with the rows that snapshots will find.
func (w *workload) prepare(ctx context.Context) error {
	if w.pg != nil {
		c, err := w.pgConn(ctx)
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		if _, err := c.Exec(ctx, story.OrdersDDL); err != nil {
			return err
		}
		if err := story.InsertOrders(ctx, c, 1, firstRows); err != nil {
			return err
		}
		w.changes.Add(firstRows)
		t := story.Orders("pg")
		w.tables = append(w.tables, captured{t, func(ctx context.Context) (story.Rows, error) { return story.PostgresRows(ctx, w.pg.URL, t) }})
	}
	if w.mysql != nil {
		c, err := w.myConn(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		for _, q := range []string{"CREATE DATABASE IF NOT EXISTS shop", story.PaymentsDDL} {
			if _, err := c.Execute(q); err != nil {
				return err
			}
		}
		for i := 0; i < firstRows; i += 1000 {
			if err := story.InsertPayments(c, 1+i, 1000); err != nil {
				return err
			}
		}
		w.changes.Add(firstRows)
		t := story.Payments("mysql")
		w.tables = append(w.tables, captured{t, func(ctx context.Context) (story.Rows, error) { return story.MySQLRows(ctx, w.mysql, t) }})
	}
	w.first = w.changes.Load()
	return nil
}

// each runs the same work on every database at once.
func (w *workload) each(ctx context.Context, pg func(insert, update, remove func(first, n int) error) error) error {
	g, ctx := errgroup.WithContext(ctx)
	count := func(n int, err error) error {
		if err == nil {
			w.changes.Add(int64(n))
		}
		return err
	}
	if w.pg != nil {
		g.Go(func() error {
			c, err := w.pgConn(ctx)
			if err != nil {
				return err
			}
			defer c.Close(ctx)
			return pg(
				func(first, n int) error { return count(n, story.InsertOrders(ctx, c, first, n)) },
				func(first, n int) error { return count(n, story.UpdateOrders(ctx, c, first, n)) },
				func(first, n int) error { return count(n, story.DeleteOrders(ctx, c, first, n)) })
		})
	}
	if w.mysql != nil {
		g.Go(func() error {
			c, err := w.myConn(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			return pg(
				func(first, n int) error { return count(n, story.InsertPayments(c, first, n)) },
				func(first, n int) error { return count(n, story.UpdatePayments(c, first, n)) },
				func(first, n int) error { return count(n, story.DeletePayments(c, first, n)) })
		})
	}
	return g.Wait()
}

func (w *workload) burst(ctx context.Context) error {
	return w.each(ctx, func(insert, update, remove func(first, n int) error) error {
		for i := 0; i < burstInserts; i += batch {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := insert(firstRows+1+i, batch); err != nil {
				return err
			}
			if i < burstUpdates {
				if err := update(1+i, batch); err != nil {
					return err
				}
			}
			if i < burstDeletes {
				if err := remove(firstRows/2+1+i, batch); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (w *workload) paced(ctx context.Context) error {
	return w.each(ctx, func(insert, update, _ func(first, n int) error) error {
		next := firstRows + burstInserts + 1
		tick := time.NewTicker(time.Second / (pacedRate / pacedBatch))
		defer tick.Stop()
		for i := range pacedSeconds * pacedRate / pacedBatch {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
			var err error
			if i%2 == 0 {
				err = insert(next, pacedBatch)
				next += pacedBatch
			} else {
				err = update(next-pacedBatch, pacedBatch)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
