package broker

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/starback/starback/broker/policy"
)

// A Surface is the way a Request came in. The idempotency keys of two surfaces
// never meet.
type Surface string

// The surfaces.
const (
	SurfaceCommand Surface = "slack.command" // typed
	SurfaceButton  Surface = "slack.button"  // pressed
	SurfaceForm    Surface = "slack.form"    // filled in
	SurfaceAPI     Surface = "api"           // with a Token
)

// An Ask is what a caller wants, as the surface took it in.
type Ask struct {
	// Caller asks through Slack, or Token stands for whose it is: exactly one.
	Caller  SlackID
	Token   Secret
	Surface Surface
	// Key is the surface's own id of this one ask: repeating it repeats
	// nothing.
	Key      string
	Role     policy.RoleName
	Duration time.Duration // 0: the Role's default
	// Words are what follows role and duration: a ticket, if the Role has a
	// rule for one and the first word matches it, then the reason.
	Words string
	// Link is one of the Words: the link to a message, as the surface itself
	// made it. What somebody typed is none.
	Link string
	// Deadline is when the ask is too late to be of use.
	Deadline time.Time
}

// RequestID names the Request of an ask. It follows from the caller, the
// surface and the key alone, so that a repeated ask finds the first.
func (a Ask) RequestID() string {
	return requestID(a.caller().String(), string(a.Surface), a.Key)
}

func (a Ask) caller() caller { return caller{slack: a.Caller, token: a.Token} }

// A caller is whoever asks: a Slack identity or the bearer of a Token.
type caller struct {
	slack SlackID
	token Secret
	found Facts // of the Token, once it was looked up
}

// check refuses what is no one caller, and a key that could not be kept.
func (c caller) check(key string) error {
	switch {
	case c.slack.IsZero() == c.token.IsZero():
		return fmt.Errorf("no one caller: %w", ErrInvalid)
	case !c.token.IsZero() && c.tokenID() == "":
		return fmt.Errorf("that is not a token of Starback's: %w", ErrInvalid)
	case key == "" || len(key) > maxKey:
		return fmt.Errorf("no usable idempotency key: %w", ErrInvalid)
	}
	return nil
}

// String names the caller, without the secret of a Token. A Token that has not
// the form of one names nobody.
func (c caller) String() string {
	if c.token.IsZero() {
		return c.slack.String()
	}
	id, _ := ParseToken(c.token)
	return "token:" + id
}

// tokenID is the ID of the caller's Token; empty in Slack.
func (c caller) tokenID() string {
	id, _ := ParseToken(c.token)
	return id
}

// contentHash tells two asks under one key apart.
func (a Ask) contentHash() string {
	return digest(string(a.Role), a.Duration.String(), a.Words)
}

// crockford is Crockford's alphabet: no I, L, O or U to misread.
var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// requestIDSize is the length of a Request's ID: 100 bits.
const requestIDSize = 20

func requestID(parts ...string) string {
	raw, _ := hex.DecodeString(digest(parts...))
	return crockford.EncodeToString(raw)[:requestIDSize]
}

