package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/starback/starback/broker/policy"
)

// The rules by which an answer to a Request, or a use of one, is refused.
const (
	RuleApproveOwn    policy.Rule = "approval.own"       // one's own, or that of one's application
	RuleNotApprover   policy.Rule = "approval.not_yours" // in none of the groups that may answer
	RuleAnsweredTwice policy.Rule = "approval.twice"
	RuleNotYours      policy.Rule = "request.not_yours"
	RuleChanged       policy.Rule = "approval.changed" // what was to be approved is not what it was
	RuleDeclined      policy.Rule = "approval.declined"
	RuleEnded         policy.Rule = "request.ended" // with all that its requester held
)

// An Approval is one approver's yes or no on one Request, and to what exactly.
type Approval struct {
	User     policy.UserName `json:"user"`
	UserID   string          `json:"user_id"`
	Slack    SlackID         `json:"slack"`
	Yes      bool            `json:"yes"`
	Digest   string          `json:"digest"`             // of what they saw
	Duration time.Duration   `json:"duration,omitempty"` // a yes for no longer than this; 0: as asked
	Reason   string          `json:"reason,omitempty"`   // of a no, in their words
	At       time.Time       `json:"at"`
}

// maxAnswerReason bounds, in characters, why an approver says no.
const maxAnswerReason = 300

// approvalDigest is what an Approval binds: the Role as AWS will see it, and
// the window. If any of it changes, the Approval is void.
func approvalDigest(r *policy.Role, window time.Duration) string {
	if r == nil {
		return ""
	}
	parts := []string{
		string(r.Name), r.ARN, r.AccountID, r.Partition, r.Region, r.SessionPolicy, r.ExternalID, window.String(),
		fmt.Sprint(r.NoTags, r.NoSourceIdentity, r.Console), r.Destination,
	}
	for _, arn := range r.SessionPolicyARNs {
		parts = append(parts, "policy", arn)
	}
	for _, key := range slices.Sorted(maps.Keys(r.Tags)) {
		parts = append(parts, "tag", key, r.Tags[key])
	}
	return digest(parts...)
}

// ApprovedFor is how long the window may be: as asked, or less where an
// approver agreed to less.
func (r *Request) ApprovedFor() time.Duration {
	d := r.Duration
	for _, a := range r.Approvals {
		if a.Yes && a.Duration > 0 {
			d = min(d, a.Duration)
		}
	}
	return d
}

// seen is the window that the approvers saw; where there are none, as asked.
func (r *Request) seen(asked time.Duration) time.Duration {
	if r.Window > 0 {
		return r.Window
	}
	return asked
}

// put records that somebody must approve the Request, and says so.
func (a *attempt) put(ctx context.Context, d policy.Decision, asked policy.Asked) error {
	now := a.began
	rule := *d.Role.Approval
	err := a.record(ctx, EventPending, func(r *Request, s *Session, e *Event) error {
		a.describe(r, d, asked)
		r.Duration, r.Window, r.Needs, r.Digest = d.Duration, d.Duration, &rule, approvalDigest(d.Role, d.Duration)
		r.LapsesAt = now.Add(rule.Within)
		s.State, s.Outcome = SessionWaited, string(d.Rule)
		r.Path = d.PathString()
		e.Path, e.ExpiresAt = r.Path, r.LapsesAt
		r.Trail.Notices = append(r.Trail.Notices, Notice{ID: "lapse", Kind: NoticeLapse, Due: r.LapsesAt})
		escalates := len(rule.EscalateTo) > 0
		for i, at := range reminders(rule.Within) {
			if escalates && at == rule.EscalateAfter {
				continue // that reminds them too
			}
			r.Trail.Notices = append(r.Trail.Notices, Notice{ID: fmt.Sprint("remind.", i+1), Kind: NoticeRemind, Due: now.Add(at)})
		}
		if escalates {
			r.Trail.Notices = append(r.Trail.Notices, Notice{ID: "escalate", Kind: NoticeEscalate, Due: now.Add(rule.EscalateAfter)})
		}
		return r.move(stepPut)
	})
	if err != nil {
		return &Fault{RequestID: a.id, Code: FaultStore, Err: err}
	}
	a.broker.wake()
	return &Waiting{Request: a.request}
}

