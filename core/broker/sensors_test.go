package broker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClientsThatAreNewAllTheTimeTakeNoMoreMemoryThanMany(t *testing.T) {
	s := sensors[int]{all: map[int]*sensor{}}
	fresh := func() *sensor { return &sensor{} }
	now := time.Unix(1000, 0)
	regular := s.get(-1, now, fresh)
	for i := range 5 * maxSensors { // in less than a second, each with a name of its own
		now = now.Add(time.Microsecond)
		s.get(i, now, fresh)
		if i%1000 == 0 {
			require.Same(t, regular, s.get(-1, now, fresh), "one that is used is kept")
		}
		require.LessOrEqual(t, len(s.all), maxSensors)
	}
	require.Greater(t, len(s.all), maxSensors/4)
	now = now.Add(sensorIdle)
	s.get(0, now, fresh)
	require.Len(t, s.all, 1, "those that were not used for long are forgotten")
}
