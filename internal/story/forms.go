package story

import (
	"fmt"
	"slices"
	"strings"

	"github.com/starback/starback/internal/faultproxy"
	"github.com/starback/starback/sandbox"
)

// Forms is the request form: what is asked for in a modal is shown in the modal,
// and what came too late for it is told of in a message that holds no secret.
func Forms(h *House) {
	t := h.T
	h.Command("")
	if v := h.fills("U0ALICE", "prod-readonly"); !strings.Contains(modalText(v), "Issued at once.") {
		t.Errorf("the form does not say what will happen:\n%s", modalText(v))
	}
	h.submits("U0ALICE", map[string]string{"ticket": "4711", "reason": "checking queue depth"})
	if v := h.modal("U0ALICE"); v.Errors["ticket"] == "" {
		t.Fatalf("a ticket that is none is taken:\n%s", modalText(v))
	}
	h.submits("U0ALICE", map[string]string{"duration:prod-readonly": "30m", "ticket": "INC-4711"})
	keys := Pasted(t, sandbox.Message{Blocks: h.modalWith("U0ALICE", "AWS_ACCESS_KEY_ID").Blocks})
	issued := h.WaitForTrail("session.issued", 1)[0]
	if issued.Actor != "alice" || issued.Ticket != "INC-4711" || issued.Reason != "checking queue depth" || issued.AccessKeyID != keys["AWS_ACCESS_KEY_ID"] {
		t.Errorf("the trail says %+v", issued)
	}
	h.closes("U0ALICE")

	// A command that lacks its ticket opens the form. It is closed before AWS
	// answers.
	h.Command("prod-readonly 1h checking again")
	if v := h.modalWith("U0ALICE", "checking again"); v.Submit != "Request" {
		t.Fatalf("not the form:\n%s", modalText(v))
	}
	h.AWSWire.SetRule(faultproxy.On(faultproxy.Stall(h.Gate), "AssumeRole"))
	h.submits("U0ALICE", map[string]string{"ticket": "INC-4712"})
	<-h.Gate.Reached()
	h.closes("U0ALICE")
	h.Heal()
	h.WaitForTrail("session.undelivered", 1)
	m := h.Finds("U0ALICE", false, "press Reveal")
	if strings.Contains(string(m.Blocks)+m.Text, sandbox.Marker) {
		t.Error("a message holds a secret")
	}
	h.Presses("U0ALICE", m, "reveal")
	again := Pasted(t, h.Answer("U0ALICE", 1))
	if all := h.WaitForTrail("session.issued", 3); all[2].RequestID != all[1].RequestID || all[2].AccessKeyID != again["AWS_ACCESS_KEY_ID"] {
		t.Errorf("the trail says %+v", all)
	}

	// Of a role that others must approve, the form says so, and becomes the wait.
	h.Types("U0OLGA", "")
	if v := h.fills("U0OLGA", "prod-guarded"); !strings.Contains(modalText(v), "Needs 2 approvals from `leads`.") {
		t.Errorf("the form does not say what will happen:\n%s", modalText(v))
	}
	h.submits("U0OLGA", map[string]string{"duration:prod-guarded": "1h", "reason": "the disk is full"})
	h.modalWith("U0OLGA", "needs 2 approvals")
	h.approved("the disk is full")
	h.closes("U0OLGA")
	h.Presses("U0OLGA", h.Finds("U0OLGA", false, "was approved by lea, mia", "Reveal"), "reveal")
	revealed := Pasted(t, h.Answer("U0OLGA", 1))
	if all := h.WaitForTrail("session.issued", 4); all[3].Actor != "olga" || all[3].Rule != "approval.given" || all[3].AccessKeyID != revealed["AWS_ACCESS_KEY_ID"] {
		t.Errorf("the trail says %+v", all)
	}
	h.Stop()
	h.TrueTrail()
}

// modal is the modal that somebody has open.
func (h *House) modal(user string) sandbox.View {
	h.T.Helper()
	views := h.Slack.Views(user)
	if len(views) != 1 {
		h.T.Fatalf("%s has %d views open\n%s", user, len(views), h.Printed())
	}
	return views[0]
}

// modalText is a modal as a person reads it.
func modalText(v sandbox.View) string { return sandbox.ViewText(v, sandbox.RenderOptions{}) }

// modalWith waits until somebody's modal holds the words.
func (h *House) modalWith(user, words string) (found sandbox.View) {
	h.T.Helper()
	h.Eventually(func() bool {
		views := h.Slack.Views(user)
		i := slices.IndexFunc(views, func(v sandbox.View) bool { return strings.Contains(modalText(v), words) })
		if i >= 0 {
			found = views[i]
		}
		return i >= 0
	}, fmt.Sprintf("no modal of %s's holds %q", user, words))
	return found
}

// fills waits for the form and chooses a role.
func (h *House) fills(user, role string) sandbox.View {
	h.T.Helper()
	if _, err := h.Slack.ChooseView(h.T.Context(), user, h.modalWith(user, "Role: [").ID, "role", role); err != nil {
		h.T.Fatal(err)
	}
	return h.modalWith(user, "Role: [ "+role)
}

// submits submits the form with values, by their inputs' blocks.
func (h *House) submits(user string, values map[string]string) {
	h.T.Helper()
	if _, err := h.Slack.Submit(h.T.Context(), user, h.modal(user).ID, values); err != nil {
		h.T.Fatal(err)
	}
}

// closes closes the modal.
func (h *House) closes(user string) {
	h.T.Helper()
	if _, err := h.Slack.CloseView(h.T.Context(), user, h.modal(user).ID); err != nil {
		h.T.Fatal(err)
	}
}
