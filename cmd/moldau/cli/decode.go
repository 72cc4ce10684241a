package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/linkedin/goavro/v2"

	"github.com/moldau-io/moldau/schemaregistry/client"
)

// decoder shows bytes as people read them. Schemas are asked of the registry once.
type decoder struct {
	url     string
	timeout time.Duration
	reg     *client.Client
	codecs  map[uint32]*goavro.Codec
}

func (a *app) registryURL(flag string) string {
	for _, s := range []string{flag, a.env(envSchemas)} {
		if s != "" {
			return s
		}
	}
	return "http://127.0.0.1:8081"
}

// avro returns the JSON of a value that the registry's Avro serializer wrote.
func (d *decoder) avro(b []byte) ([]byte, error) {
	id, rest, err := wireHeader(b)
	if err != nil {
		return nil, err
	}
	c := d.codecs[id]
	if c == nil {
		if d.reg == nil {
			if d.reg, err = client.New([]string{d.url}, client.Options{Credentials: client.URL, Timeout: d.timeout, Retries: -1}); err != nil {
				return nil, usage(fmt.Errorf("--registry-url: %w", err), "")
			}
			d.codecs = map[uint32]*goavro.Codec{}
		}
		ctx, cancel := context.WithTimeout(context.Background(), d.timeout)
		defer cancel()
		s, err := d.reg.SchemaByID(ctx, int(id))
		if err != nil {
			return nil, fmt.Errorf("schema %d at %s: %w", id, d.url, err)
		}
		if s.Type != "" && s.Type != "AVRO" {
			return nil, fmt.Errorf("schema %d is of the type %s, not AVRO", id, s.Type)
		}
		if len(s.References) > 0 {
			return nil, fmt.Errorf("schema %d refers to other schemas, which this command does not resolve", id)
		}
		if c, err = goavro.NewCodecForStandardJSONFull(s.Schema); err != nil {
			return nil, fmt.Errorf("schema %d: %w", id, err)
		}
		d.codecs[id] = c
	}
	v, _, err := c.NativeFromBinary(rest)
	if err != nil {
		return nil, fmt.Errorf("it is not what schema %d says: %w", id, err)
	}
	return c.TextualFromNative(nil, v)
}
