package broker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

// short is what Alice gets who asks for a quarter of an hour, and does not see.
func short(t *testing.T, engine func(*testing.T, *world) store.Store) (*world, store.Store, *broker.Broker, *revoker, broker.Issued) {
	t.Helper()
	w := newWorld(t)
	s, r := engine(t, w), &revoker{}
	b := w.ending(s, r)
	issued, err := b.Issue(t.Context(), w.shortAsk())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Undelivered(t.Context(), issued); err != nil {
		t.Fatal(err)
	}
	return w, s, b, r, issued
}

// What was issued and not shown is revealed anew, whatever is left of its
// window: for as long as was granted, once, and what was not shown is ended.
func TestRevealedAnew(t *testing.T) {
	t.Parallel()
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, s, b, revoked, unseen := short(t, engine)
			w.advance(10 * time.Minute)
			if _, err := b.IssueAgain(t.Context(), w.again("renew", unseen.Request.ID)); rule(err) != broker.RuleWindowEnding {
				t.Errorf("renewed: %v", err)
			}
			w.advance(time.Minute)
			issued, err := b.Reveal(t.Context(), w.again("reveal", unseen.Request.ID))
			if err != nil || !released(issued) || issued.Again {
				t.Fatalf("revealed: %+v, %v", issued, err)
			}
			end := w.Now().Add(15 * time.Minute)
			if r := issued.Request; r.State != broker.StateOpen || !r.OpenedAt.Equal(w.Now()) || !r.WindowEnd.Equal(end) || !issued.Session.ExpiresAt.Equal(end) {
				t.Errorf("the window is %s to %s, the session until %s", r.OpenedAt, r.WindowEnd, issued.Session.ExpiresAt)
			}
			for _, key := range []string{"reveal", "a second press"} {
				again, err := b.Reveal(t.Context(), w.again(key, unseen.Request.ID))
				if !errors.As(err, new(*broker.AlreadyIssued)) || released(again) {
					t.Errorf("%s: %v", key, err)
				}
			}
			if _, err := b.Issue(t.Context(), w.shortAsk()); !errors.As(err, new(*broker.AlreadyIssued)) {
				t.Errorf("the first ask once more: %v", err)
			}
			if _, err := b.Due(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !revoked.denies(unseen.Session.ID) || revoked.denies(issued.Session.ID) {
				t.Errorf("denied %v", revoked.denied)
			}
			w.advance(14 * time.Minute)
			if _, err := b.Due(t.Context()); err != nil {
				t.Fatal(err)
			}
			if open, err := s.OpenRequests(t.Context(), "alice", w.Now()); err != nil || len(open) != 1 {
				t.Errorf("open: %+v, %v", open, err)
			}
			w.advance(time.Minute)
			for range 2 { // it is closed, and then told
				if _, err := b.Due(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			found, err := s.Events(t.Context(), broker.EventQuery{RequestID: unseen.Request.ID})
			if err != nil {
				t.Fatal(err)
			}
			names := map[string]string{unseen.Session.ID: "the first", issued.Session.ID: "the second", "": "all"}
			var got []string
			for _, e := range found {
				about, known := names[e.SessionID]
				if !known {
					about = "another"
				}
				got = append(got, fmt.Sprintf("%s of %s by %s", e.Event, about, e.Actor))
			}
			want := []string{
				"request.asked of the first by unknown", "session.issued of the first by alice", "session.undelivered of the first by alice",
				"request.asked of another by alice", "request.denied of another by alice",
				"request.asked of the second by alice", "session.issued of the second by alice", "session.end_asked of the first by alice",
				"session.ended of the first by starback", "request.closed of all by alice",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("trail (-want +got):\n%s", diff)
			}
		})
	}
}

// shortAsk is what short asked.
func (w *world) shortAsk() broker.Ask {
	ask := w.ask("1", "readonly")
	ask.Duration = 15 * time.Minute
	return ask
}

