package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/internal/faultproxy"
	"github.com/starback/starback/internal/story"
	"github.com/starback/starback/sandbox"
)

// A failure is one way in which a neighbour fails, and what comes of it.
type failure struct {
	name    string
	fail    func(*house)
	says    string // to Alice, while it lasts
	event   string // of the trail, about what she asked for
	outcome string
}

// awsFails has a call of AWS's fail as AWS itself does.
func awsFails(action string, f sandbox.Fault) func(*house) {
	return func(h *house) {
		h.AWS.SetFault(func(_, called string) *sandbox.Fault {
			if called == action {
				return &f
			}
			return nil
		})
	}
}

// slackFails has a call of Slack's fail as Slack itself does.
func slackFails(method string, f sandbox.SlackFault) func(*house) {
	return func(h *house) {
		h.Slack.SetFault(func(called string) *sandbox.SlackFault {
			if called == method {
				return &f
			}
			return nil
		})
	}
}

// onWire has a call to AWS or Slack fail as networks do.
func onWire(name string, f func(*house) faultproxy.Fault) func(*house) {
	return func(h *house) {
		h.AWSWire.SetRule(faultproxy.On(f(h), name))
		h.SlackWire.SetRule(faultproxy.On(f(h), name))
	}
}

// Faults that need a house's gate, and one that does not, as onWire takes them.
func stall(h *house) faultproxy.Fault { return faultproxy.Stall(h.Gate) }
func late(h *house) faultproxy.Fault  { return faultproxy.Late(h.Gate) }
func half(*house) faultproxy.Fault    { return faultproxy.Half }
func drop(*house) faultproxy.Fault    { return faultproxy.Drop }
func lose(*house) faultproxy.Fault    { return faultproxy.Lose }
func garbage(*house) faultproxy.Fault { return faultproxy.Garbage }

// code is AWS's answer that something failed.
func code(status int, code string) sandbox.Fault {
	return sandbox.Fault{Status: status, Code: code, Message: "a fault"}
}

// What people are told, as far as it tells one failure from another.
const (
	saysNoLink     = "The console link could not be made; the keys below are good"
	saysUnexpected = "AWS answered with something unexpected, so nothing was issued"
	saysLate       = "AWS did not answer in time, so nothing was issued"
	saysBase       = "AWS does not accept Starback's own credentials, so nothing was issued"
	saysUnknown    = "Slack did not tell Starback who you are, so nothing was issued"
)

