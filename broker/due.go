package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/starback/starback/broker/policy"
)

const (
	dueBatch     = 50
	retryFirst   = 2 * time.Second
	retryAtMost  = 5 * time.Minute
	tellPatience = 10 * time.Second
	// holdFor is how long a worker has for one aggregate before another may
	// take it up: at most two tellings.
	holdFor = 30 * time.Second
)

// noticeKinds are the kinds of Notices, in the order in which they are told.
var noticeKinds = []NoticeKind{
	NoticeAudit, NoticeUndelivered, NoticeApproval, NoticeRemind, NoticeEscalate, NoticeOutcome, NoticeOver, NoticeEnding, NoticeEnded,
	NoticeExpiring,
	NoticeFence, NoticePace, NoticeLapse, NoticeClose,
}

// wake asks a running Sweep to look now rather than at its next tick.
func (b *Broker) wake() {
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

// Sweep calls Due every so often, and whenever there is news, until ctx ends.
// What goes wrong is reported and tried again.
func (b *Broker) Sweep(ctx context.Context, every time.Duration, report func(error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		more, err := b.Due(ctx)
		if err != nil && ctx.Err() == nil {
			report(err)
		}
		if more && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-b.kick:
		}
	}
}

// Due passes on what is due: Events to the audit index, Notices to people. It
// is idempotent, and what fails stays due for later. More says that it stopped
// at a full batch.
func (b *Broker) Due(ctx context.Context) (more bool, err error) {
	now := b.now()
	// What could be read is passed on, whatever could not.
	pending, err := b.Outbox.Pending(ctx, now, dueBatch)
	errs := []error{err}
	// The index comes first, for all of them: it does not wait for Slack.
	var indexed []Pending
	for _, p := range pending {
		if err := b.Archive.Append(ctx, p.Trail.Events); err != nil {
			errs = append(errs, err)
			continue // nothing is told of it, nothing taken off
		}
		indexed = append(indexed, p)
	}
	waiting := map[NoticeKind]time.Duration{} // receivers that need time
	for _, p := range indexed {
		if err := b.passOn(ctx, p, now, waiting); err != nil {
			errs = append(errs, err)
		}
	}
	return len(pending) == dueBatch, errors.Join(errs...)
}

// passOn tells what is due of one aggregate, and settles its Trail as far as
// that went. Its Events are in the index.
func (b *Broker) passOn(ctx context.Context, p Pending, now time.Time, waiting map[NoticeKind]time.Duration) error {
	// One worker tells: two would say everything twice.
	if mine, err := b.Outbox.Hold(ctx, p.Ref, now, now.Add(holdFor)); err != nil || !mine {
		return err
	}
	s := Settlement{Thread: p.Trail.Thread, Post: p.Trail.Post, Direct: p.Trail.Direct, Later: map[string]Notice{}}
	for _, e := range p.Trail.Events {
		s.Indexed = append(s.Indexed, e.ID)
	}
	about, err := b.about(ctx, p.Ref)
	if err != nil {
		return err
	}
	var errs []error
	for _, kind := range noticeKinds {
		about.Kind, about.Now, about.Thread, about.Post, about.Direct = kind, now, s.Thread, s.Post, s.Direct
		about.Notices = slices.DeleteFunc(slices.Clone(p.Trail.Notices), func(n Notice) bool {
			// What is told of to the auditors goes together, in order.
			return n.Kind != kind || kind != NoticeAudit && n.Due.After(now)
		})
		notices := about.Notices
		if len(notices) == 0 {
			continue
		}
		err := error(&Patience{After: waiting[kind]})
		switch {
		case kind == NoticeFence:
			err = b.endDue(ctx, about)
		case kind == NoticePace:
			err = b.keepPace(ctx, *about.Request)
		case about.held(now):
			err = &Patience{After: LeaseFor}
		case kind == NoticeExpiring && !about.tellsEnd(now), about.untold():
			err = nil // it does not hold any more
		case waiting[kind] == 0:
			var thread string
			thread, err = b.tell(ctx, about)
			switch {
			case thread == "":
			case kind.forApprovers():
				s.Post, about.Post = thread, thread
			case kind == NoticeOutcome:
				s.Direct = thread
			default:
				s.Thread = thread
			}
		}
		if err == nil {
			for _, n := range notices {
				s.Told = append(s.Told, n.ID)
			}
			continue
		}
		var patience *Patience
		if errors.As(err, &patience) {
			waiting[kind] = max(waiting[kind], patience.After)
		} else {
			errs = append(errs, err)
		}
		for _, n := range notices {
			n.Tries++
			n.Due = now.Add(retryAfter(n.Tries, waiting[kind]))
			s.Later[n.ID] = n
		}
		if errors.Is(err, context.DeadlineExceeded) {
			// One that does not answer is not waited for again and again.
			waiting[kind] = max(waiting[kind], retryFirst)
		}
	}
	if err := b.Outbox.Settle(ctx, p.Ref, s); err != nil {
		return errors.Join(append(errs, err)...)
	}
	if p.Ref.Kind != RefRequest {
		// What administrators do may happen where nothing is logged, as on the
		// command line: their Events are logged here.
		for _, e := range p.Trail.Events {
			b.Journal.Audit(e, Metrics{})
		}
	}
	return errors.Join(errs...)
}

