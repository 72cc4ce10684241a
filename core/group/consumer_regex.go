package group

import (
	"errors"
	"iter"
	"log/slog"
	"maps"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
)

// regexPauseMs is the least time between two resolutions of a group's regular expressions.
const regexPauseMs = 10_000

// regexChange is what an update of a member means for the regular expressions of its group.
type regexChange struct {
	changed  bool     // the member subscribes to another one
	resolved bool     // and its topics are known, or it has none any more
	resolve  []string // these are to be resolved
}

// compileRegex is a regular expression in the syntax of RE2 that matches whole names.
func compileRegex(expr string) (*regexp.Regexp, *apiError) {
	if _, err := regexp.Compile(expr); err != nil {
		text := err.Error()
		var se *syntax.Error
		if errors.As(err, &se) {
			text = se.Code.String()
		}
		return nil, apiErrorf(codeInvalidRegularExpression, "SubscribedTopicRegex `%s` is not a valid regular expression: %s.", expr, text)
	}
	re, err := regexp.Compile(`\A(?:` + expr + `)\z`)
	if err != nil {
		return nil, apiErrorf(codeInvalidRegularExpression, "SubscribedTopicRegex `%s` is not a valid regular expression: %s.", expr, err)
	}
	return re, nil
}

// updateRegex adds the records of a change of the member's regular expression, and says when those of the
// group have to be resolved: for one that is new, for topics that are new, and from time to time.
func (s *Shard) updateRegex(p *plan, old, m *consumerMember) (regexChange, *apiError) {
	g := p.g
	var c regexChange
	was, is := old.subscribedRegex(), m.subscribedRegex()
	needed := false
	if !equalText(old.regex, m.regex) {
		c.changed = true
		if was != "" && g.regexes[was] == 1 {
			p.recs = append(p.recs, consumerRecord{kind: keyConsumerRegex, group: g.id, name: was})
		}
		switch {
		case is != "" && g.regexes[is] == 0:
			if _, err := compileRegex(is); err != nil {
				return c, err
			}
			needed = true
		case is != "":
			c.resolved = g.resolved[is] != nil
		case was != "":
			c.resolved = true
		}
	}
	if !needed && len(g.regexes) == 0 || g.resolving {
		return c, nil
	}
	last, version := int64(math.MinInt64), int64(0)
	for _, x := range sortedKeys(g.resolved) {
		last, version = g.resolved[x].at, g.resolved[x].version
		break
	}
	if last != math.MinInt64 && s.now <= last+regexPauseMs {
		return c, nil
	}
	all := maps.Clone(g.regexes)
	if was != "" {
		bump(all, was, -1)
	}
	if is != "" {
		bump(all, is, 1)
	}
	needed = needed || len(all) != len(g.resolved) || version < s.topicsCreated ||
		last == math.MinInt64 || s.now > last+int64(s.cfg.ConsumerRegexRefreshMs)
	if needed && len(all) > 0 {
		c.resolve = sortedKeys(all)
	}
	return c, nil
}

// resolveRegexes asks the edge to look for the topics that the expressions match.
func (s *Shard) resolveRegexes(g *consumerGroup, exprs []string, c RequestContext) {
	if len(exprs) == 0 || g.resolving {
		return
	}
	g.resolving = true
	s.effects = append(s.effects, Effect{Resolve: &RegexQuery{Group: g.id, Expressions: exprs, Image: s.image, At: s.now, CanDescribe: c.CanDescribe}})
}

// RegexQuery asks which topics the regular expressions of a group match. It is answered with [RegexResolved].
type RegexQuery struct {
	Group       string
	Expressions []string
	Image       Image
	At          int64
	// CanDescribe, if set, says which topics the member may know of.
	CanDescribe func(topic string) bool
}

// Resolve is the answer. It reads nothing but the query, so it may run beside the shard.
func (q *RegexQuery) Resolve() RegexResolved {
	out := RegexResolved{Group: q.Group, Version: q.Image.Version(), At: q.At, Topics: map[string][]string{}}
	compiled := map[string]*regexp.Regexp{}
	for _, x := range q.Expressions {
		out.Topics[x] = nil
		if re, err := compileRegex(x); err == nil { // else it matches nothing
			compiled[x] = re
		}
	}
	for name := range q.names() {
		for x, re := range compiled {
			if re.MatchString(name) {
				out.Topics[x] = append(out.Topics[x], name)
			}
		}
	}
	for x := range out.Topics {
		if q.CanDescribe != nil {
			out.Topics[x] = slices.DeleteFunc(out.Topics[x], func(t string) bool { return !q.CanDescribe(t) })
		}
		slices.Sort(out.Topics[x])
	}
	return out
}

func (q *RegexQuery) names() iter.Seq[string] { return q.Image.TopicNames() }

// regexResolved takes in the topics that the expressions match. Different topics begin a new group epoch.
func (s *Shard) regexResolved(e RegexResolved) {
	g := s.consumers[e.Group]
	if g == nil {
		return
	}
	g.resolving = false
	p := &plan{id: g.id, g: g}
	topics := cloneTopics(g.topics)
	force := false
	for _, x := range sortedKeys(e.Topics) {
		if g.regexes[x] == 0 {
			continue
		}
		var was []string
		if old := g.resolved[x]; old != nil {
			was = old.topics
		}
		if !slices.Equal(was, e.Topics[x]) {
			force = true
			for _, t := range was {
				bumpTopic(topics, t, 0, -1)
			}
			for _, t := range e.Topics[x] {
				bumpTopic(topics, t, 0, 1)
			}
		}
		p.recs = append(p.recs, consumerRecord{kind: keyConsumerRegex, group: g.id, name: x, value: &resolvedRegex{e.Topics[x], e.Version, e.At}})
	}
	hash := s.metadataHash(topics)
	if force = force || hash != g.metadataHash; force {
		p.recs = append(p.recs, consumerRecord{kind: keyConsumerEpoch, group: g.id, value: epochRecord{g.epoch + 1, hash}})
	}
	s.commit(p, func(g *consumerGroup) {
		if force {
			g.refreshAt = s.now + metadataRefreshMs
		}
	}, func(code int16) {
		if code != codeNone {
			s.note(slog.LevelWarn, "could not write the topics of regular expressions", "group", e.Group, "code", code)
		}
	})
}

func cloneTopics(m map[string]subscribers) map[string]subscribers { return maps.Clone(m) }
