package connect

import (
	"context"
	"fmt"
	"log/slog"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/plugins/javaregex"
)

// topicPattern is a topics.regex with what only Java's expressions have (look-around, back-references), which the client cannot subscribe
// by: the worker looks for the topics that match and subscribes by name. Topics that go away stay subscribed; they have nothing to read.
type topicPattern struct {
	re    *javaregex.Regexp
	known map[string]bool
	every time.Duration // how often new topics are looked for: the client's metadata.max.age.ms
	log   *slog.Logger
}

// awaitTopics returns the topics that match, and waits until there are some.
func (s *sinkRun) awaitTopics(pattern string) (*topicPattern, []string, error) {
	re, err := javaregex.Compile(pattern)
	if err != nil {
		return nil, nil, fmt.Errorf("topics.regex: %w", err)
	}
	age := intProp(s.clientProps("consumer", s.p, nil), "metadata.max.age.ms", 10000)
	p := &topicPattern{re: re, known: map[string]bool{}, every: max(time.Duration(age)*time.Millisecond, time.Second), log: s.log}
	cl, _, err := s.newClient("admin", s.label("adminclient"), s.p)
	if err != nil {
		return nil, nil, err
	}
	defer cl.Close()
	for {
		topics, err := p.find(s.ctx, cl)
		if err != nil {
			s.log.Warn("looking for the topics of a pattern failed; it is tried again", "pattern", pattern, "error", err)
		}
		if len(topics) > 0 {
			return p, topics, nil
		}
		if err := sleep(s.ctx, time.Second); err != nil {
			return nil, nil, err
		}
	}
}

// find returns the topics that match and were not known.
func (p *topicPattern) find(ctx context.Context, cl *kgo.Client) ([]string, error) {
	all, err := kadm.NewClient(cl).ListTopics(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for name := range all {
		if p.known[name] {
			continue
		}
		ok, err := p.re.Matches(name)
		if err != nil {
			p.log.Warn("a topic is left out: its name cannot be matched", "topic", name, "error", err)
		}
		if ok {
			p.known[name] = true
			out = append(out, name)
		}
	}
	sort.Strings(out)
	return out, nil
}

// follow subscribes the topics that appear.
func (p *topicPattern) follow(ctx context.Context, cl *kgo.Client) {
	for sleep(ctx, p.every) == nil {
		topics, err := p.find(ctx, cl)
		if err != nil && ctx.Err() == nil {
			p.log.Warn("looking for new topics failed; it is tried again", "error", err)
		}
		if len(topics) > 0 {
			cl.AddConsumeTopics(topics...)
		}
	}
}
