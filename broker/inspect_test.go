package broker_test

import (
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// An application is said to end no later than whoever answers for it, wherever
// that is asked.
func TestApplicationsEndWithTheirOwners(t *testing.T) {
	w := newWorld(t)
	admin := w.admin(w.tap)
	do(t, admin, "user renew alice --until 30d", "user add long --owner alice", "user add short --owner alice --until 2d",
		"grant add plain --user long", "grant add plain --user short", "user renew alice --until 5d")
	ends := map[policy.UserName]time.Time{"alice": began.Add(5 * 24 * time.Hour), "long": began.Add(5 * 24 * time.Hour), "short": began.Add(2 * 24 * time.Hour)}
	if u, err := w.store.User(t.Context(), "long"); err != nil || !u.Expires.After(ends["long"]) {
		t.Fatalf("it was to last longer by itself: %v, %v", u.Expires, err)
	}

	users, err := admin.ListUsers(t.Context(), broker.UserFilter{Expiring: 7 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	var names []policy.UserName
	for _, u := range users {
		names = append(names, u.Name)
		if !u.Expires.Equal(ends[u.Name]) {
			t.Errorf("%s is listed until %v", u.Name, u.Expires)
		}
	}
	if diff := cmp.Diff([]policy.UserName{"short", "alice", "long"}, names); diff != "" {
		t.Errorf("whose access ends soon (-want +got):\n%s", diff)
	}
	for name, end := range ends {
		if m, err := admin.User(t.Context(), name); err != nil || !m.User.Expires.Equal(end) {
			t.Errorf("%s is shown until %v, %v", name, m.User.Expires, err)
		}
	}
	rows, err := admin.Review(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	reviewed := 0
	for _, r := range rows {
		if end, ours := ends[r.User]; ours {
			reviewed++
			if !r.Expires.Equal(end) {
				t.Errorf("%s is reviewed until %v", r.User, r.Expires)
			}
		}
	}
	if reviewed != 5 { // alice's three, and one of each application
		t.Errorf("%d rows are reviewed", reviewed)
	}
}

// Somebody is in a group that is removed: it is told from the others until they
// are taken out of it, and worth nothing.
func TestRemovedGroups(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := engine(t, w)
			admin := broker.NewAdmin(s, w.Now, rand.Reader, root)
			in := func(groups, removed []policy.GroupName, held bool) {
				t.Helper()
				m, err := admin.User(t.Context(), "alice")
				if err != nil {
					t.Fatal(err)
				}
				me, err := w.at(s).Whoami(t.Context(), alice, "1")
				if err != nil {
					t.Fatal(err)
				}
				holders, err := admin.WhoCan(t.Context(), "readonly2")
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(m.User.Groups, groups) || !slices.Equal(m.Removed, removed) || !slices.Equal(me.Removed, removed) {
					t.Errorf("in %v, of which %v and %v were removed", m.User.Groups, m.Removed, me.Removed)
				}
				holds := slices.ContainsFunc(m.Holds, func(h policy.Hold) bool { return h.Role.Name == "readonly2" })
				may := slices.ContainsFunc(me.Roles, func(r *policy.Role) bool { return r.Name == "readonly2" })
				if holds != held || may != held || (len(holders) == 1) != held {
					t.Errorf("readonly2 is held: %v, %v, %v; want %v", holds, may, holders, held)
				}
			}
			do(t, admin, "group add data", "grant add readonly2 --group data", "group add-member data alice")
			in([]policy.GroupName{"data", "dev"}, nil, true)
			do(t, admin, "group remove data")
			in([]policy.GroupName{"data", "dev"}, []policy.GroupName{"data"}, false)
			do(t, admin, "group remove-member data alice")
			in([]policy.GroupName{"dev"}, nil, false)
		})
	}
}
