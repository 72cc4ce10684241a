package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// featureOff answers requests of share groups (KIP-932) and streams groups (KIP-1071) as Kafka does where share.version and streams.version
// are 0: UNSUPPORTED_VERSION for the request, or for each group that it names, whoever asks.
func featureOff(_ call, req kmsg.Request) kmsg.Response {
	const off = 35 // UNSUPPORTED_VERSION
	text := kerr.UnsupportedVersion.Description
	resp := req.ResponseKind()
	switch q := req.(type) {
	case *kmsg.ShareGroupDescribeRequest:
		r := resp.(*kmsg.ShareGroupDescribeResponse)
		for _, id := range q.GroupIDs {
			g := kmsg.NewShareGroupDescribeResponseGroup()
			g.GroupID, g.ErrorCode = id, off
			r.Groups = append(r.Groups, g)
		}
	case *kmsg.StreamsGroupDescribeRequest:
		r := resp.(*kmsg.StreamsGroupDescribeResponse)
		for _, id := range q.Groups {
			g := kmsg.NewStreamsGroupDescribeResponseGroup()
			g.Group, g.ErrorCode = id, off
			r.Groups = append(r.Groups, g)
		}
	case *kmsg.DescribeShareGroupOffsetsRequest:
		r := resp.(*kmsg.DescribeShareGroupOffsetsResponse)
		for i := range q.Groups {
			g := kmsg.NewDescribeShareGroupOffsetsResponseGroup()
			g.GroupID, g.ErrorCode = q.Groups[i].GroupID, off
			r.Groups = append(r.Groups, g)
		}
	case *kmsg.AlterShareGroupOffsetsRequest:
		r := resp.(*kmsg.AlterShareGroupOffsetsResponse)
		r.ErrorCode, r.ErrorMessage = off, &text
	case *kmsg.DeleteShareGroupOffsetsRequest:
		r := resp.(*kmsg.DeleteShareGroupOffsetsResponse)
		r.ErrorCode, r.ErrorMessage = off, &text
	case *kmsg.ShareGroupHeartbeatRequest:
		resp.(*kmsg.ShareGroupHeartbeatResponse).ErrorCode = off
	case *kmsg.ShareFetchRequest:
		resp.(*kmsg.ShareFetchResponse).ErrorCode = off
	case *kmsg.ShareAcknowledgeRequest:
		resp.(*kmsg.ShareAcknowledgeResponse).ErrorCode = off
	case *kmsg.StreamsGroupHeartbeatRequest:
		resp.(*kmsg.StreamsGroupHeartbeatResponse).ErrorCode = off
	case *kmsg.StreamsGroupTopologyDescriptionUpdateRequest:
		resp.(*kmsg.StreamsGroupTopologyDescriptionUpdateResponse).ErrorCode = off
	}
	return resp
}
