package policy_test

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/starback/starback/broker/policy"
)

// Each property is tried on a few thousand inputs; -rapid.checks overrides it.
func init() {
	if err := flag.Set("rapid.checks", "3000"); err != nil {
		panic(err)
	}
}

// The worlds that inputs are drawn from are small, so that names meet.
var (
	userNames  = []policy.UserName{"ann", "ben", "cat", "dot", "eve", "fay", "gil"}
	groupNames = []policy.GroupName{"g0", "g1", "g2", "g3"}
	roleNames  = []policy.RoleName{"r0", "r1", "r2", "r3", "r4"}
)

// seldom is true one time in n: rapid's own integers favour the small ones.
func seldom(n int) *rapid.Generator[bool] {
	return rapid.SampledFrom(append(make([]bool, n-1), true))
}

// some returns up to most of what g draws, every length as likely.
func some[T any](g *rapid.Generator[T], most int) *rapid.Generator[[]T] {
	return rapid.Custom(func(t *rapid.T) []T {
		var lengths []int
		for n := range most + 1 {
			lengths = append(lengths, n)
		}
		n := rapid.SampledFrom(lengths).Draw(t, "length")
		return rapid.SliceOfN(g, n, n).Draw(t, "list")
	})
}

// mostly draws from usual, and one time in ten from edges.
func mostly[T any](usual, edges []T) *rapid.Generator[T] {
	return rapid.Custom(func(t *rapid.T) T {
		if seldom(10).Draw(t, "edge") {
			return rapid.SampledFrom(edges).Draw(t, "value")
		}
		return rapid.SampledFrom(usual).Draw(t, "value")
	})
}

// instants gathers around noon, where things begin and end.
func instants() *rapid.Generator[time.Time] {
	return mostly(
		[]time.Time{noon.Add(time.Hour), noon.Add(24 * time.Hour), noon.Add(25 * time.Hour)},
		[]time.Time{{}, noon.Add(-time.Hour), noon, noon.Add(1), noon.Add(15*time.Minute - 1), noon.Add(15 * time.Minute)})
}

func durations() *rapid.Generator[time.Duration] {
	return mostly(
		[]time.Duration{15 * time.Minute, time.Hour, 4 * time.Hour, 12 * time.Hour},
		[]time.Duration{0, -1, 15*time.Minute - 1, 12*time.Hour + 1})
}

func grants() *rapid.Generator[[]policy.Grant] {
	return some(rapid.Custom(func(t *rapid.T) policy.Grant {
		return policy.Grant{
			Role:    rapid.SampledFrom(roleNames).Draw(t, "role"),
			Expires: rapid.OneOf(rapid.Just(time.Time{}), instants(), rapid.Just(noon.Add(-time.Minute))).Draw(t, "until"),
		}
	}), 3)
}

func subjects() *rapid.Generator[policy.Subject] {
	return rapid.Custom(func(t *rapid.T) policy.Subject {
		return policy.Subject{
			Name:    mostly(userNames, []policy.UserName{"", "ann"}).Draw(t, "name"),
			Owner:   rapid.SampledFrom([]policy.UserName{"", "", "ann", "ben"}).Draw(t, "owner"),
			IsApp:   seldom(8).Draw(t, "app"),
			Enabled: !seldom(16).Draw(t, "disabled"),
			Expires: instants().Draw(t, "expires"),
			Groups:  some(rapid.SampledFrom(groupNames), 3).Draw(t, "groups"),
			Grants:  grants().Draw(t, "grants"),
		}
	})
}

