package broker_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
)

func TestIssue(t *testing.T) {
	w := newWorld(t)
	ask := w.ask("1", "readonly")
	ask.Duration, ask.Words = 2*time.Hour, "checking queue depth"
	got := w.mustIssue(t, ask)

	calls := w.assumed()
	if len(calls) != 1 {
		t.Fatalf("%d AssumeRole calls", len(calls))
	}
	c, r, s := calls[0], got.Request, got.Session
	if c.RoleARN != "arn:aws:iam::111122223333:role/starback/ReadOnly" || c.Duration != 2*time.Hour ||
		c.SessionName != "alice@"+s.ID || c.SourceIdentity != "alice" {
		t.Errorf("AWS was asked for %+v", c)
	}
	wantTags := map[string]string{"starback:user": "alice", "starback:request": ask.RequestID(), "starback:role": "readonly"}
	if diff := cmp.Diff(wantTags, c.Tags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if got.Credentials.AccessKeyID != c.IssuedAccessKeyID || got.Credentials.SecretKey.IsZero() ||
		got.Credentials.SessionToken.IsZero() || got.Console.IsZero() || got.ConsoleErr != nil || got.Again || got.Capped() {
		t.Errorf("issued %+v", got)
	}
	if r.State != broker.StateOpen || r.Reason != "checking queue depth" || r.User != "alice" || r.AccountID != "111122223333" ||
		!r.OpenedAt.Equal(began) || !r.WindowEnd.Equal(began.Add(2*time.Hour)) {
		t.Errorf("request %+v", r)
	}
	if s.State != broker.SessionIssued || s.AccessKeyID != c.IssuedAccessKeyID || s.AssumedRoleID != c.AssumedRoleID ||
		!s.ExpiresAt.Equal(began.Add(2*time.Hour)) || s.Outcome != broker.OutcomeOK {
		t.Errorf("session %+v", s)
	}
	if diff := cmp.Diff(w.request(t, r.ID), r); diff != "" {
		t.Errorf("the answer is not what is stored (-stored +answer):\n%s", diff)
	}
	issued := r.Trail.Events[1]
	want := broker.Event{
		ID: issued.ID, Event: broker.EventIssued, Time: began, Actor: "alice", Slack: "T0AB/UALICE", RequestID: r.ID, SessionID: s.ID,
		Role: "readonly", AccountID: "111122223333", RoleARN: c.RoleARN, Duration: 7200, Reason: "checking queue depth",
		Decision: "allow", Rule: "grant.held", Path: "alice ∈ dev → readonly", PolicyVersion: 1, AccessKeyID: c.IssuedAccessKeyID,
		AssumedRoleID: c.AssumedRoleID, SourceID: "alice", ExpiresAt: began.Add(2 * time.Hour), Outcome: "ok",
	}
	if diff := cmp.Diff(want, issued); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

// A role's own session tags go to AWS beside Starback's.
func TestIssueTags(t *testing.T) {
	w := newWorld(t)
	w.apply(t, replace(rules, "readonly:  {account: prod, iam_role: starback/ReadOnly, max_duration: 8h, console: true}",
		"readonly:  {account: prod, iam_role: starback/ReadOnly, max_duration: 8h, tags: {team: data, cost-center: '42'}}"))
	ask := w.ask("1", "readonly")
	w.mustIssue(t, ask)
	want := map[string]string{
		"starback:user": "alice", "starback:request": ask.RequestID(), "starback:role": "readonly", "team": "data", "cost-center": "42",
	}
	if diff := cmp.Diff(want, w.assumed()[0].Tags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
}

// A role whose trust policy takes neither tags nor a source identity is asked
// for without them, and has no console link.
func TestIssuePlain(t *testing.T) {
	w := newWorld(t)
	got := w.mustIssue(t, w.ask("1", "plain"))
	if c := w.assumed()[0]; c.SourceIdentity != "" || c.Tags != nil || c.SessionName != "alice@"+got.Session.ID {
		t.Errorf("AWS was asked for %+v", c)
	}
	if e := got.Request.Trail.Events[1]; e.SourceID != "" {
		t.Errorf("the trail says that the source identity is %q", e.SourceID)
	}
	if !got.Console.IsZero() || got.ConsoleErr != nil {
		t.Errorf("console %v, %v", got.Console, got.ConsoleErr)
	}
}

// Invariant 1: no AssumeRole without a recorded ask.
func TestNothingIsMintedWithoutARecordedAsk(t *testing.T) {
	w := newWorld(t)
	ask := w.ask("1", "readonly")
	asked := false
	w.minter.onAssume = func(context.Context, broker.Assumption) {
		r := w.request(t, ask.RequestID())
		asked = r.State == broker.StateAsked && r.Sessions[0].State == broker.SessionMinting &&
			slices.Equal(events(r), []broker.EventName{broker.EventAsked})
	}
	w.mustIssue(t, ask)
	if !asked {
		t.Error("when AWS was called, the store did not hold the ask")
	}

	before := len(w.assumed())
	w.tap.watch(nth("PutRequest", 1), nil)
	if _, err := w.Issue(t.Context(), w.ask("2", "readonly")); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("an ask that could not be recorded: %v", err)
	}
	if n := len(w.assumed()); n != before {
		t.Error("AWS was called for an ask that was not recorded")
	}
}

// Invariants 1 and 8: each call of the store fails in turn, before it was done
// or after.
func TestNothingIsReleasedWithoutARecordedOutcome(t *testing.T) {
	asked, issued, failed := broker.EventAsked, broker.EventIssued, broker.EventFailed
	type fail func(string, int) error
	tests := []struct {
		name          string
		before, after fail
		want          broker.FaultCode // "": credentials are released
		minted        int
		session       broker.SessionState // as stored; "": no Request
		trail         []broker.EventName
	}{
		{"nothing fails", nil, nil, "", 1, broker.SessionIssued, []broker.EventName{asked, issued}},
		{"identify fails", nth("Identify", 1), nil, broker.FaultStore, 0, broker.SessionFailed, []broker.EventName{asked, failed}},
		{"the ask fails", nth("PutRequest", 1), nil, broker.FaultStore, 0, "", nil},
		{"the ask's answer is lost", nil, nth("PutRequest", 1), broker.FaultStore, 0, broker.SessionMinting, []broker.EventName{asked}},
		{"the outcome fails once", nth("PutRequest", 2), nil, "", 1, broker.SessionIssued, []broker.EventName{asked, issued}},
		{"the outcome's answer is lost", nil, nth("PutRequest", 2), "", 1, broker.SessionIssued, []broker.EventName{asked, issued}},
		{"the outcome fails for good", func(call string, n int) error {
			if call == "PutRequest" && n > 1 {
				return errDown
			}
			return nil
		}, nil, broker.FaultRecord, 1, broker.SessionMinting, []broker.EventName{asked}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.tap.watch(tt.before, tt.after)
			ask := w.ask("1", "readonly")
			got, err := w.Issue(t.Context(), ask)
			if faultCode(err) != tt.want || (tt.want != "") != errors.Is(err, broker.ErrUnavailable) {
				t.Errorf("err = %v, want fault %q", err, tt.want)
			}
			if released(got) != (tt.want == "") {
				t.Errorf("released: %v", released(got))
			}
			var fault *broker.Fault
			if errors.As(err, &fault) && fault.RequestID != ask.RequestID() {
				t.Errorf("the fault names request %q", fault.RequestID)
			}
			if n := len(w.assumed()); n != tt.minted {
				t.Errorf("%d sessions at AWS, want %d", n, tt.minted)
			}
			if tt.session == "" {
				if _, err := w.store.Request(t.Context(), ask.RequestID()); !errors.Is(err, broker.ErrNotFound) {
					t.Errorf("the request is stored: %v", err)
				}
				return
			}
			r := w.request(t, ask.RequestID())
			if len(r.Sessions) != 1 || r.Sessions[0].State != tt.session {
				t.Errorf("sessions %+v, want one %s", r.Sessions, tt.session)
			}
			if diff := cmp.Diff(tt.trail, events(r)); diff != "" {
				t.Errorf("trail (-want +got):\n%s", diff)
			}
		})
	}
}

// An ask that cannot even be recorded as failed stands without an outcome, and
// the fault is still the first one.
func TestFailureThatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tap.watch(func(call string, n int) error {
		if call == "Identify" || n > 1 {
			return errDown
		}
		return nil
	}, nil)
	ask := w.ask("1", "readonly")
	if _, err := w.Issue(t.Context(), ask); faultCode(err) != broker.FaultStore {
		t.Errorf("err = %v", err)
	}
	if r := w.request(t, ask.RequestID()); r.State != broker.StateAsked || r.Sessions[0].State != broker.SessionMinting {
		t.Errorf("request %+v", r)
	}
}

