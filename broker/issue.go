package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/starback/starback/broker/policy"
)

// Bounds on an ask, so that a Request stays one small item.
const (
	maxWords    = 1000 // characters
	maxKey      = 512  // bytes
	maxSessions = 100  // of one Request
)

// RuleRate refuses a User who asks too often.
const RuleRate policy.Rule = "rate.user"

// RuleWindowEnding refuses another Session in a window with less left than the
// shortest Session AWS issues.
const RuleWindowEnding policy.Rule = "window.ending"

// leaseMargin is what must be left of the lease once AWS has answered, to
// record the outcome in.
const leaseMargin = 10 * time.Second

// signInPatience is how long the keys wait for the console link.
const signInPatience = 8 * time.Second

// Issued is what the requester gets: the only value of broker's that holds
// credentials.
type Issued struct {
	Request     Request
	Session     Session
	Role        *policy.Role
	User        User
	Credentials Credentials
	Console     Secret // zero if the Role has none, or ConsoleErr
	ConsoleErr  error  // why there is no link where there should be one
	Began       time.Time
	Again       bool // a further Session of a window that was open already
}

// Capped says whether the Session ends before its window does.
func (i Issued) Capped() bool {
	return i.Session.ExpiresAt.Add(time.Minute).Before(i.Request.WindowEnd)
}

// Issue answers an ask with credentials, or says why not: *Refusal, *Fault,
// *AlreadyIssued or *Busy. It alone leads to AssumeRole, and its order is
// fixed: identify the caller and record the ask, together; decide; assume the
// role; then the console link and the record of the outcome, together. Only
// after that record are credentials returned.
func (b *Broker) Issue(ctx context.Context, ask Ask) (Issued, error) {
	a := &attempt{broker: b, began: b.now(), deadline: ask.Deadline, id: ask.RequestID(), key: digest(ask.RequestID())}
	if err := ask.check(); err != nil {
		return Issued{}, err
	}
	who := ask.caller()
	if err := b.admit(ctx, a.id, &who, a.began); err != nil {
		return Issued{}, err
	}
	if err := a.start(ctx, who, func(ctx context.Context) error { return a.recordAsk(ctx, ask) }); err != nil {
		return Issued{}, err
	}
	return a.carryOut(ctx)
}

// An AskAgain wants another Session of a Request that is there already.
type AskAgain struct {
	// Caller asks through Slack, or Token stands for whose it is: exactly one.
	// The Request must be of that account, or of that very Token.
	Caller    SlackID
	Token     Secret
	RequestID string
	Key       string // the surface's own id of this one ask
	Deadline  time.Time
}

// IssueAgain issues a further Session in the window of an open Request, by the
// same steps and the same rules as the first. Its errors are Issue's; a
// Request that is not the caller's is ErrNotFound.
func (b *Broker) IssueAgain(ctx context.Context, ask AskAgain) (Issued, error) {
	return b.again(ctx, ask, func(Request, time.Time) (kind, error) { return further, nil })
}

// again issues another Session of a Request, of the kind that kindOf says.
func (b *Broker) again(ctx context.Context, ask AskAgain, kindOf func(Request, time.Time) (kind, error)) (Issued, error) {
	a := &attempt{broker: b, began: b.now(), deadline: ask.Deadline, id: ask.RequestID, key: digest(ask.RequestID, ask.Key), kind: further}
	who := caller{slack: ask.Caller, token: ask.Token}
	if err := who.check(ask.Key); err != nil {
		return Issued{}, err
	}
	if err := b.admit(ctx, a.id, &who, a.began); err != nil {
		return Issued{}, err
	}
	record := func(ctx context.Context) error {
		r, err := b.theirs(ctx, a.id, who, a.began)
		if err != nil {
			return err
		}
		switch a.kind, err = kindOf(r, a.began); {
		case err != nil:
			return err
		case a.kind == revealing:
			return a.recordReveal(ctx, r)
		default:
			return a.recordAgain(ctx, who, r)
		}
	}
	if err := a.start(ctx, who, func(ctx context.Context) error { return b.unlessStale(ctx, record) }); err != nil {
		return Issued{}, err
	}
	return a.carryOut(ctx)
}

// unlessStale records again what was worked out on a Request that has changed
// since: the sweep may have passed on what happened to it last.
func (b *Broker) unlessStale(ctx context.Context, record func(context.Context) error) error {
	for try := 1; ; try++ {
		err := record(ctx)
		var busy *Busy
		if !errors.As(err, &busy) || !busy.stale || try == recordTries {
			return err
		}
		b.pause(ctx, recordPause<<(try-1))
	}
}

