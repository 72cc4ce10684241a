package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/security/acl"
)

// Kafka's texts about the authorizer and the cluster.
const (
	noAuthorizer   = "No Authorizer is configured."
	clusterRefused = "Cluster authorization failed."
)

// aclsRefused says why a request about access control lists cannot be served at all; 0 when it can.
func (b *Broker) aclsRefused(c call, op acl.Operation) (code int16, text string) {
	switch {
	case !c.allowedCluster(op):
		return kerr.ClusterAuthorizationFailed.Code, clusterRefused
	case b.acls.Load() == nil:
		return kerr.SecurityDisabled.Code, noAuthorizer
	}
	return 0, ""
}

// describeACLs lists the entries that a filter selects, by resource.
func (b *Broker) describeACLs(c call, req *kmsg.DescribeACLsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeACLsResponse)
	if code, text := b.aclsRefused(c, acl.Describe); code != 0 {
		if code == kerr.SecurityDisabled.Code {
			text = "No Authorizer is configured on the broker"
		}
		resp.ErrorCode, resp.ErrorMessage = code, &text
		return resp
	}
	f := metadata.ACLFilter{
		ResourceType: int8(req.ResourceType), ResourceName: req.ResourceName, PatternType: int8(req.ResourcePatternType),
		Principal: req.Principal, Host: req.Host, Operation: int8(req.Operation), Permission: int8(req.PermissionType),
	}
	if err := f.Validate(); err != nil {
		resp.ErrorCode, resp.ErrorMessage = metadataError(err)
		return resp
	}
	resp.ErrorMessage = new(string) // Kafka's "no error" is an empty text here
	for _, a := range metadata.FilterACLs(b.image(), f) {
		n := len(resp.Resources)
		if n == 0 || int8(resp.Resources[n-1].ResourceType) != a.ResourceType || resp.Resources[n-1].ResourceName != a.ResourceName || int8(resp.Resources[n-1].ResourcePatternType) != a.PatternType {
			r := kmsg.NewDescribeACLsResponseResource()
			r.ResourceType, r.ResourceName, r.ResourcePatternType = kmsg.ACLResourceType(a.ResourceType), a.ResourceName, kmsg.ACLResourcePatternType(a.PatternType)
			resp.Resources = append(resp.Resources, r)
			n++
		}
		e := kmsg.NewDescribeACLsResponseResourceACL()
		e.Principal, e.Host, e.Operation, e.PermissionType = a.Principal, a.Host, kmsg.ACLOperation(a.Operation), kmsg.ACLPermissionType(a.Permission)
		resp.Resources[n-1].ACLs = append(resp.Resources[n-1].ACLs, e)
	}
	return resp
}
