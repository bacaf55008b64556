package policy_test

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/starback/starback/broker/policy"
)

// Each property is tried on a few thousand inputs, and on a thirtieth under the
// race detector, which finds nothing in pure functions: scripts/test tries them
// in full without it. -rapid.checks overrides it.
func init() {
	n := usualChecks
	if raceDetector {
		n /= 30
	}
	if err := flag.Set("rapid.checks", strconv.Itoa(n)); err != nil {
		panic(err)
	}
}

var userNames = []policy.UserName{"ann", "ben", "cat", "dot", "eve", "fay", "gil"}

// A world is the names that an input is drawn from.
type world struct {
	groups []policy.GroupName
	roles  []policy.RoleName
}

// In few, names meet often. In many there is room for cascades: each of the
// first ten roles may include the next.
var (
	few = world{
		[]policy.GroupName{"g0", "g1", "g2", "g3"},
		[]policy.RoleName{"r0", "r1", "r2", "r3", "r4"},
	}
	many = world{
		[]policy.GroupName{"g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7"},
		[]policy.RoleName{"r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "s0", "s1"},
	}
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

func (w world) grants() *rapid.Generator[[]policy.Grant] {
	return some(rapid.Custom(func(t *rapid.T) policy.Grant {
		return policy.Grant{
			Role:    rapid.SampledFrom(w.roles).Draw(t, "role"),
			Expires: rapid.OneOf(rapid.Just(time.Time{}), instants(), rapid.Just(noon.Add(-time.Minute))).Draw(t, "until"),
		}
	}), 3)
}

func (w world) subjects() *rapid.Generator[policy.Subject] {
	return rapid.Custom(func(t *rapid.T) policy.Subject {
		s := policy.Subject{
			Name:    mostly(userNames, []policy.UserName{"", "ann"}).Draw(t, "name"),
			Owner:   rapid.SampledFrom([]policy.UserName{"", "", "ann", "ben"}).Draw(t, "owner"),
			IsApp:   seldom(3).Draw(t, "app"),
			Enabled: !seldom(16).Draw(t, "disabled"),
			Expires: instants().Draw(t, "expires"),
			Groups:  some(rapid.SampledFrom(w.groups), 3).Draw(t, "groups"),
			Grants:  w.grants().Draw(t, "grants"),

			OwnerEnabled: !seldom(8).Draw(t, "owner disabled"),
			OwnerExpires: instants().Draw(t, "owner expires"),
		}
		if seldom(5).Draw(t, "limited") {
			s.Limited, s.Only = true, some(rapid.SampledFrom(w.roles), 4).Draw(t, "only")
		}
		return s
	})
}

func (w world) documents() *rapid.Generator[*policy.Document] {
	patterns := []*policy.Pattern{nil, nil, nil, nil, new(policy.Pattern)}
	if p, err := policy.NewPattern("T-[0-9]"); err == nil {
		patterns = append(patterns, p)
	}
	return rapid.Custom(func(t *rapid.T) *policy.Document {
		d := &policy.Document{
			Groups: map[policy.GroupName]policy.Group{},
			Roles:  map[policy.RoleName]*policy.Role{},
			Admins: some(rapid.SampledFrom(w.groups), 2).Draw(t, "admins"),
		}
		groups, roles := w.groups, w.roles
		if seldom(4).Draw(t, "a group less") {
			groups = groups[:len(groups)-1]
		}
		if seldom(4).Draw(t, "a role less") {
			roles = roles[:len(roles)-1]
		}
		for _, name := range groups {
			d.Groups[name] = policy.Group{Name: name, Grants: w.grants().Draw(t, "grants")}
		}
		deep := 0 // how many of the roles include the next
		if len(w.roles) > len(few.roles) {
			deep = rapid.SampledFrom([]int{0, 6, 10}).Draw(t, "deep")
		}
		for i, name := range roles {
			r := &policy.Role{
				Name:            name,
				MaxDuration:     durations().Draw(t, "max"),
				DefaultDuration: durations().Draw(t, "default"),
				ReasonRequired:  seldom(4).Draw(t, "reason"),
				Ticket:          rapid.SampledFrom(patterns).Draw(t, "ticket"),
			}
			if deep == 0 || seldom(6).Draw(t, "a shortcut") {
				r.Includes = some(rapid.SampledFrom(w.roles), 3).Draw(t, "includes")
			}
			if i < deep && i+1 < len(roles) {
				r.Includes = append(r.Includes, roles[i+1])
			}
			if rapid.Bool().Draw(t, "approval") {
				r.Approval = w.approvals().Draw(t, "approval")
			}
			d.Roles[name] = r
		}
		return d
	})
}

func (w world) approvals() *rapid.Generator[*policy.Approval] {
	return rapid.Custom(func(t *rapid.T) *policy.Approval {
		a := &policy.Approval{
			By:     some(rapid.SampledFrom(w.groups), 3).Draw(t, "by"),
			Count:  rapid.SampledFrom([]int{0, 1, 1, 2}).Draw(t, "count"),
			Within: time.Hour,
		}
		if seldom(3).Draw(t, "escalates") {
			a.EscalateTo = some(rapid.SampledFrom(w.groups), 3).Draw(t, "to")
			a.EscalateAfter = rapid.SampledFrom([]time.Duration{0, time.Minute, 30 * time.Minute, 2 * time.Hour}).Draw(t, "after")
		}
		return a
	})
}

func inputs() *rapid.Generator[policy.Input] {
	return rapid.Custom(func(t *rapid.T) policy.Input {
		w := rapid.SampledFrom([]world{few, many}).Draw(t, "world")
		return policy.Input{
			Policy:  w.documents().Draw(t, "policy"),
			Subject: w.subjects().Draw(t, "subject"),
			Asked: policy.Asked{
				Role:     mostly(w.roles, []policy.RoleName{""}).Draw(t, "role"),
				Duration: durations().Draw(t, "duration"),
				Ticket:   mostly([]string{"T-1"}, []string{"", "T-12"}).Draw(t, "ticket"),
				Reason:   mostly([]string{"disk"}, []string{"", " "}).Draw(t, "reason"),
			},
			Digest: mostly([]string{"d1"}, []string{"d2", ""}).Draw(t, "digest"),
			Answers: some(rapid.Custom(func(t *rapid.T) policy.Answer {
				return policy.Answer{
					Yes:      !seldom(6).Draw(t, "no"),
					Digest:   mostly([]string{"d1"}, []string{"d2", ""}).Draw(t, "digest"),
					Approver: w.subjects().Draw(t, "approver"),
				}
			}), 4).Draw(t, "answers"),
			Now: noon,
		}
	})
}

// TestDecideAgainstReference compares Decide to a second, slower reading of
// the same rules, on 10,000 policies. Of each it asks for every role, and in 12
// ways for one of them: a quarter of a million decisions.
func TestDecideAgainstReference(t *testing.T) {
	full := checks(t, 10_000)
	met := tally{rules: map[policy.Rule]int{}, steps: map[int]int{}}
	rapid.Check(t, func(t *rapid.T) { met.decisions(t, inputs().Draw(t, "in")) })
	if !full {
		return
	}
	if met.decided < 100_000 {
		t.Errorf("only %d decisions", met.decided)
	}
	for _, rule := range []policy.Rule{
		policy.RuleUserUnknown, policy.RuleUserDisabled, policy.RuleUserExpired, policy.RuleOwnerMissing, policy.RuleOwnerDisabled,
		policy.RuleOwnerExpired, policy.RuleRoleMissing, policy.RuleRoleUnknown, policy.RuleTokenLimited, policy.RuleNotGranted,
		policy.RuleGrantExpired, policy.RuleDurationShort, policy.RuleDurationLong, policy.RuleEndsSoon, policy.RuleTicketMissing,
		policy.RuleTicketMismatch, policy.RuleReasonMissing, policy.RuleApprovalRequired, policy.RuleApproved, policy.RuleGranted,
	} {
		if met.rules[rule] == 0 {
			t.Errorf("no input met %s: the inputs test too little", rule)
		}
	}
	for steps := range 11 {
		if met.steps[steps] == 0 {
			t.Errorf("no role was reached by %d includes: the inputs test too little", steps)
		}
	}
	if met.escalated == 0 {
		t.Error("nothing was approved by those it escalates to: the inputs test too little")
	}
}

// FuzzDecide does the same for inputs that are looked for.
func FuzzDecide(f *testing.F) {
	f.Add([]byte("what is drawn from these bytes is the least of everything, and so somebody without a name"))
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) {
		met := tally{rules: map[policy.Rule]int{}, steps: map[int]int{}}
		met.decisions(t, inputs().Draw(t, "in"))
	}))
}

