package broker_test

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// includes is the rules with something below a role, and a grant of bob's own.
var includes = replace(replace(rules, "readonly2: {", "readonly2: {includes: [ticketed], "), "groups: [sre]}", "groups: [sre], grants: [readonly2]}")

// TestReview says since when each path to a role has been there without a break,
// where that is known, and when the role was last issued.
func TestReview(t *testing.T) {
	t.Parallel()
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.change(t, "erin", func(u *broker.User) { u.GroupsSince = nil }) // as it was stored once
			s := engine(t, w)
			b, admin := w.at(s), broker.NewAdmin(s, w.Now, rand.Reader, root)
			use := func(key string) {
				t.Helper()
				if _, err := b.Issue(t.Context(), w.ask(key, "readonly")); err != nil {
					t.Fatal(err)
				}
			}
			hour := func(n int) time.Time { return began.Add(time.Duration(n) * time.Hour) }

			use("1")
			do(t, admin, "grant add readonly2 --user bob")
			for _, commands := range [][]string{
				1: nil, // the file
				2: {"group add-member sre alice"},
				3: {"grant add readonly2 --group dev"},
				4: {"grant remove plain --group dev", "grant add guarded --group leads --until 90m"},
				5: {"grant add plain --group dev", "grant add guarded --group leads --until 90m"},
				6: {"grant add readonly2 --user bob --until 90d", "group add-member leads root", "grant add guarded --group leads --until 30d"},
				7: {"grant add plain --group leads --until 30m", "grant add ticketed --user root --until 30m"},
				8: {"grant add plain --group leads --until 30d", "grant add ticketed --user root --until 30d"},
			} {
				if commands == nil && w.Now().Equal(hour(1)) {
					plan, err := admin.Plan(t.Context(), parse(t, includes), false)
					if err != nil {
						t.Fatal(err)
					}
					if err := admin.Apply(t.Context(), plan, broker.ApplyOptions{Overwrite: true}); err != nil {
						t.Fatal(err)
					}
				}
				do(t, admin, commands...)
				w.advance(time.Hour)
			}
			use("2")
			if _, err := b.Due(t.Context()); err != nil {
				t.Fatal(err)
			}

			rows, err := admin.Review(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			shown := map[string]time.Time{}
			for _, name := range []policy.UserName{"alice", "bob", "erin", "root"} {
				m, err := admin.User(t.Context(), name)
				if err != nil {
					t.Fatal(err)
				}
				since, err := admin.HoldsSince(t.Context(), m.User, m.Holds)
				if err != nil {
					t.Fatal(err)
				}
				for i, h := range m.Holds {
					shown[fmt.Sprint(name, " ", h.Role.Name)] = since[i]
				}
			}
			var got []string
			for _, r := range rows {
				if at, there := shown[fmt.Sprint(r.User, " ", r.Role)]; !there || !at.Equal(r.Since) {
					t.Errorf("%s is shown to hold %s since %v, and reviewed since %v", r.User, r.Role, at, r.Since)
				}
				line := fmt.Sprintf("%s %s:", r.User, r.Role)
				if !r.Since.IsZero() {
					line += fmt.Sprintf(" since hour %v", r.Since.Sub(began).Hours())
				}
				if !r.LastUsed.IsZero() {
					line += fmt.Sprintf(" used in hour %v", r.LastUsed.Sub(began).Hours())
				}
				got = append(got, line)
				x, err := admin.Can(t.Context(), r.User, r.Role, time.Time{})
				if err != nil || !x.Since.Equal(r.Since) {
					t.Errorf("%s: can says %v, %v", line, x.Since, err)
				}
			}
			want := []string{
				"alice guarded: since hour 2", // since they are a member
				"alice plain: since hour 5",   // since the group has it again
				"alice readonly: since hour 0 used in hour 9",
				"alice readonly2: since hour 3", // since the group has it
				"alice ticketed: since hour 0",
				"bob guarded: since hour 0",
				"bob readonly2: since hour 0", // with another end since
				"bob ticketed: since hour 1",  // since the one includes the other
				"erin plain:",                 // since when they are a member is not known
				"erin readonly:",
				"erin readonly2:",
				"erin ticketed:",
				"root guarded: since hour 6", // since they are a member; the grant never ended
				"root plain: since hour 8",   // it had ended
				"root ticketed: since hour 8",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if x, err := admin.Can(t.Context(), "alice", "nothing", time.Time{}); err == nil || !x.Since.IsZero() {
				t.Errorf("a role that is not there: %+v, %v", x, err)
			}
			if x, err := admin.Can(t.Context(), "root", "readonly", time.Time{}); err != nil || !x.Since.IsZero() {
				t.Errorf("a role that is not granted: since %v, %v", x.Since, err)
			}
		})
	}
}

