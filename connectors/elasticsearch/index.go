package elasticsearch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/moldau-io/moldau/plugins/jsontext"
)

// indexName is the original's rule: the topic in lower case.
func indexName(topic string) (string, error) {
	n := strings.ToLower(topic)
	if n == "" || n == "." || n == ".." || len(n) > 255 || strings.ContainsAny(n, `\/*?"<>| ,#:`) || strings.ContainsAny(n[:1], "-_+") {
		return "", plugins.Dataf("the topic %q makes no index name: rename it with a RegexRouter transform", topic)
	}
	return n, nil
}

// indices remembers which indices exist and which schemas their mappings were made from.
type indices struct {
	cl     *client
	names  map[string]string // topic -> index
	exist  map[string]bool
	mapped map[string]*data.Schema
}

// ensure makes the index of a topic, and its mapping when schemas count. It asks the server once a topic and schema.
func (x *indices) ensure(ctx context.Context, topic string, schema *data.Schema, mapping bool) (string, error) {
	index := x.names[topic]
	if index == "" {
		var err error
		if index, err = indexName(topic); err != nil {
			return "", err
		}
		x.names[topic] = index
	}
	if !x.exist[index] {
		_, err := x.cl.do(ctx, http.MethodPut, "/"+url.PathEscape(index), "", nil)
		var a *answerError
		if errors.As(err, &a) && a.status == http.StatusBadRequest && strings.Contains(a.body, "already_exists_exception") {
			err = nil
		}
		if err != nil {
			return "", wrap(err, "create index %s", index)
		}
		x.exist[index] = true
	}
	if mapping && schema != nil && x.mapped[index] != schema && !x.mapped[index].Equal(schema) {
		body, err := appendMapping(nil, schema)
		if err != nil {
			return "", err
		}
		if _, err := x.cl.do(ctx, http.MethodPut, "/"+url.PathEscape(index)+"/_mapping", "application/json", body); err != nil {
			return "", wrap(err, "put the mapping of index %s", index)
		}
		x.mapped[index] = schema
	}
	return index, nil
}

// wrap names the operation; what can be waited out becomes retriable for the worker.
func wrap(err error, format string, args ...any) error {
	err = fmt.Errorf(format+": %w", append(args, err)...)
	if waits(err) {
		return plugins.Retriable(err)
	}
	return err
}

// appendMapping renders a struct schema as an index mapping, with the original's choice of field types.
func appendMapping(dst []byte, s *data.Schema) ([]byte, error) {
	if s.Type() != data.TypeStruct {
		return nil, plugins.Dataf("a mapping needs a struct schema, not %s: set schema.ignore=true", s.Type())
	}
	dst = append(dst, `{"properties":{`...)
	for i, f := range s.Fields() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(jsontext.AppendString(dst, f.Name), ':')
		var err error
		if dst, err = appendFieldMapping(dst, f.Schema); err != nil {
			return nil, err
		}
	}
	return append(dst, "}}"...), nil
}

func appendFieldMapping(dst []byte, s *data.Schema) ([]byte, error) {
	simple := func(t string) ([]byte, error) { return append(append(append(dst, `{"type":"`...), t...), `"}`...), nil }
	switch s.Name() {
	case data.LogicalDate, data.LogicalTime, data.LogicalTimestamp:
		return simple("date")
	case data.LogicalDecimal:
		return simple("double")
	}
	switch s.Type() {
	case data.TypeInt8:
		return simple("byte")
	case data.TypeInt16:
		return simple("short")
	case data.TypeInt32:
		return simple("integer")
	case data.TypeInt64:
		return simple("long")
	case data.TypeFloat32:
		return simple("float")
	case data.TypeFloat64:
		return simple("double")
	case data.TypeBoolean:
		return simple("boolean")
	case data.TypeBytes:
		return simple("binary")
	case data.TypeString:
		return append(dst, `{"type":"text","fields":{"keyword":{"type":"keyword","ignore_above":256}}}`...), nil
	case data.TypeArray:
		return appendFieldMapping(dst, s.ValueSchema())
	case data.TypeMap:
		return append(dst, `{"type":"object"}`...), nil
	case data.TypeStruct:
		return appendMapping(dst, s)
	}
	return nil, plugins.Dataf("a field of type %s cannot be mapped", s.Type())
}
