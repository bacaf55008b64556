package bench_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/starback/starback/broker/policy"
)

// deep is how many roles include each other, one below the other.
const deep = 10

// question returns the hardest thing to ask of a policy with so many roles:
// for the lowest of a cascade of which only the highest is granted. All roles
// are in cascades of that depth.
func question(roles int) policy.Input {
	doc := &policy.Document{
		Accounts: map[policy.AccountName]policy.Account{"prod": {Name: "prod", ID: "111122223333", Partition: "aws"}},
		Groups:   map[policy.GroupName]policy.Group{},
		Roles:    map[policy.RoleName]*policy.Role{},
	}
	name := func(n int) policy.RoleName { return policy.RoleName(fmt.Sprintf("role-%05d", n)) }
	for n := range roles {
		role := &policy.Role{
			Name: name(n), Account: "prod", AccountID: "111122223333", Partition: "aws",
			ARN:         "arn:aws:iam::111122223333:role/" + string(name(n)),
			MaxDuration: time.Hour, DefaultDuration: time.Hour,
		}
		if n%deep < deep-1 {
			role.Includes = []policy.RoleName{name(n + 1)}
		}
		doc.Roles[role.Name] = role
	}
	top := roles - deep
	doc.Groups["dev"] = policy.Group{Name: "dev", Grants: []policy.Grant{{Role: name(top)}}}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	return policy.Input{
		Policy: doc, Now: now, Asked: policy.Asked{Role: name(roles - 1)},
		Subject: policy.Subject{Name: "alice", Enabled: true, Expires: now.AddDate(1, 0, 0), Groups: []policy.GroupName{"dev"}},
	}
}

// decide answers in, which must be allowed.
func decide(t testing.TB, in policy.Input) {
	if d := policy.Decide(in); d.Effect != policy.Allow {
		t.Fatalf("%v by %s", d.Effect, d.Rule)
	}
}

// deciding compares Decide on a large policy with Decide on a small one.
func deciding(t testing.TB, e effort) []figure {
	large, small := question(10_000), question(deep)
	ops := 20 * e.ops
	return []figure{newFigure("policy: Decide among 10,000 roles ÷ among 10", compare(e.rounds,
		func() cost { return measure(t, ops, func() { decide(t, large) }) },
		func() cost { return measure(t, ops, func() { decide(t, small) }) },
	), wall, micros)}
}

func BenchmarkDecide(b *testing.B) {
	for _, roles := range []int{deep, 10_000} {
		b.Run(fmt.Sprintf("roles=%d", roles), func(b *testing.B) {
			in := question(roles)
			b.ReportAllocs()
			for b.Loop() {
				decide(b, in)
			}
		})
	}
}
