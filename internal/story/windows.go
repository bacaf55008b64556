package story

import (
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
)

// Windows is of windows that end: their holder is told ten minutes before, and
// can end what there is or, if they may, ask for more, which goes its own way and
// leaves the first as it was. What ends is closed, and its buttons do nothing any
// more. The house's prod-readonly has a boundary.
func Windows(h *House) {
	t := h.T
	one := h.Gets("prod-readonly 1h INC-1 the queue is stuck")
	first := h.SessionOf(one).RequestID
	h.asks("the disk is full")
	h.approved("the disk is full")
	approved := h.Finds("U0OLGA", false, "was approved by lea, mia", "Reveal")
	h.Presses("U0OLGA", approved, "reveal")
	guarded := h.SessionOf(Pasted(t, h.Finds("U0OLGA", true, "prod-guarded", "AWS_ACCESS_KEY_ID"))).RequestID

	h.Age(first, 50*time.Minute)
	h.Age(guarded, 110*time.Minute)
	const soon, guardedSoon = "⏰  Your prod-readonly in prod (111122223333) ends", "⏰  Your prod-guarded in prod (111122223333) ends"
	note := h.Finds("U0ALICE", false, soon, "Ask for more asks for 1h more, from when you press it; what you have goes on to its end.",
		"With", "INC-1 the queue is stuck", "Ask for more ", "End", "Request "+first)
	guardedNote := h.Finds("U0OLGA", false, guardedSoon, "Ask for more asks for 2h more", "With", "the disk is full", "End", "Request "+guarded)

	// More is a request of its own: decided anew, for as long from now, and with
	// what was said then. It asks once.
	before, guardedBefore := h.request(first), h.request(guarded)
	seen := len(h.Told())
	h.Presses("U0ALICE", note, "ask_more")
	two := Pasted(t, h.Answer("U0ALICE", seen+1))
	second := h.SessionOf(two)
	ends, err := time.Parse(time.RFC3339, second.ExpiresAt)
	if left := time.Until(ends); err != nil || second.RequestID == first || second.Reason != "the queue is stuck" || second.Ticket != "INC-1" || left > time.Hour || left < 50*time.Minute {
		t.Errorf("what there is more ends in %s, %v: %+v", left, err, second)
	}
	h.Presses("U0ALICE", note, "ask_more")
	h.Hears("You have asked for more already, and this button asks once.", 1)
	h.Presses("U0OLGA", guardedNote, "ask_more")
	h.Finds("U0OLGA", true, "prod-guarded in prod (111122223333) for 2h needs 2 approvals from leads.")
	h.Finds("U0LEA", false, "asks for prod-guarded", "the disk is full", "0 of 2 approvals so far", "olga has open already: prod-guarded until")
	for _, r := range []broker.Request{before, guardedBefore} {
		now := h.request(r.ID)
		now.Version, now.Trail = r.Version, r.Trail
		if diff := cmp.Diff(r, now); diff != "" {
			t.Errorf("asking for more changes the first (-before +after):\n%s", diff)
		}
	}
	if !h.may(one) || !h.may(two) || h.Assumed() != 3 {
		t.Errorf("AWS allows the first: %v, the second: %v, and was asked for %d sessions", h.may(one), h.may(two), h.Assumed())
	}

	// The first windows end, and the second ends soon: by now Alice may ask for
	// no more.
	h.Types("U0CAROL", "admin grant remove prod-readonly --group dev")
	h.Finds("U0CAROL", true, "grant remove: done.")
	h.Age(first, 10*time.Minute)
	h.Age(guarded, 10*time.Minute)
	h.Age(second.RequestID, 50*time.Minute)
	last := h.Finds("U0ALICE", false, soon, "End", "Request "+second.RequestID)
	if text := plain(last); strings.Contains(text, "Ask for more") {
		t.Errorf("Alice is told\n%s", text)
	}
	h.WaitForTrail("request.closed", 2)
	h.Channel(Audit, "Over since")
	h.Finds("U0LEA", false, "asks for prod-guarded", "Approved by lea, mia, and revealed. It ended")

	// Whatever is pressed too late is answered in private, and changes nothing.
	h.Presses("U0ALICE", note, "end")
	h.Hears("There is nothing to end: it was ended before, or has expired by itself.", 1)
	olgas := h.Presses("U0OLGA", guardedNote, "end")
	h.Finds("U0OLGA", true, "There is nothing to end")
	h.Finds("U0OLGA", false, "Your request for prod-guarded in prod (111122223333) is over since")
	h.forges(olgas, "renew", guarded)
	h.Finds("U0OLGA", true, "What you asked for is over, or will be in less than 15 minutes, and AWS issues nothing shorter.")
	for _, was := range []broker.Request{before, guardedBefore} {
		r := h.rests(was.ID)
		asked := func(s broker.Session) bool { return !s.EndAsked.IsZero() }
		if r.State != broker.StateClosed || len(r.Sessions) != len(was.Sessions) || slices.ContainsFunc(r.Sessions, asked) {
			t.Errorf("a request that is over: %+v", r)
		}
	}

	// What is open can be ended from its note, alone.
	h.Presses("U0ALICE", last, "end")
	h.Hears(saysEnded, 1)
	if !h.may(one) || h.may(two) { // to AWS, the first is as young as it is
		t.Errorf("after the end of the second, AWS allows the first: %v, the second: %v", h.may(one), h.may(two))
	}
	h.Command("sessions")
	h.Hears("Nothing of yours is open or waiting.", 1)

	h.Stop()
	if n, m := h.told("U0ALICE", soon), h.told("U0OLGA", guardedSoon); n != 2 || m != 1 || h.Assumed() != 3 {
		t.Errorf("Alice is told %d times, Olga %d times, and AWS was asked for %d sessions", n, m, h.Assumed())
	}
	closed := h.Trail("request.closed")
	ids := []string{closed[0].RequestID, closed[len(closed)-1].RequestID}
	if !slices.Contains(ids, first) || !slices.Contains(ids, guarded) || len(closed) != 2 || closed[0].Actor == closed[1].Actor {
		t.Errorf("the trail says %+v", closed)
	}
	if asked := h.Trail("session.end_asked"); len(asked) != 1 || asked[0].RequestID != second.RequestID || asked[0].Actor != "alice" {
		t.Errorf("the trail says %+v", asked)
	}
	h.TrueTrail()
}