// reminders are when approvers are reminded of what waits for them: each after
// twice the time of the one before, while more than a little is left.
func reminders(within time.Duration) (at []time.Duration) {
	for d := max(within/8, 5*time.Minute); d < within-within/16 && len(at) < 4; d *= 2 {
		at = append(at, d)
	}
	return at
}

// tellApprovers has the approvals channel's message say how the Request stands,
// and its thread what has happened, once. Where nobody has to approve there is
// neither.
func (r *Request) tellApprovers(e *Event, id string, now time.Time) {
	told := slices.ContainsFunc(r.Trail.Notices, func(n Notice) bool {
		return n.Kind == NoticeApproval && n.Event != nil && n.Event.ID == e.ID
	})
	if r.Needs == nil || told {
		return
	}
	about := *e
	r.Trail.Notices = append(r.Trail.Notices, Notice{ID: id, Kind: NoticeApproval, Due: now, Event: &about})
}

// tellRequester has the requester told how the Request stands.
func (r *Request) tellRequester(e *Event, id string, now time.Time) {
	about := *e
	r.Trail.Notices = append(r.Trail.Notices, Notice{ID: id + ".requester", Kind: NoticeOutcome, Due: now, Event: &about})
}

// refreshDirect has the message that told the requester to reveal say how the
// Request stands. One that is not known yet may be on its way: by the time that
// whoever sends it has, it is known, or there is none.
func (r *Request) refreshDirect(e *Event, id string, now time.Time) {
	about, due := *e, now
	switch {
	case r.Slack.IsZero(), r.Needs == nil:
		return
	case r.Trail.Direct == "" && r.State == StateClosed: // whoever revealed it had it
		return
	case r.Trail.Direct == "":
		due = now.Add(holdFor)
	}
	r.Trail.Notices = append(r.Trail.Notices, Notice{ID: id + ".over", Kind: NoticeOver, Due: due, Event: &about})
}

// readAnswers reads what is known of the approvers now: an Approval counts only
// while whoever gave it may still answer.
func (a *attempt) readAnswers(ctx context.Context) error {
	var err error
	a.answers, err = a.broker.answers(ctx, a.request.Approvals)
	return err
}

func (b *Broker) answers(ctx context.Context, given []Approval) ([]policy.Answer, error) {
	var answers []policy.Answer
	for _, g := range given {
		u, err := b.Users.User(ctx, g.User)
		if errors.Is(err, ErrNotFound) || err == nil && u.ID != g.UserID {
			continue
		}
		if err != nil {
			return nil, err
		}
		// What Slack has said of them since counts too.
		i, err := b.Identities.Identity(ctx, g.Slack)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if bound(i, u) && refuseStanding(i.Standing) == nil {
			answers = append(answers, policy.Answer{Yes: g.Yes, Digest: g.Digest, Approver: u.Subject(User{})})
		}
	}
	return answers, nil
}

// An Answer is what an approver says to a Request.
type Answer struct {
	Caller    SlackID
	RequestID string
	Yes       bool
	Duration  time.Duration // a yes for no longer than this; 0: as asked
	Reason    string        // of a no
	Key       string        // the surface's own id of this one answer
	Deadline  time.Time
}

