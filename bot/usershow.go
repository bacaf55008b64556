package bot

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

func (w *Worker) showUser(ctx context.Context, a *broker.Admin, args []string) (message, error) {
	m, err := a.User(ctx, policy.UserName(args[0]))
	if err != nil {
		return message{}, err
	}
	return userMessage(m, w.Now()), nil
}

// userMessage is a User as they are now, for administrators.
func userMessage(in broker.Membership, now time.Time) message {
	u := in.User
	m := say("*"+string(u.Name)+"*  "+accessOf(u, now), "")
	said := userFacts(in, now)
	for _, line := range holdLines(in.Holds) {
		said = append(said, "May ask for "+line)
	}
	m.text = aloud(m.text, said)
	facts, _ := list(userFacts(in, now), maxSection)
	m.blocks = append(m.blocks, facts...)
	if u.Email != "" {
		m.blocks = append(m.blocks, quote("E-mail", cut(u.Email, maxQuoted)))
	}
	cli := "starback user show " + string(u.Name)
	if len(in.Holds) > 0 {
		roles, shown := list(holdLines(in.Holds), maxMessage/2)
		m.blocks = append(append(m.blocks, section("*May ask for*")), roles...)
		if rest := len(in.Holds) - shown; rest > 0 {
			m.blocks = append(m.blocks, more(rest, cli))
		}
	}
	if len(u.Tokens) > 0 {
		tokens, shown := quotes(tokenLines(u.Tokens, now), maxSection)
		m.blocks = append(append(m.blocks, section("*Tokens*")), tokens...)
		if rest := len(u.Tokens) - shown; rest > 0 {
			m.blocks = append(m.blocks, more(rest, "starback token list "+string(u.Name)))
		}
	}
	m.blocks = append(m.blocks, small(fmt.Sprintf("User `%s`  ·  policy version %d", u.ID, in.PolicyVersion)))
	return m
}

// userFacts are lines on who a User is.
func userFacts(in broker.Membership, now time.Time) []string {
	u := in.User
	facts := []string{"Groups: " + orNone(groupWords(u.Groups, in.Removed, 10)), "Grants: " + orNone(grantWords(u.Grants, 10))}
	if u.IsApp {
		facts = append(facts, fmt.Sprintf("Application of `%s`, whose access: %s", u.Owner, ownerAccess(in.Owner, now)))
	} else if !u.Removed {
		facts = append(facts, "Slack: "+orNone(asCode(u.Slack.String())))
	}
	if in.Admin {
		facts = append(facts, "Administers Starback")
	}
	if len(u.Manual) > 0 {
		facts = append(facts, "Changed by commands since a policy file last said so: "+strings.Join(u.Manual, ", "))
	}
	return facts
}

func ownerAccess(owner broker.User, now time.Time) string {
	if owner.Name == "" {
		return "not known"
	}
	return accessOf(owner, now)
}

// asCode is a word of ours as code, and nothing as nothing.
func asCode(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// holdLines are the Roles that somebody may ask for, one a line.
func holdLines(holds []policy.Hold) []string {
	lines := make([]string, len(holds))
	for i, h := range holds {
		lines[i] = pathCode(h.Path) + "  until " + when(h.Expires)
		if h.NeedsApproval {
			lines[i] += ", with approval"
		}
	}
	return lines
}

// tokenLines are Tokens, one a line: never the tokens themselves, which nobody
// has. A label is text of a user's.
func tokenLines(tokens []broker.Token, now time.Time) []string {
	lines := make([]string, len(tokens))
	for i, t := range tokens {
		state := "until " + utc(t.Expires)
		switch {
		case !t.RevokedAt.IsZero():
			state = "revoked " + utc(t.RevokedAt)
		case !t.Live(now):
			state = "ended " + utc(t.Expires)
		}
		lines[i] = t.ID + "  " + state
		if t.Label != "" {
			lines[i] += "  " + t.Label
		}
	}
	return lines
}
