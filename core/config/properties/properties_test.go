package properties

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPropertiesFilesReadAsJavaReadsThem(t *testing.T) {
	p, err := Parse("# comment\n! another\n\n  a = 1\nb:2\nc 3\nd=x\\\n   y\ne\nf\\ g=a\\tb\\\\c\nh=\\u00e4\ni = a=b:c  \r\nj=")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "1", "b": "2", "c": "3", "d": "xy", "e": "", "f g": "a\tb\\c", "h": "ä", "i": "a=b:c", "j": ""}, p)
	p, err = Parse(`a=\ud83d\ude00\u0041x`)
	require.NoError(t, err)
	require.Equal(t, "😀Ax", p["a"])
	for _, bad := range []string{`a=\u12`, `a=\u+123`, `a=\u 123`, `a=\u`} {
		_, err = Parse(bad)
		require.ErrorContains(t, err, `line 1: \u needs four hexadecimal digits`, bad)
	}
	_, err = ReadFile(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// FuzzEntries holds entries to lines of the text, in their order.
func FuzzEntries(f *testing.F) {
	f.Add("a=b\\\n c\n# x\nd:\\u0041")
	f.Add("\\")
	f.Add(`\ud83d\ude00=\ud83d`)
	f.Fuzz(func(t *testing.T, s string) {
		entries, err := Entries(s)
		if err != nil {
			return
		}
		lines := 1 + strings.Count(s, "\n") + strings.Count(s, "\r")
		last := 0
		for _, e := range entries {
			require.Greater(t, e.Line, last)
			require.LessOrEqual(t, e.Line, lines)
			last = e.Line
		}
		p, err := Parse(s)
		require.NoError(t, err)
		require.LessOrEqual(t, len(p), len(entries))
	})
}
