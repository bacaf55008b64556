package broker_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// Invariant 3 as it shows from outside: a decision follows from what was asked
// and what is known, and what is missing denies.
func TestDecisionFollowsFromWhatWasAsked(t *testing.T) {
	tests := []struct {
		name     string
		caller   broker.SlackID
		role     policy.RoleName
		duration time.Duration
		words    string
		rule     policy.Rule
		ticket   string
		reason   string
		window   time.Duration // 0: refused
	}{
		{"the role's default", alice, "readonly", 0, "", policy.RuleGranted, "", "", time.Hour},
		{"the shortest", alice, "readonly", 15 * time.Minute, "", policy.RuleGranted, "", "", 15 * time.Minute},
		{"shorter than AWS issues", alice, "readonly", 15*time.Minute - 1, "", policy.RuleDurationShort, "", "", 0},
		{"the longest", alice, "readonly", 8 * time.Hour, "", policy.RuleGranted, "", "", 8 * time.Hour},
		{"longer than the role allows", alice, "readonly", 8*time.Hour + 1, "", policy.RuleDurationLong, "", "", 0},
		{"no ticket rule", alice, "readonly", 0, "INC-1 look", policy.RuleGranted, "", "INC-1 look", time.Hour},
		{"ticket and reason", alice, "ticketed", 0, "INC-4711 queue depth", policy.RuleGranted, "INC-4711", "queue depth", time.Hour},
		{"no ticket", alice, "ticketed", 0, "queue depth", policy.RuleTicketMissing, "", "queue depth", 0},
		{"no reason", alice, "ticketed", 0, "INC-4711", policy.RuleReasonMissing, "INC-4711", "", 0},
		{"not granted", alice, "guarded", 0, "", policy.RuleNotGranted, "", "", 0},
		{"no such role", alice, "nonsense", 0, "", policy.RuleRoleUnknown, "", "", 0},
	}
	w := newWorld(t)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			minted := len(w.assumed())
			ask := w.ask(strconv.Itoa(i), tt.role)
			ask.Caller, ask.Duration, ask.Words = tt.caller, tt.duration, tt.words
			got, err := w.Issue(t.Context(), ask)
			r := w.request(t, ask.RequestID())
			if r.Rule != tt.rule || r.Ticket != tt.ticket || r.Reason != tt.reason {
				t.Errorf("recorded rule %q, ticket %q, reason %q", r.Rule, r.Ticket, r.Reason)
			}
			if tt.window > 0 {
				if err != nil || got.Request.WindowEnd.Sub(began) != tt.window || got.Request.Duration != tt.window {
					t.Errorf("window %v, err = %v", got.Request.WindowEnd.Sub(began), err)
				}
				return
			}
			var refusal *broker.Refusal
			if !errors.As(err, &refusal) || !errors.Is(err, broker.ErrDenied) || refusal.Decision.Rule != tt.rule ||
				refusal.RequestID != r.ID || refusal.Asked.Reason != tt.reason {
				t.Errorf("err = %v", err)
			}
			if r.State != broker.StateDenied || r.Sessions[0].State != broker.SessionRefused || released(got) || len(w.assumed()) != minted {
				t.Errorf("request %+v", r)
			}
		})
	}
}

// A refusal names what the caller may ask for, and nothing else: a near miss
// must not give a role's name away.
func TestMayAskListsOnlyWhatMayBeAskedFor(t *testing.T) {
	w := newWorld(t)
	_, err := w.Issue(t.Context(), w.ask("1", "readonly2"))
	var refusal *broker.Refusal
	if !errors.As(err, &refusal) {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]policy.RoleName{"plain", "readonly", "ticketed"}, refusal.MayAsk); diff != "" {
		t.Errorf("may ask for (-want +got):\n%s", diff)
	}
}

// The window ends where the authority does.
func TestWindowEndsWithTheUser(t *testing.T) {
	w := newWorld(t)
	w.change(t, "alice", func(u *broker.User) { u.Expires = began.Add(40 * time.Minute) })
	got := w.mustIssue(t, w.ask("1", "readonly"))
	if c := w.assumed()[0]; c.Duration != 40*time.Minute || !got.Request.WindowEnd.Equal(began.Add(40*time.Minute)) {
		t.Errorf("AWS was asked for %v, the window ends at %v", c.Duration, got.Request.WindowEnd)
	}
}

// Invariant 10: one person cannot exhaust the service, nor anybody else's share.
func TestOnePersonCannotExhaustTheService(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, replace(rules, "groups: [sre]", "groups: [dev]"))
	for i := range 20 {
		w.mustIssue(t, w.ask(strconv.Itoa(i), "plain"))
	}
	if _, err := w.Issue(t.Context(), w.ask("20", "plain")); rule(err) != broker.RuleRate {
		t.Errorf("the 21st of one moment: %v", err)
	}
	if n := len(w.assumed()); n != 20 {
		t.Errorf("%d sessions at AWS", n)
	}
	others := w.ask("21", "plain")
	others.Caller = bob
	w.mustIssue(t, others)
	w.advance(15*time.Second - time.Millisecond)
	if _, err := w.Issue(t.Context(), w.ask("22", "plain")); rule(err) != broker.RuleRate {
		t.Errorf("just under 15 s later: %v", err)
	}
	w.advance(time.Millisecond)
	w.mustIssue(t, w.ask("23", "plain"))
}

// What is refused anyway does not count against anybody.
func TestRefusalsAreNotRated(t *testing.T) {
	w := newWorld(t)
	for i := range 30 {
		if _, err := w.Issue(t.Context(), w.ask(strconv.Itoa(i), "guarded")); rule(err) != policy.RuleNotGranted {
			t.Fatal(err)
		}
	}
	w.mustIssue(t, w.ask("30", "plain"))
}

