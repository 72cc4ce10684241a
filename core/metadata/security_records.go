package metadata

import (
	"fmt"
	"math"
)

// The record types of security. They begin at 32, apart from the others.
const (
	TypeACL             RecordType = 32
	TypeRemoveACL       RecordType = 33
	TypeScramCredential RecordType = 34
	TypeRemoveScram     RecordType = 35
	TypeClientQuota     RecordType = 36
)

// maxCredentialBytes bounds the salt and the keys of a credential; the largest hash has 64 bytes.
const maxCredentialBytes = 1 << 10

// ACLRecord adds an access control entry.
type ACLRecord struct {
	ID  UUID
	ACL ACL
}

// RemoveACLRecord removes an access control entry.
type RemoveACLRecord struct {
	ID UUID
}

// ScramCredentialRecord sets what a user is authenticated against with one SCRAM mechanism.
type ScramCredentialRecord struct {
	Key        ScramKey
	Credential ScramCredential
}

// RemoveScramRecord removes a user's credential of one SCRAM mechanism.
type RemoveScramRecord struct {
	Key ScramKey
}

// ClientQuotaRecord sets one quota of an entity, or removes it.
type ClientQuotaRecord struct {
	Entity QuotaEntity
	Key    string
	Value  float64
	Remove bool
}

// Type implements Record.
func (*ACLRecord) Type() RecordType { return TypeACL }

// Type implements Record.
func (*RemoveACLRecord) Type() RecordType { return TypeRemoveACL }

// Type implements Record.
func (*ScramCredentialRecord) Type() RecordType { return TypeScramCredential }

// Type implements Record.
func (*RemoveScramRecord) Type() RecordType { return TypeRemoveScram }

// Type implements Record.
func (*ClientQuotaRecord) Type() RecordType { return TypeClientQuota }

// newSecurityRecord returns an empty record of one of the types above, nil for others.
func newSecurityRecord(t RecordType) Record {
	switch t {
	case TypeACL:
		return &ACLRecord{}
	case TypeRemoveACL:
		return &RemoveACLRecord{}
	case TypeScramCredential:
		return &ScramCredentialRecord{}
	case TypeRemoveScram:
		return &RemoveScramRecord{}
	case TypeClientQuota:
		return &ClientQuotaRecord{}
	}
	return nil
}

func (r *ACLRecord) encode(e *encoder) {
	e.uuid(r.ID)
	e.varint(int64(r.ACL.ResourceType))
	e.string(r.ACL.ResourceName)
	e.varint(int64(r.ACL.PatternType))
	e.string(r.ACL.Principal)
	e.string(r.ACL.Host)
	e.varint(int64(r.ACL.Operation))
	e.varint(int64(r.ACL.Permission))
}

func (r *ACLRecord) decode(d *decoder) {
	r.ID = d.uuid()
	r.ACL.ResourceType = d.int8()
	r.ACL.ResourceName = d.string()
	r.ACL.PatternType = d.int8()
	r.ACL.Principal = d.string()
	r.ACL.Host = d.string()
	r.ACL.Operation = d.int8()
	r.ACL.Permission = d.int8()
}

func (r *RemoveACLRecord) encode(e *encoder) { e.uuid(r.ID) }
func (r *RemoveACLRecord) decode(d *decoder) { r.ID = d.uuid() }

func (k *ScramKey) encode(e *encoder) {
	e.string(k.User)
	e.varint(int64(k.Mechanism))
}

func (k *ScramKey) decode(d *decoder) {
	k.User = d.string()
	k.Mechanism = d.int8()
}

func (r *ScramCredentialRecord) encode(e *encoder) {
	r.Key.encode(e)
	e.blob(r.Credential.Salt)
	e.blob(r.Credential.StoredKey)
	e.blob(r.Credential.ServerKey)
	e.varint(int64(r.Credential.Iterations))
}

func (r *ScramCredentialRecord) decode(d *decoder) {
	r.Key.decode(d)
	r.Credential.Salt = d.blob()
	r.Credential.StoredKey = d.blob()
	r.Credential.ServerKey = d.blob()
	r.Credential.Iterations = d.int32()
}

func (r *RemoveScramRecord) encode(e *encoder) { r.Key.encode(e) }
func (r *RemoveScramRecord) decode(d *decoder) { r.Key.decode(d) }

func (r *ClientQuotaRecord) encode(e *encoder) {
	for _, n := range r.Entity.parts() {
		e.uvarint(uint64(n.Kind))
		if n.Kind == QuotaNamed {
			e.string(n.Name)
		}
	}
	e.string(r.Key)
	e.bool(r.Remove)
	if !r.Remove {
		e.uvarint(math.Float64bits(r.Value))
	}
}

func (r *ClientQuotaRecord) decode(d *decoder) {
	for _, n := range r.Entity.parts() {
		kind := d.uvarint()
		if kind > uint64(QuotaNamed) {
			d.fail(fmt.Errorf("kind of quota entity is %d, want 0 to %d", kind, QuotaNamed))
			return
		}
		if n.Kind = QuotaKind(kind); n.Kind == QuotaNamed {
			n.Name = d.string()
		}
	}
	r.Key = d.string()
	if r.Remove = d.bool(); !r.Remove {
		r.Value = math.Float64frombits(d.uvarint())
		if math.IsNaN(r.Value) || math.IsInf(r.Value, 0) {
			d.fail(fmt.Errorf("quota %s is no finite number", r.Key))
		}
	}
}

// blob writes bytes with their length.
func (e *encoder) blob(b []byte) {
	e.uvarint(uint64(len(b)))
	e.b = append(e.b, b...)
}

// blob reads a copy of bytes with their length.
func (d *decoder) blob() []byte {
	b := d.bytes()
	if len(b) > maxCredentialBytes {
		d.fail(fmt.Errorf("credential of %d bytes, at most %d are allowed", len(b), maxCredentialBytes))
		return nil
	}
	return append([]byte(nil), b...)
}
