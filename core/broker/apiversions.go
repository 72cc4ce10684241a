package broker

import (
	"regexp"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/wire"
)

// softwareName is what KIP-511 allows a client to call itself and its version.
var softwareName = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

// supportedFeatures are the features this broker understands, with their highest level.
var supportedFeatures = []kmsg.ApiVersionsResponseSupportedFeature{
	{Name: "eligible.leader.replicas.version", MinVersion: 0, MaxVersion: 1},
	{Name: groupVersion, MinVersion: 0, MaxVersion: 1},    // KIP-848
	{Name: "kraft.version", MinVersion: 0, MaxVersion: 0}, // voters do not change at run time yet
	{Name: "metadata.version", MinVersion: 7, MaxVersion: 33},
	{Name: transactionVersion, MinVersion: 0, MaxVersion: 2},
}

func (b *Broker) apiVersions(c call, req *kmsg.ApiVersionsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
	if req.Version >= 3 && (!softwareName.MatchString(req.ClientSoftwareName) || !softwareName.MatchString(req.ClientSoftwareVersion)) {
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp
	}
	if req.Version >= 5 {
		// KIP-1242: a client that reached another cluster or node than it believes is told so.
		switch im := b.image(); {
		case (req.ClusterID == nil) != (req.NodeID == -1):
			resp.ErrorCode = kerr.InvalidRequest.Code
			return resp
		case req.ClusterID != nil && (*req.ClusterID != im.ClusterID || req.NodeID != b.set.nodeID):
			resp.ErrorCode = rebootstrapRequired
			return resp
		}
	}
	apis := wire.APIs()
	resp.ApiKeys = make([]kmsg.ApiVersionsResponseApiKey, 0, len(apis))
	for _, a := range apis {
		resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: a.Key, MinVersion: a.Min, MaxVersion: a.Max})
	}
	if req.Version < 3 {
		return resp
	}
	for _, f := range supportedFeatures {
		if req.Version < 4 && f.MinVersion == 0 {
			continue // KAFKA-17492: clients before version 4 take a minimum of 0 for an error
		}
		resp.SupportedFeatures = append(resp.SupportedFeatures, f)
	}
	im := b.image()
	resp.FinalizedFeaturesEpoch = im.Offset
	for _, f := range supportedFeatures {
		if level := im.Feature(f.Name); level > 0 {
			resp.FinalizedFeatures = append(resp.FinalizedFeatures, kmsg.ApiVersionsResponseFinalizedFeature{Name: f.Name, MaxVersionLevel: level, MinVersionLevel: level})
		}
	}
	return resp
}

// rebootstrapRequired is REBOOTSTRAP_REQUIRED (KIP-1102).
const rebootstrapRequired = 129

// apiVersionsUnsupported answers a version that is not known in the shape of version 0, with the range that is (KIP-511).
func (b *Broker) apiVersionsUnsupported(c call) {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.ErrorCode = kerr.UnsupportedVersion.Code
	a, _ := wire.Lookup(int16(kmsg.ApiVersions))
	resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: a.Key, MinVersion: a.Min, MaxVersion: a.Max}}
	c.reply(resp)
}
