package bot

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// withSessions is an open Request of four hours with n Sessions.
func withSessions(n int, change func(*broker.Request)) broker.Request {
	return inState(broker.StateOpen, func(r *broker.Request) {
		r.Account, r.Duration, r.WindowEnd = "prod", 4*time.Hour, noon.Add(4*time.Hour)
		first := r.Sessions[0]
		r.Sessions = nil
		for i := range n {
			s := first
			s.ID, s.AccessKeyID = fmt.Sprintf("01JDCKQ%019d", i), fmt.Sprintf("ASIA%016d", i)
			s.ExpiresAt = noon.Add(min(time.Duration(i+1)*time.Hour, r.Duration))
			r.Sessions = append(r.Sessions, s)
		}
		change(r)
	})
}

// ofApplication is a list with an application's Requests after one of alice's own.
func ofApplication(mine broker.Request, theirs ...broker.Request) []broker.Request {
	list := []broker.Request{mine}
	for _, r := range append(theirs, mine) {
		r.Slack, r.User, r.UserID, r.TokenID = broker.SlackID{}, "ci", "01CI", "XxuhyrHsOlRf"
		list = append(list, r)
	}
	return list
}

// TestGoldenSessions keeps what people are told of what they have open, and of
// ending it.
func TestGoldenSessions(t *testing.T) {
	asIs := func(*broker.Request) {}
	one, three := withSessions(1, asIs), withSessions(3, asIs)
	refused := withSessions(0, func(r *broker.Request) { r.State, r.Rule = broker.StateDenied, policy.RuleNotGranted })
	failed := withSessions(0, func(r *broker.Request) { r.State, r.OpenedAt = broker.StateClosed, time.Time{} })
	longest := withSessions(100, func(r *broker.Request) {
		r.Role, r.Account, r.User = policy.RoleName(longName("role-")), policy.AccountName(longName("account-")), policy.UserName(strings.Repeat("u", 32))
		r.Words = strings.Repeat("<&>🔑", 250)
		for i := range r.Sessions {
			r.Sessions[i].ExpiresAt, r.Sessions[i].EndAsked = noon.Add(4*time.Hour), noon
		}
	})
	many := make([]broker.Request, 60)
	for i := range many {
		many[i] = longest
	}
	all := []broker.Request{
		withSessions(2, func(r *broker.Request) {
			r.State, r.Sessions, r.WindowEnd = broker.StatePending, nil, time.Time{}
			r.Needs, r.LapsesAt = &policy.Approval{Count: 2}, noon.Add(time.Hour)
		}),
		withSessions(2, func(r *broker.Request) {
			r.State, r.Sessions, r.WindowEnd = broker.StateApproved, nil, time.Time{}
			r.Needs, r.LapsesAt, r.Approvals = &policy.Approval{Count: 1}, noon.Add(time.Hour), []broker.Approval{{User: "lea", Yes: true}}
		}),
		withSessions(3, func(r *broker.Request) {
			r.Sessions[0].EndAsked, r.Sessions[0].EndedAt = noon, noon
			r.Sessions[1].EndAsked = noon
		}),
		withSessions(7, asIs),
		withSessions(1, func(r *broker.Request) {
			r.WindowEnd, r.Sessions[0].ExpiresAt = noon.Add(10*time.Minute), noon.Add(10*time.Minute)
		}),
		withSessions(2, func(r *broker.Request) {
			r.Sessions[0].EndAsked, r.Sessions[0].EndedAt = noon, noon
			r.Sessions[1].State = broker.SessionFailed
		}),
		withSessions(1, func(r *broker.Request) {
			r.Duration, r.WindowEnd, r.Sessions[0].ExpiresAt, r.Sessions[0].UndeliveredAt = 15*time.Minute, noon, noon, noon
		}),
		withSessions(1, func(r *broker.Request) { r.Role = "not-mine-any-more" }),
	}
	_, _, which := meant(all, "", noon) // as end and renew say
	longestRole := readonly()
	longestRole.Name = longest.Role
	failing := func(code broker.FaultCode) message {
		return notEnded(&longest, &broker.Fault{RequestID: longest.ID, Code: code, Err: errors.New("SECRET")}, noon)
	}
	for name, m := range map[string]message{
		"list-none":            sessionsMessage(nil, me(readonly()), noon, ""),
		"list-one":             sessionsMessage([]broker.Request{one}, me(readonly()), noon, ""),
		"list":                 sessionsMessage(all, me(readonly()), noon, which),
		"list-application":     sessionsMessage(ofApplication(one, all[0], all[1]), me(readonly()), noon, ""),
		"list-longest":         sessionsMessage(many, me(longestRole), noon, ""),
		"ended":                endedMessage(&one, "", noon),
		"ended-one":            endedMessage(&three, three.Sessions[0].ID, noon),
		"ended-longest":        endedMessage(&longest, longest.Sessions[0].ID, noon),
		"ended-late":           endedFor(&one, told("alice", one.Slack, 1)),
		"ended-late-for":       endedFor(&three, told("carol", broker.SlackID{Team: "T012AB", User: "U0789"}, 3)),
		"ended-by-other":       endedFor(&one, told("carol", one.Slack, 1)),
		"ended-switched-off":   endedFor(&three, told(broker.ActorStarback, one.Slack, 3)),
		"nothing-to-end":       nothingToEnd(),
		"not-ended-boundary":   failing(broker.FaultNoBoundary),
		"not-ended-full":       failing(broker.FaultBoundaryFull),
		"not-ended-aws":        failing(broker.FaultAWS),
		"not-ended-not-taken":  notEnded(&broker.Request{}, &broker.Fault{RequestID: one.ID, Code: broker.FaultStore, Err: errors.New("SECRET")}, noon),
		"ending":               windowEnding(&one, true),
		"ending-for-good":      windowEnding(&one, false),
		"ending-longest":       windowEnding(&longest, true),
		"more-already":         moreAlready(&one, noon),
		"more-already-refused": moreAlready(&refused, noon),
		"more-already-failed":  moreAlready(&failed, noon),
		"admin-ended-none":     endingsMessage("`alice`", endings{}),
		"admin-ended":          endingsMessage("`alice`", endings{ended: 2}),
		"admin-ended-in-part":  endingsMessage("the role `prod-admin`", endings{ended: 1, fixed: []string{one.ID}, waiting: []string{one.ID, one.ID}, again: true}),
		"admin-ended-longest":  endingsMessage("the role "+word(longName("role-")), endings{fixed: make([]string, 1000), waiting: make([]string, 1000)}),
		"console-link-failed":  consoleOf(t, unlinked()),
		"console-again":        consoleOf(t, again()),
		"console":              consoleOf(t, issued(readonly(), broker.Bash, 1000, 1500)),
		"console-longest":      consoleOf(t, issued(longestRole, broker.Bash, 1000, 7000)),
		"console-with-no-room": consoleOf(t, issued(longestRole, broker.Bash, 1000, 20000)),
	} {
		t.Run(name, func(t *testing.T) { compare(t, "session-"+name, answered(t, m, false)) })
	}
}

