package coordinator

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

// AppendErrorCode is what a client is told when the append that its answer waits for failed. As in Kafka, codes that speak of the
// partition are turned into codes that speak of the coordinator, which every client knows how to retry.
func AppendErrorCode(err error) int16 {
	if err == nil {
		return 0
	}
	var ke *kerr.Error
	if !errors.As(err, &ke) {
		return kerr.NotCoordinator.Code // as for a storage error: look for the coordinator again
	}
	switch ke.Code {
	case kerr.UnknownTopicOrPartition.Code, kerr.NotEnoughReplicas.Code, kerr.NotEnoughReplicasAfterAppend.Code, kerr.RequestTimedOut.Code:
		return kerr.CoordinatorNotAvailable.Code
	case kerr.NotLeaderForPartition.Code, kerr.KafkaStorageError.Code:
		return kerr.NotCoordinator.Code
	case kerr.MessageTooLarge.Code, kerr.RecordListTooLarge.Code, kerr.InvalidFetchSize.Code:
		return kerr.UnknownServerError.Code
	}
	return ke.Code
}
