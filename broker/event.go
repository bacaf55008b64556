package broker

import (
	"slices"
	"time"

	"github.com/starback/starback/broker/policy"
)

// An Event is one line of the audit trail: the same in the store, in the log
// and in the audit channel. A field that is not known is absent, never empty.
type Event struct {
	ID    string    `json:"id"`
	Event EventName `json:"event"`
	Time  time.Time `json:"time"`

	Actor         string          `json:"actor,omitempty"`          // the User's name, or an administrator's account
	Slack         string          `json:"slack,omitempty"`          // the SlackID that acted
	Subject       string          `json:"subject,omitempty"`        // the User an administrative Event is about
	RequestID     string          `json:"request_id,omitempty"`     //
	SessionID     string          `json:"session_id,omitempty"`     //
	Role          policy.RoleName `json:"role,omitempty"`           //
	AccountID     string          `json:"account_id,omitempty"`     //
	RoleARN       string          `json:"role_arn,omitempty"`       //
	Duration      int64           `json:"duration_s,omitempty"`     // seconds
	Ticket        string          `json:"ticket,omitempty"`         //
	Reason        string          `json:"reason,omitempty"`         // in the requester's words
	Decision      string          `json:"decision,omitempty"`       // policy.Effect
	Rule          policy.Rule     `json:"rule,omitempty"`           //
	Path          string          `json:"path,omitempty"`           //
	PolicyVersion int64           `json:"policy_version,omitempty"` //
	AccessKeyID   string          `json:"access_key_id,omitempty"`  //
	AssumedRoleID string          `json:"assumed_role_id,omitempty"`
	SourceID      string          `json:"source_identity,omitempty"`
	ExpiresAt     time.Time       `json:"expires_at,omitzero"`
	Outcome       string          `json:"outcome,omitempty"` // "ok", or a FaultCode
	Detail        string          `json:"detail,omitempty"`  // one plain sentence; never an error's own text
	TokenID       string          `json:"token_id,omitempty"`
	ProposalID    string          `json:"proposal_id,omitempty"`
	// Loud says why everybody should look: the change benefits its author,
	// brings a removed group back, or weakens a rule.
	Loud string `json:"loud,omitempty"`
}

// EventName says what happened. Names are added to, never changed.
type EventName string

// What happens.
const (
	EventAsked         EventName = "request.asked"       // the intent, before anything is decided
	EventDenied        EventName = "request.denied"      //
	EventTakenOver     EventName = "request.taken_over"  // an attempt died; another worker carries on
	EventIssued        EventName = "session.issued"      // credentials exist and may be released
	EventFailed        EventName = "session.failed"      // nothing was released
	EventUndelivered   EventName = "session.undelivered" // issued, but nobody saw the credentials
	EventLookupDenied  EventName = "lookup.denied"       // a question other than a Request, refused
	EventClosed        EventName = "request.closed"      // its window is over
	EventEndAsked      EventName = "session.end_asked"   // to be ended before their time
	EventEnded         EventName = "session.ended"       // AWS denies them
	EventPending       EventName = "request.pending"     // put to approvers
	EventApproved      EventName = "approval.given"      // by one of them
	EventDeclined      EventName = "approval.declined"   // and with that the Request
	EventAnswerDenied  EventName = "approval.denied"     // somebody who may not answer, or not use it
	EventWithdrawn     EventName = "request.withdrawn"
	EventLapsed        EventName = "request.lapsed"
	EventVoid          EventName = "request.void" // it is not what was asked any more
	EventIdentityBound EventName = "identity.bound"
	EventStanding      EventName = "identity.standing"
	EventUserCreated   EventName = "user.created"
	EventUserChanged   EventName = "user.changed"
	EventUserDisabled  EventName = "user.disabled"
	EventUserEnabled   EventName = "user.enabled"
	EventUserRenewed   EventName = "user.renewed" // their access ends at another time
	EventUserRemoved   EventName = "user.removed"
	EventTokenCreated  EventName = "token.created"
	EventTokenRevoked  EventName = "token.revoked"
	EventPolicyChanged EventName = "policy.changed" // by a command
	EventProposed      EventName = "change.proposed"
	EventConfirmed     EventName = "change.confirmed"
	EventRejected      EventName = "change.rejected"
	EventPolicyApplied EventName = "policy.applied" // from a file

	EventPolicyRolledBack EventName = "policy.rolled_back"
	EventInitialised      EventName = "starback.initialised"
	OutcomeOK                       = "ok"
	ActorUnknown                    = "unknown"
	ActorStarback                   = "starback" // by itself, as its rules say
	auditKind                       = "starback.audit"
	metricsKind                     = "starback.metrics"
	metricsNamespace                = "Starback"
)