// told is the end of n Sessions that by wanted, as to hears of it.
func told(by string, to broker.SlackID, n int) *broker.Event {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = withSessions(n, func(*broker.Request) {}).Sessions[i].ID
	}
	return &broker.Event{Event: broker.EventEnded, Actor: by, Slack: to.String(), SessionID: strings.Join(ids, ", ")}
}

func consoleOf(t *testing.T, i broker.Issued) message {
	t.Helper()
	m, err := consoleMessage(i)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestMeant tries what can be typed after end and renew.
func TestMeant(t *testing.T) {
	first := withSessions(2, func(r *broker.Request) { r.ID = "FIRST" })
	second := withSessions(2, func(r *broker.Request) {
		r.ID = "SECOND"
		r.Sessions[0].ID, r.Sessions[1].ID = "01JDCKQ00000000000000ABCDE", "01JDCKQ00000000000000WXABC"
		r.Sessions[1].State = broker.SessionRefused
	})
	later := withSessions(1, func(r *broker.Request) { r.ID, r.AskedAt = "LATER", noon.Add(time.Millisecond) })
	waits := withSessions(0, func(r *broker.Request) { r.ID, r.State = "WAITS", broker.StateApproved })
	for _, c := range []struct {
		requests    []broker.Request
		suffix      string
		id, session string
		problem     string
	}{
		{nil, "", "", "", "Nothing of yours is open."},
		{[]broker.Request{waits, later}, "", "", "", "Nothing of yours is open."},
		{[]broker.Request{waits, first, later}, "", "FIRST", "", ""},
		{[]broker.Request{first, second}, "", "", "", "2 of your requests are open."},
		{[]broker.Request{first, second}, "0abcd", "", "", "Name a session by its last 6 characters"},
		{[]broker.Request{first, second}, "0abcde", "SECOND", "01JDCKQ00000000000000ABCDE", ""},
		{[]broker.Request{first, second}, "01JDCKQ00000000000000ABCDE", "SECOND", "01JDCKQ00000000000000ABCDE", ""},
		{[]broker.Request{first, second}, "X01JDCKQ00000000000000ABCDE", "", "", "None of your sessions"},
		{[]broker.Request{first, second}, "0WXABC", "", "", "None of your sessions that are open ends in `0WXABC`."},
		{[]broker.Request{first, second}, "000001", "FIRST", "01JDCKQ0000000000000000001", ""},
		{[]broker.Request{first, first}, "000001", "", "", "2 of your sessions end in `000001`: give more of it."},
		{[]broker.Request{first}, "`*<!here>", "", "", "ends in `'*&lt;!here&gt;`"},
	} {
		t.Run(c.suffix, func(t *testing.T) {
			id, session, problem := meant(c.requests, c.suffix, noon)
			if id != c.id || session != c.session || !strings.Contains(problem, c.problem) || (problem == "") != (c.problem == "") {
				t.Errorf("%q, %q, %q", id, session, problem)
			}
		})
	}
}
