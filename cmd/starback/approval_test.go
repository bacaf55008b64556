package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/sandbox"
)

// finds waits until a person sees a message that holds all of the words, and
// returns the newest that does. A message that only they see is asked for as
// such.
func (h *house) finds(user string, private bool, words ...string) sandbox.Message {
	h.t.Helper()
	ctx, stop := context.WithTimeout(h.t.Context(), time.Minute)
	defer stop()
	var found sandbox.Message
	var said []string
	_, err := h.slack.WaitFor(ctx, user, func(seen []sandbox.Message) bool {
		said = nil
		for _, m := range slices.Backward(seen) {
			text := plainText(m)
			said = append(said, text)
			missing := func(w string) bool { return !strings.Contains(text, w) }
			if m.Ephemeral == private && !slices.ContainsFunc(words, missing) {
				found = m
				return true
			}
		}
		return false
	})
	if err != nil {
		h.t.Fatalf("%s sees nothing with %q, but\n%s\n%s", user, words, brief(said...), h.output())
	}
	return found
}

// plainText is how a message reads, without its markup.
func plainText(m sandbox.Message) string {
	return strings.NewReplacer("`", "", "*", "").Replace(sandbox.Text(m, sandbox.RenderOptions{Width: 100000}))
}

// presses has a person press a button of a message.
func (h *house) presses(user string, m sandbox.Message, action string) {
	h.t.Helper()
	if ack, err := h.slack.Click(h.t.Context(), user, m, action); err != nil || ack.Problem != "" {
		h.t.Fatalf("%s: %s, %v", action, ack.Problem, err)
	}
}

// asksGuarded has Olga ask for what two must approve, and returns how that is
// put to them.
func (h *house) asksGuarded(reason string) sandbox.Message {
	h.t.Helper()
	if _, err := h.slack.Command(h.t.Context(), "U0OLGA", general, "prod-guarded 2h "+reason); err != nil {
		h.t.Fatal(err)
	}
	h.finds("U0OLGA", true, "needs 2 approvals from leads", "Withdraw")
	return h.finds("U0LEA", false, "asks for prod-guarded", reason, "0 of 2 approvals so far")
}

// TestApproval tells the story of requests that two must approve, on the built
// binary.
func TestApproval(t *testing.T) {
	onEachStore(t, func(t *testing.T, k *keeper) {
		h := newHouse(t, k)

		post := h.asksGuarded("the disk is full")
		h.presses("U0LEA", post, "approve")
		h.finds("U0LEA", true, "You approved prod-guarded for olga. 1 of 2 approvals so far, by lea.")
		h.presses("U0CAROL", h.finds("U0CAROL", false, "asks for prod-guarded", "1 of 2 approvals so far"), "approve")
		h.finds("U0CAROL", true, "You are not one of those who may answer this request.")
		h.presses("U0MIA", h.finds("U0MIA", false, "the disk is full", "1 of 2 approvals so far"), "approve")
		dm := h.finds("U0OLGA", false, "was approved by lea, mia", "Reveal")
		if n := h.assumed(); n != 0 {
			t.Fatalf("AssumeRole was called %d times before anything was revealed", n)
		}
		h.presses("U0OLGA", dm, "reveal")
		first := pasted(t, h.finds("U0OLGA", true, "prod-guarded", "Ends", "AWS_ACCESS_KEY_ID"))
		h.presses("U0OLGA", h.finds("U0OLGA", false, "you have revealed the credentials"), "renew")
		second := pasted(t, h.finds("U0OLGA", true, "These are new keys", "AWS_ACCESS_KEY_ID"))
		if first["AWS_ACCESS_KEY_ID"] == second["AWS_ACCESS_KEY_ID"] || h.assumed() != 2 {
			t.Errorf("%d calls of AssumeRole made the keys %s and %s", h.assumed(), first["AWS_ACCESS_KEY_ID"], second["AWS_ACCESS_KEY_ID"])
		}
		h.finds("U0LEA", false, "the disk is full", "Approved by lea, mia, and revealed")
		h.finds("U0LEA", false, "revealed by olga")
		issued := h.waitForTrail("session.issued", 2)
		if issued[0].Actor != "olga" || issued[0].Rule != "approval.given" || issued[0].AccessKeyID != first["AWS_ACCESS_KEY_ID"] || issued[0].RequestID != issued[1].RequestID {
			t.Errorf("the trail says %+v", issued)
		}

		h.presses("U0LEA", h.asksGuarded("just curious"), "deny")
		form := h.slack.Views("U0LEA")
		if len(form) != 1 {
			t.Fatalf("%d forms are open", len(form))
		}
		if ack, err := h.slack.Submit(t.Context(), "U0LEA", form[0].ID, map[string]string{"why": "not on a Friday"}); err != nil || ack.Problem != "" {
			t.Fatalf("the form: %s, %v", ack.Problem, err)
		}
		h.finds("U0LEA", true, "You denied prod-guarded for olga")
		h.finds("U0LEA", false, "just curious", "Denied by lea.", "not on a Friday")
		h.finds("U0OLGA", false, "was denied by lea", "not on a Friday")

		h.asksGuarded("a mistake")
		h.presses("U0OLGA", h.finds("U0OLGA", true, "needs 2 approvals"), "withdraw")
		h.finds("U0OLGA", true, "is withdrawn.")
		h.finds("U0LEA", false, "a mistake", "Withdrawn by olga.")

		h.stop()
		k.dump(t)
		secrets := []string{first["AWS_SECRET_ACCESS_KEY"], second["AWS_SESSION_TOKEN"], h.slackWire.URL + "/actions/", h.slackWire.URL + "/commands/", sandbox.Marker}
		if found := leaks(t, k.folder, h.output(), secrets...); len(found) > 0 {
			t.Errorf("a secret is in %s", strings.Join(found, ", "))
		}
		for _, m := range h.slack.Seen("U0OLGA") {
			if !m.Ephemeral && strings.Contains(string(m.Blocks), first["AWS_SECRET_ACCESS_KEY"]) {
				t.Error("the credentials stand in a message that stays")
			}
		}
	})
}

// TestNobodyIsAsked holds that serve says at its start where roles need approval
// and there is no channel to ask in.
func TestNobodyIsAsked(t *testing.T) {
	for name, c := range map[string]struct {
		channel string
		warned  bool
	}{"no channel": {"", true}, "a channel": {guarded, false}} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, onSQLite(t), "STARBACK_APPROVALS_CHANNEL="+c.channel)
			h.stop()
			if got := strings.Contains(h.output(), `STARBACK_APPROVALS_CHANNEL is not set","role":"prod-guarded"`); got != c.warned {
				t.Errorf("warned: %v\n%s", got, h.output())
			}
		})
	}
}
