package policy

import (
	"slices"
	"strings"
	"time"
)

// An Effect is what a Decision comes to.
type Effect int

// The zero Effect denies.
const (
	Deny Effect = iota
	NeedsApproval
	Allow
)

// String returns "deny", "needs approval" or "allow".
func (e Effect) String() string {
	switch e {
	case Allow:
		return "allow"
	case NeedsApproval:
		return "needs approval"
	default:
		return "deny"
	}
}

// A Rule names what decided. The names are part of the audit trail: they are
// added to, never renamed.
type Rule string

// The rules, in the order in which Decide looks at them.
const (
	RuleUserUnknown      Rule = "user.unknown"
	RuleUserDisabled     Rule = "user.disabled"
	RuleUserExpired      Rule = "user.expired"
	RuleOwnerMissing     Rule = "user.owner_missing"
	RuleOwnerDisabled    Rule = "user.owner_disabled"
	RuleOwnerExpired     Rule = "user.owner_expired"
	RuleTimeMissing      Rule = "time.missing" // without the time nothing is known to last
	RulePolicyMissing    Rule = "policy.missing"
	RuleRoleMissing      Rule = "role.missing" // none was named
	RuleRoleUnknown      Rule = "role.unknown" // no such role in the Policy
	RuleNotGranted       Rule = "grant.none"
	RuleGrantExpired     Rule = "grant.expired"
	RuleTokenLimited     Rule = "token.limited" // its User holds the Role, and the Token is for others
	RuleDurationShort    Rule = "duration.too_short"
	RuleDurationLong     Rule = "duration.too_long"
	RuleEndsSoon         Rule = "grant.ends_soon"
	RuleTicketMissing    Rule = "ticket.missing"
	RuleTicketMismatch   Rule = "ticket.mismatch"
	RuleReasonMissing    Rule = "reason.missing"
	RuleApprovalRequired Rule = "approval.required"
	RuleApproved         Rule = "approval.given"
	RuleGranted          Rule = "grant.held"
)

// A Subject is what Decide needs to know of a User. The zero Subject is
// nobody.
type Subject struct {
	Name    UserName
	Owner   UserName // who answers for an application; empty for a person
	IsApp   bool
	Enabled bool
	Expires time.Time
	Groups  []GroupName
	Grants  []Grant // held directly

	// OwnerEnabled and OwnerExpires are the Owner's: an application may do
	// nothing that its Owner may not, and ends when its Owner does.
	OwnerEnabled bool
	OwnerExpires time.Time

	// Limited says that the Subject speaks through a Token that is for the
	// Roles in Only and no others, whatever those include.
	Limited bool
	Only    []RoleName
}

// ends returns when the Subject's access ends: for an application, no later
// than its Owner's.
func (s Subject) ends() time.Time {
	if s.IsApp && s.OwnerExpires.Before(s.Expires) {
		return s.OwnerExpires
	}
	return s.Expires
}

// covers says whether the Subject's Token, if it speaks through one, is for
// the Role.
func (s Subject) covers(role RoleName) bool { return !s.Limited || slices.Contains(s.Only, role) }

// An Asked is what was asked for. A zero Duration asks for the Role's default.
type Asked struct {
	Role     RoleName
	Duration time.Duration
	Ticket   string
	Reason   string
}

// An Answer is one approver's answer to one Request, with what is known of
// the approver now.
type Answer struct {
	Yes      bool
	Digest   string // of what was approved
	Approver Subject
}

// Input is everything a Decision depends on.
type Input struct {
	Policy  *Document
	Subject Subject
	Asked   Asked
	Digest  string // of what is being asked, to compare with each Answer's
	Answers []Answer
	Now     time.Time
}

