package config

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTransactionProperties(t *testing.T) {
	b, err := ParseBroker(map[string]string{
		"transaction.max.timeout.ms": "1000", "transactional.id.expiration.ms": "2000", "transaction.state.log.num.partitions": "3",
		"transaction.partition.verification.enable": "false", "transaction.two.phase.commit.enable": "false",
	})
	require.NoError(t, err)
	require.Equal(t, time.Second, b.TransactionMaxTimeout)
	require.Equal(t, 2*time.Second, b.TransactionalIDExpiration)
	require.Equal(t, int32(3), b.TransactionLogPartitions)
	require.Equal(t, int16(3), b.TransactionLogReplication)
	require.Equal(t, int32(2), b.TransactionLogMinISR)
	require.Equal(t, int32(104857600), b.TransactionLogSegmentBytes)
	require.Equal(t, 10*time.Second, b.TransactionAbortCheck)
	require.Equal(t, time.Hour, b.TransactionExpireCheck)
	require.Equal(t, 20*time.Millisecond, b.AddPartitionsBackoff)
	require.Equal(t, 100*time.Millisecond, b.AddPartitionsBackoffMax)
	require.False(t, b.TransactionVerification)
	require.False(t, VerifiesTxns(Layers{Static: b.Static}))
	for k, v := range map[string]string{"transaction.two.phase.commit.enable": "true", "transaction.state.log.load.buffer.size": "1", "transaction.max.timeout.ms": "0"} {
		_, err := ParseBroker(map[string]string{k: v})
		require.ErrorContains(t, err, k)
	}
}
