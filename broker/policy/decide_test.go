package policy_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker/policy"
)

var noon = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

// testPolicy is the policy that the rows of TestDecide are decided on.
func testPolicy() *policy.Document {
	ticket, err := policy.NewPattern("[A-Z]+-[0-9]+")
	if err != nil {
		panic(err)
	}
	d := &policy.Document{
		Groups: map[policy.GroupName]policy.Group{
			"dev":    {Name: "dev", Grants: []policy.Grant{{Role: "readonly"}, {Role: "loop-a"}}},
			"sre":    {Name: "sre", Grants: []policy.Grant{{Role: "admin"}, {Role: "deploy"}, {Role: "pair"}}},
			"night":  {Name: "night", Grants: []policy.Grant{{Role: "readonly", Expires: noon}}},
			"day":    {Name: "day", Grants: []policy.Grant{{Role: "readonly", Expires: noon.Add(time.Hour)}}},
			"top":    {Name: "top", Grants: []policy.Grant{{Role: "step-10"}}},
			"leads":  {Name: "leads"},
			"ops":    {Name: "ops"},
			"a-team": {Name: "a-team", Grants: []policy.Grant{{Role: "loop-a"}}},
		},
		Admins: []policy.GroupName{"ops", "gone"},
		Roles: map[policy.RoleName]*policy.Role{
			"admin":    {Includes: []policy.RoleName{"readonly"}, ReasonRequired: true, Ticket: ticket},
			"readonly": {},
			"secret":   {},
			"deploy":   {Approval: &policy.Approval{By: []policy.GroupName{"leads", "gone"}, Count: 1}},
			"pair":     {Approval: &policy.Approval{By: []policy.GroupName{"leads"}, Count: 2}},
			"unruled":  {Approval: &policy.Approval{By: []policy.GroupName{"leads"}}},
			"loop-a":   {Includes: []policy.RoleName{"loop-b"}},
			"loop-b":   {Includes: []policy.RoleName{"loop-a", "loop-b", "nowhere"}},
			"endless":  {},
			"step-0":   {},
			"fork":     {Includes: []policy.RoleName{"right", "left"}},
			"left":     {Includes: []policy.RoleName{"tine"}},
			"right":    {Includes: []policy.RoleName{"tine"}},
			"tine":     {},
			"vanished": nil,
		},
	}
	for i := range 10 {
		d.Roles[policy.RoleName(fmt.Sprintf("step-%d", i+1))] = &policy.Role{
			Includes: []policy.RoleName{policy.RoleName(fmt.Sprintf("step-%d", i))},
		}
	}
	for name, r := range d.Roles {
		if r != nil {
			r.Name, r.MaxDuration, r.DefaultDuration = name, 4*time.Hour, time.Hour
		}
	}
	d.Roles["endless"].MaxDuration = 1000 * time.Hour
	return d
}

// person returns a usable person in groups.
func person(name policy.UserName, groups ...policy.GroupName) policy.Subject {
	return policy.Subject{Name: name, Enabled: true, Expires: noon.Add(24 * time.Hour), Groups: groups}
}

// A part changes one thing of an Input.
type part func(*policy.Input)

func by(s policy.Subject) part { return func(in *policy.Input) { in.Subject = s } }

// who changes the Subject that an earlier part named.
func who(change func(*policy.Subject)) part { return func(in *policy.Input) { change(&in.Subject) } }

func ask(role policy.RoleName) part { return func(in *policy.Input) { in.Asked.Role = role } }
func lasting(d time.Duration) part  { return func(in *policy.Input) { in.Asked.Duration = d } }
func saying(ticket, reason string) part {
	return func(in *policy.Input) { in.Asked.Ticket, in.Asked.Reason = ticket, reason }
}
func at(t time.Time) part                 { return func(in *policy.Input) { in.Now = t } }
func digest(s string) part                { return func(in *policy.Input) { in.Digest = s } }
func without(p *policy.Document) part     { return func(in *policy.Input) { in.Policy = p } }
func holding(grants ...policy.Grant) part { return who(func(s *policy.Subject) { s.Grants = grants }) }
func app(owner policy.UserName) part {
	return who(func(s *policy.Subject) {
		s.IsApp, s.Owner, s.OwnerEnabled, s.OwnerExpires = true, owner, true, noon.Add(24*time.Hour)
	})
}
func ownerDisabled() part           { return who(func(s *policy.Subject) { s.OwnerEnabled = false }) }
func ownerExpires(t time.Time) part { return who(func(s *policy.Subject) { s.OwnerExpires = t }) }
func only(roles ...policy.RoleName) part {
	return who(func(s *policy.Subject) { s.Limited, s.Only = true, roles })
}
func expires(t time.Time) part     { return who(func(s *policy.Subject) { s.Expires = t }) }
func yes(from policy.Subject) part { return answer(true, "d1", from) }
func no(from policy.Subject) part  { return answer(false, "d1", from) }
func answer(y bool, d string, from policy.Subject) part {
	return func(in *policy.Input) {
		in.Answers = append(in.Answers, policy.Answer{Yes: y, Digest: d, Approver: from})
	}
}

