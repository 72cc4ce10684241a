package broker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/quorum"
	"github.com/moldau-io/moldau/core/server"
)

// stalledQuorum decides after the time of a request is up, or, with full, not at all.
type stalledQuorum struct {
	Quorum
	full bool
	slow time.Duration // how long it takes
	late sync.WaitGroup
}

func (q *stalledQuorum) Image() *metadata.Image { return metadata.Empty() }

func (q *stalledQuorum) Do(_ context.Context, decide func(*metadata.Image) ([]metadata.Record, error)) error {
	if q.full {
		return fmt.Errorf("%w: no space left on device", quorum.ErrFull)
	}
	<-time.After(q.slow)
	q.late.Go(func() { _, _ = decide(metadata.Empty()) })
	return context.DeadlineExceeded
}

func stalled(full bool) (*Broker, *stalledQuorum) {
	q := &stalledQuorum{full: full}
	return &Broker{quorum: q, ctx: context.Background(), log: slog.New(slog.DiscardHandler)}, q
}

// stranger is a call of a connection that nothing is known of.
func stranger(b *Broker) call { return call{b: b, r: &server.Request{Conn: &server.Conn{}}} }

// The race detector is what failed here: the decision wrote what the answer was made of.
func TestADecisionThatComesLateIsNotInTheAnswer(t *testing.T) {
	b, q := stalled(false)
	for range 100 {
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "t", Count: 3}, {Topic: "u", Count: 3}}
		resp := b.createPartitions(stranger(b), req).(*kmsg.CreatePartitionsResponse)
		require.Len(t, resp.Topics, 2)
		for _, topic := range resp.Topics {
			require.Equal(t, kerr.RequestTimedOut.Code, topic.ErrorCode)
		}
	}
	q.late.Wait()
}

func TestWaitingForADecisionIsNotTheClientsTime(t *testing.T) {
	b, q := stalled(false)
	q.slow = 20 * time.Millisecond
	since := time.Now()
	s := &session{handlingSince: since}
	c := call{b: b, r: &server.Request{Conn: &server.Conn{Value: s}}}
	require.Error(t, c.decide(0, func(*metadata.Image) ([]metadata.Record, error) { return nil, nil }))
	q.late.Wait()
	require.GreaterOrEqual(t, s.handlingSince.Sub(since), q.slow, "what was waited for is not counted")
	require.False(t, s.handlingSince.After(time.Now()))
}

func TestAChangeOfConfigsThatWasNotDecidedIsNoSuccess(t *testing.T) {
	b, _ := stalled(true)
	topic := metadata.ConfigResource{Type: metadata.TopicResource, Name: "t"}
	errs := configErrors{}
	b.decideConfigs(stranger(b), errs, []metadata.ConfigResource{topic}, false, func(*metadata.Image) ([]metadata.Record, []metadata.AlterConfigResult) {
		panic("not asked")
	})
	code, _ := errs.of(topic)
	require.Equal(t, kerr.KafkaStorageError.Code, code)
}
