//go:build race

package broker_test

// raceDetector says that the race detector is on, and everything ten times as
// slow. What is to be done often is then done a few times: scripts/test does the
// rest without it.
const raceDetector = true