// check refuses an ask that could not be recorded as it is.
func (a Ask) check() error {
	if err := a.caller().check(a.Key); err != nil {
		return err
	}
	switch {
	case a.Role == "" || len(a.Role) > 64:
		return fmt.Errorf("no usable role name: %w", ErrInvalid)
	case a.Duration < 0:
		return fmt.Errorf("a negative duration: %w", ErrInvalid)
	case len([]rune(a.Words)) > maxWords:
		return fmt.Errorf("more than %d characters of reason: %w", maxWords, ErrInvalid)
	case a.Link != "" && !slices.Contains(strings.Fields(a.Words), a.Link):
		return fmt.Errorf("a link that is not among the words: %w", ErrInvalid)
	}
	return nil
}

// A kind of attempt.
type kind int

// The kinds: the first answer to an ask, what was approved being revealed, and
// a further Session of an open window.
const (
	first kind = iota
	revealing
	further
)

// An attempt is one worker's way through Issue.
type attempt struct {
	broker   *Broker
	deadline time.Time
	id       string // the Request's
	key      string // the Session's
	who      caller
	kind     kind
	began    time.Time
	facts    Facts
	refused  *policy.Decision // by identity
	request  Request          // as last stored
	answers  []policy.Answer  // to the Request, with what is known of the approvers now
	session  string           // the ID of the Session this attempt holds
	lease    time.Time
	also     *Event  // beside that of what is being recorded
	metrics  Metrics // of the way to AWS's answer, for the line of what came of it
}

// start identifies the caller and records the ask, side by side; a Token first
// one, then the other. Without the record nothing goes on; with it, a failure to
// identify is recorded too.
func (a *attempt) start(ctx context.Context, who caller, record func(context.Context) error) error {
	b := a.broker
	a.who = who
	var identifyErr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer recovered(&identifyErr)
		a.facts, a.refused, identifyErr = who.identify(ctx, b, a.began)
		a.metrics.Identify = b.now().Sub(a.began)
	}()
	recording := a.began
	if !who.token.IsZero() { // which must be good to be told of a Request
		<-done
		if refused := a.unusable(); identifyErr == nil && refused != nil && a.kind != first {
			return b.refuseAside(ctx, EventDenied, a.id, who, a.facts, *refused, a.began)
		}
		recording = b.now()
	}
	recordErr := record(ctx)
	a.metrics.Ask = b.now().Sub(recording)
	<-done
	if recordErr != nil {
		return a.unrecorded(ctx, who, recordErr, identifyErr)
	}
	if !a.began.Before(a.deadline) {
		return a.fail(ctx, &Fault{Code: FaultExpiredRequest, Err: errors.New("the deadline has passed")})
	}
	if identifyErr != nil {
		return a.fail(ctx, &Fault{Code: faultCode(identifyErr), Err: identifyErr})
	}
	return nil
}

// recovered turns a panic of a goroutine's into its error: it must not end the
// program, and others' requests with it.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic: %v", p)
	}
}

// recordAsk writes the Request, or finds what came of it before.
func (a *attempt) recordAsk(ctx context.Context, ask Ask) error {
	b := a.broker
	session := a.newSession()
	r := Request{
		ID: a.id, Hash: ask.contentHash(), Surface: ask.Surface, Slack: ask.Caller, TokenID: ask.caller().tokenID(),
		Role: ask.Role, Duration: ask.Duration, Words: ask.Words, Link: ask.Link,
		State: StateAsked, AskedAt: a.began, Sessions: []Session{session},
	}
	asked := a.event(EventAsked, r, &session)
	r.Trail.add(asked, session.Lease)
	stored, err := b.Ledger.PutRequest(ctx, r)
	switch {
	case err == nil:
		a.hold(stored, session)
		b.Journal.Audit(asked, Metrics{Requests: 1})
		return nil
	case !isConflict(err) || stored.Version == 0:
		return &Fault{RequestID: a.id, Code: FaultStore, Err: err}
	case stored.Hash != r.Hash:
		return &KeyReused{RequestID: a.id}
	}
	return a.takeOver(ctx, stored)
}

// recordAgain adds a Session to an open Request, or finds what came of it
// before.
func (a *attempt) recordAgain(ctx context.Context, who caller, r Request) error {
	if r.session(a.key) != nil {
		return a.takeOver(ctx, r)
	}
	if r.State != StateOpen || r.full() {
		return a.broker.refuseAside(ctx, EventDenied, a.id, who, Facts{User: User{Name: r.User}}, policy.Decision{Rule: RuleWindowEnding}, a.began)
	}
	return a.addSession(ctx, r, EventAsked)
}