func TestIssueAgain(t *testing.T) {
	w := newWorld(t)
	ask := w.ask("1", "readonly")
	ask.Duration, ask.Words = 2*time.Hour, "a look"
	first := w.mustIssue(t, ask)
	w.advance(30 * time.Minute)
	got, err := w.IssueAgain(t.Context(), w.again("2", first.Request.ID))
	if err != nil {
		t.Fatal(err)
	}
	if !got.Again || got.Session.ID == first.Session.ID || got.Credentials.AccessKeyID == first.Credentials.AccessKeyID || got.Console.IsZero() {
		t.Errorf("issued %+v", got)
	}
	r := w.request(t, first.Request.ID)
	if !r.WindowEnd.Equal(first.Request.WindowEnd) || !r.OpenedAt.Equal(began) || r.Reason != "a look" || len(r.Sessions) != 2 {
		t.Errorf("request %+v", r)
	}
	if c := w.assumed()[1]; c.Duration != 90*time.Minute || c.SessionName != "alice@"+got.Session.ID {
		t.Errorf("AWS was asked for %+v", c)
	}

	var already *broker.AlreadyIssued
	if _, err := w.IssueAgain(t.Context(), w.again("2", first.Request.ID)); !errors.As(err, &already) {
		t.Errorf("the same key: %v", err)
	}
	if len(w.assumed()) != 2 {
		t.Errorf("%d sessions at AWS", len(w.assumed()))
	}
}

func TestIssueAgainRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*testing.T, *world, *broker.AskAgain)
		want   func(error) bool
	}{
		{"15 minutes before the end", func(_ *testing.T, w *world, a *broker.AskAgain) {
			w.advance(45 * time.Minute)
		}, func(err error) bool { return err == nil }},
		{"less than 15 minutes before the end", func(_ *testing.T, w *world, a *broker.AskAgain) {
			w.advance(45*time.Minute + time.Millisecond)
		}, ruled(broker.RuleWindowEnding)},
		{"after the end", func(_ *testing.T, w *world, a *broker.AskAgain) {
			w.advance(2 * time.Hour)
		}, ruled(broker.RuleWindowEnding)},
		{"somebody else's", func(_ *testing.T, _ *world, a *broker.AskAgain) {
			a.Caller = bob
		}, func(err error) bool { return errors.Is(err, broker.ErrNotFound) }},
		{"of no request", func(_ *testing.T, _ *world, a *broker.AskAgain) {
			a.RequestID = "00000000000000000000"
		}, func(err error) bool { return errors.Is(err, broker.ErrNotFound) }},
		{"without a key", func(_ *testing.T, _ *world, a *broker.AskAgain) {
			a.Key = ""
		}, func(err error) bool { return errors.Is(err, broker.ErrInvalid) }},
		{"the grant is gone", func(t *testing.T, w *world, _ *broker.AskAgain) {
			w.apply(t, replace(rules, "[readonly, plain, ticketed]", "[plain]"))
		}, ruled(policy.RuleNotGranted)},
		{"approval is wanted now", func(t *testing.T, w *world, _ *broker.AskAgain) {
			w.apply(t, replace(rules, "console: true", "approval: {by: [leads]}"))
		}, ruled(policy.RuleApprovalRequired)},
		{"too late", func(_ *testing.T, w *world, a *broker.AskAgain) {
			a.Deadline = w.Now()
		}, func(err error) bool { return faultCode(err) == broker.FaultExpiredRequest }},
		{"the store is down", func(_ *testing.T, w *world, _ *broker.AskAgain) {
			w.tap.watch(nth("Request", 1), nil)
		}, func(err error) bool { return faultCode(err) == broker.FaultStore }},
		{"the store does not take it", func(_ *testing.T, w *world, _ *broker.AskAgain) {
			w.tap.watch(nth("PutRequest", 1), nil)
		}, func(err error) bool { return faultCode(err) == broker.FaultStore }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			first := w.mustIssue(t, w.ask("1", "readonly"))
			again := w.again("2", first.Request.ID)
			again.Deadline = w.Now().Add(12 * time.Hour)
			tt.change(t, w, &again)
			got, err := w.IssueAgain(t.Context(), again)
			if !tt.want(err) {
				t.Errorf("err = %v", err)
			}
			if released(got) != (err == nil) || len(w.assumed()) != 1 && err != nil {
				t.Errorf("released: %v, %d sessions at AWS", released(got), len(w.assumed()))
			}
			if r := w.request(t, first.Request.ID); r.State != broker.StateOpen || !r.WindowEnd.Equal(first.Request.WindowEnd) {
				t.Errorf("the window changed: %+v", r)
			}
		})
	}
}

// A Request that never opened gives nothing.
func TestIssueAgainOfADeniedRequest(t *testing.T) {
	w := newWorld(t)
	ask := w.ask("1", "readonly")
	ask.Duration = 9 * time.Hour
	if _, err := w.Issue(t.Context(), ask); rule(err) != policy.RuleDurationLong {
		t.Fatal(err)
	}
	w.apply(t, replace(rules, "max_duration: 8h", "max_duration: 9h"))
	if _, err := w.IssueAgain(t.Context(), w.again("2", ask.RequestID())); rule(err) != broker.RuleWindowEnding {
		t.Errorf("err = %v", err)
	}
	if r := w.request(t, ask.RequestID()); r.State != broker.StateDenied || len(w.assumed()) != 0 {
		t.Errorf("request %+v", r)
	}
}

// ruled says whether an error is a Refusal by a rule.
func ruled(want policy.Rule) func(error) bool {
	return func(err error) bool { return rule(err) == want }
}
