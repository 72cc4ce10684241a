package cli

import (
	"os"
	"runtime"
	"runtime/debug"
)

// A benchmark's client shares its machine with the cluster, or at least its time with what it measures: what its runtime takes of the processor is
// taken from every cluster alike and makes them look alike. Each of these returns what puts things back.

// tuneProducer has garbage collected after the heap has grown eightfold, not when it has doubled, unless the environment says (GOGC, GOMEMLIMIT).
func tuneProducer() (restore func()) {
	if environmentCollects() {
		return func() {}
	}
	percent, limit := debug.SetGCPercent(800), debug.SetMemoryLimit(1<<30) // above it the collector works as much as it must
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}

// ballast is how many bytes are allocated and never touched while a consumer is measured.
const ballast = 64 << 20

// tuneConsumer gives consumers as many processors as they have streams, one for each broker that each of them fetches from: a stream fetches and decodes in turns, so
// that more processors have nothing to do but to wake one another (GOMAXPROCS says otherwise). And it has garbage collected after some answers, by a ballast
// beside them (not where GOGC or GOMEMLIMIT say otherwise). To let the heap grow by a factor instead has its goal follow the size of each answer, and what Go takes to be
// too much by then is given back to the system, to be taken again page by page.
func tuneConsumer(streams int) (restore func()) {
	procs := runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(min(procs, max(streams, 1)))
	}
	var kept []byte
	if !environmentCollects() {
		kept = make([]byte, ballast)
	}
	return func() {
		runtime.GOMAXPROCS(procs)
		runtime.KeepAlive(kept)
	}
}

func environmentCollects() bool { return os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" }
