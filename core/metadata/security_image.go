package metadata

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// ACL is one access control entry, with Kafka's numbers for its enumerations. Package core/security/acl gives them meaning.
type ACL struct {
	ResourceType int8 // 2 topic, 3 group, 4 cluster, 5 transactional id, 6 delegation token, 7 user
	ResourceName string
	PatternType  int8   // 3 literal, 4 prefixed
	Principal    string // "User:alice", "User:*"
	Host         string // "*" for all
	Operation    int8
	Permission   int8 // 2 deny, 3 allow
}

func compareACLs(a, b ACL) int {
	return cmp.Or(cmp.Compare(a.ResourceType, b.ResourceType), cmp.Compare(a.ResourceName, b.ResourceName), cmp.Compare(a.PatternType, b.PatternType),
		cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Permission, b.Permission))
}

// The SCRAM mechanisms, with Kafka's numbers.
const (
	ScramSHA256 int8 = 1
	ScramSHA512 int8 = 2
)

// ScramKey names a SCRAM credential.
type ScramKey struct {
	User      string
	Mechanism int8
}

// ScramCredential is what a server keeps of a password (RFC 5802): enough to check a proof, not to make one.
type ScramCredential struct {
	Salt, StoredKey, ServerKey []byte
	Iterations                 int32
}

// QuotaKind says whether and how a quota entity names a user, client id or address.
type QuotaKind uint8

// The kinds.
const (
	QuotaAbsent  QuotaKind = 0 // the entity does not speak of it
	QuotaDefault QuotaKind = 1 // all those without a quota of their own
	QuotaNamed   QuotaKind = 2
)

// QuotaName is one part of a quota entity.
type QuotaName struct {
	Kind QuotaKind
	Name string // of QuotaNamed
}

// QuotaEntity names whom a quota is for. It is comparable.
type QuotaEntity struct {
	User, ClientID, IP QuotaName
}

// The types of the parts of an entity, as requests name them.
const (
	QuotaUser     = "user"
	QuotaClientID = "client-id"
	QuotaIP       = "ip"
)

// parts returns the parts in the order in which they are stored.
func (e *QuotaEntity) parts() [3]*QuotaName { return [3]*QuotaName{&e.User, &e.ClientID, &e.IP} }

// Part returns the part of that type (user, client-id, ip), nil for other types.
func (e *QuotaEntity) Part(kind string) *QuotaName {
	switch kind {
	case QuotaUser:
		return &e.User
	case QuotaClientID:
		return &e.ClientID
	case QuotaIP:
		return &e.IP
	}
	return nil
}

func compareEntities(a, b QuotaEntity) int {
	x, y := a.parts(), b.parts()
	for i := range x {
		if c := cmp.Or(cmp.Compare(x[i].Kind, y[i].Kind), cmp.Compare(x[i].Name, y[i].Name)); c != 0 {
			return c
		}
	}
	return 0
}

// securityImage is the part of an image that says who may do what.
type securityImage struct {
	acls   map[UUID]ACL
	scram  map[ScramKey]ScramCredential
	quotas map[QuotaEntity]map[string]float64
}

// ACLs returns all access control entries in a fixed order.
func (im *Image) ACLs() []ACL {
	return slices.SortedFunc(maps.Values(im.security.acls), compareACLs)
}

// NumACLs returns the number of access control entries.
func (im *Image) NumACLs() int { return len(im.security.acls) }

// ScramCredential returns the credential, false when there is none. The caller must not change its bytes.
func (im *Image) ScramCredential(k ScramKey) (ScramCredential, bool) {
	c, ok := im.security.scram[k]
	return c, ok
}

// ScramKeys returns the names of all SCRAM credentials, by user and mechanism.
func (im *Image) ScramKeys() []ScramKey {
	return slices.SortedFunc(maps.Keys(im.security.scram), compareScramKeys)
}

func compareScramKeys(a, b ScramKey) int {
	return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Mechanism, b.Mechanism))
}

// QuotaEntities returns the entities that have quotas in a fixed order.
func (im *Image) QuotaEntities() []QuotaEntity {
	return slices.SortedFunc(maps.Keys(im.security.quotas), compareEntities)
}

// Quotas returns the quotas of an entity by key, nil when it has none. The caller must not change it.
func (im *Image) Quotas(e QuotaEntity) map[string]float64 { return im.security.quotas[e] }

