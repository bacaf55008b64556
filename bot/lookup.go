package bot

import (
	"fmt"
	"strings"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// maxRoles is how many roles one message lists.
const maxRoles = 100

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
	shown := me.Roles[:min(len(me.Roles), maxRoles)]
	var said []string
	size := 0
	flush := func() {
		if len(said) > 0 {
			m.blocks = append(m.blocks, section(strings.Join(said, "\n")))
			said, size = nil, 0
		}
	}
	for _, r := range shown {
		line := roleLine(r)
		if size+len(line)+1 > maxSection {
			flush()
		}
		said, size = append(said, line), size+len(line)+1
	}
	flush()
	foot := "Type `/starback ROLE` and, if you like, a duration and a reason"
	if rest := len(me.Roles) - len(shown); rest > 0 {
		foot = fmt.Sprintf("And %d more. ", rest) + foot
	}
	m.blocks = append(m.blocks, small(foot))
	m.text += " " + strings.ReplaceAll(names(roleNames(shown), 20), "`", "") + "."
	return m
}

// roleLine is one role, at most some 500 bytes.
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
		"Groups: " + orNone(names(me.User.Groups, 20)),
		"Roles: " + orNone(names(roleNames(me.Roles), 20)),
	}
	if me.Admin {
		lines = append(lines, "You administer Starback.")
	}
	m := say(strings.Join(lines, "\n"), fmt.Sprintf("Slack `%s`  ·  policy version %d", me.Slack, me.PolicyVersion))
	m.text = fmt.Sprintf("You are %s to Starback, until %s. Groups: %s. Roles: %s.", me.User.Name, utc(me.User.Expires),
		plainNames(me.User.Groups), plainNames(roleNames(me.Roles)))
	return m
}

func plainNames[T ~string](list []T) string {
	return orNone(strings.ReplaceAll(names(list, 20), "`", ""))
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func lower(s string) string { return strings.ToLower(s) }
