package metadata

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Kafka's numbers in access control entries and filters.
const (
	aclAny          = 1 // resource type, pattern type, operation, permission
	aclMatch        = 2 // pattern type: literal, wildcard and prefixed that apply to the name
	aclLiteral      = 3 // pattern type
	aclPrefixed     = 4 // pattern type
	aclDeny         = 2
	aclAllow        = 3
	aclCluster      = 4 // resource type
	aclTopic        = 2 // the first resource type
	aclUser         = 7 // the last
	aclAll          = 2 // the first operation
	aclTwoPhase     = 15
	clusterResource = "kafka-cluster"
)

// maxRecordsPerRequest bounds what one request may add or remove, as in Kafka.
const maxRecordsPerRequest = 10_000

var (
	resourceTypeNames = []string{"UNKNOWN", "ANY", "TOPIC", "GROUP", "CLUSTER", "TRANSACTIONAL_ID", "DELEGATION_TOKEN", "USER"}
	patternTypeNames  = []string{"UNKNOWN", "ANY", "MATCH", "LITERAL", "PREFIXED"}
	operationNames    = []string{"UNKNOWN", "ANY", "ALL", "READ", "WRITE", "CREATE", "DELETE", "ALTER", "DESCRIBE", "CLUSTER_ACTION", "DESCRIBE_CONFIGS", "ALTER_CONFIGS", "IDEMPOTENT_WRITE", "CREATE_TOKENS", "DESCRIBE_TOKENS", "TWO_PHASE_COMMIT"}
	permissionNames   = []string{"UNKNOWN", "ANY", "DENY", "ALLOW"}
)

func nameOf(names []string, n int8) string {
	if n < 0 || int(n) >= len(names) {
		return names[0]
	}
	return names[n]
}

// CreateACLs decides on a CreateAcls request: the records, and for each entry nil or why it is refused. An entry that exists is no error.
func CreateACLs(im *Image, rules Rules, acls []ACL) ([]Record, []*Error) {
	have := make(map[ACL]bool, len(im.security.acls))
	for _, a := range im.security.acls {
		have[a] = true
	}
	var records []Record
	errs := make([]*Error, len(acls))
	for i, a := range acls {
		if errs[i] = validateACL(a); errs[i] != nil || have[a] {
			continue
		}
		have[a] = true
		records = append(records, &ACLRecord{ID: rules.newID(), ACL: a})
	}
	if len(records) > maxRecordsPerRequest {
		for i := range errs {
			errs[i] = refuse(kerr.PolicyViolation, "Unable to perform excessively large batch operation.")
		}
		return nil, errs
	}
	return records, errs
}

func validateACL(a ACL) *Error {
	switch {
	case a.ResourceType < aclTopic || a.ResourceType > aclUser:
		return refuse(kerr.InvalidRequest, "Invalid resourceType %s", nameOf(resourceTypeNames, a.ResourceType))
	case a.ResourceType == aclCluster && a.ResourceName != clusterResource && a.ResourceName != "":
		return refuse(kerr.InvalidRequest, "The only valid name for the CLUSTER resource is %s", clusterResource)
	case a.ResourceName == "":
		return refuse(kerr.InvalidRequest, "Invalid empty resource name")
	case a.PatternType != aclLiteral && a.PatternType != aclPrefixed:
		return refuse(kerr.InvalidRequest, "Invalid patternType %s", nameOf(patternTypeNames, a.PatternType))
	case a.Operation < aclAll || a.Operation > aclTwoPhase:
		return refuse(kerr.InvalidRequest, "Invalid operation %s", nameOf(operationNames, a.Operation))
	case a.Permission != aclDeny && a.Permission != aclAllow:
		return refuse(kerr.InvalidRequest, "Invalid permissionType %s", nameOf(permissionNames, a.Permission))
	}
	return nil
}

// ACLFilter selects access control entries: nil names and ANY numbers fit all.
type ACLFilter struct {
	ResourceType int8
	ResourceName *string
	PatternType  int8 // 2 (match) selects all entries that apply to the name
	Principal    *string
	Host         *string
	Operation    int8
	Permission   int8
}

// Validate refuses filters with numbers that are not known.
func (f *ACLFilter) Validate() *Error {
	unknown := func(n int8, names []string) bool { return n <= 0 || int(n) >= len(names) }
	switch {
	case unknown(f.ResourceType, resourceTypeNames), unknown(f.PatternType, patternTypeNames):
		return refuse(kerr.InvalidRequest, "Unknown patternFilter.")
	case unknown(f.Operation, operationNames), unknown(f.Permission, permissionNames):
		return refuse(kerr.InvalidRequest, "Unknown entryFilter.")
	}
	return nil
}

// Matches says whether the filter selects the entry.
func (f *ACLFilter) Matches(a ACL) bool {
	fits := func(want, have int8) bool { return want == aclAny || want == have }
	same := func(want *string, have string) bool { return want == nil || *want == have }
	return fits(f.ResourceType, a.ResourceType) && f.matchesPattern(a) && same(f.Principal, a.Principal) && same(f.Host, a.Host) &&
		fits(f.Operation, a.Operation) && fits(f.Permission, a.Permission)
}

func (f *ACLFilter) matchesPattern(a ACL) bool {
	if f.PatternType != aclAny && f.PatternType != aclMatch && f.PatternType != a.PatternType {
		return false
	}
	if f.ResourceName == nil {
		return true
	}
	name := *f.ResourceName
	if f.PatternType != aclMatch {
		return name == a.ResourceName
	}
	if a.PatternType == aclLiteral {
		return name == a.ResourceName || a.ResourceName == "*"
	}
	return len(name) >= len(a.ResourceName) && name[:len(a.ResourceName)] == a.ResourceName
}

// FilterACLs returns the entries that the filter selects, in a fixed order.
func FilterACLs(im *Image, f ACLFilter) []ACL {
	var out []ACL
	for _, a := range im.security.acls {
		if f.Matches(a) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, compareACLs)
	return out
}

// DeleteACLsResult is the answer for one filter.
type DeleteACLsResult struct {
	Deleted []ACL
	Err     *Error
}

// DeleteACLs decides on a DeleteAcls request. An entry that several filters select is in the answer of each.
func DeleteACLs(im *Image, filters []ACLFilter) ([]Record, []DeleteACLsResult) {
	gone := map[UUID]bool{}
	results := make([]DeleteACLsResult, len(filters))
	for i := range filters {
		if results[i].Err = filters[i].Validate(); results[i].Err != nil {
			continue
		}
		for id, a := range im.security.acls {
			if filters[i].Matches(a) {
				results[i].Deleted = append(results[i].Deleted, a)
				gone[id] = true
			}
		}
		slices.SortFunc(results[i].Deleted, compareACLs)
	}
	if len(gone) > maxRecordsPerRequest {
		for i := range results {
			results[i] = DeleteACLsResult{Err: refuse(kerr.InvalidRequest, "Cannot remove more than %d acls in a single delete operation.", maxRecordsPerRequest)}
		}
		return nil, results
	}
	var records []Record
	for _, id := range slices.SortedFunc(maps.Keys(gone), func(a, b UUID) int { return slices.Compare(a[:], b[:]) }) {
		records = append(records, &RemoveACLRecord{ID: id})
	}
	return records, results
}
