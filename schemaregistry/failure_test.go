package schemaregistry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAClientThatWentAwayIsNoFailureOfTheTopic(t *testing.T) {
	for err, want := range map[error]string{context.Canceled: "", context.DeadlineExceeded: "timed out", errTimeout: "timed out", errors.ErrUnsupported: "failed"} {
		var log bytes.Buffer
		r := &Registry{opts: Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}}
		require.Error(t, r.failure("Register", fmt.Errorf("write: %w", err)))
		if want == "" {
			require.Empty(t, log.String())
		} else {
			require.Contains(t, log.String(), want)
		}
	}
}
