package javatime

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var now = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

func TestTimesAreFormattedAsSimpleDateFormatDoes(t *testing.T) {
	at := time.Date(2024, 2, 5, 15, 4, 9, 7_000_000, time.UTC).UnixMilli()
	for pattern, want := range map[string]string{
		"yyyyMMdd": "20240205", "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'": "2024-02-05T15:04:09.007Z", "yy/M/d h:mm a": "24/2/5 3:04 PM",
		"EEE, d MMM yyyy HH:mm:ss Z": "Mon, 5 Feb 2024 15:04:09 +0000", "EEEE MMMM": "Monday February", "DDD u": "036 1",
		"kk KK hh HH": "15 03 03 15", "SSSSSS": "000007", "XXX z": "Z UTC", "'o''clock' yyyyy": "o'clock 02024", "''": "'", "G": "AD", "S": "7",
	} {
		f, err := Compile(pattern)
		require.NoError(t, err, pattern)
		require.Equal(t, want, string(f.Append(nil, at)), pattern)
	}
}

func TestTextIsParsedAsSimpleDateFormatDoes(t *testing.T) {
	for _, c := range []struct{ pattern, text, want string }{
		{"yyyy-MM-dd", "2024-02-30", "2024-03-01T00:00:00Z"},
		{"yyyyMMddHHmmssSSS", "20240205150409007", "2024-02-05T15:04:09.007Z"},
		{"yyyy-MM-dd HH:mm:ss", "2024-2-5 1:2:3 and more", "2024-02-05T01:02:03Z"},
		{"d MMM yy", "5 feb 24", "2024-02-05T00:00:00Z"}, {"d MMM yy", "5 February 60", "1960-02-05T00:00:00Z"},
		{"yyyy-MM-dd'T'HH:mm:ssXXX", "2024-02-05T01:00:00+01:30", "2024-02-04T23:30:00Z"},
		{"yyyy-MM-dd HH:mm z", "2024-02-05 01:00 GMT-2", "2024-02-05T03:00:00Z"},
		{"hh:mm a", "12:30 am", "1970-01-01T00:30:00Z"}, {"hh:mm a", "12:30 PM", "1970-01-01T12:30:00Z"}, {"yyyy DDD", "2024 036", "2024-02-05T00:00:00Z"},
	} {
		f, err := Compile(c.pattern)
		require.NoError(t, err)
		ms, err := f.Parse(c.text, now)
		require.NoError(t, err, c.text)
		require.Equal(t, c.want, time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.999Z07:00"), c.text)
	}
	f, err := Compile("yyyy-MM-dd")
	require.NoError(t, err)
	_, err = f.Parse("yesterday", now)
	require.EqualError(t, err, `Unparseable date: "yesterday"`)
}

func TestUnknownLettersAreRefused(t *testing.T) {
	for _, p := range []string{"YYYY", "ww", "W", "F", "b", "'open", "XXXX", "nn"} {
		_, err := Compile(p)
		require.Error(t, err, p)
		require.NotEmpty(t, Check(p))
	}
}

func FuzzParse(f *testing.F) {
	f.Add("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "2024-02-05T15:04:09.007+01:00")
	f.Add("EEE, d MMM yy h a z", "Mon, 5 Feb 24 3 PM UTC")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		c, err := Compile(pattern)
		if err != nil {
			return
		}
		if ms, err := c.Parse(text, now); err == nil {
			c.Append(nil, ms)
		}
	})
}
