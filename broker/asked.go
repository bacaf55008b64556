package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/starback/starback/broker/policy"
)

// MaxApprovers is how many of those who are asked to answer a Request are told
// of by name: more would not be read.
const MaxApprovers = 25

// standingPatience is how long Slack may take to say which approvers can answer.
const standingPatience = 3 * time.Second

// whoIsAsked adds to a Telling of a Request that waits who is asked to answer
// it, and what its requester has open besides. Those to whom it escalates may
// answer from the beginning, and are asked once their time has come.
func (b *Broker) whoIsAsked(ctx context.Context, t *Telling) error {
	t.Asked, t.Approvers, t.Able, t.Open = nil, nil, 0, nil
	r := *t.Request // a copy, with the rule as it is now
	if r.State != StatePending || r.Needs == nil {
		return nil
	}
	now := b.now()
	_, doc, err := b.Policies.Head(ctx)
	if err != nil {
		return err
	}
	in, err := b.input(ctx, r, Facts{Policy: doc}, now)
	if err != nil {
		return err
	}
	r.Needs = r.ApprovalNow(doc)
	t.Request = &r
	asked := *r.Needs
	if now.Before(r.escalates()) {
		asked.EscalateTo = nil
	}
	for _, name := range asked.Groups() {
		group := doc.Groups[name]
		group.Name = name // whatever has become of it
		t.Asked = append(t.Asked, group)
	}
	slack, stop := context.WithTimeout(ctx, standingPatience)
	defer stop()
	var readErr error
	err = b.Users.Users(ctx, func(u User) bool {
		answered := slices.ContainsFunc(r.Approvals, func(a Approval) bool { return a.UserID == u.ID })
		if answered || u.Slack.IsZero() || !policy.MayAnswer(*r.Needs, in, u.Subject(User{})) {
			return true
		}
		var can bool
		if can, readErr = b.canAnswer(ctx, slack, u, now); readErr != nil {
			return false
		}
		if can {
			t.Able++
			if policy.MayAnswer(asked, in, u.Subject(User{})) {
				t.Approvers = append(t.Approvers, u)
			}
		}
		return len(t.Approvers) <= MaxApprovers
	})
	if err = errors.Join(err, readErr); err != nil {
		return err
	}
	open, err := b.Requests.OpenRequests(ctx, r.User, now)
	t.Open = slices.DeleteFunc(open, func(o Request) bool { return o.UserID != r.UserID || o.State != StateOpen || !now.Before(o.WindowEnd) })
	return err
}

// ApprovalNow returns the rule by which the Request waits, as the Policy has it
// now: who may answer, and how many have to. For how long it waits, and when it
// escalates, is as it was put to the approvers. A rule that there is no more
// stays as it was; nil is that of a Request that never waited.
func (r Request) ApprovalNow(p *policy.Document) *policy.Approval {
	role := roleOf(p, r.Role)
	if r.Needs == nil || role == nil || role.Approval == nil {
		return r.Needs
	}
	rule := *role.Approval
	rule.Within = r.Needs.Within
	if len(r.Needs.EscalateTo) > 0 {
		rule.EscalateAfter = r.Needs.EscalateAfter
	}
	return &rule
}

// escalates is when a Request that waits escalates, if its rule says so.
func (r Request) escalates() time.Time { return r.LapsesAt.Add(r.Needs.EscalateAfter - r.Needs.Within) }

// canAnswer says whether Slack lets an approver answer, by what is known. Slack
// is asked of somebody of whom it has not said anything that still holds. Where
// it does not tell, they are taken to: an answer looks again.
func (b *Broker) canAnswer(ctx, slack context.Context, u User, now time.Time) (bool, error) {
	i, err := b.Identities.Identity(ctx, u.Slack)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if i.Standing != Active && i.SeenAt.IsZero() {
		fresh, err := b.refreshStanding(slack, i, now)
		if err != nil {
			return bound(i, u), nil
		}
		i = fresh
	}
	return bound(i, u) && refuseStanding(i.Standing) == nil, nil
}
