package bench_test

import (
	"testing"
	"time"
)

// delays are what the neighbours' calls take in the figure of the critical
// path, beside the store's and the sandbox's own time.
var delays = map[string]time.Duration{
	stepRead: 8 * time.Millisecond, stepAsk: 8 * time.Millisecond, stepOutcome: 8 * time.Millisecond,
	stepSTS: 60 * time.Millisecond, stepSignIn: 120 * time.Millisecond, stepSlack: 80 * time.Millisecond,
}

// criticalPath compares the time from a waiting Job to the message in Slack
// with one that no program could beat: of what the calls really slept, the
// longest chain of those that must follow each other.
func criticalPath(t testing.TB, e effort) []figure {
	w := newWorld(t, delays, true)
	w.ask(t, person(0), "readonly 1h checking queue depth") // the first of a process makes more calls
	times := make([]pair[time.Duration], e.rounds)
	for i := range times {
		took := w.ask(t, person(i), "readonly 1h checking queue depth")
		_, slept := w.tap.seen()
		least := max(slept[stepRead], slept[stepAsk]) + slept[stepSTS] +
			max(slept[stepSignIn], slept[stepOutcome]) + slept[stepSlack]
		if took < least {
			t.Errorf("delivered after %v, before the calls it needs can have ended: %v", took, least)
		}
		times[i] = pair[time.Duration]{ours: took, yardstick: least}
	}
	return []figure{newFigure("job to message ÷ its longest chain of calls", times, time.Duration.Seconds, millis)}
}
