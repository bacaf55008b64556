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

// An Ending wants Sessions ended before their time.
type Ending struct {
	Caller    SlackID
	RequestID string
	SessionID string // empty: all of the Request's, and its window
	Deadline  time.Time
}

// End ends Sessions of the caller's own Request, or of an application of
// theirs; an administrator ends anybody's. What is to be ended is recorded
// first, and tried until AWS denies it or it expires by itself: an error that
// is a *Fault says that this is still to come, and why. Nothing left to end is
// ErrNotFound.
func (b *Broker) End(ctx context.Context, e Ending) (Request, error) {
	now := b.now()
	facts, err := b.acting(ctx, e.Caller, e.RequestID, e.Deadline, now)
	if err != nil {
		return Request{}, err
	}
	return b.end(ctx, e.RequestID, e.SessionID, actor(facts.User), e.Caller, func(r Request) error {
		mine := r.UserID == facts.User.ID || policy.IsAdmin(facts.Policy, facts.subject(), now)
		if !mine {
			u, err := b.Users.User(ctx, r.User)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return &Fault{RequestID: r.ID, Code: FaultStore, Err: err}
			}
			mine = err == nil && u.ID == r.UserID && u.IsApp && u.Owner == facts.User.Name
		}
		if !mine {
			return b.refuseAside(ctx, EventAnswerDenied, r.ID, caller{slack: e.Caller}, facts, policy.Decision{Rule: RuleNotYours}, now)
		}
		return nil
	})
}

// live says whether the Session can still be used at now.
func (s Session) live(now time.Time) bool {
	return s.State == SessionIssued && now.Before(s.ExpiresAt) && s.EndedAt.IsZero()
}

// end records that Sessions of a Request are to be ended, and ends them.
func (b *Broker) end(ctx context.Context, id, session, by string, slack SlackID, allowed func(Request) error) (Request, error) {
	now := b.now()
	r, err := b.step(ctx, id, now, func(r *Request) (*Event, error) {
		if allowed != nil {
			if err := allowed(*r); err != nil {
				return nil, err
			}
		}
		var ids []string
		for i, s := range r.Sessions {
			if (session == "" || s.ID == session) && s.live(now) {
				if s.EndAsked.IsZero() {
					r.Sessions[i].EndAsked, r.Sessions[i].EndBy, r.Sessions[i].EndFor = now, by, slack
				}
				ids = append(ids, s.ID)
			}
		}
		if session == "" && (r.State == StatePending || r.State == StateApproved) {
			e, err := r.void(b, policy.Decision{Rule: RuleEnded}, now)
			if err == nil {
				e.Actor, e.Slack = by, slack.String()
			}
			return e, err
		}
		window := session == "" && r.State == StateOpen
		if len(ids) == 0 && !window {
			return nil, fmt.Errorf("request %s has nothing to end: %w", id, ErrNotFound)
		}
		if window {
			if err := r.move(stepClose); err != nil {
				return nil, err
			}
			r.WindowEnd = now
			r.untime()
		}
		e := b.requestEvent(EventEndAsked, *r, now)
		e.Actor, e.Slack, e.SessionID = by, slack.String(), strings.Join(ids, ", ")
		if window && r.Needs != nil {
			r.tellApprovers(&e, b.newID(now), now)
			r.refreshDirect(&e, b.newID(now), now)
		}
		// The sweep takes over from whoever asked.
		r.Trail.Notices = append(r.Trail.Notices, Notice{ID: b.newID(now), Kind: NoticeFence, Due: now.Add(holdFor)})
		return &e, nil
	})
	var settled *Settled
	if errors.As(err, &settled) && settled.Request.State == StateVoid {
		return settled.Request, nil
	}
	if err != nil {
		return r, err
	}
	return b.fenceRequest(ctx, r, false)
}

// fenceRequest has AWS deny the Sessions of a Request that are to be ended, and
// records that it does. Each is denied at the IAM role that it is of: the Role
// may stand for another by now. Late says that nobody waits to hear of it.
func (b *Broker) fenceRequest(ctx context.Context, r Request, late bool) (Request, error) {
	now := b.now()
	roles := map[string]*policy.Role{}
	ended := map[string][]Ended{}
	for _, s := range r.Sessions {
		if s.live(now) && !s.EndAsked.IsZero() {
			roles[s.RoleARN] = fenced(r, s)
			ended[s.RoleARN] = append(ended[s.RoleARN], Ended{SessionID: s.ID, Until: s.ExpiresAt})
		}
	}
	var errs []error
	for arn, sessions := range ended {
		if err := b.fence(ctx, roles[arn], sessions); err != nil {
			var f *Fault
			if errors.As(err, &f) {
				f.RequestID = r.ID
				b.Journal.Metrics(now, r.ID, Metrics{Failures: 1, Failed: string(f.Code)})
			}
			errs = append(errs, err)
			continue
		}
		var err error
		if r, err = b.recordEnded(ctx, r.ID, sessions, late, now); err != nil {
			errs = append(errs, err)
		}
	}
	return r, errors.Join(errs...)
}

