package broker

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/starback/starback/broker/policy"
)

// An apply that takes something from more than a fifth of the people who may
// ask for anything, and from three at least or from all of them, has to be
// meant. What is to end soon is taken as well.
const (
	shrinkShare = 5
	shrinkLeast = 3
	soon        = 7 * 24 * time.Hour
)

// A UserChange says what an Apply does to one User.
type UserChange struct {
	Name   policy.UserName `json:"name"`
	Event  EventName       `json:"event"`
	Detail string          `json:"detail,omitempty"`
}

// A Plan is what applying a policy file comes to: what changes, what that means
// for people, and what speaks against it.
type Plan struct {
	PolicyVersion int64               `json:"policy_version"` // once applied
	PolicyChanged bool                `json:"policy_changed"`
	Policy        []policy.Difference `json:"policy,omitempty"`
	Users         []UserChange        `json:"users,omitempty"` // those that change, by name
	Impact        policy.Impact       `json:"impact"`
	Soon          policy.Impact       `json:"soon"`              // the same, in 7 days
	Loud          string              `json:"loud,omitempty"`    // why everybody will be told
	Benefit       string              `json:"benefit,omitempty"` // what needs a second administrator

	// Lacking is what commands have changed that the file does not have; nil
	// for nothing.
	Lacking *Lacking `json:"lacking,omitempty"`

	state
	file []policy.UserName // whom the file names
}

// Lacking is what commands have changed that a policy file does not have.
type Lacking struct {
	Policy []policy.Difference `json:"policy,omitempty"`
	Users  []UserChange        `json:"users,omitempty"`
	YAML   string              `json:"yaml"` // what to merge into the file
}

// Changes says whether applying would change anything.
func (p *Plan) Changes() bool { return p.PolicyChanged || len(p.Users) > 0 }

// Shrinks says whether the Plan takes something from so many people that it
// has to be meant.
func (p *Plan) Shrinks() bool { return shrinks(p.Impact) || shrinks(p.Soon) }

func shrinks(i policy.Impact) bool {
	return i.Losing*shrinkShare > i.People && (i.Losing >= shrinkLeast || i.Losing == i.People && i.Losing > 1)
}

// shrinking says how many people a Plan takes something from, and when.
func (p *Plan) shrinking() string {
	i, when := p.Impact, ""
	if !shrinks(i) {
		i, when = p.Soon, " within 7 days"
	}
	return fmt.Sprintf("%d of the %d people who may ask for something would lose some of it%s", i.Losing, i.People, when)
}

// ApplyOptions say what an apply may do besides.
type ApplyOptions struct {
	Message     string // why, for the trail
	Overwrite   bool   // what commands changed and the file lacks
	AllowShrink bool   // take something from many
}

// A Reservation is why a Plan was not applied, and how it can be. It wraps
// ErrConflict, or ErrDenied where the author alone cannot.
type Reservation struct {
	Problem string
	err     error
}

// Error describes the case in a sentence.
func (r *Reservation) Error() string { return r.Problem }

// Unwrap returns the sentinel.
func (r *Reservation) Unwrap() error { return r.err }

// Reservation says what speaks against the Plan, or nil.
func (p *Plan) Reservation(o ApplyOptions) error {
	switch {
	case !p.Changes():
		return nil
	case p.Lacking != nil && !o.Overwrite:
		return &Reservation{"commands have changed what this file does not say; merge the above into it, or apply with --overwrite to undo them", ErrConflict}
	case p.Shrinks() && !o.AllowShrink:
		return &Reservation{p.shrinking() + "; if that is meant, apply with --allow-shrink", ErrConflict}
	case p.Benefit != "" && p.was != nil && p.was.Settings.TwoAdmins:
		return &Reservation{"this benefits you, so another administrator has to apply it (two_admins): " + p.Benefit, ErrDenied}
	}
	return nil
}

// Plan works out what applying file means now, and does nothing. With prune,
// the users whom the file does not name are switched off. A file that cannot
// be applied at all is ErrInvalid, and policy.Errors where its own words are why.
func (a *Admin) Plan(ctx context.Context, file *policy.File, prune bool) (*Plan, error) {
	now := a.now()
	head, was, err := a.Policies.Head(ctx)
	if err != nil {
		return nil, err
	}
	m := mistakes{file: file}
	doc := file.Document
	if m.removedGroups(was); len(m.found) == 0 {
		if doc, err = doc.After(was); err != nil {
			return nil, fmt.Errorf("%w (%w)", err, ErrInvalid)
		}
	}
	p := &Plan{PolicyVersion: head.Version, state: state{head: head, was: was, doc: doc, lastAdmin: true}}
	stored, err := a.stored(ctx)
	if err != nil {
		return nil, err
	}
	if p.users, err = a.wanted(file, stored, prune, now); err != nil {
		return nil, err
	}
	m.users(p.users, stored)
	m.accounts(p.users, stored)
	m.admins(p, stored, now)
	if err := m.err(); err != nil {
		return nil, err
	}
	for _, u := range file.Users {
		p.file = append(p.file, u.Name)
	}
	if head.Digest == doc.Digest() {
		p.doc = was
	} else {
		p.PolicyChanged, p.Policy = true, policy.Diff(was, doc)
		p.PolicyVersion++
	}
	for _, w := range p.users {
		if !sameUser(w.was, w.want) {
			p.Users = append(p.Users, userChange(w))
		}
	}
	p.Impact = policy.Effects(was, doc, p.people(stored), now)
	p.Soon = policy.Effects(was, doc, p.people(stored), now.Add(soon))
	mine, err := a.mine(ctx, p.state)
	if err != nil {
		return nil, err
	}
	p.Benefit = p.benefit(mine, now)
	p.Loud = p.loud(a.Author, p.Benefit, now)
	p.Lacking, err = a.lacking(ctx, p, file.Document)
	return p, err
}

