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

// errLastAdmin refuses what would leave nobody to administer Starback.
func errLastAdmin(d *policy.Document) error {
	return fmt.Errorf("nobody would be left in an admin group (%s): %w", joinNames(d.Admins), ErrInvalid)
}

// keepsAdmin refuses a state in which nobody administers Starback.
func (a *Admin) keepsAdmin(ctx context.Context, s state, now time.Time) error {
	if !s.lastAdmin {
		return nil
	}
	some, err := a.someAdmin(ctx, s.doc, s.users, now)
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
	some, err := a.someAdmin(ctx, doc, nil, now)
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

// self returns the author's own User, before and after; zero if the author is
// not known here.
func (a *Admin) self(ctx context.Context, s state) (wantedUser, error) {
	if a.Author.User == "" {
		return wantedUser{}, nil
	}
	for _, w := range s.users {
		if w.want.Name == a.Author.User {
			return w, nil
		}
	}
	u, err := a.Users.User(ctx, a.Author.User)
	if errors.Is(err, ErrNotFound) {
		return wantedUser{}, nil
	}
	return wantedUser{u, u}, err
}

// benefit says what the author gets from the change, directly or through an
// application of theirs that it names; empty for nothing.
func (s state) benefit(self wantedUser, now time.Time) string {
	if self.want.Name == "" {
		return ""
	}
	var words []string
	if s.was != nil && s.was.Settings.TwoAdmins && !s.doc.Settings.TwoAdmins {
		words = append(words, "no second administrator is needed any more")
	}
	mine := []wantedUser{self}
	for _, w := range s.users {
		if w.want.IsApp && w.want.Owner == self.want.Name {
			mine = append(mine, w)
		}
	}
	for _, w := range mine {
		words = append(words, s.gains(w, self, now)...)
	}
	return strings.Join(words, "; ")
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
	if w.want.Expires.After(w.was.Expires) && w.was.Version > 0 {
		words = append(words, fmt.Sprintf("the access of %s ends later: %s", w.want.Name, day(w.want.Expires)))
	}
	return words
}

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
