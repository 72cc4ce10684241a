package acl_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	. "github.com/moldau-io/moldau/core/security/acl"
)

func entry(p Permission, principal string, op Operation, t ResourceType, pattern PatternType, name string, host ...string) Entry {
	h := Wildcard
	if len(host) > 0 {
		h = host[0]
	}
	return Entry{Type: t, Name: name, Pattern: pattern, Principal: principal, Host: h, Operation: op, Permission: p}
}

func TestDecisions(t *testing.T) {
	alice := NewSubject("User:alice", "10.1.2.3")
	tests := []struct {
		name    string
		entries []Entry
		open    bool
		op      Operation
		topic   string
		want    bool
	}{
		{name: "without entries all is denied", op: Read, topic: "t"},
		{name: "without entries all is allowed when everyone is", open: true, op: Read, topic: "t", want: true},
		{name: "an entry for another closes the resource even to everyone", open: true, entries: []Entry{entry(Allow, "User:bob", Read, Topic, Literal, "t")}, op: Read, topic: "t"},
		{name: "an entry of another resource does not", open: true, entries: []Entry{entry(Allow, "User:bob", Read, Topic, Literal, "u")}, op: Read, topic: "t", want: true},
		{name: "literal", entries: []Entry{entry(Allow, "User:alice", Read, Topic, Literal, "t")}, op: Read, topic: "t", want: true},
		{name: "literal is no prefix", entries: []Entry{entry(Allow, "User:alice", Read, Topic, Literal, "t")}, op: Read, topic: "tt"},
		{name: "prefix", entries: []Entry{entry(Allow, "User:alice", Read, Topic, Prefixed, "or")}, op: Read, topic: "orders", want: true},
		{name: "a prefixed star is no wildcard", entries: []Entry{entry(Allow, "User:alice", Read, Topic, Prefixed, "*")}, op: Read, topic: "orders"},
		{name: "wildcard resource", entries: []Entry{entry(Allow, "User:alice", Read, Topic, Literal, "*")}, op: Read, topic: "x", want: true},
		{name: "wildcard principal", entries: []Entry{entry(Allow, "User:*", Read, Topic, Literal, "t")}, op: Read, topic: "t", want: true},
		{name: "all operations", entries: []Entry{entry(Allow, "User:alice", All, Topic, Literal, "t")}, op: AlterConfigs, topic: "t", want: true},
		{name: "read implies describe", entries: []Entry{entry(Allow, "User:alice", Read, Topic, Literal, "t")}, op: Describe, topic: "t", want: true},
		{name: "create does not imply describe", entries: []Entry{entry(Allow, "User:alice", Create, Topic, Literal, "t")}, op: Describe, topic: "t"},
		{name: "alter configs implies describe configs", entries: []Entry{entry(Allow, "User:alice", AlterConfigs, Topic, Literal, "t")}, op: DescribeConfigs, topic: "t", want: true},
		{name: "deny wins over a longer allow", entries: []Entry{entry(Allow, "User:alice", Read, Topic, Literal, "orders"), entry(Deny, "User:*", Read, Topic, Prefixed, "o")}, op: Read, topic: "orders"},
		{name: "deny of read does not deny describe", entries: []Entry{entry(Deny, "User:alice", Read, Topic, Literal, "t"), entry(Allow, "User:alice", Describe, Topic, Literal, "t")}, op: Describe, topic: "t", want: true},
		{name: "the host", entries: []Entry{entry(Allow, "User:alice", Read, Topic, Literal, "t", "10.1.2.3")}, op: Read, topic: "t", want: true},
		{name: "another host", entries: []Entry{entry(Allow, "User:alice", Read, Topic, Literal, "t", "10.1.2.4")}, op: Read, topic: "t"},
		{name: "a network of hosts", entries: []Entry{entry(Allow, "User:alice", Read, Topic, Literal, "t", "10.1.0.0/16")}, op: Read, topic: "t", want: true},
		{name: "deny from a network", entries: []Entry{entry(Allow, "User:alice", Read, Topic, Literal, "t"), entry(Deny, "User:alice", All, Topic, Literal, "*", "10.0.0.0/8")}, op: Read, topic: "t"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, New(tt.entries, nil, tt.open, 1).Allowed(&alice, tt.op, Topic, tt.topic))
		})
	}
}

func TestSuperUsersMayDoWhatIsDenied(t *testing.T) {
	x := New([]Entry{entry(Deny, "User:*", All, Topic, Literal, "*")}, map[string]bool{"User:root": true}, false, 1)
	root, other := NewSubject("User:root", "::1"), NewSubject("User:other", "::1")
	require.True(t, x.Allowed(&root, Write, Topic, "t"))
	require.False(t, x.Allowed(&other, Write, Topic, "t"))
	require.True(t, x.AllowedAny(&root, Write, Topic))
	require.Equal(t, int32(1<<3|1<<6|1<<8|1<<10|1<<11), x.AuthorizedOperations(&root, Group, "g"))
	require.Zero(t, x.AuthorizedOperations(&other, Topic, "t"))
}

func TestIPv6HostsAreComparedAsAddresses(t *testing.T) {
	s := NewSubject("User:a", "0:0:0:0:0:0:0:1")
	require.True(t, New([]Entry{entry(Allow, "User:a", Read, Topic, Literal, "t", "::1")}, nil, false, 1).Allowed(&s, Read, Topic, "t"))
	m := NewSubject("User:a", "::ffff:10.0.0.1")
	require.True(t, New([]Entry{entry(Allow, "User:a", Read, Topic, Literal, "t", "10.0.0.1")}, nil, false, 1).Allowed(&m, Read, Topic, "t"))
}

