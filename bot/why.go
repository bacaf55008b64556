package bot

import (
	"context"
	"fmt"
	"strings"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// maxRoutes is how many ways to a role an explanation shows.
const maxRoutes = 3

// whichRole asks for the role that somebody did not name.
func whichRole(me broker.Me) message {
	return say("Why which role? "+mayAsk(roleNames(me.Roles)), "")
}

// why answers whether and why the person may ask for a role.
func (w *Worker) why(ctx context.Context, todo work, c command) error {
	if c.role == "" {
		me, err := w.Broker.Whoami(ctx, todo.Caller, todo.Key)
		if err != nil {
			return w.refused(ctx, todo, c, err)
		}
		return w.answer(ctx, todo, whichRole(me))
	}
	x, me, err := w.Broker.Why(ctx, todo.Caller, todo.Key, c.role)
	if err != nil {
		return w.refused(ctx, todo, c, err)
	}
	return w.answer(ctx, todo, whyMessage(c.role, x, me))
}

// whyMessage explains a role to the person themselves. One that they were never
// granted gets the words of a refusal, whether it exists or not.
func whyMessage(role policy.RoleName, x policy.Explanation, me broker.Me) message {
	if x.Rule == policy.RuleRoleUnknown {
		refusal := &broker.Refusal{Decision: policy.Decision{Rule: x.Rule}, MayAsk: roleNames(me.Roles)}
		return say(refusalWords(refusal, command{role: role}), "")
	}
	return explanation("You", role, x, fmt.Sprintf("Policy version %d", me.PolicyVersion))
}

// explanation says whether somebody may ask for a role, by which rule and which
// ways, and what it takes.
func explanation(who string, role policy.RoleName, x policy.Explanation, footer string) message {
	var verdict string
	switch x.Effect {
	case policy.Allow:
		verdict = fmt.Sprintf("✅  %s may ask for %s, for up to %s.", who, word(string(role)), span(x.Longest))
	case policy.NeedsApproval:
		verdict = fmt.Sprintf("⏳  %s may ask for %s, for up to %s, but it needs approval.", who, word(string(role)), span(x.Longest))
	default:
		verdict = fmt.Sprintf("⛔  %s may not ask for %s.", who, word(string(role)))
	}
	m := say(verdict+"\n"+escape(x.Reason)+" (rule `"+string(x.Rule)+"`)", "")
	m.text = aloud(m.text, routeLines(x.Routes))
	if ways := routeLines(x.Routes); len(ways) > 0 {
		blocks, _ := list(ways, maxSection)
		m.blocks = append(m.blocks, blocks...)
	}
	if needs, _ := quotes(x.Needs, maxSection); len(needs) > 0 {
		lead := "A request needs:"
		if x.Effect == policy.Deny {
			lead = "What would have to change:"
		}
		m.blocks = append(append(m.blocks, section(lead)), needs...)
	}
	m.blocks = append(m.blocks, small(footer))
	return m
}

// routeLines are the ways to a role, the best first, each with its end.
func routeLines(routes []policy.Route) []string {
	var lines []string
	for _, r := range routes[:min(len(routes), maxRoutes)] {
		end := "until " + when(r.Expires)
		if r.Expired {
			end = "ended " + when(r.Expires)
		}
		lines = append(lines, pathCode(r.Path)+"  "+end)
	}
	if rest := len(routes) - maxRoutes; rest > 0 {
		lines = append(lines, fmt.Sprintf("and %d more ways", rest))
	}
	return lines
}

// pathCode is the way from a user to a role, as code.
func pathCode(path []string) string { return word(cut(strings.Join(path, " "), 400)) }
