package bot

import (
	"fmt"
	"slices"
	"strings"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// rolesMessage lists what the person may ask for.
func rolesMessage(me broker.Me) message {
	if len(me.Roles) == 0 {
		return say("You may not ask for any role yet: an administrator grants them.", "")
	}
	count := "You may ask for one role."
	if len(me.Roles) > 1 {
		count = fmt.Sprintf("You may ask for %d roles.", len(me.Roles))
	}
	m := say(count, "")
	lines := make([]string, len(me.Roles))
	for i, r := range me.Roles {
		lines[i] = roleLine(r)
	}
	blocks, shown := list(lines, maxList)
	m.blocks = append(m.blocks, blocks...)
	foot := "Type `/starback ROLE` and, if you like, a duration and a reason"
	if rest := len(me.Roles) - shown; rest > 0 {
		foot = fmt.Sprintf("And %d more. ", rest) + foot
	}
	m.blocks = append(m.blocks, small(foot))
	m.text += " " + strings.ReplaceAll(names(roleNames(me.Roles), 20), "`", "") + "."
	return m
}

// roleLine is one role, at most some 700 characters.
func roleLine(r *policy.Role) string {
	line := fmt.Sprintf("`%s`  %s, up to %s", r.Name, accountOf(r), span(r.MaxDuration))
	if r.Ticket != nil {
		line += ", with a ticket"
	}
	if r.ReasonRequired {
		line += ", with a reason"
	}
	if r.Approval != nil {
		line += ", approved by " + names(r.Approval.By, 3)
	}
	if r.Description != "" {
		line += "\n        " + escape(cut(cleanText(r.Description), 60))
	}
	return line
}

func roleNames(roles []*policy.Role) []policy.RoleName {
	out := make([]policy.RoleName, len(roles))
	for i, r := range roles {
		out[i] = r.Name
	}
	return out
}

// whoamiMessage says who the person is to Starback.
func whoamiMessage(me broker.Me) message {
	lines := []string{
		fmt.Sprintf("You are *%s* to Starback, until %s.", me.User.Name, when(me.User.Expires)),
		"Groups: " + orNone(groupWords(me.User.Groups, me.Removed, 20)),
		"Roles: " + orNone(names(roleNames(me.Roles), 20)),
	}
	if me.Admin {
		lines = append(lines, "You administer Starback.")
	}
	m := say(strings.Join(lines, "\n"), fmt.Sprintf("Slack `%s`  ·  policy version %d", me.Slack, me.PolicyVersion))
	m.text = fmt.Sprintf("You are %s to Starback, until %s. Groups: %s. Roles: %s.", me.User.Name, utc(me.User.Expires),
		uncoded(groupWords(me.User.Groups, me.Removed, 20)), uncoded(names(roleNames(me.Roles), 20)))
	return m
}

// uncoded is a list of names as plain text.
func uncoded(list string) string { return orNone(strings.ReplaceAll(list, "`", "")) }

// groupWords lists a User's groups, at most most of them, and says which were
// removed: they are worth nothing.
func groupWords(groups, removed []policy.GroupName, most int) string {
	words := make([]string, 0, most+1)
	for i, g := range groups {
		if i == most {
			words = append(words, fmt.Sprintf("and %d more", len(groups)-most))
			break
		}
		word := "`" + string(g) + "`"
		if slices.Contains(removed, g) {
			word += " (removed)"
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func lower(s string) string { return strings.ToLower(s) }
