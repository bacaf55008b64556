package story

import (
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/sandbox"
)

// Reminders is of requests that wait: those who may answer are reminded, after
// twice as long each time, a second group is called, and time runs out, before an
// answer and after it. And of access that ends, which its holder is told.
func Reminders(h *House) {
	t := h.T
	// A day and a little: the note comes a day before the end. Bob is told while
	// the rest goes on.
	h.Types("U0CAROL", "admin user renew bob --until "+time.Now().Add(24*time.Hour+20*time.Second).UTC().Format(time.RFC3339))
	h.Finds("U0CAROL", true, "user renew: done.")

	post, id := h.puts("the pager rings")
	other, otherID := h.puts("it rings again")
	if text := plain(post); !strings.Contains(text, "To answer: @U0LEA @U0MIA") {
		t.Errorf("the request reads\n%s", text)
	}
	const reminder, both = "⏰  olga still waits for an answer on prod-oncall in prod (111122223333) for 2h.", "To answer: @U0LEA @U0MIA"

	h.Age(id, 12*time.Minute)
	h.Age(otherID, 8*time.Minute)
	for _, m := range []sandbox.Message{post, other} {
		h.replied(m, 1, reminder, "0 of 2 approvals so far.", both)
	}
	// Whoever has answered is not called again.
	leas := h.Presses("U0LEA", post, "approve")
	h.Finds("U0LEA", true, "1 of 2 approvals so far, by lea.")
	h.Age(id, 3*time.Minute)
	h.Age(otherID, 7*time.Minute)
	if text := h.replied(post, 2, reminder)[1]; !strings.Contains(text, "1 of 2 approvals so far, by lea.") || !strings.HasSuffix(text, "To answer: @U0MIA") {
		t.Errorf("the second reminder reads\n%s", text)
	}
	h.replied(other, 2, reminder, both)

	// The reminders came after 7.5 and 15 minutes: the next is not due after 25.
	h.Age(id, 5*time.Minute)
	h.Age(otherID, 10*time.Minute)
	const escalated = "⏫  Escalated to platform: olga still waits for an answer on prod-oncall"
	h.replied(post, 1, escalated, "To answer: @U0CAROL @U0MIA")
	h.replied(other, 1, escalated, "To answer: @U0CAROL @U0LEA @U0MIA")
	h.Finds("U0CAROL", false, "asks for prod-oncall", "the pager rings", "To answer: @U0CAROL @U0MIA")
	if n := len(h.replies(other, reminder)); n != 2 {
		t.Errorf("%d reminders after 25 minutes", n)
	}
	h.Age(id, 10*time.Minute)
	h.Age(otherID, 5*time.Minute)
	h.replied(post, 3, reminder)
	h.replied(other, 3, reminder)

	// One is approved, by one of those it was escalated to, and never revealed.
	h.Presses("U0CAROL", post, "approve")
	h.Finds("U0CAROL", true, "You approved prod-oncall for olga. olga can reveal the credentials now, and has until")
	h.Finds("U0OLGA", false, "was approved by lea, carol", "Reveal")
	h.Age(id, time.Hour)
	h.Finds("U0OLGA", false, "⌛  Your request for prod-oncall in prod (111122223333) has lapsed: approved by lea, carol, and not revealed in time.", "Ask again")
	h.Finds("U0LEA", false, "asks for prod-oncall", "the pager rings", "It has lapsed: approved by lea, carol, and not revealed in time.")
	const late = "Nothing was changed: this request is past that. It has lapsed"
	h.Eventually(func() bool { return h.told("U0OLGA", "Press Reveal") == 0 }, "the button that comes to nothing is still there")

	// The other is not answered. Lea's press is late, whether the sweep or she
	// comes first.
	h.Age(otherID, 30*time.Minute)
	h.forges(leas, "approve", otherID)
	h.Finds("U0LEA", true, late+", with 0 of 2 approvals.")
	h.Finds("U0OLGA", false, "has lapsed, with 0 of 2 approvals.", "If you still need it, ask again: /starback prod-oncall")
	h.Finds("U0LEA", false, "asks for prod-oncall", "it rings again", "It has lapsed, with 0 of 2 approvals.")
	olgas := h.Presses("U0OLGA", h.Finds("U0OLGA", true, "needs 2 approvals", "Request "+otherID), "withdraw")
	h.Finds("U0OLGA", true, late+", with 0 of 2 approvals.")
	h.forges(olgas, "reveal", id)
	h.Finds("U0OLGA", true, late+": approved by lea, carol, and not revealed in time.")
	h.Finds("U0BOB", false, "Your access to Starback ends", "(within 24 hours).", "user renew bob")
	for _, request := range []string{id, otherID} {
		if r := h.rests(request); r.State != broker.StateLapsed || !r.LapsesAt.IsZero() {
			t.Errorf("the request is %s, and lapses %s", r.State, r.LapsesAt)
		}
	}

	h.Stop()
	for _, tt := range []struct {
		user, words string
		n           int
	}{
		{"U0OLGA", "has lapsed: approved by lea, carol", 2}, // and in the place of the button
		{"U0OLGA", "has lapsed, with 0 of 2 approvals", 1},
		{"U0BOB", "Your access to Starback ends", 1},
	} {
		if n := h.told(tt.user, tt.words); n != tt.n {
			t.Errorf("%s is told %d times of %q", tt.user, n, tt.words)
		}
	}
	for _, m := range []sandbox.Message{post, other} {
		for words, n := range map[string]int{reminder: 3, escalated: 1, "lapsed": 1} {
			if said := h.replies(m, words); len(said) != n {
				t.Errorf("the thread says %d times %q", len(said), words)
			}
		}
	}
	var trail []string
	for _, name := range []string{"request.pending", "approval.given", "request.lapsed", "session.issued", "request.withdrawn"} {
		for _, line := range h.Trail(name) {
			trail = append(trail, name+" "+line.RequestID+" by "+line.Actor)
		}
	}
	want := []string{
		"request.pending " + id + " by olga", "request.pending " + otherID + " by olga",
		"approval.given " + id + " by lea", "approval.given " + id + " by carol",
		"request.lapsed " + id + " by olga", "request.lapsed " + otherID + " by olga",
	}
	slices.Sort(trail)
	slices.Sort(want)
	if diff := cmp.Diff(want, trail); diff != "" {
		t.Errorf("trail (-want +got):\n%s", diff)
	}
	if n := h.Assumed(); n != 0 {
		t.Errorf("AWS was asked for %d sessions", n)
	}
	h.TrueTrail()
}

