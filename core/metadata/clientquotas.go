package metadata

import (
	"maps"
	"math"
	"net/netip"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// The keys of client quotas.
const (
	QuotaProducerByteRate       = "producer_byte_rate"
	QuotaConsumerByteRate       = "consumer_byte_rate"
	QuotaRequestPercentage      = "request_percentage"
	QuotaControllerMutationRate = "controller_mutation_rate"
	QuotaConnectionCreationRate = "connection_creation_rate"
)

// QuotaEntityPart is one part of an entity as a request names it; a nil name is the default of all.
type QuotaEntityPart struct {
	Type string
	Name *string
}

// QuotaOp sets one quota, or removes it.
type QuotaOp struct {
	Key    string
	Value  float64
	Remove bool
}

// AlterClientQuota asks to change the quotas of one entity.
type AlterClientQuota struct {
	Entity []QuotaEntityPart
	Ops    []QuotaOp
}

// AlterClientQuotas decides on an AlterClientQuotas request; the errors are by entry of the request. For validate-only requests the caller
// drops the records.
func AlterClientQuotas(im *Image, alter []AlterClientQuota) ([]Record, []*Error) {
	var records []Record
	errs := make([]*Error, len(alter))
	seen := map[QuotaEntity]bool{}
	for i := range alter {
		e, err := ParseQuotaEntity(alter[i].Entity)
		if err == nil && seen[e] {
			err = refuse(kerr.InvalidRequest, "Ignoring duplicate entity %s", e)
		}
		if err != nil {
			errs[i] = err
			continue
		}
		seen[e] = true
		rs, err := alterEntity(im, e, alter[i].Ops)
		if err != nil {
			errs[i] = err
			continue
		}
		records = append(records, rs...)
	}
	return records, errs
}

// ParseQuotaEntity judges the parts of an entity and puts them together.
func ParseQuotaEntity(parts []QuotaEntityPart) (QuotaEntity, *Error) {
	var e QuotaEntity
	if len(parts) == 0 {
		return e, refuse(kerr.InvalidRequest, "Invalid empty client quota entity")
	}
	for _, p := range parts {
		n := e.Part(p.Type)
		switch {
		case n == nil:
			return e, refuse(kerr.InvalidRequest, "Unhandled client quota entity type: %s", p.Type)
		case n.Kind != QuotaAbsent:
			return e, refuse(kerr.InvalidRequest, "Invalid client quota entity, duplicate entity entry %s", p.Type)
		case p.Name == nil:
			n.Kind = QuotaDefault
		case *p.Name == "":
			return e, refuse(kerr.InvalidRequest, "Empty %s not supported", p.Type)
		default:
			n.Kind, n.Name = QuotaNamed, *p.Name
		}
	}
	if e.IP.Kind != QuotaAbsent && (e.User.Kind != QuotaAbsent || e.ClientID.Kind != QuotaAbsent) {
		return e, refuse(kerr.InvalidRequest, "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId") //nolint:misspell // Kafka's text
	}
	if e.IP.Kind == QuotaNamed {
		// Kafka resolves host names here; a controller whose decisions depend on DNS decides differently on each node.
		if _, err := netip.ParseAddr(e.IP.Name); err != nil {
			return e, refuse(kerr.InvalidRequest, "%s is not a valid IP or resolvable host.", e.IP.Name)
		}
	}
	return e, nil
}

func alterEntity(im *Image, e QuotaEntity, ops []QuotaOp) ([]Record, *Error) {
	now := im.security.quotas[e]
	seen := map[string]bool{}
	var records []Record
	for _, op := range ops {
		if seen[op.Key] {
			return nil, refuse(kerr.InvalidRequest, "Ignoring duplicate entity %s", e)
		}
		seen[op.Key] = true
		old, had := now[op.Key]
		if op.Remove {
			if had {
				records = append(records, &ClientQuotaRecord{Entity: e, Key: op.Key, Remove: true})
			}
			continue
		}
		if err := validateQuota(e, op); err != nil {
			return nil, err
		}
		if !had || old != op.Value {
			records = append(records, &ClientQuotaRecord{Entity: e, Key: op.Key, Value: op.Value})
		}
	}
	slices.SortFunc(records, func(a, b Record) int {
		x, y := a.(*ClientQuotaRecord).Key, b.(*ClientQuotaRecord).Key
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return records, nil
}

func validateQuota(e QuotaEntity, op QuotaOp) *Error {
	limit, integral := 0.0, false
	var known bool
	switch op.Key {
	case QuotaProducerByteRate, QuotaConsumerByteRate:
		limit, integral = math.MaxInt64, true
		known = e.IP.Kind == QuotaAbsent
	case QuotaRequestPercentage, QuotaControllerMutationRate:
		limit = math.MaxFloat64
		known = e.IP.Kind == QuotaAbsent
	case QuotaConnectionCreationRate:
		limit, integral = math.MaxInt32, true
		known = e.IP.Kind != QuotaAbsent
	default:
		known = false
	}
	switch {
	case !known:
		return refuse(kerr.InvalidRequest, "Invalid configuration key %s", op.Key)
	case !(op.Value > 0):
		return refuse(kerr.InvalidRequest, "Quota %s must be greater than 0", op.Key)
	case op.Value > limit && op.Key == QuotaConnectionCreationRate:
		return refuse(kerr.InvalidRequest, "Proposed value for %s is too large for an INT.", op.Key)
	case op.Value > limit:
		return refuse(kerr.InvalidRequest, "Proposed value for %s is too large for a LONG.", op.Key)
	case integral && math.Mod(op.Value, 1) > 1e-6:
		return refuse(kerr.InvalidRequest, "%s cannot be a fractional value.", op.Key)
	}
	return nil
}

// String renders the entity as Kafka's texts do.
func (e QuotaEntity) String() string {
	m := map[string]string{}
	for _, k := range []string{QuotaUser, QuotaClientID, QuotaIP} {
		switch p := e.Part(k); p.Kind {
		case QuotaDefault:
			m[k] = "null"
		case QuotaNamed:
			m[k] = p.Name
		}
	}
	s := "ClientQuotaEntity(entries={"
	for i, k := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			s += ", "
		}
		s += k + "=" + m[k]
	}
	return s + "})"
}
