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

// adminLasts is for how long somebody must remain an administrator when the
// access of one is shortened.
const adminLasts = 24 * time.Hour

// errLastAdmin refuses what would leave nobody to administer Starback.
func errLastAdmin(d *policy.Document) error {
	return fmt.Errorf("%s: %w", lastAdminMessage(d), ErrInvalid)
}

func lastAdminMessage(d *policy.Document) string {
	return fmt.Sprintf("nobody would be left in an admin group (%s)", joinNames(d.Admins))
}

// keepsAdmin refuses a state in which nobody administers Starback.
func (a *Admin) keepsAdmin(ctx context.Context, s state, now time.Time) error {
	if !s.lastAdmin {
		return nil
	}
	some, err := a.someAdmin(ctx, s.doc, s.users, now.Add(s.lasting))
	if err == nil && !some {
		err = errLastAdmin(s.doc)
	}
	return err
}

// someAdmin says whether anybody administers Starback under d, with the
// changed Users as they are to become.
func (a *Admin) someAdmin(ctx context.Context, d *policy.Document, changed []wantedUser, now time.Time) (bool, error) {
	seen := map[policy.UserName]bool{}
	for _, w := range changed {
		seen[w.want.Name] = true
		if policy.IsAdmin(d, w.want.Subject(User{}), now) {
			return true, nil
		}
	}
	some := false
	err := a.Users.Users(ctx, func(u User) bool {
		some = !seen[u.Name] && policy.IsAdmin(d, u.Subject(User{}), now)
		return !some
	})
	return some, err
}

// undoLastAdmin takes a Change back that left nobody to administer Starback:
// two administrators who take each other's rights at the same moment each see
// the other's still there. Whoever writes last sees neither.
func (a *Admin) undoLastAdmin(ctx context.Context, s state) error {
	if !s.lastAdmin {
		return nil
	}
	now := a.now()
	head, doc, err := a.Policies.Head(ctx)
	if err != nil {
		return err
	}
	some, err := a.someAdmin(ctx, doc, nil, now.Add(s.lasting))
	if err != nil || some {
		return err
	}
	if s.doc != s.was && head.Version == s.head.Version+1 {
		err = a.putPolicy(ctx, head, s.was, version{
			how: HowCommand, event: EventPolicyRolledBack, detail: []string{"taken back: nobody was left to administer"},
		}, now)
	}
	for _, w := range s.users {
		stored, readErr := a.Users.User(ctx, w.want.Name)
		if readErr == nil && sameUser(stored, w.want) {
			back := w.was
			back.Version, back.Trail = stored.Version, stored.Trail
			_, readErr = a.putUser(ctx, stored, back, written{note: "taken back: nobody was left to administer"}, now)
		}
		err = errors.Join(err, readErr)
	}
	return errors.Join(errLastAdmin(s.doc), err)
}

