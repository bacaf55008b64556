package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/starback/starback/broker/policy"
)

func TestReach(t *testing.T) {
	limited := person("lim", "sre")
	limited.Limited, limited.Only = true, []policy.RoleName{"readonly", "secret"}
	direct := person("eve", "day", "night")
	direct.Grants = []policy.Grant{{Role: "fork"}}
	for _, c := range []struct {
		name string
		who  policy.Subject
		want []string
	}{
		{"a group's roles and what they include", person("sam", "sre"), []string{
			"admin: sam ∈ sre → admin", "deploy: sam ∈ sre → deploy, approval",
			"pair: sam ∈ sre → pair, approval", "readonly: sam ∈ sre → admin → includes readonly",
		}},
		{"grants of one's own, and one that ends", direct, []string{
			"fork: eve → fork", "left: eve → fork → includes left",
			"readonly: eve ∈ day → readonly, until 13:00", "right: eve → fork → includes right",
			"tine: eve → fork → includes left → includes tine",
		}},
		{"a limited token", limited, []string{"readonly: lim ∈ sre → admin → includes readonly"}},
		{"nothing", person("noa", "night", "leads"), nil},
		{"nobody", policy.Subject{Groups: []policy.GroupName{"sre"}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, h := range policy.Reach(testPolicy(), c.who, noon) {
				line := string(h.Role.Name) + ": " + strings.Join(h.Path, " ")
				if !h.Expires.Equal(c.who.Expires) {
					line += ", until " + h.Expires.Format("15:04")
				}
				if h.NeedsApproval {
					line += ", approval"
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("Reach (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReachIsDecide checks that Reach, WhoCan, Askable and Explain say of every
// Role what Decide and the reference do. One Reacher answers for several
// Subjects, as it does for many.
func TestReachIsDecide(t *testing.T) {
	checks(t, 2000)
	rapid.Check(t, func(t *rapid.T) {
		w := rapid.SampledFrom([]world{few, many}).Draw(t, "world")
		d := w.documents().Draw(t, "policy")
		people := rapid.SliceOfN(w.subjects(), 1, 4).Draw(t, "people")
		reacher := policy.NewReacher(d, noon)
		for _, s := range people {
			holds := reacher.Reach(s)
			var askable []string
			for _, name := range slices.Sorted(slices.Values(w.roles)) {
				in := policy.Input{Policy: d, Subject: s, Asked: policy.Asked{Role: name}, Now: noon}
				decided := policy.Decide(in)
				reached := reference(in).Expires // set if there is a route
				i := slices.IndexFunc(holds, func(h policy.Hold) bool { return h.Role == decided.Role && h.Role != nil })
				if (i >= 0) != (decided.Role != nil) || (i >= 0) == reached.IsZero() {
					t.Fatalf("%s: reached %v, decided %v by %s", name, i >= 0, decided.Effect, decided.Rule)
				}
				can := slices.Collect(policy.WhoCan(d, name, slices.Values([]policy.Subject{s}), noon))
				if (len(can) > 0) != (i >= 0) {
					t.Fatalf("%s: reached %v, and who can is %v", name, i >= 0, can)
				}
				if i < 0 {
					continue
				}
				h := holds[i]
				askable = append(askable, string(name))
				approval := decided.Role.Approval != nil
				want := policy.Holder{User: s.Name, Path: decided.Path, Expires: decided.Expires, NeedsApproval: approval}
				if diff := cmp.Diff(want, can[0]) + cmp.Diff(want, policy.Holder{
					User: s.Name, Path: h.Path, Expires: h.Expires, NeedsApproval: h.NeedsApproval,
				}); diff != "" || !reached.Equal(h.Expires) {
					t.Fatalf("%s until %v:\n%s", name, reached, diff)
				}
				if !slices.Contains(h.Path, string(h.Granted)) || h.Via != "" && h.Path[2] != string(h.Via) {
					t.Fatalf("%s: granted %s by %s, on the path %q", name, h.Granted, h.Via, h.Path)
				}
			}
			if got := plainRoles(policy.Askable(d, s, noon)); got != strings.Join(askable, " ") || len(holds) != len(askable) {
				t.Fatalf("askable: %s; reached: %v; decided: %v", got, len(holds), askable)
			}
		}
	})
}

// TestWhoCanStops checks that nobody more is looked at than is asked for.
func TestWhoCanStops(t *testing.T) {
	seen := 0
	everybody := func(yield func(policy.Subject) bool) {
		for _, name := range []policy.UserName{"ann", "ben", "cat"} {
			if seen++; !yield(person(name, "dev")) {
				return
			}
		}
	}
	for h := range policy.WhoCan(testPolicy(), "readonly", everybody, noon) {
		if h.User == "ben" {
			break
		}
	}
	if seen != 2 {
		t.Errorf("looked at %d people, want 2", seen)
	}
}
