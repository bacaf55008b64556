package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/sandbox"
)

// TestEveryFailureSpeaks has each neighbour fail in turn, against the built
// binary: what the person is told, what the trail says, and that the next
// command works once the neighbour does.
func TestEveryFailureSpeaks(t *testing.T) {
	long(t)
	t.Parallel()
	aws := func(action string, f sandbox.Fault) func(*house) {
		return func(h *house) {
			h.aws.SetFault(func(_, called string) *sandbox.Fault {
				if called == action {
					return &f
				}
				return nil
			})
		}
	}
	slack := func(method string, f sandbox.SlackFault) func(*house) {
		return func(h *house) {
			h.slack.SetFault(func(called string) *sandbox.SlackFault {
				if called == method {
					return &f
				}
				return nil
			})
		}
	}
	code := func(status int, code string) sandbox.Fault {
		return sandbox.Fault{Status: status, Code: code, Message: "a fault"}
	}
	for _, tt := range []struct {
		name    string
		fail    func(*house)
		says    string // to the person
		event   string // of the trail
		outcome string
	}{
		{"STS denies", aws("AssumeRole", code(403, "AccessDenied")), "AWS refused to let Starback assume that role", "session.failed", "aws.access"},
		{"STS throttles", aws("AssumeRole", code(400, "Throttling")), "being asked too much", "session.failed", "aws.throttled"},
		{"STS is not on in the Region", aws("AssumeRole", code(403, "RegionDisabledException")), "STS is not switched on", "session.failed", "aws.region"},
		{"session policy and tags too large", aws("AssumeRole", code(400, "PackedPolicyTooLarge")), "too large together", "session.failed", "aws.policy_size"},
		{"STS hangs up", aws("AssumeRole", sandbox.Fault{Drop: true}), "something unexpected", "session.failed", "aws"},
		{"STS talks rubbish", aws("AssumeRole", sandbox.Fault{Garbage: true}), "something unexpected", "session.failed", "aws"},
		{"STS does the work, then fails", aws("AssumeRole", sandbox.Fault{After: true, Status: 500, Code: "InternalFailure"}), "something unexpected", "session.failed", "aws"},
		{"SSM denies the base key", aws("GetParameter", code(400, "AccessDeniedException")), "does not accept Starback's own credentials", "session.failed", "aws.base"},
		{"the KMS key is off", aws("GetParameter", code(400, "KMSInvalidStateException")), "does not accept Starback's own credentials", "session.failed", "aws.base"},
		{"the base key is not known", aws("GetCallerIdentity", code(403, "InvalidClientTokenId")), "does not accept Starback's own credentials", "session.failed", "aws.base"},
		{"sign-in is down", aws("getSigninToken", sandbox.Fault{Status: 503}), "The console link could not be made; the keys below are good", "session.issued", "ok"},
		{"sign-in talks rubbish", aws("getSigninToken", sandbox.Fault{Garbage: true}), "The console link could not be made; the keys below are good", "session.issued", "ok"},
		{"Slack cannot say who somebody is", slack("users.info", sandbox.SlackFault{Status: 500}), "Slack did not tell Starback who you are", "session.failed", "slack.directory"},
		{"the response URL is dead", slack("response_url", sandbox.SlackFault{Status: 404}), "AWS_SESSION_TOKEN", "session.issued", "ok"},
		{"the response URL is down", slack("response_url", sandbox.SlackFault{Status: 500}), "AWS_SESSION_TOKEN", "session.issued", "ok"},
		{"Slack asks for patience", slack("response_url", sandbox.SlackFault{Status: 429, RetryAfter: time.Hour}), "AWS_SESSION_TOKEN", "session.issued", "ok"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.slack.AddChannel(sandbox.SlackChannel{ID: general, Name: "general", Members: []string{"U0ALICE", "U0BOB"}, BotIn: true})
			tt.fail(h)
			if _, err := h.slack.Command(t.Context(), "U0ALICE", general, "prod-console"); err != nil {
				t.Fatal(err)
			}
			m := answerWithin(t, h.slack, "U0ALICE", 1, time.Minute)
			said := sandbox.Text(m, sandbox.RenderOptions{Width: 100000})
			last := h.waitForTrail(tt.event, 1)[0]
			if !strings.Contains(said, tt.says) || !strings.Contains(said, last.RequestID) {
				t.Errorf("Alice is told\n%s", said)
			}
			if last.Outcome != tt.outcome || last.Actor != "alice" && tt.outcome != "slack.directory" {
				t.Errorf("the trail says %+v", last)
			}

			h.aws.SetFault(nil)
			h.slack.SetFault(nil)
			if _, err := h.slack.Command(t.Context(), "U0ALICE", general, "prod-console"); err != nil {
				t.Fatal(err)
			}
			pasted(t, answer(t, h.slack, "U0ALICE", 2))
			h.stop()
			if found := leaks(t, h.folder, h.output(), sandbox.Marker); len(found) > 0 {
				t.Errorf("a secret is in %s", strings.Join(found, ", "))
			}
		})
	}
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
			h := newHouse(t)
			h.slack.SetFault(func(method string) *sandbox.SlackFault {
				if method == "chat.postMessage" {
					return &fault
				}
				return nil
			})
			if _, err := h.slack.Command(t.Context(), "U0ALICE", general, "prod-readonly 1h INC-1 while the channel is down"); err != nil {
				t.Fatal(err)
			}
			pasted(t, answer(t, h.slack, "U0ALICE", 1))
			session := h.waitForTrail("session.issued", 1)[0].SessionID
			h.slack.SetFault(nil)
			told := waitForChannel(t, h.slack, audit, session)
			if strings.Count(told, "while the channel is down") != 1 {
				t.Errorf("the channel says\n%s", told)
			}
			h.stop()
		})
	}
}
