package broker_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// TestUsual says how long an answer usually takes, by how long some took, in
// minutes.
func TestUsual(t *testing.T) {
	for _, c := range []struct {
		name string
		took []int
		want time.Duration
	}{
		{"none", nil, 0},
		{"too few to tell", []int{1, 2}, 0},
		{"the middle one of three", []int{60, 1, 6}, 6 * time.Minute},
		{"between the middle two of four", []int{1, 4, 8, 600}, 6 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p broker.Pace
			for i, minutes := range c.took {
				p.Count(broker.PaceAnswer{RequestID: fmt.Sprint("REQ", i), At: began.Add(time.Duration(i)), Took: time.Duration(minutes) * time.Minute})
			}
			if got := p.Usual(); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// TestPaceCountsOnce holds that in whatever order answers are counted, and
// however often, a Pace keeps the newest 20, each once; and that what makes no
// difference is said to make none.
func TestPaceCountsOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(t, "answers")
		all := make([]broker.PaceAnswer, n)
		for i := range all {
			// Two at a time come at one moment.
			all[i] = broker.PaceAnswer{RequestID: fmt.Sprintf("REQ%02d", i), At: began.Add(time.Duration(i/2) * time.Minute), Took: time.Duration(i)}
		}
		counted := slices.Concat(all, rapid.SliceOfN(rapid.SampledFrom(append(all, broker.PaceAnswer{RequestID: "REQ"})), 0, 20).Draw(t, "again"))
		counted = rapid.Permutation(counted).Draw(t, "order")
		var p broker.Pace
		for _, a := range counted {
			if a.At.IsZero() {
				continue // there was nothing to draw from
			}
			before := slices.Clone(p.Answers)
			if news := p.Count(a); news == cmp.Equal(before, p.Answers) {
				t.Fatalf("counting %s is news: %t, and %v became %v", a.RequestID, news, before, p.Answers)
			}
		}
		want := all[max(0, n-20):]
		if n == 0 {
			want = nil
		}
		if diff := cmp.Diff(want, p.Answers); diff != "" {
			t.Fatalf("kept (-want +got):\n%s", diff)
		}
	})
}

// took lists what a Role's Pace has counted: the Requests, and how long each
// waited.
func (w *world) took(t *testing.T, role policy.RoleName) string {
	t.Helper()
	p, err := w.Pace(t.Context(), role)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, a := range p.Answers {
		all = append(all, a.RequestID+" "+a.Took.String())
	}
	return strings.Join(all, ", ")
}

// TestPace counts what people have approved or denied, once they all have, and
// nothing else.
func TestPace(t *testing.T) {
	t.Run("approved", func(t *testing.T) {
		w, r := pending(t, "guarded")
		w.advance(6 * time.Minute)
		r = w.approve(t, lea, r)
		w.due(t)
		want := r.ID + " 6m0s"
		if got := w.took(t, "guarded"); got != want {
			t.Errorf("counted %q, want %q", got, want)
		}
		w.advance(10 * time.Minute)
		if _, err := w.Reveal(t.Context(), w.reveal(r, "1")); err != nil {
			t.Fatal(err)
		}
		w.advance(24 * time.Hour)
		w.due(t)
		if got := w.took(t, "guarded"); got != want || w.took(t, "doubly") != "" {
			t.Errorf("counted %q in the end, want %q", got, want)
		}
	})
	t.Run("approved by two", func(t *testing.T) {
		w, r := pending(t, "doubly")
		w.advance(time.Minute)
		w.approve(t, lea, r)
		w.due(t)
		if got := w.took(t, "doubly"); got != "" {
			t.Errorf("counted %q after the first answer", got)
		}
		w.advance(time.Minute)
		w.approve(t, mia, r)
		w.due(t)
		if got := w.took(t, "doubly"); got != r.ID+" 2m0s" {
			t.Errorf("counted %q", got)
		}
	})
	t.Run("denied", func(t *testing.T) {
		w, r := pending(t, "doubly")
		w.advance(3 * time.Minute)
		if _, err := w.Answer(t.Context(), w.answer(lea, r, false)); err != nil {
			t.Fatal(err)
		}
		w.due(t)
		if got := w.took(t, "doubly"); got != r.ID+" 3m0s" {
			t.Errorf("counted %q", got)
		}
	})
	for name, end := range map[string]func(t *testing.T, w *world, r broker.Request){
		"lapsed": func(_ *testing.T, w *world, _ broker.Request) { w.advance(2 * time.Hour) },
		"lapsed with one of two answers": func(t *testing.T, w *world, r broker.Request) {
			w.approve(t, lea, r)
			w.advance(2 * time.Hour)
		},
		"withdrawn": func(t *testing.T, w *world, r broker.Request) {
			if _, err := w.Withdraw(t.Context(), bob, r.ID, w.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
		},
		"void": func(t *testing.T, w *world, r broker.Request) {
			w.apply(t, replace(approvals, "doubly:    {account: prod, iam_role: starback/ReadOnly", "doubly:    {account: prod, iam_role: starback/Plain"))
			if _, err := w.Answer(t.Context(), w.answer(lea, r, true)); !errors.As(err, new(*broker.Settled)) {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, r := pending(t, "doubly")
			w.advance(time.Minute)
			end(t, w, r)
			w.due(t)
			w.due(t)
			if r = w.request(t, r.ID); !r.State.Over() || w.took(t, "doubly") != "" {
				t.Errorf("%s, and counted %q", r.State, w.took(t, "doubly"))
			}
		})
	}
}

// TestPaceSurvives counts an answer once where the store fails before it is
// counted, after it, or before that is settled.
func TestPaceSurvives(t *testing.T) {
	for name, fail := range map[string]struct{ before, after func(string, int) error }{
		"before it is counted": {nth("PutPace", 1), nil},
		"its answer is lost":   {nil, nth("PutPace", 1)},
		"before it is settled": {nth("Settle", 1), nil},
	} {
		t.Run(name, func(t *testing.T) {
			w, r := pending(t, "guarded")
			w.due(t)
			w.advance(6 * time.Minute)
			w.approve(t, lea, r)
			w.tap.watch(fail.before, fail.after)
			if _, err := w.Due(t.Context()); err == nil {
				t.Error("nothing has failed")
			}
			w.tap.watch(nil, nil)
			w.advance(time.Minute)
			w.due(t)
			w.due(t)
			if got := w.took(t, "guarded"); got != r.ID+" 6m0s" {
				t.Errorf("counted %q", got)
			}
			if left := waits(w.request(t, r.ID)); slices.ContainsFunc(left, func(n broker.Notice) bool { return n.Kind == broker.NoticePace }) {
				t.Errorf("left to do: %+v", left)
			}
		})
	}
}

// TestPaceOfTwo counts two answers that two workers count at one moment.
func TestPaceOfTwo(t *testing.T) {
	w, r := pending(t, "guarded")
	w.advance(6 * time.Minute)
	w.approve(t, lea, r)
	other := broker.PaceAnswer{RequestID: "OTHER", At: w.Now(), Took: time.Minute}
	w.tap.watch(func(call string, n int) error {
		if call != "PutPace" || n > 1 {
			return nil
		}
		_, err := w.store.PutPace(t.Context(), broker.Pace{Role: "guarded", Answers: []broker.PaceAnswer{other}})
		return err
	}, nil)
	w.due(t)
	if got := w.took(t, "guarded"); !strings.Contains(got, r.ID+" 6m0s") || !strings.Contains(got, "OTHER 1m0s") {
		t.Errorf("counted %q", got)
	}
}
