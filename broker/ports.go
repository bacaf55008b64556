package broker

import (
	"context"
	"time"

	"github.com/starback/starback/broker/policy"
)

// The seams. Each is declared here, where it is used. Every Put is one
// conditional write of one item: a Version of 0 creates, another replaces
// exactly that version. Where the item there differs, Put returns it as it is
// stored, with ErrConflict. A Put that succeeds returns the item with its new
// Version. Reads are strongly consistent unless they say otherwise. What is
// not there is ErrNotFound; what cannot be reached is ErrUnavailable.

// A Ledger is what issuing reads and writes.
type Ledger interface {
	// Identify reads the Identity, its User and the Policy together. What does
	// not exist is left zero; only failing to look is an error.
	Identify(ctx context.Context, id SlackID) (Facts, error)
	PutRequest(ctx context.Context, r Request) (Request, error)
	Request(ctx context.Context, id string) (Request, error)
}

// A Registry keeps Users and Identities.
type Registry interface {
	User(ctx context.Context, name policy.UserName) (User, error)
	PutUser(ctx context.Context, u User) (User, error)
	// Users calls yield for each User by name, tombstones included, until it
	// returns false. It need not be a snapshot.
	Users(ctx context.Context, yield func(User) bool) error
}

// An IdentityBook keeps what is known of Slack identities.
type IdentityBook interface {
	Identity(ctx context.Context, id SlackID) (Identity, error)
	PutIdentity(ctx context.Context, i Identity) (Identity, error)
	// UsersByEmail returns the Users, tombstones aside, that have the address,
	// given in lower case.
	UsersByEmail(ctx context.Context, email string) ([]User, error)
}

// A RequestBook finds what people have open.
type RequestBook interface {
	// OpenRequests returns a User's Requests that are not over, oldest first:
	// pending, approved, and open with an end, Request.Ends, after now. It may
	// lag behind the newest writes.
	OpenRequests(ctx context.Context, user policy.UserName, now time.Time) ([]Request, error)
}

// A FenceBook keeps the Fences, by the ARN of their IAM role. One that is not
// there reads as zero.
type FenceBook interface {
	Fence(ctx context.Context, roleARN string) (Fence, error)
	PutFence(ctx context.Context, f Fence) (Fence, error)
}

// A PaceBook keeps the Paces, by their Role. One that is not there reads as zero.
type PaceBook interface {
	Pace(ctx context.Context, role policy.RoleName) (Pace, error)
	PutPace(ctx context.Context, p Pace) (Pace, error)
}

// A TokenBook finds the Users of Tokens.
type TokenBook interface {
	// IdentifyToken reads, together, the User whose Token's ID is id, the
	// User's Identity in Slack and Owner, if there are any, and the Policy.
	// What does not exist is left zero; only failing to look is an error.
	IdentifyToken(ctx context.Context, id string) (Facts, error)
	// NameToken says, for good, that the Token of that ID is user's. It is
	// written before the User has the Token; whoever follows it looks at the
	// User. An ID that is another User's is ErrConflict.
	NameToken(ctx context.Context, id string, user policy.UserName) error
}

// A ProposalBook keeps changes that wait for a second administrator.
type ProposalBook interface {
	Proposal(ctx context.Context, id string) (Proposal, error)
	PutProposal(ctx context.Context, p Proposal) (Proposal, error)
	// Proposals calls yield for each, by ID, until it returns false.
	Proposals(ctx context.Context, yield func(Proposal) bool) error
}

// A Head is the newest version of the Policy and how it came about.
type Head struct {
	Version   int64     `json:"version"` // 1 is the first; 0: there is none
	Digest    string    `json:"digest"`  // policy.Document.Digest
	Author    string    `json:"author"`
	Message   string    `json:"message,omitempty"` // why, in the author's words
	Changes   []string  `json:"changes,omitempty"` // from the version before, in words: the first few
	AppliedAt time.Time `json:"applied_at"`
	// How says what made the version, and FileVersion which one, up to this, a
	// policy file made last; 0: none did.
	How         How   `json:"how,omitempty"`
	FileVersion int64 `json:"file_version,omitempty"`
	Trail       Trail `json:"trail,omitzero"`
}

// How says what made a version of the Policy.
type How string

// What makes versions.
const (
	HowInit     How = "init"
	HowFile     How = "file"
	HowCommand  How = "command"
	HowRollback How = "rollback"
)

// A PolicyBook keeps the versions of the Policy.
type PolicyBook interface {
	// Head returns the newest version. Before the first, it is zero and nil.
	Head(ctx context.Context) (Head, *policy.Document, error)
	// PutPolicy stores doc and makes it the head, if the head's version is
	// h.Version-1; otherwise it returns ErrConflict.
	PutPolicy(ctx context.Context, h Head, doc *policy.Document) error
	// Policy returns a version, old or new.
	Policy(ctx context.Context, version int64) (Head, *policy.Document, error)
	// Versions returns the newest versions before one, or of all if that is 0,
	// newest first and at most limit, without their documents.
	Versions(ctx context.Context, before int64, limit int) ([]Head, error)
}

