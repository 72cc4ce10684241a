package avro

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func parse(t *testing.T, text string, refs ...string) *Schema {
	t.Helper()
	s, err := Parse(text, Options{References: refs})
	require.NoError(t, err)
	return s
}

func TestReferencesStayByNameUnlessResolved(t *testing.T) {
	ref := `{"type":"record","name":"Sub","namespace":"a","fields":[{"name":"x","type":"int"}]}`
	s := parse(t, `{"type":"record","name":"R","namespace":"a","fields":[{"name":"s","type":"a.Sub"},{"name":"t","type":"Sub"}]}`, ref)
	require.Equal(t, `{"type":"record","name":"R","namespace":"a","fields":[{"name":"s","type":"Sub"},{"name":"t","type":"Sub"}]}`, s.Canonical())
	require.Equal(t, `{"type":"record","name":"R","namespace":"a","fields":[{"name":"s","type":{"type":"record","name":"Sub","fields":[{"name":"x","type":"int"}]}},{"name":"t","type":"Sub"}]}`, s.Resolved())
	require.NotNil(t, s.Lookup("a.Sub"))

	_, err := Parse(`"a.Sub"`, Options{})
	require.EqualError(t, err, `Undefined name: "a.Sub"`)
}

func TestNormalizeMakesSpellingsOfOneSchemaEqual(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"properties", `{"type":"int","b":1,"a":{"z":1,"y":2}}`, `{"type":"int","a":{"z":1,"y":2},"b":1}`},
		{"logical type first", `{"type":"bytes","a":1,"scale":2,"precision":4,"logicalType":"decimal"}`, `{"type":"bytes","logicalType":"decimal","precision":4,"scale":2,"a":1}`},
		{"invalid logical type", `{"type":"string","precision":4,"logicalType":"decimal"}`, `{"type":"string","logicalType":"decimal","precision":4}`},
		{"aliases", `{"type":"fixed","name":"F","size":1,"aliases":["b","a"]}`, `{"type":"fixed","name":"F","size":1,"aliases":["a","b"]}`},
		{"empty doc", `{"type":"record","name":"R","doc":"","fields":[{"name":"f","type":"int","doc":""}]}`, `{"type":"record","name":"R","fields":[{"name":"f","type":"int","doc":""}]}`},
		{"number defaults", `{"type":"record","name":"R","fields":[{"name":"d","type":"double","default":1},{"name":"f","type":["float","null"],"default":0.1},{"name":"a","type":{"type":"array","items":"double"},"default":[1]}]}`,
			`{"type":"record","name":"R","fields":[{"name":"d","type":"double","default":1.0},{"name":"f","type":["float","null"],"default":0.1},{"name":"a","type":{"type":"array","items":"double"},"default":[1.0]}]}`},
		{"recursive", `{"type":"record","name":"R","fields":[{"name":"n","type":["null","R"]}],"b":1,"a":2}`, `{"type":"record","name":"R","fields":[{"name":"n","type":["null","R"]}],"a":2,"b":1}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := parse(t, tt.in).Normalize()
			require.Equal(t, tt.want, n.Canonical())
			require.Equal(t, tt.want, n.Normalize().Canonical())
			require.Equal(t, tt.want, parse(t, tt.want).Normalize().Canonical())
		})
	}
}

func TestParseErrorsReadAsJava(t *testing.T) {
	for text, want := range map[string]string{
		`{"type":"record","name":"R","fields":[{"name":"a","type":"Foo"}]}`:               `"Foo" is not a defined name. The type of the "a" field must be a defined name or a {"type": ...} expression.`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":"x"}]}`: `Invalid default for field a: "x" not a "int"`,
		`{"type":"record","name":"R"}`:                                                    `Record has no fields: {"type":"record","name":"R"}`,
		`{"type":"record","name":"R-1","fields":[]}`:                                      `Illegal character in: R-1`,
		`{"type":"record","name":"1","fields":[]}`:                                        `Illegal initial character: 1`,
		`{"type":"foo"}`: `Type not supported: foo`,
		`["int","int"]`:  `Duplicate in union:int`,
		`{"type":"enum","name":"E","symbols":["A"],"default":"B"}`: `The Enum Default: B is not in the enum symbol set: [A]`,
		`{"type":`: `json at byte 8: unexpected end`,
	} {
		_, err := Parse(text, Options{Strict: true})
		require.EqualError(t, err, want, text)
	}
}

func TestParseIsBounded(t *testing.T) {
	_, err := Parse(strings.Repeat(" ", 100), Options{MaxBytes: 99})
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = Parse(strings.Repeat("[", 1<<19), Options{})
	require.ErrorIs(t, err, errDepth)
	_, err = Parse(strings.Repeat(`{"type":"array","items":`, 1001), Options{})
	require.ErrorIs(t, err, errDepth)
}

