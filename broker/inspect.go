package broker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/starback/starback/broker/policy"
)

// A Membership is a User's standing in the Policy as it is now. An
// application's access ends with its owner's, if that comes first.
type Membership struct {
	User          User
	Removed       []policy.GroupName // of the User's Groups, those that were removed since
	Owner         User               // of an application
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
	m := Membership{User: u, Removed: u.RemovedGroups(doc), PolicyVersion: head.Version}
	if m.Owner, err = a.owner(ctx, u); err != nil || doc == nil {
		return m, err
	}
	m.User.Expires = u.ends(m.Owner.Expires)
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
// when they do. The end of an application's access is its owner's, if that
// comes first.
func (a *Admin) ListUsers(ctx context.Context, f UserFilter) ([]User, error) {
	now := a.now()
	var found []User
	ends := map[policy.UserName]time.Time{} // people's
	err := a.Users.Users(ctx, func(u User) bool {
		if !u.IsApp {
			ends[u.Name] = u.Expires
		}
		if (!u.Removed || f.Removed) && (f.Group == "" || slices.Contains(u.Groups, f.Group)) {
			found = append(found, u)
		}
		return true
	})
	for i, u := range found {
		found[i].Expires = u.ends(ends[u.Owner])
	}
	if f.Expiring > 0 {
		found = slices.DeleteFunc(found, func(u User) bool { return u.Expires.After(now.Add(f.Expiring)) || !u.Enabled })
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

// An Access is whether and why a User may ask for a Role, and since when the
// best of the Routes there has existed; zero if that is not known, or they may
// not. What is older than sinceVersions versions of the Policy is not known.
type Access struct {
	policy.Explanation
	Since time.Time
}

// Can explains whether and why a User may ask for a Role at a time; the zero
// time is now.
func (a *Admin) Can(ctx context.Context, name policy.UserName, role policy.RoleName, at time.Time) (Access, error) {
	head, doc, err := a.Policy(ctx)
	if err != nil {
		return Access{}, err
	}
	u, err := a.Users.User(ctx, name)
	if errors.Is(err, ErrNotFound) || err == nil && u.Removed {
		return Access{}, a.noUser(ctx, name)
	}
	if err != nil {
		return Access{}, err
	}
	if err := roleThere(doc, role); err != nil {
		return Access{}, err
	}
	owner, err := a.owner(ctx, u)
	if err != nil {
		return Access{}, err
	}
	now := a.now()
	if at.IsZero() {
		at = now
	}
	x := Access{Explanation: policy.Explain(doc, u.Subject(owner), role, at)}
	if x.Effect == policy.Deny {
		return x, nil
	}
	w := way{x.Routes[0].Via, x.Routes[0].Granted, role}
	ways, err := a.waysSince(ctx, head, doc, []way{w}, now, sinceVersions)
	x.Since = u.since(w, ways)
	return x, err
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
	Since         time.Time       `json:"since,omitzero"`     // from when on the Path has existed; zero: not known
	Expires       time.Time       `json:"expires"`            // when the authority ends
	LastUsed      time.Time       `json:"last_used,omitzero"` // when it was last issued; zero: never, as far as the trail goes back

	way way
}

// Review returns every Role that every User may ask for now, by user and role,
// with since when, and when it was last used. It reads the whole trail, and as
// many versions of the Policy as the oldest of the Paths takes.
func (a *Admin) Review(ctx context.Context) ([]ReviewRow, error) {
	head, doc, err := a.Policy(ctx)
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
	now := a.now()
	reacher := policy.NewReacher(doc, now)
	var rows []ReviewRow
	ways := map[way]bool{}
	for subject := range subjects(all) {
		for _, h := range reacher.Reach(subject) {
			w := way{h.Via, h.Granted, h.Role.Name}
			ways[w] = true
			rows = append(rows, ReviewRow{
				User: subject.Name, Owner: subject.Owner, Role: h.Role.Name, AccountID: h.Role.AccountID, Path: strings.Join(h.Path, " "),
				NeedsApproval: h.Role.Approval != nil, Expires: h.Expires, LastUsed: used[use{string(subject.Name), h.Role.Name}], way: w,
			})
		}
	}
	since, err := a.waysSince(ctx, head, doc, slices.Collect(maps.Keys(ways)), now, math.MaxInt)
	if err != nil {
		return nil, err
	}
	for i, r := range rows {
		rows[i].Since = all[r.User].since(r.way, since)
	}
	return rows, nil
}

type use struct {
	actor string
	role  policy.RoleName
}

// lastUses finds, in the trail, when each User was last issued each Role.
func (a *Admin) lastUses(ctx context.Context) (map[use]time.Time, error) {
	last := map[use]time.Time{}
	err := a.Events(ctx, EventQuery{}, func(e Event) {
		if e.Event == EventIssued {
			last[use{e.Actor, e.Role}] = e.Time
		}
	})
	return last, err
}

// Summary says in one line what a Proposal is.
func (p Proposal) Summary() string {
	return fmt.Sprintf("%s: %s", p.Change.Op, strings.Join(shortened(p.Detail, 3), "; "))
}
