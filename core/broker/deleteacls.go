package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/security/acl"
)

// deleteACLs removes the access control entries that filters select.
func (b *Broker) deleteACLs(c call, req *kmsg.DeleteACLsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DeleteACLsResponse)
	resp.Results = make([]kmsg.DeleteACLsResponseResult, len(req.Filters))
	if code, text := b.aclsRefused(c, acl.Alter); code != 0 {
		for i := range resp.Results {
			resp.Results[i].ErrorCode, resp.Results[i].ErrorMessage = code, &text
		}
		return resp
	}
	filters := make([]metadata.ACLFilter, 0, len(req.Filters))
	for i := range req.Filters {
		q := &req.Filters[i]
		filters = append(filters, metadata.ACLFilter{
			ResourceType: int8(q.ResourceType), ResourceName: q.ResourceName, PatternType: int8(q.ResourcePatternType),
			Principal: q.Principal, Host: q.Host, Operation: int8(q.Operation), Permission: int8(q.PermissionType),
		})
	}
	results, err := decided(c, alterTimeoutMs, false, func(im *metadata.Image) ([]metadata.Record, []metadata.DeleteACLsResult) {
		return metadata.DeleteACLs(im, filters)
	})
	for i := range resp.Results {
		r := &resp.Results[i]
		switch {
		case i < len(results) && results[i].Err != nil:
			r.ErrorCode, r.ErrorMessage = metadataError(results[i].Err)
			continue
		case err != nil:
			r.ErrorCode, r.ErrorMessage = codeOf(err), messageOf(err)
			continue
		}
		for _, a := range results[i].Deleted {
			m := kmsg.NewDeleteACLsResponseResultMatchingACL()
			m.ResourceType, m.ResourceName, m.ResourcePatternType = kmsg.ACLResourceType(a.ResourceType), a.ResourceName, kmsg.ACLResourcePatternType(a.PatternType)
			m.Principal, m.Host, m.Operation, m.PermissionType = a.Principal, a.Host, kmsg.ACLOperation(a.Operation), kmsg.ACLPermissionType(a.Permission)
			r.MatchingACLs = append(r.MatchingACLs, m)
		}
	}
	return resp
}
