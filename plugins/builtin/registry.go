package builtin

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/moldau-io/moldau/plugins/converters"
	"github.com/moldau-io/moldau/schemaregistry/client"
)

// openRegistry makes the client of a registry for the Avro converter.
func (o Options) openRegistry(c converters.RegistryConfig) (converters.SchemaRegistry, error) {
	urls := append([]string(nil), c.URLs...)
	if c.Randomize {
		rand.Shuffle(len(urls), func(i, j int) { urls[i], urls[j] = urls[j], urls[i] })
	}
	var transport http.RoundTripper
	if c.Local && o.RegistryTransport != nil {
		transport = o.RegistryTransport
	} else if t, ok := http.DefaultTransport.(*http.Transport); ok {
		t = t.Clone()
		if c.ConnectTimeout > 0 {
			t.DialContext = (&net.Dialer{Timeout: c.ConnectTimeout, KeepAlive: 30 * time.Second}).DialContext
		}
		transport = t
	}
	if len(c.Headers) > 0 {
		transport = withHeaders{c.Headers, transport}
	}
	opts := client.Options{BearerToken: c.BearerToken, Transport: transport, Timeout: c.ConnectTimeout + c.ReadTimeout, Retries: -1}
	if c.Username != "" {
		opts.Credentials, opts.UserInfo = client.UserInfo, c.Username+":"+c.Password
	}
	plain, err := client.New(urls, opts)
	if err != nil {
		return nil, err
	}
	opts.Normalize = true
	normalizing, err := client.New(urls, opts)
	if err != nil {
		return nil, err
	}
	return &registry{config: c, plain: plain, normalizing: normalizing}, nil
}

// withHeaders adds headers to requests.
type withHeaders struct {
	headers map[string]string
	next    http.RoundTripper
}

func (w withHeaders) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	for k, v := range w.headers {
		req.Header.Set(k, v)
	}
	return w.next.RoundTrip(req)
}

// registry fits the registry's client to what the converter asks for.
type registry struct {
	config             converters.RegistryConfig
	plain, normalizing *client.Client
}

func (r *registry) client(normalize bool) *client.Client {
	if normalize {
		return r.normalizing
	}
	return r.plain
}

// try repeats what failed for a reason that may pass, as the configuration says.
func (r *registry) try(ctx context.Context, f func() error) error {
	wait := r.config.RetryWait
	for attempt := 0; ; attempt++ {
		err := f()
		if err == nil {
			return nil
		}
		var e *client.Error
		if errors.As(err, &e) {
			err = &converters.RegistryError{Status: e.Status, Code: e.Code, Message: e.Message}
			if e.Status < 500 && e.Status != http.StatusTooManyRequests && e.Status != http.StatusRequestTimeout {
				return err
			}
		}
		if attempt >= r.config.MaxRetries || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(wait):
		}
		wait = min(2*wait, max(r.config.RetryMaxWait, r.config.RetryWait))
	}
}

func (r *registry) Register(ctx context.Context, subject, schema string, normalize bool) (id int32, err error) {
	err = r.try(ctx, func() error {
		n, err := r.client(normalize).RegisterSchema(ctx, subject, schema)
		id = int32(n) //nolint:gosec // ids have 32 bits
		return err
	})
	return id, err
}

func (r *registry) Lookup(ctx context.Context, subject, schema string, normalize, _ bool) (converters.RegisteredSchema, error) {
	return r.get(ctx, func() (*client.Schema, error) { return r.client(normalize).LookupSchema(ctx, subject, schema) })
}

func (r *registry) Latest(ctx context.Context, subject string) (converters.RegisteredSchema, error) {
	return r.get(ctx, func() (*client.Schema, error) { return r.plain.LatestVersion(ctx, subject) })
}

func (r *registry) Version(ctx context.Context, subject string, version int32) (converters.RegisteredSchema, error) {
	return r.get(ctx, func() (*client.Schema, error) { return r.plain.Version(ctx, subject, int(version)) })
}

func (r *registry) ByID(ctx context.Context, id int32, _ string) (converters.RegisteredSchema, error) {
	return r.get(ctx, func() (*client.Schema, error) { return r.plain.SchemaByID(ctx, int(id)) })
}

func (r *registry) get(ctx context.Context, f func() (*client.Schema, error)) (out converters.RegisteredSchema, err error) {
	err = r.try(ctx, func() error {
		s, err := f()
		if err != nil {
			return err
		}
		out = converters.RegisteredSchema{ID: int32(s.ID), Version: int32(s.Version), Type: s.Type, Text: s.Schema} //nolint:gosec // both have 32 bits
		for _, ref := range s.References {
			out.References = append(out.References, converters.SchemaReference{Name: ref.Name, Subject: ref.Subject, Version: int32(ref.Version)}) //nolint:gosec // 32 bits
		}
		return nil
	})
	return out, err
}
