package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// An Explanation says whether a Subject may ask for a Role, why, and what it
// takes.
type Explanation struct {
	Effect  Effect
	Rule    Rule
	Reason  string    // one plain sentence
	Path    []string  // in words, as a Decision's; nil unless the Subject holds the Role
	Expires time.Time // when the authority ends; zero likewise

	// Routes are the Grants that lead to the Role, each by its shortest way:
	// those that last first, the best of them, which is Path, before all.
	Routes []Route

	// Needs are what it takes, all of them: of the Request when it can be made,
	// such as "a reason"; else what would have to change.
	Needs []string

	Longest time.Duration // the longest window that can be had now; 0 when denied
}

// A Route is one Grant that leads a Subject to a Role.
type Route struct {
	Path    []string  // in words, as a Decision's
	Via     GroupName // whose Grant it is; empty for one that is held directly
	Granted RoleName  // the Role of that Grant
	Expires time.Time // the User's or the Grant's expiry, whichever is first
	Expired bool      // the Grant has ended
}

// PathString returns the Path as a reader expects it.
func (r Route) PathString() string { return strings.Join(r.Path, " ") }

// Explain says what Decide comes to for a Request that is as the Role wants it
// and that nobody has answered. That some ticket matches the Role's pattern is
// taken for granted.
func Explain(d *Document, s Subject, role RoleName, now time.Time) Explanation {
	decided, ok := entitled(d, s, role, now)
	x := Explanation{
		Rule: decided.Rule, Reason: decided.Reason, Path: decided.Path, Expires: decided.Expires,
		Routes: allRoutes(d, s, role, now),
	}
	if !ok {
		x.Needs = lacking(d, s, role, x.Routes, now)
		return x
	}
	left := x.Expires.Sub(now)
	longest := min(decided.Role.MaxDuration, MaxDuration)
	if x.Rule, x.Reason = wrongLength(decided.Role, longest, left); x.Rule != "" {
		x.Needs = []string{"a `max_duration` of 15m or more"}
		if x.Rule == RuleEndsSoon {
			x.Needs = []string{renewal(s, x.Routes[0], now)}
		}
		return x
	}
	x.Longest = min(longest, left)
	x.Effect, x.Rule, x.Reason = Allow, RuleGranted, "The role is granted."
	if decided.Role.Approval != nil {
		x.Effect, x.Rule, x.Reason = NeedsApproval, RuleApprovalRequired, "The role is granted; somebody must approve the request."
	}
	x.Needs = decided.Role.wants()
	return x
}

// allRoutes returns the Grants of s that lead to a Role, best first.
func allRoutes(p *Document, s Subject, role RoleName, now time.Time) []Route {
	if p == nil || p.Roles[role] == nil {
		return nil
	}
	live, ended := starts(p, s, now)
	return append(routesFrom(p, s, role, live, false), routesFrom(p, s, role, ended, true)...)
}

func routesFrom(p *Document, s Subject, role RoleName, starts []start, expired bool) []Route {
	var routes []Route
	for _, one := range starts {
		var w descent
		if w.down(p, []start{one}, role) {
			routes = append(routes, Route{w.path(s.Name, role), one.via, one.role, one.expires, expired})
		}
	}
	slices.SortFunc(routes, func(a, b Route) int {
		return cmp.Or(b.Expires.Compare(a.Expires), cmp.Compare(len(a.Path), len(b.Path)), slices.Compare(a.Path, b.Path))
	})
	return routes
}

// wants returns what a Request for the Role must carry.
func (r *Role) wants() []string {
	var wants []string
	if r.Ticket != nil {
		wants = append(wants, "a ticket that matches "+quote(r.Ticket.String()))
	}
	if r.ReasonRequired {
		wants = append(wants, "a reason")
	}
	if a := r.Approval; a != nil {
		approvals := "1 approval"
		if a.Count != 1 {
			approvals = fmt.Sprintf("%d approvals", a.Count)
		}
		wants = append(wants, fmt.Sprintf("%s from %s (not your own)", approvals, joined(sorted(a.Groups()), mostNames, "or")))
	}
	return wants
}

