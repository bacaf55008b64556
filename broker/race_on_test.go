//go:build race

package broker_test

// raceDetector says that the race detector is on, and everything ten times as
// slow.
const raceDetector = true
