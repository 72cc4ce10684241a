package broker_test

import (
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

// heard is a writer of a log that keeps what was written.
type heard struct {
	mu   sync.Mutex
	text strings.Builder
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(p)
}

// take returns what was written since it was called last.
func (h *heard) take() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.text.String()
	h.text.Reset()
	return s
}

// TestTheLevelOfTheLogIsChangedAtRunTime looks at a line of level DEBUG that each connection leaves which the broker ends; the answers of the requests are in
// testdata/answers/loggers.txt.
func TestTheLevelOfTheLogIsChangedAtRunTime(t *testing.T) {
	var log heard
	c := brokertest.Start(t, brokertest.LogTo(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))
	set := func(level string) {
		t.Helper()
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBrokerLogger, "1"
		r.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "root", Value: &level}}
		req.Resources = append(req.Resources, r)
		resp, err := req.RequestWith(t.Context(), c.Client(t))
		require.NoError(t, err)
		require.Zero(t, resp.Resources[0].ErrorCode)
	}
	// fail has a connection end with an error, and waits until it has.
	fail := func() {
		t.Helper()
		nc, err := net.Dial("tcp", c.Addr())
		require.NoError(t, err)
		defer nc.Close()
		_, err = nc.Write([]byte{0x7f, 0xff, 0xff, 0xff})
		require.NoError(t, err)
		_, err = nc.Read(make([]byte, 1))
		require.Error(t, err)
	}
	fail()
	c.Restart(t) // all is said by then
	require.NotContains(t, log.take(), "DEBUG")
	set("DEBUG")
	fail()
	require.Eventually(t, func() bool { return strings.Contains(log.take(), `level=DEBUG msg="connection closed" role=broker`) }, 10*time.Second, 10*time.Millisecond)
	c.Restart(t)
	log.take() // of before
	fail()
	c.Restart(t)
	require.NotContains(t, log.take(), "DEBUG", "a level is not kept")
}
