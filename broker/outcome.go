package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/starback/starback/broker/policy"
)

// How often and how patiently an outcome is written again when the store fails.
const (
	recordTries = 5
	recordPause = 100 * time.Millisecond
)

// Why an attempt that AWS answered comes to nothing.
var (
	errLost = errors.New("another worker has taken this attempt over")
	errOver = errors.New("the request ended while AWS answered")
)

// recordIssued writes that credentials exist. Unless it returns nil they must
// not be released.
func (a *attempt) recordIssued(ctx context.Context, d policy.Decision, asked policy.Asked, c Credentials) error {
	err := a.record(ctx, EventIssued, func(r *Request, s *Session, e *Event) error {
		anew := a.kind == revealing && r.State == StateOpen
		if anew && r.RevealUntil().IsZero() {
			return errLost // something else was shown meanwhile
		}
		if err := r.move(stepIssue); err != nil {
			return fmt.Errorf("%w: %w", errOver, err)
		}
		if anew {
			a.endUnseen(r)
		}
		if a.kind != further {
			r.OpenedAt, r.WindowEnd = a.began, a.began.Add(d.Duration)
			r.Duration, r.LapsesAt = d.Duration, time.Time{}
		}
		a.describe(r, d, asked)
		s.State, s.Outcome = SessionIssued, OutcomeOK
		s.AccessKeyID, s.AssumedRoleID, s.ExpiresAt = c.AccessKeyID, c.AssumedRoleID, c.ExpiresAt
		s.RoleARN, s.Region = d.Role.ARN, d.Role.Region
		if a.kind == further {
			r.timeClose()
		} else {
			r.timeWindow()
		}
		e.Path, e.Outcome = d.PathString(), OutcomeOK
		e.AccessKeyID, e.AssumedRoleID, e.ExpiresAt = c.AccessKeyID, c.AssumedRoleID, c.ExpiresAt
		if !d.Role.NoSourceIdentity {
			e.SourceID = string(a.facts.User.Name)
		}
		return nil
	})
	if err == nil {
		return nil
	}
	return a.withhold(ctx, c, err)
}

// withhold throws away what AWS issued, and returns why.
func (a *attempt) withhold(ctx context.Context, c Credentials, err error) error {
	f := &Fault{RequestID: a.id, Code: FaultRecord, Err: err}
	switch {
	case errors.Is(err, errOver):
		f.Code = FaultOver
	case errors.Is(err, errLost):
		f.Code = FaultLost
	}
	if f.Code == FaultRecord || a.discard(ctx, f.Code, c) != nil {
		a.broker.Journal.Metrics(a.broker.now(), a.id, Metrics{Failures: 1, Failed: string(f.Code)})
	}
	return f
}

// discard records that credentials which AWS issued are thrown away unseen. An
// attempt that is not held any more is told of by whoever took it over.
func (a *attempt) discard(ctx context.Context, why FaultCode, c Credentials) error {
	return a.record(ctx, EventFailed, func(r *Request, s *Session, e *Event) error {
		a.claim(r)
		s.State, s.Outcome = SessionFailed, string(why)
		e.Outcome = string(why)
		e.AccessKeyID, e.AssumedRoleID, e.ExpiresAt = c.AccessKeyID, c.AssumedRoleID, c.ExpiresAt
		if r.State == StateAsked {
			return r.move(stepFail)
		}
		return nil
	})
}

// refuse records a denial and returns it.
func (a *attempt) refuse(ctx context.Context, d policy.Decision, asked policy.Asked) error {
	err := a.record(ctx, EventDenied, func(r *Request, s *Session, e *Event) error {
		a.describe(r, d, asked)
		s.State, s.Outcome = SessionRefused, string(d.Rule)
		e.Path = d.PathString()
		switch a.kind {
		case first:
			return r.move(stepDeny)
		case revealing:
			if d.Rule == RuleRate || r.State == StateOpen { // a moment later it may be had; nothing is lost
				return nil
			}
			r.tellRequester(e, a.broker.newID(a.began), a.began)
			if err := r.move(stepVoid); err != nil {
				return err
			}
			r.refreshDirect(e, a.broker.newID(a.began), a.began)
			return nil
		default:
			return nil
		}
	})
	if err != nil {
		return &Fault{RequestID: a.id, Code: FaultStore, Err: err}
	}
	a.broker.wake()
	refusal := &Refusal{RequestID: a.id, Decision: d, Asked: asked}
	if a.refused == nil {
		for _, role := range policy.Askable(a.facts.Policy, a.facts.subject(), a.began) {
			refusal.MayAsk = append(refusal.MayAsk, role.Name)
		}
	}
	return refusal
}

