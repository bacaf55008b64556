package broker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starback/starback/broker/policy"
)

// A User is a person, or an application with an Owner who is a person. Its
// name is its key in the store and is never used again: removing a User leaves
// a tombstone. ID tells two Users apart for ever.
type User struct {
	Name    policy.UserName    `json:"name"`
	ID      string             `json:"id"`
	IsApp   bool               `json:"is_app,omitempty"`
	Owner   policy.UserName    `json:"owner,omitempty"`
	Enabled bool               `json:"enabled"`
	Removed bool               `json:"removed,omitempty"` // a tombstone
	Expires time.Time          `json:"expires"`
	Groups  []policy.GroupName `json:"groups,omitempty"`
	Grants  []policy.Grant     `json:"grants,omitempty"`
	Email   string             `json:"email,omitempty"` // lower case

	// Since when the User has which of Groups and Grants; of one that is not
	// named, that is not known.
	GroupsSince map[policy.GroupName]time.Time `json:"groups_since,omitempty"`
	GrantsSince map[policy.RoleName]time.Time  `json:"grants_since,omitempty"`

	// Slack is the one Identity bound to the User; an Identity that names the
	// User but is not named here is not bound.
	Slack SlackID `json:"slack,omitzero"`
	// Shell is how the User likes credentials written. Empty: not chosen yet.
	Shell Shell `json:"shell,omitempty"`

	Tokens []Token `json:"tokens,omitempty"` // in order of their making

	// Manual names what a command has changed since a policy file last said
	// otherwise: a file that does not say the same is not applied unasked.
	Manual []string `json:"manual,omitempty"`

	CreatedAt time.Time `json:"created_at"`
	Version   int64     `json:"-"` // 0: not stored yet
	Trail     Trail     `json:"trail,omitzero"`
}

// Subject returns what a Decision needs to know of the User, whose Owner is
// owner if it has one. A tombstone is nobody, and answers for nothing.
func (u User) Subject(owner User) policy.Subject {
	if u.Removed {
		return policy.Subject{}
	}
	s := policy.Subject{
		Name: u.Name, Owner: u.Owner, IsApp: u.IsApp, Enabled: u.Enabled,
		Expires: u.Expires, Groups: u.Groups, Grants: u.Grants,
	}
	if u.IsApp && owner.Name == u.Owner && !owner.IsApp && !owner.Removed {
		s.OwnerEnabled, s.OwnerExpires = owner.Enabled, owner.Expires
	}
	return s
}

// RemovedGroups returns those of u's Groups that d lacks. They were removed, and
// are worth nothing unless a rollback brings them back.
func (u User) RemovedGroups(d *policy.Document) (removed []policy.GroupName) {
	for _, g := range u.Groups {
		there := false
		if d != nil {
			_, there = d.Groups[g]
		}
		if !there {
			removed = append(removed, g)
		}
	}
	return removed
}

// ends returns when u's access ends: an application's with its owner's, which is
// zero where nobody is known to answer for it, at the latest.
func (u User) ends(owners time.Time) time.Time {
	if u.IsApp && !u.Removed && !owners.IsZero() && owners.Before(u.Expires) {
		return owners
	}
	return u.Expires
}

// clone returns a copy whose lists can be changed without changing u's.
func (u User) clone() User {
	u.Groups, u.Grants = slices.Clone(u.Groups), slices.Clone(u.Grants)
	u.Tokens, u.Manual = slices.Clone(u.Tokens), slices.Clone(u.Manual)
	u.Trail = u.Trail.clone()
	return u
}

// tombstone is what is left of u once it is removed: the name, which is never
// used again, and what still has to be told.
func (u User) tombstone() User {
	return User{
		Name: u.Name, ID: u.ID, IsApp: u.IsApp, Owner: u.Owner, Removed: true, Expires: u.Expires,
		CreatedAt: u.CreatedAt, Version: u.Version, Trail: u.Trail,
	}
}

// What a policy file and a command may both set of a User.
var userFields = []struct {
	name string
	same func(a, b User) bool
}{
	{"enabled", func(a, b User) bool { return a.Enabled == b.Enabled }},
	{"expires", func(a, b User) bool { return a.Expires.Equal(b.Expires) }},
	{"groups", func(a, b User) bool { return joinNames(a.Groups) == joinNames(b.Groups) }},
	{"grants", func(a, b User) bool { return joinGrants(a.Grants) == joinGrants(b.Grants) }},
	{"slack", func(a, b User) bool { return a.Slack == b.Slack }},
	{"email", func(a, b User) bool { return a.Email == b.Email }},
}

