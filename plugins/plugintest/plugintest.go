// Package plugintest is what tests of plugins share that hold them against transcripts of the originals: a converter by its name, and JSON that
// is compared by what it says.
package plugintest

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins"
)

// Converter returns a configured converter for values among those that register adds.
func Converter(t testing.TB, register func(*plugins.Registry), name string, config map[string]string) plugins.Converter {
	t.Helper()
	r := plugins.NewRegistry()
	register(r)
	spec, ok := r.Converter(name)
	require.True(t, ok, name)
	cfg, err := spec.Config.Parse(config)
	require.NoError(t, err)
	c := spec.New()
	require.NoError(t, c.Configure(context.Background(), plugins.ConverterEnv{}, cfg, false))
	return c
}

// JSONForm returns the converter, among those that register adds, in whose form transcripts hold data: Connect's JSON with schemas, missing
// values as they are.
func JSONForm(t testing.TB, register func(*plugins.Registry)) plugins.Converter {
	t.Helper()
	return Converter(t, register, "JsonConverter", map[string]string{"replace.null.with.default": "false"})
}

// Numbers parses JSON so that its numbers are equal however they are written; those that a float64 does not hold are text. No text is null.
func Numbers(t testing.TB, text []byte) any {
	t.Helper()
	if len(text) == 0 || string(text) == "null" {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	require.NoError(t, dec.Decode(&v), string(text))
	return numbers(t, v)
}

func numbers(t testing.TB, v any) any {
	t.Helper()
	switch x := v.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(string(x), 10, 64); err == nil && (n > 1<<53 || n < -1<<53) {
			return string(x)
		}
		f, err := x.Float64()
		require.NoError(t, err)
		return f
	case map[string]any:
		for k := range x {
			x[k] = numbers(t, x[k])
		}
	case []any:
		for i := range x {
			x[i] = numbers(t, x[i])
		}
	}
	return v
}
