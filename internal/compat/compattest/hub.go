// Package compattest runs a hub in the process of a test, for the tools and dashboards of others.
package compattest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau"
)

// StartHub runs a hub until the test ends and returns where it listens.
func StartHub(t testing.TB, src moldau.Sources) moldau.Endpoints {
	t.Helper()
	cfg, err := moldau.Load(src)
	require.NoError(t, err)
	node, err := moldau.New(cfg)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	select {
	case <-node.Ready():
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(time.Minute):
		t.Fatal("the hub does not come up")
	}
	return node.Endpoints()
}
