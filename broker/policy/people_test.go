package policy_test

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/starback/starback/broker/policy"
)

// both returns people for whom nothing but the policy changes.
func both(subjects ...policy.Subject) iter.Seq[policy.Person] {
	return func(yield func(policy.Person) bool) {
		for _, s := range subjects {
			if !yield(policy.Person{Was: s, Is: s}) {
				return
			}
		}
	}
}

func TestEffects(t *testing.T) {
	const file = `
version: 1
accounts: {prod: {id: "111122223333"}}
groups: {sre: {grants: [full]}, dev: {grants: [readonly]}, ops: {}}
admins: [ops]
roles:
  full: {account: prod, iam_role: f, max_duration: 1h, includes: [readonly]}
  deploy: {account: prod, iam_role: d, max_duration: 1h, approval: {by: [ops]}}
  readonly: {account: prod, iam_role: r, max_duration: 1h}
`
	disabled := person("dis", "sre", "dev")
	disabled.Enabled = false
	direct := person("eve")
	direct.Grants = []policy.Grant{{Role: "full"}, {Role: "deploy", Expires: noon}}
	robot := person("robot", "ops", "dev")
	robot.IsApp, robot.Owner, robot.OwnerEnabled, robot.OwnerExpires = true, "olga", true, robot.Expires
	people := []policy.Subject{
		person("zoe", "sre"), person("ann", "dev"), person("ben", "dev"), person("cat", "dev", "sre"),
		person("olga", "ops"), person("gus", "gone"), disabled, direct, robot,
	}
	for _, c := range []struct {
		name, old, new string
		want           []string
		counts         [3]int // people, gaining, losing
	}{
		{"nothing", "", "", nil, [3]int{6, 0, 0}},
		{"what concerns nobody", "max_duration: 1h}", "max_duration: 2h}", nil, [3]int{6, 0, 0}},
		{"a grant", "ops: {}", "ops: {grants: [deploy]}", []string{"olga and robot gain deploy"}, [3]int{6, 2, 0}},
		{"a grant that has ended", "ops: {}", "ops: {grants: [{role: deploy, until: 2027-02-28}]}", nil, [3]int{6, 0, 0}},
		{"a grant held already", "sre: {grants: [full]", "sre: {grants: [full, readonly]", nil, [3]int{6, 0, 0}},
		{"a grant less", "dev: {grants: [readonly]}", "dev: {}", []string{"ann, ben and 1 more lose readonly"}, [3]int{6, 0, 3}},
		{"an include less", ", includes: [readonly]", "", []string{"eve and zoe lose readonly"}, [3]int{6, 0, 2}},
		{"a grant for another", "sre: {grants: [full]", "sre: {grants: [deploy]", []string{
			"cat gains deploy; loses full", "zoe gains deploy; loses full and readonly"}, [3]int{6, 2, 2}},
		{"an approval", "iam_role: f,", "iam_role: f, approval: {by: [ops]},", []string{"cat, eve and 1 more need approval for full now"}, [3]int{6, 0, 0}},
		{"no approval", ", approval: {by: [ops]}}", "}", nil, [3]int{6, 0, 0}},
		{"administrators", "admins: [ops]", "admins: [dev]", []string{
			"ann, ben and 1 more become administrators", "olga is no longer an administrator"}, [3]int{6, 3, 1}},
		{"a group that was gone", "ops: {}", "ops: {}, gone: {grants: [readonly]}", []string{"gus gains readonly"}, [3]int{6, 1, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			impact := policy.Effects(parse(t, file), parse(t, strings.Replace(file, c.old, c.new, 1)), both(people...), noon)
			if diff := cmp.Diff(c.want, impact.Lines(2)); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
			if got := [3]int{impact.People, impact.Gaining, impact.Losing}; got != c.counts {
				t.Errorf("people, gaining, losing = %v, want %v", got, c.counts)
			}
		})
	}
	t.Run("no policy before", func(t *testing.T) {
		impact := policy.Effects(nil, parse(t, file), both(people...), noon)
		if impact.People != 0 || impact.Losing != 0 || impact.Gaining != 7 {
			t.Errorf("people, losing, gaining = %d, %d, %d", impact.People, impact.Losing, impact.Gaining)
		}
	})
	t.Run("people themselves", func(t *testing.T) {
		d := parse(t, strings.Replace(file, "dev: {grants: [readonly]}", "dev: {grants: [readonly, deploy]}", 1))
		less := strings.Replace(file, ", approval: {by: [ops]}", "", 1)
		less = strings.Replace(less, "dev: {grants: [readonly]}", "dev: {grants: [readonly, deploy]}", 1)
		moved := []policy.Person{
			{Was: person("new"), Is: person("new", "dev", "ops")},
			{Was: person("old", "dev", "ops"), Is: policy.Subject{}},
			{Was: person("same", "dev"), Is: person("same", "dev")},
		}
		want := []string{
			"new gains deploy and readonly; becomes an administrator",
			"old loses deploy and readonly; is no longer an administrator",
			"same no longer needs approval for deploy",
		}
		if diff := cmp.Diff(want, policy.Effects(d, parse(t, less), slices.Values(moved), noon).Lines(5)); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
	})
}