// random makes a set of entries over few names, so that they meet.
func random(r *rand.Rand) []Entry {
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	var out []Entry
	for range r.IntN(12) {
		e := Entry{Type: Topic, Name: pick("a", "ab", "abc", "b", "*"), Pattern: Literal, Principal: pick("User:alice", "User:bob", "User:*"),
			Host: pick("*", "10.0.0.1", "10.0.0.0/8", "192.168.0.1"), Operation: Operation(2 + r.IntN(10)), Permission: Allow}
		if r.IntN(3) == 0 {
			e.Permission = Deny
		}
		if r.IntN(2) == 0 {
			e.Pattern = Prefixed
		}
		out = append(out, e)
	}
	return out
}

// oracle decides as the package comment says, entry by entry.
func oracle(entries []Entry, principal, host string, op Operation, name string, open bool) bool {
	allowed, applies := false, false
	for _, e := range entries {
		fits := e.Pattern == Literal && (e.Name == name || e.Name == "*") || e.Pattern == Prefixed && strings.HasPrefix(name, e.Name)
		if !fits {
			continue
		}
		applies = true
		if e.Principal != principal && e.Principal != "User:*" {
			continue
		}
		if e.Host != "*" && e.Host != host && (e.Host != "10.0.0.0/8" || !strings.HasPrefix(host, "10.")) {
			continue
		}
		ops := []Operation{e.Operation}
		if e.Permission == Allow {
			switch e.Operation {
			case Read, Write, Delete, Alter:
				ops = append(ops, Describe)
			case AlterConfigs:
				ops = append(ops, DescribeConfigs)
			}
		}
		if e.Operation != All && !slices.Contains(ops, op) {
			continue
		}
		if e.Permission == Deny {
			return false
		}
		allowed = true
	}
	return allowed || !applies && open
}

func TestDecisionsFollowTheRuleInAnyOrder(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		entries, open := random(r), r.IntN(2) == 0
		x := New(entries, nil, open, 1)
		shuffled := slices.Clone(entries)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		y := New(shuffled, nil, open, 2)
		for range 20 {
			host := []string{"10.0.0.1", "10.9.9.9", "192.168.0.1"}[r.IntN(3)]
			s := NewSubject([]string{"User:alice", "User:bob", "User:carol"}[r.IntN(3)], host)
			op, name := Operation(3+r.IntN(9)), []string{"a", "ab", "abc", "abcd", "b", "c"}[r.IntN(6)]
			got := x.Allowed(&s, op, Topic, name)
			require.Equal(t, oracle(entries, s.Principal(), host, op, name, open), got, "seed %d: %v %v %v %v", seed, entries, s, op, name)
			require.Equal(t, got, y.Allowed(&s, op, Topic, name), "seed %d", seed)
			// One more DENY never allows anything.
			z := New(append(slices.Clone(entries), entry(Deny, "User:*", op, Topic, Literal, "*")), nil, open, 3)
			require.False(t, z.Allowed(&s, op, Topic, name))
			if got && !open {
				require.True(t, x.AllowedAny(&s, op, Topic) || op == Describe || op == DescribeConfigs, "seed %d: allowed on %s, but on no topic", seed, name)
			}
		}
	}
}

func TestAllowedAny(t *testing.T) {
	s := NewSubject("User:alice", "10.0.0.1")
	for _, tt := range []struct {
		name    string
		entries []Entry
		want    bool
	}{
		{"nothing", nil, false},
		{"one topic", []Entry{entry(Allow, "User:alice", Write, Topic, Literal, "t")}, true},
		{"one topic, denied", []Entry{entry(Allow, "User:alice", Write, Topic, Literal, "t"), entry(Deny, "User:alice", Write, Topic, Literal, "t")}, false},
		{"a prefix above a deny", []Entry{entry(Allow, "User:alice", Write, Topic, Prefixed, "t"), entry(Deny, "User:alice", Write, Topic, Prefixed, "tt")}, true},
		{"a prefix below a deny", []Entry{entry(Allow, "User:alice", Write, Topic, Prefixed, "tt"), entry(Deny, "User:alice", Write, Topic, Prefixed, "t")}, false},
		{"all denied", []Entry{entry(Allow, "User:alice", Write, Topic, Prefixed, "tt"), entry(Deny, "User:*", All, Topic, Literal, "*")}, false},
		{"another operation", []Entry{entry(Allow, "User:alice", Read, Topic, Literal, "t")}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, New(tt.entries, nil, false, 1).AllowedAny(&s, Write, Topic))
		})
	}
}

func BenchmarkAllowed(b *testing.B) {
	var entries []Entry
	for i := range 10_000 {
		entries = append(entries, entry(Allow, "User:alice", Read, Topic, Literal, "topic-"+string(rune('a'+i%26))+strings.Repeat("x", i%7)+string(rune('a'+i/26%26))))
	}
	entries = append(entries, entry(Allow, "User:alice", Read, Topic, Prefixed, "ord"), entry(Deny, "User:bob", All, Topic, Literal, "*"))
	x := New(entries, nil, false, 1)
	s := NewSubject("User:alice", "10.0.0.1")
	b.ReportAllocs()
	for b.Loop() {
		if !x.Allowed(&s, Read, Topic, "orders") {
			b.Fatal()
		}
	}
}
