//go:build race

package broker_test

// raceEnabled says that the race detector is on.
const raceEnabled = true