// Answer puts an approver's answer to a Request and returns it as it then is.
// Somebody who may not answer gets a *Refusal; a Request that waits for no
// answer any more is *Settled. Approving mints nothing.
func (b *Broker) Answer(ctx context.Context, ans Answer) (Request, error) {
	now := b.now()
	if ans.Key == "" || len(ans.Key) > maxKey || len([]rune(ans.Reason)) > maxAnswerReason || ans.Duration < 0 {
		return Request{}, fmt.Errorf("no usable answer: %w", ErrInvalid)
	}
	facts, err := b.acting(ctx, ans.Caller, ans.RequestID, ans.Deadline, now)
	if err != nil {
		return Request{}, err
	}
	return b.step(ctx, ans.RequestID, now, func(r *Request) (*Event, error) {
		if r.State != StatePending {
			return nil, &Settled{Request: *r}
		}
		input, err := b.input(ctx, *r, facts, now)
		if err != nil {
			return nil, &Fault{RequestID: r.ID, Code: FaultStore, Err: err}
		}
		role := roleOf(facts.Policy, r.Role)
		if d := policy.Decide(input); input.Digest != r.Digest || d.Effect == policy.Deny {
			if input.Digest != r.Digest {
				d = policy.Decision{Rule: RuleChanged}
			}
			return r.void(b, d, now)
		}
		if rule := mayNotAnswer(role, input, facts, *r); rule != "" {
			return nil, b.refuseAside(ctx, EventAnswerDenied, r.ID, caller{slack: ans.Caller}, facts, policy.Decision{Rule: rule}, now)
		}
		r.Needs = r.ApprovalNow(facts.Policy)
		given := Approval{
			User: facts.User.Name, UserID: facts.User.ID, Slack: ans.Caller, Yes: ans.Yes, Digest: r.Digest, At: now,
		}
		if ans.Yes {
			if ans.Duration > 0 && ans.Duration < policy.MinDuration {
				return nil, fmt.Errorf("less than AWS issues: %w", ErrInvalid)
			}
			given.Duration = ans.Duration
		} else {
			given.Reason = ans.Reason
		}
		r.Approvals = append(r.Approvals, given)
		if !ans.Yes {
			r.pace(now)
			r.Rule = RuleDeclined
			return r.end(b, stepDecline, EventDeclined, facts.User, ans.Caller, given.Reason, now)
		}
		e := b.requestEvent(EventApproved, *r, now)
		e.Actor, e.Slack, e.Duration = string(facts.User.Name), ans.Caller.String(), int64(r.ApprovedFor()/time.Second)
		input.Answers = append(input.Answers, policy.Answer{Yes: true, Digest: r.Digest, Approver: facts.subject()})
		if policy.Decide(input).Effect == policy.Allow {
			if err := r.move(stepApprove); err != nil {
				return nil, err
			}
			e.Decision = policy.Allow.String()
			r.pace(now)
			r.unwait()
			r.LapsesAt = now.Add(role.Approval.ClaimWithin)
			r.Trail.Notices = append(r.Trail.Notices, Notice{ID: "unclaimed", Kind: NoticeLapse, Due: r.LapsesAt})
			r.tellRequester(&e, b.newID(now), now)
		}
		return &e, nil
	})
}

// acting identifies somebody who acts on a Request that is there already.
func (b *Broker) acting(ctx context.Context, slack SlackID, id string, deadline, now time.Time) (Facts, error) {
	who := caller{slack: slack}
	if err := b.admit(ctx, id, &who, now); err != nil {
		return Facts{}, err
	}
	if !now.Before(deadline) {
		return Facts{}, &Fault{RequestID: id, Code: FaultExpiredRequest, Err: errors.New("the deadline has passed")}
	}
	facts, refused, err := b.identify(ctx, slack, now)
	if err != nil {
		return Facts{}, &Fault{RequestID: id, Code: faultCode(err), Err: err}
	}
	if refused == nil {
		if d, ok := policy.Usable(facts.Policy, facts.subject(), now); !ok {
			refused = &d
		}
	}
	if refused != nil {
		return Facts{}, b.refuseAside(ctx, EventAnswerDenied, id, who, facts, *refused, now)
	}
	return facts, nil
}