// A Notice is something to tell someone, at Due or after. What it says is
// rendered when it is sent, from the state as it then is.
type Notice struct {
	ID    string     `json:"id"`
	Kind  NoticeKind `json:"kind"`
	Due   time.Time  `json:"due"`
	Tries int        `json:"tries,omitempty"`
	Event *Event     `json:"event,omitempty"` // what it is about
	About time.Time  `json:"about,omitzero"`  // the moment it tells of
}

// A NoticeKind says whom a Notice goes to.
type NoticeKind string

const (
	// NoticeAudit goes to the audit channel.
	NoticeAudit NoticeKind = "audit"
	// NoticeUndelivered tells the requester that credentials were issued but
	// could not be shown, and to ask again.
	NoticeUndelivered NoticeKind = "undelivered"
	// NoticeApproval has the approvals channel's message say how a Request
	// stands.
	NoticeApproval NoticeKind = "approval"
	// NoticeRemind reminds approvers of a Request that waits.
	NoticeRemind NoticeKind = "remind"
	// NoticeEscalate tells the second group of approvers of a Request that waits.
	NoticeEscalate NoticeKind = "escalate"
	// NoticeOutcome tells the requester how a Request stands.
	NoticeOutcome NoticeKind = "outcome"
	// NoticeOver has the message that told the requester to reveal say how the
	// Request stands, now that it is over. It sends no message of its own.
	NoticeOver NoticeKind = "over"
	// NoticeLapse tells nobody: it is when a Request lapses.
	NoticeLapse NoticeKind = "lapse"
	// NoticeClose tells nobody: it is when a Request's window is over.
	NoticeClose NoticeKind = "close"
	// NoticeFence tells nobody: it is when Sessions that are to be ended are
	// tried again, of a Request or of a User who was switched off.
	NoticeFence NoticeKind = "fence"
	// NoticePace tells nobody: it is when a Request that people have answered is
	// counted in the Pace of its Role.
	NoticePace NoticeKind = "pace"
	// NoticeEnded tells the account of its Event that Sessions were ended: a
	// requester, if somebody else wanted it, or whoever did, if it took long.
	NoticeEnded NoticeKind = "ended"
	// NoticeEnding tells the requester that a window is about to end.
	NoticeEnding NoticeKind = "ending"
	// NoticeExpiring tells a User, or an application's owner, that their access
	// ends soon.
	NoticeExpiring NoticeKind = "expiring"
)

// forApprovers says whether Notices of that kind go to the approvals channel.
func (k NoticeKind) forApprovers() bool {
	return k == NoticeApproval || k == NoticeRemind || k == NoticeEscalate
}

// A Trail is what an aggregate still has to pass on: Events that the audit
// index lacks, and Notices not sent. It is written with the change it tells
// of, in one write, and swept until it is empty.
type Trail struct {
	Events  []Event  `json:"events,omitempty"`
	Notices []Notice `json:"notices,omitempty"`
	Thread  string   `json:"thread,omitempty"` // the audit channel's message for the aggregate, once posted
	Post    string   `json:"post,omitempty"`   // the approvals channel's
	// Direct is the message to the requester of a Request that was approved, which
	// says so: as the Teller names it, the conversation with it.
	Direct string `json:"direct,omitempty"`
}