// A row is one line of the table: what is decided when parts hold.
type row struct {
	name   string
	effect policy.Effect
	rule   policy.Rule
	parts  []part
}

func allow(rule policy.Rule, name string, parts ...part) row {
	return row{name, policy.Allow, rule, parts}
}
func deny(rule policy.Rule, name string, parts ...part) row {
	return row{name, policy.Deny, rule, parts}
}
func wait(name string, parts ...part) row {
	return row{name, policy.NeedsApproval, policy.RuleApprovalRequired, parts}
}

// decide makes the Input and decides it.
func (r row) decide() policy.Decision {
	in := policy.Input{Policy: testPolicy(), Now: noon, Digest: "d1"}
	for _, p := range r.parts {
		p(&in)
	}
	return policy.Decide(in)
}

func TestDecide(t *testing.T) {
	dev, sre := person("dan", "dev"), person("sam", "sre")
	lead, lead2 := person("lea", "leads"), person("lou", "leads")
	disabled := lead
	disabled.Enabled = false
	expired := lead
	expired.Expires = noon
	robot := lead
	robot.IsApp, robot.Owner = true, "lou"
	owned := lead
	owned.Owner = "sam"
	sreLead := person("sam", "sre", "leads")
	granted, given := policy.RuleGranted, policy.RuleApproved

	for _, r := range []row{
		// Who asks.
		allow(granted, "a member of a granted group", by(dev), ask("readonly")),
		allow(granted, "a holder of a direct grant", by(person("eve")), holding(policy.Grant{Role: "secret"}), ask("secret")),
		allow(granted, "an application with an owner", by(dev), app("sam"), ask("readonly")),
		deny(policy.RuleUserUnknown, "nobody", ask("readonly")),
		deny(policy.RuleUserUnknown, "nobody, enabled and in the group", by(person("", "dev")), ask("readonly")),
		deny(policy.RuleUserDisabled, "a disabled user", by(dev), who(func(s *policy.Subject) { s.Enabled = false }), ask("readonly")),
		deny(policy.RuleUserExpired, "at the instant of expiry", by(dev), expires(noon), ask("readonly")),
		deny(policy.RuleUserExpired, "without an expiry", by(dev), expires(time.Time{}), ask("readonly")),
		deny(policy.RuleOwnerMissing, "an application without an owner", by(dev), app(""), ask("readonly")),
		deny(policy.RuleOwnerDisabled, "an application whose owner is disabled", by(dev), app("sam"), ownerDisabled(), ask("readonly")),
		deny(policy.RuleOwnerExpired, "at the instant of the owner's expiry", by(dev), app("sam"), ownerExpires(noon), ask("readonly")),
		deny(policy.RuleOwnerExpired, "an application whose owner has no expiry", by(dev), app("sam"), ownerExpires(time.Time{}), ask("readonly")),
		allow(granted, "a person, whatever is said of an owner", by(dev), ownerExpires(noon), ask("readonly")),
		deny(policy.RuleTimeMissing, "at no time", by(dev), ask("readonly"), at(time.Time{})),

		// What they ask for.
		deny(policy.RulePolicyMissing, "no policy", by(dev), ask("readonly"), without(nil)),
		deny(policy.RuleRoleUnknown, "an empty policy", by(dev), ask("readonly"), without(&policy.Document{})),
		deny(policy.RuleRoleMissing, "no role", by(dev)),
		deny(policy.RuleRoleUnknown, "an unknown role", by(dev), ask("root")),
		deny(policy.RuleRoleUnknown, "a role without a definition", by(dev), ask("vanished")),
		deny(policy.RuleRoleUnknown, "a role that is granted and gone", by(dev), holding(policy.Grant{Role: "root"}), ask("root")),
		deny(policy.RuleNotGranted, "a role of another group", by(dev), ask("deploy")),
		deny(policy.RuleNotGranted, "a group that is gone", by(person("gus", "gone")), ask("readonly")),
		deny(policy.RuleNotGranted, "no group and no grant", by(person("eve")), ask("readonly")),
		deny(policy.RuleNotGranted, "a group and a role of the same name", by(person("eve")), ask("readonly"), holding(policy.Grant{Role: "dev"})),
		deny(policy.RuleNotGranted, "the role above", by(dev), ask("admin")),

		// Until when.
		deny(policy.RuleGrantExpired, "at the instant a grant ends", by(person("ned", "night")), ask("readonly")),
		allow(granted, "an ended grant beside a lasting one", by(person("ned", "night", "dev")), ask("readonly")),
		allow(granted, "exactly 15 minutes before the user expires", by(dev), expires(noon.Add(15*time.Minute)), ask("readonly")),
		deny(policy.RuleEndsSoon, "just less than 15 minutes before", by(dev), expires(noon.Add(15*time.Minute-1)), ask("readonly")),
		deny(policy.RuleEndsSoon, "just less than 15 minutes before the owner expires", by(dev), app("sam"),
			ownerExpires(noon.Add(15*time.Minute-1)), ask("readonly")),
		deny(policy.RuleEndsSoon, "a grant that ends in 14 minutes", by(person("eve")), ask("secret"),
			holding(policy.Grant{Role: "secret", Expires: noon.Add(14 * time.Minute)})),

		// Down the includes.
		allow(granted, "ten steps down", by(person("tia", "top")), ask("step-0")),
		deny(policy.RuleNotGranted, "one step up", by(person("eve")), holding(policy.Grant{Role: "step-4"}), ask("step-5")),
		allow(granted, "round a cycle", by(dev), ask("loop-b")),
		deny(policy.RuleNotGranted, "out of a cycle", by(dev), ask("secret")),

		// With which token.
		allow(granted, "a token for the role", by(sre), only("deploy", "readonly"), ask("readonly")),
		deny(policy.RuleTokenLimited, "a token for another role", by(dev), only("loop-a"), ask("readonly")),
		deny(policy.RuleTokenLimited, "a token for the role above", by(sre), only("admin"), ask("readonly")),
		deny(policy.RuleTokenLimited, "a token for no role", by(dev), only(), ask("readonly")),
		deny(policy.RuleNotGranted, "a token for another role than one that is not granted", by(dev), only("readonly"), ask("deploy")),
		deny(policy.RuleNotGranted, "a token for a role that is not granted", by(dev), only("deploy"), ask("deploy")),
		deny(policy.RuleRoleUnknown, "a token for a role that is gone", by(dev), only("root"), ask("root")),

		// For how long.
		allow(granted, "the shortest", by(dev), ask("readonly"), lasting(15*time.Minute)),
		allow(granted, "the longest", by(dev), ask("readonly"), lasting(4*time.Hour)),
		deny(policy.RuleDurationShort, "shorter than AWS takes", by(dev), ask("readonly"), lasting(15*time.Minute-1)),
		deny(policy.RuleDurationShort, "a negative duration", by(dev), ask("readonly"), lasting(-time.Hour)),
		deny(policy.RuleDurationLong, "longer than the role allows", by(dev), ask("readonly"), lasting(4*time.Hour+1)),
		deny(policy.RuleDurationLong, "longer than AWS takes", by(person("eve")), holding(policy.Grant{Role: "endless"}), ask("endless"), lasting(12*time.Hour+1)),

		// Saying what.
		allow(granted, "a ticket and a reason", by(sre), ask("admin"), saying("INC-1", "disk")),
		deny(policy.RuleTicketMissing, "no ticket", by(sre), ask("admin"), saying("", "disk")),
		deny(policy.RuleTicketMismatch, "half a ticket", by(sre), ask("admin"), saying("INC-", "disk")),
		deny(policy.RuleTicketMismatch, "a ticket within words", by(sre), ask("admin"), saying("see INC-1", "disk")),
		deny(policy.RuleTicketMismatch, "a ticket and a line more", by(sre), ask("admin"), saying("INC-1\n", "disk")),
		deny(policy.RuleReasonMissing, "no reason", by(sre), ask("admin"), saying("INC-1", "")),
		deny(policy.RuleReasonMissing, "a blank reason", by(sre), ask("admin"), saying("INC-1", " \t")),

		// With whose approval.
		wait("not answered yet", by(sre), ask("deploy")),
		allow(given, "approved", by(sre), ask("deploy"), yes(lead)),
		allow(given, "an application, approved by somebody else", by(sre), app("dan"), ask("deploy"), yes(lead)),
		wait("approved by the requester", by(sreLead), ask("deploy"), yes(sreLead)),
		wait("approved by the application's owner", by(sre), app("lea"), ask("deploy"), yes(lead)),
		wait("approved by an application", by(sre), ask("deploy"), yes(robot)),
		wait("approved by a user whom the requester owns", by(sre), ask("deploy"), yes(owned)),
		wait("approved by a non-member", by(sre), ask("deploy"), yes(dev)),
		wait("approved by a member of a group that is gone", by(sre), ask("deploy"), yes(person("gus", "gone"))),
		wait("approved by a disabled approver", by(sre), ask("deploy"), yes(disabled)),
		wait("approved by an expired approver", by(sre), ask("deploy"), yes(expired)),
		wait("approved by nobody", by(sre), ask("deploy"), yes(policy.Subject{})),
		wait("something else approved", by(sre), ask("deploy"), answer(true, "d2", lead)),
		wait("changed since", by(sre), ask("deploy"), yes(lead), digest("d2")),
		wait("nothing to compare with", by(sre), ask("deploy"), answer(true, "", lead), digest("")),
		wait("one of two", by(sre), ask("pair"), yes(lead)),
		wait("one of two, twice", by(sre), ask("pair"), yes(lead), yes(lead)),
		allow(given, "two of two", by(sre), ask("pair"), yes(lead), yes(lead2)),
		wait("one no among yeses", by(sre), ask("deploy"), yes(lead), no(lead2)),
		wait("one no before yeses", by(sre), ask("deploy"), no(lead2), yes(lead)),
		wait("yes, then no", by(sre), ask("deploy"), yes(lead), no(lead)),
		allow(given, "a no from a non-member", by(sre), ask("deploy"), yes(lead), no(dev)),
		allow(given, "a no to something else", by(sre), ask("deploy"), yes(lead), answer(false, "d2", lead2)),
		wait("a rule that counts nobody", by(person("eve")), holding(policy.Grant{Role: "unruled"}), ask("unruled"), yes(lead)),
		deny(policy.RuleNotGranted, "approved and not granted", by(dev), ask("deploy"), yes(lead)),
		deny(policy.RuleDurationLong, "approved and too long", by(sre), ask("deploy"), lasting(5*time.Hour), yes(lead)),
	} {
		t.Run(r.name, func(t *testing.T) {
			d := r.decide()
			if d.Effect != r.effect || d.Rule != r.rule {
				t.Errorf("decided %v by %s (%s), want %v by %s", d.Effect, d.Rule, d.Reason, r.effect, r.rule)
			}
			if d.Reason == "" {
				t.Error("no reason")
			}
		})
	}
}

