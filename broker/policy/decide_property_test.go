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
	if err := flag.Set("rapid.checks", "5000"); err != nil {
		panic(err)
	}
}

// The worlds that inputs are drawn from are small, so that names meet.
var (
	userNames  = []policy.UserName{"", "ann", "ben", "cat", "dot"}
	groupNames = []policy.GroupName{"g0", "g1", "g2", "g3"}
	roleNames  = []policy.RoleName{"r0", "r1", "r2", "r3", "r4"}
	digests    = []string{"d1", "d1", "d1", "d2", ""}
)

// seldom is true one time in n: rapid's own integers favour the small ones.
func seldom(n int) *rapid.Generator[bool] {
	return rapid.SampledFrom(append(make([]bool, n-1), true))
}

// instants gathers around noon, where things begin and end.
func instants() *rapid.Generator[time.Time] {
	return rapid.SampledFrom([]time.Time{
		{}, noon.Add(-time.Hour), noon, noon.Add(1), noon.Add(15*time.Minute - 1), noon.Add(15 * time.Minute),
		noon.Add(40 * time.Minute), noon.Add(time.Hour), noon.Add(24 * time.Hour), noon.Add(24 * time.Hour),
	})
}

func durations() *rapid.Generator[time.Duration] {
	return rapid.SampledFrom([]time.Duration{
		0, -1, 15*time.Minute - 1, 15 * time.Minute, time.Hour, time.Hour, 4 * time.Hour, 12 * time.Hour, 12*time.Hour + 1,
	})
}

func grants() *rapid.Generator[[]policy.Grant] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) policy.Grant {
		return policy.Grant{
			Role:    rapid.SampledFrom(roleNames).Draw(t, "role"),
			Expires: instants().Draw(t, "until"),
		}
	}), 0, 3)
}

func subjects() *rapid.Generator[policy.Subject] {
	return rapid.Custom(func(t *rapid.T) policy.Subject {
		return policy.Subject{
			Name:    rapid.SampledFrom(userNames).Draw(t, "name"),
			Owner:   rapid.SampledFrom(userNames).Draw(t, "owner"),
			IsApp:   seldom(4).Draw(t, "app"),
			Enabled: !seldom(8).Draw(t, "disabled"),
			Expires: instants().Draw(t, "expires"),
			Groups:  rapid.SliceOfN(rapid.SampledFrom(groupNames), 0, 3).Draw(t, "groups"),
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
			Admins: rapid.SliceOfN(rapid.SampledFrom(groupNames), 0, 2).Draw(t, "admins"),
		}
		for _, name := range groupNames[:rapid.SampledFrom([]int{0, 3, 4, 4}).Draw(t, "groups")] {
			d.Groups[name] = policy.Group{Name: name, Grants: grants().Draw(t, "grants")}
		}
		for _, name := range roleNames[:rapid.SampledFrom([]int{0, 4, 5, 5}).Draw(t, "roles")] {
			r := &policy.Role{
				Name:            name,
				Includes:        rapid.SliceOfN(rapid.SampledFrom(roleNames), 0, 3).Draw(t, "includes"),
				MaxDuration:     durations().Draw(t, "max"),
				DefaultDuration: durations().Draw(t, "default"),
				ReasonRequired:  seldom(4).Draw(t, "reason"),
				Ticket:          rapid.SampledFrom(patterns).Draw(t, "ticket"),
			}
			if rapid.Bool().Draw(t, "approval") {
				r.Approval = &policy.Approval{
					By:    rapid.SliceOfN(rapid.SampledFrom(groupNames), 0, 3).Draw(t, "by"),
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
				Role:     rapid.SampledFrom(append([]policy.RoleName{""}, roleNames...)).Draw(t, "role"),
				Duration: durations().Draw(t, "duration"),
				Ticket:   rapid.SampledFrom([]string{"", "T-1", "T-12"}).Draw(t, "ticket"),
				Reason:   rapid.SampledFrom([]string{"", " ", "disk"}).Draw(t, "reason"),
			},
			Digest: rapid.SampledFrom(digests).Draw(t, "digest"),
			Answers: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) policy.Answer {
				return policy.Answer{
					Yes:      !seldom(6).Draw(t, "no"),
					Digest:   rapid.SampledFrom(digests).Draw(t, "digest"),
					Approver: subjects().Draw(t, "approver"),
				}
			}), 0, 4).Draw(t, "answers"),
			Now: noon,
		}
	})
}

