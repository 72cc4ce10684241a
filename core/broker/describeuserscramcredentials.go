package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/security/acl"
)

// describeUserScramCredentials lists which SCRAM mechanisms users have credentials of. The credentials themselves are never shown.
func (b *Broker) describeUserScramCredentials(c call, req *kmsg.DescribeUserSCRAMCredentialsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeUserSCRAMCredentialsResponse)
	if !c.allowedCluster(acl.Describe) {
		text := clusterRefused
		resp.ErrorCode, resp.ErrorMessage = kerr.ClusterAuthorizationFailed.Code, &text
		return resp
	}
	resp.ErrorMessage = new(string) // Kafka's "no error" is an empty text here
	im := b.image()
	infos := map[string][]kmsg.DescribeUserSCRAMCredentialsResponseResultCredentialInfo{}
	var users []string
	for _, k := range im.ScramKeys() {
		cred, _ := im.ScramCredential(k)
		if infos[k.User] == nil {
			users = append(users, k.User)
		}
		infos[k.User] = append(infos[k.User], kmsg.DescribeUserSCRAMCredentialsResponseResultCredentialInfo{Mechanism: k.Mechanism, Iterations: cred.Iterations})
	}
	asked := map[string]int{}
	if len(req.Users) > 0 {
		users = users[:0]
		for _, u := range req.Users {
			if asked[u.Name]++; asked[u.Name] == 1 {
				users = append(users, u.Name)
			}
		}
		slices.Sort(users)
	}
	for _, u := range users {
		r := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
		r.User, r.CredentialInfos = u, infos[u]
		var text string
		switch {
		case asked[u] > 1:
			r.ErrorCode, r.CredentialInfos = kerr.DuplicateResource.Code, nil
			text = "Cannot describe SCRAM credentials for the same user twice in a single request: " + u
		case infos[u] == nil:
			r.ErrorCode = kerr.ResourceNotFound.Code
			text = "Attempt to describe a user credential that does not exist: " + u
		}
		r.ErrorMessage = &text // empty when there is no error
		resp.Results = append(resp.Results, r)
	}
	return resp
}
