package broker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/starback/starback/broker/policy"
)

// A Membership is a User's standing in the Policy as it is now.
type Membership struct {
	User          User
	Owner         User // of an application
	Admin         bool
	Holds         []policy.Hold // the Roles they may ask for, by name
	PolicyVersion int64
}

// User returns one User and what they may ask for.
func (a *Admin) User(ctx context.Context, name policy.UserName) (Membership, error) {
	u, err := a.Users.User(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return Membership{}, a.noUser(ctx, name)
	}
	if err != nil {
		return Membership{}, err
	}
	head, doc, err := a.Policies.Head(ctx)
	if err != nil {
		return Membership{}, err
	}
	m := Membership{User: u, PolicyVersion: head.Version}
	if m.Owner, err = a.owner(ctx, u); err != nil || doc == nil {
		return m, err
	}
	now := a.now()
	subject := u.Subject(m.Owner)
	m.Admin = policy.IsAdmin(doc, subject, now)
	m.Holds = policy.NewReacher(doc, now).Reach(subject)
	return m, nil
}

// UserOf returns the name of the User who is bound to an account in Slack.
func (a *Admin) UserOf(ctx context.Context, id SlackID) (policy.UserName, error) {
	i, err := a.Identities.Identity(ctx, id)
	if err == nil {
		var u User
		if u, err = a.Users.User(ctx, i.User); err == nil && bound(i, u) {
			return u.Name, nil
		}
	}
	if err == nil || errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("nobody here is bound to the account %s in Slack (%w)", id, ErrNotFound)
	}
	return "", err
}

// owner returns an application's owner; zero for a person.
func (a *Admin) owner(ctx context.Context, u User) (User, error) {
	if !u.IsApp {
		return User{}, nil
	}
	owner, err := a.Users.User(ctx, u.Owner)
	if errors.Is(err, ErrNotFound) {
		return User{}, nil
	}
	return owner, err
}

// A UserFilter chooses Users. Empty fields choose all.
type UserFilter struct {
	Expiring time.Duration // whose access ends within this, or has ended
	Group    policy.GroupName
	Removed  bool // tombstones too
}

// ListUsers returns the Users that f chooses, by name; those that expire, by
// when they do.
func (a *Admin) ListUsers(ctx context.Context, f UserFilter) ([]User, error) {
	now := a.now()
	var found []User
	err := a.Users.Users(ctx, func(u User) bool {
		switch {
		case u.Removed && !f.Removed,
			f.Group != "" && !slices.Contains(u.Groups, f.Group),
			f.Expiring > 0 && (u.Expires.After(now.Add(f.Expiring)) || !u.Enabled):
		default:
			found = append(found, u)
		}
		return true
	})
	if f.Expiring > 0 {
		slices.SortStableFunc(found, func(x, y User) int { return x.Expires.Compare(y.Expires) })
	}
	return found, err
}

// Policy returns the newest version of the Policy.
func (a *Admin) Policy(ctx context.Context) (Head, *policy.Document, error) {
	head, doc, err := a.Policies.Head(ctx)
	if err == nil && doc == nil {
		err = fmt.Errorf("there is no policy yet; make one with init: %w", ErrNotFound)
	}
	return head, doc, err
}

// PolicyVersion returns a version of the Policy: 0 is the newest.
func (a *Admin) PolicyVersion(ctx context.Context, version int64) (Head, *policy.Document, error) {
	head, doc, err := a.Policy(ctx)
	if err != nil || version == 0 || version == head.Version {
		return head, doc, err
	}
	old, doc, err := a.Policies.Policy(ctx, version)
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("there is no version %d of the policy; the newest is %d: %w", version, head.Version, ErrNotFound)
	}
	return old, doc, err
}

// History returns the newest versions of the Policy, newest first, at most
// limit.
func (a *Admin) History(ctx context.Context, limit int) ([]Head, error) {
	return a.Policies.Versions(ctx, 0, limit)
}

