package connect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicMaker creates the topics of a source task that do not exist, by the connector's rules (KIP-158). Without rules topics are left to
// the broker's own auto-creation.
type topicMaker struct {
	cl    kmsg.Requestor
	ac    *kgo.Client // of adm
	adm   *kadm.Client
	log   *slog.Logger
	rules []topicRule
	known map[string]bool
	last  string
	first func(topic string) // called once a topic
}

// ready makes sure that topic exists. It is cheap for the topic that was asked for last.
func (t *topicMaker) ready(ctx context.Context, topic string) error {
	if topic == t.last {
		return nil
	}
	if !t.known[topic] {
		if err := t.make(ctx, topic); err != nil {
			return err
		}
		t.known[topic] = true
		t.first(topic)
	}
	t.last = topic
	return nil
}

// autoCreatePatience is how long the broker may take to create a topic by itself.
const autoCreatePatience = 10 * time.Second

func (t *topicMaker) make(ctx context.Context, topic string) error {
	if len(t.rules) > 0 {
		return t.create(ctx, topic)
	}
	// Ask for the topic until it is there, so that the producer finds it when it looks: it does not look often.
	name := topic
	start := time.Now()
	for delay := 5 * time.Millisecond; ; delay = min(2*delay, 200*time.Millisecond) {
		req := kmsg.NewPtrMetadataRequest()
		req.AllowAutoTopicCreation = true
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = &name
		req.Topics = append(req.Topics, rt)
		resp, err := req.RequestWith(ctx, t.cl)
		if err == nil && len(resp.Topics) == 1 {
			if err = kerr.ErrorForCode(resp.Topics[0].ErrorCode); err == nil && len(resp.Topics[0].Partitions) > 0 {
				return nil
			}
		}
		if time.Since(start) > autoCreatePatience {
			if errors.Is(err, kerr.UnknownTopicOrPartition) {
				return fmt.Errorf("topic %q does not exist and the broker does not create it; create it, or let the connector do so with topic.creation.default.partitions and .replication.factor: %w", topic, err)
			}
			return nil // the producer will wait for it and say what is wrong
		}
		if err := sleep(ctx, delay); err != nil {
			return err
		}
	}
}

func (t *topicMaker) create(ctx context.Context, topic string) error {
	for delay := 100 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		td, err := describeTopic(ctx, t.ac, topic)
		if err == nil && td != nil {
			return nil
		}
		if err == nil {
			var rule *topicRule
			for i := range t.rules {
				if t.rules[i].matches(topic) {
					rule = &t.rules[i]
					break
				}
			}
			var resp kadm.CreateTopicResponse
			if resp, err = t.adm.CreateTopic(ctx, rule.partitions, rule.replication, rule.configs, topic); err == nil {
				err = resp.Err
			}
			switch {
			case err == nil:
				t.log.Info("topic created", "topic", topic, "group", rule.name)
				continue // until it is known
			case errors.Is(err, kerr.TopicAlreadyExists):
				return nil
			}
			if ke := (*kerr.Error)(nil); errors.As(err, &ke) && !ke.Retriable {
				return fmt.Errorf("create topic %q by the rules of topic.creation.%s: %w", topic, rule.name, err)
			}
		}
		t.log.Warn("creating a topic failed; it is tried again", "topic", topic, "error", err)
		if err := sleep(ctx, delay); err != nil {
			return err
		}
	}
}
