package storetest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
)

// testDue tests when a Trail is due that waits for moments far apart.
func testDue(t *testing.T, open func(*testing.T) Store) {
	far := clock.Add(30 * 24 * time.Hour)
	cases(t, open, []promise{
		{"a Notice far ahead waits alone", func(t *testing.T, s Store) {
			ctx := t.Context()
			stored := trails(t, s, notices(clock, far))
			wantDue(t, s, clock.Add(-time.Millisecond))
			wantDue(t, s, clock, stored...)
			for _, r := range stored {
				wantNoErr(t, s.Settle(ctx, r.ref, broker.Settlement{Told: []string{"n0"}}))
			}
			wantDue(t, s, clock.Add(24*time.Hour))
			wantDue(t, s, far.Add(-time.Millisecond))
			for _, r := range stored {
				if held := must(s.Hold(ctx, r.ref, far.Add(-time.Millisecond), far.Add(time.Hour)))(t); held {
					t.Errorf("%s is held before it is due", r.ref.Kind)
				}
			}
			wantDue(t, s, far, stored...)
			for _, r := range stored {
				if held := must(s.Hold(ctx, r.ref, far, far.Add(time.Minute)))(t); !held {
					t.Errorf("%s is due, and cannot be held", r.ref.Kind)
				}
				wantNoErr(t, s.Settle(ctx, r.ref, broker.Settlement{Told: []string{"n1"}}))
			}
			wantDue(t, s, far.Add(365*24*time.Hour))
		}},
		{"who waits for a moment far ahead is not in the way", func(t *testing.T, s Store) {
			ctx := t.Context()
			for _, id := range []string{"REQ2", "REQ3", "REQ4", "REQ5"} {
				putTrail(t, s, id, notices(far))
			}
			stored := trails(t, s, notices(clock.Add(time.Minute), far))
			wantDue(t, s, clock.Add(time.Minute), stored...)
			user := must(s.User(ctx, "alice"))(t)
			user.Trail = broker.Trail{Notices: user.Trail.Notices[1:]}
			must(s.PutUser(ctx, user))(t)
			wantDue(t, s, clock.Add(time.Minute), slices.DeleteFunc(stored, func(r trailed) bool {
				return r.ref.Kind == broker.RefUser
			})...)
		}},
		{"each is due when its Trail says so", func(t *testing.T, s Store) {
			for id, trail := range map[string]broker.Trail{
				"REQ1": notices(clock.Add(time.Minute), far),
				"REQ2": notices(far, clock.Add(time.Hour), far.Add(time.Hour)),
				"REQ3": {Events: []broker.Event{anEvent("e1")}},
				"REQ4": {Events: []broker.Event{anEvent("e1")}, Notices: []broker.Notice{aNotice("e1", clock.Add(30*time.Second))}},
				"REQ5": {Events: []broker.Event{anEvent("e1")}, Notices: []broker.Notice{aNotice("n1", far)}},
				"REQ6": {Thread: "1762335000.000100"},
			} {
				putTrail(t, s, id, trail)
				r := trailed{ref: broker.Ref{Kind: broker.RefRequest, Key: id}}
				at, ok := trail.Due()
				if !ok {
					wantDue(t, s, far.Add(time.Hour))
					continue
				}
				wantDue(t, s, at.Add(-time.Millisecond))
				wantDue(t, s, at, r)
				var all broker.Settlement
				for _, e := range trail.Events {
					all.Indexed = append(all.Indexed, e.ID)
				}
				for _, n := range trail.Notices {
					all.Told = append(all.Told, n.ID)
				}
				wantNoErr(t, s.Settle(t.Context(), r.ref, all))
			}
		}},
	})
}

// wantDue fails the test unless what is due by now is want, in any order, sooner
// or later.
func wantDue(t *testing.T, s Store, now time.Time, want ...trailed) {
	t.Helper()
	byKey := func(a, b broker.Ref) int { return strings.Compare(string(a.Kind)+a.Key, string(b.Kind)+b.Key) }
	var refs []broker.Ref
	for _, r := range want {
		refs = append(refs, r.ref)
	}
	slices.SortFunc(refs, byKey)
	wantSoon(t, refs, func(ctx context.Context) (due []broker.Ref, err error) {
		pending, err := s.Pending(ctx, now, 100)
		for _, p := range pending {
			due = append(due, p.Ref)
		}
		slices.SortFunc(due, byKey)
		return due, err
	})
}
