package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/starback/starback/broker"
)

// testOutbox tests the Trails: which need attention, and that settling them
// loses nothing.
func testOutbox(t *testing.T, open func(*testing.T) Store) {
	t.Run("one of many holds what is due, until then", func(t *testing.T) { testHold(t, open(t)) })
	cases(t, open, []promise{
		{"what is due comes first that was due first", func(t *testing.T, s Store) {
			putTrail(t, s, "later", notices(clock.Add(2*time.Minute)))
			putTrail(t, s, "soon", notices(clock.Add(time.Hour), clock.Add(time.Minute)))
			putTrail(t, s, "events", broker.Trail{Events: []broker.Event{anEvent("e")}})
			putTrail(t, s, "none", broker.Trail{Thread: "1762335000.000100", Post: "1762335000.000200", Direct: "D024BE91L/1762335000.000300"})
			user := alice()
			user.Trail = notices(clock.Add(90 * time.Second))
			must(s.PutUser(t.Context(), user))(t)
			proposal := aProposal("01P")
			proposal.Trail = notices(clock.Add(75 * time.Second))
			must(s.PutProposal(t.Context(), proposal))(t)
			head := aHead(1, aDocument("first"))
			head.Trail = notices(clock.Add(30 * time.Second))
			wantNoErr(t, s.PutPolicy(t.Context(), head, aDocument("first")))

			ref := func(kind broker.RefKind, key string) broker.Ref { return broker.Ref{Kind: kind, Key: key} }
			order := []broker.Ref{
				ref(broker.RefRequest, "events"), ref(broker.RefPolicy, "1"), ref(broker.RefRequest, "soon"),
				ref(broker.RefProposal, "01P"), ref(broker.RefUser, "alice"), ref(broker.RefRequest, "later"),
			}
			for _, c := range []struct {
				after time.Duration
				limit int
				want  []broker.Ref
			}{
				{0, 100, order[:1]},
				{30*time.Second - time.Millisecond, 100, order[:1]},
				{30 * time.Second, 100, order[:2]},
				{90 * time.Second, 100, order[:5]},
				{24 * time.Hour, 100, order},
				{24 * time.Hour, 3, order[:3]},
				{24 * time.Hour, 1, order[:1]},
				{24 * time.Hour, 0, nil},
				{24 * time.Hour, -1, nil},
			} {
				wantPending(t, s, clock.Add(c.after), c.limit, c.want...)
			}
			pending := must(s.Pending(t.Context(), clock.Add(30*time.Second), 2))(t)
			wantSame(t, pending[1], broker.Pending{Ref: order[1], Trail: head.Trail})
		}},
		{"settling takes off what was passed on, and only that", func(t *testing.T, s Store) {
			ctx := t.Context()
			before := broker.Trail{
				Events:  []broker.Event{anEvent("e1"), anEvent("e2")},
				Notices: []broker.Notice{aNotice("n1", clock), aNotice("n2", clock), aNotice("n3", clock)},
			}
			settlement := broker.Settlement{
				Indexed: []string{"e1", "never there"}, Told: []string{"n1"},
				Later:  map[string]broker.Notice{"n2": {Due: clock.Add(time.Hour), Tries: 1}},
				Thread: "1762335000.000100", Post: "1762335000.000200", Direct: "D024BE91L/1762335000.000300",
			}
			for _, r := range trails(t, s, before) {
				for range 2 { // the second time changes nothing
					wantNoErr(t, s.Settle(ctx, r.ref, settlement))
					wantSame(t, r.read(t), settlement.Apply(before))
				}
			}
		}},
		{"a settled Trail is not pending any more", func(t *testing.T, s Store) {
			ctx := t.Context()
			for _, r := range trails(t, s, notices(clock)) {
				wantNoErr(t, s.Settle(ctx, r.ref, broker.Settlement{Told: []string{"n0"}}))
			}
			wantPending(t, s, clock.Add(time.Hour), 100)
		}},
		{"a Notice put off is due at its new time", func(t *testing.T, s Store) {
			ctx := t.Context()
			var refs []broker.Ref
			for i, r := range trails(t, s, notices(clock)) {
				later := aNotice("n0", clock.Add(time.Duration(i+1)*time.Minute))
				later.Tries = 1
				wantNoErr(t, s.Settle(ctx, r.ref, broker.Settlement{Later: map[string]broker.Notice{"n0": later}}))
				refs = append(refs, r.ref)
			}
			wantPending(t, s, clock.Add(time.Minute-time.Millisecond), 100)
			for i := range refs {
				wantPending(t, s, clock.Add(time.Duration(i+1)*time.Minute), 100, refs[:i+1]...)
			}
		}},
		{"an old version of the Policy can still be settled", func(t *testing.T, s Store) {
			ctx := t.Context()
			for v := range int64(3) {
				head := aHead(v+1, aDocument(fmt.Sprint(v)))
				head.Trail = notices(clock)
				wantNoErr(t, s.PutPolicy(ctx, head, aDocument(fmt.Sprint(v))))
			}
			wantNoErr(t, s.Settle(ctx, broker.Ref{Kind: broker.RefPolicy, Key: "1"}, broker.Settlement{Told: []string{"n0"}}))
			for v, want := range []int{0, 1, 1} {
				head, doc, err := s.Policy(ctx, int64(v+1))
				wantNoErr(t, err)
				if got := len(head.Trail.Notices); got != want {
					t.Errorf("version %d has %d Notices, want %d", v+1, got, want)
				}
				if doc.Digest() != aDocument(fmt.Sprint(v)).Digest() {
					t.Errorf("version %d has another document", v+1)
				}
			}
			if head, _, err := s.Head(ctx); err != nil || head.Version != 3 {
				t.Errorf("the head is %d (%v), want 3", head.Version, err)
			}
		}},
		{"settling what is not there", func(t *testing.T, s Store) {
			for _, c := range []struct {
				ref  broker.Ref
				want error
			}{
				{broker.Ref{Kind: broker.RefRequest, Key: "REQ1"}, broker.ErrNotFound},
				{broker.Ref{Kind: broker.RefUser, Key: "alice"}, broker.ErrNotFound},
				{broker.Ref{Kind: broker.RefProposal, Key: "01P"}, broker.ErrNotFound},
				{broker.Ref{Kind: broker.RefPolicy, Key: "1"}, broker.ErrNotFound},
				{broker.Ref{Kind: broker.RefPolicy, Key: "newest"}, broker.ErrInvalid},
				{broker.Ref{Kind: "identity", Key: "T012AB/U0456"}, broker.ErrInvalid},
				{broker.Ref{}, broker.ErrInvalid},
			} {
				wantErr(t, s.Settle(t.Context(), c.ref, broker.Settlement{}), c.want)
			}
		}},
		{"what many sweepers settle at once stays settled", func(t *testing.T, s Store) {
			ctx := t.Context()
			const sweepers = 8
			for _, r := range trails(t, s, notices(make([]time.Time, sweepers)...)) {
				together(sweepers, func(i int) {
					if err := s.Settle(ctx, r.ref, broker.Settlement{Told: []string{fmt.Sprint("n", i)}}); err != nil {
						t.Error(err)
					}
				})
				if left := r.read(t).Notices; len(left) != 0 {
					t.Errorf("%s: %d of %d Notices came back", r.ref.Kind, len(left), sweepers)
				}
			}
		}},
		{"settling keeps what is added meanwhile", testSettleRace},
	})
}

