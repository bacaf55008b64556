package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/starback/starback/broker/policy"
)

// An Admin changes Users and the Policy. It needs the store alone, so that the
// command line can administer while no server runs. Author names who is
// administering, as the operating system or AWS knows them. Its Events are on
// the Trails of what it changes, and are logged by whoever passes those on.
type Admin struct {
	Users      Registry
	Identities IdentityBook
	Policies   PolicyBook
	Now        func() time.Time
	Entropy    io.Reader
	Author     string

	ids ids
}

// defaultLifetime is how long the first administrator lasts.
const defaultLifetime = 90 * 24 * time.Hour

// Init makes the first administrator and a first Policy that knows only the
// group "admins". It works once: where there is a User already, it returns
// ErrConflict. Cut off half-way, it can be repeated.
func (a *Admin) Init(ctx context.Context, name policy.UserName, slack SlackID) (User, error) {
	some := false
	if err := a.Users.Users(ctx, func(User) bool { some = true; return false }); err != nil {
		return User{}, err
	}
	if some {
		return User{}, fmt.Errorf("there are users already: %w", ErrConflict)
	}
	now := a.now()
	head, _, err := a.Policies.Head(ctx)
	if err != nil {
		return User{}, err
	}
	if head.Version == 0 {
		doc := &policy.Document{
			Groups:   map[policy.GroupName]policy.Group{"admins": {Name: "admins"}},
			Admins:   []policy.GroupName{"admins"},
			Settings: policy.Settings{UserLifetime: defaultLifetime},
		}
		if err := a.putPolicy(ctx, head, doc, EventInitialised, "the first policy", now); err != nil {
			return User{}, err
		}
	}
	user := User{
		Name: name, ID: a.ids.next(now, a.Entropy), Enabled: true, Expires: now.Add(defaultLifetime),
		Groups: []policy.GroupName{"admins"}, Slack: slack, CreatedAt: now,
	}
	// The User comes last: once there is one, Init is over. Until then the
	// Identity binds nobody.
	if err := a.bind(ctx, user, now); err != nil {
		return User{}, err
	}
	return a.putUser(ctx, User{}, user, now)
}

// A UserChange says what an Apply does to one User.
type UserChange struct {
	Name   policy.UserName `json:"name"`
	Event  EventName       `json:"event"`
	Detail string          `json:"detail,omitempty"`
}

// Applied says what an Apply did.
type Applied struct {
	PolicyVersion int64        `json:"policy_version"`
	PolicyChanged bool         `json:"policy_changed"`
	Users         []UserChange `json:"users,omitempty"` // those that changed, by name
}

// Plan says what Apply would do now, and does nothing.
func (a *Admin) Plan(ctx context.Context, file *policy.File) (Applied, error) {
	head, _, err := a.Policies.Head(ctx)
	if err != nil {
		return Applied{}, err
	}
	users, err := a.wanted(ctx, file, a.now())
	if err != nil {
		return Applied{}, err
	}
	return planned(head, file, users), nil
}

// planned is what an Apply comes to, if nothing fails.
func planned(head Head, file *policy.File, users []wantedUser) Applied {
	out := Applied{PolicyVersion: head.Version, PolicyChanged: head.Digest != file.Document.Digest()}
	if out.PolicyChanged {
		out.PolicyVersion++
	}
	for _, w := range users {
		if !sameUser(w.was, w.want) {
			out.Users = append(out.Users, UserChange{w.want.Name, changeEvent(w.was, w.want), changeDetail(w.was, w.want)})
		}
	}
	return out
}