// about reads what the Notices of an aggregate are about, as it is now.
func (b *Broker) about(ctx context.Context, ref Ref) (Telling, error) {
	switch ref.Kind {
	case RefRequest:
		r, err := b.Ledger.Request(ctx, ref.Key)
		if err == nil {
			r, err = b.timed(ctx, r)
		}
		return Telling{Request: &r}, err
	case RefUser:
		u, err := b.Users.User(ctx, policy.UserName(ref.Key))
		if err != nil || !u.IsApp {
			return Telling{User: &u, To: &u}, err
		}
		owner, err := b.Users.User(ctx, u.Owner)
		if errors.Is(err, ErrNotFound) {
			err = nil
		}
		return Telling{User: &u, To: &owner}, err
	default:
		return Telling{}, nil
	}
}

// tell sends Notices, for no longer than tellPatience.
func (b *Broker) tell(ctx context.Context, t Telling) (string, error) {
	ctx, stop := context.WithTimeout(ctx, tellPatience)
	defer stop()
	var err error
	switch {
	case t.Kind.forApprovers():
		err = b.whoIsAsked(ctx, &t)
	case t.Kind == NoticeEnding:
		t.MayAsk, err = b.mayAsk(ctx, *t.Request)
	}
	if err != nil {
		return "", err
	}
	return b.Teller.Tell(ctx, t)
}

// mayAsk says whether the requester of a Request may ask for the same once more:
// whatever then needs approval needs it again.
func (b *Broker) mayAsk(ctx context.Context, r Request) (bool, error) {
	_, doc, err := b.Policies.Head(ctx)
	if err != nil {
		return false, err
	}
	in, err := b.input(ctx, r, Facts{Policy: doc}, b.now())
	if role := roleOf(doc, r.Role); role != nil {
		in.Asked.Ticket, in.Asked.Reason = role.SplitTicket(r.Words)
	}
	in.Answers = nil
	return policy.Decide(in).Effect != policy.Deny, err
}

// retryAfter is how long to wait before a further try: doubling, bounded, and
// no shorter than the receiver asked for.
func retryAfter(tries int, asked time.Duration) time.Duration {
	wait := retryAtMost
	if tries < 10 {
		wait = min(retryAtMost, retryFirst<<(tries-1))
	}
	return max(wait, asked)
}

// timed does what is due at a time, rather than told to somebody: a Request
// lapses, or its window is over.
func (b *Broker) timed(ctx context.Context, r Request) (Request, error) {
	now := b.now()
	var err error
	switch {
	case r.late(now):
		r, err = b.lapse(ctx, r.ID, now)
	case r.over(now):
		r, err = b.step(ctx, r.ID, now, func(r *Request) (*Event, error) {
			if !r.over(now) {
				return nil, &Settled{Request: *r}
			}
			if err := r.move(stepClose); err != nil {
				return nil, err
			}
			r.untime()
			e := b.requestEvent(EventClosed, *r, now)
			r.refreshDirect(&e, b.newID(now), now)
			return &e, nil
		})
	}
	var settled *Settled
	if errors.As(err, &settled) {
		return settled.Request, nil
	}
	return r, err
}

// over says whether an open Request is to be closed. A Session that is being
// issued holds it open, as it keeps one that waits from lapsing.
func (r *Request) over(now time.Time) bool {
	return r.State == StateOpen && !now.Before(r.Ends()) && !r.minting(now)
}

// held says whether what marks a time is to be looked at again later.
func (t Telling) held(now time.Time) bool {
	return (t.Kind == NoticeLapse || t.Kind == NoticeClose) && !t.Request.State.Over() && t.Request.minting(now)
}

// untold says whether a Notice about a Request is not to be told: it only marks
// a time, or what it would say does not hold any more.
func (t Telling) untold() bool {
	switch t.Kind {
	case NoticeLapse, NoticeClose:
		return true
	case NoticeRemind, NoticeEscalate:
		return t.Request.State != StatePending
	case NoticeOver:
		return t.Direct == "" || !t.Request.State.Over()
	case NoticeEnding:
		return t.Request.State != StateOpen || !t.Request.RevealUntil().IsZero()
	default:
		return false
	}
}