// mostNames is how many names a sentence lists.
const mostNames = 10

// lacking returns what would have to change for s to be entitled to a Role that
// the routes lead to.
func lacking(p *Document, s Subject, role RoleName, routes []Route, now time.Time) []string {
	needs := lackingUser(s, now)
	switch {
	case p == nil:
		return append(needs, "a policy")
	case role == "":
		return append(needs, "the name of a role")
	case p.Roles[role] == nil:
		var askable []RoleName
		for _, r := range Askable(p, s, now) {
			askable = append(askable, r.Name)
		}
		return append(needs, "the name of a role that there is"+meant(role, askable))
	}
	if !s.covers(role) {
		needs = append(needs, "a token that is for "+string(role))
	}
	switch {
	case len(routes) == 0:
		needs = append(needs, grantNeeded(p, role, now))
	case routes[0].Expired:
		needs = append(needs, grantRenewal(routes[0]))
	}
	return needs
}

// lackingUser returns what would have to change for a User to be usable.
func lackingUser(s Subject, now time.Time) []string {
	if s.Name == "" {
		return []string{"an administrator to add the user"}
	}
	var needs []string
	if now.IsZero() {
		needs = append(needs, "the time")
	}
	if !s.Enabled {
		needs = append(needs, "an administrator to enable the user")
	}
	if !now.Before(s.Expires) {
		needs = append(needs, "an administrator to renew the user")
	}
	switch {
	case !s.IsApp:
	case s.Owner == "":
		needs = append(needs, "an owner of the application")
	case s.OwnerExpires.IsZero(): // everybody's access ends: there is no such person
		needs = append(needs, "another owner of the application")
	default:
		if !s.OwnerEnabled {
			needs = append(needs, "an administrator to enable the application's owner")
		}
		if !now.Before(s.OwnerExpires) {
			needs = append(needs, "an administrator to renew the application's owner")
		}
	}
	return needs
}

// grantNeeded says which Grant would do: those of Groups that lead to the Role
// now, or a new one.
func grantNeeded(p *Document, role RoleName, now time.Time) string {
	above := p.above(role)
	var groups []GroupName
	for _, name := range slices.Sorted(maps.Keys(p.Groups)) {
		if slices.ContainsFunc(p.Groups[name].Grants, func(g Grant) bool {
			return above[g.Role] && (g.Expires.IsZero() || now.Before(g.Expires))
		}) {
			groups = append(groups, name)
		}
	}
	if len(groups) == 0 {
		return "a grant to the user, or to a group of theirs"
	}
	return "membership of " + joined(groups, mostNames, "or") + ", or a grant to the user"
}

// above returns the Roles from which the includes lead down to one, and that
// Role.
func (d *Document) above(role RoleName) map[RoleName]bool {
	by := map[RoleName][]RoleName{}
	for name, r := range d.Roles {
		if r == nil {
			continue
		}
		for _, next := range r.Includes {
			by[next] = append(by[next], name)
		}
	}
	above := map[RoleName]bool{role: true}
	for queue := []RoleName{role}; len(queue) > 0; queue = queue[1:] {
		for _, next := range by[queue[0]] {
			if !above[next] {
				above[next] = true
				queue = append(queue, next)
			}
		}
	}
	return above
}

// renewal says what has to last longer for a route of s to be of use.
func renewal(s Subject, r Route, now time.Time) string {
	switch {
	case s.Expires.Sub(now) < MinDuration:
		return "an administrator to renew the user"
	case s.ends().Sub(now) < MinDuration:
		return "an administrator to renew the application's owner"
	}
	return grantRenewal(r)
}

func grantRenewal(r Route) string {
	to := "the user"
	if r.Via != "" {
		to = string(r.Via)
	}
	return fmt.Sprintf("an administrator to renew the grant of %s to %s", r.Granted, to)
}
