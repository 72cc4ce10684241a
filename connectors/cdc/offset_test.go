package cdc

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNumbersOfStoredOffsetsComeInManyForms(t *testing.T) {
	for _, v := range []any{int64(5), 5, 5.0, json.Number("5"), "5"} {
		n, err := OffsetInt(v)
		require.NoError(t, err)
		require.EqualValues(t, 5, n)
	}
	for _, v := range []any{5.5, 1e300, "x", true, nil} {
		_, err := OffsetInt(v)
		require.Error(t, err, "%v", v)
	}
}