// securityRecords are the records of a snapshot.
func (im *Image) securityRecords() []Record {
	var rs []Record
	for _, id := range slices.SortedFunc(maps.Keys(im.security.acls), func(a, b UUID) int { return slices.Compare(a[:], b[:]) }) {
		rs = append(rs, &ACLRecord{ID: id, ACL: im.security.acls[id]})
	}
	for _, k := range im.ScramKeys() {
		rs = append(rs, &ScramCredentialRecord{Key: k, Credential: im.security.scram[k]})
	}
	for _, e := range im.QuotaEntities() {
		q := im.security.quotas[e]
		for _, k := range slices.Sorted(maps.Keys(q)) {
			rs = append(rs, &ClientQuotaRecord{Entity: e, Key: k, Value: q[k]})
		}
	}
	return rs
}

// securityMutation says which maps of an image under way are copies already.
type securityMutation struct {
	acls, scram, quotas bool
}

// applySecurity applies one of the security records; handled is false for others.
func (m *mutation) applySecurity(r Record) (handled bool, err error) {
	s := &m.im.security
	switch r := r.(type) {
	case *ACLRecord:
		if _, ok := s.acls[r.ID]; ok {
			return true, fmt.Errorf("access control entry %s exists", r.ID)
		}
		m.ownACLs()
		s.acls[r.ID] = r.ACL
	case *RemoveACLRecord:
		if _, ok := s.acls[r.ID]; !ok {
			return true, fmt.Errorf("there is no access control entry %s", r.ID)
		}
		m.ownACLs()
		delete(s.acls, r.ID)
	case *ScramCredentialRecord:
		m.ownScram()
		s.scram[r.Key] = r.Credential
	case *RemoveScramRecord:
		if _, ok := s.scram[r.Key]; !ok {
			return true, fmt.Errorf("user %q has no credential of mechanism %d", r.Key.User, r.Key.Mechanism)
		}
		m.ownScram()
		delete(s.scram, r.Key)
	case *ClientQuotaRecord:
		m.setQuota(r)
	default:
		return false, nil
	}
	return true, nil
}

func (m *mutation) ownACLs() {
	if s := &m.im.security; !m.security.acls {
		m.security.acls = true
		if s.acls = maps.Clone(s.acls); s.acls == nil {
			s.acls = map[UUID]ACL{}
		}
	}
}

func (m *mutation) ownScram() {
	if s := &m.im.security; !m.security.scram {
		m.security.scram = true
		if s.scram = maps.Clone(s.scram); s.scram == nil {
			s.scram = map[ScramKey]ScramCredential{}
		}
	}
}

func (m *mutation) setQuota(r *ClientQuotaRecord) {
	s := &m.im.security
	if !m.security.quotas {
		m.security.quotas = true
		if s.quotas = maps.Clone(s.quotas); s.quotas == nil {
			s.quotas = map[QuotaEntity]map[string]float64{}
		}
	}
	q := maps.Clone(s.quotas[r.Entity])
	if r.Remove {
		delete(q, r.Key)
	} else {
		if q == nil {
			q = map[string]float64{}
		}
		q[r.Key] = r.Value
	}
	if len(q) == 0 {
		delete(s.quotas, r.Entity)
	} else {
		s.quotas[r.Entity] = q
	}
}

// SecurityChange says which parts of the security metadata changed.
type SecurityChange struct {
	ACLs, Scram, Quotas bool
}

// Empty reports whether none did.
func (c SecurityChange) Empty() bool { return c == SecurityChange{} }

// diffSecurity compares the security metadata of two images.
func diffSecurity(from, to *Image) SecurityChange {
	a, b := &from.security, &to.security
	return SecurityChange{
		ACLs: !maps.Equal(a.acls, b.acls),
		Scram: !maps.EqualFunc(a.scram, b.scram, func(x, y ScramCredential) bool {
			return x.Iterations == y.Iterations && slices.Equal(x.Salt, y.Salt) && slices.Equal(x.StoredKey, y.StoredKey) && slices.Equal(x.ServerKey, y.ServerKey)
		}),
		Quotas: !maps.EqualFunc(a.quotas, b.quotas, maps.Equal[map[string]float64, map[string]float64]),
	}
}