// fail records that nothing was released, and returns why. If even that cannot
// be recorded, the recorded ask stands without an outcome.
func (a *attempt) fail(ctx context.Context, f *Fault) error {
	f.RequestID = a.id
	err := a.record(ctx, EventFailed, func(r *Request, s *Session, e *Event) error {
		a.claim(r)
		s.State, s.Outcome = SessionFailed, string(f.Code)
		e.Outcome = string(f.Code)
		if a.kind == first {
			return r.move(stepFail)
		}
		return nil
	})
	if err != nil {
		f.Err = errors.Join(f.Err, err)
	}
	a.broker.wake()
	return f
}

// describe writes down what was decided.
func (a *attempt) describe(r *Request, d policy.Decision, asked policy.Asked) {
	r.Ticket, r.Reason = asked.Ticket, asked.Reason
	r.TicketLink = a.facts.Policy.TicketLink(d.Role, asked.Ticket)
	r.Rule, r.PolicyVersion = d.Rule, a.facts.PolicyVersion
	a.claim(r)
	if d.Role != nil {
		r.Account, r.AccountID, r.RoleARN = d.Role.Account, d.Role.AccountID, d.Role.ARN
	}
}

// claim writes down whose Request it is, once and for good: whoever presses its
// buttons later does not make it theirs.
func (a *attempt) claim(r *Request) {
	if r.UserID == "" && a.facts.User.Name != "" {
		r.User, r.UserID = a.facts.User.Name, a.facts.User.ID
	}
}

// record makes a change to the Request, with its Event, as long as the attempt
// still holds its Session. Its approvers hear of it. A store that fails is
// tried again; a write whose answer was lost is recognised.
func (a *attempt) record(ctx context.Context, name EventName, change func(*Request, *Session, *Event) error) error {
	b := a.broker
	// The outcome is worth recording even if the caller has gone away.
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), a.lease.Sub(b.now()))
	defer stop()

	now := b.now()
	id, second := b.newID(now), b.newID(now)
	current := a.request
	for try := 1; ; try++ {
		next := current.clone()
		session := a.held(&next)
		if session == nil || session.State != SessionMinting || !b.now().Before(a.lease) {
			return errLost
		}
		a.also = nil
		e := a.event(name, next, session)
		e.ID, e.Time = id, now
		if err := change(&next, session, &e); err != nil {
			return err
		}
		a.describeEvent(&e, next)
		if a.facts.User.Name != "" {
			e.Actor = string(a.facts.User.Name) // who acted, whosever Request it is
		}
		if name != EventDenied || e.Rule != RuleRate { // a moment later it may be had
			next.tellApprovers(&e, b.newID(now), now)
		}
		next.Trail.add(e, now)
		if a.also != nil {
			a.also.ID, a.also.Time = second, now
			next.Trail.add(*a.also, now)
		}
		stored, err := b.Ledger.PutRequest(ctx, next)
		switch {
		case err == nil:
			a.recorded(stored, e)
			return nil
		case isConflict(err) && stored.Version > 0:
			if s := a.held(&stored); s != nil && s.State == session.State && s.AccessKeyID == session.AccessKeyID && s.Outcome == session.Outcome {
				a.recorded(stored, e) // our own write; only its answer was lost
				return nil
			}
			current = stored
		case try == recordTries || ctx.Err() != nil:
			return err
		default:
			b.pause(ctx, recordPause<<(try-1))
		}
		if try == recordTries {
			return err
		}
	}
}

// recorded takes in what was written, and prints it.
func (a *attempt) recorded(stored Request, e Event) {
	a.request = stored
	a.broker.Journal.Audit(e, a.metricsOf(e))
	if a.also != nil {
		a.broker.Journal.Audit(*a.also, Metrics{})
	}
}

