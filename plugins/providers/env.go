package providers

import (
	"context"
	"fmt"
	"os"

	"github.com/moldau-io/moldau/plugins/javaregex"
)

// Env provides environment variables. References have no path: ${env:NAME} or ${env::NAME}.
type Env struct{ allowed *javaregex.Regexp }

// NewEnv returns a provider of the variables whose name matches the Java regular expression pattern as a whole; "" allows all.
func NewEnv(pattern string) (*Env, error) {
	if pattern == "" {
		return &Env{}, nil
	}
	re, err := javaregex.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("allowlist.pattern: %w", err)
	}
	return &Env{re}, nil
}

// Get implements Provider.
func (e *Env) Get(_ context.Context, path string, keys []string) (map[string]string, error) {
	if path != "" {
		return nil, fmt.Errorf("Path is not supported for EnvVarConfigProvider, invalid value '%s'", path) //nolint:staticcheck // Kafka's text
	}
	out := map[string]string{}
	for _, k := range keys {
		if e.allowed != nil {
			ok, err := e.allowed.Matches(k)
			if err != nil {
				return nil, fmt.Errorf("allowlist.pattern: %w", err)
			}
			if !ok {
				continue
			}
		}
		if v, ok := os.LookupEnv(k); ok {
			out[k] = v
		}
	}
	return out, nil
}
