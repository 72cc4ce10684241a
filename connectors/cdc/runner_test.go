package cdc

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins"
)

// capture is one whose attempts end as the test says.
type capture func(ctx context.Context, attempt int) error

type attempts struct {
	n int
	f capture
}

func (a *attempts) Attempt(ctx context.Context) error {
	a.n++
	return a.f(ctx, a.n)
}
func (a *attempts) Retriable(err error) bool { return !IsFatal(err) }
func (a *attempts) Explain(err error) error  { return fmt.Errorf("%w: turn it on", err) }

func failure(t *testing.T, r *Runner) (err error) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err = r.Poll(context.Background())
		return err != nil
	}, 10*time.Second, time.Millisecond)
	return err
}

func TestARunnerGivesUpAfterAsManyRetriesInARowAsAllowed(t *testing.T) {
	r := parse(t, map[string]string{"errors.max.retries": "2", "retriable.restart.connector.wait.ms": "0"}).NewRunner(plugins.Env{}, "test")
	c := &attempts{f: func(_ context.Context, n int) error {
		if n == 2 {
			r.Progressed()
		}
		return errors.New("gone")
	}}
	r.Start(c)
	require.EqualError(t, failure(t, r), "gave up after 2 retries (errors.max.retries): gone")
	r.Stop(nil)
	require.Equal(t, 4, c.n, "the second attempt progressed and is the first of a new row")
}

func TestARunnerExplainsWhatWillNotPass(t *testing.T) {
	r := parse(t, map[string]string{}).NewRunner(plugins.Env{}, "test")
	r.Start(&attempts{f: func(context.Context, int) error { return fmt.Errorf("start: %w", Fatalf("it is off")) }})
	require.EqualError(t, failure(t, r), "start: it is off: turn it on")
	stopped := 0
	r.Stop(func() { stopped++ })
	r.Stop(func() { stopped++ })
	require.Equal(t, 1, stopped)
}

func TestARunnerThatIsDoneWaitsToBeStopped(t *testing.T) {
	r := parse(t, map[string]string{"poll.interval.ms": "1"}).NewRunner(plugins.Env{}, "test")
	c := &attempts{f: func(ctx context.Context, _ int) error {
		return r.Queue.Put(ctx, []plugins.SourceRecord{{Topic: "a"}}, 1)
	}}
	r.Start(c)
	require.Eventually(t, func() bool {
		recs, err := r.Poll(context.Background())
		require.NoError(t, err)
		return len(recs) == 1
	}, 10*time.Second, time.Millisecond)
	recs, err := r.Poll(context.Background())
	require.NoError(t, err)
	require.Empty(t, recs)
	r.Stop(nil)
	require.Equal(t, 1, c.n)
}

func TestStoppingARunnerThatNeverRanDoesNothing(t *testing.T) {
	var none *Runner
	none.Stop(nil)
	parse(t, map[string]string{}).NewRunner(plugins.Env{}, "test").Stop(func() { t.Error("it never ran") })
}

func TestWhatCannotBeConvertedIsMetAsConfigured(t *testing.T) {
	bad := errors.New("bad")
	for mode, want := range map[string]error{"warn": nil, "skip": nil, "ignore": nil, "fail": Fatal{bad}} {
		r := parse(t, map[string]string{"event.processing.failure.handling.mode": mode}).NewRunner(plugins.Env{}, "test")
		require.Equal(t, want, r.Unconvertible("row", bad), mode)
	}
}

// stored is an offset store of one answer.
type stored struct {
	m   map[string]any
	err error
}

func (s stored) Offset(_ context.Context, partition map[string]any) (map[string]any, error) {
	if partition["server"] != "p" {
		return nil, errors.New("another partition")
	}
	return s.m, s.err
}

func TestStoredOffsetsAreReadWithTheRemedy(t *testing.T) {
	read := func(s stored, parsed error) (got map[string]any, err error) {
		r := parse(t, map[string]string{}).NewRunner(plugins.Env{}, "test")
		err = r.ReadOffset(context.Background(), plugins.Env{Offsets: s}, func(m map[string]any) error { got = m; return parsed })
		return got, err
	}
	m, err := read(stored{m: map[string]any{"pos": 1}}, nil)
	require.NoError(t, err)
	require.Equal(t, map[string]any{"pos": 1}, m)
	_, err = read(stored{err: errors.New("no log")}, nil)
	require.EqualError(t, err, "read stored offset: no log")
	_, err = read(stored{}, errors.New("no number"))
	require.EqualError(t, err, "no number; reset the connector's offsets to begin anew")
	r := parse(t, map[string]string{}).NewRunner(plugins.Env{}, "test")
	require.NoError(t, r.ReadOffset(context.Background(), plugins.Env{}, nil), "no store, no offset")
}

func TestRunIDsAreRandomUUIDs(t *testing.T) {
	a, b := newRunID(), newRunID()
	require.NotEqual(t, a, b)
	require.Regexp(t, regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`), a)
}