// An Archive is the audit index: append-only, ordered by time.
type Archive interface {
	// Append adds Events. One that is there already, by ID, is left as it is.
	Append(ctx context.Context, events []Event) error
	// Events returns Events in order of ID, which is the order of time. It may
	// lag behind the newest writes.
	Events(ctx context.Context, q EventQuery) ([]Event, error)
}

// An Outbox finds the Trails that need attention and settles them.
type Outbox interface {
	// Pending returns up to limit aggregates whose Trail is due by now, the
	// longest due first. It may lag behind the newest writes. One that cannot
	// be read is left out, and is the error beside the others.
	Pending(ctx context.Context, now time.Time, limit int) ([]Pending, error)
	// Hold puts off when the aggregate of ref is due, from now or before to
	// until. It says false if somebody else did so first: then the aggregate
	// is theirs to pass on. Whatever changes the aggregate ends the hold.
	Hold(ctx context.Context, ref Ref, now, until time.Time) (bool, error)
	// Settle applies s to the Trail of ref, however often it has changed
	// meanwhile.
	Settle(ctx context.Context, ref Ref, s Settlement) error
}

// A Job is work that a surface has accepted. Body is sealed by the surface:
// nobody else reads it.
type Job struct {
	ID       string // the same work twice has the same ID
	Body     []byte
	Deadline time.Time
	Tries    int // times it was claimed before
}

// A Queue takes Jobs in. A Job whose ID is queued already is taken for it.
// A full queue refuses with ErrUnavailable.
type Queue interface {
	Enqueue(ctx context.Context, j Job) error
}

// A Minter makes credentials. Its errors are *Fault, without a RequestID.
type Minter interface {
	// AssumeRole calls STS once (the SDK's own retries aside).
	AssumeRole(ctx context.Context, a Assumption) (Credentials, error)
	// SignIn makes a console link: a capability that AWS honours for 15 minutes.
	SignIn(ctx context.Context, c Credentials, role *policy.Role) (Secret, error)
}

// An Assumption is one AssumeRole call.
type Assumption struct {
	Role           *policy.Role
	SessionName    string
	SourceIdentity string
	Tags           map[string]string
	Duration       time.Duration // the Minter cuts it to 1 h where AWS allows no more
}

// Credentials are one set of temporary credentials.
type Credentials struct {
	AccessKeyID   string
	SecretKey     Secret
	SessionToken  Secret
	ExpiresAt     time.Time
	AssumedRoleID string // AROA…:session name
	Chained       bool   // issued to a role, so AWS caps them at 1 h
}

// A Revoker keeps ended Sessions out of IAM roles. Its errors are *Fault,
// without a RequestID.
type Revoker interface {
	// Fence makes the permissions boundary of an IAM role deny everything to
	// these Sessions, and to no others. A boundary holds so many and no more:
	// it returns how many are denied, from the first on.
	Fence(ctx context.Context, role *policy.Role, ended []Ended) (denied int, err error)
}

// A Directory says what Slack knows of a person, now.
type Directory interface {
	Profile(ctx context.Context, id SlackID) (Profile, error)
}

// A Teller sends Notices.
type Teller interface {
	// Tell sends what is due to be told of one aggregate and returns the
	// thread it went to, if it has one; of a NoticeOutcome that says to reveal,
	// the message itself. Err says what could not be sent; where
	// the receiver asked for patience, it is a *Patience.
	Tell(ctx context.Context, t Telling) (thread string, err error)
}

// A Telling is the Notices of one Kind of one aggregate, with the aggregate
// they are about as it is now.
type Telling struct {
	Kind    NoticeKind
	Now     time.Time
	Notices []Notice
	Thread  string
	Post    string   // the approvals channel's message, once there is one
	Direct  string   // the message that told the requester to reveal, once there is one
	Request *Request // nil unless they are about a Request
	// Where approvers are told of a Request that waits, Asked are the groups whose
	// members are asked to answer it by now, and Approvers those of them who can,
	// by name: the first of them, if there are more than MaxApprovers. Able is how many could answer, asked yet or not; counting
	// stops where it makes no difference. Open is what its requester has open
	// besides.
	Asked     []policy.Group
	Approvers []User
	Able      int
	Open      []Request
	// MayAsk says of a window that ends soon that its requester may ask for the
	// same once more, as things are now.
	MayAsk bool
	// User is who the Notices are about, and To who is told; both nil unless
	// they are about the end of a User's access. An application's owner is told.
	User, To *User
}

// Patience asks for no further try before After has passed. It wraps
// ErrUnavailable.
type Patience struct{ After time.Duration }

// Error describes the case for logs.
func (p *Patience) Error() string { return "asked to wait " + p.After.String() }

// Unwrap returns ErrUnavailable.
func (p *Patience) Unwrap() error { return ErrUnavailable }
