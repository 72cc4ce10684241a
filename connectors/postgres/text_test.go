package postgres

import (
	"testing"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/stretchr/testify/require"
)

func TestTimestampsAreRead(t *testing.T) {
	for in, want := range map[string]int64{
		"1970-01-01 00:00:00":          0,
		"1970-01-01 00:00:00+00":       0,
		"2024-02-29 12:34:56.789012":   1709210096789012,
		"2024-02-29 12:34:56.7+02":     1709202896700000,
		"2024-02-29 12:34:56-07:30":    1709237096000000,
		"1969-12-31 23:59:59.999999":   -1,
		"0001-01-01 00:00:00":          -62135596800000000,
		"infinity":                     cdc.InfinityMicros,
		"-infinity":                    cdc.NegInfinityMicros,
		"1890-01-01 00:57:44+00:57:44": -2524521600000000,
	} {
		got, _, err := parseTimestamp([]byte(in))
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
	bc, _, err := parseTimestamp([]byte("0001-12-31 00:00:00 BC"))
	require.NoError(t, err)
	require.Equal(t, int64(-62135596800000000-86_400_000_000), bc, "1 BC is the year before 1 AD")
	for _, bad := range []string{"", "2024", "2024-02-29", "2024-13-01 00:00:00", "2024-02-29 12:34", "2024-02-29 12:34:56+x", "2024-02-29 12:34:56+02:", "x-01-01 00:00:00"} {
		_, _, err := parseTimestamp([]byte(bad))
		require.Error(t, err, bad)
	}
}

func TestIntervalsAreRead(t *testing.T) {
	for in, want := range map[string]struct {
		micros int64
		iso    string
	}{
		"1 year 2 mons 3 days 04:05:06.789":  {37091106789000, "P1Y2M3DT4H5M6.789S"},
		"-1 years -2 mons +3 days -04:05:06": {-36572706000000, "P-1Y-2M3DT-4H-5M-6S"},
		"00:00:00":                           {0, "P0Y0M0DT0H0M0S"},
		"00:00:00.5":                         {500000, "P0Y0M0DT0H0M0.5S"},
		"-00:00:00.000001":                   {-1, "P0Y0M0DT0H0M-0.000001S"},
		"1 mon":                              {2629800000000, "P0Y1M0DT0H0M0S"},
		"2562047788:00:54.775807":            {9223372036854775807, "P0Y0M0DT2562047788H0M54.775807S"},
	} {
		iv, err := parseInterval([]byte(in))
		require.NoError(t, err, in)
		require.Equal(t, want.micros, iv.totalMicros(), in)
		require.Equal(t, want.iso, string(iv.iso(nil)), in)
	}
	for _, bad := range []string{"x", "1", "1 week", "1:2:3", "- days"} {
		_, err := parseInterval([]byte(bad))
		require.Error(t, err, bad)
	}
}

func arrayOf(t *testing.T, in string) (out []string, err error) {
	t.Helper()
	err = parseArray([]byte(in), ',', func(b []byte, null bool) error {
		if null {
			out = append(out, "<null>")
		} else {
			out = append(out, string(b))
		}
		return nil
	})
	return out, err
}

func TestArraysAreRead(t *testing.T) {
	for in, want := range map[string][]string{
		`{}`:         nil,
		`{1,2,NULL}`: {"1", "2", "<null>"},
		`{a,"b c",NULL,"NULL","q\"x","back\\slash",""}`: {"a", "b c", "<null>", "NULL", `q"x`, `back\slash`, ""},
		`{{1,2},{3,4}}`:   {"1", "2", "3", "4"},
		`[2:3]={7,8}`:     {"7", "8"},
		`{"{x,y}","a,b"}`: {"{x,y}", "a,b"},
	} {
		got, err := arrayOf(t, in)
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
	for _, bad := range []string{"", "{", "}", "1", `{"a}`, "{1,}", "{{{{{{{1}}}}}}}", `{"a\`} {
		_, err := arrayOf(t, bad)
		require.Error(t, err, bad)
	}
}

func TestHstoreIsRead(t *testing.T) {
	got := map[string]string{}
	require.NoError(t, parseHstore([]byte(`"a"=>"1", "b c"=>NULL, "q\"\\"=>"x=>y, z"`), func(k, v []byte, null bool) error {
		got[string(k)] = string(v)
		return nil
	}))
	require.Equal(t, map[string]string{"a": "1", "b c": "", `q"\`: "x=>y, z"}, got)
	for _, bad := range []string{`"a"`, `"a"=>`, `a=>1`, `"a"=>"1",`, `"a"=>"1" "b"=>"2"`, `"a"=>"1\`} {
		require.Error(t, parseHstore([]byte(bad), func(_, _ []byte, _ bool) error { return nil }), bad)
	}
}

func TestCopyEscapesAreUndone(t *testing.T) {
	require.Equal(t, "a\tb\nc\\d\b\f\r\vx", string(unescapeCopy(nil, []byte(`a\tb\nc\\d\b\f\r\vx`))))
	require.Equal(t, `plain`, string(unescapeCopy(nil, []byte(`plain`))))
}

func TestBitsAreLittleEndianAndTrimmed(t *testing.T) {
	var a cdc.Arena
	for in, want := range map[string][]byte{"10": {2}, "10101010101010101": {0x55, 0x55, 0x01}, "00000000": {}, "00000000000000001": {1}, "": {}} {
		got, err := parseBits(&a, []byte(in))
		require.NoError(t, err)
		require.Equal(t, want, append([]byte{}, got...), in)
	}
}

func TestDefaultLiterals(t *testing.T) {
	for in, want := range map[string]string{
		"3": "3", "'-3'::integer": "-3", "(-5)": "-5", "12.3": "12.3", "'abc'::text": "abc", "'it''s'::text": "it's", "true": "t", "B'101'::\"bit\"": "101",
		"''::text": "", "'2020-01-02 03:04:05'::timestamp without time zone": "2020-01-02 03:04:05", "'a::b'::character varying": "a::b",
	} {
		got, ok := literal(in)
		require.True(t, ok, in)
		require.Equal(t, want, got, in)
	}
	for _, no := range []string{"now()", "(1 + 2)", "nextval('s'::regclass)", "'a'::text || 'b'::text", "CURRENT_DATE", "NULL::text"} {
		_, ok := literal(no)
		require.False(t, ok, no)
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"2024-02-29 12:34:56.789012+02", "1 year 2 mons 3 days 04:05:06.789", `{a,"b c",NULL,{1}}`, `"a"=>"1", "b c"=>NULL`, "(1,2)", "$1,234.56", `\xdead`, "1011", "-12.30", `a\tb\\N`, "0001-01-01 BC"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		var a cdc.Arena
		_, _, _ = parseTimestamp(b)
		if iv, err := parseInterval(b); err == nil {
			_ = iv.iso(nil)
			_ = iv.totalMicros()
		}
		_ = parseArray(b, ',', func([]byte, bool) error { return nil })
		_ = parseHstore(b, func(_, _ []byte, _ bool) error { return nil })
		_, _, _ = parsePoint(b)
		parseMoney(&a, b)
		_, _ = parseBytea(&a, b)
		_, _ = parseBits(&a, b)
		_, _ = parseInt(b)
		_, _ = cdc.DecimalBytes(&a, b, 2)
		unescapeCopy(nil, b)
	})
}