func documents() *rapid.Generator[*policy.Document] {
	patterns := []*policy.Pattern{nil, nil, nil, nil, new(policy.Pattern)}
	if p, err := policy.NewPattern("T-[0-9]"); err == nil {
		patterns = append(patterns, p)
	}
	return rapid.Custom(func(t *rapid.T) *policy.Document {
		d := &policy.Document{
			Groups: map[policy.GroupName]policy.Group{},
			Roles:  map[policy.RoleName]*policy.Role{},
			Admins: some(rapid.SampledFrom(groupNames), 2).Draw(t, "admins"),
		}
		for _, name := range groupNames[:rapid.SampledFrom([]int{3, 4, 4, 4}).Draw(t, "groups")] {
			d.Groups[name] = policy.Group{Name: name, Grants: grants().Draw(t, "grants")}
		}
		for _, name := range roleNames[:rapid.SampledFrom([]int{4, 5, 5, 5}).Draw(t, "roles")] {
			r := &policy.Role{
				Name:            name,
				Includes:        some(rapid.SampledFrom(roleNames), 3).Draw(t, "includes"),
				MaxDuration:     durations().Draw(t, "max"),
				DefaultDuration: durations().Draw(t, "default"),
				ReasonRequired:  seldom(4).Draw(t, "reason"),
				Ticket:          rapid.SampledFrom(patterns).Draw(t, "ticket"),
			}
			if rapid.Bool().Draw(t, "approval") {
				r.Approval = &policy.Approval{
					By:    some(rapid.SampledFrom(groupNames), 3).Draw(t, "by"),
					Count: rapid.SampledFrom([]int{0, 1, 1, 2}).Draw(t, "count"),
				}
			}
			d.Roles[name] = r
		}
		return d
	})
}

func inputs() *rapid.Generator[policy.Input] {
	return rapid.Custom(func(t *rapid.T) policy.Input {
		return policy.Input{
			Policy:  documents().Draw(t, "policy"),
			Subject: subjects().Draw(t, "subject"),
			Asked: policy.Asked{
				Role:     mostly(roleNames, []policy.RoleName{""}).Draw(t, "role"),
				Duration: durations().Draw(t, "duration"),
				Ticket:   mostly([]string{"T-1"}, []string{"", "T-12"}).Draw(t, "ticket"),
				Reason:   mostly([]string{"disk"}, []string{"", " "}).Draw(t, "reason"),
			},
			Digest: mostly([]string{"d1"}, []string{"d2", ""}).Draw(t, "digest"),
			Answers: some(rapid.Custom(func(t *rapid.T) policy.Answer {
				return policy.Answer{
					Yes:      !seldom(6).Draw(t, "no"),
					Digest:   mostly([]string{"d1"}, []string{"d2", ""}).Draw(t, "digest"),
					Approver: subjects().Draw(t, "approver"),
				}
			}), 4).Draw(t, "answers"),
			Now: noon,
		}
	})
}

// TestDecideAgainstReference compares Decide to a second, slower reading of
// the same rules.
func TestDecideAgainstReference(t *testing.T) {
	cases, met := 0, map[policy.Rule]bool{}
	rapid.Check(t, func(t *rapid.T) {
		in := inputs().Draw(t, "in")
		got, want := policy.Decide(in), reference(in)
		met[want.Rule] = true
		cases++
		if got.Effect != want.Effect || got.Rule != want.Rule || got.Duration != want.Duration || !got.Expires.Equal(want.Expires) {
			t.Fatalf("Decide: %v by %s for %v until %v\nreference: %v by %s for %v until %v",
				got.Effect, got.Rule, got.Duration, got.Expires, want.Effect, want.Rule, want.Duration, want.Expires)
		}
		if got.Role == nil {
			return
		}
		if first, last := got.Path[0], got.Path[len(got.Path)-1]; first != string(in.Subject.Name) || last != string(in.Asked.Role) {
			t.Fatalf("the path goes from %s to %s", first, last)
		}
	})
	for _, rule := range []policy.Rule{policy.RuleGranted, policy.RuleApproved, policy.RuleApprovalRequired, policy.RuleGrantExpired} {
		if cases >= 3000 && !met[rule] {
			t.Errorf("no input met %s: the inputs test too little", rule)
		}
	}
}

