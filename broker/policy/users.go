package policy

import (
	"strings"
	"time"
)

// A User is a person or an application, as a policy file lists them.
type User struct {
	Name     UserName    `json:"name"`
	App      bool        `json:"app,omitempty"`
	Owner    UserName    `json:"owner,omitempty"`    // of an application: a person of the same file
	Slack    string      `json:"slack,omitempty"`    // team or enterprise id, "/", user id: "T012AB/U0456"
	Email    string      `json:"email,omitempty"`    // lower case
	Groups   []GroupName `json:"groups,omitempty"`   // sorted
	Grants   []Grant     `json:"grants,omitempty"`   // held directly; sorted by Role
	Expires  time.Time   `json:"expires,omitzero"`   // zero: Settings.UserLifetime after the User is made
	Disabled bool        `json:"disabled,omitempty"` // kept, and may do nothing
}

var (
	userPattern  = expression(`^[a-z0-9][a-z0-9._-]{1,31}$`)
	slackPattern = expression(`^[TE][A-Z0-9]{1,30}/[UW][A-Z0-9]{1,30}$`)
	emailPattern = expression("^[!#-'*+/-9=?A-Z^-~.-]{1,64}@[A-Za-z0-9-]+([.][A-Za-z0-9-]+)+$")
)

// ValidEmail says whether s may be a user's e-mail address.
func ValidEmail(s string) bool { return emailPattern().MatchString(s) }

func (p *parser) user(e entry) User {
	f := p.form("the user "+quote(e.key), e.value,
		"slack", "email", "groups", "grants", "expires", "disabled", "app", "owner")
	return User{
		Name:     UserName(e.key),
		App:      f.bool("app", false),
		Owner:    UserName(f.text("owner")),
		Slack:    f.text("slack"),
		Email:    strings.ToLower(f.text("email")),
		Groups:   sorted(names[GroupName](f, "groups")),
		Grants:   sortGrants(f.grants()),
		Expires:  f.instant("expires"),
		Disabled: f.bool("disabled", false),
	}
}

// checkUsers checks the users of a file against each other and its policy.
func checkUsers(d *Document, users []User) []finding {
	c := &checker{doc: d}
	byName := map[UserName]User{}
	var people []UserName
	for _, u := range users {
		byName[u.Name] = u
		if !u.App {
			people = append(people, u.Name)
		}
	}
	bySlack, byEmail := map[string]UserName{}, map[string]UserName{}
	for _, u := range users {
		at := func(steps ...string) []string { return append([]string{"users", string(u.Name)}, steps...) }
		if !userPattern().MatchString(string(u.Name)) {
			c.add(at(), nameLike(string(u.Name), userPattern()), "the name of a user must match %s", userPattern())
		}
		if u.Slack != "" && !slackPattern().MatchString(u.Slack) {
			c.add(at("slack"), hint("write team/user, as in T012AB/U0456"), "%s is not a Slack identity", quote(u.Slack))
		}
		if u.Email != "" && !ValidEmail(u.Email) {
			c.add(at("email"), hint("write it as in alice@example.com"), "%s is not an e-mail address", quote(u.Email))
		}
		c.unshared(at("slack"), bySlack, u.Slack, u.Name)
		c.unshared(at("email"), byEmail, u.Email, u.Name)
		for _, group := range u.Groups {
			c.group(at("groups", string(group)), group)
		}
		c.grants(at("grants"), u.Grants)

		owner, known := byName[u.Owner]
		switch {
		case !u.App && u.Owner != "":
			c.add(at("owner"), hint("add app: true"), "only an application has an owner")
		case u.App && u.Owner == "":
			c.missing(at(), hint("add it, with a person from `users`"), "the application %s has no `owner`", quote(string(u.Name)))
		case u.App && (!known || owner.App):
			c.add(at("owner"), didYouMean(string(u.Owner), people, "name a person from `users`"), "the owner %s is not a person in this file", quote(string(u.Owner)))
		case u.App && !owner.Expires.IsZero() && u.Expires.After(owner.Expires):
			c.add(at("expires"), hint("leave it out: it ends no later than its owner"),
				"the application would outlast its owner %s, whose access ends %s", quote(string(u.Owner)), instantText(owner.Expires))
		}
		if u.App && u.Slack != "" {
			c.add(at("slack"), hint("take it out, or app: true"), "an application has no Slack identity")
		}
		if u.App && u.Email != "" {
			c.add(at("email"), hint("take it out, or app: true"), "an application has no e-mail address")
		}
	}
	return c.found
}

// unshared reports an identity that another user has.
func (c *checker) unshared(at []string, owners map[string]UserName, id string, name UserName) {
	if id == "" {
		return
	}
	if other, taken := owners[id]; taken {
		c.add(at, hint("take it from one of the two"), "%s belongs to %s", quote(id), quote(string(other)))
		return
	}
	owners[id] = name
}
