package sandbox

import (
	"context"
	"slices"
	"time"
)

// Call is one call that the sandbox's AWS received. It never holds a secret.
type Call struct {
	Time        time.Time
	Service     string // "sts", "ssm" or "signin"
	Action      string // as the service names it: AssumeRole, GetParameter, getSigninToken
	AccessKeyID string // the key the caller claims, verified or not; the session's for login; empty if none

	// What AssumeRole was asked for.
	RoleARN        string
	SessionName    string
	SourceIdentity string
	Tags           map[string]string
	Duration       time.Duration // 1 h, AWS's default, if the call gave none
	Policy         string
	PolicyARNs     []string

	// ErrorCode is the code of the refusal or of the fault, or one of
	// "Dropped", "Garbage" and "Canceled" (the caller left during a delay). It
	// is empty for a call that succeeded.
	ErrorCode string

	// What AssumeRole issued. After a fault with After set, these are present
	// beside an ErrorCode: the session exists, but the caller was not told.
	IssuedAccessKeyID string
	AssumedRoleID     string
}

// Calls returns the calls answered so far, in the order of their answers. A
// call is there before its answer leaves.
func (a *AWS) Calls() []Call {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.calls)
}

// ResetCalls forgets the calls made so far.
func (a *AWS) ResetCalls() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = nil
}

// record adds a finished call.
func (a *AWS) record(c Call) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, c)
}

// Fault is something that goes wrong with a call. A Fault that sets nothing but
// Delay delays a call that otherwise goes its way.
type Fault struct {
	// Delay passes, in real time, before the work, or after it if After is set.
	// It ends early if the caller goes away, and then nothing more is done.
	Delay time.Duration

	// A Code makes an error in the form of the service called. Status is its
	// HTTP status, 500 if zero.
	Status  int
	Code    string
	Message string

	// Drop closes the connection without an answer.
	Drop bool

	// Garbage answers 200 with a web page, as a proxy in the way would.
	Garbage bool

	// After does the work first and fails then: whatever was asked for has
	// happened, and the caller cannot know.
	After bool
}

// SetFault sets a hook that is asked about every call, by the names that [Call]
// uses. It returns the fault of that call, or nil for none. It may be called by
// several goroutines at once. A nil hook removes it.
func (a *AWS) SetFault(fault func(service, action string) *Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fault = fault
}

// faultOf asks the hook, without holding a.mu: the hook may call methods of a.
func (a *AWS) faultOf(service, action string) Fault {
	a.mu.Lock()
	hook := a.fault
	a.mu.Unlock()
	if hook == nil {
		return Fault{}
	}
	f := hook(service, action)
	if f == nil {
		return Fault{}
	}
	return *f
}

// errorCode is what a Call says of the fault, empty if the fault lets the call
// succeed.
func (f Fault) errorCode() string {
	switch {
	case f.Drop:
		return "Dropped"
	case f.Garbage:
		return "Garbage"
	case f.Code == "" && f.Status != 0:
		return "InternalFailure"
	default:
		return f.Code
	}
}

// wait waits for the fault's delay. It returns ctx's error if that ends first.
func (f Fault) wait(ctx context.Context) error {
	if f.Delay <= 0 {
		return nil
	}
	t := time.NewTimer(f.Delay)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