// Apply makes the Policy and the file's users what the file says. Users whom
// the file does not name are left alone. The order is: take away, then the new
// Policy, then give, so that an Apply cut off half-way never allows more than
// before or after it; repeating it completes it.
func (a *Admin) Apply(ctx context.Context, file *policy.File, message string) (Applied, error) {
	now := a.now()
	head, _, err := a.Policies.Head(ctx)
	if err != nil {
		return Applied{}, err
	}
	users, err := a.wanted(ctx, file, now)
	if err != nil {
		return Applied{}, err
	}
	applied := planned(head, file, users)
	// One User who cannot be written does not keep others what is taken away.
	var errs []error
	for i, w := range users {
		if w.was.Version == 0 {
			continue
		}
		if less := narrowed(w.was, w.want); !sameUser(w.was, less) {
			if users[i].was, err = a.putUser(ctx, w.was, less, now); err != nil {
				errs = append(errs, fmt.Errorf("user %s: %w", w.want.Name, err))
			}
		}
	}
	if len(errs) > 0 {
		return Applied{}, errors.Join(errs...)
	}
	if applied.PolicyChanged {
		if err := a.putPolicy(ctx, head, file.Document, EventPolicyApplied, message, now); err != nil {
			return Applied{}, fmt.Errorf("policy: %w", err)
		}
	}
	for _, w := range users {
		stored := w.was
		if w.want.Version, w.want.Trail = w.was.Version, w.was.Trail; !sameUser(w.was, w.want) {
			if stored, err = a.putUser(ctx, w.was, w.want, now); err != nil {
				return Applied{}, fmt.Errorf("user %s: %w", w.want.Name, err)
			}
		}
		if err := a.bind(ctx, stored, now); err != nil {
			return Applied{}, fmt.Errorf("user %s: %w", w.want.Name, err)
		}
	}
	return applied, nil
}

// A wantedUser is a User before and after an Apply. A User who does not exist
// yet has a zero was.
type wantedUser struct{ was, want User }

// wanted works out every User of the file, and refuses what cannot be.
func (a *Admin) wanted(ctx context.Context, file *policy.File, now time.Time) ([]wantedUser, error) {
	stored := map[policy.UserName]User{}
	owner := map[SlackID]policy.UserName{}
	err := a.Users.Users(ctx, func(u User) bool {
		stored[u.Name] = u
		return true
	})
	if err != nil {
		return nil, err
	}
	var out []wantedUser
	for _, spec := range file.Users {
		was := stored[spec.Name]
		if was.Removed {
			return nil, fmt.Errorf("the name %q was a removed user's and is never used again: %w", spec.Name, ErrInvalid)
		}
		want, err := a.userFrom(spec, was, file.Document.Settings, now)
		if err != nil {
			return nil, err
		}
		stored[spec.Name] = want
		out = append(out, wantedUser{was, want})
	}
	admins := false
	for _, u := range stored {
		if !u.Slack.IsZero() && !u.Removed {
			if other, taken := owner[u.Slack]; taken {
				return nil, fmt.Errorf("%s and %s would both be Slack's %s: %w", other, u.Name, u.Slack, ErrInvalid)
			}
			owner[u.Slack] = u.Name
		}
		admins = admins || policy.IsAdmin(file.Document, u.Subject(), now)
	}
	if !admins {
		return nil, fmt.Errorf("nobody would be left in an admin group (%s): %w", joinNames(file.Document.Admins), ErrInvalid)
	}
	slices.SortFunc(out, func(x, y wantedUser) int { return strings.Compare(string(x.want.Name), string(y.want.Name)) })
	return out, nil
}

// userFrom turns a file's entry into the User it asks for.
func (a *Admin) userFrom(spec policy.User, was User, s policy.Settings, now time.Time) (User, error) {
	u := was
	if was.Version == 0 {
		u = User{Name: spec.Name, ID: a.ids.next(now, a.Entropy), CreatedAt: now, Expires: now.Add(s.UserLifetime)}
	}
	u.IsApp, u.Owner, u.Enabled = spec.App, spec.Owner, !spec.Disabled
	u.Groups, u.Grants, u.Email = spec.Groups, spec.Grants, strings.ToLower(spec.Email)
	if !spec.Expires.IsZero() {
		u.Expires = spec.Expires
	}
	if spec.Slack != "" {
		slack, err := ParseSlackID(spec.Slack)
		if err != nil {
			return User{}, fmt.Errorf("user %s: %w", spec.Name, err)
		}
		u.Slack = slack
	}
	return u, nil
}