// A Decision says what was decided and why.
type Decision struct {
	Effect   Effect
	Rule     Rule
	Path     []string      // from the User to the Role, in words: see PathString
	Reason   string        // one plain sentence
	Role     *Role         // nil unless the Subject may ask for it
	Duration time.Duration // of the window: as asked, or the Role's default; cut where the authority ends first
	Expires  time.Time     // when the authority ends: the User's or the Grant's expiry, whichever is first
}

// PathString returns the Path as a reader expects it:
// "alice ∈ sre → prod-admin → includes prod-readonly".
func (d Decision) PathString() string { return strings.Join(d.Path, " ") }

// Decide answers one Request. It looks at nothing but in.
func Decide(in Input) Decision {
	d, ok := entitled(in.Policy, in.Subject, in.Asked.Role, in.Now)
	if !ok {
		return d
	}
	role, left := d.Role, d.Expires.Sub(in.Now)
	if d.Duration = in.Asked.Duration; d.Duration == 0 {
		d.Duration = role.DefaultDuration
	}
	refuse := func(rule Rule, reason string) Decision {
		d.Effect, d.Rule, d.Reason = Deny, rule, reason
		return d
	}
	if rule, reason := wrongLength(role, d.Duration, left); rule != "" {
		return refuse(rule, reason)
	}
	switch {
	case role.Ticket != nil && in.Asked.Ticket == "":
		return refuse(RuleTicketMissing, "The role needs a ticket.")
	case role.Ticket != nil && !role.Ticket.Match(in.Asked.Ticket):
		return refuse(RuleTicketMismatch, "The ticket does not look like one.")
	case role.ReasonRequired && strings.TrimSpace(in.Asked.Reason) == "":
		return refuse(RuleReasonMissing, "The role needs a reason.")
	}
	d.Duration = min(d.Duration, left)
	if role.Approval == nil {
		d.Effect, d.Rule, d.Reason = Allow, RuleGranted, "The role is granted."
		return d
	}
	if approved(*role.Approval, in) {
		d.Effect, d.Rule, d.Reason = Allow, RuleApproved, "The role is granted and the request approved."
		return d
	}
	d.Effect, d.Rule, d.Reason = NeedsApproval, RuleApprovalRequired, "The role is granted; somebody must approve the request."
	return d
}

// entitled says whether s may ask for a Role at all, in whatever way. If so,
// the Decision holds the Role, the Path and when the authority ends; if not,
// it is complete.
func entitled(p *Document, s Subject, name RoleName, now time.Time) (Decision, bool) {
	if d, ok := usable(s, p, now); !ok {
		return d, false
	}
	if name == "" {
		return deny(RuleRoleMissing, "No role was named."), false
	}
	role, ok := p.Roles[name]
	if !ok || role == nil {
		return deny(RuleRoleUnknown, "There is no such role."), false
	}
	route, expired := bestRoute(p, s, name, now)
	if route == nil {
		if expired {
			return deny(RuleGrantExpired, "The grant has expired."), false
		}
		return deny(RuleNotGranted, "The role was not granted."), false
	}
	if !s.covers(name) {
		return deny(RuleTokenLimited, "The token is for other roles."), false
	}
	return Decision{Role: role, Path: route.Path, Expires: route.Expires}, true
}

// wrongLength returns what forbids a window of d where the authority ends after
// left, or nothing.
func wrongLength(role *Role, d, left time.Duration) (Rule, string) {
	switch {
	case d < MinDuration:
		return RuleDurationShort, "AWS issues nothing shorter than 15 minutes."
	case d > role.MaxDuration, d > MaxDuration:
		return RuleDurationLong, "The duration is more than the role allows."
	case left < MinDuration:
		return RuleEndsSoon, "The user's access, or the grant, ends in less than 15 minutes."
	}
	return "", ""
}

// Askable lists the Roles that s may ask for now, by name, whatever duration,
// ticket, reason or approval each then wants.
func Askable(p *Document, s Subject, now time.Time) []*Role {
	var roles []*Role
	for _, name := range NewReacher(p, now).askable(s) {
		roles = append(roles, p.Roles[name])
	}
	return roles
}