func TestCheckGivesUpOnTooManyCombinations(t *testing.T) {
	union := func(prefix string) string {
		var b strings.Builder
		for i := range 2000 {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(`{"type":"record","name":"` + prefix + strconv.Itoa(i) + `","fields":[]}`)
		}
		return "[" + b.String() + "]"
	}
	_, err := Check(parse(t, union("a")), parse(t, union("b")))
	require.ErrorAs(t, err, &ErrTooComplex{})
}

func history(t *testing.T, texts ...string) func(func(Previous, error) bool) {
	return func(yield func(Previous, error) bool) {
		for i := len(texts); i > 0; i-- {
			if !yield(Previous{Version: i, Schema: parse(t, texts[i-1])}, nil) {
				return
			}
		}
	}
}

func TestLevelsCompareInTheirDirectionAndDepth(t *testing.T) {
	rec := func(fields string) string { return `{"type":"record","name":"R","fields":[` + fields + `]}` }
	a, b, bDefault := `{"name":"a","type":"int"}`, `{"name":"b","type":"int"}`, `{"name":"b","type":"int","default":0}`
	addsRequired, addsOptional, only := rec(a+","+b), rec(a+","+bDefault), rec(a)
	tests := []struct {
		name     string
		schema   string
		versions []string
		ok       []Level // the other levels refuse
	}{
		{"nothing before", only, nil, []Level{None, Backward, BackwardTransitive, Forward, ForwardTransitive, Full, FullTransitive}},
		{"optional field added", addsOptional, []string{only}, []Level{None, Backward, BackwardTransitive, Forward, ForwardTransitive, Full, FullTransitive}},
		{"required field added", addsRequired, []string{only}, []Level{None, Forward, ForwardTransitive}},
		{"required field removed", only, []string{addsRequired}, []Level{None, Backward, BackwardTransitive}},
		{"default dropped after the field was optional", addsRequired, []string{only, addsOptional}, []Level{None, Backward, Forward, ForwardTransitive, Full}},
		{"field came, then went", only, []string{addsRequired, addsOptional}, []Level{None, Backward, BackwardTransitive, Forward, Full}},
	}
	for _, tt := range tests {
		for _, level := range []Level{None, Backward, BackwardTransitive, Forward, ForwardTransitive, Full, FullTransitive} {
			messages, err := Compatible(parse(t, tt.schema), level, history(t, tt.versions...))
			require.NoError(t, err)
			ok := false
			for _, l := range tt.ok {
				ok = ok || l == level
			}
			require.Equal(t, ok, len(messages) == 0, "%s at %s: %v", tt.name, level, messages)
		}
	}
}

func TestMessagesNameTheOldSchema(t *testing.T) {
	messages, err := Compatible(parse(t, `"int"`), Full, history(t, `"string"`))
	require.NoError(t, err)
	require.Equal(t, []string{
		`{errorType:'TYPE_MISMATCH', description:'The type (path '/') of a field in the old schema does not match with the new schema', additionalInfo:'reader type: STRING not compatible with writer type: INT'}`,
		`{errorType:'TYPE_MISMATCH', description:'The type (path '/') of a field in the new schema does not match with the old schema', additionalInfo:'reader type: INT not compatible with writer type: STRING'}`,
		`{oldSchemaVersion: 1}`,
		`{oldSchema: '"string"'}`,
	}, messages)
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`"int"`, `{"type":"record","name":"a.R","fields":[{"name":"n","type":["null","R"],"default":null,"x":[1.5e3,"\ud83d\ude00"]}],"aliases":["b"]}`,
		`{"type":"enum","name":"E","symbols":["A"],"default":"A"}`, `{"type":"fixed","name":".F","size":16,"logicalType":"decimal","precision":9}`,
		`{"type":"map","values":{"type":"array","items":["int","string"]}}`, `/* c */ {"type":"error","name":"E","namespace":"","fields":[]}`} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, text string, strict bool) {
		s, err := Parse(text, Options{Strict: strict})
		if err != nil {
			return
		}
		canonical := s.Canonical()
		_, _ = s.Resolved(), s.ParsingForm()
		if list, err := Check(s, s); err == nil && len(list) > 0 && strict {
			t.Fatalf("a schema cannot read itself: %s: %v", canonical, list)
		}
		normal := s.Normalize().Canonical()
		if !strict { // odd names print, but do not always read back
			return
		}
		again, err := Parse(canonical, Options{Strict: true})
		if err != nil {
			t.Fatalf("own text is refused: %s: %v", canonical, err)
		}
		if got := again.Canonical(); got != canonical {
			t.Fatalf("text changes: %s, then %s", canonical, got)
		}
		if got := again.Normalize().Canonical(); got != normal {
			t.Fatalf("normal text changes: %s, then %s", normal, got)
		}
	})
}
