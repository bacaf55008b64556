package broker

import (
	"errors"
	"fmt"
	"time"

	"github.com/starback/starback/broker/policy"
)

// Every error that leaves broker wraps one of these.
var (
	// ErrInvalid: what was asked makes no sense. Asking again changes nothing.
	ErrInvalid = errors.New("invalid")
	// ErrDenied: understood and refused.
	ErrDenied = errors.New("denied")
	// ErrNotFound: there is no such thing.
	ErrNotFound = errors.New("not found")
	// ErrConflict: somebody else changed it first, or it was done already.
	ErrConflict = errors.New("conflict")
	// ErrUnavailable: a neighbour failed. Nothing was released; ask again.
	ErrUnavailable = errors.New("unavailable")
)

// ErrWaiting says that what was asked is understood, and that somebody must
// approve it first.
var ErrWaiting = errors.New("waiting for approval")

// A Waiting answers a Request that somebody must approve. It wraps ErrWaiting.
type Waiting struct{ Request Request }

// Error describes the case for logs.
func (w *Waiting) Error() string { return fmt.Sprintf("request %s: %v", w.Request.ID, ErrWaiting) }

// Unwrap returns ErrWaiting.
func (w *Waiting) Unwrap() error { return ErrWaiting }

// A Settled answers whoever wants to answer or use a Request that is past it,
// with the Request as it is. It wraps ErrConflict.
type Settled struct{ Request Request }

// Error describes the case for logs.
func (s *Settled) Error() string {
	return fmt.Sprintf("request %s is %s already: %v", s.Request.ID, s.Request.State, ErrConflict)
}

// Unwrap returns ErrConflict.
func (s *Settled) Unwrap() error { return ErrConflict }

// A Refusal is a denial: a Decision that went against the caller, and the
// Request it was recorded under. It wraps ErrDenied.
type Refusal struct {
	RequestID string
	Decision  policy.Decision
	Asked     policy.Asked
	MayAsk    []policy.RoleName // what the caller may ask for instead
}

// Error names the rule. It is for logs; people are told in their own words.
func (r *Refusal) Error() string {
	return fmt.Sprintf("request %s: %s: %v", r.RequestID, r.Decision.Rule, ErrDenied)
}

// Unwrap returns ErrDenied.
func (r *Refusal) Unwrap() error { return ErrDenied }

// A FaultCode says which neighbour failed, and how.
type FaultCode string

// What can go wrong between a good Request and its credentials.
const (
	FaultStore          FaultCode = "store"           // the store did not answer or refused
	FaultDirectory      FaultCode = "slack.directory" // Slack could not say who the caller is
	FaultRecord         FaultCode = "store.record"    // minted, but the outcome could not be recorded: withheld
	FaultLost           FaultCode = "attempt.lost"    // another worker took the attempt over: withheld
	FaultOver           FaultCode = "request.over"    // the Request ended while AWS answered: withheld
	FaultBase           FaultCode = "aws.base"        // Starback's own base credentials are missing or refused
	FaultAccess         FaultCode = "aws.access"      // AWS refuses the AssumeRole
	FaultThrottled      FaultCode = "aws.throttled"
	FaultRegion         FaultCode = "aws.region"      // STS is not enabled for the account in that Region
	FaultPackedPolicy   FaultCode = "aws.policy_size" // session policies and tags are too large together
	FaultSessionPolicy  FaultCode = "aws.policy"      // AWS refuses the session policy
	FaultDuration       FaultCode = "aws.duration"    // longer than the IAM role itself allows
	FaultAWS            FaultCode = "aws"             // AWS failed otherwise
	FaultTimeout        FaultCode = "timeout"         // no answer in time
	FaultSignIn         FaultCode = "aws.signin"      // no console link; the keys are good
	FaultExpiredRequest FaultCode = "request.late"    // the Job's deadline passed
	FaultNoBoundary     FaultCode = "aws.no_boundary" // the IAM role has none: its Sessions can't be ended early
	FaultBoundaryFull   FaultCode = "aws.boundary"    // it denies as many Sessions as it holds
)

// A Fault is a neighbour's failure, with the Request it was recorded under. It
// wraps ErrUnavailable and the cause. The cause is for logs.
type Fault struct {
	RequestID string
	Code      FaultCode
	Err       error
}

// Error describes the Fault for logs.
func (f *Fault) Error() string {
	if f.RequestID == "" {
		return fmt.Sprintf("%s: %v", f.Code, f.Err)
	}
	return fmt.Sprintf("request %s: %s: %v", f.RequestID, f.Code, f.Err)
}

// Unwrap returns ErrUnavailable and the cause.
func (f *Fault) Unwrap() []error { return []error{ErrUnavailable, f.Err} }

// An AlreadyIssued answers an ask that was finished before, well or not: nothing
// is minted for it again. It wraps ErrConflict.
type AlreadyIssued struct {
	RequestID string
	Issued    bool        // whether credentials were issued for this very ask
	State     State       // of the Request, as it is now
	Rule      policy.Rule // what decided last
}

// Error describes the case for logs.
func (a *AlreadyIssued) Error() string {
	return fmt.Sprintf("request %s: finished already: %v", a.RequestID, ErrConflict)
}

// Unwrap returns ErrConflict.
func (a *AlreadyIssued) Unwrap() error { return ErrConflict }

// A KeyReused answers an ask that has the key of another, and wants something
// else. It wraps ErrInvalid.
type KeyReused struct{ RequestID string }

// Error describes the case for logs.
func (k *KeyReused) Error() string {
	return fmt.Sprintf("request %s: the same key with another content: %v", k.RequestID, ErrInvalid)
}

// Unwrap returns ErrInvalid.
func (k *KeyReused) Unwrap() error { return ErrInvalid }

// A Busy answers a Request that another worker is carrying out now. Come back
// at Until, when its lease has ended. It wraps ErrConflict.
type Busy struct {
	RequestID string
	Until     time.Time
	stale     bool // the Request changed meanwhile, and may be free
}

// Error describes the case for logs.
func (b *Busy) Error() string {
	return fmt.Sprintf("request %s: in progress: %v", b.RequestID, ErrConflict)
}

// Unwrap returns ErrConflict.
func (b *Busy) Unwrap() error { return ErrConflict }
