//go:build race

package policy_test

// raceDetector says that the race detector is on, and everything ten times as
// slow.
const raceDetector = true