// Until when something can be revealed anew, and what may have happened before.
func TestRevealedAnewInTime(t *testing.T) {
	t.Parallel()
	over := func(err error) bool { return errors.As(err, new(*broker.AlreadyIssued)) }
	refused := func(by policy.Rule) func(error) bool { return func(err error) bool { return rule(err) == by } }
	for name, c := range map[string]struct {
		before func(*testing.T, *world, *broker.Broker, broker.Issued)
		after  time.Duration
		want   func(error) bool
		state  broker.State
	}{
		"the window is over":     {nil, 59 * time.Minute, func(err error) bool { return err == nil }, broker.StateOpen},
		"too late":               {nil, time.Hour, over, broker.StateClosed},
		"too late for the sweep": {func(_ *testing.T, w *world, _ *broker.Broker, _ broker.Issued) { w.advance(time.Hour) }, 0, over, broker.StateOpen},
		"ended": {func(t *testing.T, w *world, b *broker.Broker, issued broker.Issued) {
			if _, err := b.End(t.Context(), broker.Ending{Caller: alice, RequestID: issued.Request.ID, Deadline: w.Now().Add(time.Minute)}); err != nil {
				t.Fatal(err)
			}
		}, time.Minute, over, broker.StateClosed},
		"seen meanwhile": {func(t *testing.T, w *world, b *broker.Broker, issued broker.Issued) {
			if _, err := b.IssueAgain(t.Context(), w.again("renew", issued.Request.ID)); err != nil {
				t.Fatal(err)
			}
		}, time.Minute, over, broker.StateOpen},
		"seen meanwhile, and over": {func(t *testing.T, w *world, b *broker.Broker, issued broker.Issued) {
			if _, err := b.IssueAgain(t.Context(), w.again("renew", issued.Request.ID)); err != nil {
				t.Fatal(err)
			}
		}, 15 * time.Minute, over, broker.StateClosed},
		"switched off": {func(t *testing.T, w *world, _ *broker.Broker, _ broker.Issued) {
			do(t, w.admin(w.tap), "user disable alice")
		}, 0, refused(policy.RuleUserDisabled), broker.StateOpen},
		"not granted any more": {func(t *testing.T, w *world, _ *broker.Broker, _ broker.Issued) {
			do(t, w.admin(w.tap), "grant remove readonly --group dev")
		}, time.Minute, refused(policy.RuleNotGranted), broker.StateOpen},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, s, b, _, issued := short(t, engines["SQLite"])
			if c.before != nil {
				c.before(t, w, b, issued)
			}
			for left := c.after; left > 0; left -= 10 * time.Minute { // swept all the while
				w.advance(min(10*time.Minute, left))
				if _, err := b.Due(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			got, err := b.Reveal(t.Context(), w.again("reveal", issued.Request.ID))
			if !c.want(err) || released(got) != (err == nil) {
				t.Errorf("err = %v", err)
			}
			if after, err := s.Request(t.Context(), issued.Request.ID); err != nil || after.State != c.state {
				t.Errorf("the request is %s, %v", after.State, err)
			}
		})
	}
}

// What was approved, and not shown, is revealed anew for as long as the role
// says, and only as long as the approval counts; and the approvers see it.
func TestApprovedAnew(t *testing.T) {
	t.Parallel()
	w, r := pending(t, "guarded")
	r = w.approve(t, lea, r)
	issued, err := w.Reveal(t.Context(), w.reveal(r, "1"))
	if err != nil {
		t.Fatal(err)
	}
	if until := issued.Request.RevealUntil(); !until.IsZero() {
		t.Errorf("revealed anew until %s while it is shown", until)
	}
	w.due(t)
	w.teller.told = nil
	if err := w.Undelivered(t.Context(), issued); err != nil {
		t.Fatal(err)
	}
	w.due(t)
	want := []string{"audit session.undelivered", "undelivered session.undelivered", "approval session.undelivered"}
	if diff := cmp.Diff(want, w.teller.notices()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if until := w.request(t, r.ID).RevealUntil(); !until.Equal(issued.Session.BeganAt.Add(time.Hour)) {
		t.Errorf("revealed anew until %s", until)
	}
	do(t, w.admin(w.tap), "group remove-member leads lea")
	if _, err := w.Reveal(t.Context(), w.reveal(r, "2")); rule(err) != policy.RuleApprovalRequired {
		t.Errorf("without its approver: %v", err)
	}
	do(t, w.admin(w.tap), "group add-member leads lea")
	w.advance(time.Minute)
	again, err := w.Reveal(t.Context(), w.reveal(r, "3"))
	if err != nil || !again.Request.WindowEnd.Equal(w.Now().Add(4*time.Hour)) {
		t.Errorf("revealed anew: %+v, %v", again.Request, err)
	}
}

// A Request whose Session is being issued at the very end of its time is closed
// once that has failed.
func TestClosedAfterAll(t *testing.T) {
	t.Parallel()
	w, s, b, _, issued := short(t, engines["SQLite"])
	w.advance(time.Hour - time.Second)
	w.minter.onAssume = func(ctx context.Context, _ broker.Assumption) {
		w.advance(time.Second)
		if _, err := b.Due(ctx); err != nil {
			t.Error(err)
		}
	}
	w.aws.SetFault(on("AssumeRole", sandbox.Fault{Status: 500}))
	if _, err := b.Reveal(t.Context(), w.again("reveal", issued.Request.ID)); err == nil {
		t.Fatal("it was issued")
	}
	w.advance(broker.LeaseFor)
	if _, err := b.Due(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after, err := s.Request(t.Context(), issued.Request.ID); err != nil || after.State != broker.StateClosed {
		t.Errorf("the request is %s, %v", after.State, err)
	}
}
