package bench_test

import (
	"testing"
	"time"
)

// delays are what the neighbours' calls take in the figure of the critical
// path, beside the store's and the sandbox's own time.
var delays = map[string]time.Duration{
	stepEnqueue: 8 * time.Millisecond, stepRead: 8 * time.Millisecond, stepAsk: 8 * time.Millisecond, stepOutcome: 8 * time.Millisecond,
	stepSTS: 60 * time.Millisecond, stepSignIn: 120 * time.Millisecond, stepSlack: 80 * time.Millisecond,
}

// criticalPath compares the time from a command that is sent, and from the Job
// that waits, to the message in Slack with one that no program could beat: of
// what the calls really slept, the longest chain of those that must follow each
// other. Only the command's has the write that queues it.
func criticalPath(t testing.TB, e effort) []figure {
	w := newWorld(t, delays, true)
	w.ask(t, person(0), "readonly 1h checking queue depth") // the first of a process makes more calls
	commands, jobs := make([]pair[time.Duration], e.rounds), make([]pair[time.Duration], e.rounds)
	for i := range e.rounds {
		took := w.ask(t, person(i), "readonly 1h checking queue depth")
		_, slept := w.tap.seen()
		least := max(slept[stepRead], slept[stepAsk]) + slept[stepSTS] +
			max(slept[stepSignIn], slept[stepOutcome]) + slept[stepSlack]
		jobs[i] = pair[time.Duration]{ours: took.job, yardstick: least}
		commands[i] = pair[time.Duration]{ours: took.command, yardstick: slept[stepEnqueue] + least}
		if took.job < least || took.command < slept[stepEnqueue]+least {
			t.Errorf("delivered after %v, before the calls it needs can have ended: %v, and %v to queue it", took, least, slept[stepEnqueue])
		}
	}
	return []figure{
		newFigure("command to message ÷ its longest chain of calls", commands, time.Duration.Seconds, millis),
		newFigure("job to message ÷ its longest chain of calls", jobs, time.Duration.Seconds, millis),
	}
}