// input is what the Request comes to under the Policy of facts, now.
func (b *Broker) input(ctx context.Context, r Request, f Facts, now time.Time) (policy.Input, error) {
	requester, err := b.Users.User(ctx, r.User)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return policy.Input{}, err
	}
	if requester.ID != r.UserID {
		requester = User{}
	}
	var owner User
	if requester.IsApp {
		if owner, err = b.Users.User(ctx, requester.Owner); err != nil && !errors.Is(err, ErrNotFound) {
			return policy.Input{}, err
		}
	}
	answers, err := b.answers(ctx, r.Approvals)
	return policy.Input{
		Policy: f.Policy, Subject: requester.Subject(owner), Now: now,
		Asked:  policy.Asked{Role: r.Role, Duration: r.Duration, Ticket: r.Ticket, Reason: r.Reason},
		Digest: approvalDigest(roleOf(f.Policy, r.Role), r.seen(r.Duration)), Answers: answers,
	}, err
}

// mayNotAnswer says why the caller may not answer the Request; "" if they may.
func mayNotAnswer(role *policy.Role, in policy.Input, f Facts, r Request) policy.Rule {
	switch {
	case f.User.ID == r.UserID, in.Subject.Owner != "" && in.Subject.Owner == f.User.Name:
		return RuleApproveOwn
	case slices.ContainsFunc(r.Approvals, func(a Approval) bool { return a.UserID == f.User.ID }):
		return RuleAnsweredTwice
	case role == nil || role.Approval == nil || !policy.MayAnswer(*role.Approval, in, f.subject()):
		return RuleNotApprover
	}
	return ""
}

// Withdraw ends the caller's own Request before anything came of it.
func (b *Broker) Withdraw(ctx context.Context, slack SlackID, id string, deadline time.Time) (Request, error) {
	now := b.now()
	facts, err := b.acting(ctx, slack, id, deadline, now)
	if err != nil {
		return Request{}, err
	}
	return b.step(ctx, id, now, func(r *Request) (*Event, error) {
		if r.UserID != facts.User.ID {
			return nil, b.refuseAside(ctx, EventAnswerDenied, id, caller{slack: slack}, facts, policy.Decision{Rule: RuleNotYours}, now)
		}
		if r.State != StatePending && r.State != StateApproved {
			return nil, &Settled{Request: *r}
		}
		return r.end(b, stepWithdraw, EventWithdrawn, facts.User, slack, "", now)
	})
}

// lapse ends a Request whose time is up.
func (b *Broker) lapse(ctx context.Context, id string, now time.Time) (Request, error) {
	return b.step(ctx, id, now, func(r *Request) (*Event, error) {
		return nil, &Settled{Request: *r} // step itself lets it lapse
	})
}

// step changes a Request by one step, with the Event that change returns, on
// the condition that nobody else does. Its approvers hear of it. A Request
// whose time is up lapses first.
func (b *Broker) step(ctx context.Context, id string, now time.Time, change func(*Request) (*Event, error)) (Request, error) {
	for range changeTries {
		stored, err := b.Ledger.Request(ctx, id)
		if errors.Is(err, ErrNotFound) {
			return Request{}, fmt.Errorf("request %s: %w", id, ErrNotFound)
		}
		if err != nil {
			return Request{}, &Fault{RequestID: id, Code: FaultStore, Err: err}
		}
		r := stored.clone()
		var e *Event
		lapsed := r.late(now)
		if lapsed {
			e, err = r.end(b, stepLapse, EventLapsed, User{}, SlackID{}, "", now)
		} else {
			e, err = change(&r)
		}
		if err != nil {
			return stored, err
		}
		r.tellApprovers(e, b.newID(now), now)
		r.Trail.add(*e, now)
		if stored, err = b.Ledger.PutRequest(ctx, r); isConflict(err) {
			if ctx.Err() != nil {
				return Request{}, &Fault{RequestID: id, Code: FaultStore, Err: ctx.Err()}
			}
			continue
		}
		if err != nil {
			return Request{}, &Fault{RequestID: id, Code: FaultStore, Err: err}
		}
		b.Journal.Audit(*e, Metrics{})
		b.wake()
		if lapsed || stored.State == StateVoid {
			return stored, &Settled{Request: stored}
		}
		return stored, nil
	}
	return Request{}, fmt.Errorf("request %s keeps changing: %w", id, ErrConflict)
}

