package broker

import (
	"context"
	"errors"
	"time"

	"github.com/starback/starback/broker/policy"
)

// The rules by which an identity is refused before any policy is looked at.
const (
	RuleUnbound        policy.Rule = "identity.unbound"
	RuleGuest          policy.Rule = "identity.guest"
	RuleBot            policy.Rule = "identity.bot"
	RuleDeleted        policy.Rule = "identity.deleted"
	RuleForeign        policy.Rule = "identity.foreign"
	RuleStanding       policy.Rule = "identity.unknown"
	RuleEmailMissing   policy.Rule = "identity.email_missing" // none, or not confirmed
	RuleEmailUnknown   policy.Rule = "identity.email_unknown" // no User has it
	RuleEmailAmbiguous policy.Rule = "identity.email_ambiguous"
	RuleEmailPinned    policy.Rule = "identity.email_pinned" // its User is bound to somebody else
)

// A directoryError is a failure of Slack's directory, as opposed to the store.
type directoryError struct{ error }

func (e directoryError) Unwrap() error { return e.error }

// identify is the first step of the one path: from a Slack identity to a User
// whose Standing is fresh. It returns the Facts, and a Decision if they refuse
// the caller.
func (b *Broker) identify(ctx context.Context, id SlackID, now time.Time) (Facts, *policy.Decision, error) {
	facts, err := b.Ledger.Identify(ctx, id)
	if err != nil {
		return Facts{}, nil, err
	}
	if facts.Identity.Version == 0 {
		return b.bindByEmail(ctx, id, facts, now)
	}
	if !bound(facts.Identity, facts.User) {
		facts.User = User{}
		return facts, denyIdentity(RuleUnbound), nil
	}
	if facts.Identity, err = b.freshStanding(ctx, facts.Identity, now); err != nil {
		return facts, nil, err
	}
	if !bound(facts.Identity, facts.User) { // bound to somebody else meanwhile
		facts.User = User{}
		return facts, denyIdentity(RuleUnbound), nil
	}
	return facts, refuseStanding(facts.Identity.Standing), nil
}

// freshStanding returns i with a Standing that is fresh enough to rely upon.
func (b *Broker) freshStanding(ctx context.Context, i Identity, now time.Time) (Identity, error) {
	if age := now.Sub(i.SeenAt); i.Standing != "" && age <= StandingAge && age >= 0 {
		return i, nil
	}
	return b.refreshStanding(ctx, i, now)
}

// refreshStanding asks Slack and writes down the answer. A Standing that
// somebody else wrote meanwhile is newer than the answer, and stands.
func (b *Broker) refreshStanding(ctx context.Context, i Identity, now time.Time) (Identity, error) {
	profile, err := b.Directory.Profile(ctx, i.Slack)
	if err != nil {
		return i, directoryError{err}
	}
	i.Standing, i.SeenAt = profile.Standing, now
	stored, err := b.Identities.PutIdentity(ctx, i)
	if isConflict(err) && stored.Version > 0 {
		return stored, nil
	}
	return stored, err
}

