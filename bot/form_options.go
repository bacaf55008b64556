package bot

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/slack-go/slack"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

const (
	// maxOptions is how many options Slack takes in one answer. Source: Slack's
	// reference of the external select.
	maxOptions = 100
	// maxOption is how long an option's text or a group's label may be, in
	// characters. Source: Slack's reference of the option object.
	maxOption = 75
	// maxOptionBytes is how long that answer may be: over Socket Mode, Slack
	// drops one of 20,000 bytes.
	maxOptionBytes = 19_000
)

// roleOption is a role in the menu.
func roleOption(r *policy.Role) *slack.OptionBlockObject {
	return slack.NewOptionBlockObject(string(r.Name), plain(string(r.Name)), nil)
}

// A fit is a role that fits what was typed, and how well: 0 is best.
type fit struct {
	role *policy.Role
	rank int
}

// findRoles returns the roles that fit what was typed, the best first: those
// whose name begins with it, those whose name holds it, those of an account
// whose name or id does; if there are none, the one that was likely meant.
// Nothing typed finds all. Roles that fit alike are in order of account, then
// name.
func findRoles(roles []*policy.Role, typed string) []*policy.Role {
	typed = strings.ToLower(strings.TrimSpace(cleanText(typed)))
	var fits []fit
	for _, r := range roles {
		name := string(r.Name)
		switch {
		case strings.HasPrefix(name, typed):
			fits = append(fits, fit{r, 0})
		case strings.Contains(name, typed):
			fits = append(fits, fit{r, 1})
		case strings.Contains(strings.ToLower(accountOf(r)), typed):
			fits = append(fits, fit{r, 2})
		}
	}
	slices.SortFunc(fits, func(a, b fit) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.role.Account, b.role.Account),
			cmp.Compare(a.role.AccountID, b.role.AccountID), cmp.Compare(a.role.Name, b.role.Name))
	})
	out := make([]*policy.Role, 0, len(fits))
	for _, f := range fits {
		out = append(out, f.role)
	}
	if len(out) == 0 {
		if near, ok := policy.Suggest(typed, roleNames(roles)); ok {
			out = append(out, roleNamed(broker.Me{Roles: roles}, near))
		}
	}
	return out
}

// options answers what somebody typed into the menu of roles: those that fit,
// by account, as many as Slack takes.
func options(roles []*policy.Role, typed string) ([]byte, error) {
	var groups []*slack.OptionGroupBlockObject
	byAccount := map[string]*slack.OptionGroupBlockObject{}
	size := 0
	for i, r := range findRoles(roles, typed) {
		option, account := roleOption(r), accountOf(r)
		group := byAccount[account]
		added := len(`{"text":{"type":"plain_text","text":"","emoji":false},"value":""},`) + 2*len(r.Name)
		if group == nil {
			added += len(`{"label":{"type":"plain_text","text":"","emoji":false},"options":[]},`) + len(account)
		}
		if size += added; i == maxOptions || size > maxOptionBytes {
			break
		}
		if group == nil {
			group = slack.NewOptionGroupBlockElement(plain(cut(account, maxOption)))
			groups, byAccount[account] = append(groups, group), group
		}
		group.Options = append(group.Options, option)
	}
	if len(groups) == 0 {
		return []byte(`{"options":[]}`), nil
	}
	return json.Marshal(slack.OptionGroupsResponse{OptionGroups: groups})
}