// markManual notes what a command changes of was. Of a tombstone there is nothing
// that a file could say.
func (u *User) markManual(was User) {
	if u.Removed {
		return
	}
	for _, f := range userFields {
		if !f.same(was, *u) && !slices.Contains(u.Manual, f.name) {
			u.Manual = append(u.Manual, f.name)
		}
	}
	slices.Sort(u.Manual)
}

// lacking names what a command has set that the file would set otherwise.
func (w wantedUser) lacking() (fields []string) {
	for _, f := range userFields {
		if slices.Contains(w.was.Manual, f.name) && !f.same(w.was, w.want) {
			fields = append(fields, f.name)
		}
	}
	return fields
}

// A SlackID is a Slack person for good: the enterprise id on Enterprise Grid,
// the team id elsewhere, and the user id. A user id alone is not unique.
type SlackID struct {
	Team string `json:"team"`
	User string `json:"user"`
}

// ParseSlackID reads "T012AB/U0456" or "E012AB/W0456".
func ParseSlackID(s string) (SlackID, error) {
	team, user, ok := strings.Cut(s, "/")
	if !ok || !slackWord(team, "TE") || !slackWord(user, "UW") {
		return SlackID{}, fmt.Errorf("%q is not TEAM/USER as in T012AB/U0456: %w", s, ErrInvalid)
	}
	return SlackID{Team: team, User: user}, nil
}

// slackWord says whether s is a Slack id that starts with one of kinds.
func slackWord(s, kinds string) bool {
	if len(s) < 2 || len(s) > 32 || !strings.ContainsRune(kinds, rune(s[0])) {
		return false
	}
	return strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}

// String returns "T012AB/U0456", or "" for the zero SlackID.
func (id SlackID) String() string {
	if id.IsZero() {
		return ""
	}
	return id.Team + "/" + id.User
}

// IsZero says whether id names nobody.
func (id SlackID) IsZero() bool { return id.Team == "" && id.User == "" }

// bound says whether identity i and User u name each other. Only then is i
// bound to u; a half-made or superseded binding binds nobody.
func bound(i Identity, u User) bool {
	return i.Version > 0 && !i.Slack.IsZero() && i.Slack == u.Slack && i.User == u.Name && i.UserID == u.ID && u.ID != ""
}

// A Shell is a way of writing credentials down.
type Shell string

// The shells, in the order in which they are offered.
const (
	Bash       Shell = "bash" // bash and zsh
	Fish       Shell = "fish"
	PowerShell Shell = "powershell"
	File       Shell = "file" // ~/.aws/credentials
)

// Shells lists every Shell. The first is used until a User chooses.
var Shells = []Shell{Bash, Fish, PowerShell, File}

// A Standing is what Slack says of a person's account.
type Standing string

// The zero Standing is not known, and is refused like every one but Active.
const (
	Active  Standing = "active"
	Guest   Standing = "guest"
	Bot     Standing = "bot"
	Deleted Standing = "deleted"
	Foreign Standing = "foreign" // of another workspace, through Slack Connect
)

// StandingAge is how old a Standing may be when it is relied upon.
const StandingAge = 5 * time.Minute

// An Identity binds a SlackID to exactly one User, and holds the person's
// Standing in Slack as last seen.
type Identity struct {
	Slack    SlackID         `json:"slack"`
	User     policy.UserName `json:"user"`
	UserID   string          `json:"user_id"`
	Standing Standing        `json:"standing,omitempty"`
	SeenAt   time.Time       `json:"seen_at,omitzero"`
	BoundAt  time.Time       `json:"bound_at"`
	BoundBy  string          `json:"bound_by"` // who bound it, or "email"
	Version  int64           `json:"-"`        // 0: not stored yet
}

// A Profile is what Slack's directory says of a person now.
type Profile struct {
	Standing       Standing
	Email          string // lower case
	EmailConfirmed bool
}

// Facts are what the store knows of a caller, read together. A zero Identity,
// User or nil Policy says that there is none.
type Facts struct {
	Identity Identity
	User     User
	Owner    User // of an application
	// Token is the caller's, once it was found good; nil in Slack.
	Token         *Token
	Policy        *policy.Document
	PolicyVersion int64
}

// unusable returns the Decision against a caller who may not use Starback at
// all, or nil.
func (f Facts) unusable(now time.Time) *policy.Decision {
	if d, ok := policy.Usable(f.Policy, f.subject(), now); !ok {
		return &d
	}
	return nil
}

// subject returns what a Decision needs to know of the caller.
func (f Facts) subject() policy.Subject {
	s := f.User.Subject(f.Owner)
	if f.Token != nil {
		s.Limited, s.Only = !f.Token.AnyRole, f.Token.Roles
	}
	return s
}
