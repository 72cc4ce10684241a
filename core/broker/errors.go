package broker

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau-io/moldau/core/log"
	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/quorum"
	"github.com/moldau-io/moldau/core/replica"
)

// errorCodes maps errors of the layers below to Kafka's, the most specific first.
var errorCodes = []struct {
	is   error
	code *kerr.Error
}{
	{log.ErrOffsetOutOfRange, kerr.OffsetOutOfRange},
	{log.ErrCorruptMessage, kerr.CorruptMessage},
	{log.ErrMessageTooLarge, kerr.MessageTooLarge},
	{log.ErrRecordListTooLarge, kerr.RecordListTooLarge},
	{log.ErrInvalidRecord, kerr.InvalidRecord},
	{log.ErrInvalidTimestamp, kerr.InvalidTimestamp},
	{log.ErrUnsupportedFormat, kerr.UnsupportedForMessageFormat},
	{log.ErrUnsupportedCompression, kerr.UnsupportedCompressionType},
	{log.ErrOutOfOrderSequence, kerr.OutOfOrderSequenceNumber},
	{log.ErrInvalidProducerEpoch, kerr.InvalidProducerEpoch},
	{log.ErrUnknownProducerID, kerr.UnknownProducerID},
	{log.ErrInvalidTxnState, kerr.InvalidTxnState},
	{log.ErrCoordinatorFenced, kerr.TransactionCoordinatorFenced},
	{log.ErrTruncated, kerr.NotLeaderForPartition},
	{log.ErrNotFound, kerr.UnknownTopicOrPartition},
	{log.ErrClosed, kerr.NotLeaderForPartition},
	{log.ErrStorage, kerr.KafkaStorageError},
	{log.ErrBusy, kerr.RequestTimedOut},
	{replica.ErrNotLeader, kerr.NotLeaderForPartition},
	{replica.ErrFencedEpoch, kerr.FencedLeaderEpoch},
	{replica.ErrUnknownEpoch, kerr.UnknownLeaderEpoch},
	{replica.ErrNotEnoughReplicas, kerr.NotEnoughReplicas},
	{replica.ErrClosed, kerr.NotLeaderForPartition},
	{quorum.ErrNotLeader, kerr.NotController},
	{quorum.ErrLost, kerr.NotController},
	{quorum.ErrClosed, kerr.NotController},
	{quorum.ErrTooLarge, kerr.PolicyViolation},
	{quorum.ErrFull, kerr.KafkaStorageError},
	{context.DeadlineExceeded, kerr.RequestTimedOut},
	{context.Canceled, kerr.NotController},
}

// codeOf is the Kafka error code of err, 0 for nil and UNKNOWN_SERVER_ERROR for what nobody named.
func codeOf(err error) int16 {
	if err == nil {
		return 0
	}
	var m *metadata.Error
	if errors.As(err, &m) {
		return m.Code
	}
	var k *kerr.Error
	if errors.As(err, &k) {
		return k.Code
	}
	for _, e := range errorCodes {
		if errors.Is(err, e.is) {
			return e.code.Code
		}
	}
	return kerr.UnknownServerError.Code
}

// messageOf is what a client may read about err; nil for none.
func messageOf(err error) *string {
	if err == nil {
		return nil
	}
	var m *metadata.Error
	if errors.As(err, &m) {
		if m.Message == "" {
			return nil
		}
		return &m.Message
	}
	s := err.Error()
	return &s
}

// metadataError turns a decision's error into code and text.
func metadataError(e *metadata.Error) (int16, *string) {
	if e == nil {
		return 0, nil
	}
	return e.Code, messageOf(e)
}
