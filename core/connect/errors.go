package connect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
)

// Stages of a record's way, as Kafka Connect names them in logs and dead-letter headers.
const (
	stageTransform = "TRANSFORMATION"
	stageKey       = "KEY_CONVERTER"
	stageValue     = "VALUE_CONVERTER"
	stageHeader    = "HEADER_CONVERTER"
	stagePut       = "TASK_PUT"
	stagePoll      = "TASK_POLL"
	stageProduce   = "KAFKA_PRODUCE"
)

// converterPatience is for how long a converter's retriable error (the schema registry cannot be reached) is retried before
// errors.retry.* and errors.tolerance have a say. Kafka Connect has no such patience; a registry that restarts should not stop a task.
const converterPatience = time.Minute

const firstRetryDelay = 300 * time.Millisecond

// guard turns a panic into an error with its stack.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{fmt.Sprintf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	return f()
}

// panicError is what guard makes of a panic: what the plugin says after it is not to be trusted.
type panicError struct{ text string }

// Error tells the panic and its stack.
func (e *panicError) Error() string { return e.text }

// errorPolicy is what errors.* of a connector say.
type errorPolicy struct {
	id            workID
	tolerate      bool
	retryFor      time.Duration // < 0: without end
	retryDelayMax time.Duration
	log           bool
	logMessages   bool
	logger        *slog.Logger
	metrics       *taskMetrics
	dead          *deadLetters // nil: none
	secrets       *redactor
}

func newErrorPolicy(id workID, v configdef.Values, log *slog.Logger, m *taskMetrics, secrets *redactor) *errorPolicy {
	return &errorPolicy{
		id: id, tolerate: v.Str("errors.tolerance") == "all", retryFor: v.Millis("errors.retry.timeout"), retryDelayMax: v.Millis("errors.retry.delay.max.ms"),
		log: v.Bool("errors.log.enable"), logMessages: v.Bool("errors.log.include.messages"), logger: log, metrics: m, secrets: secrets,
	}
}

// retry tries f again after it failed with err, for as long as the policy has it. Only retriable errors are tried again.
func (p *errorPolicy) retry(ctx context.Context, stage string, err error, f func() error) error {
	limit := p.retryFor
	if stage == stageKey || stage == stageValue || stage == stageHeader {
		if limit >= 0 {
			limit = max(limit, converterPatience)
		}
	}
	start, delay := time.Now(), firstRetryDelay
	for plugins.IsRetriable(err) && (limit < 0 || time.Since(start) < limit) {
		p.metrics.retries.Add(1)
		d := delay
		if d >= p.retryDelayMax {
			d = p.retryDelayMax/2 + time.Duration(rand.Int64N(int64(p.retryDelayMax/2)+1))
		}
		if limit >= 0 {
			d = min(d, limit-time.Since(start))
		}
		if e := ctx.Err(); e != nil {
			return e
		}
		// A task that waits is still RUNNING: this is where one sees what for.
		p.logger.Warn("a record is tried again", "stage", stage, "delay", d.Round(time.Millisecond), "error", p.secrets.clean(err.Error()))
		if e := sleep(ctx, max(d, time.Millisecond)); e != nil {
			return e
		}
		delay *= 2
		if err = guard(f); err == nil {
			return nil
		}
	}
	return err
}

// position tells where in the log the record that failed lies; nil for source records.
type position struct {
	topic     string
	partition int32
	offset    int64
	timestamp int64
	raw       *plugins.RawRecord
}

// failed decides about a record that cannot be handled: nil when it is to be skipped, otherwise the error that fails the task. done, when not
// nil, is called once the record is in the dead-letter topic, or at once when there is none.
func (p *errorPolicy) failed(ctx context.Context, stage, class string, err error, at *position, done func(error)) error {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return err
	}
	p.metrics.failures.Add(1)
	p.metrics.lastError.Store(time.Now().UnixMilli())
	if p.log {
		p.metrics.logged.Add(1)
		attrs := []any{"stage", stage, "class", class, "error", p.secrets.clean(err.Error())}
		if p.logMessages && at != nil {
			attrs = append(attrs, "topic", at.topic, "partition", at.partition, "offset", at.offset, "timestamp", at.timestamp)
		}
		p.logger.Error("a record could not be handled", attrs...)
	}
	if !p.tolerate {
		p.metrics.errors.Add(1)
		return fmt.Errorf("Tolerance exceeded in error handler: stage %s, class %s: %w", stage, class, err) //nolint:staticcheck // Kafka Connect's words, which tools look for
	}
	p.metrics.skipped.Add(1)
	if p.dead != nil && at != nil {
		p.dead.send(ctx, p, stage, class, err, at, done)
	} else if done != nil {
		done(nil)
	}
	return nil
}

// javaClass names the exception that Kafka Connect would have thrown.
func javaClass(err error) string {
	var d *plugins.DataError
	switch {
	case errors.As(err, &d):
		return "org.apache.kafka.connect.errors.DataException"
	case plugins.IsRetriable(err):
		return "org.apache.kafka.connect.errors.RetriableException"
	}
	return "org.apache.kafka.connect.errors.ConnectException"
}

// trace renders an error for a status: the class that tools expect in front, then the error with its causes.
func trace(err error) string {
	if err == nil {
		return ""
	}
	msg := err.Error()
	if strings.HasPrefix(msg, "Tolerance exceeded") {
		return "org.apache.kafka.connect.errors.ConnectException: Tolerance exceeded in error handler\nCaused by: " + javaClass(err) + ": " + msg
	}
	return javaClass(err) + ": " + msg
}