// pause waits, or until ctx is done.
func (b *Broker) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// event begins an Event about the attempt.
func (a *attempt) event(name EventName, r Request, s *Session) Event {
	e := Event{
		ID: a.broker.newID(a.began), Event: name, Time: a.began,
		Slack: r.Slack.String(), TokenID: r.TokenID, RequestID: r.ID, SessionID: s.ID,
	}
	a.describeEvent(&e, r)
	return e
}

// describeEvent copies what is known of the Request.
func (a *attempt) describeEvent(e *Event, r Request) {
	e.Actor = string(r.User)
	if e.Actor == "" {
		e.Actor = ActorUnknown
	}
	e.Role, e.AccountID, e.RoleARN = r.Role, r.AccountID, r.RoleARN
	e.Duration = int64(r.Duration / time.Second)
	e.Ticket, e.Reason, e.Rule, e.PolicyVersion = r.Ticket, r.Reason, r.Rule, r.PolicyVersion
	if e.Reason == "" && e.Ticket == "" {
		e.Reason = r.Words
	}
	switch e.Event {
	case EventDenied:
		e.Decision = policy.Deny.String()
	case EventIssued:
		e.Decision = policy.Allow.String()
	}
}

// metricsOf counts what an Event stands for, and says how long it took to get
// there.
func (a *attempt) metricsOf(e Event) Metrics {
	m := a.metrics
	switch e.Event {
	case EventDenied:
		m.Denials = 1
	case EventFailed:
		m.Mints, m.Failures, m.Failed = 0, 1, e.Outcome
	}
	return m
}

// Undelivered records that credentials were issued but could not be shown, as
// far as is known, and leaves a Notice that tells the requester so. As long as
// nothing else of the Request was shown, it can be revealed anew.
func (b *Broker) Undelivered(ctx context.Context, issued Issued) error {
	now := b.now()
	r := issued.Request
	e := Event{
		ID: b.newID(now), Event: EventUndelivered, Time: now, Actor: actor(issued.User), Slack: r.Slack.String(),
		RequestID: r.ID, SessionID: issued.Session.ID, Role: r.Role, AccountID: r.AccountID,
		AccessKeyID: issued.Session.AccessKeyID, Outcome: "undelivered",
		Detail: "The credentials were issued, but Slack did not confirm that it showed them. They may not have been seen.",
	}
	if r.TokenID != "" {
		e.TokenID, e.Detail = r.TokenID, "The credentials were issued, but the application was gone before it had them. They may not have been seen."
	}
	for try := 1; ; try++ {
		next := r.clone()
		if !next.undelivered(issued.Session.ID, now) {
			return nil // our own write; only its answer was lost
		}
		next.Trail.add(e, now)
		next.tellApprovers(&e, b.newID(now), now)
		next.Trail.Notices = append(next.Trail.Notices, Notice{ID: b.newID(now), Kind: NoticeUndelivered, Due: now, Event: &e})
		next.tellApprovers(&e, b.newID(now), now)
		stored, err := b.Ledger.PutRequest(ctx, next)
		if err == nil {
			b.Journal.Audit(e, Metrics{Failures: 1, Failed: "undelivered"})
			b.wake()
			return nil
		}
		if try == recordTries {
			return err
		}
		if isConflict(err) {
			r = stored
			continue
		}
		b.pause(ctx, recordPause<<(try-1))
	}
}

// undelivered notes that a Session may not have been shown, and says whether
// that is news.
func (r *Request) undelivered(session string, now time.Time) bool {
	for i, s := range r.Sessions {
		if s.ID == session && s.UndeliveredAt.IsZero() {
			r.Sessions[i].UndeliveredAt = now
			if r.State == StateOpen {
				r.timeClose()
			}
			return true
		}
	}
	return false
}

// Delivered counts a delivery and how long the requester waited for it.
func (b *Broker) Delivered(issued Issued, took time.Duration) {
	b.Journal.Metrics(b.now(), issued.Request.ID, Metrics{Deliver: took, Total: b.now().Sub(issued.Began)})
}
