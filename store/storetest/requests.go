package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// testOpenRequests tests which Requests a User has open.
func testOpenRequests(t *testing.T, open func(*testing.T) Store) {
	cases(t, open, []promise{
		{"there are none at first, nor of nobody", func(t *testing.T, s Store) {
			asked := openRequest("REQ1", clock)
			asked.State, asked.User = broker.StateAsked, ""
			must(s.PutRequest(t.Context(), asked))(t)
			wantOpen(t, s, "alice")
			wantOpen(t, s, "")
		}},
		{"those that are pending, approved or open, and no others", func(t *testing.T, s Store) {
			var want []broker.Request
			for i, c := range []struct {
				state broker.State
				open  bool
			}{
				{broker.StateAsked, false}, {broker.StatePending, true}, {broker.StateApproved, true}, {broker.StateOpen, true},
				{broker.StateDenied, false}, {broker.StateWithdrawn, false}, {broker.StateLapsed, false},
				{broker.StateVoid, false}, {broker.StateClosed, false}, {"", false}, {"something newer", false},
			} {
				r := openRequest(fmt.Sprintf("REQ%02d", i), clock.Add(time.Duration(i)*time.Second))
				r.State = c.state
				if r = must(s.PutRequest(t.Context(), r))(t); c.open {
					want = append(want, r)
				}
			}
			wantOpen(t, s, "alice", want...)
		}},
		{"nobody has another's", func(t *testing.T, s Store) {
			users := []policy.UserName{"alice", "alice2", "Alice", "alic", "al_ce", "alice%", "bob"}
			want := map[policy.UserName]broker.Request{}
			for i, user := range users {
				r := openRequest(fmt.Sprint("REQ", i), clock)
				r.User = user
				want[user] = must(s.PutRequest(t.Context(), r))(t)
			}
			for _, user := range users {
				wantOpen(t, s, user, want[user])
			}
			wantOpen(t, s, "ali")
			// Whose it is, the Request says.
			moved := want["bob"]
			moved.User = "carol"
			moved = must(s.PutRequest(t.Context(), moved))(t)
			wantOpen(t, s, "carol", moved)
			wantOpen(t, s, "bob")
		}},
		{"the oldest first, however close, and of one moment by ID", func(t *testing.T, s Store) {
			ages := []time.Duration{0, time.Nanosecond, 2 * time.Nanosecond, time.Microsecond, time.Millisecond, time.Hour}
			want := make([]broker.Request, len(ages))
			for n, i := range []int{3, 0, 5, 2, 4, 1} { // neither by ID nor as they are written
				r := openRequest(fmt.Sprint("REQ", n), clock.Add(ages[i]))
				want[i] = must(s.PutRequest(t.Context(), r))(t)
			}
			for _, id := range []string{"B", "A"} {
				r := must(s.PutRequest(t.Context(), openRequest(id, clock.Add(2*time.Hour))))(t)
				want = slices.Insert(want, len(ages), r)
			}
			wantOpen(t, s, "alice", want...)
		}},
		{"from when it waits until it is over", func(t *testing.T, s Store) {
			for i, states := range [][]broker.State{
				{broker.StateAsked, broker.StatePending, broker.StateApproved, broker.StateOpen, broker.StateClosed},
				{broker.StateAsked, broker.StateOpen, broker.StateOpen, broker.StateClosed},
				{broker.StateAsked, broker.StatePending, broker.StateWithdrawn},
				{broker.StateAsked, broker.StatePending, broker.StateApproved, broker.StateLapsed},
				{broker.StateAsked, broker.StateDenied},
			} {
				r := openRequest(fmt.Sprint("REQ", i), clock)
				for _, r.State = range states {
					if r.State == broker.StateAsked {
						r.User = ""
					} else {
						r.User = "alice"
					}
					r = must(s.PutRequest(t.Context(), r))(t)
					if r.State == broker.StateAsked || r.State.Over() {
						wantOpen(t, s, "alice")
					} else {
						wantOpen(t, s, "alice", r)
					}
				}
			}
		}},
		{"an open one until its window ends", func(t *testing.T, s Store) {
			ctx := t.Context()
			end := clock.Add(time.Hour)
			want := map[broker.State]broker.Request{}
			for i, state := range []broker.State{broker.StatePending, broker.StateApproved, broker.StateOpen} {
				r := openRequest(fmt.Sprint("REQ", i), clock.Add(time.Duration(i)))
				r.State, r.WindowEnd = state, end
				want[state] = must(s.PutRequest(ctx, r))(t)
			}
			unseen := openRequest("REQ8", clock.Add(8)) // and can be revealed anew for longer
			unseen.WindowEnd = clock.Add(15 * time.Minute)
			unseen.Sessions[0].State, unseen.Sessions[0].UndeliveredAt = broker.SessionIssued, clock
			unseen = must(s.PutRequest(ctx, unseen))(t)
			endless := openRequest("REQ9", clock)
			endless.WindowEnd = time.Time{}
			must(s.PutRequest(ctx, endless))(t)
			waiting := []broker.Request{want[broker.StatePending], want[broker.StateApproved]}
			all := append(slices.Clone(waiting), want[broker.StateOpen], unseen)
			for _, c := range []struct {
				now  time.Time
				want []broker.Request
			}{
				{clock, all},
				{end.Add(-time.Nanosecond), all},
				{end, waiting},
				{end.In(time.FixedZone("", 3600)), waiting},
				{end.Add(time.Hour), waiting},
			} {
				wantOpenAt(t, s, c.now, "alice", c.want...)
			}
		}},
		{"passing on a Trail changes nothing about it", func(t *testing.T, s Store) {
			ctx := t.Context()
			open, over := openRequest("REQ1", clock), openRequest("REQ2", clock)
			over.State = broker.StateClosed
			for _, r := range []broker.Request{open, over} {
				r.Trail = notices(clock)
				must(s.PutRequest(ctx, r))(t)
				ref := broker.Ref{Kind: broker.RefRequest, Key: r.ID}
				if held := must(s.Hold(ctx, ref, clock, clock.Add(time.Minute)))(t); !held {
					t.Errorf("%s cannot be held", r.ID)
				}
				wantNoErr(t, s.Settle(ctx, ref, broker.Settlement{Told: []string{"n0"}}))
			}
			wantOpen(t, s, "alice", must(s.Request(ctx, "REQ1"))(t))
		}},
		{"a write that is refused changes nothing about it", func(t *testing.T, s Store) {
			stored := must(s.PutRequest(t.Context(), openRequest("REQ1", clock)))(t)
			late := stored
			late.State, late.Version = broker.StateClosed, 7
			_, err := s.PutRequest(t.Context(), late)
			wantErr(t, err, broker.ErrConflict)
			wantOpen(t, s, "alice", stored)
		}},
		{"200 of one User, with all that is in them", func(t *testing.T, s Store) {
			want := make([]broker.Request, 200) // 2 MB: more than DynamoDB reads at once
			together(8, func(n int) {
				for i := n; i < len(want); i += 8 {
					r := openRequest(fmt.Sprintf("REQ%03d", i), clock.Add(time.Duration(i)*time.Second))
					r.Words = large(10_000)
					var err error
					if want[i], err = s.PutRequest(t.Context(), r); err != nil {
						t.Error(err)
					}
				}
			})
			wantOpen(t, s, "alice", want...)
			for i := range want[:100] {
				want[i].State = broker.StateClosed
				must(s.PutRequest(t.Context(), want[i]))(t)
			}
			wantOpen(t, s, "alice", want[100:]...)
		}},
	})
}

// openRequest is a Request of alice, asked for at the given time, whose window
// ends an hour after the tests begin.
func openRequest(id string, askedAt time.Time) broker.Request {
	r := aRequest(id)
	r.State, r.AskedAt, r.Trail = broker.StateOpen, askedAt, broker.Trail{}
	return r
}

// wantOpen fails the test unless the User's open Requests are want, sooner or
// later.
func wantOpen(t *testing.T, s Store, user policy.UserName, want ...broker.Request) {
	t.Helper()
	wantOpenAt(t, s, clock, user, want...)
}

// wantOpenAt is wantOpen at another time.
func wantOpenAt(t *testing.T, s Store, now time.Time, user policy.UserName, want ...broker.Request) {
	t.Helper()
	wantSoon(t, slices.Clip(want), func(ctx context.Context) ([]broker.Request, error) {
		found, err := s.OpenRequests(ctx, user, now)
		return slices.Concat(found), err // nil for none
	})
}
