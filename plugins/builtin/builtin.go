// Package builtin puts the converters, transforms and predicates that ship with moldau into a plugin registry. Connectors are
// added by the program, next to this.
package builtin

import (
	"net/http"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/converters"
	"github.com/moldau-io/moldau/plugins/predicates"
	"github.com/moldau-io/moldau/plugins/transforms"
)

// Options are what the plugins take from the process they run in.
type Options struct {
	// RegistryTransport carries the Avro converter's requests to a schema registry whose URL is plugins.ConverterEnv.RegistryURL:
	// that of a registry in this process. Nil, and for other registries, the network does.
	RegistryTransport http.RoundTripper
}

// Register adds the plugins to r.
func Register(r *plugins.Registry) { RegisterWith(r, Options{}) }

// RegisterWith is Register with options.
func RegisterWith(r *plugins.Registry, o Options) {
	converters.Register(r)
	r.AddConverter(converters.AvroSpec(o.openRegistry))
	transforms.Register(r)
	predicates.Register(r)
}