// A tally counts what decisions met.
type tally struct {
	decided   int
	rules     map[policy.Rule]int // the rules that decided
	steps     map[int]int         // includes on the way to a role
	escalated int                 // approved, and not without those it escalates to
}

// decisions has in asked as it was drawn; for every role, and for none; and, for
// its own role, for several durations, with and without a ticket and a reason.
func (met *tally) decisions(t *rapid.T, in policy.Input) {
	below := closure(in.Policy)
	met.decision(t, below, in)
	asked := in.Asked
	for _, role := range append([]policy.RoleName{""}, many.roles...) {
		in.Asked.Role = role
		met.decision(t, below, in)
	}
	for _, duration := range []time.Duration{0, 15*time.Minute - 1, 15 * time.Minute, 4*time.Hour + 1} {
		for _, words := range [][2]string{{"T-1", "disk"}, {"", "disk"}, {"T-12", " "}} {
			in.Asked = policy.Asked{Role: asked.Role, Duration: duration, Ticket: words[0], Reason: words[1]}
			met.decision(t, below, in)
		}
	}
}

// decision compares Decide to the reference.
func (met *tally) decision(t *rapid.T, below map[policy.RoleName]map[policy.RoleName]bool, in policy.Input) {
	got, want := policy.Decide(in), referenceKnowing(below, in)
	if got.Effect != want.Effect || got.Rule != want.Rule || got.Duration != want.Duration || !got.Expires.Equal(want.Expires) {
		t.Fatalf("Decide: %v by %s for %v until %v\nreference: %v by %s for %v until %v",
			got.Effect, got.Rule, got.Duration, got.Expires, want.Effect, want.Rule, want.Duration, want.Expires)
	}
	met.decided++
	met.rules[want.Rule]++
	if got.Role == nil {
		return
	}
	if first, last := got.Path[0], got.Path[len(got.Path)-1]; first != string(in.Subject.Name) || last != string(in.Asked.Role) {
		t.Fatalf("the path goes from %s to %s", first, last)
	}
	steps := 0
	for _, word := range got.Path {
		if word == "includes" {
			steps++
		}
	}
	met.steps[steps]++
	if want.Rule == policy.RuleApproved {
		alone := *got.Role.Approval
		alone.EscalateTo = nil
		if !referenceApproved(alone, in) {
			met.escalated++
		}
	}
}

