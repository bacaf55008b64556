package policy_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/starback/starback/broker/policy"
)

func TestExplain(t *testing.T) {
	change := func(s policy.Subject, by func(*policy.Subject)) policy.Subject { by(&s); return s }
	robot := change(person("robot", "dev"), func(s *policy.Subject) {
		s.IsApp, s.Owner, s.OwnerEnabled, s.OwnerExpires = true, "olga", true, noon.Add(24*time.Hour)
	})
	soon, tomorrow := noon.Add(10*time.Minute), noon.Add(24*time.Hour)
	for _, c := range []struct {
		name    string
		who     policy.Subject
		role    policy.RoleName
		effect  policy.Effect
		rule    policy.Rule
		longest time.Duration
		needs   []string
		routes  []string
	}{
		{"granted", person("dan", "dev"), "readonly", policy.Allow, policy.RuleGranted, 4 * time.Hour, nil,
			[]string{"dan ∈ dev → readonly"}},
		{"a ticket and a reason", person("sam", "sre"), "admin", policy.Allow, policy.RuleGranted, 4 * time.Hour,
			[]string{"a ticket that matches `[A-Z]+-[0-9]+`", "a reason"}, []string{"sam ∈ sre → admin"}},
		{"an approval", person("sam", "sre"), "deploy", policy.NeedsApproval, policy.RuleApprovalRequired, 4 * time.Hour,
			[]string{"1 approval from gone or leads (not your own)"}, []string{"sam ∈ sre → deploy"}},
		{"two approvals", person("sam", "sre"), "pair", policy.NeedsApproval, policy.RuleApprovalRequired, 4 * time.Hour,
			[]string{"2 approvals from leads (not your own)"}, []string{"sam ∈ sre → pair"}},
		{"all ways, the best first", change(person("sam", "night", "day", "dev", "sre"), func(s *policy.Subject) {
			s.Grants = []policy.Grant{{Role: "readonly", Expires: noon.Add(2 * time.Hour)}}
		}), "readonly", policy.Allow, policy.RuleGranted, 4 * time.Hour, nil, []string{
			"sam ∈ dev → readonly", "sam ∈ sre → admin → includes readonly", "sam → readonly, until 14:00",
			"sam ∈ day → readonly, until 13:00", "sam ∈ night → readonly, ended",
		}},
		{"cut where the grant ends", person("dan", "day"), "readonly", policy.Allow, policy.RuleGranted, time.Hour, nil,
			[]string{"dan ∈ day → readonly, until 13:00"}},
		{"a grant that ends soon", change(person("dan"), func(s *policy.Subject) {
			s.Grants = []policy.Grant{{Role: "admin", Expires: soon}}
		}), "readonly", policy.Deny, policy.RuleEndsSoon, 0,
			[]string{"an administrator to renew the grant of admin to the user"}, []string{"dan → admin → includes readonly, until 12:10"}},
		{"a user who ends soon", change(person("dan", "dev"), func(s *policy.Subject) { s.Expires = soon }), "readonly",
			policy.Deny, policy.RuleEndsSoon, 0, []string{"an administrator to renew the user"}, []string{"dan ∈ dev → readonly, until 12:10"}},
		{"an owner who ends soon", change(robot, func(s *policy.Subject) { s.OwnerExpires = soon }), "readonly",
			policy.Deny, policy.RuleEndsSoon, 0, []string{"an administrator to renew the application's owner"}, []string{"robot ∈ dev → readonly, until 12:10"}},
		{"not granted", person("dan", "dev"), "deploy", policy.Deny, policy.RuleNotGranted, 0,
			[]string{"membership of sre, or a grant to the user"}, nil},
		{"not granted, and included by what is", person("eve"), "readonly", policy.Deny, policy.RuleNotGranted, 0,
			[]string{"membership of day, dev or sre, or a grant to the user"}, nil},
		{"granted to nobody", person("dan", "dev"), "secret", policy.Deny, policy.RuleNotGranted, 0,
			[]string{"a grant to the user, or to a group of theirs"}, nil},
		{"a grant that has ended", person("ned", "night"), "readonly", policy.Deny, policy.RuleGrantExpired, 0,
			[]string{"an administrator to renew the grant of readonly to night"}, []string{"ned ∈ night → readonly, ended"}},
		{"disabled, expired and not granted", change(person("dan"), func(s *policy.Subject) { s.Enabled, s.Expires = false, noon }), "deploy",
			policy.Deny, policy.RuleUserDisabled, 0, []string{
				"an administrator to enable the user", "an administrator to renew the user", "membership of sre, or a grant to the user",
			}, nil},
		{"an application without an owner", change(robot, func(s *policy.Subject) { s.Owner = "" }), "readonly",
			policy.Deny, policy.RuleOwnerMissing, 0, []string{"an owner of the application"}, []string{"robot ∈ dev → readonly"}},
		{"an application whose owner is not there", change(robot, func(s *policy.Subject) { s.OwnerEnabled, s.OwnerExpires = false, time.Time{} }), "readonly",
			policy.Deny, policy.RuleOwnerDisabled, 0, []string{"another owner of the application"}, []string{"robot ∈ dev → readonly, until 00:00"}},
		{"an application whose owner is gone", change(robot, func(s *policy.Subject) { s.OwnerEnabled, s.OwnerExpires = false, noon.Add(-time.Hour) }), "readonly",
			policy.Deny, policy.RuleOwnerDisabled, 0, []string{
				"an administrator to enable the application's owner", "an administrator to renew the application's owner",
			}, []string{"robot ∈ dev → readonly, until 11:00"}},
		{"nobody", policy.Subject{}, "readonly", policy.Deny, policy.RuleUserUnknown, 0,
			[]string{"an administrator to add the user", "membership of day, dev or sre, or a grant to the user"}, nil},
		{"another token", change(person("dan", "dev"), func(s *policy.Subject) { s.Limited = true }), "readonly", policy.Deny, policy.RuleTokenLimited, 0,
			[]string{"a token that is for readonly"}, []string{"dan ∈ dev → readonly"}},
		{"no such role", person("dan", "dev"), "readnly", policy.Deny, policy.RuleRoleUnknown, 0,
			[]string{"the name of a role that there is; did you mean `readonly`?"}, nil},
		{"no such role, near one that is not theirs", person("dan", "dev"), "deplyo", policy.Deny, policy.RuleRoleUnknown, 0,
			[]string{"the name of a role that there is"}, nil},
		{"no role", person("dan", "dev"), "", policy.Deny, policy.RuleRoleMissing, 0, []string{"the name of a role"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := policy.Explain(testPolicy(), c.who, c.role, noon)
			if x.Effect != c.effect || x.Rule != c.rule || x.Longest != c.longest || x.Reason == "" {
				t.Errorf("explained %v by %s (%s), for %v at most; want %v by %s, for %v", x.Effect, x.Rule, x.Reason, x.Longest, c.effect, c.rule, c.longest)
			}
			if diff := cmp.Diff(c.needs, x.Needs); diff != "" {
				t.Errorf("needs (-want +got):\n%s", diff)
			}
			var routes []string
			for _, r := range x.Routes {
				line := r.PathString()
				switch {
				case r.Expired:
					line += ", ended"
				case !r.Expires.Equal(tomorrow):
					line += ", until " + r.Expires.Format("15:04")
				}
				routes = append(routes, line)
			}
			if diff := cmp.Diff(c.routes, routes); diff != "" {
				t.Errorf("routes (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("no policy", func(t *testing.T) {
		if x := policy.Explain(nil, person("dan"), "readonly", noon); x.Rule != policy.RulePolicyMissing || !slices.Equal(x.Needs, []string{"a policy"}) {
			t.Errorf("explained by %s, needs %q", x.Rule, x.Needs)
		}
	})
	t.Run("no time", func(t *testing.T) {
		if x := policy.Explain(testPolicy(), person("dan", "dev"), "readonly", time.Time{}); x.Rule != policy.RuleTimeMissing || !slices.Equal(x.Needs, []string{"the time"}) {
			t.Errorf("explained by %s, needs %q", x.Rule, x.Needs)
		}
	})
}

// TestExplainIsDecide checks that a Request made as it is explained is decided
// as it is explained, that nothing longer can be had, and that what is denied
// is denied however it is asked for.
func TestExplainIsDecide(t *testing.T) {
	full := checks(t, 4000)
	allowed := 0
	rapid.Check(t, func(t *rapid.T) {
		in := inputs().Draw(t, "in")
		x := policy.Explain(in.Policy, in.Subject, in.Asked.Role, in.Now)
		if x.Effect == policy.Deny && len(x.Needs) == 0 {
			t.Fatalf("denied by %s, and nothing is said to be needed", x.Rule)
		}
		asked := in
		asked.Answers = nil
		asked.Asked.Ticket, asked.Asked.Reason = "T-1", "disk"
		if x.Effect == policy.Deny {
			asked.Asked.Duration = rapid.SampledFrom([]time.Duration{0, policy.MinDuration, time.Hour, policy.MaxDuration}).Draw(t, "duration")
			if d := policy.Decide(asked); d.Effect != policy.Deny {
				t.Fatalf("explained as denied by %s, and decided %v", x.Rule, d.Effect)
			}
			return
		}
		allowed++
		asked.Asked.Duration = x.Longest
		d := policy.Decide(asked)
		role := in.Policy.Roles[in.Asked.Role]
		if role.Ticket != nil && !role.Ticket.Match("T-1") {
			return // the pattern that nothing matches
		}
		if d.Effect != x.Effect || d.Rule != x.Rule || d.Reason != x.Reason || d.Duration != x.Longest || !d.Expires.Equal(x.Expires) {
			t.Fatalf("explained: %v by %s for %v until %v\ndecided: %v by %s for %v until %v",
				x.Effect, x.Rule, x.Longest, x.Expires, d.Effect, d.Rule, d.Duration, d.Expires)
		}
		if diff := cmp.Diff(d.Path, x.Path) + cmp.Diff(x.Path, x.Routes[0].Path); diff != "" {
			t.Fatalf("another path:\n%s", diff)
		}
		asked.Asked.Duration = x.Longest + time.Minute
		if longer := policy.Decide(asked); longer.Effect != policy.Deny && longer.Duration > x.Longest {
			t.Fatalf("%v can be had, and %v was said to be the longest", longer.Duration, x.Longest)
		}
	})
	if full && allowed < 100 {
		t.Errorf("only %d were allowed: the inputs test too little", allowed)
	}
}

// TestExplainNeedsEnough checks that a grant, and a user as they should be, are
// all that it takes: then nothing more is denied but for what is in the policy.
func TestExplainNeedsEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := inputs().Draw(t, "in")
		role := in.Policy.Roles[in.Asked.Role]
		if role == nil || min(role.MaxDuration, policy.MaxDuration) < policy.MinDuration {
			t.Skip("no such role can be had")
		}
		s := in.Subject
		s.Name, s.Owner, s.Enabled, s.OwnerEnabled, s.Limited = "ann", "ben", true, true, false
		s.Expires, s.OwnerExpires = noon.Add(time.Hour), noon.Add(time.Hour)
		s.Grants = append(slices.Clone(s.Grants), policy.Grant{Role: in.Asked.Role})
		if x := policy.Explain(in.Policy, s, in.Asked.Role, noon); x.Effect == policy.Deny {
			t.Fatalf("denied by %s, needs %q", x.Rule, x.Needs)
		}
	})
}
