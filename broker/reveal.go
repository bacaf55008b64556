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
	r, err := b.Ledger.Request(ctx, a.id)
	if err == nil && r.Slack != slack {
		err = ErrNotFound
	}
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("request %s: %w", a.id, ErrNotFound)
	}
	if err != nil {
		return &Fault{RequestID: a.id, Code: FaultStore, Err: err}
	}
	if r.session(a.key) != nil {
		return a.takeOver(ctx, r)
	}
	if r.late(a.began) {
		_, err := b.lapse(ctx, a.id, a.began)
		return err
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
// lapses.
func (b *Broker) timed(ctx context.Context, r Request) (Request, error) {
	now := b.now()
	if !r.late(now) {
		return r, nil
	}
	r, err := b.lapse(ctx, r.ID, now)
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
	case NoticeLapse:
		return true
	case NoticeRemind:
		return t.Request.State != StatePending
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
