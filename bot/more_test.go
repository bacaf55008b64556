package bot_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
)

// tellWindowEnding tells the requester before a window ends, who asks for more:
// the same, with the same words, beside what there is.
func tellWindowEnding(t *testing.T, begin beginning) {
	w := begin(t)
	r := w.ends
	w.types("U1", "prod-admin 1h INC-7 the disk *is* full")
	first := w.open(t, "alice")[0]
	w.clock.add(49 * time.Minute)
	w.passOn(t)
	if n := len(w.Seen("U1")); n != 1 {
		t.Fatalf("%d messages before it is time", n)
	}
	w.clock.add(time.Minute)
	w.passOn(t)
	dm := w.direct(t, "U1")
	has(t, w.shows(dm), "⏰ Your prod-admin in prod (111122223333) ends today at 1:00 PM. Ask for more asks for 1h more, from when you press it; what you have goes on to its end.",
		"With INC-7 the disk is full", "[ Ask for more ] [! End !]", "Request "+first.ID)
	has(t, w.does(t, "U1", dm, "ask_more", ""), "ASIA0000000000000002", "Ends today at 1:50 PM")
	open := w.open(t, "alice")
	if len(open) != 2 || open[1].Ticket != "INC-7" || open[1].Reason != "the disk *is* full" || !open[0].WindowEnd.Equal(first.WindowEnd) ||
		!open[1].WindowEnd.Equal(w.clock.Now().Add(time.Hour)) || open[1].Surface != broker.SurfaceButton {
		t.Errorf("open: %+v", open)
	}
	w.clock.add(time.Second)
	has(t, w.does(t, "U1", dm, "ask_more", ""), "You have asked for more already, and this button asks once. This is how that stands.",
		"Your request for prod-admin in prod (111122223333) was issued. You can have new keys until today at 1:35 PM.", "[ Renew ]")
	if n := len(w.open(t, "alice")); n != 2 || w.mint.made != 2 {
		t.Errorf("%d are open, %d sets were made", n, w.mint.made)
	}
	w.clock.add(-time.Second)
	has(t, w.does(t, "U1", dm, "end", ""), "✅ prod-admin in prod (111122223333) is ended.")
	if !slices.Equal(r.denied, []string{first.Sessions[0].ID}) {
		t.Errorf("denied %v", r.denied)
	}
	before := len(w.Seen("U1"))
	w.clock.add(50 * time.Minute)
	w.passOn(t)
	if n := len(w.Seen("U1")); n != before+1 {
		t.Errorf("%d messages at the end of the second window", n-before)
	}
	w.clock.add(10 * time.Minute)
	w.passOn(t)
	messages, replies := audit(w)
	has(t, bare(messages[len(messages)-1]), "☑️ alice asked for prod-admin", "Over since today at 1:50 PM")
	has(t, bare(replies[len(replies)-1]), "1:50:00 PM over")
}

// TestMoreIsDecided holds that asking for more goes the way of every ask, and is
// not offered where it would be refused.
func TestMoreIsDecided(t *testing.T) {
	shorter := strings.Replace(policyFile, "max_duration: 8h", "max_duration: 2h", 1)
	notMine := strings.Replace(policyFile, "grants: [prod-readonly, prod-admin]", "grants: [prod-admin]", 1)
	for name, c := range map[string]struct{ before, after, want, again string }{
		"a shorter role, since": {policyFile, shorter, "prod-readonly can be had for 2h at most.", "was refused. If you still need it, ask again: /starback prod-readonly"},
		"not granted, since":    {policyFile, notMine, "There is no role prod-readonly that you may ask for.", "was refused."},
		"a shorter role":        {before: shorter},
		"not granted":           {before: notMine},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := newSessionWorld(t)
			w.types("U1", "prod-readonly 4h")
			w.clock.add(3*time.Hour + 50*time.Minute)
			w.apply(c.before)
			w.passOn(t)
			dm := w.direct(t, "U1")
			if c.after == "" {
				has(t, w.shows(dm), "ends today at 4:00 PM. · Request", "[! End !]")
				if strings.Contains(w.shows(dm), "Ask for more") {
					t.Errorf("told\n%s", w.shows(dm))
				}
				return
			}
			has(t, w.shows(dm), "[ Ask for more ]")
			w.apply(c.after)
			has(t, w.does(t, "U1", dm, "ask_more", ""), c.want)
			has(t, w.does(t, "U1", dm, "ask_more", ""), "You have asked for more already, and this button asks once.", c.again)
			list := bare(w.types("U1", "sessions"))
			has(t, list, "10m left", "[! End !]")
			if strings.Contains(list, "Renew") || w.mint.made != 1 {
				t.Errorf("made %d:\n%s", w.mint.made, list)
			}
		})
	}
}

// tellMoreWaits asks for more of what has to be approved: once, however often
// the button is pressed.
func tellMoreWaits(t *testing.T, begin beginning) {
	w := begin(t)
	w.asksFor(t, "one 1h INC-1 x")
	w.votes(t, "U4", "approve")
	w.does(t, "U1", w.direct(t, "U1"), "reveal", "")
	w.clock.add(50 * time.Minute)
	w.passOn(t)
	dm := w.direct(t, "U1")
	for range 2 {
		has(t, w.does(t, "U1", dm, "ask_more", ""), "⏳ one in prod (111122223333) for 1h needs 1 approval from leads.", "[ Withdraw ]")
		if n := len(w.open(t, "alice")); n != 2 {
			t.Errorf("%d requests are open", n)
		}
		w.clock.add(time.Second)
	}
	w.votes(t, "U5", "deny")
	if _, err := w.Submit(t.Context(), "U5", w.Views("U5")[0].ID, map[string]string{"why": "once is enough"}); err != nil {
		t.Fatal(err)
	}
	w.work()
	has(t, w.does(t, "U1", dm, "ask_more", ""), "You have asked for more already", "was denied by mia. If you still need it, ask again: /starback one")
}
