package wire

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DecodeRequest decodes the body of a request that ParseHeader accepted, for all APIs that have no codec of
// their own here. Byte fields of the result are sub-slices of body; strings are copies.
func DecodeRequest(h Header, body []byte) (kmsg.Request, error) {
	api, ok := Lookup(h.Key)
	if !ok || h.Version < api.MinServed || h.Version > api.Max {
		return nil, fmt.Errorf("decode request: api key %d version %d is not served", h.Key, h.Version)
	}
	if err := Check(h.Key, h.Version, body); err != nil {
		return nil, fmt.Errorf("decode %s version %d: %w", api.Name, h.Version, err)
	}
	req := kmsg.RequestForKey(h.Key)
	if req == nil {
		return nil, fmt.Errorf("decode request: api key %d has no codec", h.Key)
	}
	req.SetVersion(h.Version)
	if err := req.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("decode %s version %d: %w", api.Name, h.Version, err)
	}
	return req, nil
}
