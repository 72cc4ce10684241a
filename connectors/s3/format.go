package s3

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/converters"
	"github.com/moldau-io/moldau/plugins/data"
)

// encoder writes the records of one object, all of one schema.
type encoder interface {
	// write adds a record. It keeps nothing of it after it returned, but for a few records that the next flush takes.
	write(r *plugins.SinkRecord) error
	// flush hands all that is kept outside the object's buffer to it, as far as the format can.
	flush() error
	// held estimates the bytes kept outside the object's buffer.
	held() int64
	// close completes the object.
	close() error
}

// format makes encoders.
type format interface {
	extension() string
	newEncoder(w io.Writer, topic string, schema *data.Schema) (encoder, error)
	// perSchema says that an object holds one schema only.
	perSchema() bool
}

func newFormat(s settings) (format, error) {
	v := s.values
	switch s.format {
	case "avro":
		return newAvroFormat(v.Str("avro.codec"))
	case "parquet":
		return newParquetFormat(v.Str("parquet.codec"))
	case "json":
		return newJSONFormat(v)
	case "bytearray":
		sep := "\n"
		if v.IsSet("format.bytearray.separator") {
			sep = v.Raw()["format.bytearray.separator"]
		}
		return &rawFormat{ext: v.Str("format.bytearray.extension"), sep: sep, gz: newGzipper(v)}, nil
	}
	return nil, fmt.Errorf("format %q is not known", s.format)
}

// gzipper wraps an object in gzip when s3.compression.type asks for it.
type gzipper struct {
	on    bool
	level int
}

func newGzipper(v configdef.Values) gzipper {
	return gzipper{v.Str("s3.compression.type") == "gzip", int(v.Int("s3.compression.level"))}
}

func (g gzipper) suffix() string {
	if g.on {
		return ".gz"
	}
	return ""
}

func (g gzipper) wrap(w io.Writer) (io.Writer, func() error, error) {
	if !g.on {
		return w, func() error { return nil }, nil
	}
	z, err := gzip.NewWriterLevel(w, g.level)
	if err != nil {
		return nil, nil, fmt.Errorf("s3.compression.level: %w", err)
	}
	return z, z.Close, nil
}

// lineEncoder writes one rendered record after the other.
type lineEncoder struct {
	w      io.Writer
	finish func() error
	render func(dst []byte, r *plugins.SinkRecord) ([]byte, error)
	buf    []byte
}

func (e *lineEncoder) write(r *plugins.SinkRecord) error {
	b, err := e.render(e.buf[:0], r)
	if err != nil {
		return err
	}
	e.buf = b
	_, err = e.w.Write(b)
	return err
}

func (e *lineEncoder) flush() error { return nil }
func (e *lineEncoder) held() int64  { return 0 }
func (e *lineEncoder) close() error { return e.finish() }

// jsonFormat writes one JSON document a line, as JsonConverter without schemas renders values.
type jsonFormat struct {
	conv plugins.Converter
	gz   gzipper
}

func newJSONFormat(v configdef.Values) (format, error) {
	reg := plugins.NewRegistry()
	converters.Register(reg)
	spec, ok := reg.Converter("JsonConverter")
	if !ok {
		return nil, fmt.Errorf("JsonConverter is not registered")
	}
	cfg, err := spec.Config.Parse(map[string]string{"schemas.enable": "false", "decimal.format": v.Str("json.decimal.format"), "converter.type": "value"})
	if err != nil {
		return nil, err
	}
	f := &jsonFormat{conv: spec.New(), gz: newGzipper(v)}
	return f, f.conv.Configure(context.Background(), plugins.ConverterEnv{}, cfg, false)
}

func (f *jsonFormat) extension() string { return ".json" + f.gz.suffix() }
func (f *jsonFormat) perSchema() bool   { return false }

func (f *jsonFormat) newEncoder(w io.Writer, topic string, _ *data.Schema) (encoder, error) {
	out, finish, err := f.gz.wrap(w)
	if err != nil {
		return nil, err
	}
	return &lineEncoder{w: out, finish: finish, render: func(dst []byte, r *plugins.SinkRecord) ([]byte, error) {
		b, err := f.conv.FromData(context.Background(), dst, topic, r.ValueSchema, r.Value)
		if err != nil {
			return nil, &plugins.DataError{Err: err}
		}
		return append(b, '\n'), nil
	}}, nil
}

// rawFormat writes bytes values as they are.
type rawFormat struct {
	ext, sep string
	gz       gzipper
}

func (f *rawFormat) extension() string { return f.ext + f.gz.suffix() }
func (f *rawFormat) perSchema() bool   { return false }

func (f *rawFormat) newEncoder(w io.Writer, _ string, _ *data.Schema) (encoder, error) {
	out, finish, err := f.gz.wrap(w)
	if err != nil {
		return nil, err
	}
	return &lineEncoder{w: out, finish: finish, render: func(dst []byte, r *plugins.SinkRecord) ([]byte, error) {
		if t := r.Value.Type(); t != data.TypeBytes && t != data.TypeString {
			return nil, plugins.Dataf("ByteArrayFormat needs bytes, not a %s: use value.converter=org.apache.kafka.connect.converters.ByteArrayConverter", t)
		}
		return append(append(dst, r.Value.Bytes()...), f.sep...), nil
	}}, nil
}

// needsStruct is the error for formats that are columns.
func needsStruct(r *plugins.SinkRecord, what string) error {
	return plugins.Dataf("%s-%d offset %d: %s needs a value with a struct schema, not %s: use a converter with schemas, such as io.confluent.connect.avro.AvroConverter",
		r.Topic, r.Partition, r.Offset, what, r.ValueSchema.Type())
}