// puts has Olga ask for what escalates, and returns how that is put to approvers,
// and the Request's id.
func (h *House) puts(reason string) (sandbox.Message, string) {
	h.T.Helper()
	h.Types("U0OLGA", "prod-oncall 2h "+reason)
	post := h.Finds("U0LEA", false, "asks for prod-oncall", reason, "0 of 2 approvals so far")
	asked := h.Trail("request.pending")
	return post, asked[slices.IndexFunc(asked, func(l AuditLine) bool { return l.Reason == reason })].RequestID
}

// request is a Request as it is stored.
func (h *House) request(id string) broker.Request {
	h.T.Helper()
	r, err := h.Store(h.T).Request(h.T.Context(), id)
	if err != nil {
		h.T.Fatal(err)
	}
	return r
}

// rests waits until nothing is left to be done or told of a Request, and returns
// it.
func (h *House) rests(id string) (r broker.Request) {
	h.T.Helper()
	db := h.Store(h.T)
	h.Eventually(func() bool {
		var err error
		if r, err = db.Request(h.T.Context(), id); err != nil {
			h.T.Fatal(err)
		}
		return len(r.Trail.Notices) == 0 && len(r.Trail.Events) == 0
	}, "request "+id+" does not come to rest")
	return r
}

// replies are the replies to a message of the approvals channel that hold the
// words, as they read.
func (h *House) replies(to sandbox.Message, words ...string) (texts []string) {
	for _, m := range h.Slack.Channel(Approvals) {
		text := plain(m)
		missing := func(w string) bool { return !strings.Contains(text, w) }
		if m.ThreadTS == to.TS && !slices.ContainsFunc(words, missing) {
			texts = append(texts, text)
		}
	}
	return texts
}

// replied waits until n replies hold the words, and returns them.
func (h *House) replied(to sandbox.Message, n int, words ...string) (texts []string) {
	h.T.Helper()
	h.wait("U0LEA", func([]sandbox.Message) bool {
		texts = h.replies(to, words...)
		return len(texts) >= n
	}, func() string {
		return "there are not enough replies with " + strings.Join(words, ", ") + "\n" + strings.Join(h.replies(to), "\n")
	})
	return texts
}

// told counts the messages to a person, besides those that they alone see, that
// hold the words.
func (h *House) told(user, words string) (n int) {
	for _, m := range h.Slack.Seen(user) {
		if !m.Ephemeral && m.Channel != Approvals && strings.Contains(plain(m), words) {
			n++
		}
	}
	return n
}
