package bench_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// plan is the calls of one command on the warm path, in the order of the one
// path. Between the two of a pair there is no order.
var plan = []string{stepEnqueue, stepRead, stepAsk, stepSTS, stepSignIn, stepOutcome, stepSlack}

// TestCalls counts the calls that one command costs until its credentials are
// delivered. The store offers more than a Ledger, but here the Broker has no
// more of it: a call of anything else would panic.
func TestCalls(t *testing.T) {
	w := newWorld(t, nil, false)
	for _, c := range []struct {
		name string
		user string
		want []string
	}{
		// The base credentials are read, AWS is asked whose they are, and the
		// role is assumed.
		{"the first of a process", person(0), slices.Insert(slices.Clone(plan), 3, stepSSM, stepSTS)},
		{"the next", person(0), plan},
		{"the first of another person", person(1), plan},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.ask(t, c.user, "readonly 1h checking queue depth")
			got, _ := w.tap.seen()
			if diff := cmp.Diff(inOrder(c.want), inOrder(got)); diff != "" {
				t.Errorf("other calls than planned (-want +got):\n%s", diff)
			}
		})
	}
}

// inOrder returns calls with those that run side by side in the plan's order.
func inOrder(calls []string) []string {
	calls = slices.Clone(calls)
	for i := 1; i < len(calls); i++ {
		switch [2]string{calls[i-1], calls[i]} {
		case [2]string{stepAsk, stepRead}, [2]string{stepOutcome, stepSignIn}:
			calls[i-1], calls[i] = calls[i], calls[i-1]
		}
	}
	return calls
}

// TestSideBySide checks that two pairs of calls run at the same time: none of
// them ends before its partner has begun, since none is answered earlier.
func TestSideBySide(t *testing.T) {
	const patience = 5 * time.Second // less than the Broker's own with the sign-in endpoint
	partner := map[string]string{
		stepRead: stepAsk, stepAsk: stepRead, stepSignIn: stepOutcome, stepOutcome: stepSignIn,
	}
	w := newWorld(t, nil, false)
	w.ask(t, person(0), "readonly 1h checking queue depth") // from here on every step is one call
	begun := map[string]chan struct{}{}
	for step := range partner {
		begun[step] = make(chan struct{})
	}
	w.tap.setHold(func(step string) {
		other, ok := partner[step]
		if !ok {
			return
		}
		close(begun[step])
		select {
		case <-begun[other]:
		case <-time.After(patience):
			t.Errorf("%s does not begin until %s has ended", other, step)
		}
	})
	w.ask(t, person(0), "readonly 1h checking queue depth")
}

// counting compares the number of calls from a waiting Job to the message in
// Slack with the plan's, which queueing is not part of.
func counting(t testing.TB, e effort) []figure {
	w := newWorld(t, nil, false)
	w.ask(t, person(0), "readonly 1h checking queue depth") // the first of a process makes more
	calls := make([]pair[int], e.rounds)
	for i := range calls {
		w.ask(t, person(i), "readonly 1h checking queue depth")
		made, _ := w.tap.seen()
		calls[i] = pair[int]{ours: len(made) - 1, yardstick: len(plan) - 1}
	}
	return []figure{newFigure("calls from job to message ÷ those planned", calls,
		func(n int) float64 { return float64(n) }, thousands)}
}
