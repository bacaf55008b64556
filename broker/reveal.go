package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/starback/starback/broker/policy"
)

// Reveal issues the first Session of a Request that was approved, which opens
// its window. What was approved is decided again: it counts only if it is still
// what was asked, and whoever approved it may still do so. Otherwise the
// Request is void. Its errors are Issue's, and *Settled for a Request that is
// not approved, or not any more.
func (b *Broker) Reveal(ctx context.Context, ask AskAgain) (Issued, error) {
	a := &attempt{broker: b, began: b.now(), deadline: ask.Deadline, id: ask.RequestID, key: digest(ask.RequestID, ask.Key), kind: revealing}
	if ask.Key == "" || len(ask.Key) > maxKey {
		return Issued{}, fmt.Errorf("no usable idempotency key: %w", ErrInvalid)
	}
	who := caller{slack: ask.Caller}
	if err := b.tooMany(a.id, who, a.began); err != nil {
		return Issued{}, err
	}
	if err := a.start(ctx, who, func(ctx context.Context) error { return a.recordReveal(ctx, ask.Caller) }); err != nil {
		return Issued{}, err
	}
	return a.carryOut(ctx)
}

// recordReveal adds the first Session to an approved Request, or finds what
// came of it before. Of any number at once, one is added.
func (a *attempt) recordReveal(ctx context.Context, slack SlackID) error {
	b := a.broker
	r, err := a.theirs(ctx, slack)
	if err != nil {
		return err
	}
	if r.late(a.began) { // whoever began in time and died comes too late as well
		_, err := b.lapse(ctx, a.id, a.began)
		return err
	}
	if r.session(a.key) != nil && r.State == StateApproved {
		return a.takeOver(ctx, r)
	}
	switch r.State {
	case StateApproved:
	case StateOpen, StateClosed:
		return &AlreadyIssued{RequestID: a.id}
	default:
		return &Settled{Request: r}
	}
	for i, s := range r.Sessions {
		if s.State != SessionMinting {
			continue
		}
		if a.began.Before(s.Lease) {
			return &Busy{RequestID: a.id, Until: s.Lease}
		}
		r.Sessions[i].State = SessionLost
	}
	return a.addSession(ctx, r, EventAsked)
}

// timed does what is due at a time, rather than told to somebody: a Request
// lapses, or its window is over.
func (b *Broker) timed(ctx context.Context, r Request) (Request, error) {
	now := b.now()
	var err error
	switch {
	case r.late(now):
		r, err = b.lapse(ctx, r.ID, now)
	case r.State == StateOpen && !now.Before(r.WindowEnd):
		r, err = b.step(ctx, r.ID, now, func(r *Request) (*Event, error) {
			if r.State != StateOpen {
				return nil, &Settled{Request: *r}
			}
			r.untime()
			e := b.requestEvent(EventClosed, *r, now)
			if r.Needs != nil {
				r.tellApprovers(&e, b.newID(now), now)
			}
			return &e, r.move(stepClose)
		})
	}
	var settled *Settled
	if errors.As(err, &settled) {
		return settled.Request, nil
	}
	return r, err
}

// untold says whether a Notice about a Request is not to be told: it only marks
// a time, or what it would say does not hold any more.
func (t Telling) untold() bool {
	switch t.Kind {
	case NoticeLapse, NoticeClose:
		return true
	case NoticeRemind:
		return t.Request.State != StatePending
	case NoticeEnding:
		return t.Request.State != StateOpen
	default:
		return false
	}
}

// Answered counts the yeses to a Request, and says how many it needs.
func (r Request) Answered() (yes, needed int) {
	for _, a := range r.Approvals {
		if a.Yes {
			yes++
		}
	}
	if r.Needs != nil {
		needed = r.Needs.Count
	}
	return yes, needed
}

// Approvers names who agreed to the Request.
func (r Request) Approvers() (names []policy.UserName) {
	for _, a := range r.Approvals {
		if a.Yes && !slices.Contains(names, a.User) {
			names = append(names, a.User)
		}
	}
	return names
}

// MaxApprovers is how many of those who may answer a Request are told of by
// name: more would not be read.
const MaxApprovers = 25

// approvers returns the people who are asked to answer a Request that waits, by
// name and no more than one past MaxApprovers, and what its requester has open
// besides. Those to whom it escalates are asked once their time has come.
func (b *Broker) approvers(ctx context.Context, r Request) (found []User, open []Request, err error) {
	if r.State != StatePending || r.Needs == nil {
		return nil, nil, nil
	}
	now := b.now()
	_, doc, err := b.Policies.Head(ctx)
	if err != nil {
		return nil, nil, err
	}
	in, err := b.input(ctx, r, Facts{Policy: doc}, now)
	if err != nil {
		return nil, nil, err
	}
	rule := *r.Needs
	if now.Before(r.LapsesAt.Add(rule.EscalateAfter - rule.Within)) {
		rule.EscalateTo = nil
	}
	err = b.Users.Users(ctx, func(u User) bool {
		answered := slices.ContainsFunc(r.Approvals, func(a Approval) bool { return a.UserID == u.ID })
		if !answered && !u.Slack.IsZero() && policy.MayAnswer(rule, in, u.Subject(User{})) {
			found = append(found, u)
		}
		return len(found) <= MaxApprovers
	})
	if err != nil {
		return nil, nil, err
	}
	open, err = b.Requests.OpenRequests(ctx, r.User, now)
	open = slices.DeleteFunc(open, func(o Request) bool { return o.UserID != r.UserID || o.State != StateOpen })
	return found, open, err
}
