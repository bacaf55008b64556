package broker_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
)

// What was approved is its requester's alone: nobody else reveals it, whatever
// they may ask for themselves.
func TestRevealedByNobodyElse(t *testing.T) {
	for name, who := range map[string]broker.SlackID{
		"who may ask for it too": mia, "who approved it": lea, "who may not ask for it": alice, "an administrator": person("UROOT"),
		"nobody known": person("UNOBODY"), "the same id elsewhere": {Team: "T0XY", User: bob.User},
	} {
		t.Run(name, func(t *testing.T) {
			w, r := pending(t, "guarded")
			r = w.approve(t, lea, r)
			ask := w.reveal(r, "1")
			ask.Caller = who
			issued, err := w.Reveal(t.Context(), ask)
			if err == nil || released(issued) || len(w.assumed()) != 0 {
				t.Errorf("released: %v, %d sets were made, err = %v", released(issued), len(w.assumed()), err)
			}
			if after := w.request(t, r.ID); after.State != broker.StateApproved || len(after.Sessions) != len(r.Sessions) {
				t.Errorf("changed: %+v", after)
			}
			if issued, err := w.Reveal(t.Context(), w.reveal(r, "2")); err != nil || !released(issued) {
				t.Errorf("the requester: %v", err)
			}
		})
	}
}

// What is withdrawn while AWS answers is thrown away unseen.
func TestWithdrawnWhileRevealed(t *testing.T) {
	w, r := pending(t, "guarded")
	r = w.approve(t, lea, r)
	w.advance(time.Second)
	w.minter.onAssume = func(context.Context, broker.Assumption) {
		if got, err := w.Withdraw(t.Context(), bob, r.ID, w.Now().Add(time.Minute)); err != nil || got.State != broker.StateWithdrawn {
			t.Errorf("withdrawn: %s, %v", got.State, err)
		}
	}
	issued, err := w.Reveal(t.Context(), w.reveal(r, "1"))
	if faultCode(err) != broker.FaultOver || released(issued) {
		t.Errorf("released: %v, err = %v", released(issued), err)
	}
	after := w.request(t, r.ID)
	session := after.Sessions[len(after.Sessions)-1]
	if after.State != broker.StateWithdrawn || session.State != broker.SessionFailed || session.Outcome != string(broker.FaultOver) || session.AccessKeyID != "" {
		t.Errorf("request %+v", after)
	}
	if e := after.Trail.Events[len(after.Trail.Events)-1]; e.SessionID != session.ID || e.AccessKeyID == "" || e.ExpiresAt.IsZero() {
		t.Errorf("what was thrown away is not told of: %+v", e)
	}
	want := []string{"request.asked by unknown", "request.pending by bob", "approval.given by lea", "request.asked by bob", "request.withdrawn by bob", "session.failed by bob"}
	if diff := cmp.Diff(want, w.trailOf(t, w.Broker, r.ID)); diff != "" {
		t.Errorf("trail (-want +got):\n%s", diff)
	}
}
