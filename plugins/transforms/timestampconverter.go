package transforms

import (
	"errors"
	"math"
	"strings"
	"time"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/moldau-io/moldau/plugins/javatime"
)

var timestampConverterDef = configdef.NewDef(
	configdef.Key{Name: "field", Type: configdef.String, Default: "", Importance: configdef.High,
		Doc: "The field containing the timestamp, or empty if the entire value is a timestamp"},
	configdef.Key{Name: "target.type", Type: configdef.String, Required: true, Importance: configdef.High, Check: configdef.OneOf(false, "string", "unix", "Date", "Time", "Timestamp"),
		Doc: "The desired timestamp representation: string, unix, Date, Time, or Timestamp"},
	configdef.Key{Name: "format", Type: configdef.String, Default: "", Importance: configdef.Medium, Check: javatime.Check,
		Doc: "A SimpleDateFormat-compatible format for the timestamp. Used to generate the output when type=string or used to parse the input if the input is a string."},
	configdef.Key{Name: "unix.precision", Type: configdef.String, Default: "milliseconds", Importance: configdef.Low,
		Check: configdef.OneOf(false, "nanoseconds", "microseconds", "milliseconds", "seconds"),
		Doc: "The desired Unix precision for the timestamp: seconds, milliseconds, microseconds, or nanoseconds. Used to generate the output when type=unix or used to parse " +
			"the input if the input is a Long. Note: This SMT will cause precision loss during conversions from, and to, values with sub-millisecond components."},
	keyReplaceNull,
)

var (
	dateSchema         = data.New(data.TypeInt32).Name(data.LogicalDate).Version(1).Build()
	optionalDateSchema = data.New(data.TypeInt32).Name(data.LogicalDate).Version(1).Optional().Build()
	timeSchema         = data.New(data.TypeInt32).Name(data.LogicalTime).Version(1).Build()
	optionalTimeSchema = data.New(data.TypeInt32).Name(data.LogicalTime).Version(1).Optional().Build()
)

const millisPerDay = 86_400_000

// timestampConverter turns a time from one representation into another.
type timestampConverter struct {
	side        side
	field       string
	target      string
	format      *javatime.Format
	precision   string
	replaceNull bool
	now         func() time.Time
	plans       plans[timestampPlan]
}

type timestampPlan struct {
	schema *data.Schema
	index  int // of the field; -1: none
	from   string
}

func newTimestampConverter(s side) *timestampConverter {
	return &timestampConverter{side: s, now: time.Now}
}

func (t *timestampConverter) Configure(cfg configdef.Values) (err error) {
	t.field, t.target, t.precision = cfg.Str("field"), cfg.Str("target.type"), cfg.Str("unix.precision")
	t.replaceNull = cfg.Bool("replace.null.with.default")
	format := cfg.Str("format")
	if strings.TrimSpace(format) == "" {
		if t.target == "string" {
			return errors.New("TimestampConverter requires format option to be specified when using string timestamps")
		}
		return nil
	}
	t.format, err = javatime.Compile(format)
	return err
}

// targetSchema is the schema of the result.
func (t *timestampConverter) targetSchema(optional bool) *data.Schema {
	pick := func(required, opt *data.Schema) *data.Schema {
		if optional {
			return opt
		}
		return required
	}
	switch t.target {
	case "string":
		return pick(data.StringSchema, data.OptionalStringSchema)
	case "unix":
		return pick(data.Int64Schema, data.OptionalInt64Schema)
	case "Date":
		return pick(dateSchema, optionalDateSchema)
	case "Time":
		return pick(timeSchema, optionalTimeSchema)
	default:
		return pick(timestampSchema, optionalTimestampSchema)
	}
}

// representation names how a schema's values hold a time.
func representation(s *data.Schema) (string, error) {
	switch {
	case s.Name() == data.LogicalTimestamp:
		return "Timestamp", nil
	case s.Name() == data.LogicalDate:
		return "Date", nil
	case s.Name() == data.LogicalTime:
		return "Time", nil
	case s.Type() == data.TypeString:
		return "string", nil
	case s.Type() == data.TypeInt64:
		return "unix", nil
	}
	return "", plugins.Dataf("Schema %s does not correspond to a known timestamp type format", upper(s.Type()))
}

func (t *timestampConverter) Apply(r *plugins.Record) (bool, error) {
	schema, v := t.side.get(r)
	if schema == nil {
		out, err := t.schemaless(v)
		if err != nil {
			return false, err
		}
		t.side.set(r, nil, out)
		return true, nil
	}
	plan, err := t.plans.get(schema, t.derive)
	if err != nil {
		return false, err
	}
	if t.field == "" {
		v, err = t.convert(v, plan.from)
	} else if !v.IsNull() {
		var st *data.Struct
		if st, err = requireStruct(v, "converting timestamp formats"); err == nil {
			v, err = t.apply(st, plan.schema, plan)
		}
	}
	if err != nil {
		return false, err
	}
	t.side.set(r, plan.schema, v)
	return true, nil
}