// TestDecisionDetails checks what a Decision says beside its Effect.
func TestDecisionDetails(t *testing.T) {
	day := 24 * time.Hour
	for _, c := range []struct {
		row
		path    string
		lasts   time.Duration
		expires time.Time
	}{
		{allow(policy.RuleGranted, "the default", by(person("dan", "dev")), ask("readonly")),
			"dan ∈ dev → readonly", time.Hour, noon.Add(day)},
		{allow(policy.RuleGranted, "down the includes", by(person("sam", "sre")), ask("readonly"), lasting(2*time.Hour)),
			"sam ∈ sre → admin → includes readonly", 2 * time.Hour, noon.Add(day)},
		{allow(policy.RuleGranted, "a direct grant before a group's", by(person("dan", "dev")), holding(policy.Grant{Role: "readonly"}), ask("readonly")),
			"dan → readonly", time.Hour, noon.Add(day)},
		{allow(policy.RuleGranted, "the longest before the shortest", by(person("dan", "day", "sre")), ask("readonly")),
			"dan ∈ sre → admin → includes readonly", time.Hour, noon.Add(day)},
		{allow(policy.RuleGranted, "cut where the grant ends", by(person("dan", "day")), ask("readonly"), lasting(4*time.Hour)),
			"dan ∈ day → readonly", time.Hour, noon.Add(time.Hour)},
		{allow(policy.RuleGranted, "cut where the user expires", by(person("dan", "dev")), expires(noon.Add(20*time.Minute)), ask("readonly")),
			"dan ∈ dev → readonly", 20 * time.Minute, noon.Add(20 * time.Minute)},
		{allow(policy.RuleGranted, "cut where the owner expires", by(person("dan", "dev")), app("sam"), ownerExpires(noon.Add(20*time.Minute)), ask("readonly")),
			"dan ∈ dev → readonly", 20 * time.Minute, noon.Add(20 * time.Minute)},
		{allow(policy.RuleGranted, "the first group by name", by(person("dan", "sre", "a-team", "dev")), ask("loop-a")),
			"dan ∈ a-team → loop-a", time.Hour, noon.Add(day)},
		{allow(policy.RuleGranted, "of two chains as long, the first by name", by(person("dan")), holding(policy.Grant{Role: "fork"}), ask("tine")),
			"dan → fork → includes left → includes tine", time.Hour, noon.Add(day)},
		{deny(policy.RuleNotGranted, "nothing is told of a role that is not granted", by(person("dan", "dev")), ask("secret")),
			"", 0, time.Time{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := c.decide()
			if d.Effect != c.effect || d.PathString() != c.path || d.Duration != c.lasts || !d.Expires.Equal(c.expires) {
				t.Errorf("got %v, %q for %v until %v\nwant %v, %q for %v until %v",
					d.Effect, d.PathString(), d.Duration, d.Expires, c.effect, c.path, c.lasts, c.expires)
			}
			if (d.Role != nil) != (c.path != "") {
				t.Errorf("role = %v", d.Role)
			}
		})
	}
}

