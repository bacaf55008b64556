// Package policy holds Starback's access rules: what may be requested, by
// whom, for how long and on which conditions.
//
// It promises three things. Parsing is strict: a file that is not understood
// whole is refused whole, with positions. A parsed Document never changes.
// Decide is a pure function of its Input: the same Input gives the same
// Decision, and anything missing, empty or unknown denies.
//
// The package imports nothing else of Starback.
package policy

import (
	"regexp"
	"slices"
	"time"
)

// AccountName is the file's own name of an AWS account, such as "prod".
type AccountName string

// GroupName names a Group: a set of users.
type GroupName string

// RoleName names a Role: what may be requested.
type RoleName string

// UserName names a User: a person or an application. It matches
// ^[a-z0-9][a-z0-9._-]{1,31}$ and is never used again once removed.
type UserName string

// Valid says whether n may be a user's name.
func (n UserName) Valid() bool { return userPattern().MatchString(string(n)) }

// Limits that AWS sets on a session. Source: the AssumeRole API reference.
const (
	MinDuration          = 15 * time.Minute // DurationSeconds ≥ 900
	MaxDuration          = 12 * time.Hour   // DurationSeconds ≤ 43,200
	MaxSessionPolicySize = 2048             // characters of minified JSON
	MaxSessionPolicyARNs = 10
)

// Limits that AWS sets on an IAM role. Source: the IAM quotas.
const (
	MaxPermissionsSize = 10_240 // characters of minified JSON, of all inline policies
	MaxPermissionARNs  = 10     // managed policies, unless AWS was asked for more
)

// A Document is one version of the Policy. It is immutable: callers must not
// change what they reach through it.
type Document struct {
	Accounts map[AccountName]Account `json:"accounts"`
	Groups   map[GroupName]Group     `json:"groups"`
	Roles    map[RoleName]*Role      `json:"roles"`
	Admins   []GroupName             `json:"admins"` // groups whose members administer Starback
	Settings Settings                `json:"settings"`
	// Removed names the Groups that were removed, sorted. A name once used is
	// never used again: whoever was a member still is, in name. No file says
	// so: it is for those who put a new Document in the place of another.
	Removed []GroupName `json:"removed,omitempty"`
}

// Settings are the rules that hold for the whole installation.
type Settings struct {
	// BindByEmail lets an unknown Slack identity be bound, once and for good,
	// to the one User with the same confirmed e-mail address.
	BindByEmail bool `json:"bind_by_email,omitempty"`
	// UserLifetime is how long a User lasts whose entry names no expiry.
	UserLifetime time.Duration `json:"user_lifetime"`
	// TokenLifetime is the longest that a Token may last. Zero: 90 days.
	TokenLifetime time.Duration `json:"token_lifetime,omitempty"`
	// TwoAdmins has a change that benefits its author wait for another
	// administrator.
	TwoAdmins bool `json:"two_admins,omitempty"`
	// TicketURL is where tickets are looked up, with {ticket} in the place of
	// the ticket; empty: nowhere. A Role's own goes before it.
	TicketURL string `json:"ticket_url,omitempty"`
}

// TokenCap returns the longest that a Token may last: TokenLifetime, or 90 days
// if that is zero.
func (s Settings) TokenCap() time.Duration {
	if s.TokenLifetime == 0 {
		return defaultTokenLifetime
	}
	return s.TokenLifetime
}

// An Account is an AWS account roles live in.
type Account struct {
	Name      AccountName `json:"name"`
	ID        string      `json:"id"`        // 12 digits
	Partition string      `json:"partition"` // as in ARNs: see Partition
	Region    string      `json:"region,omitempty"`
}

// A Group is a named set of Users and what they were granted.
type Group struct {
	Name GroupName `json:"name"`
	// SlackGroup is the id of a user group of Slack's, which is mentioned to call
	// the members; empty: they are called by name. Who is a member, it does not
	// say. Several Groups may have the same.
	SlackGroup string  `json:"slack_group,omitempty"`
	Grants     []Grant `json:"grants,omitempty"`
}

// A Grant lets its holder request Role, until Expires when that is set.
type Grant struct {
	Role    RoleName  `json:"role"`
	Expires time.Time `json:"expires,omitzero"`
}