// narrowed is was with everything taken away that want lacks.
func narrowed(was, want User) User {
	less := was
	less.Enabled = was.Enabled && want.Enabled
	if want.Expires.Before(was.Expires) {
		less.Expires = want.Expires
	}
	less.Groups = slices.DeleteFunc(slices.Clone(was.Groups), func(g policy.GroupName) bool { return !slices.Contains(want.Groups, g) })
	less.Grants = slices.DeleteFunc(slices.Clone(was.Grants), func(g policy.Grant) bool { return !slices.Contains(want.Grants, g) })
	if was.Slack != want.Slack {
		less.Slack = SlackID{}
	}
	return less
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
	return strings.Join(out, "; ")
}

func changeEvent(was, want User) EventName {
	switch {
	case was.Version == 0:
		return EventUserCreated
	case was.Enabled && !want.Enabled:
		return EventUserDisabled
	default:
		return EventUserChanged
	}
}

// putUser stores want over was, with the Event that says how they differ.
func (a *Admin) putUser(ctx context.Context, was, want User, now time.Time) (User, error) {
	e := Event{
		ID: a.ids.next(now, a.Entropy), Event: changeEvent(was, want), Time: now, Actor: a.Author,
		Subject: string(want.Name), Detail: changeDetail(was, want), Outcome: OutcomeOK,
	}
	for try := 1; ; try++ {
		next := want
		next.Trail.Events = slices.Clone(want.Trail.Events)
		next.Trail.Notices = slices.Clone(want.Trail.Notices)
		next.Trail.add(e, now)
		stored, err := a.Users.PutUser(ctx, next)
		if !isConflict(err) || stored.ID != was.ID || !sameUser(was, stored) || try == recordTries {
			return stored, err
		}
		// Only what no administrator sets has changed meanwhile: the Trail was
		// passed on, or another shell chosen.
		want.Version, want.Trail, want.Shell = stored.Version, stored.Trail, stored.Shell
	}
}

// putPolicy makes doc the version after head.
func (a *Admin) putPolicy(ctx context.Context, head Head, doc *policy.Document, name EventName, message string, now time.Time) error {
	e := Event{
		ID: a.ids.next(now, a.Entropy), Event: name, Time: now, Actor: a.Author,
		PolicyVersion: head.Version + 1, Detail: message, Outcome: OutcomeOK,
	}
	next := Head{Version: head.Version + 1, Digest: doc.Digest(), Author: a.Author, Message: message, AppliedAt: now}
	next.Trail.add(e, now)
	if err := a.Policies.PutPolicy(ctx, next, doc); err != nil {
		return err
	}
	return nil
}

// bind makes the Identity that User u names point back at it. Until it does,
// nobody is bound. An Identity that bound somebody else before does not any
// more: that User does not name it.
func (a *Admin) bind(ctx context.Context, u User, now time.Time) error {
	if u.Slack.IsZero() {
		return nil
	}
	i, err := a.Identities.Identity(ctx, u.Slack)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if bound(i, u) {
		return nil
	}
	_, err = a.Identities.PutIdentity(ctx, Identity{
		Slack: u.Slack, User: u.Name, UserID: u.ID, BoundAt: now, BoundBy: a.Author,
		Standing: i.Standing, SeenAt: i.SeenAt, Version: i.Version,
	})
	return err
}

func (a *Admin) now() time.Time { return a.Now().UTC().Truncate(time.Millisecond) }

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// day prints a moment in UTC: to the minute, unless seconds tell it from
// another.
func day(t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case t.Truncate(time.Minute).Equal(t):
		return t.UTC().Format("2006-01-02 15:04 MST")
	default:
		return t.UTC().Format("2006-01-02 15:04:05.999 MST")
	}
}

func joinNames[T ~string](names []T) string {
	sorted := slices.Sorted(slices.Values(names))
	words := make([]string, len(sorted))
	for i, n := range sorted {
		words[i] = string(n)
	}
	return strings.Join(words, ", ")
}

func joinGrants(grants []policy.Grant) string {
	words := make([]string, len(grants))
	for i, g := range grants {
		words[i] = string(g.Role)
		if !g.Expires.IsZero() {
			words[i] += " until " + day(g.Expires)
		}
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}
