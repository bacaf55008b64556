package story

import "strings"

// Shortcuts is of the form that a shortcut opens: one from anywhere, and one of
// a message, whose link becomes the reason.
func Shortcuts(h *House) {
	t := h.T
	if ack, err := h.Slack.Shortcut(t.Context(), "U0ALICE", "request_access"); err != nil || ack.Problem != "" {
		t.Fatal(ack.Problem, err)
	}
	h.modalWith("U0ALICE", "Role: [")
	h.closes("U0ALICE")

	about, err := h.Slack.Say("U0BOB", General, "the queue is stuck")
	if err != nil {
		t.Fatal(err)
	}
	if ack, err := h.Slack.MessageShortcut(t.Context(), "U0ALICE", about, "request_access_message"); err != nil || ack.Problem != "" {
		t.Fatal(ack.Problem, err)
	}
	link := "https://sandbox.slack.com/archives/" + General + "/p" + strings.ReplaceAll(about.TS, ".", "")
	h.modalWith("U0ALICE", link)
	h.fills("U0ALICE", "prod-readonly")
	h.submits("U0ALICE", map[string]string{"ticket": "INC-4711"})
	h.modalWith("U0ALICE", "AWS_ACCESS_KEY_ID")
	issued := h.WaitForTrail("session.issued", 1)[0]
	if issued.Actor != "alice" || issued.Ticket != "INC-4711" || issued.Reason != link {
		t.Errorf("the trail says %+v", issued)
	}
	h.Channel(Audit, link)

	// Somebody whom Starback does not know.
	if ack, err := h.Slack.Shortcut(t.Context(), "U0DAVE", "request_access"); err != nil || ack.Problem != "" {
		t.Fatal(ack.Problem, err)
	}
	h.modalWith("U0DAVE", "Starback does not know you yet.")
	if n := h.Assumed(); n != 1 {
		t.Errorf("AWS was asked for %d sessions", n)
	}
	h.Stop()
	h.TrueTrail()
}
