package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/moldau-io/moldau/internal/story"
)

// broker is one under test.
type broker struct {
	version, bootstrap string
	logs               string // a folder for the logs of tests
	logFile            string
	stop               func()
}

// startBroker starts the hub's broker or Apache Kafka with its data in dir. settings are Kafka's broker properties, KEY=VALUE.
func startBroker(ctx context.Context, opt options, dir, where string, settings []string) (*broker, error) {
	switch where {
	case "moldau":
		h := &story.Hub{Bin: opt.bin, Dir: dir, Roles: "broker,controller"}
		for _, s := range append([]string{"group.initial.rebalance.delay.ms=0"}, settings...) {
			h.Set = append(h.Set, "broker."+s)
		}
		version, err := exec.CommandContext(ctx, opt.bin, "version").Output()
		if err != nil || len(strings.Fields(string(version))) < 2 {
			return nil, fmt.Errorf("%s version says %q: %w", opt.bin, version, err)
		}
		if err := h.Start(ctx); err != nil {
			return nil, err
		}
		return &broker{version: strings.Join(strings.Fields(string(version))[:2], " "), bootstrap: h.Endpoints.Kafka, logFile: h.LogFile(), stop: func() {
			if err := h.Stop(); err != nil {
				fmt.Println("  the hub did not stop well:", err)
			}
		}}, nil
	case "kafka":
		k, err := servers.StartKafka(ctx, dir, settings...)
		if err != nil {
			return nil, err
		}
		b := &broker{version: "Apache Kafka " + k.Version, bootstrap: k.Bootstrap, stop: func() {}}
		if k.Process != nil {
			b.logFile, b.stop = k.LogFile(), func() { _ = k.Stop() }
		}
		return b, nil
	}
	return nil, fmt.Errorf("-on: %q is none of moldau, kafka", where)
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
