package broker

import (
	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/security/acl"
)

// Authorization. Without authorizer.class.name every check is one look at a nil pointer. With it, the entries are indexed anew when they
// change (the metadata's subscriber does it), and requests of the hot paths remember the answers for their topics as long as the index is the same.

// accessCache remembers what a connection may do with topics. It belongs to the reader goroutine.
type accessCache struct {
	version uint64
	topics  map[string]access
}

// access is what was found for one topic.
type access uint8

const (
	knowRead access = 1 << iota
	mayRead
	knowWrite
	mayWrite
)

// maxAccessCache bounds the topics that a connection remembers.
const maxAccessCache = 10_000

// indexACLs makes the index of the image's access control entries.
func (b *Broker) indexACLs(im *metadata.Image) {
	if b.cfg.Core.AuthorizerClass == "" {
		return
	}
	acls := im.ACLs()
	entries := make([]acl.Entry, 0, len(acls))
	for _, a := range acls {
		entries = append(entries, acl.Entry{
			Type: acl.ResourceType(a.ResourceType), Name: a.ResourceName, Pattern: acl.PatternType(a.PatternType), Principal: a.Principal,
			Host: a.Host, Operation: acl.Operation(a.Operation), Permission: acl.Permission(a.Permission),
		})
	}
	b.aclVersion++
	b.acls.Store(acl.New(entries, b.super, b.cfg.Core.AllowEveryoneIfNoACL, b.aclVersion))
}

// allowed says whether the peer of the request may do op with a resource, and logs when it may not. It is safe from any goroutine.
func (c call) allowed(op acl.Operation, t acl.ResourceType, name string) bool {
	ok := c.may(op, t, name)
	if !ok {
		s := c.session()
		c.b.metrics.denied.Add(1)
		c.b.log.Info("denied", "principal", s.who.String(), "operation", op.String(), "host", c.r.Conn.RemoteHost(), "resource", t.String()+":"+name, "request", apiName(c.r.Key))
	}
	return ok
}

// may is allowed without the log: for listings that leave out what the peer may not see.
func (c call) may(op acl.Operation, t acl.ResourceType, name string) bool {
	x := c.b.acls.Load()
	if x == nil {
		return true
	}
	s := c.session()
	return s.internal || x.Allowed(&s.subject, op, t, name)
}

// allowedCluster is allowed for the cluster.
func (c call) allowedCluster(op acl.Operation) bool {
	return c.allowed(op, acl.Cluster, acl.ClusterName)
}

// allowedAny says whether the peer may do op with at least one resource of the type.
func (c call) allowedAny(op acl.Operation, t acl.ResourceType) bool {
	x := c.b.acls.Load()
	if x == nil {
		return true
	}
	s := c.session()
	return s.internal || x.AllowedAny(&s.subject, op, t)
}

// operations is the set of operations that the peer may do with a resource, as answers hold it (KIP-430).
func (c call) operations(t acl.ResourceType, name string) int32 {
	x := c.b.acls.Load()
	if s := c.session(); x == nil || s.internal {
		return (*acl.Index)(nil).AuthorizedOperations(nil, t, name)
	} else {
		return x.AuthorizedOperations(&s.subject, t, name)
	}
}

// allowedTopic is allowed for READ or WRITE of a topic on the hot paths: it remembers. Only the reader goroutine may call it.
func (c call) allowedTopic(op acl.Operation, topic string) bool {
	x := c.b.acls.Load()
	if x == nil {
		return true
	}
	s := c.session()
	if s.internal {
		return true
	}
	a := &s.access
	if a.version != x.Version() || len(a.topics) > maxAccessCache {
		a.version = x.Version()
		clear(a.topics)
	}
	know, may := knowRead, mayRead
	if op == acl.Write {
		know, may = knowWrite, mayWrite
	}
	v := a.topics[topic]
	if v&know == 0 {
		v |= know
		if c.allowed(op, acl.Topic, topic) {
			v |= may
		}
		if a.topics == nil {
			a.topics = map[string]access{}
		}
		a.topics[topic] = v
	}
	return v&may != 0
}
