package txn

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