// failures are those of AWS and Slack. tableFailures are the store's.
var failures = []failure{
	{"STS denies", awsFails("AssumeRole", code(403, "AccessDenied")), "AWS refused to let Starback assume that role", "session.failed", "aws.access"},
	{"STS throttles", awsFails("AssumeRole", code(400, "Throttling")), "being asked too much", "session.failed", "aws.throttled"},
	{"STS is not on in the Region", awsFails("AssumeRole", code(403, "RegionDisabledException")), "STS is not switched on", "session.failed", "aws.region"},
	{"session policy and tags too large", awsFails("AssumeRole", code(400, "PackedPolicyTooLarge")), "too large together", "session.failed", "aws.policy_size"},
	{"STS hangs up", awsFails("AssumeRole", sandbox.Fault{Drop: true}), saysUnexpected, "session.failed", "aws"},
	{"STS talks rubbish", awsFails("AssumeRole", sandbox.Fault{Garbage: true}), saysUnexpected, "session.failed", "aws"},
	{"STS does the work, then fails", awsFails("AssumeRole", sandbox.Fault{After: true, Status: 500, Code: "InternalFailure"}), saysUnexpected, "session.failed", "aws"},
	{"STS stalls", onWire("AssumeRole", stall), saysLate, "session.failed", "timeout"},
	{"STS stops half-way", onWire("AssumeRole", half), saysUnexpected, "session.failed", "aws"},
	{"STS answers too late", onWire("AssumeRole", late), saysLate, "session.failed", "timeout"},
	{"SSM denies the base key", awsFails("GetParameter", code(400, "AccessDeniedException")), saysBase, "session.failed", "aws.base"},
	{"the KMS key is to be deleted", awsFails("GetParameter", code(400, "KMSInvalidStateException")), saysBase, "session.failed", "aws.base"},
	{"the KMS key is off", awsFails("GetParameter", code(400, "InvalidKeyId")), saysBase, "session.failed", "aws.base"},
	{"SSM throttles", awsFails("GetParameter", code(400, "ThrottlingException")), "being asked too much", "session.failed", "aws.throttled"},
	{"SSM hangs up", onWire("GetParameter", drop), saysUnexpected, "session.failed", "aws"},
	{"SSM talks rubbish", onWire("GetParameter", garbage), saysUnexpected, "session.failed", "aws"},
	{"SSM stalls", onWire("GetParameter", stall), saysLate, "session.failed", "timeout"},
	{"SSM stops half-way", onWire("GetParameter", half), saysUnexpected, "session.failed", "aws"},
	{"SSM answers too late", onWire("GetParameter", late), saysLate, "session.failed", "timeout"},
	{"the base key is not known", awsFails("GetCallerIdentity", code(403, "InvalidClientTokenId")), saysBase, "session.failed", "aws.base"},
	{"sign-in is down", awsFails("getSigninToken", sandbox.Fault{Status: 503}), saysNoLink, "session.issued", "ok"},
	{"sign-in throttles", awsFails("getSigninToken", sandbox.Fault{Status: 429}), saysNoLink, "session.issued", "ok"},
	{"sign-in hangs up", onWire("getSigninToken", drop), saysNoLink, "session.issued", "ok"},
	{"sign-in talks rubbish", awsFails("getSigninToken", sandbox.Fault{Garbage: true}), saysNoLink, "session.issued", "ok"},
	{"sign-in stalls", onWire("getSigninToken", stall), saysNoLink, "session.issued", "ok"},
	{"sign-in stops half-way", onWire("getSigninToken", half), saysNoLink, "session.issued", "ok"},
	{"sign-in answers too late", onWire("getSigninToken", late), saysNoLink, "session.issued", "ok"},
	{"Slack cannot say who somebody is", slackFails("users.info", sandbox.SlackFault{Status: 500}), saysUnknown, "session.failed", "slack.directory"},
	{"users.info throttles", slackFails("users.info", sandbox.SlackFault{RetryAfter: time.Minute}), saysUnknown, "session.failed", "slack.directory"},
	{"users.info hangs up", onWire("users.info", drop), saysUnknown, "session.failed", "slack.directory"},
	{"users.info talks rubbish", onWire("users.info", garbage), saysUnknown, "session.failed", "slack.directory"},
	{"users.info stalls", onWire("users.info", stall), saysUnknown, "session.failed", "slack.directory"},
	{"users.info stops half-way", onWire("users.info", half), saysUnknown, "session.failed", "slack.directory"},
	{"users.info answers too late", onWire("users.info", late), saysUnknown, "session.failed", "slack.directory"},
	{"the response URL is dead", slackFails("response_url", sandbox.SlackFault{Status: 404}), story.SaysIssued, "session.issued", "ok"},
	{"the response URL is down", slackFails("response_url", sandbox.SlackFault{Status: 500}), story.SaysIssued, "session.issued", "ok"},
	{"Slack asks for patience", slackFails("response_url", sandbox.SlackFault{Status: 429, RetryAfter: time.Hour}), story.SaysIssued, "session.issued", "ok"},
	{"the response URL hangs up", onWire("response_url", drop), story.SaysIssued, "session.issued", "ok"},
	{"the response URL talks rubbish", onWire("response_url", garbage), story.SaysIssued, "session.issued", "ok"},
	{"the response URL stalls", onWire("response_url", stall), story.SaysIssued, "session.issued", "ok"},
	{"the response URL stops half-way", onWire("response_url", half), story.SaysIssued, "session.issued", "ok"},
	{"the response URL answers too late", onWire("response_url", late), story.SaysIssued, "session.issued", "ok"},
	{"the audit channel stalls", onWire("chat.postMessage", stall), story.SaysIssued, "session.issued", "ok"},
	{"the audit channel stops half-way", onWire("chat.postMessage", half), story.SaysIssued, "session.issued", "ok"},
	{"the audit channel answers too late", onWire("chat.postMessage", late), story.SaysIssued, "session.issued", "ok"},
}

// TestEveryFailureSpeaks has each neighbour fail in turn, against the built
// binary: what the person is told, what the trail says, and that the next
// command works once the neighbour does.
func TestEveryFailureSpeaks(t *testing.T) {
	long(t)
	t.Parallel()
	for _, tt := range failures {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, onSQLite(t))
			h.Slack.AddChannel(sandbox.SlackChannel{ID: story.General, Name: "general", Members: []string{"U0ALICE", "U0BOB"}, BotIn: true})
			tt.fail(h)
			h.Command("prod-console")
			said := h.Hears(tt.says, 1)
			last := h.waitForTrail(tt.event, 1)[0]
			if !strings.Contains(said, last.RequestID) {
				t.Errorf("Alice is told, without the request id\n%s", story.Brief(said))
			}
			if last.Outcome != tt.outcome || last.Actor != "alice" && tt.outcome != "slack.directory" {
				t.Errorf("the trail says %+v", last)
			}
			if strings.HasPrefix(tt.name, "the audit channel") {
				h.Called(h.SlackWire, "chat.postMessage", last.RequestID)
			}
			h.afterwards(last.RequestID)
		})
	}
	t.Run("DynamoDB", everyTableFailureSpeaks)
}