// testSettleRace adds Events and Notices to a Request while sweepers settle it.
// Each must be seen by a sweeper, and nothing may come back.
func testSettleRace(t *testing.T, s Store) {
	ctx := t.Context()
	const sweepers, each = 4, 10
	must(s.PutRequest(ctx, broker.Request{ID: "REQ1", Role: "prod-readonly"}))(t)
	ref := broker.Ref{Kind: broker.RefRequest, Key: "REQ1"}
	seen := make([]map[string]bool, sweepers)
	sweeping, stop := context.WithCancel(ctx)
	var sweeps sync.WaitGroup
	for i := range sweepers {
		sweeps.Go(func() {
			seen[i] = map[string]bool{}
			for sweeping.Err() == nil && !t.Failed() {
				pending, err := s.Pending(ctx, clock, 1)
				if err != nil {
					t.Error(err)
				}
				for _, p := range pending {
					var done broker.Settlement
					for _, e := range p.Trail.Events {
						done.Indexed, seen[i][e.ID] = append(done.Indexed, e.ID), true
					}
					for _, n := range p.Trail.Notices {
						done.Told, seen[i][n.ID] = append(done.Told, n.ID), true
					}
					if err := s.Settle(ctx, ref, done); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	finish := func() {
		stop()
		sweeps.Wait()
	}
	defer finish()
	for n := range each {
		addToTrail(t, s, fmt.Sprint(n))
	}
	wantSoon(t, broker.Trail{}, func(ctx context.Context) (broker.Trail, error) {
		r, err := s.Request(ctx, ref.Key)
		return r.Trail, err
	})
	finish() // before looking at what was seen
	for n := range each {
		for _, id := range []string{fmt.Sprint("e", n), fmt.Sprint("n", n)} {
			found := false
			for _, by := range seen {
				found = found || by[id]
			}
			if !found {
				t.Errorf("%s was lost", id)
			}
		}
	}
	r := must(s.Request(ctx, "REQ1"))(t)
	if len(r.Sessions) != each {
		t.Errorf("%d Sessions, want %d: settling undid a change", len(r.Sessions), each)
	}
}

// addToTrail adds a Session to the Request, with an Event and a Notice of it.
func addToTrail(t *testing.T, s Store, word string) {
	r, err := s.Request(t.Context(), "REQ1")
	for err == nil {
		r.Sessions = append(r.Sessions, broker.Session{ID: word})
		r.Trail.Events = append(r.Trail.Events, anEvent("e"+word))
		r.Trail.Notices = append(r.Trail.Notices, aNotice("n"+word, clock))
		if r, err = s.PutRequest(t.Context(), r); err == nil {
			return
		}
		if errors.Is(err, broker.ErrConflict) {
			err = nil // r is what is stored
		}
	}
	t.Error(err)
}

// wantPending fails the test unless what is due by now is want, sooner or later.
func wantPending(t *testing.T, s Store, now time.Time, limit int, want ...broker.Ref) {
	t.Helper()
	wantSoon(t, want, func(ctx context.Context) (refs []broker.Ref, err error) {
		pending, err := s.Pending(ctx, now, limit)
		for _, p := range pending {
			refs = append(refs, p.Ref)
		}
		return refs, err
	})
}

// notices returns a Trail with a Notice due at each of the times.
func notices(due ...time.Time) (trail broker.Trail) {
	for i, at := range due {
		trail.Notices = append(trail.Notices, aNotice(fmt.Sprint("n", i), at))
	}
	return trail
}

// putTrail stores a Request with the Trail.
func putTrail(t *testing.T, s Store, id string, trail broker.Trail) {
	t.Helper()
	must(s.PutRequest(t.Context(), broker.Request{ID: id, Role: "prod-readonly", Trail: trail}))(t)
}

// A trailed is an aggregate that carries a Trail.
type trailed struct {
	ref  broker.Ref
	read func(*testing.T) broker.Trail
}

// trails stores one aggregate of each kind with the Trail.
func trails(t *testing.T, s Store, trail broker.Trail) []trailed {
	t.Helper()
	ctx := t.Context()
	putTrail(t, s, "REQ1", trail)
	user := alice()
	user.Trail = trail
	must(s.PutUser(ctx, user))(t)
	proposal := aProposal("01P")
	proposal.Trail = trail
	must(s.PutProposal(ctx, proposal))(t)
	head := aHead(1, aDocument("first"))
	head.Trail = trail
	wantNoErr(t, s.PutPolicy(ctx, head, aDocument("first")))
	return []trailed{
		{broker.Ref{Kind: broker.RefRequest, Key: "REQ1"}, func(t *testing.T) broker.Trail {
			return must(s.Request(ctx, "REQ1"))(t).Trail
		}},
		{broker.Ref{Kind: broker.RefUser, Key: "alice"}, func(t *testing.T) broker.Trail {
			return must(s.User(ctx, "alice"))(t).Trail
		}},
		{broker.Ref{Kind: broker.RefProposal, Key: "01P"}, func(t *testing.T) broker.Trail {
			return must(s.Proposal(ctx, "01P"))(t).Trail
		}},
		{broker.Ref{Kind: broker.RefPolicy, Key: "1"}, func(t *testing.T) broker.Trail {
			head, _, err := s.Head(ctx)
			return must(head, err)(t).Trail
		}},
	}
}
