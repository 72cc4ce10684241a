package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/security/acl"
	"github.com/moldau-io/moldau/core/security/sasl"
)

// alterUserScramCredentials sets and removes SCRAM credentials. Clients send salted passwords; what is kept is derived from them.
func (b *Broker) alterUserScramCredentials(c call, req *kmsg.AlterUserSCRAMCredentialsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.AlterUserSCRAMCredentialsResponse)
	var alter []metadata.AlterScram
	for _, d := range req.Deletions {
		alter = append(alter, metadata.AlterScram{Key: metadata.ScramKey{User: d.Name, Mechanism: d.Mechanism}, Delete: true})
	}
	for _, u := range req.Upsertions {
		mech := sasl.ScramSHA256
		if u.Mechanism == metadata.ScramSHA512 {
			mech = sasl.ScramSHA512
		}
		k := sasl.FromSaltedPassword(mech, u.SaltedPassword, slices.Clone(u.Salt), int(u.Iterations))
		alter = append(alter, metadata.AlterScram{
			Key:        metadata.ScramKey{User: u.Name, Mechanism: u.Mechanism},
			NoPassword: len(u.SaltedPassword) == 0,
			Credential: metadata.ScramCredential{Salt: k.Salt, StoredKey: k.StoredKey, ServerKey: k.ServerKey, Iterations: u.Iterations},
		})
	}
	fail := func(code int16, text *string) {
		seen := map[string]bool{}
		for _, a := range alter {
			if seen[a.Key.User] {
				continue
			}
			seen[a.Key.User] = true
			r := kmsg.NewAlterUserSCRAMCredentialsResponseResult()
			r.User, r.ErrorCode, r.ErrorMessage = a.Key.User, code, text
			resp.Results = append(resp.Results, r)
		}
	}
	if !c.allowedCluster(acl.Alter) {
		text := clusterRefused
		fail(kerr.ClusterAuthorizationFailed.Code, &text)
		return resp
	}
	results, err := decided(c, alterTimeoutMs, false, func(im *metadata.Image) ([]metadata.Record, []metadata.AlterScramResult) {
		return metadata.AlterScramCredentials(im, alter)
	})
	if err != nil {
		fail(codeOf(err), messageOf(err))
		return resp
	}
	for i := range results {
		r := kmsg.NewAlterUserSCRAMCredentialsResponseResult()
		r.User = results[i].User
		r.ErrorCode, r.ErrorMessage = metadataError(results[i].Err)
		resp.Results = append(resp.Results, r)
	}
	return resp
}
