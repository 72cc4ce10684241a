package coordinator

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
)

func TestAppendErrorsBecomeCoordinatorErrors(t *testing.T) {
	for err, code := range map[error]int16{
		kerr.UnknownTopicOrPartition:             kerr.CoordinatorNotAvailable.Code,
		kerr.NotEnoughReplicas:                   kerr.CoordinatorNotAvailable.Code,
		kerr.NotEnoughReplicasAfterAppend:        kerr.CoordinatorNotAvailable.Code,
		kerr.RequestTimedOut:                     kerr.CoordinatorNotAvailable.Code,
		kerr.NotLeaderForPartition:               kerr.NotCoordinator.Code,
		kerr.KafkaStorageError:                   kerr.NotCoordinator.Code,
		kerr.MessageTooLarge:                     kerr.UnknownServerError.Code,
		kerr.RecordListTooLarge:                  kerr.UnknownServerError.Code,
		kerr.InvalidFetchSize:                    kerr.UnknownServerError.Code,
		kerr.InvalidRequiredAcks:                 kerr.InvalidRequiredAcks.Code,
		fmt.Errorf("no code"):                    kerr.NotCoordinator.Code,
		fmt.Errorf("x: %w", kerr.CorruptMessage): kerr.CorruptMessage.Code,
	} {
		require.Equal(t, code, AppendErrorCode(err), "%v", err)
	}
	require.Zero(t, AppendErrorCode(nil))
}
