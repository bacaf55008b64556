package bot_test

import (
	"strings"
	"testing"

	"github.com/starback/starback/broker"
)

// TestRuleChangesWhileItWaits holds that a request which waits goes by the rule
// as it has become, and says so: who may answer, and how many have to.
func TestRuleChangesWhileItWaits(t *testing.T) {
	const rule = "approval: {by: [leads], within: 2h, claim_within: 1h}"
	begin := func(t *testing.T, becomes string) *world {
		t.Helper()
		w := newApprovalWorld(t)
		w.asksFor(t, "one 1h INC-1 the disk is full")
		changed := strings.Replace(approvalPolicy, rule, becomes, 1)
		if changed == approvalPolicy {
			t.Fatal("the rule does not change")
		}
		w.apply(changed)
		w.passOn(t)
		return w
	}

	t.Run("others answer", func(t *testing.T) {
		w := begin(t, "approval: {by: [platform], within: 2h, claim_within: 1h}")
		has(t, w.votes(t, "U4", "deny"), "You are not one of those who may answer this request.")
		w.votes(t, "U2", "deny")
		if ack, err := w.Submit(t.Context(), "U2", w.modal("U2").ID, map[string]string{"why": "not on a Friday"}); err != nil || ack.Problem != "" {
			t.Fatalf("the form: %s, %v", ack.Problem, err)
		}
		w.work()
		w.passOn(t)
		has(t, w.shows(w.post(t)), "Denied by bob.", "not on a Friday")
	})

	t.Run("more have to", func(t *testing.T) {
		w := begin(t, "approval: {by: [leads, platform], count: 2, within: 2h, claim_within: 1h}")
		has(t, w.votes(t, "U4", "approve"), "1 of 2 approvals so far, by lea.")
		has(t, w.shows(w.post(t)), "1 of 2 approvals so far, by lea.", "To answer: @bob @ida @mia")
		w.votes(t, "U2", "approve")
		has(t, w.shows(w.post(t)), "Approved by lea, bob")
	})

	t.Run("it is nobody's any more", func(t *testing.T) {
		w := begin(t, "approval: {by: [dev], within: 2h, claim_within: 1h}")
		has(t, w.votes(t, "U4", "approve"), "You are not one of those who may answer this request.")
		if r := w.stored(t, w.post(t)); r.State != broker.StatePending || len(r.Approvals) != 0 {
			t.Errorf("the request is %s, with %+v", r.State, r.Approvals)
		}
	})
}