// TestMisfiledRole checks that the name a role is filed under decides, not the
// one it has inside.
func TestMisfiledRole(t *testing.T) {
	p := testPolicy()
	p.Roles["secret"].Name = "readonly"
	d := policy.Decide(policy.Input{Policy: p, Now: noon, Subject: person("dan", "dev"), Asked: policy.Asked{Role: "secret"}})
	if d.Effect != policy.Deny || d.Rule != policy.RuleNotGranted {
		t.Errorf("decided %v by %s, want deny by %s", d.Effect, d.Rule, policy.RuleNotGranted)
	}
}

func TestAskable(t *testing.T) {
	disabled, limited := person("dan", "dev"), person("x", "sre")
	disabled.Enabled = false
	limited.Limited, limited.Only = true, []policy.RoleName{"deploy", "secret"}
	for _, c := range []struct {
		name string
		who  policy.Subject
		now  time.Time
		want []policy.RoleName
	}{
		{"a cascade and a cycle, by name", person("x", "sre", "dev"), noon, []policy.RoleName{"admin", "deploy", "loop-a", "loop-b", "pair", "readonly"}},
		{"an ended grant", person("x", "night"), noon, nil},
		{"a grant that ends later", person("x", "day"), noon, []policy.RoleName{"readonly"}},
		{"no group", person("x"), noon, nil},
		{"a limited token", limited, noon, []policy.RoleName{"deploy"}},
		{"disabled", disabled, noon, nil},
		{"no time", person("x", "dev"), time.Time{}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []policy.RoleName
			for _, r := range policy.Askable(testPolicy(), c.who, c.now) {
				got = append(got, r.Name)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("Askable (-want +got):\n%s", diff)
			}
		})
	}
	if got := policy.Askable(nil, person("x", "dev"), noon); got != nil {
		t.Errorf("Askable without a policy = %v", got)
	}
}