// theirs reads a Request, which must be the caller's own: of their account, or
// of their very Token. The bearer of a Token who names another is recorded.
func (b *Broker) theirs(ctx context.Context, id string, who caller, now time.Time) (Request, error) {
	r, err := b.Ledger.Request(ctx, id)
	if err == nil && (r.Slack != who.slack || r.TokenID != who.tokenID()) {
		err = ErrNotFound
	}
	switch {
	case err == nil:
		return r, nil
	case !errors.Is(err, ErrNotFound):
		return Request{}, &Fault{RequestID: id, Code: FaultStore, Err: err}
	case !who.token.IsZero():
		var refused *Refusal
		err := b.refuseAside(ctx, EventLookupDenied, id, who, who.found, policy.Decision{Rule: RuleNotYours}, now)
		if !errors.As(err, &refused) {
			return Request{}, err
		}
	}
	return Request{}, fmt.Errorf("request %s: %w", id, ErrNotFound)
}

// takeOver carries on with an ask that was recorded before, if it is
// unfinished and its worker's lease has ended.
func (a *attempt) takeOver(ctx context.Context, r Request) error {
	old := r.session(a.key)
	switch {
	case old != nil && old.State == SessionWaited && r.State == StatePending:
		return &Waiting{Request: r}
	case old == nil || old.State != SessionMinting:
		return &AlreadyIssued{RequestID: a.id, Issued: old != nil && old.State == SessionIssued, State: r.State, Rule: r.Rule}
	case a.began.Before(old.Lease):
		return &Busy{RequestID: a.id, Until: old.Lease}
	}
	old.State = SessionLost
	return a.addSession(ctx, r, EventTakenOver)
}

// addSession begins another Session under r.
func (a *attempt) addSession(ctx context.Context, r Request, name EventName) error {
	b := a.broker
	session := a.newSession()
	r.makeRoom()
	r.Sessions = append(r.Sessions, session)
	e := a.event(name, r, &session)
	r.Trail.add(e, session.Lease)
	stored, err := b.Ledger.PutRequest(ctx, r)
	switch {
	case err == nil:
		a.hold(stored, session)
		b.Journal.Audit(e, Metrics{Requests: 1})
		return nil
	case isConflict(err): // the sweeper, or another worker: look again soon
		return &Busy{RequestID: a.id, Until: a.began.Add(time.Second), stale: true}
	default:
		return &Fault{RequestID: a.id, Code: FaultStore, Err: err}
	}
}

// makeRoom forgets the oldest Session of which nothing came, if there are as many
// as may be: whoever tries again and again while AWS fails must not make the
// Request larger than a store takes. Nothing was released for its key, so the
// same key may be tried anew.
func (r *Request) makeRoom() {
	if len(r.Sessions) < maxSessions {
		return
	}
	if i := slices.IndexFunc(r.Sessions, Session.vain); i >= 0 {
		r.Sessions = slices.Delete(slices.Clone(r.Sessions), i, i+1)
	}
}

func (a *attempt) newSession() Session {
	return Session{
		ID: a.broker.newID(a.began), Key: a.key, State: SessionMinting, BeganAt: a.began, Lease: a.began.Add(LeaseFor),
	}
}

func (a *attempt) hold(r Request, s Session) {
	a.request, a.session, a.lease = r, s.ID, s.Lease
}

