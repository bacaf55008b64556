package broker_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/starback/starback/broker"
)

// However short a window is, its requester is told ten minutes before its end,
// and once.
func TestWindowEndsSoon(t *testing.T) {
	w := newWorld(t)
	for _, window := range []time.Duration{15 * time.Minute, 16 * time.Minute, 20 * time.Minute, 21 * time.Minute, 4 * time.Hour} {
		ask := w.ask(fmt.Sprint("for ", window), "plain")
		ask.Duration = window
		issued := w.mustIssue(t, ask)
		told := func() (n int) {
			w.teller.told = nil
			w.due(t)
			for _, telling := range w.teller.told {
				if telling.Kind == broker.NoticeEnding && telling.Request.ID == issued.Request.ID {
					n++
				}
			}
			return n
		}
		var got []int
		w.advance(window - 10*time.Minute - time.Millisecond)
		got = append(got, told())
		w.advance(time.Millisecond)
		got = append(got, told(), told())
		w.advance(10 * time.Minute)
		got = append(got, told())
		if want := []int{0, 1, 0, 0}; !slices.Equal(got, want) {
			t.Errorf("a window of %s: told %v times just before, then, after that and at its end; want %v", window, got, want)
		}
	}
}
