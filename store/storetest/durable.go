package storetest

import (
	"testing"
	"time"

	"github.com/starback/starback/broker"
)

// Durable tests that what was acknowledged outlives the Store. Like Run, it
// calls open once a subtest; reopen closes the Store and opens it again.
func Durable(t *testing.T, open func(t *testing.T) (s Store, reopen func(t *testing.T) Store)) {
	for _, p := range []struct {
		name  string
		holds func(t *testing.T, s Store, reopen func(*testing.T) Store)
	}{
		{"every kind of item is there again", testItemsReopened},
		{"the queue goes on where it was", testQueueReopened},
	} {
		t.Run(p.name, func(t *testing.T) {
			s, reopen := open(t)
			p.holds(t, s, reopen)
		})
	}
}

func testItemsReopened(t *testing.T, s Store, reopen func(*testing.T) Store) {
	ctx := t.Context()
	user := must(s.PutUser(ctx, alice()))(t)
	identity := must(s.PutIdentity(ctx, aliceIdentity()))(t)
	proposal := must(s.PutProposal(ctx, aProposal("01P")))(t)
	app := withToken(t, s, broker.User{Name: "ci", ID: "x", IsApp: true, Owner: "alice"})
	request := must(s.PutRequest(ctx, aRequest("REQ1")))(t)
	fence := must(s.PutFence(ctx, aFence(fenceARN)))(t)
	pace := must(s.PutPace(ctx, aPace("prod-admin")))(t)
	wantNoErr(t, apply(s, 1, aDocument("first")))
	wantNoErr(t, apply(s, 2, aDocument("second")))
	wantNoErr(t, s.Append(ctx, []broker.Event{anEvent("01A")}))

	for range 2 {
		s = reopen(t)
		wantSame(t, must(s.User(ctx, "alice"))(t), user)
		wantSame(t, must(s.Identity(ctx, aliceID))(t), identity)
		wantSame(t, must(s.Request(ctx, "REQ1"))(t), request)
		wantEvents(t, s, broker.EventQuery{}, []broker.Event{anEvent("01A")})
		wantSame(t, must(s.Proposal(ctx, "01P"))(t), proposal)
		wantSame(t, must(s.Fence(ctx, fenceARN))(t), fence)
		wantSame(t, must(s.Pace(ctx, "prod-admin"))(t), pace)
		wantOpen(t, s, "alice", request)
		wantDue(t, s, clock,
			trailed{ref: broker.Ref{Kind: broker.RefRequest, Key: "REQ1"}}, trailed{ref: broker.Ref{Kind: broker.RefProposal, Key: "01P"}})
		wantToken(t, s, tokenID, broker.Facts{User: app, Owner: user, PolicyVersion: 2})
		head, doc, err := s.Head(ctx)
		wantNoErr(t, err)
		wantPolicy(t, head, doc, 2, aDocument("second"))
		head, doc, err = s.Policy(ctx, 1)
		wantNoErr(t, err)
		wantPolicy(t, head, doc, 1, aDocument("first"))
		if facts := must(s.Identify(ctx, aliceID))(t); facts.PolicyVersion != 2 || facts.User.Name != "alice" {
			t.Errorf("identified %q with policy %d", facts.User.Name, facts.PolicyVersion)
		}
	}

	// Versions go on where they were.
	wantErr(t, apply(s, 2, aDocument("third")), broker.ErrConflict)
	wantNoErr(t, apply(s, 3, aDocument("third")))
	_, err := s.PutUser(ctx, alice())
	wantErr(t, err, broker.ErrConflict)
	if u := must(s.PutUser(ctx, user))(t); u.Version != user.Version+1 {
		t.Errorf("version %d, want %d", u.Version, user.Version+1)
	}
}

func testQueueReopened(t *testing.T, s Store, reopen func(*testing.T) Store) {
	ctx := t.Context()
	enqueue(t, s, "done", "claimed", "later", "a", "b")
	for _, id := range []string{"done", "claimed", "later"} {
		wantJob(t, s, clock, id)
	}
	wantNoErr(t, s.Done(ctx, "done"))
	wantNoErr(t, s.Retry(ctx, "later", clock.Add(time.Hour)))

	s = reopen(t)
	wantWaiting(t, s, 4)
	want := broker.Job{ID: "a", Body: []byte("body of a"), Deadline: clock}
	wantSame(t, wantJob(t, s, clock, "a"), want)
	wantJob(t, s, clock, "b")
	wantNoJob(t, s, clock.Add(lease-time.Millisecond))
	if got := wantJob(t, s, clock.Add(lease), "claimed").Tries; got != 1 {
		t.Errorf("tries %d, want 1", got)
	}
	for _, id := range []string{"claimed", "a", "b"} {
		wantNoErr(t, s.Done(ctx, id))
	}
	wantNoJob(t, s, clock.Add(time.Hour-time.Millisecond))
	wantJob(t, s, clock.Add(time.Hour), "later")
}