// recordEnded writes that AWS denies Sessions of a Request. Its requester hears
// of it if somebody else wanted it; whoever did, if it comes late.
func (b *Broker) recordEnded(ctx context.Context, id string, ended []Ended, late bool, now time.Time) (Request, error) {
	after, err := b.step(ctx, id, now, func(r *Request) (*Event, error) {
		var ids []string
		tell := map[SlackID]string{} // who wanted it, by who hears of it
		for i, s := range r.Sessions {
			if s.EndedAt.IsZero() && slices.ContainsFunc(ended, func(e Ended) bool { return e.SessionID == s.ID }) {
				r.Sessions[i].EndedAt = now
				ids = append(ids, s.ID)
				if late && !s.EndFor.IsZero() {
					tell[s.EndFor] = s.EndBy
				}
				if !r.Slack.IsZero() && s.EndFor != r.Slack {
					tell[r.Slack] = s.EndBy
				}
			}
		}
		if len(ids) == 0 {
			return nil, &Settled{Request: *r} // by somebody else meanwhile
		}
		e := b.requestEvent(EventEnded, *r, now)
		e.Actor, e.SessionID, e.Outcome = ActorStarback, strings.Join(ids, ", "), OutcomeOK
		for _, who := range slices.SortedFunc(maps.Keys(tell), func(a, b SlackID) int { return strings.Compare(a.String(), b.String()) }) {
			about := e
			about.Actor, about.Slack = tell[who], who.String()
			r.Trail.Notices = append(r.Trail.Notices, Notice{ID: b.newID(now), Kind: NoticeEnded, Due: now, Event: &about})
		}
		return &e, nil
	})
	var settled *Settled
	if errors.As(err, &settled) {
		return settled.Request, nil
	}
	return after, err
}

// fenced is what is known of the IAM role of a Session, whatever the Policy
// says by now.
func fenced(r Request, s Session) *policy.Role {
	role := &policy.Role{Name: r.Role, ARN: s.RoleARN, Region: s.Region}
	if parts := strings.Split(s.RoleARN, ":"); len(parts) > 4 {
		role.Partition, role.AccountID = parts[1], parts[4]
	}
	return role
}

// endDue ends what is still to be ended of an aggregate whose time for another
// try has come. What AWS cannot end early at all is not tried again.
func (b *Broker) endDue(ctx context.Context, t Telling) error {
	var err error
	switch {
	case t.Request != nil:
		_, err = b.fenceRequest(ctx, *t.Request, true)
	case t.User != nil && (!t.User.Enabled || t.User.Removed):
		_, err = b.endings(Author{Name: ActorStarback}).look(ctx, 0, func(e *endings) error { return e.user(ctx, t.User.Name) })
	}
	var f *Fault
	if errors.As(err, &f) && f.Code == FaultNoBoundary {
		return nil
	}
	return err
}

// fencePause is how often somebody looks whether another has published.
const fencePause = 250 * time.Millisecond

// fence adds Sessions to the Fence of an IAM role and sees to it that AWS
// denies them. One at a time publishes, all that is known by then; the others
// wait for it.
func (b *Broker) fence(ctx context.Context, role *policy.Role, ended []Ended) error {
	if b.Revoker == nil {
		return &Fault{Code: FaultNoBoundary, Err: errors.New("there is no revoker")}
	}
	ctx, stop := context.WithTimeout(ctx, holdFor)
	defer stop()
	me := b.newID(b.now())
	for ctx.Err() == nil {
		f, err := b.Fences.Fence(ctx, role.ARN)
		if err != nil {
			return &Fault{Code: FaultStore, Err: err}
		}
		now := b.now()
		f.RoleARN = role.ARN
		f.prune(now)
		missing := f.add(ended)
		if !missing && f.denies(ended) {
			return nil
		}
		mine := f.Holder == "" || !now.Before(f.Lease)
		if mine {
			f.Holder, f.Lease = me, now.Add(LeaseFor)
		}
		if mine || missing {
			if f, err = b.Fences.PutFence(ctx, f); isConflict(err) {
				b.pause(ctx, fencePause/10) // for those who were quicker
				continue
			} else if err != nil {
				return &Fault{Code: FaultStore, Err: err}
			}
		}
		if !mine {
			b.pause(ctx, fencePause)
			continue
		}
		if err := b.publish(ctx, role, f, me); err != nil {
			return err
		}
	}
	return &Fault{Code: FaultTimeout, Err: ctx.Err()}
}

