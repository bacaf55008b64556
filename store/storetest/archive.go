package storetest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// testArchive tests the audit index.
func testArchive(t *testing.T, open func(*testing.T) Store) {
	cases(t, open, []promise{
		{"is empty at first", func(t *testing.T, s Store) {
			wantEvents(t, s, broker.EventQuery{}, nil)
			wantNoErr(t, s.Append(t.Context(), nil))
		}},
		{"an Event is read as it was written", func(t *testing.T, s Store) {
			full := broker.Event{
				ID: "01JBXQ5A3M8V6T4E2R0Z9YEEEE", Event: broker.EventIssued, Time: clock, Actor: "alice",
				Slack: aliceID.String(), Subject: "bob", RequestID: "REQ1", SessionID: "S1", Role: "prod-readonly",
				AccountID: "111122223333", RoleARN: "arn:aws:iam::111122223333:role/starback/ReadOnly", Duration: 3600,
				Ticket: "INC-4711", Reason: "検査 <b> & 🔑", Decision: "allow", Rule: "grant", Path: "sre → prod-readonly",
				PolicyVersion: 7, AccessKeyID: "ASIAEXAMPLE", AssumedRoleID: "AROAEXAMPLE:alice@S1", SourceID: "alice",
				ExpiresAt: clock.Add(time.Hour), Outcome: broker.OutcomeOK, Detail: large(300_000),
			}
			wantNoErr(t, s.Append(t.Context(), []broker.Event{full}))
			wantEvents(t, s, broker.EventQuery{}, []broker.Event{full})
		}},
		{"one that is there is left as it is", func(t *testing.T, s Store) {
			ctx := t.Context()
			first := anEvent("01A")
			wantNoErr(t, s.Append(ctx, []broker.Event{first}))
			forged := first
			forged.Actor, forged.Reason, forged.RequestID = "mallory", "another", "REQ9"
			second := anEvent("01B")
			wantNoErr(t, s.Append(ctx, []broker.Event{forged, second, forged}))
			wantNoErr(t, s.Append(ctx, []broker.Event{first, second}))
			wantEvents(t, s, broker.EventQuery{}, []broker.Event{first, second})
			wantEvents(t, s, broker.EventQuery{RequestID: "REQ9"}, nil)
		}},
		{"many writers of the same Events leave each once", func(t *testing.T, s Store) {
			var want []broker.Event
			for i := range 20 {
				want = append(want, anEvent(fmt.Sprintf("01A%02d", i)))
			}
			together(8, func(i int) {
				shuffled := slices.Concat(want[i:], want[:i])
				if err := s.Append(context.Background(), shuffled); err != nil {
					t.Error(err)
				}
			})
			wantEvents(t, s, broker.EventQuery{}, want)
		}},
		{"pages are in order, without gap or overlap", func(t *testing.T, s Store) {
			ctx := t.Context()
			var want []broker.Event
			for i := range 250 {
				want = append(want, anEvent(fmt.Sprintf("01A%03d", i)))
			}
			backwards := slices.Clone(want)
			slices.Reverse(backwards)
			wantNoErr(t, s.Append(ctx, backwards))
			wantEvents(t, s, broker.EventQuery{Limit: 1000}, want)
			wantEvents(t, s, broker.EventQuery{}, want[:100]) // the limit where none is named
			for _, size := range []int{1, 49, 50, 250, 1000} {
				var got []broker.Event
				q := broker.EventQuery{Limit: size, Actor: "alice", After: "01A199"}
				for {
					page := must(s.Events(ctx, q))(t)
					if len(page) > size {
						t.Fatalf("a page of %d, want at most %d", len(page), size)
					}
					if len(page) == 0 {
						break
					}
					got = append(got, page...)
					q.After = page[len(page)-1].ID
				}
				wantSame(t, got, want[200:])
			}
		}},
		{"since is within, until is not", func(t *testing.T, s Store) {
			var all []broker.Event
			for i := range 5 {
				e := anEvent(fmt.Sprint("01A", i))
				e.Time = clock.Add(time.Duration(i) * time.Millisecond)
				all = append(all, e)
			}
			wantNoErr(t, s.Append(t.Context(), all))
			wantEvents(t, s, broker.EventQuery{Since: all[1].Time, Until: all[3].Time}, all[1:3])
			wantEvents(t, s, broker.EventQuery{Since: all[4].Time}, all[4:])
			wantEvents(t, s, broker.EventQuery{Until: all[0].Time}, nil)
			elsewhere := all[1].Time.In(time.FixedZone("", -8*3600))
			wantEvents(t, s, broker.EventQuery{Until: elsewhere}, all[:1])
		}},
		{"every query finds what a plain search finds", testQueries},
	})
}

// testQueries compares any query with a search through all Events.
func testQueries(t *testing.T, s Store) {
	pick := func(i, n int, of string) string { // "" for one in n
		if i%n == 0 {
			return ""
		}
		return fmt.Sprint(of, i%n)
	}
	var all []broker.Event
	for i := range 120 {
		e := broker.Event{
			ID: fmt.Sprintf("01A%03d", i), Event: broker.EventAsked, Time: clock.Add(time.Duration(i/2) * time.Minute),
			RequestID: pick(i, 5, "REQ"), AccessKeyID: pick(i, 7, "ASIA"), Actor: pick(i, 3, "user-"),
		}
		e.Role = policy.RoleName(pick(i, 4, "role-"))
		all = append(all, e)
	}
	wantNoErr(t, s.Append(t.Context(), all))
	wantEvents(t, s, broker.EventQuery{Limit: 1000}, all)
	rapid.Check(t, func(t *rapid.T) {
		word := func(of string, n int) string {
			return rapid.SampledFrom([]string{"", "", of + "1", fmt.Sprint(of, n-1), of + "none"}).Draw(t, of)
		}
		instant := func(label string) time.Time {
			minute := rapid.IntRange(-5, 65).Draw(t, label)
			if minute < 0 {
				return time.Time{}
			}
			return clock.Add(time.Duration(minute) * time.Minute)
		}
		q := broker.EventQuery{
			RequestID: word("REQ", 5), AccessKeyID: word("ASIA", 7), Actor: word("user-", 3),
			Role: policy.RoleName(word("role-", 4)), Since: instant("since"), Until: instant("until"),
			After: rapid.SampledFrom([]string{"", "01A030", "01A0305", "02"}).Draw(t, "after"),
			Limit: rapid.IntRange(0, 30).Draw(t, "limit"),
		}
		var want []string
		for _, e := range all {
			if chosen(e, q) && len(want) < cmp.Or(q.Limit, 100) {
				want = append(want, e.ID)
			}
		}
		events, err := s.Events(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range events {
			got = append(got, e.ID)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%+v finds %v, want %v", q, got, want)
		}
	})
}

// chosen says whether q chooses e, its page aside.
func chosen(e broker.Event, q broker.EventQuery) bool {
	return (q.RequestID == "" || e.RequestID == q.RequestID) &&
		(q.AccessKeyID == "" || e.AccessKeyID == q.AccessKeyID) &&
		(q.Actor == "" || e.Actor == q.Actor) &&
		(q.Role == "" || e.Role == q.Role) &&
		(q.Since.IsZero() || !e.Time.Before(q.Since)) &&
		(q.Until.IsZero() || e.Time.Before(q.Until)) &&
		e.ID > q.After
}

// wantEvents fails the test unless q finds want, sooner or later.
func wantEvents(t *testing.T, s Store, q broker.EventQuery, want []broker.Event) {
	t.Helper()
	wantSoon(t, want, func(ctx context.Context) ([]broker.Event, error) { return s.Events(ctx, q) })
}
