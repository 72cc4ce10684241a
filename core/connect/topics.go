package connect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// topicMaker creates the topics of a source task that do not exist, by the connector's rules (KIP-158). Without rules topics are left to
// the broker's own auto-creation.
type topicMaker struct {
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
		if len(t.rules) > 0 {
			if err := t.create(ctx, topic); err != nil {
				return err
			}
		}
		t.known[topic] = true
		t.first(topic)
	}
	t.last = topic
	return nil
}

func (t *topicMaker) create(ctx context.Context, topic string) error {
	for delay := 100 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		td, err := describeTopic(ctx, t.adm, topic)
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