// TestEffectsIsAskable checks every Change against what may be asked for before
// and after.
func TestEffectsIsAskable(t *testing.T) {
	full := checks(t, 3000)
	changed := 0
	rapid.Check(t, func(t *rapid.T) {
		was, is := few.documents().Draw(t, "was"), few.documents().Draw(t, "is")
		if rapid.Bool().Draw(t, "near") { // then one group changes, or one role
			near := *was
			near.Groups, near.Roles = copyMap(was.Groups), copyMap(was.Roles)
			near.Groups["g0"] = is.Groups["g0"]
			if rapid.Bool().Draw(t, "role") {
				near.Roles["r0"] = is.Roles["r0"]
			}
			is = &near
		}
		var people []policy.Person
		want := policy.Impact{}
		for i, s := range rapid.SliceOfN(few.subjects(), 1, 5).Draw(t, "people") {
			s.Limited = false
			if s.Name != "" {
				s.Name = policy.UserName(fmt.Sprintf("%s%d", s.Name, i))
			}
			p := policy.Person{Was: s, Is: s}
			if seldom(3).Draw(t, "changes") {
				p.Is = few.subjects().Draw(t, "is")
				p.Is.Limited, p.Is.Name = false, s.Name
			}
			people = append(people, p)
			if len(policy.Askable(was, p.Was, noon)) > 0 {
				want.People++
			}
			if c, some := referenceChange(was, is, p); some {
				want.Changes = append(want.Changes, c)
				want.Gaining += oneIf(len(c.Gains) > 0 || c.GainsAdmin)
				want.Losing += oneIf(len(c.Loses) > 0 || c.LosesAdmin)
			}
		}
		slices.SortFunc(want.Changes, func(a, b policy.Change) int { return strings.Compare(string(a.User), string(b.User)) })
		changed += len(want.Changes)
		if diff := cmp.Diff(want, policy.Effects(was, is, slices.Values(people), noon)); diff != "" {
			t.Fatalf("effects (-want +got):\n%s", diff)
		}
	})
	if full && changed < 100 {
		t.Errorf("only %d people noticed something: the inputs test too little", changed)
	}
}

// referenceChange asks for every Role, before and after.
func referenceChange(was, is *policy.Document, p policy.Person) (c policy.Change, some bool) {
	c.User = p.Is.Name
	askable := func(d *policy.Document, s policy.Subject) map[policy.RoleName]*policy.Role {
		all := map[policy.RoleName]*policy.Role{}
		for _, r := range policy.Askable(d, s, noon) {
			all[r.Name] = r
		}
		return all
	}
	before, after := askable(was, p.Was), askable(is, p.Is)
	for _, name := range few.roles {
		b, a := before[name], after[name]
		switch {
		case b == nil && a != nil:
			c.Gains = append(c.Gains, name)
		case b != nil && a == nil:
			c.Loses = append(c.Loses, name)
		case b == nil:
		case b.Approval == nil && a.Approval != nil:
			c.NowNeedsApproval = append(c.NowNeedsApproval, name)
		case b.Approval != nil && a.Approval == nil:
			c.NoLongerNeedsApproval = append(c.NoLongerNeedsApproval, name)
		}
	}
	b, a := policy.IsAdmin(was, p.Was, noon), policy.IsAdmin(is, p.Is, noon)
	c.GainsAdmin, c.LosesAdmin = a && !b, b && !a
	return c, cmp.Diff(policy.Change{User: c.User}, c) != ""
}