func TestIsAdmin(t *testing.T) {
	robot := person("bot", "ops")
	robot.IsApp, robot.Owner = true, "olga"
	expired := person("olga", "ops")
	expired.Expires = noon
	for _, c := range []struct {
		name string
		who  policy.Subject
		want bool
	}{
		{"a member", person("olga", "dev", "ops"), true},
		{"a member of another group", person("dan", "dev"), false},
		{"a member of a group that is gone", person("gus", "gone"), false},
		{"an application", robot, false},
		{"expired", expired, false},
		{"nobody", policy.Subject{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := policy.IsAdmin(testPolicy(), c.who, noon); got != c.want {
				t.Errorf("IsAdmin = %v, want %v", got, c.want)
			}
		})
	}
	if policy.IsAdmin(nil, person("olga", "ops"), noon) {
		t.Error("an administrator without a policy")
	}
}

func TestUsable(t *testing.T) {
	if d, ok := policy.Usable(testPolicy(), person("dan"), noon); !ok || d.Rule != "" {
		t.Errorf("Usable = %v, %v; want true", d, ok)
	}
	d, ok := policy.Usable(testPolicy(), person("dan"), noon.Add(24*time.Hour))
	if ok || d.Rule != policy.RuleUserExpired || d.Effect != policy.Deny {
		t.Errorf("Usable = %v by %s, %v; want deny by %s", d.Effect, d.Rule, ok, policy.RuleUserExpired)
	}
}

func TestEffectString(t *testing.T) {
	got := []string{policy.Deny.String(), policy.NeedsApproval.String(), policy.Allow.String(), policy.Effect(9).String()}
	if want := []string{"deny", "needs approval", "allow", "deny"}; !slices.Equal(got, want) {
		t.Errorf("effects = %q, want %q", got, want)
	}
}