// A Role is what may be requested: an IAM role in an account, narrowed by
// session policies, with its rules.
type Role struct {
	Name        RoleName    `json:"name"`
	Description string      `json:"description,omitempty"`
	Account     AccountName `json:"account"`
	AccountID   string      `json:"account_id"`
	Partition   string      `json:"partition"`
	ARN         string      `json:"arn"`
	Region      string      `json:"region,omitempty"` // where STS is called and the console opens; empty: Starback's own
	Includes    []RoleName  `json:"includes,omitempty"`

	MaxDuration     time.Duration `json:"max_duration"`     // of a Request's window
	DefaultDuration time.Duration `json:"default_duration"` // when none is asked for
	ReasonRequired  bool          `json:"reason_required,omitempty"`
	Ticket          *Pattern      `json:"ticket,omitempty"`     // nil: no ticket rule
	TicketURL       string        `json:"ticket_url,omitempty"` // where its tickets are looked up; empty: as the settings say
	Approval        *Approval     `json:"approval,omitempty"`

	SessionPolicy     string   `json:"session_policy,omitempty"` // minified IAM policy JSON
	SessionPolicyARNs []string `json:"session_policy_arns,omitempty"`
	ExternalID        string   `json:"external_id,omitempty"`

	Console     bool   `json:"console,omitempty"`     // make a console link too
	Destination string `json:"destination,omitempty"` // the console page it opens; empty: its home

	// Tags are session tags that AWS is given besides Starback's own three,
	// starback:user, starback:request and starback:role.
	Tags map[string]string `json:"tags,omitempty"`

	// Permissions and PermissionARNs are what the IAM role itself may do: an
	// inline policy, as minified JSON, and managed policies. They are for
	// making the IAM role, and no Session depends on them.
	Permissions    string   `json:"permissions,omitempty"`
	PermissionARNs []string `json:"permission_arns,omitempty"`

	// NoTags and NoSourceIdentity say that the IAM role's trust policy cannot
	// take session tags or a source identity.
	NoTags           bool `json:"no_tags,omitempty"`
	NoSourceIdentity bool `json:"no_source_identity,omitempty"`
}

// An Approval is the rule by which others must agree before a Role is issued.
type Approval struct {
	By          []GroupName   `json:"by"`    // groups whose members may answer
	Count       int           `json:"count"` // how many must agree
	Within      time.Duration `json:"within"`
	ClaimWithin time.Duration `json:"claim_within"`

	// EscalateTo are groups whose members may answer too, and are asked to
	// once EscalateAfter has passed without an end.
	EscalateTo    []GroupName   `json:"escalate_to,omitempty"`
	EscalateAfter time.Duration `json:"escalate_after,omitempty"`
}

// Groups are all groups whose members may answer.
func (a *Approval) Groups() []GroupName { return slices.Concat(a.By, a.EscalateTo) }

// A Pattern is a regular expression that must match the whole of a string.
// The zero Pattern matches nothing.
type Pattern struct {
	source string
	re     *regexp.Regexp
}

// NewPattern compiles source, anchored as ^(?:source)$.
func NewPattern(source string) (*Pattern, error) {
	// Compiled alone first, so that "a)(b" cannot escape the anchors.
	if _, err := regexp.Compile(source); err != nil {
		return nil, err
	}
	re, err := regexp.Compile(`^(?:` + source + `)$`)
	if err != nil {
		return nil, err
	}
	return &Pattern{source: source, re: re}, nil
}

// Match says whether the whole of s matches. The empty string never does.
func (p *Pattern) Match(s string) bool {
	return p != nil && p.re != nil && s != "" && p.re.MatchString(s)
}

// String returns the pattern as it was written, without the anchors.
func (p *Pattern) String() string {
	if p == nil {
		return ""
	}
	return p.source
}

// Equal says whether p and q were written alike.
func (p *Pattern) Equal(q *Pattern) bool {
	return (p == nil) == (q == nil) && p.String() == q.String()
}

// MarshalText implements encoding.TextMarshaler.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.source), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Pattern) UnmarshalText(b []byte) error {
	q, err := NewPattern(string(b))
	if err != nil {
		return err
	}
	*p = *q
	return nil
}