func userChange(w wantedUser) UserChange {
	return UserChange{w.want.Name, changeEvent(w.was, w.want), changeDetail(w.was, w.want)}
}

// stored returns every User there is.
func (a *Admin) stored(ctx context.Context) (map[policy.UserName]User, error) {
	all := map[policy.UserName]User{}
	err := a.Users.Users(ctx, func(u User) bool {
		all[u.Name] = u
		return true
	})
	return all, err
}

// people pairs every User as they are with what they are to become.
func (s state) people(stored map[policy.UserName]User) iter.Seq[policy.Person] {
	want := map[policy.UserName]User{}
	for _, w := range s.users {
		want[w.want.Name] = w.want
	}
	is := func(name policy.UserName) User {
		if u, ok := want[name]; ok {
			return u
		}
		return stored[name]
	}
	return func(yield func(policy.Person) bool) {
		for name, u := range stored {
			w := is(name)
			if !yield(policy.Person{Was: u.Subject(stored[u.Owner]), Is: w.Subject(is(w.Owner))}) {
				return
			}
		}
		for _, w := range s.users {
			if w.was.Version == 0 && !yield(policy.Person{Is: w.want.Subject(is(w.want.Owner))}) {
				return
			}
		}
	}
}

// lacking finds what commands have changed that the file does not have.
func (a *Admin) lacking(ctx context.Context, p *Plan, file *policy.Document) (*Lacking, error) {
	var l Lacking
	var yaml bytes.Buffer
	if p.PolicyChanged && p.head.FileVersion > 0 && p.head.FileVersion < p.head.Version {
		_, base, err := a.Policies.Policy(ctx, p.head.FileVersion)
		if err != nil {
			return nil, err
		}
		if l.Policy = policy.Lacking(base, p.was, file); len(l.Policy) > 0 {
			yaml.Write(policy.Fragment(p.was, l.Policy))
		}
	}
	var specs []policy.User
	for _, w := range p.users {
		if fields := w.lacking(); len(fields) > 0 {
			l.Users = append(l.Users, UserChange{w.was.Name, changeEvent(w.want, w.was), strings.Join(fields, ", ")})
			specs = append(specs, w.was.spec())
		}
	}
	if len(specs) > 0 {
		yaml.Write(policy.ExportUsers(specs))
	}
	if len(l.Policy) == 0 && len(l.Users) == 0 {
		return nil, nil
	}
	l.YAML = yaml.String()
	return &l, nil
}

// A wantedUser is a User before and after a change. A User who does not exist
// yet has a zero was.
type wantedUser struct{ was, want User }

// wanted works out every User of the file, as far as the file makes sense.
func (a *Admin) wanted(file *policy.File, stored map[policy.UserName]User, prune bool, now time.Time) ([]wantedUser, error) {
	var out []wantedUser
	at := map[policy.UserName]int{}
	for _, spec := range file.Users {
		was := stored[spec.Name]
		want, err := a.userFrom(spec, was, file.Document.Settings, now)
		if err != nil {
			return nil, err
		}
		at[spec.Name] = len(out)
		out = append(out, wantedUser{was, want})
	}
	for i, spec := range file.Users {
		if owner, app := at[spec.Owner]; app && spec.Expires.IsZero() && out[i].want.Expires.After(out[owner].want.Expires) {
			out[i].want.Expires = out[owner].want.Expires
		}
	}
	if prune && file.Users != nil {
		for name, was := range stored {
			if _, named := at[name]; !named && was.Enabled && !was.Removed {
				want := was
				want.Enabled = false
				out = append(out, wantedUser{was, want})
			}
		}
	}
	slices.SortFunc(out, func(x, y wantedUser) int { return strings.Compare(string(x.want.Name), string(y.want.Name)) })
	return out, nil
}

// userFrom turns a file's entry into the User it asks for.
func (a *Admin) userFrom(spec policy.User, was User, s policy.Settings, now time.Time) (User, error) {
	u := was
	if was.Version == 0 {
		u = User{Name: spec.Name, ID: a.newID(now), CreatedAt: now, Expires: now.Add(s.UserLifetime).Truncate(time.Second)}
	}
	u.IsApp, u.Owner, u.Enabled = spec.App, spec.Owner, !spec.Disabled
	if u.IsApp { // it was a person perhaps
		u.Slack = SlackID{}
	}
	u.Groups, u.Grants, u.Email = spec.Groups, spec.Grants, spec.Email
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

// spec is the entry of a policy file that says what u is.
func (u User) spec() policy.User {
	return policy.User{
		Name: u.Name, App: u.IsApp, Owner: u.Owner, Slack: u.Slack.String(), Email: u.Email,
		Groups: u.Groups, Grants: u.Grants, Expires: u.Expires, Disabled: !u.Enabled,
	}
}