// carryOut decides, mints and records. The attempt holds the lease.
func (a *attempt) carryOut(ctx context.Context) (Issued, error) {
	b := a.broker
	ctx, cancel := context.WithTimeout(ctx, a.lease.Sub(b.now()))
	defer cancel()

	if err := a.readAnswers(ctx); err != nil {
		return Issued{}, a.fail(ctx, &Fault{Code: FaultStore, Err: err})
	}
	decision, asked := a.decide()
	switch {
	case decision.Effect == policy.NeedsApproval && a.kind == first:
		return Issued{}, a.put(ctx, decision, asked)
	case decision.Effect != policy.Allow:
		return Issued{}, a.refuse(ctx, decision, asked)
	}
	role := decision.Role

	began := b.now()
	aws, stop := context.WithTimeout(ctx, a.lease.Add(-leaseMargin).Sub(began))
	creds, err := b.Minter.AssumeRole(aws, a.assumption(decision))
	stop()
	a.metrics.AssumeRole = b.now().Sub(began)
	a.metrics.Mints = 1
	if err != nil {
		return Issued{}, a.fail(ctx, asFault(err))
	}
	if err := a.stillBorne(ctx); err != nil {
		return Issued{}, a.withhold(ctx, creds, err)
	}

	issued := Issued{
		Role: role, User: a.facts.User, Credentials: creds, Began: a.began, Again: a.kind == further,
	}
	var side Metrics // of what runs beside the record of the outcome
	linked := make(chan struct{})
	go func() {
		defer close(linked)
		defer recovered(&issued.ConsoleErr)
		if !role.Console {
			return
		}
		began := b.now()
		ctx, stop := context.WithTimeout(ctx, signInPatience)
		defer stop()
		issued.Console, issued.ConsoleErr = b.Minter.SignIn(ctx, creds, role)
		side.SignIn = b.now().Sub(began)
	}()
	began = b.now()
	err = a.recordIssued(ctx, decision, asked, creds)
	outcome := b.now().Sub(began)
	<-linked
	side.Outcome = outcome
	if err != nil {
		return Issued{}, err
	}
	if issued.ConsoleErr != nil {
		b.Journal.Metrics(b.now(), a.id, Metrics{Failures: 1, Failed: string(FaultSignIn)})
	}
	issued.Request, issued.Session = a.request, *a.held(&a.request)
	b.Journal.Metrics(b.now(), a.id, side)
	b.wake()
	return issued, nil
}

// decide puts the facts before the policy.
func (a *attempt) decide() (policy.Decision, policy.Asked) {
	b, r := a.broker, &a.request
	asked := policy.Asked{Role: r.Role, Duration: r.Duration, Ticket: r.Ticket, Reason: r.Reason}
	if role := roleOf(a.facts.Policy, r.Role); role != nil && a.kind == first {
		asked.Ticket, asked.Reason = role.SplitTicket(r.Words)
	}
	if a.refused != nil {
		return *a.refused, asked
	}
	subject := a.facts.subject()
	decision := policy.Decide(policy.Input{
		Policy: a.facts.Policy, Subject: subject, Asked: asked, Now: a.began,
		Digest: approvalDigest(roleOf(a.facts.Policy, r.Role), r.seen(asked.Duration)), Answers: a.answers,
	})
	if decision.Effect != policy.Allow {
		return decision, asked
	}
	switch {
	case a.kind != first && r.UserID != a.facts.User.ID:
		decision.Effect, decision.Rule = policy.Deny, RuleNotYours
		return decision, asked
	case a.kind == revealing:
		decision.Duration = min(decision.Duration, r.ApprovedFor())
	case a.kind == further:
		left := r.WindowEnd.Sub(a.began)
		if r.State != StateOpen || left < policy.MinDuration {
			decision.Effect, decision.Rule = policy.Deny, RuleWindowEnding
			return decision, asked
		}
		decision.Duration = min(decision.Duration, left)
	}
	if !b.limits.allow(subject.Name, a.began) {
		decision.Effect, decision.Rule = policy.Deny, RuleRate
	}
	return decision, asked
}

// assumption is the AssumeRole call that a Decision allows.
func (a *attempt) assumption(d policy.Decision) Assumption {
	user := a.facts.User.Name
	as := Assumption{
		Role:        d.Role,
		SessionName: Session{ID: a.session}.Name(user),
		Duration:    d.Duration.Truncate(time.Second),
	}
	if !d.Role.NoSourceIdentity {
		as.SourceIdentity = string(user)
	}
	if !d.Role.NoTags {
		as.Tags = map[string]string{
			"starback:user": string(user), "starback:request": a.id, "starback:role": string(d.Role.Name),
		}
		maps.Copy(as.Tags, d.Role.Tags) // whose keys are never Starback's own
	}
	return as
}

// held returns the Session this attempt holds in r.
func (a *attempt) held(r *Request) *Session {
	for i := range r.Sessions {
		if r.Sessions[i].ID == a.session {
			return &r.Sessions[i]
		}
	}
	return nil
}

func roleOf(p *policy.Document, name policy.RoleName) *policy.Role {
	if p == nil {
		return nil
	}
	return p.Roles[name]
}

// asFault makes sure that an error of the Minter's is a *Fault.
func asFault(err error) *Fault {
	var f *Fault
	switch {
	case errors.As(err, &f):
		return &Fault{Code: f.Code, Err: f.Err}
	case errors.Is(err, context.DeadlineExceeded):
		return &Fault{Code: FaultTimeout, Err: err}
	default:
		return &Fault{Code: FaultAWS, Err: err}
	}
}
