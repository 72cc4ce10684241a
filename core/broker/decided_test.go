package broker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/quorum"
)

// stalledQuorum decides after the time of a request is up, or, with full, not at all.
type stalledQuorum struct {
	Quorum
	full bool
	late sync.WaitGroup
}

func (q *stalledQuorum) Image() *metadata.Image { return metadata.Empty() }

func (q *stalledQuorum) Do(_ context.Context, decide func(*metadata.Image) ([]metadata.Record, error)) error {
	if q.full {
		return fmt.Errorf("%w: no space left on device", quorum.ErrFull)
	}
	q.late.Go(func() { _, _ = decide(metadata.Empty()) })
	return context.DeadlineExceeded
}

func stalled(full bool) (*Broker, *stalledQuorum) {
	q := &stalledQuorum{full: full}
	return &Broker{quorum: q, ctx: context.Background(), log: slog.New(slog.DiscardHandler)}, q
}

// The race detector is what fails here: the decision writes what the answer is made of.
func TestADecisionThatComesLateIsNotInTheAnswer(t *testing.T) {
	b, q := stalled(false)
	for range 100 {
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "t", Count: 3}, {Topic: "u", Count: 3}}
		resp := b.createPartitions(call{}, req).(*kmsg.CreatePartitionsResponse)
		require.Len(t, resp.Topics, 2)
		for _, topic := range resp.Topics {
			require.Equal(t, kerr.RequestTimedOut.Code, topic.ErrorCode)
		}
	}
	q.late.Wait()
}

func TestAChangeOfConfigsThatWasNotDecidedIsNoSuccess(t *testing.T) {
	b, _ := stalled(true)
	topic := metadata.ConfigResource{Type: metadata.TopicResource, Name: "t"}
	errs := configErrors{}
	b.decideConfigs(errs, []metadata.ConfigResource{topic}, false, func(*metadata.Image) ([]metadata.Record, []metadata.AlterConfigResult) {
		panic("not asked")
	})
	code, _ := errs.of(topic)
	require.Equal(t, kerr.KafkaStorageError.Code, code)
}