// IsZero says whether the Trail holds nothing at all.
func (t Trail) IsZero() bool {
	return len(t.Events) == 0 && len(t.Notices) == 0 && t.Thread == "" && t.Post == "" && t.Direct == ""
}

// Due returns when the Trail next needs attention; ok is false for never. It
// is when the first Notice is due. An Event is due with the Notice of its ID,
// and without one at once.
func (t Trail) Due() (due time.Time, ok bool) {
	told := map[string]bool{}
	for _, n := range t.Notices {
		told[n.ID] = true
		if !ok || n.Due.Before(due) {
			due, ok = n.Due, true
		}
	}
	for _, e := range t.Events {
		if !told[e.ID] {
			return time.Unix(0, 0).UTC(), true
		}
	}
	return due, ok
}

// clone returns a copy whose lists can be changed without changing t's.
func (t Trail) clone() Trail {
	t.Events, t.Notices = slices.Clone(t.Events), slices.Clone(t.Notices)
	return t
}

// add puts e on the Trail, with a Notice for the audit channel due at due.
func (t *Trail) add(e Event, due time.Time) {
	t.Events = append(t.Events, e)
	t.Notices = append(t.Notices, Notice{ID: e.ID, Kind: NoticeAudit, Due: due, Event: &e})
}

// A Ref names an aggregate that carries a Trail.
type Ref struct {
	Kind RefKind
	Key  string
}

// RefKind is the kind of an aggregate.
type RefKind string

// The aggregates that carry a Trail. The Key of a Request is its ID, of a User
// the name, of the Policy head its version in decimal.
const (
	RefRequest RefKind = "request"
	RefUser    RefKind = "user"
	RefPolicy  RefKind = "policy"
	// RefProposal's Key is the Proposal's ID.
	RefProposal RefKind = "proposal"
)

// Pending is an aggregate whose Trail needs attention.
type Pending struct {
	Ref   Ref
	Trail Trail
}

// A Settlement takes off a Trail what has been passed on. It is idempotent,
// and leaves alone what was added meanwhile.
type Settlement struct {
	Indexed []string          // ids of Events now in the audit index
	Told    []string          // ids of Notices sent
	Later   map[string]Notice // Notices to try again, by id, with their new Due and Tries
	Thread  string            // set, when not empty
	Post    string            // likewise
	Direct  string            // likewise
}

// Apply returns t with s taken off.
func (s Settlement) Apply(t Trail) Trail {
	out := Trail{Thread: t.Thread, Post: t.Post, Direct: t.Direct}
	if s.Thread != "" {
		out.Thread = s.Thread
	}
	if s.Post != "" {
		out.Post = s.Post
	}
	if s.Direct != "" {
		out.Direct = s.Direct
	}
	indexed, told := setOf(s.Indexed), setOf(s.Told)
	for _, e := range t.Events {
		if !indexed[e.ID] {
			out.Events = append(out.Events, e)
		}
	}
	for _, n := range t.Notices {
		if told[n.ID] {
			continue
		}
		if later, ok := s.Later[n.ID]; ok {
			n.Due, n.Tries = later.Due, later.Tries
		}
		out.Notices = append(out.Notices, n)
	}
	return out
}

func setOf(ids []string) map[string]bool {
	set := make(map[string]bool, len(ids))
	for _, id := range ids {
		set[id] = true
	}
	return set
}

// An EventQuery chooses Events from the audit index. Empty fields choose all.
type EventQuery struct {
	RequestID   string
	AccessKeyID string
	Actor       string
	Role        policy.RoleName
	Since       time.Time
	Until       time.Time // exclusive
	After       string    // the ID of the last Event of the page before
	Limit       int       // at most this many; 0: 100
}