// bereft says which applications lose their access because whoever answers for
// them does, each owner's in a sentence.
func (a *Admin) bereft(ctx context.Context, s state, now time.Time) (words []string, err error) {
	usable := func(u, owner User) bool {
		_, ok := policy.Usable(s.doc, u.Subject(owner), now)
		return ok
	}
	for _, w := range s.users {
		if w.want.IsApp || !usable(w.was, User{}) || usable(w.want, User{}) {
			continue
		}
		var apps []policy.UserName
		err := a.Users.Users(ctx, func(u User) bool {
			named := slices.ContainsFunc(s.users, func(w wantedUser) bool { return w.was.Name == u.Name })
			if u.IsApp && u.Owner == w.was.Name && !named && usable(u, w.was) {
				apps = append(apps, u.Name)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
		if len(apps) > 0 {
			words = append(words, fmt.Sprintf("%s answers for these applications, which lose their access too: %s", w.was.Name, joinNames(apps)))
		}
	}
	return words, nil
}

// mine returns the author's own User, and then the applications that the author
// answers for, before and after; nothing if the author is not known here.
func (a *Admin) mine(ctx context.Context, s state) ([]wantedUser, error) {
	self := a.Author.User
	if self == "" {
		return nil, nil
	}
	var mine []wantedUser
	named := map[policy.UserName]bool{}
	add := func(w wantedUser) {
		switch {
		case w.want.Name == self:
			mine = append([]wantedUser{w}, mine...)
		case w.want.IsApp && w.want.Owner == self:
			mine = append(mine, w)
		}
	}
	for _, w := range s.users {
		named[w.want.Name] = true
		add(w)
	}
	if s.doc != s.was { // it may be anybody's
		err := a.Users.Users(ctx, func(u User) bool {
			if !named[u.Name] {
				add(wantedUser{u, u})
			}
			return true
		})
		return mine, err
	}
	if !named[self] {
		u, err := a.Users.User(ctx, self)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		add(wantedUser{u, u})
	}
	return mine, nil
}

// benefit says what the author gets from the change, directly or through an
// application of theirs; empty for nothing.
func (s state) benefit(mine []wantedUser, now time.Time) string {
	if len(mine) == 0 {
		return ""
	}
	var words []string
	if s.was != nil && s.was.Settings.TwoAdmins && !s.doc.Settings.TwoAdmins {
		words = append(words, "no second administrator is needed any more")
	}
	held := map[string]bool{}
	for _, w := range mine {
		words = append(words, s.gains(w, mine[0], now)...)
		for _, hold := range policy.Reach(s.doc, w.want.Subject(mine[0].want), now) {
			held[string(hold.Role.Name)] = true
		}
	}
	for _, d := range s.differences() {
		if len(d.Path) > 2 && d.Path[0] == "roles" && held[d.Path[1]] && (d.Weakens || givesOther[d.Path[2]]) {
			words = append(words, "a role of theirs changes: "+d.String())
		}
	}
	return strings.Join(words, "; ")
}

// givesOther are the keys of a role that say what it gives.
var givesOther = map[string]bool{
	"account": true, "iam_role": true, "arn": true, "session_policy": true, "session_policy_arns": true, "tags": true,
}

// gains says what one User gets from the change.
func (s state) gains(w, owner wantedUser, now time.Time) (words []string) {
	person := policy.Person{Was: w.was.Subject(owner.was), Is: w.want.Subject(owner.want)}
	for _, c := range policy.Effects(s.was, s.doc, slices.Values([]policy.Person{person}), now).Changes {
		if len(c.Gains) > 0 {
			words = append(words, fmt.Sprintf("%s gains %s", c.User, joinNames(c.Gains)))
		}
		if c.GainsAdmin {
			words = append(words, fmt.Sprintf("%s becomes an administrator", c.User))
		}
		if len(c.NoLongerNeedsApproval) > 0 {
			words = append(words, fmt.Sprintf("%s needs no approval for %s any more", c.User, joinNames(c.NoLongerNeedsApproval)))
		}
	}
	before := policy.Approves(s.was, person.Was, now)
	approves := slices.DeleteFunc(policy.Approves(s.doc, person.Is, now), func(r policy.RoleName) bool { return slices.Contains(before, r) })
	if len(approves) > 0 {
		words = append(words, fmt.Sprintf("%s may approve requests for %s", w.want.Name, joinNames(approves)))
	}
	words = append(words, s.longer(w.want.Name, person, now)...)
	if w.want.Expires.After(w.was.Expires) && w.was.Version > 0 {
		words = append(words, fmt.Sprintf("the access of %s ends later: %s", w.want.Name, day(w.want.Expires)))
	}
	return words
}

// longer says which roles somebody holds already, and can hold longer after the
// change. That their own access ends later is not meant: it is said of itself.
func (s state) longer(name policy.UserName, person policy.Person, now time.Time) (words []string) {
	until := func(d *policy.Document, subject policy.Subject) map[policy.RoleName]time.Time {
		subject.Expires = endless
		if subject.IsApp {
			subject.OwnerExpires = endless
		}
		ends := map[policy.RoleName]time.Time{}
		for _, hold := range policy.Reach(d, subject, now) {
			ends[hold.Role.Name] = hold.Expires
		}
		return ends
	}
	was, is := until(s.was, person.Was), until(s.doc, person.Is)
	for _, role := range slices.Sorted(maps.Keys(is)) {
		switch before, held := was[role]; {
		case !held || !is[role].After(before): // what is gained is said of itself
		case is[role].Equal(endless):
			words = append(words, fmt.Sprintf("%s may ask for %s without an end", name, role))
		default:
			words = append(words, fmt.Sprintf("%s may ask for %s longer: until %s", name, role, day(is[role])))
		}
	}
	return words
}

// endless is later than any end that can be given.
var endless = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// loud says why everybody is told of the change; empty if it is nothing
// special.
func (s state) loud(author Author, benefit string, now time.Time) string {
	var words []string
	if benefit != "" {
		words = append(words, fmt.Sprintf("This benefits its author %s: %s.", author.Name, benefit))
	}
	for _, w := range s.users {
		if s.was != nil && !policy.IsAdmin(s.was, w.was.Subject(User{}), now) && policy.IsAdmin(s.doc, w.want.Subject(User{}), now) {
			words = append(words, fmt.Sprintf("%s becomes an administrator.", w.want.Name))
		}
		if !w.was.Slack.IsZero() && !w.want.Slack.IsZero() && w.was.Slack != w.want.Slack {
			words = append(words, fmt.Sprintf("%s is another account in Slack from now on: %s.", w.want.Name, w.want.Slack))
		}
	}
	words = shortened(words, 5)
	var weaker []string
	for _, d := range s.differences() {
		switch {
		case d.Weakens:
			weaker = append(weaker, d.String())
		case s.was != nil && len(d.Path) == 2 && d.Path[0] == "admins" && d.Kind == policy.Added:
			words = append(words, fmt.Sprintf("The members of %s become administrators.", d.Path[1]))
		}
	}
	if returns := s.back.loud(); returns != "" {
		words = append(words, returns)
	}
	if len(weaker) > 0 {
		words = append(words, "This weakens a rule: "+strings.Join(shortened(weaker, 5), "; ")+".")
	}
	return strings.Join(words, " ")
}

// shortened is lines, but for those past most, which it counts.
func shortened(lines []string, most int) []string {
	if len(lines) <= most {
		return lines
	}
	return append(slices.Clone(lines[:most]), fmt.Sprintf("and %d more", len(lines)-most))
}