// afterwards ends the failure. Then the next command works, the audit channel
// tells of the request, and the trail is true.
func (h *house) afterwards(requestID string) {
	h.t.Helper()
	h.Heal()
	h.Gets("prod-console")
	h.Channel(story.Audit, requestID)
	h.stop()
	h.TrueTrail()
}

// TestAuditChannelDown delays what the audit channel is told, and loses none
// of it.
func TestAuditChannelDown(t *testing.T) {
	long(t)
	t.Parallel()
	for _, fault := range []sandbox.SlackFault{
		{Status: http.StatusInternalServerError}, {Error: "channel_not_found"}, {Error: "not_in_channel"},
		{Status: http.StatusTooManyRequests, RetryAfter: time.Second}, {Garbage: true}, {Drop: true},
	} {
		t.Run(fmt.Sprint(fault.Status, fault.Error, fault.Garbage, fault.Drop), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, onSQLite(t))
			slackFails("chat.postMessage", fault)(h)
			h.Command("prod-readonly 1h INC-1 while the channel is down")
			h.Hears(story.SaysIssued, 1)
			issued := h.waitForTrail("session.issued", 1)[0]
			h.Called(h.SlackWire, "chat.postMessage", issued.RequestID)
			h.Heal()
			told := h.Channel(story.Audit, issued.SessionID)
			if strings.Count(told, "while the channel is down") != 1 {
				t.Errorf("the channel says\n%s", told)
			}
			h.stop()
		})
	}
}

// saysUndelivered is what somebody is told whose credentials were not shown.
const saysUndelivered = "but Slack did not confirm that it showed them"

// TestNoWayIntoTheChannel has the response URL dead, and the bot not in the
// channel that the command was typed in. What came of it reaches the person by
// a direct message: a refusal as it is, and of credentials that they were
// issued and not shown, with a button for new ones. The trail says so too.
func TestNoWayIntoTheChannel(t *testing.T) {
	long(t)
	t.Parallel()
	dead := sandbox.SlackFault{Status: http.StatusNotFound}
	for _, tt := range []struct {
		name, text  string
		fails       map[string]sandbox.SlackFault
		says, event string
		minted      int
	}{
		{"it is not in the channel", "prod-console", nil, saysUndelivered, "session.undelivered", 1},
		{"it knows no such channel", "prod-console", map[string]sandbox.SlackFault{"chat.postEphemeral": {Error: "channel_not_found"}},
			saysUndelivered, "session.undelivered", 1},
		{"no direct message either, for now", "prod-console", map[string]sandbox.SlackFault{"chat.postMessage": {Status: http.StatusInternalServerError}},
			saysUndelivered, "session.undelivered", 1},
		{"a refusal", "prod-console 9h", nil, "can be had for 1h at most", "request.denied", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, onSQLite(t)) // whose bot is in the channels of its own alone
			h.Slack.SetFault(func(method string) *sandbox.SlackFault {
				if f, ok := tt.fails[method]; ok {
					return &f
				}
				if method == "response_url" {
					return &dead
				}
				return nil
			})
			h.Command(tt.text)
			about := h.waitForTrail(tt.event, 1)[0]
			if _, later := tt.fails["chat.postMessage"]; later {
				h.Called(h.SlackWire, "chat.postMessage", "channel=U0ALICE")
				if seen := h.Slack.Seen("U0ALICE"); len(seen) != 0 {
					t.Errorf("Alice is told already: %+v", seen)
				}
				h.Heal()
			}
			m := h.Finds("U0ALICE", false, tt.says)
			if said := sandbox.Text(m, sandbox.RenderOptions{Width: 1000}); !strings.HasPrefix(m.Channel, "D") ||
				!strings.Contains(said, about.RequestID) || strings.Contains(string(m.Blocks), sandbox.Marker) {
				t.Errorf("Alice is told in %s\n%s", m.Channel, said)
			}
			if told := h.Told(); len(told) != 0 || h.Assumed() != tt.minted {
				t.Errorf("Alice sees %d messages besides, and AWS was asked for %d sessions", len(told), h.Assumed())
			}
			if tt.minted > 0 {
				issued := h.waitForTrail("session.issued", 1)[0]
				if about.SessionID != issued.SessionID || about.AccessKeyID != issued.AccessKeyID {
					t.Errorf("what was not delivered is %+v; issued was %+v", about, issued)
				}
				h.Heal()
				if _, err := h.Slack.Click(t.Context(), "U0ALICE", m, "reveal"); err != nil {
					t.Fatal(err)
				}
				keys := story.Pasted(t, h.Answer("U0ALICE", 1))
				if again := h.waitForTrail("session.issued", 2)[1]; again.RequestID != about.RequestID || again.AccessKeyID != keys["AWS_ACCESS_KEY_ID"] {
					t.Errorf("the button issued %+v", again)
				}
			}
			h.afterwards(about.RequestID)
		})
	}
}
