// Package acl decides who may do what, as Apache Kafka's StandardAuthorizer does. It is pure: an [Index] is made of the access
// control entries and the super users, and answers; it never changes.
//
// # The rule
//
//   - A super user may do everything.
//   - Of the entries whose resource applies (the literal name, a prefix of it, or the literal "*"), those count whose
//     principal (or "User:*"), host (or "*") and operation (or ALL) fit. One DENY among them denies, whatever else there is.
//   - Else one ALLOW among them allows. An ALLOW of READ, WRITE, DELETE or ALTER counts as one of DESCRIBE, an ALLOW of
//     ALTER_CONFIGS as one of DESCRIBE_CONFIGS; a DENY implies nothing.
//   - Else it is denied, unless allow.everyone.if.no.acl.found is set and no entry at all applies to the resource.
//
// So the answer does not depend on the order of the entries, and adding a DENY never allows anything. Hosts may be addresses
// or networks in CIDR notation (KIP-1276); they are compared as addresses, so that ::1 and 0:0:0:0:0:0:0:1 are one.
package acl

import (
	"net/netip"
	"slices"
	"strings"
)

// ResourceType is the kind of a resource, with Kafka's numbers.
type ResourceType int8

// The resource types.
const (
	Topic           ResourceType = 2
	Group           ResourceType = 3
	Cluster         ResourceType = 4
	TransactionalID ResourceType = 5
	DelegationToken ResourceType = 6
	UserResource    ResourceType = 7
)

// ClusterName is the name of the one resource of type Cluster.
const ClusterName = "kafka-cluster"

// Operation is what is done with a resource, with Kafka's numbers.
type Operation int8

// The operations.
const (
	All             Operation = 2
	Read            Operation = 3
	Write           Operation = 4
	Create          Operation = 5
	Delete          Operation = 6
	Alter           Operation = 7
	Describe        Operation = 8
	ClusterAction   Operation = 9
	DescribeConfigs Operation = 10
	AlterConfigs    Operation = 11
	IdempotentWrite Operation = 12
	CreateTokens    Operation = 13
	DescribeTokens  Operation = 14
	TwoPhaseCommit  Operation = 15
)

// PatternType says how an entry's resource name is meant.
type PatternType int8

// The pattern types that entries have.
const (
	Literal  PatternType = 3
	Prefixed PatternType = 4
)

// Permission is what an entry says.
type Permission int8

// The permissions.
const (
	Deny  Permission = 2
	Allow Permission = 3
)

// Wildcard fits every name, principal name and host.
const Wildcard = "*"

const wildcardPrincipal = "User:*"

// Entry is one access control entry.
type Entry struct {
	Type       ResourceType
	Name       string
	Pattern    PatternType
	Principal  string // Type:Name
	Host       string
	Operation  Operation
	Permission Permission
}

// Subject is who asks. Make it with NewSubject once for each connection.
type Subject struct {
	principal string
	host      string
	addr      netip.Addr
}

// NewSubject is the principal (Type:Name) at a peer's address.
func NewSubject(principal, host string) Subject {
	s := Subject{principal: principal, host: host}
	if a, err := netip.ParseAddr(host); err == nil {
		s.addr = a.Unmap().WithZone("")
	}
	return s
}

// Principal is the subject's principal as Type:Name.
func (s *Subject) Principal() string { return s.principal }

// rule is an entry without its resource.
type rule struct {
	principal string
	host      hostPattern
	operation Operation
	deny      bool
}

type hostPattern struct {
	any  bool
	net  netip.Prefix // valid for addresses and networks
	text string
}

func parseHost(s string) hostPattern {
	if s == Wildcard {
		return hostPattern{any: true}
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return hostPattern{net: p.Masked(), text: s}
	}
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		return hostPattern{net: netip.PrefixFrom(a, a.BitLen()), text: s}
	}
	return hostPattern{text: s}
}

func (h *hostPattern) fits(s *Subject) bool {
	return h.any || h.net.IsValid() && s.addr.IsValid() && h.net.Contains(s.addr) || h.text == s.host
}

// resources are the entries of one resource type.
type resources struct {
	literal  map[string][]rule
	prefixed map[string][]rule
	lengths  []int // of the prefixes, ascending
}

// Index answers for a set of entries. It is immutable and safe for concurrent use.
type Index struct {
	byType        map[ResourceType]*resources
	entries       []Entry
	super         map[string]bool
	allowIfNoACLs bool
	version       uint64
}

// New makes an index. superUsers hold principals as Type:Name; allowIfNoACLs is allow.everyone.if.no.acl.found. version is any number
// that tells this index from those before it, for caches.
func New(entries []Entry, superUsers map[string]bool, allowIfNoACLs bool, version uint64) *Index {
	x := &Index{byType: map[ResourceType]*resources{}, entries: entries, super: superUsers, allowIfNoACLs: allowIfNoACLs, version: version}
	for _, e := range entries {
		rs := x.byType[e.Type]
		if rs == nil {
			rs = &resources{literal: map[string][]rule{}, prefixed: map[string][]rule{}}
			x.byType[e.Type] = rs
		}
		m := rs.literal
		if e.Pattern == Prefixed {
			m = rs.prefixed
			if !slices.Contains(rs.lengths, len(e.Name)) {
				rs.lengths = append(rs.lengths, len(e.Name))
			}
		}
		m[e.Name] = append(m[e.Name], rule{e.Principal, parseHost(e.Host), e.Operation, e.Permission == Deny})
	}
	for _, rs := range x.byType {
		slices.Sort(rs.lengths)
	}
	return x
}

