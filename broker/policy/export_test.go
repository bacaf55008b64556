package policy_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/starback/starback/broker/policy"
)

// TestExport compares what is written to a golden file, for its looks.
func TestExport(t *testing.T) {
	for _, name := range []string{"policy", "full"} {
		t.Run(name, func(t *testing.T) {
			file, err := policy.Load(os.DirFS("testdata/good"), name+".yaml")
			if err != nil {
				t.Fatal(err)
			}
			got := policy.Export(file.Document, file.Users)
			golden := "testdata/export/" + name + ".yaml"
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("export (-want +got):\n%s", diff)
			}
		})
	}
}

// validUsers draws the users of a file of d: none, no section, or people and an
// application of theirs.
func validUsers(d *policy.Document) *rapid.Generator[[]policy.User] {
	return rapid.Custom(func(t *rapid.T) []policy.User {
		if rapid.Bool().Draw(t, "no section") {
			return nil
		}
		var groups, roles []string
		for _, name := range slices.Sorted(maps.Keys(d.Groups)) {
			groups = append(groups, string(name))
		}
		for _, name := range slices.Sorted(maps.Keys(d.Roles)) {
			roles = append(roles, string(name))
		}
		users := []policy.User{}
		for _, name := range []string{"007", "1e3", "alice", "no", "on"}[:rapid.IntRange(0, 5).Draw(t, "users")] {
			u := policy.User{
				Name: policy.UserName(name), Expires: validUntil(t), Disabled: rapid.Bool().Draw(t, "disabled"),
				Groups: named[policy.GroupName](filed(t, groups, 3, "groups")), Grants: validGrants(t, roles),
			}
			switch {
			case len(users) > 1 && rapid.Bool().Draw(t, "app"):
				u.App, u.Owner = true, "007"
				if owner := users[0].Expires; !owner.IsZero() && (u.Expires.IsZero() || u.Expires.After(owner)) {
					u.Expires = owner // or the file is refused
				}
			case rapid.Bool().Draw(t, "bound"):
				u.Slack, u.Email = "T012AB/U"+strings.ToUpper(name), name+"@example.com"
			}
			slices.Sort(u.Groups)
			slices.SortFunc(u.Grants, func(a, b policy.Grant) int { return strings.Compare(string(a.Role), string(b.Role)) })
			users = append(users, u)
		}
		return users
	})
}

// TestExportReadsBack checks that a file that was written says just what it was
// written from.
func TestExportReadsBack(t *testing.T) {
	checks(t, 200)
	rapid.Check(t, func(t *rapid.T) {
		d := valid().Draw(t, "document")
		users := validUsers(d).Draw(t, "users")
		src := policy.Export(d, users)
		file, err := policy.Parse("policy.yaml", src, nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, src)
		}
		if diff := cmp.Diff(d, file.Document) + cmp.Diff(users, file.Users); diff != "" {
			t.Fatalf("read back (-want +got):\n%s\n%s", diff, src)
		}
		if again := policy.Export(file.Document, file.Users); string(again) != string(src) {
			t.Fatalf("written again:\n%s\nwas\n%s", again, src)
		}
	})
}