// digest hashes parts so that no two lists of parts can be confused.
func digest(parts ...string) string {
	b, err := json.Marshal(parts)
	if err != nil {
		panic(err) // a list of strings always encodes
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// A Request is one ask for a Role for a length of time, with the Sessions
// issued under it. It is stored as one item; every change is one write.
type Request struct {
	ID      string  `json:"id"`
	Hash    string  `json:"hash"` // of the ask's content
	Surface Surface `json:"surface"`
	Slack   SlackID `json:"slack"`
	TokenID string  `json:"token_id,omitempty"` // the Token it came with, instead

	User     policy.UserName `json:"user,omitempty"` // known once identified
	UserID   string          `json:"user_id,omitempty"`
	Role     policy.RoleName `json:"role"`
	Duration time.Duration   `json:"duration,omitempty"` // asked for, then the window's
	Words    string          `json:"words,omitempty"`
	Ticket   string          `json:"ticket,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	// TicketLink is where the Ticket is looked up, by the Policy that decided
	// last. Link is the one of the Words that is a link of the surface's own.
	TicketLink string `json:"ticket_link,omitempty"`
	Link       string `json:"link,omitempty"`

	State     State     `json:"state"`
	AskedAt   time.Time `json:"asked_at"`
	OpenedAt  time.Time `json:"opened_at,omitzero"`  // when the window opened
	WindowEnd time.Time `json:"window_end,omitzero"` // when it ends

	Account       policy.AccountName `json:"account,omitempty"` // its name in the Policy
	AccountID     string             `json:"account_id,omitempty"`
	RoleARN       string             `json:"role_arn,omitempty"`
	Rule          policy.Rule        `json:"rule,omitempty"` // what decided
	PolicyVersion int64              `json:"policy_version,omitempty"`

	Sessions []Session `json:"sessions,omitempty"` // in order of their beginning

	// Once somebody must approve: the rule that says who, a digest of what is
	// to be approved, what was answered, and when it lapses — while pending,
	// without an answer; once approved, without being revealed.
	Needs     *policy.Approval `json:"needs,omitempty"`
	Window    time.Duration    `json:"window,omitempty"` // as it was put to them
	Digest    string           `json:"digest,omitempty"`
	Path      string           `json:"path,omitempty"` // how the requester comes by the Role
	Approvals []Approval       `json:"approvals,omitempty"`
	LapsesAt  time.Time        `json:"lapses_at,omitzero"`

	Version int64 `json:"-"` // 0: not stored yet
	Trail   Trail `json:"trail,omitzero"`
}

// A SessionState is how far an attempt at a Session has come.
type SessionState string

// The states of a Session.
const (
	SessionMinting SessionState = "minting" // a worker holds the lease
	SessionIssued  SessionState = "issued"  // recorded; its credentials may be released
	SessionFailed  SessionState = "failed"  // nothing was released
	SessionLost    SessionState = "lost"    // its worker's lease ended first; never released
	SessionRefused SessionState = "refused" // decided against
	SessionWaited  SessionState = "waited"  // somebody had to approve first; nothing was minted
	LeaseFor                    = 30 * time.Second
)

// A Session is one attempt to issue one set of STS credentials and what came
// of it. It holds no secret.
type Session struct {
	ID      string       `json:"id"`  // a ULID, part of the role session name
	Key     string       `json:"key"` // hash of the ask that wanted it
	State   SessionState `json:"state"`
	BeganAt time.Time    `json:"began_at"`
	Lease   time.Time    `json:"lease"` // when another worker may take over

	AccessKeyID   string    `json:"access_key_id,omitempty"`
	AssumedRoleID string    `json:"assumed_role_id,omitempty"`
	ExpiresAt     time.Time `json:"expires_at,omitzero"`
	Outcome       string    `json:"outcome,omitempty"`  // "ok", a FaultCode or a policy.Rule
	RoleARN       string    `json:"role_arn,omitempty"` // the IAM role it is of, whatever the Role has become since
	Region        string    `json:"region,omitempty"`   // where STS was called, if not in Starback's own
	EndAsked      time.Time `json:"end_asked,omitzero"` // when somebody wanted it ended before its time
	EndBy         string    `json:"end_by,omitempty"`   // who did
	EndFor        SlackID   `json:"end_for,omitzero"`   // their account in Slack, if they have one
	EndedAt       time.Time `json:"ended_at,omitzero"`  // when AWS denied it
	// UndeliveredAt is when it turned out that its credentials may not have been
	// shown.
	UndeliveredAt time.Time `json:"undelivered_at,omitzero"`
}

// Name is the RoleSessionName under which AWS knows the Session: at most 59
// characters, of AWS's 64.
func (s Session) Name(user policy.UserName) string { return string(user) + "@" + s.ID }

// vain says whether nothing came of the Session, and nothing will.
func (s Session) vain() bool { return s.State == SessionFailed || s.State == SessionRefused }

// full says whether the Request has as many Sessions as it may have. One of which
// nothing came makes room.
func (r *Request) full() bool {
	return len(r.Sessions) >= maxSessions && !slices.ContainsFunc(r.Sessions, Session.vain)
}

// session returns the newest Session wanted by key, or nil.
func (r *Request) session(key string) *Session {
	for i := len(r.Sessions) - 1; i >= 0; i-- {
		if r.Sessions[i].Key == key {
			return &r.Sessions[i]
		}
	}
	return nil
}

// clone returns a copy whose lists can be changed without changing r's.
func (r Request) clone() Request {
	r.Sessions = slices.Clone(r.Sessions)
	r.Approvals = slices.Clone(r.Approvals)
	r.Trail.Events = slices.Clone(r.Trail.Events)
	r.Trail.Notices = slices.Clone(r.Trail.Notices)
	return r
}
