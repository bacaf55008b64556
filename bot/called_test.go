package bot

import (
	"testing"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// TestCalledBy says whom a Request that waits mentions, by what the policy says
// of the groups that are asked.
func TestCalledBy(t *testing.T) {
	leads := policy.Group{Name: "leads", SlackGroup: "S0LEADS"}
	platform := policy.Group{Name: "platform"}
	security := policy.Group{Name: "security", SlackGroup: "S0LEADS"} // the same people, in Slack
	oncall := policy.Group{Name: "oncall", SlackGroup: "S0ONCALL"}
	in := func(n int, groups ...policy.GroupName) []broker.User {
		users := approvers(n)
		for i := range users {
			users[i].Groups = groups
		}
		return users
	}
	join := func(lists ...[]broker.User) (all []broker.User) {
		for _, list := range lists {
			all = append(all, list...)
		}
		return all
	}
	for _, c := range []struct {
		name      string
		asked     []policy.Group
		approvers []broker.User
		want      string
	}{
		{"people", []policy.Group{platform}, in(2, "platform"), "<@U0000> <@U0001>"},
		{"many people", []policy.Group{platform}, in(11, "platform"), "`platform`"},
		{"a user group", []policy.Group{leads}, in(2, "leads"), "<!subteam^S0LEADS>"},
		{"a user group of many", []policy.Group{leads}, in(11, "leads"), "<!subteam^S0LEADS>"},
		{"a user group of more than are told of", []policy.Group{leads}, in(26, "leads"), "<!subteam^S0LEADS>"},
		{"two user groups", []policy.Group{leads, oncall}, join(in(1, "leads"), in(1, "oncall")), "<!subteam^S0LEADS> <!subteam^S0ONCALL>"},
		{"one user group of two groups", []policy.Group{leads, security}, join(in(1, "leads"), in(1, "security")), "<!subteam^S0LEADS>"},
		{"a user group and people", []policy.Group{leads, platform}, join(in(1, "platform"), in(1, "leads")), "<!subteam^S0LEADS> <@U0000>"},
		{"somebody who is in both", []policy.Group{platform, leads}, in(1, "platform", "leads"), "<!subteam^S0LEADS>"},
		{"a user group and many people", []policy.Group{leads, platform}, join(in(11, "platform"), in(1, "leads")), "<!subteam^S0LEADS> `platform`"},
		{"a user group and some of more than are told of", []policy.Group{platform, leads}, join(in(2, "platform"), in(24, "leads")), "<!subteam^S0LEADS> `platform`"},
		{"a user group of nobody who can answer", []policy.Group{leads, platform}, in(1, "platform"), "<@U0000>"},
		{"a group that is not asked", []policy.Group{platform}, in(1, "platform", "leads"), "<@U0000>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := calledBy(broker.Telling{Asked: c.asked, Approvers: c.approvers}); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestSomeOf holds that words are whole, and that those are counted which are
// left out.
func TestSomeOf(t *testing.T) {
	words := listed([]policy.GroupName{"a", "bb", "ccc"})
	for _, c := range []struct {
		most, room int
		want       string
	}{
		{3, 100, "`a`, `bb`, `ccc`"},
		{3, 16, "`a`, `bb`, `ccc`"},
		{2, 100, "`a`, `bb`, and 1 more"},
		{3, 15, "`a`, and 2 more"},
		{3, 14, "and 3 more"},
		{0, 100, "and 3 more"},
		{9, 100, "`a`, `bb`, `ccc`"},
	} {
		if got := someOf(words, c.most, c.room); got != c.want {
			t.Errorf("%d at most, of %d characters: %s, want %s", c.most, c.room, got, c.want)
		}
	}
	if got := someOf(nil, 3, 100); got != "" {
		t.Errorf("of none: %s", got)
	}
}
