package broker

import "fmt"

// A State is how far a Request has come.
type State string

// The states. What is asked is decided at once: issued, denied or put to
// approvers. What they approve is open from when its credentials are revealed.
const (
	StateAsked     State = "asked"     // recorded, and nothing decided yet
	StatePending   State = "pending"   // waits for approvers
	StateApproved  State = "approved"  // waits for its requester to reveal it
	StateOpen      State = "open"      // Sessions may be issued under it
	StateDenied    State = "denied"    // by the Policy, or by an approver
	StateWithdrawn State = "withdrawn" // by its requester
	StateLapsed    State = "lapsed"    // not answered, or not revealed, in time
	StateVoid      State = "void"      // approved or not, it is not what was asked any more
	StateClosed    State = "closed"    // its window is over, or nothing could be issued
)

// A step leads a Request from one State to another.
type step string

// The steps.
const (
	stepDeny     step = "deny"     // the Policy says no
	stepPut      step = "put"      // to approvers
	stepIssue    step = "issue"    // a Session is issued
	stepFail     step = "fail"     // nothing can be issued
	stepApprove  step = "approve"  // by the last approver needed
	stepDecline  step = "decline"  // by an approver
	stepWithdraw step = "withdraw" //
	stepLapse    step = "lapse"    // time is up
	stepVoid     step = "void"     // decided again, and otherwise
	stepClose    step = "close"    // the window ends
)

// transitions is the Request's state machine: every step there is. Nothing
// leads out of a State that is not listed.
var transitions = map[State]map[step]State{
	StateAsked: {
		stepDeny: StateDenied, stepPut: StatePending, stepIssue: StateOpen, stepFail: StateClosed,
	},
	StatePending: {
		stepApprove: StateApproved, stepDecline: StateDenied, stepWithdraw: StateWithdrawn, stepLapse: StateLapsed, stepVoid: StateVoid,
	},
	StateApproved: {
		stepIssue: StateOpen, stepWithdraw: StateWithdrawn, stepLapse: StateLapsed, stepVoid: StateVoid,
	},
	StateOpen: {
		stepIssue: StateOpen, stepClose: StateClosed,
	},
}

// Over says whether nothing can come of the Request any more.
func (s State) Over() bool { return len(transitions[s]) == 0 }

// move takes a step. One that does not lead on from here is a mistake of the
// program's, and changes nothing.
func (r *Request) move(s step) error {
	next, ok := transitions[r.State][s]
	if !ok {
		return fmt.Errorf("request %s is %s: no step %q leads on: %w", r.ID, r.State, s, ErrConflict)
	}
	r.State = next
	return nil
}
