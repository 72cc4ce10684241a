package broker

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/metadata"
)

// updateFeatures sets finalized feature levels (KIP-584): all of a request or none.
func (b *Broker) updateFeatures(c call, req *kmsg.UpdateFeaturesRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.UpdateFeaturesResponse)
	supported := featureRanges()
	updates := make([]metadata.FeatureUpdate, 0, len(req.FeatureUpdates))
	for i := range req.FeatureUpdates {
		u := &req.FeatureUpdates[i]
		kind := metadata.UpgradeType(u.UpgradeType)
		if req.Version == 0 {
			kind = metadata.Upgrade
			if u.AllowDowngrade {
				kind = metadata.SafeDowngrade
			}
		}
		updates = append(updates, metadata.FeatureUpdate{Name: u.Feature, Level: u.MaxVersionLevel, Type: kind})
	}
	slices.SortStableFunc(updates, func(x, y metadata.FeatureUpdate) int { return cmp.Compare(x.Name, y.Name) })
	decide := func(im *metadata.Image) ([]metadata.Record, error) {
		return metadata.DecideFeatures(im, b.rules, b.set.nodeID, supported, updates)
	}
	var err error
	if req.Version >= 1 && req.ValidateOnly {
		_, err = decide(b.image())
	} else {
		err = c.decide(req.TimeoutMillis, decide)
	}
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = codeOf(err), messageOf(err)
		return resp
	}
	if req.Version < 2 {
		none := "NONE" // as Kafka has it
		for _, u := range updates {
			resp.Results = append(resp.Results, kmsg.UpdateFeaturesResponseResult{Feature: u.Name, ErrorMessage: &none})
		}
	}
	return resp
}
