package txn

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

// The Kafka error codes that the coordinator gives.
const (
	codeNone                      int16 = 0
	codeUnknownServerError        int16 = -1
	codeUnknownTopicOrPartition   int16 = 3
	codeCoordinatorLoadInProgress int16 = 14
	codeCoordinatorNotAvailable   int16 = 15
	codeNotCoordinator            int16 = 16
	codeInvalidRequest            int16 = 42
	codeInvalidProducerEpoch      int16 = 47
	codeInvalidTxnState           int16 = 48
	codeInvalidProducerIDMapping  int16 = 49
	codeInvalidTransactionTimeout int16 = 50
	codeConcurrentTransactions    int16 = 51
	codeCoordinatorFenced         int16 = 52
	codeUnsupportedForFormat      int16 = 43
	codeProducerFenced            int16 = 90
	codeTransactionalIDNotFound   int16 = 105
	codeTransactionAbortable      int16 = 120
)

// appendErrorCode is what a client is told when the append that its answer waits for failed: codes that speak of the partition
// become codes that speak of the coordinator, which every client knows how to retry.
func appendErrorCode(err error) int16 {
	if err == nil {
		return codeNone
	}
	var ke *kerr.Error
	if !errors.As(err, &ke) {
		return codeNotCoordinator
	}
	switch ke.Code {
	case codeUnknownTopicOrPartition, kerr.NotEnoughReplicas.Code, kerr.NotEnoughReplicasAfterAppend.Code, kerr.RequestTimedOut.Code:
		return codeCoordinatorNotAvailable
	case kerr.NotLeaderForPartition.Code, kerr.KafkaStorageError.Code:
		return codeNotCoordinator
	case kerr.MessageTooLarge.Code, kerr.RecordListTooLarge.Code:
		return codeUnknownServerError
	}
	return ke.Code
}
