package broker

import (
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/security/acl"
)

// describeClientQuotas lists the quotas of the entities that a filter selects (KIP-546).
func (b *Broker) describeClientQuotas(c call, req *kmsg.DescribeClientQuotasRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeClientQuotasResponse)
	fail := func(e *metadata.Error) kmsg.Response {
		resp.ErrorCode, resp.ErrorMessage = metadataError(e)
		resp.Entries = nil // null says that there is no result
		return resp
	}
	if !c.allowedCluster(acl.DescribeConfigs) {
		return fail(&metadata.Error{Code: kerr.ClusterAuthorizationFailed.Code}) // Kafka has no text here
	}
	filter, err := quotaFilter(req)
	if err != nil {
		return fail(err)
	}
	im := b.image()
	resp.Entries, resp.ErrorMessage = []kmsg.DescribeClientQuotasResponseEntry{}, new(string) // Kafka's "no error" is an empty text here
	for _, e := range im.QuotaEntities() {
		if !quotaSelected(filter, req.Strict, e) {
			continue
		}
		out := kmsg.NewDescribeClientQuotasResponseEntry()
		for _, kind := range quotaKinds {
			switch p := e.Part(kind); p.Kind {
			case metadata.QuotaDefault:
				out.Entity = append(out.Entity, kmsg.DescribeClientQuotasResponseEntryEntity{Type: kind})
			case metadata.QuotaNamed:
				out.Entity = append(out.Entity, kmsg.DescribeClientQuotasResponseEntryEntity{Type: kind, Name: &p.Name})
			}
		}
		q := im.Quotas(e)
		for _, k := range slices.Sorted(maps.Keys(q)) {
			out.Values = append(out.Values, kmsg.DescribeClientQuotasResponseEntryValue{Key: k, Value: q[k]})
		}
		resp.Entries = append(resp.Entries, out)
	}
	return resp
}

var quotaKinds = []string{metadata.QuotaUser, metadata.QuotaClientID, metadata.QuotaIP}

// How a component of a filter selects.
const (
	matchExact   = 0
	matchDefault = 1
	matchAny     = 2
)

// quotaFilter judges the components and files them by type.
func quotaFilter(req *kmsg.DescribeClientQuotasRequest) (map[string]kmsg.DescribeClientQuotasRequestComponent, *metadata.Error) {
	refuse := func(format string, args ...any) *metadata.Error {
		return &metadata.Error{Code: kerr.InvalidRequest.Code, Message: fmt.Sprintf(format, args...)}
	}
	filter := map[string]kmsg.DescribeClientQuotasRequestComponent{}
	for _, q := range req.Components {
		_, twice := filter[q.EntityType]
		switch {
		case q.EntityType == "":
			return nil, refuse("Invalid empty entity type.")
		case twice:
			return nil, refuse("Entity type %s cannot appear more than once in the filter.", q.EntityType)
		case !slices.Contains(quotaKinds, q.EntityType):
			return nil, &metadata.Error{Code: kerr.UnsupportedVersion.Code, Message: "Unsupported entity type " + q.EntityType}
		case q.MatchType == matchExact && q.Match == nil:
			return nil, refuse("Request specified MATCH_TYPE_EXACT, but set match string to null.")
		case q.MatchType == matchDefault && q.Match != nil:
			return nil, refuse("Request specified MATCH_TYPE_DEFAULT, but also specified a match string.")
		case q.MatchType == matchAny && q.Match != nil:
			return nil, refuse("Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.")
		case q.MatchType < matchExact || q.MatchType > matchAny:
			return nil, refuse("Unknown match type %d", q.MatchType)
		}
		filter[q.EntityType] = q
	}
	if _, ip := filter[metadata.QuotaIP]; ip && len(filter) > 1 {
		return nil, refuse("Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component.")
	}
	return filter, nil
}

func quotaSelected(filter map[string]kmsg.DescribeClientQuotasRequestComponent, strict bool, e metadata.QuotaEntity) bool {
	for _, kind := range quotaKinds {
		p := e.Part(kind)
		q, asked := filter[kind]
		switch {
		case !asked:
			if strict && p.Kind != metadata.QuotaAbsent {
				return false
			}
		case p.Kind == metadata.QuotaAbsent,
			q.MatchType == matchExact && (p.Kind != metadata.QuotaNamed || p.Name != *q.Match),
			q.MatchType == matchDefault && p.Kind != metadata.QuotaDefault:
			return false
		}
	}
	return true
}
