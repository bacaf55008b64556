package policy_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/starback/starback/broker/policy"
)

// TestFragment changes a policy by commands, and checks what a file that does
// not know of it has to take over.
func TestFragment(t *testing.T) {
	base := parse(t, editPolicy)
	head := base
	for _, e := range []edit{
		addGroup("data"), addGrant("data", "prod-readonly", noon), addGrant("sre", "prod-other", noon),
		removeGrant("sre", "prod-admin"), addAdmins("sre"), removeGroup("dev"),
	} {
		next, err := e(head)
		if err != nil {
			t.Fatal(err)
		}
		head = next
	}
	for _, c := range []struct{ name, file, want string }{
		{"a file as it was", editPolicy, `groups:
  data:
    grants:
      - {role: prod-readonly, until: 2027-03-01T12:00:00Z}
  sre:
    grants:
      - {role: prod-other, until: 2027-03-01T12:00:00Z}
admins:
  - sre
# removed by command: groups.dev
# removed by command: groups.sre.grants.prod-admin
# removed by command: admins.dev
`},
		{"a file that has some of it", strings.NewReplacer(
			"  dev: {}\n", "  data: {}\n", "admins: [platform, dev]", "admins: [platform, sre]",
			"{role: prod-readonly, until: 2027-06-30}", "{role: prod-readonly, until: 2027-06-30}, {role: prod-other, until: 2027-01-01}",
		).Replace(editPolicy), `groups:
  data:
    grants:
      - {role: prod-readonly, until: 2027-03-01T12:00:00Z}
  sre:
    grants:
      - {role: prod-other, until: 2027-03-01T12:00:00Z}
# removed by command: groups.sre.grants.prod-admin
`},
		{"what head came to", string(policy.Export(head, nil)), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := policy.Fragment(head, policy.Lacking(base, head, parse(t, c.file)))
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Errorf("fragment (-want +got):\n%s", diff)
			}
		})
	}
	if diff := cmp.Diff(policy.Diff(nil, base), policy.Lacking(nil, base, nil)); diff != "" {
		t.Errorf("what no file at all lacks (-want +got):\n%s", diff)
	}
}

