package broker_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/sandbox"
)

// awsFaults are the ways in which AWS fails, and what broker calls them.
var awsFaults = []struct {
	name  string
	fault sandbox.Fault
	want  broker.FaultCode
}{
	{"access denied", sandbox.Fault{Status: 403, Code: "AccessDenied", Message: "not authorized"}, broker.FaultAccess},
	{"throttled", sandbox.Fault{Status: 400, Code: "Throttling", Message: "Rate exceeded"}, broker.FaultThrottled},
	{"region off", sandbox.Fault{Status: 403, Code: "RegionDisabledException"}, broker.FaultRegion},
	{"policies too large", sandbox.Fault{Status: 400, Code: "PackedPolicyTooLarge"}, broker.FaultPackedPolicy},
	{"policy malformed", sandbox.Fault{Status: 400, Code: "MalformedPolicyDocument"}, broker.FaultSessionPolicy},
	{"base expired", sandbox.Fault{Status: 403, Code: "ExpiredToken"}, broker.FaultBase},
	{"base unknown", sandbox.Fault{Status: 403, Code: "InvalidClientTokenId"}, broker.FaultBase},
	{"too long for the IAM role", sandbox.Fault{Status: 400, Code: "ValidationError", Message: "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."}, broker.FaultDuration},
	{"invalid otherwise", sandbox.Fault{Status: 400, Code: "ValidationError", Message: "roleArn is invalid"}, broker.FaultAWS},
	{"500", sandbox.Fault{Status: 500}, broker.FaultAWS},
	{"dropped", sandbox.Fault{Drop: true}, broker.FaultAWS},
	{"garbage", sandbox.Fault{Garbage: true}, broker.FaultAWS},
	{"fails after the work", sandbox.Fault{Code: "InternalFailure", After: true}, broker.FaultAWS},
	{"dropped after the work", sandbox.Fault{Drop: true, After: true}, broker.FaultAWS},
}

// on is a hook that fails one action.
func on(action string, f sandbox.Fault) func(string, string) *sandbox.Fault {
	return func(_, called string) *sandbox.Fault {
		if called == action {
			return &f
		}
		return nil
	}
}

// Invariant 8: whatever fails at AWS, the caller gets one Fault that names the
// Request, and the trail says what it was.
func TestEveryFailureOfAWSIsNamedAndRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range awsFaults {
		t.Run(tt.name, func(t *testing.T) {
			w.aws.SetFault(on("AssumeRole", tt.fault))
			ask := w.ask(tt.name, "readonly")
			got, err := w.Issue(t.Context(), ask)
			var fault *broker.Fault
			if !errors.As(err, &fault) || fault.Code != tt.want || fault.RequestID != ask.RequestID() || !errors.Is(err, broker.ErrUnavailable) {
				t.Errorf("err = %v, want %q", err, tt.want)
			}
			if released(got) {
				t.Error("credentials beside an error")
			}
			w.failed(t, ask, tt.want)
		})
	}
}

// failed checks that an ask is recorded as failed by code.
func (w *world) failed(t *testing.T, ask broker.Ask, code broker.FaultCode) {
	t.Helper()
	r := w.request(t, ask.RequestID())
	if r.State != broker.StateClosed || r.User != "alice" || r.Sessions[0].State != broker.SessionFailed || r.Sessions[0].Outcome != string(code) {
		t.Errorf("request %+v", r)
	}
	if e := r.Trail.Events; len(e) != 2 || e[1].Event != broker.EventFailed || e[1].Outcome != string(code) || e[1].AccessKeyID != "" {
		t.Errorf("trail %+v", e)
	}
}

// AWS that does not answer in the time there is counts as timed out.
func TestAWSTooSlow(t *testing.T) {
	w := newWorld(t)
	w.mustIssue(t, w.ask("1", "plain"))
	for _, after := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		w.aws.SetFault(func(_, action string) *sandbox.Fault {
			cancel() // the time is over once AWS has the call
			return &sandbox.Fault{Delay: time.Hour, After: after}
		})
		ask := w.ask(fmt.Sprint("after the work: ", after), "plain")
		if _, err := w.Issue(ctx, ask); faultCode(err) != broker.FaultTimeout {
			t.Errorf("after the work (%v): %v", after, err)
		}
		w.failed(t, ask, broker.FaultTimeout)
	}
}

// The call's time is what the lease leaves, less a margin to record in.
func TestAWSIsGivenNoMoreThanTheLease(t *testing.T) {
	w := newWorld(t)
	var assume, signIn time.Duration
	w.minter.onAssume = func(ctx context.Context, _ broker.Assumption) { assume = left(ctx) }
	w.minter.onSignIn = func(ctx context.Context) { signIn = left(ctx) }
	w.mustIssue(t, w.ask("1", "readonly"))
	if most := broker.LeaseFor - 10*time.Second; assume <= 0 || assume > most {
		t.Errorf("AssumeRole was given %v, want at most %v", assume, most)
	}
	if signIn <= 0 || signIn > 8*time.Second {
		t.Errorf("sign-in was given %v, want at most 8 s", signIn)
	}
}

func left(ctx context.Context) time.Duration {
	at, ok := ctx.Deadline()
	if !ok {
		return math.MaxInt64
	}
	return time.Until(at)
}

// Without the console link the keys are good.
func TestSignInDown(t *testing.T) {
	faults := map[string]sandbox.Fault{
		"500":     {Status: 500},
		"400":     {Status: 400, Code: "BadRequest"},
		"dropped": {Drop: true},
		"garbage": {Garbage: true},
	}
	w := newWorld(t)
	for name, fault := range faults {
		w.aws.SetFault(on("getSigninToken", fault))
		got, err := w.Issue(t.Context(), w.ask(name, "readonly"))
		if err != nil || got.Credentials.SecretKey.IsZero() || !got.Console.IsZero() || faultCode(got.ConsoleErr) != broker.FaultSignIn {
			t.Errorf("%s: err = %v, console %v", name, err, got.ConsoleErr)
		}
		if r := w.request(t, got.Request.ID); r.State != broker.StateOpen || r.Sessions[0].State != broker.SessionIssued {
			t.Errorf("%s: request %+v", name, r)
		}
	}
}

// Keys wait for the link, and no longer than their caller does.
func TestSignInTooSlow(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.aws.SetFault(func(_, action string) *sandbox.Fault {
		if action != "getSigninToken" {
			return nil
		}
		cancel()
		return &sandbox.Fault{Delay: time.Hour}
	})
	got, err := w.Issue(ctx, w.ask("1", "readonly"))
	if err != nil || got.Credentials.SecretKey.IsZero() || faultCode(got.ConsoleErr) != broker.FaultSignIn {
		t.Errorf("err = %v, console %v", err, got.ConsoleErr)
	}
}

// An error of a Minter's that is no Fault becomes one.
func TestStrangeMinter(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		err  error
		want broker.FaultCode
	}{
		{context.DeadlineExceeded, broker.FaultTimeout},
		{errors.New("strange"), broker.FaultAWS},
	} {
		w.minter.Minter = failing{err: tt.err}
		ask := w.ask(tt.err.Error(), "plain")
		if _, err := w.Issue(t.Context(), ask); faultCode(err) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("err = %v, want %q", err, tt.want)
		}
		w.failed(t, ask, tt.want)
	}
}

// failing is a Minter that cannot assume a role.
type failing struct {
	broker.Minter
	err error
}

func (f failing) AssumeRole(context.Context, broker.Assumption) (broker.Credentials, error) {
	return broker.Credentials{}, f.err
}
