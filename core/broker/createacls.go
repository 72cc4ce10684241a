package broker

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/security/acl"
)

// createACLs adds access control entries.
func (b *Broker) createACLs(c call, req *kmsg.CreateACLsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.CreateACLsResponse)
	resp.Results = make([]kmsg.CreateACLsResponseResult, len(req.Creations))
	if code, text := b.aclsRefused(c, acl.Alter); code != 0 {
		for i := range resp.Results {
			resp.Results[i].ErrorCode, resp.Results[i].ErrorMessage = code, &text
		}
		return resp
	}
	acls := make([]metadata.ACL, 0, len(req.Creations))
	bad := make([]*metadata.Error, len(req.Creations))
	var at []int // where acls are in the request
	for i := range req.Creations {
		q := &req.Creations[i]
		if !strings.Contains(q.Principal, ":") {
			bad[i] = &metadata.Error{Code: kerr.InvalidRequest.Code, Message: "Could not parse principal from `" + q.Principal + "` (no colon is present separating the principal type from the principal name)"}
			continue
		}
		acls = append(acls, metadata.ACL{
			ResourceType: int8(q.ResourceType), ResourceName: q.ResourceName, PatternType: int8(q.ResourcePatternType),
			Principal: q.Principal, Host: q.Host, Operation: int8(q.Operation), Permission: int8(q.PermissionType),
		})
		at = append(at, i)
	}
	errs, err := decided(c, alterTimeoutMs, false, func(im *metadata.Image) ([]metadata.Record, []*metadata.Error) {
		return metadata.CreateACLs(im, b.rules, acls)
	})
	for k, i := range at {
		r := &resp.Results[i]
		switch {
		case k < len(errs) && errs[k] != nil:
			bad[i] = errs[k]
		case err != nil:
			r.ErrorCode, r.ErrorMessage = codeOf(err), messageOf(err)
		}
	}
	for i, e := range bad {
		r := &resp.Results[i]
		switch {
		case e != nil:
			r.ErrorCode, r.ErrorMessage = metadataError(e)
		case r.ErrorCode == 0:
			r.ErrorMessage = new(string) // Kafka's "no error" is an empty text here
		}
	}
	return resp
}