// TestLessGrantedNeverMore takes one grant or one membership away from the
// subject and checks that nothing is gained.
func TestLessGrantedNeverMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := inputs().Draw(t, "in")
		less := in
		less.Policy = &policy.Document{Groups: maps.Clone(in.Policy.Groups), Roles: in.Policy.Roles, Admins: in.Policy.Admins}
		switch what := rapid.IntRange(0, 2).Draw(t, "what"); {
		case what == 0 && len(in.Subject.Grants) > 0:
			less.Subject.Grants = drop(t, in.Subject.Grants)
		case what == 1 && len(in.Subject.Groups) > 0:
			less.Subject.Groups = drop(t, in.Subject.Groups)
		default:
			name := rapid.SampledFrom(groupNames).Draw(t, "group")
			group, ok := less.Policy.Groups[name]
			if !ok || len(group.Grants) == 0 {
				t.Skip("nothing to take away")
			}
			group.Grants = drop(t, group.Grants)
			less.Policy.Groups[name] = group
		}
		before, after := policy.Decide(in), policy.Decide(less)
		if after.Effect > before.Effect {
			t.Fatalf("%v became %v", before.Effect, after.Effect)
		}
		if after.Effect != policy.Deny && (after.Expires.After(before.Expires) || after.Duration > before.Duration) {
			t.Fatalf("%v until %v became %v until %v", before.Duration, before.Expires, after.Duration, after.Expires)
		}
		had := policy.Askable(in.Policy, in.Subject, in.Now)
		for _, role := range policy.Askable(less.Policy, less.Subject, less.Now) {
			if !slices.Contains(had, role) {
				t.Fatalf("%s became askable", role.Name)
			}
		}
		if policy.IsAdmin(less.Policy, less.Subject, less.Now) && !policy.IsAdmin(in.Policy, in.Subject, in.Now) {
			t.Fatal("became an administrator")
		}
	})
}

func drop[T any](t *rapid.T, list []T) []T {
	i := rapid.IntRange(0, len(list)-1).Draw(t, "drop")
	return slices.Delete(slices.Clone(list), i, i+1)
}

// TestOrderNeverMatters shuffles every list of an Input and checks that the
// Decision is the same, path and all.
func TestOrderNeverMatters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := inputs().Draw(t, "in")
		mixed := in
		mixed.Subject = mixSubject(t, in.Subject)
		mixed.Answers = mix(t, in.Answers)
		for i := range mixed.Answers {
			mixed.Answers[i].Approver = mixSubject(t, mixed.Answers[i].Approver)
		}
		mixed.Policy = &policy.Document{
			Groups: map[policy.GroupName]policy.Group{},
			Roles:  map[policy.RoleName]*policy.Role{},
			Admins: mix(t, in.Policy.Admins),
		}
		for _, name := range slices.Sorted(maps.Keys(in.Policy.Groups)) {
			mixed.Policy.Groups[name] = policy.Group{Name: name, Grants: mix(t, in.Policy.Groups[name].Grants)}
		}
		for _, name := range slices.Sorted(maps.Keys(in.Policy.Roles)) {
			role := *in.Policy.Roles[name]
			role.Includes = mix(t, role.Includes)
			if role.Approval != nil {
				approval := *role.Approval
				approval.By = mix(t, approval.By)
				role.Approval = &approval
			}
			mixed.Policy.Roles[name] = &role
		}
		if diff := cmp.Diff(plain(policy.Decide(in)), plain(policy.Decide(mixed))); diff != "" {
			t.Fatalf("the order mattered:\n%s", diff)
		}
		if diff := cmp.Diff(plainRoles(policy.Askable(in.Policy, in.Subject, in.Now)),
			plainRoles(policy.Askable(mixed.Policy, mixed.Subject, mixed.Now))); diff != "" {
			t.Fatalf("the order mattered to what may be asked for:\n%s", diff)
		}
	})
}

func mix[T any](t *rapid.T, list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return slices.Clone(rapid.Permutation(list).Draw(t, "order"))
}

func mixSubject(t *rapid.T, s policy.Subject) policy.Subject {
	s.Groups, s.Grants = mix(t, s.Groups), mix(t, s.Grants)
	return s
}

// plain writes a Decision with its Role by name: a shuffled Role is another.
func plain(d policy.Decision) string {
	var roles []*policy.Role
	if d.Role != nil {
		roles = append(roles, d.Role)
	}
	return fmt.Sprint(d.Effect, d.Rule, d.Path, d.Reason, plainRoles(roles), d.Duration, d.Expires)
}

func plainRoles(roles []*policy.Role) string {
	var names []string
	for _, r := range roles {
		names = append(names, string(r.Name))
	}
	return strings.Join(names, " ")
}
