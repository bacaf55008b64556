package bot_test

import (
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
)

// TestAskAgain asks for what came to nothing once more: the form opens with what
// was asked for, and asks for it anew.
func TestAskAgain(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, w *world){
		"denied": func(t *testing.T, w *world) {
			w.votes(t, "U4", "deny")
			if _, err := w.Submit(t.Context(), "U4", w.modal("U4").ID, map[string]string{"why": "not now"}); err != nil {
				t.Fatal(err)
			}
			w.work()
		},
		"lapsed":     func(_ *testing.T, w *world) { w.clock.add(2 * time.Hour) },
		"unrevealed": func(t *testing.T, w *world) { w.votes(t, "U4", "approve"); w.clock.add(time.Hour) },
		"void": func(_ *testing.T, w *world) {
			w.apply(strings.Replace(approvalPolicy, "iam_role: starback/Admin\n    max_duration: 4h", "iam_role: starback/Other\n    max_duration: 4h", 1))
			w.votes(t, "U4", "approve")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newApprovalWorld(t)
			w.asksFor(t, "one 2h INC-7 the *disk* is full")
			first := w.post(t).TS
			end(t, w)
			w.passOn(t)
			if ack, err := w.Click(t.Context(), "U1", w.direct(t, "U1"), "ask_again"); err != nil || ack.Problem != "" {
				t.Fatal(ack.Problem, err)
			}
			has(t, bare(w.shownTo("U1")), "Role: [ one v ]", "For how long: [ 2h v ]", "Ticket: INC-7", "Reason (optional): the disk is full")
			w.submits("U1", nil)
			w.work()
			w.passOn(t)
			has(t, bare(w.shownTo("U1")), "one in prod (111122223333) for 2h needs 1 approval from leads.")
			if w.post(t).TS == first {
				t.Error("nothing is asked anew")
			}
			has(t, w.shows(w.post(t)), "Ticket INC-7", "Reason the disk is full")
		})
	}
}

// TestAskAgainInWords says how to where the form cannot be opened, since its
// trigger is none of Slack's, and nothing of what is somebody else's. A role that
// is not to be had any more is not chosen.
func TestAskAgainInWords(t *testing.T) {
	w := newApprovalWorld(t)
	w.asksFor(t, "one 2h INC-7 x")
	id := w.stored(t, w.post(t)).ID
	w.clock.add(2 * time.Hour)
	w.passOn(t)
	w.types("U2", "whoami")
	has(t, w.late(t, "U2", "ask_again", id), "That request is not known any more.")
	has(t, w.late(t, "U1", "ask_again", id), "has lapsed, with 0 of 1 approval.", "ask again: /starback one")
	w.apply(strings.Replace(approvalPolicy, "dev: {grants: [one, ", "dev: {grants: [", 1))
	if ack, err := w.Click(t.Context(), "U1", w.direct(t, "U1"), "ask_again"); err != nil || ack.Problem != "" {
		t.Fatal(ack.Problem, err)
	}
	has(t, bare(w.shownTo("U1")), "There is no role one that you may ask for. Choose another.", "INC-7 x")
	if r, err := w.store.Request(t.Context(), id); err != nil || r.State != broker.StateLapsed {
		t.Errorf("%s, %v", r.State, err)
	}
}
