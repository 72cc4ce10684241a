package providers

import (
	"context"
	"fmt"
	"regexp"
	"sort"
	"strings"
)

// Provider looks values up.
type Provider interface {
	// Get returns the values of keys at path; those that do not exist are left out. Errors name no value.
	Get(ctx context.Context, path string, keys []string) (map[string]string, error)
}

// Resolver replaces references in configurations. It is safe for concurrent use.
type Resolver struct{ providers map[string]Provider }

// NewResolver returns a resolver with the given providers by name.
func NewResolver(providers map[string]Provider) *Resolver { return &Resolver{providers} }

// reference is Kafka's pattern: ${provider:[path:]key}.
var reference = regexp.MustCompile(`\$\{([^}]*?):(([^}]*?):)?([^}]*?)\}`)

// References reports whether text holds a reference to any provider.
func References(text string) bool { return reference.MatchString(text) }

type place struct{ provider, path string }

// Resolve returns a copy of configs with the references in its values replaced. Values that came from a reference are not searched
// again.
func (r *Resolver) Resolve(ctx context.Context, configs map[string]string) (map[string]string, error) {
	wanted := map[place]map[string]string{} // key -> the config that asks for it
	names := make([]string, 0, len(configs))
	for name := range configs {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, m := range reference.FindAllStringSubmatch(configs[name], -1) {
			if r.providers[m[1]] == nil {
				continue
			}
			at := place{m[1], m[3]}
			if wanted[at] == nil {
				wanted[at] = map[string]string{}
			}
			if wanted[at][m[4]] == "" {
				wanted[at][m[4]] = name
			}
		}
	}
	found := map[place]map[string]string{}
	for at, keys := range wanted {
		list := make([]string, 0, len(keys))
		for k := range keys {
			list = append(list, k)
		}
		sort.Strings(list)
		values, err := r.providers[at.provider].Get(ctx, at.path, list)
		if err != nil {
			return nil, fmt.Errorf("configuration %s: %w", keys[list[0]], err)
		}
		for _, k := range list {
			if _, ok := values[k]; !ok {
				return nil, fmt.Errorf("configuration %s: %s has no value", keys[k], render(at, k))
			}
		}
		found[at] = values
	}
	out := make(map[string]string, len(configs))
	for name, text := range configs {
		if !strings.Contains(text, "${") {
			out[name] = text
			continue
		}
		out[name] = reference.ReplaceAllStringFunc(text, func(ref string) string {
			m := reference.FindStringSubmatch(ref)
			if v, ok := found[place{m[1], m[3]}][m[4]]; ok {
				return v
			}
			return ref
		})
	}
	return out, nil
}

func render(at place, key string) string {
	if at.path == "" {
		return "${" + at.provider + ":" + key + "}"
	}
	return "${" + at.provider + ":" + at.path + ":" + key + "}"
}

// The class names of Kafka's providers.
const (
	classEnv  = "org.apache.kafka.common.config.provider.EnvVarConfigProvider"
	classFile = "org.apache.kafka.common.config.provider.FileConfigProvider"
	classDir  = "org.apache.kafka.common.config.provider.DirectoryConfigProvider"
)

// FromProperties returns the resolver that worker properties describe: config.providers (a list of names), and for each name
// config.providers.NAME.class and .param.*. The providers env, file and dir are there without being named, and can be configured
// or replaced by naming them.
func FromProperties(props map[string]string) (*Resolver, error) {
	r := &Resolver{map[string]Provider{}}
	classes := map[string]string{"env": classEnv, "file": classFile, "dir": classDir}
	for _, name := range strings.Split(props["config.providers"], ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		class := strings.TrimSpace(props["config.providers."+name+".class"])
		if class == "" {
			if classes[name] == "" {
				return nil, fmt.Errorf("config.providers.%s.class is missing: config provider %q has no class", name, name)
			}
			continue
		}
		classes[name] = class
	}
	for name, class := range classes {
		params := map[string]string{}
		prefix := "config.providers." + name + ".param."
		for k, v := range props {
			if p, ok := strings.CutPrefix(k, prefix); ok {
				params[p] = v
			}
		}
		p, err := newProvider(class, params)
		if err != nil {
			return nil, fmt.Errorf("config provider %q: %w", name, err)
		}
		r.providers[name] = p
	}
	return r, nil
}

func newProvider(class string, params map[string]string) (Provider, error) {
	known := func(names ...string) error {
		for k := range params {
			ok := false
			for _, n := range names {
				ok = ok || n == k
			}
			if !ok {
				return fmt.Errorf("unknown parameter %q; the parameters are %s", k, strings.Join(names, ", "))
			}
		}
		return nil
	}
	short := class[strings.LastIndexByte(class, '.')+1:]
	switch short {
	case "EnvVarConfigProvider":
		if err := known("allowlist.pattern"); err != nil {
			return nil, err
		}
		return NewEnv(params["allowlist.pattern"])
	case "FileConfigProvider", "DirectoryConfigProvider":
		if err := known("allowed.paths"); err != nil {
			return nil, err
		}
		if short == "FileConfigProvider" {
			return NewFile(params["allowed.paths"])
		}
		return NewDir(params["allowed.paths"])
	default:
		return nil, fmt.Errorf("class %s is not supported; the classes are %s, %s, %s", class, classEnv, classFile, classDir)
	}
}
