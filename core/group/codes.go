package group

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
