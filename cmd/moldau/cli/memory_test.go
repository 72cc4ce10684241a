package cli

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMemoryOfALoadThatIsOverIsCollectedTwiceAndThenLeftAlone(t *testing.T) {
	const load = giveBackAfter
	for _, c := range []struct {
		name    string
		moments []heapMoment
		want    []bool
	}{
		{"idle from the start", []heapMoment{{1000, 0}, {2000, 0}, {3000, 0}}, []bool{false, false, false}},
		{"a load and then nothing", []heapMoment{{load, 0}, {load + 1, 0}, {load + 2, 1}, {load + 3, 2}, {load + 4, 2}}, []bool{false, true, true, false, false}},
		{"a load that goes on", []heapMoment{{load, 0}, {2 * load, 0}, {3 * load, 1}, {4 * load, 2}}, []bool{false, false, false, false}},
		{"a load comes again between the two", []heapMoment{{load, 0}, {load + 1, 0}, {3 * load, 1}, {3*load + 1, 1}, {3*load + 2, 2}, {3*load + 3, 3}},
			[]bool{false, true, false, true, true, false}},
		{"the collector has run by itself", []heapMoment{{load, 0}, {load + 1, 1}, {load + 2, 1}, {load + 3, 2}, {load + 4, 3}}, []bool{false, false, true, true, false}},
		{"little by little", []heapMoment{{load / 4, 0}, {load/2 - 1, 0}, {3*load/4 - 2, 0}, {load - 3, 0}, {load + 1, 0}}, []bool{false, false, false, false, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var g giveBack
			for i, m := range c.moments {
				require.Equal(t, c.want[i], g.look(m), "at %d", i)
			}
		})
	}
}