// IsAdmin says whether s administers Starback now.
func IsAdmin(p *Document, s Subject, now time.Time) bool {
	if _, ok := usable(s, p, now); !ok || s.IsApp {
		return false
	}
	return slices.ContainsFunc(p.Admins, func(g GroupName) bool { return memberOf(p, s, g) })
}

// Usable says whether s may use Starback at all now; if not, the Decision
// says why.
func Usable(p *Document, s Subject, now time.Time) (Decision, bool) { return usable(s, p, now) }

func deny(rule Rule, reason string) Decision {
	return Decision{Effect: Deny, Rule: rule, Reason: reason}
}

// usable checks what must hold of a Subject before any Role is looked at.
func usable(s Subject, p *Document, now time.Time) (Decision, bool) {
	switch {
	case s.Name == "":
		return deny(RuleUserUnknown, "Nobody is known by that identity."), false
	case !s.Enabled:
		return deny(RuleUserDisabled, "The user is disabled."), false
	case !now.Before(s.Expires): // a zero Expires has always passed
		return deny(RuleUserExpired, "The user's access has expired."), false
	case s.IsApp && s.Owner == "":
		return deny(RuleOwnerMissing, "The application has no owner."), false
	case s.IsApp && !s.OwnerEnabled:
		return deny(RuleOwnerDisabled, "The application's owner is disabled."), false
	case s.IsApp && !now.Before(s.OwnerExpires):
		return deny(RuleOwnerExpired, "The access of the application's owner has expired."), false
	case now.IsZero(): // a zero time is before every expiry
		return deny(RuleTimeMissing, "The time is not known."), false
	case p == nil:
		return deny(RulePolicyMissing, "No policy has been applied yet."), false
	}
	return Decision{}, true
}

// bestRoute finds the way to target that lasts longest, then has the fewest
// steps, then comes first by name. It also says whether only expired grants
// led there.
func bestRoute(p *Document, s Subject, target RoleName, now time.Time) (best *Route, expired bool) {
	var w descent
	live, ended := starts(p, s, now)
	if w.down(p, live, target) {
		return &Route{Path: w.path(s.Name, target), Expires: w.came[target].start.expires}, false
	}
	return nil, w.down(p, ended, target)
}

// approved counts distinct people who may answer, did, and agreed to exactly
// this. One no outweighs any number of yeses.
func approved(rule Approval, in Input) bool {
	if rule.Count < 1 || in.Digest == "" {
		return false
	}
	yes := map[UserName]bool{}
	for _, a := range in.Answers {
		if a.Digest != in.Digest || !mayAnswer(rule, in, a.Approver) {
			continue
		}
		if !a.Yes {
			return false
		}
		yes[a.Approver.Name] = true
	}
	return len(yes) >= rule.Count
}

// mayAnswer says whether s may answer the Request now: a usable person, in one
// of the rule's groups, who is not the requester and not answerable for them.
func mayAnswer(rule Approval, in Input, s Subject) bool {
	if _, ok := usable(s, in.Policy, in.Now); !ok {
		return false
	}
	if s.Name == in.Subject.Name || answersFor(s) == answersFor(in.Subject) {
		return false
	}
	return approver(rule, in.Policy, s)
}

// approver says whether s is a person in one of the rule's groups.
func approver(rule Approval, p *Document, s Subject) bool {
	return !s.IsApp && slices.ContainsFunc(rule.Groups(), func(g GroupName) bool { return memberOf(p, s, g) })
}

// answersFor returns the person who answers for what s does.
func answersFor(s Subject) UserName {
	if s.Owner != "" {
		return s.Owner
	}
	return s.Name
}

// memberOf says whether s is in g, and g exists.
func memberOf(p *Document, s Subject, g GroupName) bool {
	_, exists := p.Groups[g]
	return exists && slices.Contains(s.Groups, g)
}
