package broker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
)

// Approvers hear of every step of a Request that they had to answer, to its
// end, and of each once.
func TestApproversHearTheRest(t *testing.T) {
	w, r := pending(t, "guarded")
	b := w.ending(w.store, &revoker{})
	told := func() string {
		t.Helper()
		w.teller.told = nil
		if _, err := b.Due(t.Context()); err != nil {
			t.Error(err)
		}
		var names []string
		for _, telling := range w.teller.told {
			for _, n := range telling.Notices {
				if telling.Kind == broker.NoticeApproval {
					names = append(names, string(n.Event.Event))
				}
			}
		}
		return strings.Join(names, " ")
	}
	again := func(key string) broker.AskAgain { return w.reveal(r, key) }
	end := func(session string) {
		t.Helper()
		if _, err := b.End(t.Context(), broker.Ending{Caller: bob, RequestID: r.ID, SessionID: session, Deadline: w.Now().Add(time.Minute)}); err != nil {
			t.Error(err)
		}
	}
	var issued broker.Issued
	for _, step := range []struct {
		what string
		do   func() error
		want string
	}{
		{"asked", func() error { return nil }, "request.pending"},
		{"approved", func() error { r = w.approve(t, lea, r); return nil }, "approval.given"},
		{"a Reveal that fails", func() error {
			w.aws.SetFault(func(_, _ string) *sandbox.Fault {
				return &sandbox.Fault{Status: 403, Code: "AccessDenied", Message: "no"}
			})
			defer w.aws.SetFault(nil)
			if _, err := b.Reveal(t.Context(), again("1")); faultCode(err) != broker.FaultAccess {
				t.Errorf("err = %v", err)
			}
			return nil
		}, "session.failed"},
		{"revealed", func() (err error) { issued, err = b.Reveal(t.Context(), again("2")); return err }, "session.issued"},
		{"not shown", func() error { return b.Undelivered(t.Context(), issued) }, "session.undelivered"},
		{"renewed", func() error { _, err := b.IssueAgain(t.Context(), again("3")); return err }, "session.issued"},
		{"renewed without its approver", func() error {
			do(t, w.admin(w.tap), "group remove-member leads lea")
			if _, err := b.IssueAgain(t.Context(), again("later")); rule(err) != policy.RuleApprovalRequired {
				t.Errorf("err = %v", err)
			}
			return nil
		}, "request.denied"},
		{"one Session ended", func() error { end(issued.Session.ID); return nil }, "session.end_asked session.ended"},
		{"nothing new", func() error { return nil }, ""},
		{"ended", func() error { end(""); return nil }, "session.end_asked session.ended"},
		{"refused", func() error {
			if _, err := b.IssueAgain(t.Context(), again("4")); rule(err) != broker.RuleWindowEnding {
				t.Errorf("err = %v", err)
			}
			return nil
		}, ""}, // nothing changed, and it is in the audit
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		if got := told(); got != step.want {
			t.Errorf("%s: told of %q, want %q", step.what, got, step.want)
		}
	}
}

// Where nobody has to approve, nobody in the approvals channel hears anything.
func TestNoApproversHearNothing(t *testing.T) {
	w := newWorld(t)
	b := w.ending(w.store, &revoker{})
	issued := w.mustIssue(t, w.ask("1", "readonly"))
	if err := b.Undelivered(t.Context(), issued); err != nil {
		t.Fatal(err)
	}
	if _, err := b.End(t.Context(), broker.Ending{Caller: alice, RequestID: issued.Request.ID, Deadline: w.Now().Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	for _, n := range w.request(t, issued.Request.ID).Trail.Notices {
		if n.Kind == broker.NoticeApproval {
			t.Errorf("told: %+v", n)
		}
	}
}