func oneIf(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func copyMap[K comparable, V any](m map[K]V) map[K]V {
	c := map[K]V{}
	for k, v := range m {
		c[k] = v
	}
	return c
}

// largePolicy has so many groups, each of which grants three roles, and so many
// roles, in cascades of ten: from each role two ways lead to the next but one.
func largePolicy(groups, roles int) *policy.Document {
	d := &policy.Document{Groups: map[policy.GroupName]policy.Group{}, Roles: map[policy.RoleName]*policy.Role{}}
	name := func(n int) policy.RoleName { return policy.RoleName(fmt.Sprintf("role-%05d", n%roles)) }
	for n := range roles {
		r := &policy.Role{Name: name(n), MaxDuration: time.Hour, DefaultDuration: time.Hour}
		for next := n + 1; next <= n+2 && next%10 > n%10; next++ {
			r.Includes = append(r.Includes, name(next))
		}
		d.Roles[r.Name] = r
	}
	for n := range groups {
		g := policy.Group{Name: policy.GroupName(fmt.Sprintf("group-%04d", n))}
		for i := range 3 {
			g.Grants = append(g.Grants, policy.Grant{Role: name(n*30 + i*1990)})
		}
		d.Groups[g.Name] = g
	}
	return d
}

// crowd yields so many people, each in three of the groups.
func crowd(people, groups int) iter.Seq[policy.Subject] {
	return func(yield func(policy.Subject) bool) {
		for n := range people {
			s := person(policy.UserName(fmt.Sprintf("user-%06d", n)))
			for i := range 3 {
				s.Groups = append(s.Groups, policy.GroupName(fmt.Sprintf("group-%04d", (n*7+i*311)%groups)))
			}
			if !yield(s) {
				return
			}
		}
	}
}

// BenchmarkPeople asks of 100,000 people in 2,000 groups what a change of a
// policy with 10,000 roles means for them, and what they may ask for.
func BenchmarkPeople(b *testing.B) {
	const groups, roles = 2000, 10_000
	was, is := largePolicy(groups, roles), largePolicy(groups, roles)
	everybody := slices.Collect(crowd(100_000, groups))
	for n := 0; n < groups; n += 2 { // every other group loses a grant
		name := policy.GroupName(fmt.Sprintf("group-%04d", n))
		g := is.Groups[name]
		g.Grants = g.Grants[1:]
		is.Groups[name] = g
	}
	b.Run("effects", func(b *testing.B) {
		for b.Loop() {
			impact := policy.Effects(was, is, both(everybody...), noon)
			if impact.People != len(everybody) || impact.Losing == 0 {
				b.Fatalf("%d people, %d losing", impact.People, impact.Losing)
			}
		}
	})
	b.Run("reach", func(b *testing.B) {
		for b.Loop() {
			r, holds := policy.NewReacher(was, noon), 0
			for _, s := range everybody {
				holds += len(r.Reach(s))
			}
			b.ReportMetric(float64(holds), "holds")
		}
	})
	b.Run("who can", func(b *testing.B) {
		for b.Loop() {
			holders := 0
			for range policy.WhoCan(was, "role-00009", slices.Values(everybody), noon) {
				holders++
			}
			if holders == 0 {
				b.Fatal("nobody can")
			}
		}
	})
	b.Run("diff", func(b *testing.B) {
		for b.Loop() {
			if len(policy.Diff(was, is)) != groups/2 {
				b.Fatal("other differences")
			}
		}
	})
}