// late says whether the Request's time is up and nobody has said so. A Session
// that is being minted keeps it from lapsing.
func (r *Request) late(now time.Time) bool {
	return (r.State == StatePending || r.State == StateApproved) && !now.Before(r.LapsesAt) && !r.minting(now)
}

// end takes the step that is the Request's last, and returns its Event.
func (r *Request) end(b *Broker, s step, name EventName, by User, slack SlackID, reason string, now time.Time) (*Event, error) {
	approved := r.State == StateApproved
	if err := r.move(s); err != nil {
		return nil, err
	}
	e := b.requestEvent(name, *r, now)
	e.Slack, e.Detail = slack.String(), reason
	if by.Name != "" {
		e.Actor = string(by.Name)
	}
	r.LapsesAt = time.Time{}
	r.unwait()
	if s != stepWithdraw {
		r.tellRequester(&e, b.newID(now), now)
	}
	if approved {
		r.refreshDirect(&e, b.newID(now), now)
	}
	return &e, nil
}

// void ends a Request that is not what was asked, or put to approvers, any
// more.
func (r *Request) void(b *Broker, d policy.Decision, now time.Time) (*Event, error) {
	r.Rule = d.Rule
	return r.end(b, stepVoid, EventVoid, User{}, SlackID{}, "", now)
}

// unwait takes off what was to be done while the Request waited.
func (r *Request) unwait() {
	r.Trail.Notices = slices.DeleteFunc(r.Trail.Notices, func(n Notice) bool {
		return n.Kind == NoticeLapse || n.Kind == NoticeRemind || n.Kind == NoticeEscalate
	})
}

// endsSoon is how long before a window's end its requester is told, if it is
// longer than that.
const endsSoon = 10 * time.Minute

// timeWindow notes what is to be done at the end of the window, instead of what
// was to be done before it and at the end of another.
func (r *Request) timeWindow() {
	r.unwait()
	r.untime()
	r.timeClose()
	if r.WindowEnd.Sub(r.OpenedAt) > endsSoon {
		r.Trail.Notices = append(r.Trail.Notices, Notice{ID: timerID("ending", r.WindowEnd), Kind: NoticeEnding, Due: r.WindowEnd.Add(-endsSoon)})
	}
}

// timeClose notes when an open Request is over.
func (r *Request) timeClose() {
	r.Trail.Notices = slices.DeleteFunc(r.Trail.Notices, func(n Notice) bool { return n.Kind == NoticeClose })
	r.Trail.Notices = append(r.Trail.Notices, Notice{ID: timerID("close", r.Ends()), Kind: NoticeClose, Due: r.Ends()})
}

// timerID names what is to be done at a time. What takes its place has another
// name: whoever settles the one leaves the other alone.
func timerID(what string, at time.Time) string { return fmt.Sprint(what, ".", at.UnixMilli()) }

// untime takes off what was to be done at the end of a window.
func (r *Request) untime() {
	r.Trail.Notices = slices.DeleteFunc(r.Trail.Notices, func(n Notice) bool { return n.Kind == NoticeClose || n.Kind == NoticeEnding })
}

// requestEvent begins an Event about a Request, apart from any Session.
func (b *Broker) requestEvent(name EventName, r Request, now time.Time) Event {
	a := attempt{broker: b, began: now}
	return a.event(name, r, &Session{})
}
