package policy_test

import (
	"maps"
	"slices"
	"time"

	"github.com/starback/starback/broker/policy"
)

// reference decides in the plainest way: it works out everything that the
// subject reaches, then asks each question in turn.
func reference(in policy.Input) policy.Decision {
	return referenceKnowing(closure(in.Policy), in)
}

// referenceKnowing does so with the closure of the policy.
func referenceKnowing(below map[policy.RoleName]map[policy.RoleName]bool, in policy.Input) policy.Decision {
	if rule := referenceUsable(in.Subject, in.Now); rule != "" {
		return policy.Decision{Rule: rule}
	}
	role := in.Policy.Roles[in.Asked.Role]
	if in.Asked.Role == "" {
		return policy.Decision{Rule: policy.RuleRoleMissing}
	} else if role == nil {
		return policy.Decision{Rule: policy.RuleRoleUnknown}
	}
	held := slices.Clone(in.Subject.Grants)
	for name, group := range in.Policy.Groups {
		if slices.Contains(in.Subject.Groups, name) {
			held = append(held, group.Grants...)
		}
	}
	rule := policy.RuleNotGranted
	var until time.Time
	for _, g := range held {
		if !below[g.Role][in.Asked.Role] {
			continue
		}
		end := in.Subject.Expires
		if in.Subject.IsApp && in.Subject.OwnerExpires.Before(end) {
			end = in.Subject.OwnerExpires
		}
		if !g.Expires.IsZero() {
			if !g.Expires.After(in.Now) {
				rule = policy.RuleGrantExpired
				continue
			}
			if g.Expires.Before(end) {
				end = g.Expires
			}
		}
		if end.After(until) {
			until = end
		}
	}
	if until.IsZero() {
		return policy.Decision{Rule: rule}
	}
	if in.Subject.Limited && !slices.Contains(in.Subject.Only, in.Asked.Role) {
		return policy.Decision{Rule: policy.RuleTokenLimited}
	}
	left := until.Sub(in.Now)
	d := policy.Decision{Expires: until, Duration: in.Asked.Duration}
	if d.Duration == 0 {
		d.Duration = role.DefaultDuration
	}
	for _, question := range []struct {
		wrong bool
		rule  policy.Rule
	}{
		{d.Duration < 15*time.Minute, policy.RuleDurationShort},
		{d.Duration > 12*time.Hour || d.Duration > role.MaxDuration, policy.RuleDurationLong},
		{left < 15*time.Minute, policy.RuleEndsSoon},
		{role.Ticket != nil && in.Asked.Ticket == "", policy.RuleTicketMissing},
		{role.Ticket != nil && (role.Ticket.String() == "" || in.Asked.Ticket != "T-1"), policy.RuleTicketMismatch},
		{role.ReasonRequired && in.Asked.Reason != "disk", policy.RuleReasonMissing},
	} {
		if question.wrong {
			d.Rule = question.rule
			return d
		}
	}
	if d.Duration > left {
		d.Duration = left
	}
	switch {
	case role.Approval == nil:
		d.Effect, d.Rule = policy.Allow, policy.RuleGranted
	case referenceApproved(*role.Approval, in):
		d.Effect, d.Rule = policy.Allow, policy.RuleApproved
	default:
		d.Effect, d.Rule = policy.NeedsApproval, policy.RuleApprovalRequired
	}
	return d
}

func referenceUsable(s policy.Subject, now time.Time) policy.Rule {
	if s.Name == "" {
		return policy.RuleUserUnknown
	}
	if !s.Enabled {
		return policy.RuleUserDisabled
	}
	if !s.Expires.After(now) {
		return policy.RuleUserExpired
	}
	if s.IsApp && s.Owner == "" {
		return policy.RuleOwnerMissing
	}
	if s.IsApp && !s.OwnerEnabled {
		return policy.RuleOwnerDisabled
	}
	if s.IsApp && !s.OwnerExpires.After(now) {
		return policy.RuleOwnerExpired
	}
	return ""
}

// closure returns, for every role, that role and every role below it. It is
// Warshall's: two ways that meet in a role are one way.
func closure(p *policy.Document) map[policy.RoleName]map[policy.RoleName]bool {
	below := map[policy.RoleName]map[policy.RoleName]bool{}
	for name, role := range p.Roles {
		below[name] = map[policy.RoleName]bool{name: true}
		for _, next := range role.Includes {
			below[name][next] = true
		}
	}
	for middle := range p.Roles {
		for from := range p.Roles {
			if below[from][middle] {
				maps.Copy(below[from], below[middle])
			}
		}
	}
	return below
}

func referenceApproved(rule policy.Approval, in policy.Input) bool {
	agreed, refused := map[policy.UserName]bool{}, false
	for _, a := range in.Answers {
		approver := a.Approver
		member := false
		for name := range in.Policy.Groups {
			asked := slices.Contains(rule.By, name) || slices.Contains(rule.EscalateTo, name)
			member = member || asked && slices.Contains(approver.Groups, name)
		}
		responsible, asker := approver.Owner, in.Subject.Owner
		if responsible == "" {
			responsible = approver.Name
		}
		if asker == "" {
			asker = in.Subject.Name
		}
		counts := member && !approver.IsApp && referenceUsable(approver, in.Now) == "" &&
			approver.Name != in.Subject.Name && responsible != asker &&
			a.Digest == in.Digest && in.Digest != ""
		if counts && a.Yes {
			agreed[approver.Name] = true
		}
		refused = refused || counts && !a.Yes
	}
	return !refused && rule.Count > 0 && len(agreed) >= rule.Count
}
