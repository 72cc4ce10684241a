package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/moldau-io/moldau/internal/story"
)

// broker is one under test.
type broker struct {
	bootstrap string
	sasl      string // a listener SASL_PLAINTEXT with SCRAM for scramUser
	logs      string // a folder for the logs of tests
	logFile   string
	stop      func()
}

// scramUser and scramPassword may authenticate with SCRAM-SHA-256.
const scramUser, scramPassword = "compat", "compat-secret"

// brokerVersion is what a broker is called in results: for the hub it names the commit.
func brokerVersion(ctx context.Context, opt options, where string) (string, error) {
	if where != "moldau" {
		return "Apache Kafka " + servers.KafkaVersion, nil
	}
	version, err := exec.CommandContext(ctx, opt.bin, "version").Output()
	if err != nil || len(strings.Fields(string(version))) < 2 {
		return "", fmt.Errorf("%s version says %q: %w", opt.bin, version, err)
	}
	return strings.Join(strings.Fields(string(version))[:2], " "), nil
}

// startBroker starts the hub's broker or Apache Kafka with its data in dir. settings are Kafka's broker properties, KEY=VALUE.
func startBroker(ctx context.Context, opt options, dir, where string, settings []string) (*broker, error) {
	sasl := fmt.Sprintf("127.0.0.1:%d", servers.FreePort())
	listeners := []string{"SASL_PLAINTEXT://" + sasl}
	settings = append([]string{"sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512"}, settings...)
	var b *broker
	switch where {
	case "moldau":
		h := &story.Hub{Bin: opt.bin, Dir: dir, Roles: "broker,controller", Listeners: listeners}
		for _, s := range append([]string{"group.initial.rebalance.delay.ms=0"}, settings...) {
			h.Set = append(h.Set, "broker."+s)
		}
		if err := h.Start(ctx); err != nil {
			return nil, err
		}
		b = &broker{bootstrap: h.Endpoints.Kafka, logFile: h.LogFile(), stop: func() {
			if err := h.Stop(); err != nil {
				fmt.Println("  the hub did not stop well:", err)
			}
		}}
	case "kafka":
		for _, m := range []string{"scram-sha-256", "scram-sha-512"} {
			settings = append(settings, "listener.name.sasl_plaintext."+m+".sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;")
		}
		k, err := servers.StartKafkaOn(ctx, dir, listeners, settings...)
		if err != nil {
			return nil, err
		}
		b = &broker{bootstrap: k.Bootstrap, stop: func() {}}
		if k.Process != nil {
			b.logFile, b.stop = k.LogFile(), func() { _ = k.Stop() }
		}
	default:
		return nil, fmt.Errorf("-on: %q is none of moldau, kafka", where)
	}
	b.sasl = sasl
	if err := addScramUser(ctx, b.bootstrap); err != nil {
		b.stop()
		return nil, err
	}
	return b, nil
}

// addScramUser makes scramUser known.
func addScramUser(ctx context.Context, bootstrap string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		return err
	}
	defer cl.Close()
	done, err := kadm.NewClient(cl).AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{{User: scramUser, Mechanism: kadm.ScramSha256, Iterations: 4096, Password: scramPassword}})
	if err == nil {
		err = done.Error()
	}
	if err != nil {
		return fmt.Errorf("add the user %s: %w", scramUser, err)
	}
	return nil
}

// copyLog keeps the broker's own log beside those of the tests.
func copyLog(b *broker, to string) error {
	if b.logFile == "" {
		return nil
	}
	text, err := os.ReadFile(b.logFile)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Clean(to), text, 0o644)
}
