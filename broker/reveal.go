package broker

import (
	"context"
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
