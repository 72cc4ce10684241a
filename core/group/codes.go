package group

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

// The Kafka error codes that the coordinator gives.
const (
	codeNone                      int16 = 0
	codeUnknownServerError        int16 = -1
	codeUnknownTopicOrPartition   int16 = 3
	codeNotLeaderOrFollower       int16 = 6
	codeRequestTimedOut           int16 = 7
	codeMessageTooLarge           int16 = 10
	codeOffsetMetadataTooLarge    int16 = 12
	codeCoordinatorLoadInProgress int16 = 14
	codeCoordinatorNotAvailable   int16 = 15
	codeNotCoordinator            int16 = 16
	codeRecordListTooLarge        int16 = 18
	codeNotEnoughReplicas         int16 = 19
	codeIllegalGeneration         int16 = 22
	codeInconsistentGroupProtocol int16 = 23
	codeInvalidGroupID            int16 = 24
	codeUnknownMemberID           int16 = 25
	codeInvalidSessionTimeout     int16 = 26
	codeRebalanceInProgress       int16 = 27
	codeInvalidRequest            int16 = 42
	codeStorageError              int16 = 56
	codeNonEmptyGroup             int16 = 68
	codeGroupIDNotFound           int16 = 69
	codeMemberIDRequired          int16 = 79
	codeGroupMaxSizeReached       int16 = 81
	codeFencedInstanceID          int16 = 82
	codeGroupSubscribedToTopic    int16 = 86
	codeUnknownTopicID            int16 = 100
	codeUnsupportedVersion        int16 = 35
	codeFencedMemberEpoch         int16 = 110
	codeUnreleasedInstanceID      int16 = 111
	codeUnsupportedAssignor       int16 = 112
	codeStaleMemberEpoch          int16 = 113
	codeInvalidRegularExpression  int16 = 128
)

// appendErrorCode is what a client is told when the append that its answer waits for failed. As in Kafka,
// codes that speak of the partition are turned into codes that speak of the coordinator, which every client
// knows how to retry.
func appendErrorCode(err error) int16 {
	if err == nil {
		return codeNone
	}
	var ke *kerr.Error
	if !errors.As(err, &ke) {
		return codeNotCoordinator // as for a storage error: look for the coordinator again
	}
	switch ke.Code {
	case codeUnknownTopicOrPartition, codeNotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend.Code, codeRequestTimedOut:
		return codeCoordinatorNotAvailable
	case codeNotLeaderOrFollower, codeStorageError:
		return codeNotCoordinator
	case codeMessageTooLarge, codeRecordListTooLarge, kerr.InvalidFetchSize.Code:
		return codeUnknownServerError
	}
	return ke.Code
}