// bindByEmail binds an unknown identity to the one User that has its confirmed
// address, if the policy turns that on. The User is written first: an Identity
// alone binds nobody, and a binding cut off half-way is completed here the
// next time.
func (b *Broker) bindByEmail(ctx context.Context, id SlackID, facts Facts, now time.Time) (Facts, *policy.Decision, error) {
	if facts.Policy == nil || !facts.Policy.Settings.BindByEmail {
		return facts, denyIdentity(RuleUnbound), nil
	}
	profile, err := b.Directory.Profile(ctx, id)
	if err != nil {
		return facts, nil, directoryError{err}
	}
	if refused := refuseStanding(profile.Standing); refused != nil {
		return facts, refused, nil
	}
	if profile.Email == "" || !profile.EmailConfirmed {
		return facts, denyIdentity(RuleEmailMissing), nil
	}
	users, err := b.Identities.UsersByEmail(ctx, profile.Email)
	switch {
	case err != nil:
		return facts, nil, err
	case len(users) == 0:
		return facts, denyIdentity(RuleEmailUnknown), nil
	case len(users) > 1:
		return facts, denyIdentity(RuleEmailAmbiguous), nil
	}
	user := users[0]
	if user.IsApp || user.Removed || user.Email != profile.Email {
		return facts, denyIdentity(RuleEmailUnknown), nil
	}
	if !user.Slack.IsZero() && user.Slack != id {
		return facts, denyIdentity(RuleEmailPinned), nil
	}
	if _, ok := policy.Usable(facts.Policy, user.Subject(User{}), now); ok && user.Slack.IsZero() {
		if user, err = b.bindUser(ctx, user, id, now); err != nil {
			return facts, nil, err
		}
	}
	if user.Slack != id { // not usable: bound to nobody, and refused for what it is
		facts.User = user
		return facts, nil, nil
	}
	identity, err := b.Identities.PutIdentity(ctx, Identity{
		Slack: id, User: user.Name, UserID: user.ID, Standing: profile.Standing, SeenAt: now, BoundAt: now, BoundBy: "email",
	})
	if err != nil && (!isConflict(err) || !bound(identity, user)) {
		return facts, nil, err
	}
	facts.Identity, facts.User = identity, user
	return facts, nil, nil
}

// bindUser writes id onto the User, with the Event that says so.
func (b *Broker) bindUser(ctx context.Context, user User, id SlackID, now time.Time) (User, error) {
	e := Event{
		ID: b.newID(now), Event: EventIdentityBound, Time: now, Actor: string(user.Name), Subject: string(user.Name),
		Slack: id.String(), Outcome: OutcomeOK, Detail: "Bound by confirmed e-mail address, at first use.",
	}
	user.Slack = id
	user.Trail.add(e, now)
	stored, err := b.Users.PutUser(ctx, user)
	if isConflict(err) && stored.Slack == id {
		return stored, nil // a second command of the same person was quicker
	}
	if err != nil {
		return stored, err
	}
	b.wake()
	return stored, nil
}

// StandingChanged takes in what Slack says of a person by itself. Somebody
// whom Starback does not know is not remembered.
//
// News may be late, repeated and out of order. Bad news counts at once. Good
// news only means that Slack is asked before the next Request: it may be older
// than what is known.
//
// The Event comes first: if the write after it fails, it is repeated, and the
// Event is there once all the same.
func (b *Broker) StandingChanged(ctx context.Context, id SlackID, standing Standing) error {
	now := b.now()
	event := b.newID(now)
	for {
		identity, err := b.Identities.Identity(ctx, id)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		e := Event{
			ID: event, Event: EventStanding, Time: now, Subject: string(identity.User), Slack: id.String(),
			Detail: "Slack says: " + orNone(string(standing)) + ".",
		}
		changed := standing != Active && identity.Standing != standing
		if changed {
			if err := b.Archive.Append(ctx, []Event{e}); err != nil {
				return err
			}
		}
		if standing == Active {
			identity.SeenAt = time.Time{}
		} else {
			identity.Standing, identity.SeenAt = standing, now
		}
		if _, err = b.Identities.PutIdentity(ctx, identity); isConflict(err) {
			continue
		}
		if err == nil && changed {
			b.Journal.Audit(e, Metrics{})
		}
		return err
	}
}

func denyIdentity(rule policy.Rule) *policy.Decision {
	return &policy.Decision{Effect: policy.Deny, Rule: rule}
}

// refuseStanding returns the Decision against a Standing, nil for Active only.
func refuseStanding(s Standing) *policy.Decision {
	switch s {
	case Active:
		return nil
	case Guest:
		return denyIdentity(RuleGuest)
	case Bot:
		return denyIdentity(RuleBot)
	case Deleted:
		return denyIdentity(RuleDeleted)
	case Foreign:
		return denyIdentity(RuleForeign)
	default:
		return denyIdentity(RuleStanding)
	}
}

func isConflict(err error) bool { return errors.Is(err, ErrConflict) }

// faultCode says which neighbour an error of identify is about.
func faultCode(err error) FaultCode {
	var d directoryError
	if errors.As(err, &d) {
		return FaultDirectory
	}
	return FaultStore
}
