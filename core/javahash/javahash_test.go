package javahash

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The hashes are what Java printed.
func TestHashesAreThoseOfJava(t *testing.T) {
	for s, want := range map[string]int32{"": 0, "a": 97, "hello": 99162322, "polygenelubricants": -2147483648, "Größe": 69209585, "😀": 1772899} {
		require.Equal(t, want, String(s), s)
	}
	require.Equal(t, int32(0), Partition("polygenelubricants", 50), "the one whose absolute value is no int")
}
