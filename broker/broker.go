// Package broker holds Starback's use cases and the only path from a Request
// to credentials.
//
// It promises that nothing is minted without a recorded ask, that nothing is
// released without a recorded outcome, that one ask is answered with at most
// one released set of credentials, and that whatever is missing, expired,
// unknown or late is refused, recorded and explained.
//
// It knows no Slack, no HTTP and no AWS: those come in through the interfaces
// of ports.go.
package broker

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/starback/starback/broker/policy"
)

// Config is what a Broker works with. All of it is required, but for the
// Revoker and the Lag.
type Config struct {
	Ledger     Ledger
	Identities IdentityBook
	Users      Registry
	Policies   PolicyBook
	Proposals  ProposalBook
	Tokens     TokenBook
	Archive    Archive
	Outbox     Outbox
	Requests   RequestBook
	Fences     FenceBook
	Paces      PaceBook
	Minter     Minter
	Revoker    Revoker // nil: Sessions can't be ended early
	Directory  Directory
	Teller     Teller
	Journal    *Journal
	Now        func() time.Time
	Entropy    io.Reader // random bytes; safe for concurrent use
	// Lag is how long it may take until what was issued is found by whoever
	// looks for it: the sweep's time, and that of the store's indexes.
	Lag time.Duration
}

// A Broker carries out what surfaces ask for. It is safe for concurrent use.
type Broker struct {
	Config
	limits *limits[policy.UserName] // of Sessions issued
	asks   *limits[string]          // of asks and questions, by caller
	kick   chan struct{}
	ids    ids
}

// New returns a Broker that works with c.
func New(c Config) *Broker {
	return &Broker{Config: c, limits: newLimits[policy.UserName](limitEvery, limitBurst), asks: newLimits[string](askEvery, askBurst), kick: make(chan struct{}, 1)}
}

// now is the clock, in UTC and in whole milliseconds, as everything is stored.
func (b *Broker) now() time.Time { return b.Now().UTC().Truncate(time.Millisecond) }

func (b *Broker) newID(now time.Time) string { return b.ids.next(now, b.Entropy) }

// ids makes ULIDs that sort in the order in which they were made, even within
// one millisecond: Events are read in the order of their IDs. The zero value
// is ready for use, always with the same entropy.
type ids struct {
	mu     sync.Mutex
	last   time.Time
	source *ulid.MonotonicEntropy
}

// next returns a fresh ULID: 26 characters, with the time now, or that of the
// one before if that is later.
func (s *ids) next(now time.Time, entropy io.Reader) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.source == nil {
		s.source = ulid.Monotonic(entropy, 0)
	}
	if now.After(s.last) {
		s.last = now
	}
	return ulid.MustNew(ulid.Timestamp(s.last), s.source).String()
}

// A Me is what a caller may know of themselves.
type Me struct {
	User          User
	Removed       []policy.GroupName // of the User's Groups, those that were removed since
	Slack         SlackID
	Token         *Token    // what the caller bears; nil in Slack
	Ends          time.Time // when the User's access ends: an application's with its owner's
	Admin         bool
	Roles         []*policy.Role // those the caller may ask for, by name
	PolicyVersion int64

	policy *policy.Document
}

// Whoami answers who the caller is and what they may ask for. Somebody who may
// not use Starback gets a *Refusal.
func (b *Broker) Whoami(ctx context.Context, slack SlackID, key string) (Me, error) {
	who := caller{slack: slack}
	return b.me(ctx, &who, requestID(who.String(), "lookup", key), b.now())
}

// me is Whoami for either kind of caller.
func (b *Broker) me(ctx context.Context, who *caller, id string, now time.Time) (Me, error) {
	if err := b.admit(ctx, id, who, now); err != nil {
		return Me{}, err
	}
	facts, refused, err := who.identify(ctx, b, now)
	if err != nil {
		return Me{}, &Fault{RequestID: id, Code: faultCode(err), Err: err}
	}
	if refused == nil {
		refused = facts.unusable(now)
	}
	if refused != nil {
		return Me{}, b.refuseAside(ctx, EventLookupDenied, id, *who, facts, *refused, now)
	}
	subject := facts.subject()
	return Me{
		User:          facts.User,
		Removed:       facts.User.RemovedGroups(facts.Policy),
		Slack:         who.slack,
		Token:         facts.Token,
		Ends:          facts.User.ends(facts.Owner.Expires),
		Admin:         policy.IsAdmin(facts.Policy, subject, now),
		Roles:         policy.Askable(facts.Policy, subject, now),
		PolicyVersion: facts.PolicyVersion,
		policy:        facts.Policy,
	}, nil
}

// admit lets a caller in, before anything is stored for them: not one that asks
// for more than anybody types, and no Token that nobody has. Whoever guesses
// Tokens, or knows the ID of one, so neither fills the store nor uses up what its
// bearer may ask.
func (b *Broker) admit(ctx context.Context, id string, who *caller, now time.Time) error {
	if !who.token.IsZero() {
		known, err := who.find(ctx, b)
		if err != nil {
			return &Fault{RequestID: id, Code: FaultStore, Err: err}
		}
		if !known {
			return b.turnAway(id, *who, RuleTokenUnknown, now)
		}
	}
	if !b.asks.allow(who.String(), now) {
		return b.turnAway(id, *who, RuleRate, now)
	}
	return nil
}

// turnAway refuses a caller of whom nothing is stored. The log alone tells of it.
func (b *Broker) turnAway(id string, c caller, rule policy.Rule, now time.Time) error {
	d := policy.Decision{Effect: policy.Deny, Rule: rule}
	b.Journal.Audit(Event{
		ID: b.newID(now), Event: EventLookupDenied, Time: now, RequestID: id, Slack: c.slack.String(), TokenID: c.tokenID(),
		Actor: ActorUnknown, Decision: d.Effect.String(), Rule: d.Rule,
	}, Metrics{Denials: 1})
	return &Refusal{RequestID: id, Decision: d}
}

// refuseAside records a refusal that changes no Request, and returns it.
func (b *Broker) refuseAside(ctx context.Context, name EventName, id string, who caller, f Facts, d policy.Decision, now time.Time) error {
	e := Event{
		ID: b.newID(now), Event: name, Time: now, RequestID: id, Slack: who.slack.String(), TokenID: who.tokenID(),
		Actor: actor(f.User), Decision: d.Effect.String(), Rule: d.Rule, PolicyVersion: f.PolicyVersion,
	}
	if err := b.Archive.Append(ctx, []Event{e}); err != nil {
		return &Fault{RequestID: id, Code: FaultStore, Err: err}
	}
	b.Journal.Audit(e, Metrics{Denials: 1})
	return &Refusal{RequestID: id, Decision: d}
}

// SetShell remembers how the caller likes credentials written.
func (b *Broker) SetShell(ctx context.Context, caller SlackID, shell Shell) error {
	for {
		facts, err := b.Ledger.Identify(ctx, caller)
		if err != nil {
			return err
		}
		if !bound(facts.Identity, facts.User) || facts.User.Shell == shell {
			return nil
		}
		facts.User.Shell = shell
		if _, err = b.Users.PutUser(ctx, facts.User); !isConflict(err) {
			return err
		}
	}
}

// actor names the User in the trail.
func actor(u User) string {
	if u.Name == "" {
		return ActorUnknown
	}
	return string(u.Name)
}
