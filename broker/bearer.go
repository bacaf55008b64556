package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/starback/starback/broker/policy"
)

// The rules by which a Token is refused before any policy is looked at.
const (
	RuleTokenUnknown policy.Rule = "token.unknown"
	RuleTokenRevoked policy.Rule = "token.revoked"
	RuleTokenExpired policy.Rule = "token.expired"
)

// usedEvery is how exactly the last use of a Token is known: finer would be a
// write of the User at every use.
const usedEvery = time.Hour

// identify is the first step of the one path, for either kind of caller.
func (c caller) identify(ctx context.Context, b *Broker, now time.Time) (Facts, *policy.Decision, error) {
	if c.token.IsZero() {
		return b.identify(ctx, c.slack, now)
	}
	return b.identifyToken(ctx, c, now)
}

// find looks up whose the caller's Token is, and says whether anybody has it,
// good or not.
func (c *caller) find(ctx context.Context, b *Broker) (known bool, err error) {
	id := c.tokenID()
	if id == "" {
		return false, nil
	}
	if c.found, err = b.Tokens.IdentifyToken(ctx, id); err != nil {
		return false, err
	}
	return !c.found.User.Removed && c.found.User.token(c.token) != nil, nil
}

// identifyToken checks a Token that was found. What Slack says of the User, or of an
// application's Owner, binds here too: whoever may not ask in Slack may not ask
// with a Token.
func (b *Broker) identifyToken(ctx context.Context, c caller, now time.Time) (Facts, *policy.Decision, error) {
	facts := c.found
	token := facts.User.token(c.token)
	switch {
	case token == nil:
		return Facts{}, denyIdentity(RuleTokenUnknown), nil
	case !token.RevokedAt.IsZero():
		return facts, denyIdentity(RuleTokenRevoked), nil
	case !token.Live(now):
		return facts, denyIdentity(RuleTokenExpired), nil
	}
	found := *token
	facts.Token = &found
	if refused, err := b.answerable(ctx, &facts, now); refused != nil || err != nil {
		return facts, refused, err
	}
	return facts, nil, b.used(ctx, facts.User, found.ID, now)
}

// unrecorded returns why an ask was not recorded. The bearer of a Token that is
// not good is told that, and nothing of what came of the same ask before.
func (a *attempt) unrecorded(ctx context.Context, who caller, recordErr, identifyErr error) error {
	refused := a.unusable()
	switch {
	case who.token.IsZero(), errors.As(recordErr, new(*Fault)):
		return recordErr
	case identifyErr != nil:
		return &Fault{RequestID: a.id, Code: faultCode(identifyErr), Err: identifyErr}
	case refused != nil:
		return a.broker.refuseAside(ctx, EventDenied, a.id, who, a.facts, *refused, a.began)
	}
	return recordErr
}

// unusable returns the Decision against a caller who may not use Starback at
// all, or nil.
func (a *attempt) unusable() *policy.Decision {
	if a.refused != nil {
		return a.refused
	}
	return a.facts.unusable(a.began)
}

// WhoBears is Whoami for the bearer of a Token.
func (b *Broker) WhoBears(ctx context.Context, token Secret, key string) (Me, error) {
	who := caller{token: token}
	if err := who.check(key); err != nil {
		return Me{}, err
	}
	return b.me(ctx, &who, requestID(who.String(), "lookup", key), b.now())
}

// Asked returns a Request that was asked with a Token to its bearer. Any other is
// ErrNotFound.
func (b *Broker) Asked(ctx context.Context, token Secret, id string) (Request, error) {
	who, now := caller{token: token}, b.now()
	if err := who.check(id); err != nil {
		return Request{}, err
	}
	if _, err := b.me(ctx, &who, id, now); err != nil {
		return Request{}, err
	}
	return b.theirs(ctx, id, who, now)
}

// answerable checks the standing, in Slack, of the person whose Token it is, or
// who answers for the application whose it is. Somebody who has no account
// there has no standing to lose.
func (b *Broker) answerable(ctx context.Context, f *Facts, now time.Time) (*policy.Decision, error) {
	person := f.User
	if person.IsApp {
		person = f.Owner
	}
	if person.Slack.IsZero() {
		return nil, nil
	}
	if f.Identity.Slack != person.Slack {
		i, err := b.Identities.Identity(ctx, person.Slack)
		if errors.Is(err, ErrNotFound) {
			return denyIdentity(RuleUnbound), nil
		}
		if err != nil {
			return nil, err
		}
		f.Identity = i
	}
	if !bound(f.Identity, person) {
		return denyIdentity(RuleUnbound), nil
	}
	var err error
	if f.Identity, err = b.freshStanding(ctx, f.Identity, now); err != nil {
		return nil, err
	}
	return refuseStanding(f.Identity.Standing), nil
}

// stillBorne says whether the caller's Token is as good as it was when they asked:
// one that was revoked while AWS answered is given nothing. What somebody holds who
// was switched off meanwhile, a sweep ends; of a revoked Token nothing is ended.
func (a *attempt) stillBorne(ctx context.Context) error {
	if a.who.token.IsZero() {
		return nil
	}
	who := a.who
	known, err := who.find(ctx, a.broker)
	switch {
	case err != nil:
		return err
	case !known || !who.found.User.token(who.token).Live(a.broker.now()):
		return fmt.Errorf("the token: %w", errOver)
	}
	return nil
}

// used notes that a Token is used, unless that was noted within the hour. The
// use itself does not depend on it: what somebody else writes meanwhile stands.
func (b *Broker) used(ctx context.Context, u User, id string, now time.Time) error {
	u = u.clone()
	for i, t := range u.Tokens {
		if t.ID == id && now.Sub(t.LastUsed) >= usedEvery {
			u.Tokens[i].LastUsed = now
			if _, err := b.Users.PutUser(ctx, u); err != nil && !isConflict(err) {
				return err
			}
		}
	}
	return nil
}
