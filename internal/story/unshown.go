package story

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/starback/starback/sandbox"
)

// Unshown is of credentials that Slack does not show. They can be revealed anew,
// which ends them and begins the window again; though not for ever. The house's
// prod-readonly has a boundary.
func Unshown(h *House) {
	t := h.T
	first, note := h.unshown("prod-readonly 1h INC-1 the queue is stuck")
	second, otherNote := h.unshown("prod-readonly 30m INC-2 another queue")
	h.Age(first, 30*time.Minute)
	h.Age(second, 40*time.Minute)
	h.Command("sessions")
	list := h.Hears("2 requests of yours are open or waiting.", 1)
	if !strings.Contains(list, "its time is over") || strings.Count(list, "Reveal") < 2 {
		t.Errorf("Alice is told\n%s", list)
	}
	seen := len(h.Told())
	h.Presses("U0ALICE", note, "reveal")
	m := h.Answer("U0ALICE", seen+1)
	if text := plain(m); !strings.Contains(text, "These are new keys, and your time begins now.") {
		t.Errorf("Alice is told\n%s", Brief(text))
	}
	shown := h.SessionOf(Pasted(t, m))
	ends, err := time.Parse(time.RFC3339, shown.ExpiresAt)
	if left := time.Until(ends); err != nil || shown.RequestID != first || left < 50*time.Minute || left > time.Hour {
		t.Errorf("what was revealed anew ends in %s, %v: %+v", left, err, shown)
	}
	asked := h.Trail("session.issued")
	unshown := asked[slices.IndexFunc(asked, func(l AuditLine) bool { return l.RequestID == first && l.SessionID != shown.SessionID })]
	if ended := h.WaitForTrail("session.ended", 1); len(ended) != 1 || ended[0].SessionID != unshown.SessionID {
		t.Errorf("the trail says %+v", ended)
	}

	// 55 minutes after it was first asked for, the window that began again has
	// half an hour left. What is not revealed within an hour is closed, and its
	// holder has heard enough of it.
	h.Age(first, 25*time.Minute)
	h.Age(second, 20*time.Minute)
	if closed := h.WaitForTrail("request.closed", 1); closed[0].RequestID != second {
		t.Errorf("the trail says %+v", closed)
	}
	h.rests(second)
	const soon = "⏰  Your prod-readonly in prod (111122223333) ends"
	if n := h.told("U0ALICE", soon); n != 0 {
		t.Errorf("Alice is told %d times that her window ends soon", n)
	}
	h.Presses("U0ALICE", otherNote, "reveal")
	h.Hears("It is too late to reveal this. If you do not see the credentials, ask again", 1)
	h.Eventually(func() bool {
		return h.told("U0ALICE", "Your request for prod-readonly in prod (111122223333) is over since") == 1
	},
		"the button that comes to nothing is still there")
	h.Age(first, 25*time.Minute)
	h.Finds("U0ALICE", false, soon, "Request "+first)
	h.Age(first, 10*time.Minute)
	h.WaitForTrail("request.closed", 2)
	h.Command("sessions")
	h.Hears("Nothing of yours is open or waiting.", 1)

	h.Stop()
	if n := h.told("U0ALICE", soon); n != 1 || h.Assumed() != 3 || len(h.Trail("session.end_asked")) != 1 {
		t.Errorf("Alice is told %d times that her window ends soon, AWS was asked for %d sessions, and the trail says %+v", n, h.Assumed(), h.Trail("session.end_asked"))
	}
	h.TrueTrail()
}

// unshown types a command of Alice's whose credentials Slack does not show, and
// returns the Request's id and what she is told of it.
func (h *House) unshown(text string) (string, sandbox.Message) {
	h.T.Helper()
	h.Slack.SetFault(func(method string) *sandbox.SlackFault {
		switch method {
		case "response_url":
			return &sandbox.SlackFault{Status: http.StatusNotFound}
		case "chat.postEphemeral":
			return &sandbox.SlackFault{Error: "user_not_in_channel"}
		}
		return nil
	})
	before := len(h.Trail("session.undelivered"))
	h.Command(text)
	id := h.WaitForTrail("session.undelivered", before+1)[before].RequestID
	h.Heal()
	return id, h.Finds("U0ALICE", false, "Slack did not confirm that it showed them.", "press Reveal", "Request "+id)
}
