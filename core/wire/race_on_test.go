//go:build race

package wire

// raceEnabled says that the race detector is on.
const raceEnabled = true
