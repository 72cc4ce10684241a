package quota

// Kind is what a quota limits.
type Kind int

// The kinds.
const (
	Produce  Kind = iota // bytes produced each second
	Fetch                // bytes fetched each second
	Request              // percent of one thread's time
	Mutation             // partitions made or removed each second
	kinds
)

// Part names a user or client id in a quota: not at all, all without a quota of their own, or one.
type Part struct {
	Set     bool
	Default bool
	Name    string
}

// Named is the part that names one.
func Named(name string) Part { return Part{Set: true, Name: name} }

// Everyone is the part for all that have no quota of their own.
var Everyone = Part{Set: true, Default: true}

// Entry is one quota.
type Entry struct {
	User, ClientID Part
	Kind           Kind
	Limit          float64
}

// Scope names what is counted together: all of a user, of a client id, or of both. It is comparable.
type Scope struct {
	Kind           Kind
	User, ClientID string
	ByUser         bool
	ByClient       bool
}

type key struct {
	user, client Part
}

// Table finds the quota of a user's client. It is immutable.
type Table struct {
	limits [kinds]map[key]float64
}

// NewTable makes a table; nil when there is no entry, which Find takes for no quotas.
func NewTable(entries []Entry) *Table {
	if len(entries) == 0 {
		return nil
	}
	t := &Table{}
	for _, e := range entries {
		if t.limits[e.Kind] == nil {
			t.limits[e.Kind] = map[key]float64{}
		}
		t.limits[e.Kind][key{e.User, e.ClientID}] = e.Limit
	}
	return t
}

// Has says whether there is any quota of the kind.
func (t *Table) Has(k Kind) bool { return t != nil && len(t.limits[k]) > 0 }

// Find returns the limit for a client and what is counted against it: the most specific of (user, client id), (user, all clients),
// (user), then the same for all users, then (client id), (all client ids).
func (t *Table) Find(kind Kind, user, clientID string) (limit float64, scope Scope, ok bool) {
	if !t.Has(kind) {
		return 0, Scope{}, false
	}
	m := t.limits[kind]
	u, c := Named(user), Named(clientID)
	both := Scope{Kind: kind, User: user, ClientID: clientID, ByUser: true, ByClient: true}
	byUser := Scope{Kind: kind, User: user, ByUser: true}
	byClient := Scope{Kind: kind, ClientID: clientID, ByClient: true}
	for _, o := range [...]struct {
		key
		scope *Scope
	}{
		{key{u, c}, &both}, {key{u, Everyone}, &both}, {key{u, Part{}}, &byUser},
		{key{Everyone, c}, &both}, {key{Everyone, Everyone}, &both}, {key{Everyone, Part{}}, &byUser},
		{key{Part{}, c}, &byClient}, {key{Part{}, Everyone}, &byClient},
	} {
		if limit, ok := m[o.key]; ok {
			return limit, *o.scope, true
		}
	}
	return 0, Scope{}, false
}
