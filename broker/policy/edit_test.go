package policy_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/starback/starback/broker/policy"
)

// editPolicy is what the rows of TestEdits change.
const editPolicy = `
version: 1
accounts: {prod: {id: "111122223333"}}
groups:
  sre: {grants: [prod-admin, {role: prod-readonly, until: 2027-06-30}]}
  sre-leads: {}
  dev: {}
  platform: {}
admins: [platform, dev]
roles:
  prod-admin: {account: prod, iam_role: Admin, max_duration: 4h, approval: {by: [sre-leads, platform]}}
  prod-other: {account: prod, iam_role: Other, max_duration: 4h, approval: {by: [sre-leads]}}
  prod-readonly: {account: prod, iam_role: ReadOnly, max_duration: 8h}
`

func parse(t testing.TB, src string) *policy.Document {
	t.Helper()
	file, err := policy.Parse("policy.yaml", []byte(src), nil)
	if err != nil {
		t.Fatal(err)
	}
	return file.Document
}

type edit func(*policy.Document) (*policy.Document, error)

func addGroup(g policy.GroupName) edit {
	return func(d *policy.Document) (*policy.Document, error) { return d.AddGroup(g) }
}
func removeGroup(g policy.GroupName) edit {
	return func(d *policy.Document) (*policy.Document, error) { return d.RemoveGroup(g) }
}
func addGrant(g policy.GroupName, r policy.RoleName, until time.Time) edit {
	return func(d *policy.Document) (*policy.Document, error) {
		return d.AddGrant(g, policy.Grant{Role: r, Expires: until})
	}
}
func removeGrant(g policy.GroupName, r policy.RoleName) edit {
	return func(d *policy.Document) (*policy.Document, error) { return d.RemoveGrant(g, r) }
}
func addAdmins(g policy.GroupName) edit {
	return func(d *policy.Document) (*policy.Document, error) { return d.AddAdmins(g) }
}
func removeAdmins(g policy.GroupName) edit {
	return func(d *policy.Document) (*policy.Document, error) { return d.RemoveAdmins(g) }
}

// TestEdits checks what each edit changes, as Differences.
func TestEdits(t *testing.T) {
	july := time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name  string
		edits []edit
		want  []string
	}{
		{"a group", []edit{addGroup("data")}, []string{"groups.data: added"}},
		{"a group less", []edit{removeGroup("sre")}, []string{"groups.sre: removed"}},
		{"a group of administrators less", []edit{removeGroup("dev")}, []string{"groups.dev: removed", "admins.dev: removed"}},
		{"a grant", []edit{addGrant("dev", "prod-readonly", time.Time{})}, []string{"groups.dev.grants.prod-readonly: added, without end"}},
		{"a grant that ends", []edit{addGrant("dev", "prod-readonly", july)}, []string{"groups.dev.grants.prod-readonly: added, until 2027-06-30"}},
		{"a grant without end in place of one", []edit{addGrant("sre", "prod-readonly", time.Time{})},
			[]string{"groups.sre.grants.prod-readonly: until 2027-06-30 → without end"}},
		{"a grant less", []edit{removeGrant("sre", "prod-admin")}, []string{"groups.sre.grants.prod-admin: removed, was without end"}},
		{"all grants less", []edit{removeGrant("sre", "prod-admin"), removeGrant("sre", "prod-readonly")},
			[]string{"groups.sre.grants.prod-admin: removed, was without end", "groups.sre.grants.prod-readonly: removed, was until 2027-06-30"}},
		{"administrators", []edit{addAdmins("sre")}, []string{"admins.sre: added"}},
		{"administrators less", []edit{removeAdmins("platform")}, []string{"admins.platform: removed"}},
		{"there and back", []edit{addGrant("dev", "prod-admin", july), removeGrant("dev", "prod-admin")}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			was := parse(t, editPolicy)
			is := was
			for _, e := range c.edits {
				next, err := e(is)
				if err != nil {
					t.Fatal(err)
				}
				is = next
			}
			if diff := cmp.Diff(c.want, lines(policy.Diff(was, is))); diff != "" {
				t.Errorf("changed (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(parse(t, editPolicy), was); diff != "" {
				t.Errorf("the document itself was changed:\n%s", diff)
			}
			roundTrip(t, is)
		})
	}
}

func TestEditsRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		edit edit
		err  error
		want string
	}{
		{"a group that is there", addGroup("sre"), policy.ErrAlready, "there is a group `sre` already"},
		{"a group without a proper name", addGroup("S R E"), policy.ErrMeaningless, "the name of a group must match ^[a-z0-9][a-z0-9._-]{0,62}$; write `s-r-e`"},
		{"a removed group", addGroup("old"), policy.ErrMeaningless, "the name `old` was a removed group's and is never used again; only a rollback brings that group back"},
		{"no group to remove", removeGroup("sree"), policy.ErrNotThere, "there is no group `sree`; did you mean `sre`?"},
		{"approvers", removeGroup("sre-leads"), policy.ErrMeaningless, "the members of `sre-leads` approve requests for prod-admin and prod-other"},
		{"the only administrators", removeGroup("dev"), policy.ErrMeaningless, "`dev` is the only group that administers Starback"},
		{"a grant to no group", addGrant("devs", "prod-admin", time.Time{}), policy.ErrNotThere, "there is no group `devs`; did you mean `dev`?"},
		{"a grant of no role", addGrant("dev", "prod-amdin", time.Time{}), policy.ErrNotThere, "there is no role `prod-amdin`; did you mean `prod-admin`?"},
		{"a grant that is there", addGrant("sre", "prod-admin", time.Time{}), policy.ErrAlready, "`sre` has the grant of `prod-admin` already"},
		{"a grant that ends long ago", addGrant("sre", "prod-admin", time.Unix(0, 0)), policy.ErrMeaningless, "the grant's end is not between the years 2000 and 9998"},
		{"no group to take a grant from", removeGrant("nobody", "prod-admin"), policy.ErrNotThere, "there is no group `nobody`"},
		{"no grant to take", removeGrant("sre", "prod-read"), policy.ErrNotThere, "`sre` has no grant of `prod-read`; did you mean `prod-readonly`?"},
		{"no group to administer", addAdmins("plaform"), policy.ErrNotThere, "there is no group `plaform`; did you mean `platform`?"},
		{"administrators already", addAdmins("dev"), policy.ErrAlready, "the members of `dev` administer Starback already"},
		{"no such grant of a role that there is", removeGrant("sre", "prod-other"), policy.ErrAlready, "`sre` has no grant of `prod-other`"},
		{"no group to stop administering", removeAdmins("plaform"), policy.ErrNotThere, "there is no group `plaform`; did you mean `platform`?"},
		{"no administrators to remove", removeAdmins("sre"), policy.ErrAlready, "the members of `sre` do not administer Starback"},
		{"the last administrators", removeAdmins("dev"), policy.ErrMeaningless, "`dev` is the only group that administers Starback"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := parse(t, editPolicy)
			d.Admins = []policy.GroupName{"dev"}
			d.Removed = []policy.GroupName{"old"}
			got, err := c.edit(d)
			if got != nil || !errors.Is(err, c.err) || err.Error() != c.want {
				t.Errorf("got %v, %v\nwant %q, which is %q", got, err, c.want, c.err)
			}
		})
	}
}

// TestAfter checks which names a file that is applied uses up.
func TestAfter(t *testing.T) {
	groups := func(removed []policy.GroupName, names ...policy.GroupName) *policy.Document {
		d := &policy.Document{
			Groups: map[policy.GroupName]policy.Group{}, Admins: names[:1], Removed: removed,
			Settings: policy.Settings{UserLifetime: time.Hour},
		}
		for _, name := range names {
			d.Groups[name] = policy.Group{Name: name}
		}
		return d
	}
	type list = []policy.GroupName
	for _, c := range []struct {
		name       string
		file, head *policy.Document
		after      list // removed, if the file is applied
		refused    bool
		restored   list // removed, if it is an older version that is put back
	}{
		{"nothing before", groups(nil, "a"), nil, nil, false, nil},
		{"the same", groups(nil, "a", "b"), groups(nil, "a", "b"), nil, false, nil},
		{"a group more", groups(nil, "a", "b"), groups(nil, "a"), nil, false, nil},
		{"a group less", groups(nil, "a"), groups(nil, "a", "b"), list{"b"}, false, list{"b"}},
		{"a group less, after another", groups(nil, "a"), groups(list{"z"}, "a", "b"), list{"b", "z"}, false, list{"b", "z"}},
		{"a group less, renamed", groups(nil, "a", "c"), groups(nil, "a", "b"), list{"b"}, false, list{"b"}},
		{"a removed group again", groups(nil, "a", "b"), groups(list{"b"}, "a"), nil, true, nil},
		{"a removed group again, and another", groups(list{"d"}, "a", "b"), groups(list{"b", "c"}, "a", "e"), nil, true, list{"c", "d", "e"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.file.After(c.head)
			switch {
			case c.refused:
				if got != nil || !errors.Is(err, policy.ErrMeaningless) {
					t.Errorf("After = %v, %v; want a refusal", got, err)
				}
			case err != nil:
				t.Error(err)
			default:
				if diff := cmp.Diff(c.after, got.Removed); diff != "" {
					t.Errorf("After removed (-want +got):\n%s", diff)
				}
				roundTrip(t, got)
			}
			if c.head == nil {
				return
			}
			back := c.file.Restored(c.head)
			if diff := cmp.Diff(c.restored, back.Removed); diff != "" {
				t.Errorf("Restored removed (-want +got):\n%s", diff)
			}
			roundTrip(t, back)
		})
	}
}

// TestNamesAreUsedOnce makes and removes groups at random, and checks that a
// name that was removed never comes back, but with the version it was in.
func TestNamesAreUsedOnce(t *testing.T) {
	names := []policy.GroupName{"a", "b", "c"}
	rapid.Check(t, func(t *rapid.T) {
		d := &policy.Document{
			Groups: map[policy.GroupName]policy.Group{"ops": {Name: "ops"}}, Admins: []policy.GroupName{"ops"},
			Settings: policy.Settings{UserLifetime: time.Hour},
		}
		gone := map[policy.GroupName]bool{}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			name := rapid.SampledFrom(names).Draw(t, "group")
			_, there := d.Groups[name]
			if rapid.Bool().Draw(t, "add") {
				next, err := d.AddGroup(name)
				if (err == nil) != (!there && !gone[name]) {
					t.Fatalf("adding %s: %v", name, err)
				} else if err == nil {
					d = next
				}
				continue
			}
			if next, err := d.RemoveGroup(name); (err == nil) != there {
				t.Fatalf("removing %s: %v", name, err)
			} else if err == nil {
				d, gone[name] = next, true
			}
			if slices.Contains(d.Removed, name) != gone[name] {
				t.Fatalf("%s: %v in %v", name, gone[name], d.Removed)
			}
		}
	})
}
