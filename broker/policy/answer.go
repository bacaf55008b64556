package policy

import (
	"slices"
	"time"
)

// MayAnswer says whether s may answer the Request that in is about, by rule: a
// person in one of the rule's groups, usable now, who is neither the requester
// nor answerable for them.
func MayAnswer(rule Approval, in Input, s Subject) bool { return mayAnswer(rule, in, s) }

// Approves returns the Roles whose Requests s may answer now, all but their own,
// by name. An Application may answer none.
func Approves(p *Document, s Subject, now time.Time) []RoleName {
	if _, ok := usable(s, p, now); !ok {
		return nil
	}
	var roles []RoleName
	for name, role := range p.Roles {
		if role != nil && role.Approval != nil && approver(*role.Approval, p, s) {
			roles = append(roles, name)
		}
	}
	slices.Sort(roles)
	return roles
}

// ApprovedBy returns the Roles whose Requests the members of group may answer,
// from the first or once they escalate, by name.
func (d *Document) ApprovedBy(group GroupName) []RoleName {
	var roles []RoleName
	for name, role := range d.Roles {
		if role != nil && role.Approval != nil && slices.Contains(role.Approval.Groups(), group) {
			roles = append(roles, name)
		}
	}
	slices.Sort(roles)
	return roles
}