// A refusal that cannot be recorded is a fault: nobody is told of a decision
// that the trail does not know.
func TestRefusalThatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tap.watch(func(call string, n int) error {
		if call == "PutRequest" && n > 1 {
			return errDown
		}
		return nil
	}, nil)
	if _, err := w.Issue(t.Context(), w.ask("1", "guarded")); faultCode(err) != broker.FaultStore || errors.Is(err, broker.ErrDenied) {
		t.Errorf("err = %v", err)
	}
}

func TestIdentifyAndAskRunSideBySide(t *testing.T) {
	w := newWorld(t)
	meet := meeting(t)
	w.tap.watch(func(call string, n int) error {
		if call == "Identify" || call == "PutRequest" && n == 1 {
			meet()
		}
		return nil
	}, nil)
	w.mustIssue(t, w.ask("1", "readonly"))
}

func TestSignInAndOutcomeRunSideBySide(t *testing.T) {
	w := newWorld(t)
	meet := meeting(t)
	w.minter.onSignIn = func(context.Context) { meet() }
	w.tap.watch(func(call string, n int) error {
		if call == "PutRequest" && n == 2 {
			meet()
		}
		return nil
	}, nil)
	w.mustIssue(t, w.ask("1", "readonly"))
}

func TestRoundTripsOfTheWarmPath(t *testing.T) {
	w := newWorld(t)
	w.mustIssue(t, w.ask("1", "readonly"))
	w.tap.watch(nil, nil)
	w.aws.ResetCalls()
	w.mustIssue(t, w.ask("2", "readonly"))
	if diff := cmp.Diff([]string{"Identify", "PutRequest", "PutRequest"}, w.tap.made()); diff != "" {
		t.Errorf("calls of the store (-want +got):\n%s", diff)
	}
	var aws []string
	for _, c := range w.aws.Calls() {
		aws = append(aws, c.Action)
	}
	if diff := cmp.Diff([]string{"AssumeRole", "getSigninToken"}, aws); diff != "" {
		t.Errorf("calls of AWS (-want +got):\n%s", diff)
	}
	if len(w.directory.asked) != 0 {
		t.Errorf("Slack was asked %d times", len(w.directory.asked))
	}
}