// TestHistory tells what was changed about a user and a role: by whom, why, what
// was and what is, newest first, whether it was passed on yet or not.
func TestHistory(t *testing.T) {
	t.Parallel()
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := engine(t, w)
			b, admin := w.at(s), broker.NewAdmin(s, w.Now, rand.Reader, rootHerself)
			for _, words := range []string{
				"user add dora --group dev --until 2099-01-01T00:00:00Z --message joins", "grant add guarded --group dev", "group add-member sre dora bob",
				"grant remove guarded --group dev --message over", "user remove dora",
			} {
				w.advance(time.Second)
				do(t, admin, words)
				if words == "grant add guarded --group dev" {
					if _, err := b.Due(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			history := func() (lines []string) {
				t.Helper()
				events, err := admin.UserHistory(t.Context(), "dora")
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range events {
					lines = append(lines, fmt.Sprintf("%v %s by %s: %s", e.Time.Sub(began), e.Event, e.Actor, e.Detail))
				}
				return lines
			}
			want := []string{
				"5s user.removed by root: enabled: true → false; groups: dev, sre → none; removed",
				"3s user.changed by root: groups: dev → dev, sre",
				"1s user.created by root: enabled: true; expires: 2099-01-01 00:00 UTC; groups: dev (joins)",
			}
			if diff := cmp.Diff(want, history()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if _, err := b.Due(t.Context()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, history()); diff != "" {
				t.Errorf("once it is passed on (-want +got):\n%s", diff)
			}

			changes, err := admin.RoleHistory(t.Context(), "guarded", 3)
			var lines []string
			for _, c := range changes {
				lines = append(lines, fmt.Sprintf("%d by %s: %v %s", c.Head.Version, c.Head.Author, c.Differences[0], c.Head.Message))
			}
			want = []string{
				"3 by root: groups.dev.grants.guarded: removed, was without end over",
				"2 by root: groups.dev.grants.guarded: added, without end ",
				"1 by os:root: groups.sre.grants.guarded: added, without end the rules",
			}
			if diff := cmp.Diff(want, lines); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			if changes, err := admin.RoleHistory(t.Context(), "guarded", 1); len(changes) != 1 || err != nil {
				t.Errorf("the newest: %+v, %v", changes, err)
			}
			for _, role := range []policy.RoleName{"guardde", ""} {
				if changes, err := admin.RoleHistory(t.Context(), role, 1); err == nil {
					t.Errorf("no role %q: %+v", role, changes)
				}
			}
			if events, err := admin.UserHistory(t.Context(), "doras"); err == nil {
				t.Errorf("nobody: %+v", events)
			}
		})
	}
}

// Whoever asks since when one user may ask for one role does not wait for all
// versions of the policy to be read; a review does.
func TestSinceIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin(w.tap)
	head, doc, err := w.store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first := head.AppliedAt
	w.advance(time.Hour)
	since := func() (can, review time.Time) {
		t.Helper()
		x, err := admin.Can(t.Context(), "bob", "guarded", time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		rows, err := admin.Review(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r.User == "bob" && r.Role == "guarded" {
				review = r.Since
			}
		}
		return x.Since, review
	}
	for head.Version <= 500 {
		head.Version++
		head.AppliedAt = w.Now()
		if err := w.store.PutPolicy(t.Context(), head, doc); err != nil {
			t.Fatal(err)
		}
	}
	if can, review := since(); !can.Equal(first) || !review.Equal(first) {
		t.Errorf("500 versions on: since %v, reviewed since %v", can, review)
	}
	head.Version++
	if err := w.store.PutPolicy(t.Context(), head, doc); err != nil {
		t.Fatal(err)
	}
	if can, review := since(); !can.IsZero() || !review.Equal(first) {
		t.Errorf("501 versions on: since %v, reviewed since %v", can, review)
	}
}