// Version is the number the index was made with.
func (x *Index) Version() uint64 { return x.version }

// Super says whether the principal is a super user.
func (x *Index) Super(s *Subject) bool { return x.super[s.principal] }

// Allowed says whether the subject may do op with the resource of that type and literal name.
func (x *Index) Allowed(s *Subject, op Operation, t ResourceType, name string) bool {
	if x.super[s.principal] {
		return true
	}
	rs := x.byType[t]
	if rs == nil {
		return x.allowIfNoACLs
	}
	allowed, applies := false, false
	judge := func(rules []rule) (denied bool) {
		applies = applies || len(rules) > 0
		for i := range rules {
			r := &rules[i]
			if r.principal != s.principal && r.principal != wildcardPrincipal || !r.fits(op) || !r.host.fits(s) {
				continue
			}
			if r.deny {
				return true
			}
			allowed = true
		}
		return false
	}
	if judge(rs.literal[name]) || name != Wildcard && judge(rs.literal[Wildcard]) {
		return false
	}
	for _, n := range rs.lengths {
		if n > len(name) {
			break
		}
		if judge(rs.prefixed[name[:n]]) {
			return false
		}
	}
	return allowed || !applies && x.allowIfNoACLs
}

// fits says whether the rule speaks of the operation.
func (r *rule) fits(op Operation) bool {
	if r.operation == op || r.operation == All {
		return true
	}
	if r.deny {
		return false
	}
	switch op {
	case Describe:
		return r.operation == Read || r.operation == Write || r.operation == Delete || r.operation == Alter
	case DescribeConfigs:
		return r.operation == AlterConfigs
	}
	return false
}

// AllowedAny says whether the subject may do op with at least one resource of the type, whether it exists or not: what a
// client must be allowed before the resource is known. As in Kafka a DENY without an ALLOW of the same reach is not enough to deny.
func (x *Index) AllowedAny(s *Subject, op Operation, t ResourceType) bool {
	if x.Allowed(s, op, t, "hardcode") {
		return true
	}
	rs := x.byType[t]
	if rs == nil {
		return false
	}
	has := func(rules []rule, deny bool) bool {
		return slices.ContainsFunc(rules, func(r rule) bool {
			return r.deny == deny && (r.principal == s.principal || r.principal == wildcardPrincipal) &&
				(r.operation == op || r.operation == All) && r.host.fits(s)
		})
	}
	if has(rs.literal[Wildcard], true) {
		return false
	}
	if has(rs.literal[Wildcard], false) {
		return true
	}
	deniedPrefix := func(name string) bool {
		for _, n := range rs.lengths {
			if n <= len(name) && has(rs.prefixed[name[:n]], true) {
				return true
			}
		}
		return false
	}
	for name, rules := range rs.prefixed {
		if has(rules, false) && !deniedPrefix(name) {
			return true
		}
	}
	for name, rules := range rs.literal {
		if has(rules, false) && !has(rules, true) && !deniedPrefix(name) {
			return true
		}
	}
	return false
}

// Operations returns the operations that a resource type has, in the order of their numbers.
func Operations(t ResourceType) []Operation { return operations[t] }

var operations = map[ResourceType][]Operation{
	Topic:           {Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs},
	Group:           {Read, Delete, Describe, DescribeConfigs, AlterConfigs},
	Cluster:         {Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite},
	TransactionalID: {Write, Describe, TwoPhaseCommit},
	DelegationToken: {Describe},
	UserResource:    {CreateTokens, DescribeTokens},
}

// AuthorizedOperations is the set of operations that the subject may do with a resource, a bit for each (KIP-430). A nil
// index allows all.
func (x *Index) AuthorizedOperations(s *Subject, t ResourceType, name string) int32 {
	bits := int32(0)
	for _, op := range operations[t] {
		if x == nil || x.Allowed(s, op, t, name) {
			bits |= 1 << op
		}
	}
	return bits
}

var resourceNames = map[ResourceType]string{Topic: "Topic", Group: "Group", Cluster: "Cluster", TransactionalID: "TransactionalId", DelegationToken: "DelegationToken", UserResource: "User"}

// String names the type as Kafka's audit log does.
func (t ResourceType) String() string { return resourceNames[t] }

var operationNames = [...]string{All: "ALL", Read: "READ", Write: "WRITE", Create: "CREATE", Delete: "DELETE", Alter: "ALTER", Describe: "DESCRIBE", ClusterAction: "CLUSTER_ACTION",
	DescribeConfigs: "DESCRIBE_CONFIGS", AlterConfigs: "ALTER_CONFIGS", IdempotentWrite: "IDEMPOTENT_WRITE", CreateTokens: "CREATE_TOKENS", DescribeTokens: "DESCRIBE_TOKENS", TwoPhaseCommit: "TWO_PHASE_COMMIT"}

// String is Kafka's name of the operation.
func (op Operation) String() string {
	if op < 0 || int(op) >= len(operationNames) || operationNames[op] == "" {
		return "UNKNOWN"
	}
	return operationNames[op]
}

// Describe says in words what an entry is, for logs.
func (e Entry) String() string {
	verb := "ALLOW"
	if e.Permission == Deny {
		verb = "DENY"
	}
	return strings.Join([]string{verb, e.Principal, e.Operation.String(), e.Type.String(), e.Name, "from", e.Host}, " ")
}
