package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Exit codes. They are part of the interface: scripts depend on them.
const (
	exitOK           = 0
	exitFailed       = 1
	exitUsage        = 2
	exitNotFound     = 3
	exitExists       = 4
	exitUnreachable  = 5
	exitUnauthorized = 6
	exitInterrupted  = 130
)

// Error is a failure with its exit code and, when there is one, what to do about it.
type Error struct {
	Code   int
	Err    error
	Remedy string
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// MarshalJSON is the shape of a failure with --json.
func (e *Error) MarshalJSON() ([]byte, error) {
	kinds := map[int]string{exitFailed: "failed", exitUsage: "usage", exitNotFound: "not_found", exitExists: "exists", exitUnreachable: "unreachable", exitUnauthorized: "unauthorized", exitInterrupted: "interrupted"}
	v := struct {
		Kind    string `json:"kind"`
		Exit    int    `json:"exit"`
		Message string `json:"message"`
		Kafka   string `json:"kafka_error,omitempty"`
		Remedy  string `json:"remedy,omitempty"`
	}{kinds[e.Code], e.Code, e.Error(), "", e.Remedy}
	var ke *kerr.Error
	if errors.As(e.Err, &ke) {
		v.Kafka = ke.Message
	}
	return json.Marshal(v)
}

func usage(err error, remedy string) error {
	return &Error{Code: exitUsage, Err: err, Remedy: remedy}
}

func usagef(remedy, format string, args ...any) error {
	return usage(fmt.Errorf(format, args...), remedy)
}

func notFound(format string, args ...any) error {
	return &Error{Code: exitNotFound, Err: fmt.Errorf(format, args...)}
}

func unreachable(servers []string, err error) error {
	if e := classify(err); e.Code == exitUnauthorized || e.Code == exitUsage {
		return e
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return &Error{Code: exitUnreachable, Err: fmt.Errorf("no broker at %s answers: %w", strings.Join(servers, ","), err),
		Remedy: "check --bootstrap-server, and that --command-config has the security.protocol of that listener"}
}

// kafkaCodes are the kinds of Kafka's errors; those not listed are failures.
var kafkaCodes = map[*kerr.Error]int{
	kerr.UnknownTopicOrPartition: exitNotFound, kerr.UnknownTopicID: exitNotFound, kerr.GroupIDNotFound: exitNotFound, kerr.ResourceNotFound: exitNotFound,
	kerr.TransactionalIDNotFound: exitNotFound, kerr.UnknownMemberID: exitNotFound, kerr.LogDirNotFound: exitNotFound, kerr.NoReassignmentInProgress: exitNotFound,
	kerr.TopicAlreadyExists: exitExists, kerr.DuplicateResource: exitExists,
	kerr.TopicAuthorizationFailed: exitUnauthorized, kerr.GroupAuthorizationFailed: exitUnauthorized, kerr.ClusterAuthorizationFailed: exitUnauthorized,
	kerr.TransactionalIDAuthorizationFailed: exitUnauthorized, kerr.SaslAuthenticationFailed: exitUnauthorized, kerr.IllegalSaslState: exitUnauthorized,
	kerr.UnsupportedSaslMechanism: exitUnauthorized, kerr.DelegationTokenAuthorizationFailed: exitUnauthorized,
	kerr.RequestTimedOut: exitUnreachable, kerr.CoordinatorNotAvailable: exitUnreachable, kerr.LeaderNotAvailable: exitUnreachable, kerr.BrokerNotAvailable: exitUnreachable,
}

// classify finds the exit code of an error.
func classify(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		if own, ok := err.(*Error); ok { //nolint:errorlint // what was said around it is kept
			return own
		}
		return &Error{Code: e.Code, Err: err, Remedy: e.Remedy}
	}
	var ke *kerr.Error
	if errors.As(err, &ke) {
		if c, ok := kafkaCodes[ke]; ok {
			return &Error{Code: c, Err: err}
		}
		return &Error{Code: exitFailed, Err: err}
	}
	var ne *net.OpError
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) {
		return &Error{Code: exitUnreachable, Err: err}
	}
	if strings.Contains(err.Error(), "broker is too old") {
		return &Error{Code: exitFailed, Err: err, Remedy: "the cluster does not serve this API: see moldau cluster api-versions"}
	}
	if s := err.Error(); strings.HasPrefix(s, "unknown command") || strings.HasPrefix(s, "required flag") || strings.Contains(s, "none of the others can be") || strings.HasPrefix(s, "at least one of the flags") {
		return &Error{Code: exitUsage, Err: err, Remedy: "see moldau --help"}
	}
	return &Error{Code: exitFailed, Err: err}
}

// explain joins Kafka's error with the message that the broker gave, in the words of the broker.
func explain(err error, message string) error {
	if err == nil || message == "" {
		return err
	}
	var ke *kerr.Error
	if errors.As(err, &ke) {
		return &said{ke, message}
	}
	return fmt.Errorf("%w: %s", err, message)
}

// said is Kafka's error with the broker's message.
type said struct {
	kafka   *kerr.Error
	message string
}

// Error is the name of Kafka's error and the broker's message.
func (s *said) Error() string { return s.kafka.Message + ": " + s.message }

// Unwrap returns Kafka's error.
func (s *said) Unwrap() error { return s.kafka }

// failures collects what went wrong with several things of one command.
type failures struct {
	errs []error
}

func (f *failures) add(what string, err error) {
	if err != nil {
		f.errs = append(f.errs, fmt.Errorf("%s: %w", what, err))
	}
}

// err is nil, or one error whose code is that of all of them when they agree.
func (f *failures) err() error {
	if len(f.errs) == 0 {
		return nil
	}
	code := classify(f.errs[0]).Code
	texts := make([]string, len(f.errs))
	for i, e := range f.errs {
		if classify(e).Code != code {
			code = exitFailed
		}
		texts[i] = e.Error()
	}
	if len(f.errs) == 1 {
		e := classify(f.errs[0])
		return e
	}
	return &Error{Code: code, Err: fmt.Errorf("%d failed: %s", len(f.errs), strings.Join(texts, "; "))}
}