// TestLessNeverMore takes something away, or asks for one approval more, and
// checks that nobody gains by it.
func TestLessNeverMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := inputs().Draw(t, "in")
		less := in
		less.Policy = &policy.Document{
			Groups: maps.Clone(in.Policy.Groups), Roles: maps.Clone(in.Policy.Roles), Admins: in.Policy.Admins,
		}
		switch rapid.SampledFrom([]string{"grant", "membership", "group's grant", "include", "approval", "token", "owner"}).Draw(t, "less of") {
		case "grant":
			less.Subject.Grants = drop(t, in.Subject.Grants)
		case "membership":
			less.Subject.Groups = drop(t, in.Subject.Groups)
		case "group's grant":
			name := rapid.SampledFrom(slices.Sorted(maps.Keys(less.Policy.Groups))).Draw(t, "group")
			group := less.Policy.Groups[name]
			group.Grants = drop(t, group.Grants)
			less.Policy.Groups[name] = group
		case "include":
			role := changeable(t, less.Policy)
			role.Includes = drop(t, role.Includes)
		case "approval":
			role := changeable(t, less.Policy)
			approval := policy.Approval{By: []policy.GroupName{"g0"}}
			if role.Approval != nil {
				approval = *role.Approval
			}
			approval.Count++
			if role.Approval != nil && role.Approval.Count < 1 {
				t.Skip("a rule that nobody can satisfy becomes one that somebody can")
			}
			role.Approval = &approval
		case "token":
			if in.Subject.Limited {
				less.Subject.Only = drop(t, in.Subject.Only)
			}
			less.Subject.Limited = true
		case "owner":
			less.Subject.IsApp = true
		}
		before, after := policy.Decide(in), policy.Decide(less)
		if after.Effect > before.Effect {
			t.Fatalf("%v became %v", before.Effect, after.Effect)
		}
		if after.Effect != policy.Deny && (after.Expires.After(before.Expires) || after.Duration > before.Duration) {
			t.Fatalf("%v until %v became %v until %v", before.Duration, before.Expires, after.Duration, after.Expires)
		}
		had := plainRoles(policy.Askable(in.Policy, in.Subject, in.Now))
		for _, role := range policy.Askable(less.Policy, less.Subject, less.Now) {
			if !slices.Contains(strings.Fields(had), string(role.Name)) {
				t.Fatalf("%s became askable", role.Name)
			}
		}
		if policy.IsAdmin(less.Policy, less.Subject, less.Now) && !policy.IsAdmin(in.Policy, in.Subject, in.Now) {
			t.Fatal("became an administrator")
		}
	})
}

