package moldau

import (
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/moldau-io/moldau/core/config"
	"github.com/moldau-io/moldau/core/config/file"
	"github.com/moldau-io/moldau/core/connect"
	"github.com/moldau-io/moldau/schemaregistry"
)

// Sources say where a configuration comes from. Flags win over the environment, the environment over the files, those over defaults.
type Sources struct {
	File string // YAML with the sections broker, registry, connect, admin; "" for none
	// Properties are SECTION=PATH pairs, files in Java's format with the keys of one section.
	Properties []string
	Environ    []string // NAME=VALUE; MOLDAU_BROKER_NUM_PARTITIONS=4 sets broker.num.partitions
	Set        []string // SECTION.KEY=VALUE
	DataDir    string
	Roles      []string
}

// registryKeys and adminKeys are the keys that this package adds to those of the roles.
var (
	registryKeys = []string{"listeners", "bootstrap.servers"}
	adminKeys    = []string{"listeners", "log.level", "log.format"}
)

func sections() []file.Section {
	conn := connect.Properties()
	var ck, rk []string
	for _, k := range conn.Keys() {
		ck = append(append(ck, k.Name), k.Aliases...)
	}
	for _, p := range schemaregistry.Properties() {
		if p.Name != "listeners" {
			rk = append(rk, p.Name)
		}
	}
	return []file.Section{
		{Name: "broker", Keys: config.BrokerKeys.Names(), Known: config.IsListenerKey},
		{Name: "registry", Keys: append(rk, registryKeys...), Known: func(k string) bool { _, ok := kafkastoreKey(k); return ok || connect.IsClientSecurity(k) }},
		{Name: "connect", Keys: ck, Known: conn.Known},
		{Name: "admin", Keys: adminKeys},
	}
}

// Load reads a configuration. The error names everything that is wrong with it.
func Load(s Sources) (Config, error) {
	set, err := file.Load(file.Options{Path: s.File, Properties: s.Properties, Environ: s.Environ, Set: s.Set, Sections: sections()})
	if err != nil {
		return Config{}, err
	}
	cfg := Config{DataDir: s.DataDir, Broker: set.Section("broker"), Registry: set.Section("registry"), Connect: set.Section("connect"), Admin: set.Section("admin")}
	for _, r := range s.Roles {
		if r = strings.TrimSpace(r); r != "" {
			cfg.Roles = append(cfg.Roles, Role(r))
		}
	}
	cfg.Logger, err = newLogger(cfg.Admin)
	return cfg, err
}

// newLogger makes the log that admin.log.level and admin.log.format ask for; it goes to standard error.
func newLogger(admin map[string]string) (*slog.Logger, error) {
	var level slog.Level
	if l := admin["log.level"]; l != "" {
		if err := level.UnmarshalText([]byte(l)); err != nil {
			return nil, fmt.Errorf("admin.log.level is %q: it must be debug, info, warn or error", l)
		}
	}
	o := &slog.HandlerOptions{Level: level}
	switch f := admin["log.format"]; f {
	case "", "text":
		return slog.New(slog.NewTextHandler(os.Stderr, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, o)), nil
	default:
		return nil, fmt.Errorf("admin.log.format is %q: it must be text or json", f)
	}
}
