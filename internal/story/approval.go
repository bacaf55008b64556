package story

import (
	"regexp"
	"slices"
	"strings"

	"github.com/starback/starback/sandbox"
)

// asks has Olga ask for what two must approve, and returns how that is put to
// them.
func (h *House) asks(reason string) sandbox.Message {
	h.T.Helper()
	h.Types("U0OLGA", "prod-guarded 2h "+reason)
	h.Finds("U0OLGA", true, "needs 2 approvals from leads", "Withdraw")
	return h.Finds("U0LEA", false, "asks for prod-guarded", reason, "0 of 2 approvals so far")
}

// approved has two approve what was asked for with this reason.
func (h *House) approved(reason string) {
	h.T.Helper()
	h.Presses("U0LEA", h.Finds("U0LEA", false, reason, "0 of 2 approvals so far"), "approve")
	h.Finds("U0LEA", true, "You approved prod-guarded for olga. 1 of 2 approvals so far, by lea.")
	h.Presses("U0MIA", h.Finds("U0MIA", false, reason, "1 of 2 approvals so far"), "approve")
}

// Approval is of requests that two must approve: approved and revealed, denied,
// withdrawn before they are approved and after.
func Approval(h *House) {
	t := h.T
	post := h.asks("the disk is full")
	h.Presses("U0CAROL", post, "approve")
	h.Finds("U0CAROL", true, "You are not one of those who may answer this request.")
	h.approved("the disk is full")
	dm := h.Finds("U0OLGA", false, "was approved by lea, mia", "Reveal")
	if n := h.Assumed(); n != 0 {
		t.Fatalf("AssumeRole was called %d times before anything was revealed", n)
	}
	h.Presses("U0OLGA", dm, "reveal")
	first := Pasted(t, h.Finds("U0OLGA", true, "prod-guarded", "Ends", "AWS_ACCESS_KEY_ID"))
	h.Presses("U0OLGA", h.Finds("U0OLGA", false, "you have revealed the credentials"), "renew")
	second := Pasted(t, h.Finds("U0OLGA", true, "These are new keys", "AWS_ACCESS_KEY_ID"))
	if first["AWS_ACCESS_KEY_ID"] == second["AWS_ACCESS_KEY_ID"] || h.Assumed() != 2 {
		t.Errorf("AWS was asked for %d sessions; the keys are %s and %s", h.Assumed(), first["AWS_ACCESS_KEY_ID"], second["AWS_ACCESS_KEY_ID"])
	}
	h.Finds("U0LEA", false, "the disk is full", "Approved by lea, mia, and revealed")
	h.Finds("U0LEA", false, "revealed by olga")
	issued := h.WaitForTrail("session.issued", 2)
	if issued[0].Actor != "olga" || issued[0].Rule != "approval.given" || issued[0].AccessKeyID != first["AWS_ACCESS_KEY_ID"] || issued[0].RequestID != issued[1].RequestID {
		t.Errorf("the trail says %+v", issued)
	}

	h.Presses("U0LEA", h.asks("just curious"), "deny")
	h.modalWith("U0LEA", "Deny")
	h.submits("U0LEA", map[string]string{"why": "not on a Friday"})
	h.Finds("U0LEA", true, "You denied prod-guarded for olga")
	h.Finds("U0LEA", false, "just curious", "Denied by lea.", "not on a Friday")
	h.Finds("U0OLGA", false, "was denied by lea", "not on a Friday")

	h.asks("a mistake")
	h.Presses("U0OLGA", h.Finds("U0OLGA", true, "needs 2 approvals"), "withdraw")
	h.Finds("U0OLGA", true, "is withdrawn.")
	h.Finds("U0LEA", false, "a mistake", "Withdrawn by olga.")

	h.asks("somebody else did it")
	asked := h.Finds("U0OLGA", true, "needs 2 approvals", "Withdraw")
	h.approved("somebody else did it")
	dm = h.Finds("U0OLGA", false, "was approved by lea, mia", "[ Reveal ]")
	h.settled(dm)
	h.Presses("U0OLGA", asked, "withdraw")
	h.Finds("U0LEA", false, "somebody else did it", "Withdrawn by olga.")
	h.wait("U0OLGA", func(seen []sandbox.Message) bool {
		at := slices.IndexFunc(seen, func(m sandbox.Message) bool { return m.Channel == dm.Channel && m.TS == dm.TS })
		return at >= 0 && strings.Contains(plain(seen[at]), "is withdrawn.") && !strings.Contains(plain(seen[at]), "Reveal")
	}, func() string { return "the message with the button stays as it was" })

	h.Stop()
	h.TrueTrail()
	h.NoLeaks(first["AWS_SECRET_ACCESS_KEY"], second["AWS_SESSION_TOKEN"], "/actions/"+Team, "/commands/"+Team)
	for _, m := range h.Slack.Seen("U0OLGA") {
		if !m.Ephemeral && strings.Contains(string(m.Blocks), first["AWS_SECRET_ACCESS_KEY"]) {
			t.Error("the credentials stand in a message that stays")
		}
	}
}

var requestIn = regexp.MustCompile(`Request ([0-9A-Z]{20})`)

// settled waits until the store knows where the requester was told, by a message,
// to reveal a request.
func (h *House) settled(m sandbox.Message) {
	h.T.Helper()
	found := requestIn.FindStringSubmatch(plain(m))
	if found == nil {
		h.T.Fatalf("the message names no request:\n%s", Brief(plain(m)))
	}
	db := h.Store(h.T)
	h.Eventually(func() bool {
		r, err := db.Request(h.T.Context(), found[1])
		return err == nil && r.Trail.Direct != ""
	}, "it is not kept where the requester was told")
}

// Void is of a request that waits while an administrator takes away what it
// needs: the answer that it waits for makes it void, and nothing is minted.
func Void(h *House) {
	t := h.T
	post := h.asks("the disk is full")
	h.Types("U0CAROL", "admin grant remove prod-guarded --group ops")
	h.Finds("U0CAROL", true, "grant remove: done.")
	h.Presses("U0LEA", post, "approve")
	h.Finds("U0LEA", true, "It is void: its requester may not ask for the role any more.")
	h.Finds("U0LEA", false, "the disk is full", "It is void: its requester may not ask for the role any more.")
	h.Finds("U0OLGA", false, "does not hold any more: you may not ask for the role any more.")
	if n := h.Assumed(); n != 0 {
		t.Errorf("AWS was asked for %d sessions", n)
	}
	h.Stop()
	h.TrueTrail()
}
