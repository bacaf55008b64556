package broker

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/starback/starback/broker/policy"
)

// claimWithin is how long what was never shown can be revealed, where no role
// says how long what was approved can be.
const claimWithin = time.Hour

// Reveal issues the first Session of a Request that was approved, which opens
// its window. What was approved is decided again: it counts only if it is still
// what was asked, and whoever approved it may still do so. Otherwise the
// Request is void. Its errors are Issue's, and *Settled for a Request that is
// not approved, or not any more.
//
// A Request of which nothing was shown, approved or not, is revealed anew until
// RevealUntil: its window begins again, and what was not shown is ended.
func (b *Broker) Reveal(ctx context.Context, ask AskAgain) (Issued, error) {
	return b.again(ctx, ask, func(Request, time.Time) (kind, error) { return revealing, nil })
}

// Use issues whatever a Request has to give now: it is Reveal for one that was
// approved, or of which nothing was shown, and IssueAgain for one that is open.
// One that is over, or waits, is *Settled.
func (b *Broker) Use(ctx context.Context, ask AskAgain) (Issued, error) {
	return b.again(ctx, ask, func(r Request, now time.Time) (kind, error) {
		switch {
		case r.State == StateClosed:
			return 0, &Settled{Request: r}
		case r.State == StateOpen && !now.Before(r.RevealUntil()):
			return further, nil
		default:
			return revealing, nil
		}
	})
}

// recordReveal adds the first Session to an approved Request, or finds what
// came of it before. Of any number at once, one is added.
func (a *attempt) recordReveal(ctx context.Context, r Request) error {
	b := a.broker
	if r.late(a.began) { // whoever began in time and died comes too late as well
		_, err := b.lapse(ctx, a.id, a.began)
		return err
	}
	switch {
	case r.State == StateApproved, a.began.Before(r.RevealUntil()):
		if r.session(a.key) != nil {
			return a.takeOver(ctx, r)
		}
	case r.State == StateOpen, r.State == StateClosed:
		return &AlreadyIssued{RequestID: a.id, State: r.State, Rule: r.Rule}
	case r.State == StateAsked && r.minting(a.began): // it is being decided
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

// RevealUntil is until when the Request can be revealed anew: as long as nothing
// that was issued under it was shown, and for as long after the first of it as
// what is approved can be revealed. It is zero where there is nothing like that.
func (r Request) RevealUntil() time.Time {
	if r.State != StateOpen || r.full() {
		return time.Time{}
	}
	var first time.Time
	for _, s := range r.Sessions {
		switch {
		case s.State != SessionIssued:
		case s.UndeliveredAt.IsZero():
			return time.Time{} // it is shown, or about to be
		case first.IsZero():
			first = s.BeganAt
		}
	}
	switch {
	case first.IsZero():
		return first
	case r.Needs != nil && r.Needs.ClaimWithin > 0:
		return first.Add(r.Needs.ClaimWithin)
	default:
		return first.Add(claimWithin)
	}
}

// RenewUntil is until when a further Session can be issued in the window of the
// Request, if nothing else is against it. It is zero where there is no window,
// or no room for more in it.
func (r Request) RenewUntil() time.Time {
	if r.State != StateOpen || r.full() {
		return time.Time{}
	}
	return r.WindowEnd.Add(-policy.MinDuration)
}

// Ends is when an open Request is over: at the end of its window or, if that is
// later, when it cannot be revealed anew any more.
func (r Request) Ends() time.Time {
	if until := r.RevealUntil(); until.After(r.WindowEnd) {
		return until
	}
	return r.WindowEnd
}

// minting says whether somebody is issuing a Session at now.
func (r Request) minting(now time.Time) bool {
	return slices.ContainsFunc(r.Sessions, func(s Session) bool { return s.State == SessionMinting && now.Before(s.Lease) })
}

// endUnseen has what was not shown ended, once there is something instead.
func (a *attempt) endUnseen(r *Request) {
	var ids []string
	for i, s := range r.Sessions {
		if !s.UndeliveredAt.IsZero() && s.live(a.began) && s.EndAsked.IsZero() {
			r.Sessions[i].EndAsked = a.began
			ids = append(ids, s.ID)
		}
	}
	if len(ids) == 0 {
		return
	}
	e := a.event(EventEndAsked, *r, &Session{ID: strings.Join(ids, ", ")})
	e.Actor = string(a.facts.User.Name)
	e.Detail = "The credentials may not have been shown, and were issued anew."
	a.also = &e
	r.Trail.Notices = append(r.Trail.Notices, Notice{ID: a.broker.newID(a.began), Kind: NoticeFence, Due: a.began})
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
