package broker

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/starback/starback/broker/policy"
)

// Mistakes are what is wrong with a policy file where it meets what is stored.
type mistakes struct {
	file  *policy.File
	found []policy.Mistake
}

// err returns what was found as the file's own errors, and ErrInvalid.
func (m *mistakes) err() error {
	if len(m.found) == 0 {
		return nil
	}
	return fmt.Errorf("%w (%w)", m.file.Errors(m.found), ErrInvalid)
}

func (m *mistakes) add(suggestion, message string, path ...string) {
	m.found = append(m.found, policy.Mistake{Path: path, Message: message, Suggestion: suggestion})
}

// removedGroups finds groups whose names were those of groups that are no more.
func (m *mistakes) removedGroups(was *policy.Document) {
	if was == nil {
		return
	}
	for _, name := range was.Removed {
		if _, back := m.file.Document.Groups[name]; back {
			m.add("give it another name", fmt.Sprintf("the name `%s` was a removed group's and is never used again", name), "groups", string(name))
		}
	}
}

// users finds users whose names were those of users who are no more, and
// applications that would outlast their owners.
func (m *mistakes) users(users []wantedUser, stored map[policy.UserName]User) {
	want := map[policy.UserName]User{}
	for _, w := range users {
		want[w.want.Name] = w.want
	}
	for _, spec := range m.file.Users {
		at := []string{"users", string(spec.Name)}
		if stored[spec.Name].Removed {
			m.add("give the user another name", fmt.Sprintf("the name `%s` was a removed user's and is never used again", spec.Name), at...)
		}
		if owner := want[spec.Owner]; spec.App && want[spec.Name].Expires.After(owner.Expires) {
			m.add("leave it out: it ends no later than its owner",
				fmt.Sprintf("the application would outlast its owner `%s`, whose access ends %s", owner.Name, day(owner.Expires)), append(at, "expires")...)
		}
	}
}

// accounts finds what two users would share: an account in Slack, or an e-mail
// address. Among what the file says itself, reading it has found that.
func (m *mistakes) accounts(users []wantedUser, stored map[policy.UserName]User) {
	slack, email := map[SlackID]policy.UserName{}, map[string]policy.UserName{}
	said := map[policy.UserName]policy.User{}
	for _, spec := range m.file.Users {
		said[spec.Name] = spec
	}
	for _, name := range slices.Sorted(maps.Keys(stored)) {
		u := stored[name]
		spec, named := said[name]
		if !u.Removed && !(named && spec.Slack != "") && !u.Slack.IsZero() {
			slack[u.Slack] = name
		}
		if !u.Removed && !named && u.Email != "" {
			email[u.Email] = name
		}
	}
	for _, w := range users {
		spec, named := said[w.want.Name]
		if other, taken := slack[w.want.Slack]; taken && spec.Slack != "" {
			m.shared(other, w.want.Name, "be Slack's "+spec.Slack, "slack")
		}
		if other, taken := email[w.want.Email]; taken && named {
			m.shared(other, w.want.Name, "have the address "+spec.Email, "email")
		}
	}
}

// shared reports what a user of the file would share with another, who is not
// in the file or whose entry leaves it as it is.
func (m *mistakes) shared(other, name policy.UserName, what, key string) {
	m.add(fmt.Sprintf("%s has it now: see `starback user show %s`", other, other),
		fmt.Sprintf("%s and %s would both %s", min(other, name), max(other, name), what), "users", string(name), key)
}

// admins finds that nobody would be left to administer. With other mistakes it
// may only follow from them.
func (m *mistakes) admins(p *Plan, stored map[policy.UserName]User, now time.Time) {
	if len(m.found) > 0 {
		return
	}
	all := maps.Clone(stored)
	for _, w := range p.users {
		all[w.want.Name] = w.want
	}
	for _, u := range all {
		if policy.IsAdmin(p.doc, u.Subject(User{}), now) {
			return
		}
	}
	m.add("somebody in it must be enabled and not have expired", lastAdminMessage(p.doc), "admins")
}
