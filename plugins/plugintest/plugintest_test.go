package plugintest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNumbersAreEqualHoweverTheyAreWritten(t *testing.T) {
	require.Equal(t, Numbers(t, []byte(`{"a":[1.0,1e2,-0.5]}`)), Numbers(t, []byte(`{"a": [1, 100.00, -5E-1]}`)))
	require.NotEqual(t, Numbers(t, []byte("9007199254740993")), Numbers(t, []byte("9007199254740992")), "beyond a float64")
	require.NotEqual(t, Numbers(t, []byte(`"1"`)), Numbers(t, []byte("1")))
	require.Nil(t, Numbers(t, nil))
	require.Nil(t, Numbers(t, []byte("null")))
}