func (t *timestampConverter) apply(st *data.Struct, to *data.Schema, plan timestampPlan) (data.Value, error) {
	out := data.NewStructValue(to)
	copyFields(out.Values, st, t.replaceNull)
	if plan.index >= 0 {
		var err error
		if out.Values[plan.index], err = t.convert(out.Values[plan.index], plan.from); err != nil {
			return data.Null, err
		}
	}
	return data.StructOf(out), nil
}

func (t *timestampConverter) derive(s *data.Schema) (p timestampPlan, err error) {
	p.index = -1
	if t.field == "" {
		p.from, err = representation(s)
		p.schema = t.targetSchema(s.Optional())
		return p, err
	}
	if s.Type() != data.TypeStruct {
		return p, plugins.Dataf("Only Struct objects supported for [converting timestamp formats], found: %s", upper(s.Type()))
	}
	b := basics(s).SetOptional(s.Optional())
	for _, f := range s.Fields() {
		if f.Name != t.field {
			b.Field(f.Name, f.Schema)
			continue
		}
		if p.from, err = representation(f.Schema); err != nil {
			return p, err
		}
		p.index = f.Index
		b.Field(f.Name, t.targetSchema(f.Schema.Optional()))
	}
	p.schema = b.Build()
	if def, ok := s.Default(); ok && def.Struct() != nil {
		d, err := t.apply(def.Struct(), p.schema, p)
		if err != nil {
			return p, err
		}
		p.schema = data.From(p.schema).Default(d).Build()
	}
	return p, nil
}

func (t *timestampConverter) schemaless(v data.Value) (data.Value, error) {
	infer := func(v data.Value) (data.Value, error) {
		switch v.Type() {
		case data.TypeInvalid:
			return v, nil
		case data.TypeInt64:
			return t.convert(v, "unix")
		case data.TypeString:
			return t.convert(v, "string")
		}
		return v, plugins.Dataf("TimestampConverter does not support class %s objects as timestamps", javaClass(v))
	}
	if v.IsNull() || t.field == "" {
		return infer(v)
	}
	entries, err := requireMap(v, "converting timestamp formats")
	if err != nil {
		return v, err
	}
	have, _ := mapGet(entries, t.field)
	out, err := infer(have)
	if err != nil {
		return v, err
	}
	return data.Map(mapPut(copyMap(entries, 1), t.field, out)), nil
}

func (t *timestampConverter) convert(v data.Value, from string) (data.Value, error) {
	if v.IsNull() {
		return v, nil
	}
	var millis int64
	switch from {
	case "string":
		if v.Type() != data.TypeString {
			return v, plugins.Dataf("Expected string timestamp to be a String, but found class %s", javaClass(v))
		}
		if t.format == nil {
			return v, plugins.Dataf("TimestampConverter needs the format option to read the string timestamp %q", v.Str())
		}
		ms, err := t.format.Parse(v.Str(), t.now())
		if err != nil {
			return v, plugins.Dataf("Could not parse timestamp: value (%s) does not match pattern (%s)", v.Str(), t.format)
		}
		millis = ms
	case "unix":
		if v.Type() != data.TypeInt64 {
			return v, plugins.Dataf("Expected Unix timestamp to be a Long, but found class %s", javaClass(v))
		}
		switch millis = v.Int(); t.precision {
		case "seconds":
			millis = scaleUp(millis, 1000)
		case "microseconds":
			millis /= 1000
		case "nanoseconds":
			millis /= 1_000_000
		}
	case "Date":
		millis = v.Int() * millisPerDay
	default:
		millis = v.Int()
	}
	switch t.target {
	case "string":
		return data.String(string(t.format.Append(nil, millis))), nil
	case "unix":
		switch t.precision {
		case "seconds":
			millis /= 1000
		case "microseconds":
			millis = scaleUp(millis, 1000)
		case "nanoseconds":
			millis = scaleUp(millis, 1_000_000)
		}
		return data.Int64(millis), nil
	case "Date":
		return data.Int32(int32(floorDiv(millis))), nil //nolint:gosec // days fit for millions of years
	case "Time":
		return data.Int32(int32(millis - floorDiv(millis)*millisPerDay)), nil //nolint:gosec // below a day
	default:
		return data.Int64(millis), nil
	}
}

func floorDiv(millis int64) int64 {
	d := millis / millisPerDay
	if millis%millisPerDay < 0 {
		d--
	}
	return d
}

// scaleUp multiplies and stays at the limits, as Java's TimeUnit does.
func scaleUp(n, by int64) int64 {
	switch {
	case n > math.MaxInt64/by:
		return math.MaxInt64
	case n < math.MinInt64/by:
		return math.MinInt64
	}
	return n * by
}

func (t *timestampConverter) Close() error { return nil }
