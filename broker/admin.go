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
// command line can administer while no server runs. Its Events are on the
// Trails of what it changes, and are logged by whoever passes those on.
type Admin struct {
	Users      Registry
	Identities IdentityBook
	Policies   PolicyBook
	Proposals  ProposalBook
	Tokens     TokenBook
	Archive    Archive
	Now        func() time.Time
	Entropy    io.Reader
	Author     Author

	ids  *ids   // shared by those that As makes
	wake func() // tells a sweep that there is news; nil where none runs
}

// An Author is who administers.
type Author struct {
	Name  string          // as the trail names them: a User's name, or an account of the operating system or AWS
	User  policy.UserName // the User they are; empty if they are none
	Slack SlackID         // where they are known by it
}

// NewAdmin returns an Admin that works with a store.
func NewAdmin(store AdminStore, now func() time.Time, entropy io.Reader, author Author) *Admin {
	return &Admin{
		Users: store, Identities: store, Policies: store, Proposals: store, Tokens: store, Archive: store,
		Now: now, Entropy: entropy, Author: author, ids: &ids{},
	}
}

// An AdminStore is what administering reads and writes.
type AdminStore interface {
	Registry
	IdentityBook
	PolicyBook
	ProposalBook
	TokenBook
	Archive
}

// As returns the Admin with another author.
func (a *Admin) As(author Author) *Admin {
	other := *a
	other.Author = author
	return &other
}

func (a *Admin) newID(now time.Time) string { return a.ids.next(now, a.Entropy) }

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
		if err := a.putPolicy(ctx, head, doc, version{how: HowInit, event: EventInitialised, message: "the first policy"}, now); err != nil {
			return User{}, err
		}
	}
	user := User{
		Name: name, ID: a.newID(now), Enabled: true, Expires: now.Add(defaultLifetime).Truncate(time.Second),
		Groups: []policy.GroupName{"admins"}, Slack: slack, CreatedAt: now,
	}
	// The User comes last: once there is one, Init is over. Until then the
	// Identity binds nobody.
	if err := a.bind(ctx, user, now); err != nil {
		return User{}, err
	}
	return a.putUser(ctx, User{}, user, written{}, now)
}

// written is what a write of a User tells besides how it changes.
type written struct {
	note  string // why, in the author's words
	loud  string // why everybody is told
	token string // the ID of the Token that it is about
}

// putUser stores want over was, with the Event that says how they differ.
func (a *Admin) putUser(ctx context.Context, was, want User, w written, now time.Time) (User, error) {
	detail := changeDetail(was, want)
	if w.note != "" {
		detail += " (" + w.note + ")"
	}
	e := Event{
		ID: a.newID(now), Event: changeEvent(was, want), Time: now, Actor: a.Author.Name, Slack: a.Author.Slack.String(),
		Subject: string(want.Name), Detail: detail, Outcome: OutcomeOK, Loud: w.loud, TokenID: w.token,
	}
	want.date(was, now)
	for try := 1; ; try++ {
		next := want
		next.Trail = want.Trail.clone()
		next.Trail.add(e, now)
		next.remind(now)
		if was.Enabled && !next.Enabled { // what they hold ends with it
			next.Trail.Notices = append(next.Trail.Notices,
				Notice{ID: "fence." + e.ID, Kind: NoticeFence, Due: now},
				// What was being minted at that moment is there by then.
				Notice{ID: "fence.again." + e.ID, Kind: NoticeFence, Due: now.Add(LeaseFor)})
		}
		stored, err := a.Users.PutUser(ctx, next)
		a.news(err)
		if !isConflict(err) || stored.ID != was.ID || !sameUser(was, stored) || try == recordTries {
			return stored, err
		}
		// Only what no administrator sets has changed meanwhile: the Trail was
		// passed on, another shell chosen, or a Token used.
		want.Version, want.Trail, want.Shell = stored.Version, stored.Trail, stored.Shell
		want.keepUses(stored)
	}
}

// A version is how a version of the Policy comes about.
type version struct {
	how     How
	event   EventName
	message string   // why, in the author's words
	detail  []string // what changes, in words
	loud    string   // why everybody is told
}

// headChanges bounds what a version says of itself in a list.
const headChanges = 3

// maxDetail bounds what an Event says of a version, so that it stays one small
// item: the rest is in the version itself.
const maxDetail = 20

// putPolicy makes doc the version after head.
func (a *Admin) putPolicy(ctx context.Context, head Head, doc *policy.Document, v version, now time.Time) error {
	next := Head{
		Version: head.Version + 1, Digest: doc.Digest(), Author: a.Author.Name, Message: v.message, AppliedAt: now,
		Changes: shortened(v.detail, headChanges),
		How:     v.how, FileVersion: head.FileVersion,
	}
	if v.how == HowFile || v.how == HowInit {
		next.FileVersion = next.Version
	}
	detail := strings.Join(shortened(v.detail, maxDetail), "; ")
	if v.message != "" {
		detail = strings.TrimSuffix(v.message+". "+detail, ". ")
	}
	next.Trail.add(Event{
		ID: a.newID(now), Event: v.event, Time: now, Actor: a.Author.Name, Slack: a.Author.Slack.String(),
		PolicyVersion: next.Version, Detail: detail, Outcome: OutcomeOK, Loud: v.loud,
	}, now)
	err := a.Policies.PutPolicy(ctx, next, doc)
	a.news(err)
	return err
}

// news tells a sweep that there is something to pass on.
func (a *Admin) news(err error) {
	if err == nil && a.wake != nil {
		a.wake()
	}
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
		Slack: u.Slack, User: u.Name, UserID: u.ID, BoundAt: now, BoundBy: a.Author.Name,
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
