package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Header is a request header, of any of the header versions 1 and 2.
type Header struct {
	// Key is the API key.
	Key int16
	// Version is the API version; it was checked against the version table unless VersionOK is false.
	Version int16
	// CorrelationID is answered as it came.
	CorrelationID int32
	// ClientID is what the client calls itself, empty when null.
	ClientID string
	// VersionOK says that Version is one this broker answers. It is false only for ApiVersions, where KIP-511
	// wants an answer to every version.
	VersionOK bool
}

// HeaderSize is what a peer must have sent before ParseKey can say anything.
const HeaderSize = 8

// ParseHeader reads the request header at the start of a frame and returns the request's body, a sub-slice
// of the frame. The error says why the connection must be closed: a key this broker does not know, a version
// it does not answer, or a header that is cut short. Kafka closes the connection in those cases as well, since
// nothing is known about the shape of the answer.
func ParseHeader(frame []byte) (Header, []byte, error) {
	if len(frame) < HeaderSize {
		return Header{}, nil, fmt.Errorf("request header: %w", ErrTruncated)
	}
	h := Header{
		Key:           int16(binary.BigEndian.Uint16(frame)),
		Version:       int16(binary.BigEndian.Uint16(frame[2:])),
		CorrelationID: int32(binary.BigEndian.Uint32(frame[4:])),
	}
	api, ok := Lookup(h.Key)
	if !ok {
		return h, nil, fmt.Errorf("request header: api key %d is not served", h.Key)
	}
	h.VersionOK = h.Version >= api.MinServed && h.Version <= api.Max
	if !h.VersionOK {
		if h.Key == int16(kmsg.ApiVersions) {
			return h, nil, nil // answered with version 0 whatever the rest of the frame is
		}
		return h, nil, fmt.Errorf("request header: %s version %d is not served (%d to %d are)", api.Name, h.Version, api.MinServed, api.Max)
	}
	r := reader{src: frame[HeaderSize:]}
	// The client id is a two-byte string even in the flexible header version 2.
	h.ClientID = string(r.str(false))
	r.tags(h.Version >= api.Flexible, nil)
	if r.err != nil {
		return h, nil, fmt.Errorf("request header of %s version %d: %w", api.Name, h.Version, r.err)
	}
	return h, r.src, nil
}

// AppendResponseHeader appends the frame length (to be patched by FinishFrame) and the response header.
// An ApiVersions answer always has header version 0, without the byte for tagged fields.
func AppendResponseHeader(dst []byte, key, version int16, correlationID int32) []byte {
	dst = append(dst, 0, 0, 0, 0)
	dst = appendInt32(dst, correlationID)
	if api, ok := Lookup(key); ok && version >= api.Flexible && key != int16(kmsg.ApiVersions) {
		dst = append(dst, 0)
	}
	return dst
}

// FinishFrame writes the length of frame, less its own four bytes plus extra bytes that follow elsewhere, at its start.
func FinishFrame(frame []byte, extra int) {
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4+extra))
}

// AppendResponse appends a whole response frame: length, header and body.
func AppendResponse(dst []byte, correlationID int32, resp kmsg.Response) []byte {
	start := len(dst)
	dst = AppendResponseHeader(dst, resp.Key(), resp.GetVersion(), correlationID)
	dst = resp.AppendTo(dst)
	FinishFrame(dst[start:], 0)
	return dst
}
