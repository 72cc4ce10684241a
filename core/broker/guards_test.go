package broker

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/wire"
)

// TestEveryAPIHasAnAuthorizationRule: an API that is served and has no guard would be refused while an authorizer is set.
func TestEveryAPIHasAnAuthorizationRule(t *testing.T) {
	g := guards()
	for _, a := range wire.APIs() {
		if a.Key == int16(kmsg.Produce) || a.Key == int16(kmsg.Fetch) {
			continue
		}
		require.NotNil(t, g[a.Key], "%s has no authorization rule: put one into guards.go", a.Name)
	}
}
