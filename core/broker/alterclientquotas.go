package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/security/acl"
)

// alterClientQuotas sets and removes quotas (KIP-546).
func (b *Broker) alterClientQuotas(c call, req *kmsg.AlterClientQuotasRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.AlterClientQuotasResponse)
	alter := make([]metadata.AlterClientQuota, 0, len(req.Entries))
	for i := range req.Entries {
		q := &req.Entries[i]
		var a metadata.AlterClientQuota
		r := kmsg.NewAlterClientQuotasResponseEntry()
		for _, e := range q.Entity {
			a.Entity = append(a.Entity, metadata.QuotaEntityPart{Type: e.Type, Name: e.Name})
			r.Entity = append(r.Entity, kmsg.AlterClientQuotasResponseEntryEntity{Type: e.Type, Name: e.Name})
		}
		for _, o := range q.Ops {
			a.Ops = append(a.Ops, metadata.QuotaOp{Key: o.Key, Value: o.Value, Remove: o.Remove})
		}
		alter = append(alter, a)
		resp.Entries = append(resp.Entries, r)
	}
	if !c.allowedCluster(acl.AlterConfigs) {
		text := clusterRefused
		for i := range resp.Entries {
			resp.Entries[i].ErrorCode, resp.Entries[i].ErrorMessage = kerr.ClusterAuthorizationFailed.Code, &text
		}
		return resp
	}
	errs, err := decided(c, alterTimeoutMs, req.ValidateOnly, func(im *metadata.Image) ([]metadata.Record, []*metadata.Error) {
		return metadata.AlterClientQuotas(im, alter)
	})
	first := map[metadata.QuotaEntity]int{}
	answered := resp.Entries[:0]
	for i := range resp.Entries {
		r := resp.Entries[i]
		switch {
		case i < len(errs) && errs[i] != nil:
			r.ErrorCode, r.ErrorMessage = metadataError(errs[i])
		case err != nil:
			r.ErrorCode, r.ErrorMessage = codeOf(err), messageOf(err)
		}
		// An entity that is there twice has one answer, the last one.
		if e, bad := metadata.ParseQuotaEntity(alter[i].Entity); bad == nil {
			if k, twice := first[e]; twice {
				answered[k] = r
				continue
			}
			first[e] = len(answered)
		}
		answered = append(answered, r)
	}
	resp.Entries = answered
	return resp
}