// A caller who goes away once AWS has answered leaves a recorded outcome.
func TestOutcomeIsRecordedWithoutTheCaller(t *testing.T) {
	w := newWorld(t)
	ctx, leave := context.WithCancel(t.Context())
	w.minter.onSignIn = func(context.Context) { leave() }
	ask := w.ask("1", "readonly")
	w.tap.watch(func(call string, n int) error {
		if call == "PutRequest" && n == 2 {
			<-ctx.Done()
		}
		return nil
	}, nil)
	if _, err := w.Issue(ctx, ask); err != nil {
		t.Errorf("err = %v", err)
	}
	if s := w.request(t, ask.RequestID()).Sessions[0]; s.State != broker.SessionIssued {
		t.Errorf("session %+v", s)
	}
}

func TestIssueRefusesWhatCannotBeRecorded(t *testing.T) {
	long := string(make([]byte, 513))
	tests := []struct {
		name   string
		change func(*broker.Ask)
	}{
		{"no caller", func(a *broker.Ask) { a.Caller = broker.SlackID{} }},
		{"no key", func(a *broker.Ask) { a.Key = "" }},
		{"a key of 513 bytes", func(a *broker.Ask) { a.Key = long }},
		{"no role", func(a *broker.Ask) { a.Role = "" }},
		{"a role name of 65 bytes", func(a *broker.Ask) { a.Role = "r" + "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo" }},
		{"a negative duration", func(a *broker.Ask) { a.Duration = -1 }},
		{"a link that is not among the words", func(a *broker.Ask) { a.Words, a.Link = "see https://acme.slack.com/1/2", "https://acme.slack.com/1" }},
		{"1,001 characters of reason", func(a *broker.Ask) { a.Words = string(slices.Repeat([]rune("é"), 1001)) }},
	}
	w := newWorld(t)
	for _, tt := range tests {
		ask := w.ask("1", "readonly")
		tt.change(&ask)
		if _, err := w.Issue(t.Context(), ask); !errors.Is(err, broker.ErrInvalid) {
			t.Errorf("%s: err = %v", tt.name, err)
		}
	}
	if calls := w.tap.made(); len(calls) != 0 {
		t.Errorf("the store was asked: %v", calls)
	}
	ask := w.ask("1", "readonly")
	ask.Words = string(slices.Repeat([]rune("é"), 1000))
	w.mustIssue(t, ask)
}

// An ask past its deadline is recorded and goes no further.
func TestIssueTooLate(t *testing.T) {
	w := newWorld(t)
	ask := w.ask("1", "readonly")
	ask.Deadline = w.Now()
	if _, err := w.Issue(t.Context(), ask); faultCode(err) != broker.FaultExpiredRequest {
		t.Errorf("err = %v", err)
	}
	r := w.request(t, ask.RequestID())
	if r.State != broker.StateClosed || r.Sessions[0].Outcome != string(broker.FaultExpiredRequest) || len(w.assumed()) != 0 {
		t.Errorf("request %+v", r)
	}
}