// TestDecideAgainstReference compares Decide to a second, slower reading of
// the same rules.
func TestDecideAgainstReference(t *testing.T) {
	met := map[policy.Rule]bool{}
	rapid.Check(t, func(t *rapid.T) {
		in := inputs().Draw(t, "in")
		got, want := policy.Decide(in), reference(in)
		met[want.Rule] = true
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
	for _, rule := range []policy.Rule{policy.RuleGranted, policy.RuleApproved, policy.RuleApprovalRequired, policy.RuleEndsSoon, policy.RuleGrantExpired} {
		if !met[rule] && !t.Failed() {
			t.Errorf("no input met %s: the inputs test too little", rule)
		}
	}
}

// reference decides in the plainest way: it works out everything that the
// subject reaches, then asks each question in turn.
func reference(in policy.Input) policy.Decision {
	if rule := referenceUsable(in.Subject, in.Now); rule != "" {
		return policy.Decision{Rule: rule}
	}
	role := in.Policy.Roles[in.Asked.Role]
	if in.Asked.Role == "" {
		return policy.Decision{Rule: policy.RuleRoleMissing}
	} else if role == nil {
		return policy.Decision{Rule: policy.RuleRoleUnknown}
	}
	held := slices.Clone(in.Subject.Grants)
	for name, group := range in.Policy.Groups {
		if slices.Contains(in.Subject.Groups, name) {
			held = append(held, group.Grants...)
		}
	}
	rule := policy.RuleNotGranted
	var until time.Time
	for _, g := range held {
		if !referenceReach(in.Policy, g.Role)[in.Asked.Role] {
			continue
		}
		end := in.Subject.Expires
		if !g.Expires.IsZero() {
			if !g.Expires.After(in.Now) {
				rule = policy.RuleGrantExpired
				continue
			}
			if g.Expires.Before(end) {
				end = g.Expires
			}
		}
		if end.After(until) {
			until = end
		}
	}
	if until.IsZero() {
		return policy.Decision{Rule: rule}
	}
	left := until.Sub(in.Now)
	d := policy.Decision{Expires: until, Duration: in.Asked.Duration}
	if d.Duration == 0 {
		d.Duration = role.DefaultDuration
	}
	for _, question := range []struct {
		wrong bool
		rule  policy.Rule
	}{
		{d.Duration < 15*time.Minute, policy.RuleDurationShort},
		{d.Duration > 12*time.Hour || d.Duration > role.MaxDuration, policy.RuleDurationLong},
		{left < 15*time.Minute, policy.RuleEndsSoon},
		{role.Ticket != nil && in.Asked.Ticket == "", policy.RuleTicketMissing},
		{role.Ticket != nil && (role.Ticket.String() == "" || in.Asked.Ticket != "T-1"), policy.RuleTicketMismatch},
		{role.ReasonRequired && in.Asked.Reason != "disk", policy.RuleReasonMissing},
	} {
		if question.wrong {
			d.Rule = question.rule
			return d
		}
	}
	if d.Duration > left {
		d.Duration = left
	}
	switch {
	case role.Approval == nil:
		d.Effect, d.Rule = policy.Allow, policy.RuleGranted
	case referenceApproved(*role.Approval, in):
		d.Effect, d.Rule = policy.Allow, policy.RuleApproved
	default:
		d.Effect, d.Rule = policy.NeedsApproval, policy.RuleApprovalRequired
	}
	return d
}

func referenceUsable(s policy.Subject, now time.Time) policy.Rule {
	if s.Name == "" {
		return policy.RuleUserUnknown
	}
	if !s.Enabled {
		return policy.RuleUserDisabled
	}
	if !s.Expires.After(now) {
		return policy.RuleUserExpired
	}
	if s.IsApp && s.Owner == "" {
		return policy.RuleOwnerMissing
	}
	return ""
}

// referenceReach returns every role that is from, or below it.
func referenceReach(p *policy.Document, from policy.RoleName) map[policy.RoleName]bool {
	reach := map[policy.RoleName]bool{}
	if p.Roles[from] != nil {
		reach[from] = true
	}
	for range p.Roles { // as many rounds as the longest chain can have steps
		for name := range maps.Clone(reach) {
			if role := p.Roles[name]; role != nil {
				for _, next := range role.Includes {
					reach[next] = true
				}
			}
		}
	}
	return reach
}

func referenceApproved(rule policy.Approval, in policy.Input) bool {
	agreed, refused := map[policy.UserName]bool{}, false
	for _, a := range in.Answers {
		approver := a.Approver
		member := false
		for _, g := range rule.By {
			_, exists := in.Policy.Groups[g]
			member = member || exists && slices.Contains(approver.Groups, g)
		}
		responsible, asker := approver.Owner, in.Subject.Owner
		if responsible == "" {
			responsible = approver.Name
		}
		if asker == "" {
			asker = in.Subject.Name
		}
		counts := member && !approver.IsApp && referenceUsable(approver, in.Now) == "" &&
			approver.Name != in.Subject.Name && responsible != asker &&
			a.Digest == in.Digest && in.Digest != ""
		if counts && a.Yes {
			agreed[approver.Name] = true
		}
		refused = refused || counts && !a.Yes
	}
	return !refused && rule.Count > 0 && len(agreed) >= rule.Count
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
