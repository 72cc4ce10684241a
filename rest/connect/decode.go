package connect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/moldau-io/moldau/core/connect/api"
)

// Bodies are decoded as leniently and as strictly as the original does it: numbers and booleans are taken for strings, null
// members are kept apart from absent ones, unknown members of a create request are refused. What cannot be read is 500 there, and so
// it is here.

// object reads a JSON object; present is false for an empty body or null.
func object(body io.Reader) (m map[string]json.RawMessage, present bool, err error) {
	b, err := io.ReadAll(body)
	if err != nil {
		return nil, false, err
	}
	if len(strings.TrimSpace(string(b))) == 0 {
		return nil, false, nil
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, false, malformed("body", b, err)
	}
	return m, m != nil, nil
}

// malformed says where what is no JSON begins to be none, or what is there in the place of what is expected.
func malformed(what string, text []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		before := text[:min(max(int(syntax.Offset)-1, 0), len(text))]
		line := bytes.Count(before, []byte("\n")) + 1
		return fmt.Errorf("malformed JSON in the request: %s: %s (line %d, column %d)", what, syntax.Error(), line, len(before)-bytes.LastIndexByte(before, '\n'))
	case errors.As(err, &kind):
		return fmt.Errorf("malformed JSON in the request: %s is of type %s, which cannot be here", what, kind.Value)
	}
	return fmt.Errorf("malformed JSON in the request: %s: %w", what, err)
}

// scalar reads a value as a string; nil for null.
func scalar(name string, raw json.RawMessage) (*string, error) {
	t := strings.TrimSpace(string(raw))
	switch {
	case t == "null":
		return nil, nil
	case strings.HasPrefix(t, "{"):
		return nil, fmt.Errorf("Cannot deserialize value of type `java.lang.String` from Object value (token `JsonToken.START_OBJECT`) (through reference chain: java.util.LinkedHashMap[%q])", name) //nolint:staticcheck // the original's words
	case strings.HasPrefix(t, "["):
		return nil, fmt.Errorf("Cannot deserialize value of type `java.lang.String` from Array value (token `JsonToken.START_ARRAY`) (through reference chain: java.util.LinkedHashMap[%q])", name) //nolint:staticcheck // the original's words
	case strings.HasPrefix(t, `"`):
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, malformed(name, raw, err)
		}
		return &s, nil
	}
	return &t, nil
}

func scalars(m map[string]json.RawMessage) (map[string]*string, error) {
	out := make(map[string]*string, len(m))
	for k, raw := range m {
		s, err := scalar(k, raw)
		if err != nil {
			return nil, err
		}
		out[k] = s
	}
	return out, nil
}

// refuseNulls answers null members as the validation does.
func refuseNulls(m map[string]*string) error {
	n := 0
	for _, s := range m {
		if s == nil {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return &api.Error{Code: 400, Message: fmt.Sprintf("Connector configuration is invalid and contains the following %d error(s):%s\nYou can also find the above list of errors at the endpoint `/connector-plugins/{connectorType}/config/validate`",
		n, strings.Repeat("\nNull value can not be supplied as the configuration value.", n))}
}

// withoutNulls drops null members: they stand for keys that are not set.
func withoutNulls(m map[string]*string) map[string]string {
	out := make(map[string]string, len(m))
	for k, s := range m {
		if s != nil {
			out[k] = *s
		}
	}
	return out
}

var errNoConfig = &api.Error{Code: 500, Message: `Cannot invoke "java.util.Map.get(Object)" because "connectorConfig" is null: the request holds no configuration`}

func decodePatch(body io.Reader) (map[string]*string, error) {
	m, present, err := object(body)
	if err != nil {
		return nil, err
	}
	if !present {
		return nil, errNoConfig
	}
	return scalars(m)
}

func decodeConfig(body io.Reader) (map[string]string, error) {
	m, err := decodePatch(body)
	return withoutNulls(m), err
}

func decodeCreate(body io.Reader) (req api.CreateRequest, err error) {
	m, present, err := object(body)
	if err != nil {
		return req, err
	}
	if !present {
		return req, &api.Error{Code: 500, Message: `Cannot invoke "org.apache.kafka.connect.runtime.rest.entities.CreateConnectorRequest.name()" because "createRequest" is null: the request has no body, which is {"name": ..., "config": {...}}`}
	}
	for k, raw := range m {
		switch k {
		case "name", "initial_state":
			s, err := scalar(k, raw)
			if err != nil {
				return req, err
			}
			if s == nil {
				continue
			}
			if k == "name" {
				req.Name = *s
			} else if req.InitialState = strings.ToUpper(*s); req.InitialState != "RUNNING" && req.InitialState != "PAUSED" && req.InitialState != "STOPPED" {
				return req, fmt.Errorf("Cannot construct instance of `org.apache.kafka.connect.runtime.rest.entities.CreateConnectorRequest$InitialState`, problem: No enum constant org.apache.kafka.connect.runtime.rest.entities.CreateConnectorRequest.InitialState.%s", req.InitialState) //nolint:staticcheck // the original's words
			}
		case "config":
			var c map[string]json.RawMessage
			if err := json.Unmarshal(raw, &c); err != nil {
				return req, malformed("config", raw, err)
			}
			if c == nil {
				continue
			}
			vals, err := scalars(c)
			if err != nil {
				return req, err
			}
			if err := refuseNulls(vals); err != nil {
				return req, err
			}
			req.Config = withoutNulls(vals)
		default:
			return req, fmt.Errorf("Unrecognized field %q (class org.apache.kafka.connect.runtime.rest.entities.CreateConnectorRequest), not marked as ignorable (3 known properties: \"config\", \"name\", \"initial_state\")", k) //nolint:staticcheck // the original's words
		}
	}
	if req.Config == nil {
		return req, errNoConfig
	}
	return req, nil
}

func decodeOffsets(body io.Reader) ([]api.ConnectorOffset, error) {
	m, present, err := object(body)
	if err != nil {
		return nil, err
	}
	if !present {
		return nil, &api.Error{Code: 500, Message: `Cannot invoke "org.apache.kafka.connect.runtime.rest.entities.ConnectorOffsets.offsets()" because "offsets" is null: the request has no body, which is {"offsets": [{"partition": {...}, "offset": {...}}]}`}
	}
	var in []struct {
		Partition json.RawMessage `json:"partition"`
		Offset    json.RawMessage `json:"offset"`
	}
	if raw, has := m["offsets"]; has {
		if err := json.Unmarshal(raw, &in); err != nil {
			return nil, malformed("offsets", raw, err)
		}
	}
	out := make([]api.ConnectorOffset, len(in))
	for i, o := range in {
		if out[i].Partition, err = position(o.Partition); err != nil {
			return nil, malformed("partition", o.Partition, err)
		}
		if out[i].Offset, err = position(o.Offset); err != nil {
			return nil, malformed("offset", o.Offset, err)
		}
	}
	return out, nil
}

// position reads an object with whole numbers as int64.
func position(raw json.RawMessage) (map[string]any, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return nil, err
	}
	for k, v := range m {
		m[k] = plain(v)
	}
	return m, nil
}

func plain(v any) any {
	switch x := v.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(x.String(), 10, 64); err == nil {
			return n
		}
		f, _ := x.Float64()
		return f
	case map[string]any:
		for k, e := range x {
			x[k] = plain(e)
		}
	case []any:
		for i, e := range x {
			x[i] = plain(e)
		}
	}
	return v
}
