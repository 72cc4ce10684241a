package cli

import (
	"context"
	"runtime"
	"runtime/metrics"
	"time"
)

// giveBackEvery is how often the server looks whether memory of a load that is over can go back.
const giveBackEvery = 5 * time.Second

// giveBackAfter is how many bytes are allocated at least between two collections that the server asks for.
const giveBackAfter = 16 << 20

// heapMoment is what the collector says of itself at a moment.
type heapMoment struct {
	allocated uint64 // bytes since the process began
	cycles    uint64 // collections since then
}

// giveBack decides when a collection is asked for. A server whose hot paths allocate nothing collects so seldom that the buffers of a load would stay with
// it for minutes: they are in pools, which let go of what two collections found unused. So once allocation has paused, two collections come, and
// none again before something was allocated. Under a load that allocates the collector runs by itself and is left alone.
type giveBack struct {
	seen  heapMoment
	asked uint64 // bytes allocated when the last collection was asked for
	more  int    // collections that are still to come
}

// look says whether to collect now.
func (g *giveBack) look(m heapMoment) bool {
	quiet := m.allocated-g.seen.allocated < giveBackAfter/4
	byItself := m.cycles != g.seen.cycles && g.more == 0
	g.seen = m
	switch {
	case !quiet:
		g.more = 0
	case g.more == 0 && !byItself && m.allocated-g.asked >= giveBackAfter:
		g.more = 2
	}
	if g.more == 0 {
		return false
	}
	g.more--
	g.asked = m.allocated
	return true
}

// giveMemoryBack returns when ctx ends.
func giveMemoryBack(ctx context.Context) {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	tick := time.NewTicker(giveBackEvery)
	defer tick.Stop()
	var g giveBack
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(s)
		if g.look(heapMoment{allocated: s[0].Value.Uint64(), cycles: s[1].Value.Uint64()}) {
			runtime.GC()
		}
	}
}