// TestLackingDefault checks that a value which a file does not say is lacking,
// though it has that value by default: it would not, with the rest merged.
func TestLackingDefault(t *testing.T) {
	lasting := func(rule string) *policy.Document {
		return parse(t, strings.Replace(editPolicy, "iam_role: ReadOnly, max_duration: 8h", "iam_role: ReadOnly, "+rule, 1))
	}
	base, head := lasting("max_duration: 8h"), lasting("max_duration: 20m, default_duration: 15m")
	for _, c := range []struct {
		name string
		file *policy.Document
		want []string
	}{
		{"by default", lasting("max_duration: 15m"), []string{
			"roles.prod-readonly.max_duration: 8h → 20m", "roles.prod-readonly.default_duration: 1h → 15m"}},
		{"said", lasting("max_duration: 30m, default_duration: 15m"), []string{"roles.prod-readonly.max_duration: 8h → 20m"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, lines(policy.Lacking(base, head, c.file))); diff != "" {
				t.Errorf("lacking (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLacking checks that a file which is given what it lacks lacks nothing
// more, and that one which lacks nothing is not told so.
func TestLacking(t *testing.T) {
	checks(t, 100)
	rapid.Check(t, func(t *rapid.T) {
		base := valid().Draw(t, "base")
		head := changedByCommands(t, base)
		file := changedByCommands(t, base)
		if lacking := policy.Lacking(base, head, head); len(lacking) > 0 {
			t.Fatalf("the head itself lacks %q", lines(lacking))
		}
		if lacking := policy.Lacking(base, base, file); len(lacking) > 0 {
			t.Fatalf("nothing was changed and the file lacks %q", lines(lacking))
		}
		lacking := policy.Lacking(base, head, file)
		src := merge(t, policy.Export(file, nil), policy.Fragment(head, lacking), lacking)
		merged, err := policy.Parse("policy.yaml", src, nil)
		if err != nil {
			t.Skip("the two do not go together")
		}
		if still := policy.Lacking(base, head, merged.Document); len(still) > 0 {
			t.Fatalf("it still lacks %q\n%s", lines(still), src)
		}
	})
}

// changedByCommands draws a few edits of d.
func changedByCommands(t *rapid.T, d *policy.Document) *policy.Document {
	for range rapid.IntRange(0, 6).Draw(t, "edits") {
		group := rapid.SampledFrom(append(slices.Sorted(maps.Keys(d.Groups)), "new")).Draw(t, "group")
		role := rapid.SampledFrom(append(slices.Sorted(maps.Keys(d.Roles)), "none")).Draw(t, "role")
		e := rapid.SampledFrom([]edit{
			addGroup(group), removeGroup(group), addGrant(group, role, validUntil(t)), removeGrant(group, role),
			addAdmins(group), removeAdmins(group), changeRole(role, rapid.IntRange(15, 99).Draw(t, "minutes")),
		}).Draw(t, "edit")
		if next, err := e(d); err == nil {
			d = next
		}
	}
	return d
}

// changeRole changes rules of a Role, as a file would.
func changeRole(name policy.RoleName, minutes int) edit {
	return func(d *policy.Document) (*policy.Document, error) {
		role := d.Roles[name]
		if role == nil {
			return nil, policy.ErrNotThere
		}
		next, changed := *d, *role
		changed.MaxDuration, changed.DefaultDuration = time.Duration(minutes)*time.Minute, 15*time.Minute
		changed.ReasonRequired = !role.ReasonRequired
		changed.Approval = &policy.Approval{By: d.Admins, Count: 1, Within: time.Hour, ClaimWithin: time.Hour}
		next.Roles = maps.Clone(d.Roles)
		next.Roles[name] = &changed
		return next.After(nil)
	}
}

// merge merges a fragment into a file as its reader would: keys into keys,
// lists into lists, and what is marked as removed out of both.
func merge(t *rapid.T, file, fragment []byte, lacking []policy.Difference) []byte {
	var into, from map[string]any
	for src, v := range map[*[]byte]*map[string]any{&file: &into, &fragment: &from} {
		if err := yaml.Unmarshal(*src, v); err != nil {
			t.Fatalf("%v\n%s", err, *src)
		}
	}
	mergeMap(into, from)
	for _, x := range lacking {
		if x.Kind == policy.Removed {
			take(into, x.Path)
		}
	}
	merged, err := yaml.MarshalWithOptions(into, yaml.JSON())
	if err != nil {
		t.Fatal(err)
	}
	return merged
}

func mergeMap(into, from map[string]any) {
	for key, value := range from {
		switch value := value.(type) {
		case map[string]any:
			if there, ok := into[key].(map[string]any); ok {
				mergeMap(there, value)
				continue
			}
		case []any:
			if there, ok := into[key].([]any); ok {
				for _, item := range value {
					there = append(leaveOut(there, itemName(item)), item)
				}
				into[key] = there
				continue
			}
		}
		into[key] = value
	}
}

// take takes what is at path out of a mapping.
func take(from map[string]any, path []string) {
	switch next := from[path[0]].(type) {
	case map[string]any:
		if len(path) > 1 {
			take(next, path[1:])
			return
		}
	case []any:
		if len(path) > 1 {
			from[path[0]] = leaveOut(next, path[1])
			return
		}
	}
	delete(from, path[0])
}

// leaveOut returns list without the item of that name.
func leaveOut(list []any, name string) []any {
	return slices.DeleteFunc(slices.Clone(list), func(item any) bool { return itemName(item) == name })
}

// itemName returns the name that an item of a list is, or the role of a grant.
func itemName(item any) string {
	if grant, ok := item.(map[string]any); ok {
		item = grant["role"]
	}
	name, _ := item.(string)
	return name
}
