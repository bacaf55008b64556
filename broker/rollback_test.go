package broker_test

import (
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/store"
)

// A rollback brings a removed group back, with whoever is still marked as its
// member. That is said beforehand and of what was done, with who gains what by
// it, is loud, and is on the trail.
func TestRollbackBringsBack(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := engine(t, w)
			admin := broker.NewAdmin(s, w.Now, rand.Reader, root)
			do(t, admin, "group add data", "grant add readonly2 --group data", "group add-member data alice bob erin", "group add idle")
			version := headOf(t, s).Version
			do(t, admin, "group remove data", "group remove idle", "group remove-member data erin", "grant remove ticketed --group dev")

			want := []string{
				"the removed group data comes back, with its members alice, bob",
				"the removed group idle comes back, without members",
				"alice gains readonly2 and ticketed", "bob gains readonly2", "erin gains ticketed",
				"groups.data: added", "groups.data.grants.readonly2: added, without end",
				"groups.dev.grants.ticketed: added, without end", "groups.idle: added",
			}
			loud := "These removed groups come back: data, idle."
			ch := broker.Change{Op: broker.OpRollback, Version: version, Message: "too much"}
			before := headOf(t, s)
			seen, benefit, err := admin.Preview(t.Context(), ch)
			if err != nil || benefit != "" || seen.Loud != loud || headOf(t, s).Version != before.Version {
				t.Errorf("beforehand: %+v, %q, %v", seen, benefit, err)
			}
			if diff := cmp.Diff(want, seen.Detail); diff != "" {
				t.Errorf("beforehand (-want +got):\n%s", diff)
			}
			done, err := admin.Do(t.Context(), ch)
			if err != nil || done.Loud != loud {
				t.Fatalf("%+v, %v", done, err)
			}
			if diff := cmp.Diff(want, done.Detail); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			groups := []broker.GroupBack{{Name: "data", Members: []policy.UserName{"alice", "bob"}}, {Name: "idle"}}
			if diff := cmp.Diff(groups, done.Back.Groups); diff != "" || done.Back.Impact.Gaining != 3 {
				t.Errorf("%+v (-want +got):\n%s", done.Back.Impact, diff)
			}
			head := headOf(t, s)
			at := slices.IndexFunc(head.Trail.Events, func(e broker.Event) bool { return e.Event == broker.EventPolicyRolledBack })
			if at < 0 || head.Trail.Events[at].Loud != loud || head.Trail.Events[at].Detail != "too much. "+strings.Join(want, "; ") {
				t.Errorf("the trail: %+v", head.Trail.Events)
			}
			if !slices.Equal(head.Changes[:3], want[:3]) {
				t.Errorf("the version says %q", head.Changes)
			}
			for user, held := range map[policy.UserName]bool{"alice": true, "bob": true, "erin": false} {
				m, err := admin.User(t.Context(), user)
				if got := slices.ContainsFunc(m.Holds, func(h policy.Hold) bool { return h.Via == "data" }); err != nil || got != held || m.Removed != nil {
					t.Errorf("%s by data: %v, want %v; removed %v, %v", user, got, held, m.Removed, err)
				}
			}
		})
	}
}

// Where two administrators are asked for, the first sees beforehand that it
// would wait, and the second what comes back.
func TestRollbackBringsBackForOneself(t *testing.T) {
	w, first, second := twoAdmins(t)
	version := headOf(t, w.store).Version
	if p := do(t, first, "group add data"); p.Proposal != nil {
		t.Fatalf("%+v", p)
	}
	do(t, second, "grant add readonly2 --group data")
	if p := do(t, second, "group add-member data root"); p.Proposal != nil {
		t.Fatalf("%+v", p)
	}
	version += 2
	do(t, second, "group remove data")
	ch := broker.Change{Op: broker.OpRollback, Version: version}
	_, benefit, err := first.Preview(t.Context(), ch)
	if err != nil || !strings.Contains(benefit, "root gains readonly2") {
		t.Errorf("%q, %v", benefit, err)
	}
	done, err := first.Do(t.Context(), ch)
	if err != nil || done.Proposal == nil || !slices.Equal(done.Proposal.Detail[:2],
		[]string{"the removed group data comes back, with its members root", "root gains readonly2"}) {
		t.Fatalf("%+v, %v", done, err)
	}
	if done, err = second.Confirm(t.Context(), done.Proposal.ID); err != nil || !strings.Contains(done.Loud, "The removed group data comes back.") {
		t.Errorf("%+v, %v", done, err)
	}
}

// What a rollback would do is refused beforehand where it would be.
func TestPreviewRefuses(t *testing.T) {
	w := newWorld(t)
	admin := w.admin(w.tap)
	do(t, admin, "group add second", "group add-member second alice", "admins add second", "admins remove admins", "user disable root")
	w.tap.watch(nil, nil)
	for version, want := range map[int64]error{9: broker.ErrNotFound, 1: broker.ErrInvalid} {
		if _, _, err := admin.Preview(t.Context(), broker.Change{Op: broker.OpRollback, Version: version}); !errors.Is(err, want) {
			t.Errorf("version %d: %v, want %v", version, err, want)
		}
	}
	if done, _, err := admin.Preview(t.Context(), broker.Change{Op: broker.OpRollback, Version: 4}); err != nil || !done.Same {
		t.Errorf("the same: %+v, %v", done, err)
	}
	if wrote := w.tap.wrote(); len(wrote) != 0 {
		t.Errorf("wrote %v", wrote)
	}
}

// The name of what was removed is never used again, whoever would: a command or
// a file.
func TestRemovedNames(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := engine(t, w)
			admin := broker.NewAdmin(s, w.Now, rand.Reader, root)
			do(t, admin, "group add data", "group remove data", "user remove bob")
			before := headOf(t, s)
			for _, words := range []string{"group add data", "user add bob"} {
				if _, err := admin.Do(t.Context(), change(t, words)); !errors.Is(err, broker.ErrInvalid) || !strings.Contains(err.Error(), "is never used again") {
					t.Errorf("%s: %v", words, err)
				}
			}
			for _, c := range []struct{ file, want string }{
				{rules, "the name `bob` was a removed user's"},
				{replace(without(rules, "  bob:   {slack: T0AB/UBOB, groups: [sre]}\n"), "  leads: {}", "  leads: {}\n  data: {}"), "the name `data` was a removed group's"},
			} {
				if _, err := applied(t.Context(), admin, parse(t, c.file), ""); !errors.Is(err, broker.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("a file: %v, want %s", err, c.want)
				}
			}
			if after := headOf(t, s); after.Version != before.Version {
				t.Errorf("the policy is at version %d", after.Version)
			}
		})
	}
}

// headOf is the newest version of the Policy in a store.
func headOf(t *testing.T, s store.Store) broker.Head {
	t.Helper()
	head, _, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return head
}
