package registry_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/rest/registry"
	"github.com/moldau-io/moldau/schemaregistry"
	"github.com/stretchr/testify/require"
)

// BenchmarkByID measures the request that deserializers make, without the network.
func BenchmarkByID(b *testing.B) {
	reg, err := schemaregistry.New(schemaregistry.Options{KafkaOpts: brokertest.Start(b).MemoryOptions()})
	require.NoError(b, err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go func() { _ = reg.Run(ctx) }()
	require.NoError(b, reg.WaitReady(ctx))
	_, err = reg.Register(ctx, "s", schemaregistry.Request{Schema: recB}, schemaregistry.RegisterOptions{})
	require.NoError(b, err)
	h := registry.Handler(reg, registry.Options{})
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/schemas/ids/1?fetchMaxId=false&subject=s", nil))
		if w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}

// BenchmarkRegisterKnown measures the request that serializers make for a schema that is registered.
func BenchmarkRegisterKnown(b *testing.B) {
	reg, err := schemaregistry.New(schemaregistry.Options{KafkaOpts: brokertest.Start(b).MemoryOptions()})
	require.NoError(b, err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go func() { _ = reg.Run(ctx) }()
	require.NoError(b, reg.WaitReady(ctx))
	b.ReportAllocs()
	for b.Loop() {
		_, err = reg.Register(ctx, "s", schemaregistry.Request{Schema: recB}, schemaregistry.RegisterOptions{})
		require.NoError(b, err)
	}
}