// Can explains whether and why a User may ask for a Role at a time; the zero
// time is now.
func (a *Admin) Can(ctx context.Context, name policy.UserName, role policy.RoleName, at time.Time) (policy.Explanation, error) {
	_, doc, err := a.Policy(ctx)
	if err != nil {
		return policy.Explanation{}, err
	}
	u, err := a.Users.User(ctx, name)
	if errors.Is(err, ErrNotFound) || err == nil && u.Removed {
		return policy.Explanation{}, a.noUser(ctx, name)
	}
	if err != nil {
		return policy.Explanation{}, err
	}
	if err := roleThere(doc, role); err != nil {
		return policy.Explanation{}, err
	}
	owner, err := a.owner(ctx, u)
	if err != nil {
		return policy.Explanation{}, err
	}
	if at.IsZero() {
		at = a.now()
	}
	return policy.Explain(doc, u.Subject(owner), role, at), nil
}

// WhoCan returns who may ask for a Role now, and how.
func (a *Admin) WhoCan(ctx context.Context, role policy.RoleName) ([]policy.Holder, error) {
	_, doc, err := a.Policy(ctx)
	if err != nil {
		return nil, err
	}
	if err := roleThere(doc, role); err != nil {
		return nil, err
	}
	all, err := a.stored(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Collect(policy.WhoCan(doc, role, subjects(all), a.now())), nil
}

// subjects are the Users as Subjects, by name.
func subjects(all map[policy.UserName]User) iter.Seq[policy.Subject] {
	names := make([]policy.UserName, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	return func(yield func(policy.Subject) bool) {
		for _, name := range names {
			if u := all[name]; !yield(u.Subject(all[u.Owner])) {
				return
			}
		}
	}
}

// A ReviewRow is one line of an access review: one Role that one User may ask
// for.
type ReviewRow struct {
	User          policy.UserName `json:"user"`
	Owner         policy.UserName `json:"owner,omitempty"` // of an application
	Role          policy.RoleName `json:"role"`
	AccountID     string          `json:"account_id"`
	Path          string          `json:"path"`
	NeedsApproval bool            `json:"needs_approval,omitempty"`
	Expires       time.Time       `json:"expires"`            // when the authority ends
	LastUsed      time.Time       `json:"last_used,omitzero"` // when it was last issued; zero: never, as far as the trail goes back
}

// Review returns every Role that every User may ask for now, by user and role,
// with when it was last used. It reads the whole trail.
func (a *Admin) Review(ctx context.Context) ([]ReviewRow, error) {
	_, doc, err := a.Policy(ctx)
	if err != nil {
		return nil, err
	}
	all, err := a.stored(ctx)
	if err != nil {
		return nil, err
	}
	used, err := a.lastUses(ctx)
	if err != nil {
		return nil, err
	}
	reacher := policy.NewReacher(doc, a.now())
	var rows []ReviewRow
	for subject := range subjects(all) {
		for _, h := range reacher.Reach(subject) {
			rows = append(rows, ReviewRow{
				User: subject.Name, Owner: subject.Owner, Role: h.Role.Name, AccountID: h.Role.AccountID, Path: strings.Join(h.Path, " "),
				NeedsApproval: h.Role.Approval != nil, Expires: h.Expires, LastUsed: used[use{string(subject.Name), h.Role.Name}],
			})
		}
	}
	return rows, nil
}

type use struct {
	actor string
	role  policy.RoleName
}

// lastUses finds, in the trail, when each User was last issued each Role.
func (a *Admin) lastUses(ctx context.Context) (map[use]time.Time, error) {
	const page = 1000
	last := map[use]time.Time{}
	for q := (EventQuery{Limit: page}); ; {
		events, err := a.Archive.Events(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			if e.Event == EventIssued {
				last[use{e.Actor, e.Role}] = e.Time
			}
		}
		if len(events) < page {
			return last, nil
		}
		q.After = events[len(events)-1].ID
	}
}

// Summary says in one line what a Proposal is.
func (p Proposal) Summary() string {
	return fmt.Sprintf("%s: %s", p.Change.Op, strings.Join(shortened(p.Detail, 3), "; "))
}
