package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starback/starback/broker/policy"
)

// Apply makes the Policy and the file's users what p says, unless p's
// Reservation speaks against it. The order is: take away, then the new Policy,
// then give, so that an Apply cut off half-way never allows more than before
// or after it; planning and applying again completes it. Whatever somebody
// else has changed since p was made is ErrConflict.
func (a *Admin) Apply(ctx context.Context, p *Plan, o ApplyOptions) error {
	if err := p.Reservation(o); err != nil {
		return err
	}
	now := a.now()
	// What p was worked out on may have been changed since, besides what it
	// writes: an administrator more or less.
	if err := a.keepsAdmin(ctx, p.state, now); err != nil {
		return err
	}
	told := written{note: o.Message}
	if !p.PolicyChanged {
		told.loud = p.Loud // otherwise the Policy's Event says it, once
	}
	// One User who cannot be written does not keep others what is taken away.
	var errs []error
	for i, w := range p.users {
		if w.was.Version == 0 {
			continue
		}
		if less := narrowed(w.was, w.want); !sameUser(w.was, less) {
			var err error
			if p.users[i].was, err = a.putUser(ctx, w.was, less, told, now); err != nil {
				errs = append(errs, fmt.Errorf("user %s: %w", w.want.Name, err))
			}
		}
	}
	if len(errs) > 0 {
		return changedMeanwhile(errors.Join(errs...))
	}
	if p.PolicyChanged {
		v := version{how: HowFile, event: EventPolicyApplied, message: o.Message, detail: p.policyDetail(), loud: p.Loud}
		if err := a.putPolicy(ctx, p.head, p.doc, v, now); err != nil {
			return changedMeanwhile(fmt.Errorf("policy: %w", err))
		}
	}
	for _, w := range p.users {
		if err := a.give(ctx, w, told, now); err != nil {
			return changedMeanwhile(fmt.Errorf("user %s: %w", w.want.Name, err))
		}
	}
	return a.undoLastAdmin(ctx, p.state)
}

// changedMeanwhile says what to do about a conflict.
func changedMeanwhile(err error) error {
	if isConflict(err) {
		return fmt.Errorf("somebody else has changed this meanwhile; look at the plan again: %w", err)
	}
	return err
}

// give makes a User what the file says in full.
func (a *Admin) give(ctx context.Context, w wantedUser, told written, now time.Time) error {
	stored := w.was
	w.want.Version, w.want.Trail, w.want.Manual = w.was.Version, w.was.Trail, nil
	w.want.GroupsSince, w.want.GrantsSince = w.was.GroupsSince, w.was.GrantsSince
	switch {
	case !sameUser(w.was, w.want):
		var err error
		if stored, err = a.putUser(ctx, w.was, w.want, told, now); err != nil {
			return err
		}
	case len(w.was.Manual) > 0: // the file says the same now
		var err error
		if stored, err = a.Users.PutUser(ctx, w.want); err != nil && !isConflict(err) {
			return err
		}
	}
	return a.bind(ctx, stored, now)
}

// narrowed is was with everything taken away that want lacks.
func narrowed(was, want User) User {
	less := was
	less.Enabled = was.Enabled && want.Enabled
	if want.Expires.Before(was.Expires) {
		less.Expires = want.Expires
	}
	less.Groups = slices.DeleteFunc(slices.Clone(was.Groups), func(g policy.GroupName) bool { return !slices.Contains(want.Groups, g) })
	less.Grants = nil
	for _, g := range was.Grants {
		if i := slices.IndexFunc(want.Grants, func(w policy.Grant) bool { return w.Role == g.Role }); i >= 0 {
			less.Grants = append(less.Grants, policy.Grant{Role: g.Role, Expires: sooner(g.Expires, want.Grants[i].Expires)})
		}
	}
	if was.Slack != want.Slack {
		less.Slack = SlackID{}
	}
	if was.Email != want.Email { // the new Policy may bind by it
		less.Email = ""
	}
	if was.Owner != want.Owner { // of the one or the other, never with the other's Policy
		less.Owner = ""
	}
	return less
}

// sooner returns the end that comes first; the zero time is none.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// sameUser says whether two Users differ in nothing that an Apply sets.
func sameUser(a, b User) bool { return changeDetail(a, b) == "" }

// changeDetail says in words how two Users differ.
func changeDetail(was, want User) string {
	var out []string
	say := func(what, a, b string) {
		switch {
		case was.Version == 0 && b != "":
			out = append(out, what+": "+b)
		case a == b:
		default:
			out = append(out, fmt.Sprintf("%s: %s → %s", what, orNone(a), orNone(b)))
		}
	}
	say("enabled", fmt.Sprint(was.Enabled), fmt.Sprint(want.Enabled))
	say("expires", day(was.Expires), day(want.Expires))
	say("groups", joinNames(was.Groups), joinNames(want.Groups))
	say("grants", joinGrants(was.Grants), joinGrants(want.Grants))
	say("slack", was.Slack.String(), want.Slack.String())
	say("e-mail", was.Email, want.Email)
	say("application of", string(was.Owner), string(want.Owner))
	say("tokens", joinTokens(was.Tokens), joinTokens(want.Tokens))
	if want.Removed && !was.Removed {
		out = append(out, "removed")
	}
	return strings.Join(out, "; ")
}

func changeEvent(was, want User) EventName {
	same := was
	switch {
	case was.Version == 0:
		return EventUserCreated
	case want.Removed:
		return EventUserRemoved
	case was.Enabled && !want.Enabled:
		return EventUserDisabled
	case !was.Enabled && want.Enabled:
		return EventUserEnabled
	case len(want.Tokens) > len(was.Tokens):
		return EventTokenCreated
	case joinTokens(want.Tokens) != joinTokens(was.Tokens):
		return EventTokenRevoked
	}
	if same.Expires = want.Expires; sameUser(same, want) {
		return EventUserRenewed
	}
	return EventUserChanged
}
