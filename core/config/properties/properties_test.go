package properties

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPropertiesFilesReadAsJavaReadsThem(t *testing.T) {
	p, err := Parse("# comment\n! another\n\n  a = 1\nb:2\nc 3\nd=x\\\n   y\ne\nf\\ g=a\\tb\\\\c\nh=\\u00e4\ni = a=b:c  \r\nj=")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "1", "b": "2", "c": "3", "d": "xy", "e": "", "f g": "a\tb\\c", "h": "ä", "i": "a=b:c", "j": ""}, p)
	_, err = Parse("a=\\u12")
	require.ErrorContains(t, err, "line 1")
	_, err = ReadFile(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
