package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/internal/faultproxy"
	"github.com/starback/starback/sandbox"
)

// TestForms is the request form, end to end, on the built binary: what is asked
// for in a modal is shown in the modal, and what came too late for it is told
// of in a message that holds no secret.
func TestForms(t *testing.T) {
	long(t)
	t.Parallel()
	onEachStore(t, func(t *testing.T, k *keeper) {
		h := newHouse(t, k)
		h.command("")
		if v := h.fills("prod-readonly"); !strings.Contains(modalText(v), "Issued at once.") {
			t.Errorf("the form does not say what will happen:\n%s", modalText(v))
		}
		h.submits(map[string]string{"ticket": "4711", "reason": "checking queue depth"})
		if v := h.modal(); v.Errors["ticket"] == "" {
			t.Fatalf("a ticket that is none is taken:\n%s", modalText(v))
		}
		h.submits(map[string]string{"duration:prod-readonly": "30m", "ticket": "INC-4711"})
		keys := pasted(t, sandbox.Message{Blocks: h.modalWith("AWS_ACCESS_KEY_ID").Blocks})
		issued := h.waitForTrail("session.issued", 1)[0]
		if issued.Actor != "alice" || issued.Ticket != "INC-4711" || issued.Reason != "checking queue depth" || issued.AccessKeyID != keys["AWS_ACCESS_KEY_ID"] {
			t.Errorf("the trail says %+v", issued)
		}
		h.closes()

		// A command that lacks its ticket opens the form. It is closed before AWS
		// answers.
		h.command("prod-readonly 1h checking again")
		if v := h.modalWith("checking again"); v.Submit != "Request" {
			t.Fatalf("not the form:\n%s", modalText(v))
		}
		h.awsWire.SetRule(faultproxy.On(faultproxy.Stall(h.gate), "AssumeRole"))
		h.submits(map[string]string{"ticket": "INC-4712"})
		select {
		case <-h.gate.Reached():
		case <-time.After(time.Minute):
			t.Fatalf("AWS is not asked\n%s", h.output())
		}
		h.closes()
		h.heal()
		h.waitForTrail("session.undelivered", 1)
		m := h.message("press Reveal")
		if strings.Contains(string(m.Blocks)+m.Text, sandbox.Marker) {
			t.Error("a message holds a secret")
		}
		if _, err := h.slack.Click(t.Context(), "U0ALICE", m, "reveal"); err != nil {
			t.Fatal(err)
		}
		again := pasted(t, answerWithin(t, h.slack, "U0ALICE", 1, time.Minute))
		if all := h.waitForTrail("session.issued", 3); all[2].RequestID != all[1].RequestID || all[2].AccessKeyID != again["AWS_ACCESS_KEY_ID"] {
			t.Errorf("the trail says %+v", all)
		}
		h.stop()
		h.trueTrail(h.output())
	})
}

// modal is the modal that Alice has open.
func (h *house) modal() sandbox.View {
	h.t.Helper()
	views := h.slack.Views("U0ALICE")
	if len(views) != 1 {
		h.t.Fatalf("Alice has %d views open\n%s", len(views), h.output())
	}
	return views[0]
}

// modalText is a modal as a person reads it.
func modalText(v sandbox.View) string { return sandbox.ViewText(v, sandbox.RenderOptions{}) }

// modalWith waits until Alice's modal holds the words.
func (h *house) modalWith(words string) sandbox.View {
	h.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		for _, v := range h.slack.Views("U0ALICE") {
			if strings.Contains(modalText(v), words) {
				return v
			}
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("no modal of Alice's holds %q\n%s", words, h.output())
		}
	}
}

// fills waits for the form and chooses a role.
func (h *house) fills(role string) sandbox.View {
	h.t.Helper()
	if _, err := h.slack.ChooseView(h.t.Context(), "U0ALICE", h.modalWith("Role: [").ID, "role", role); err != nil {
		h.t.Fatal(err)
	}
	return h.modalWith("Role: [ " + role)
}

// submits submits the form with values, by their inputs' blocks.
func (h *house) submits(values map[string]string) {
	h.t.Helper()
	if _, err := h.slack.Submit(h.t.Context(), "U0ALICE", h.modal().ID, values); err != nil {
		h.t.Fatal(err)
	}
}

// closes closes the modal.
func (h *house) closes() {
	h.t.Helper()
	if _, err := h.slack.CloseView(h.t.Context(), "U0ALICE", h.modal().ID); err != nil {
		h.t.Fatal(err)
	}
}

// message waits until Alice is sent a message of her own that holds the words.
func (h *house) message(words string) sandbox.Message {
	h.t.Helper()
	var found []sandbox.Message
	for deadline := time.Now().Add(time.Minute); len(found) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("Alice is not told %q\n%s", words, h.output())
		}
		found = slices.DeleteFunc(h.slack.Seen("U0ALICE"), func(m sandbox.Message) bool {
			return m.Ephemeral || !strings.Contains(m.Text, words)
		})
	}
	return found[0]
}
