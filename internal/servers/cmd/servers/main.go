// Command servers fetches the real servers of the tests and the demo, starts each once and prints what it is.
//
//	servers [NAME...]
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/moldau-io/moldau/internal/servers"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	servers.Progress = os.Stderr
	rows, err := servers.Check(ctx, os.Args[1:]...)
	fmt.Println("real servers of this run:")
	for _, r := range rows {
		fmt.Printf("  %-14s %-44s %s\n", r.Name, r.Version, r.Source)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		cancel()
		os.Exit(1) //nolint:gocritic // the deferred cancel has been called
	}
}