// publish has AWS deny what f lists, and gives the lease back with what came of
// it.
func (b *Broker) publish(ctx context.Context, role *policy.Role, f Fence, me string) error {
	ids := make([]string, len(f.Ended))
	for i, e := range f.Ended {
		ids[i] = e.SessionID
	}
	// Whoever publishes later must know that this one has stopped.
	aws, stop := context.WithTimeout(ctx, f.Lease.Add(-leaseMargin).Sub(b.now()))
	denied, err := b.Revoker.Fence(aws, role, f.Ended)
	stop()
	full := err == nil && denied < len(f.Ended)
	for {
		now := b.now()
		stored, readErr := b.Fences.Fence(ctx, role.ARN)
		if readErr != nil {
			return &Fault{Code: FaultStore, Err: errors.Join(readErr, err)}
		}
		if stored.Holder != me || !now.Before(stored.Lease) {
			return &Fault{Code: FaultLost, Err: errLost}
		}
		stored.Holder, stored.Lease = "", time.Time{}
		if err == nil {
			stored.published(ids[:denied])
		}
		if _, putErr := b.Fences.PutFence(ctx, stored); isConflict(putErr) {
			continue
		} else if putErr != nil {
			return &Fault{Code: FaultStore, Err: putErr}
		}
		switch {
		case err != nil:
			return asFault(err)
		case full:
			return &Fault{Code: FaultBoundaryFull, Err: fmt.Errorf("%d of %d sessions fit", denied, len(f.Ended))}
		}
		return nil
	}
}

// prune drops the Sessions that have expired by themselves.
func (f *Fence) prune(now time.Time) {
	var kept []Ended
	published := 0
	for i, e := range f.Ended {
		if now.Before(e.Until) {
			kept = append(kept, e)
			if i < f.Published {
				published++
			}
		}
	}
	f.Ended, f.Published = kept, published
}

// add lists more Sessions, and says whether one was missing.
func (f *Fence) add(ended []Ended) (missing bool) {
	for _, e := range ended {
		if !listed(f.Ended, e) {
			f.Ended, missing = append(f.Ended, e), true
		}
	}
	return missing
}

func listed(list []Ended, e Ended) bool {
	return slices.ContainsFunc(list, func(x Ended) bool { return x.SessionID == e.SessionID })
}

// denies says whether AWS is known to deny all of these.
func (f *Fence) denies(ended []Ended) bool {
	for _, e := range ended {
		if !listed(f.Ended[:f.Published], e) {
			return false
		}
	}
	return true
}

// published notes which Sessions AWS denies now, those first.
func (f *Fence) published(ids []string) {
	denied := func(e Ended) bool { return slices.Contains(ids, e.SessionID) }
	slices.SortStableFunc(f.Ended, func(x, y Ended) int {
		switch {
		case denied(x) == denied(y):
			return 0
		case denied(x):
			return -1
		default:
			return 1
		}
	})
	f.Published = 0
	for _, e := range f.Ended {
		if denied(e) {
			f.Published++
		}
	}
}

// Sessions returns what the caller has open, oldest first, and then what each
// application has that they answer for.
func (b *Broker) Sessions(ctx context.Context, slack SlackID, key string) ([]Request, Me, error) {
	me, err := b.Whoami(ctx, slack, key)
	if err != nil {
		return nil, Me{}, err
	}
	holders := []User{me.User}
	err = b.Users.Users(ctx, func(u User) bool {
		if u.IsApp && !u.Removed && u.Owner == me.User.Name {
			holders = append(holders, u)
		}
		return true
	})
	var all []Request
	for _, u := range holders {
		if err != nil {
			break
		}
		var open []Request
		open, err = b.Requests.OpenRequests(ctx, u.Name, b.now())
		all = append(all, slices.DeleteFunc(open, func(r Request) bool { return r.UserID != u.ID })...)
	}
	if err != nil {
		return nil, me, &Fault{RequestID: requestID(slack.String(), "lookup", key), Code: FaultStore, Err: err}
	}
	return all, me, nil
}