// TestNoGrantNoMore takes away each grant in turn, of the subject and of the
// groups, and checks that no role is easier to have for it, nor for longer.
func TestNoGrantNoMore(t *testing.T) {
	checks(t, 2000)
	rapid.Check(t, func(t *rapid.T) {
		in := inputs().Draw(t, "in")
		less := in
		compare := func() {
			for name := range in.Policy.Roles {
				in.Asked.Role, less.Asked.Role = name, name
				before, after := policy.Decide(in), policy.Decide(less)
				if after.Effect > before.Effect || after.Expires.After(before.Expires) || after.Effect != policy.Deny && after.Duration > before.Duration {
					t.Fatalf("%s: %v for %v until %v became %v for %v until %v", name,
						before.Effect, before.Duration, before.Expires, after.Effect, after.Duration, after.Expires)
				}
			}
		}
		for i := range in.Subject.Grants {
			less.Subject.Grants = slices.Delete(slices.Clone(in.Subject.Grants), i, i+1)
			compare()
		}
		less = in
		for name, group := range in.Policy.Groups {
			for i := range group.Grants {
				groups := maps.Clone(in.Policy.Groups)
				groups[name] = policy.Group{Name: name, Grants: slices.Delete(slices.Clone(group.Grants), i, i+1)}
				less.Policy = &policy.Document{Groups: groups, Roles: in.Policy.Roles, Admins: in.Policy.Admins}
				compare()
			}
		}
	})
}

// changeable returns one of the Roles of d, in its place a copy that may be
// changed.
func changeable(t *rapid.T, d *policy.Document) *policy.Role {
	name := rapid.SampledFrom(slices.Sorted(maps.Keys(d.Roles))).Draw(t, "changed role")
	role := *d.Roles[name]
	d.Roles[name] = &role
	return &role
}

// drop returns list without one of its items, if it has any.
func drop[T any](t *rapid.T, list []T) []T {
	if len(list) == 0 {
		return nil
	}
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
				approval.By, approval.EscalateTo = mix(t, approval.By), mix(t, approval.EscalateTo)
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
