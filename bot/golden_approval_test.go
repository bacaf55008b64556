package bot

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// guarded is alice's Request for a role that two must approve, an hour after
// she asked for four: with lea's yes, for two hours, and mia's no.
func guarded(role policy.RoleName, yes, no bool) broker.Request {
	r := openRequest(role)
	r.State, r.Account, r.Duration, r.Path = broker.StatePending, "prod", 4*time.Hour, "alice ∈ dev → "+longName("role-")
	r.Needs = &policy.Approval{By: []policy.GroupName{"sre-leads", "security"}, Count: 2, Within: 2 * time.Hour, ClaimWithin: time.Hour}
	r.LapsesAt, r.WindowEnd = noon.Add(time.Hour), noon.Add(2*time.Hour)
	if yes {
		r.Approvals = append(r.Approvals, broker.Approval{User: "lea", UserID: "01LEA", Yes: true, Duration: 2 * time.Hour, At: noon})
	}
	if no {
		r.Approvals = append(r.Approvals, broker.Approval{User: "mia", UserID: "01MIA", Reason: "*freeze* <!channel>\nuntil Monday", At: noon})
	}
	return r
}

// approvers are n Users.
func approvers(n int) []broker.User {
	out := make([]broker.User, n)
	for i := range out {
		out[i] = broker.User{Name: policy.UserName(fmt.Sprintf("user-%d", i)), Slack: broker.SlackID{Team: "T012AB", User: fmt.Sprintf("U%04d", i)}}
	}
	return out
}

// holding are n Requests that are open.
func holding(n int) []broker.Request {
	out := make([]broker.Request, n)
	for i := range out {
		out[i] = openRequest(policy.RoleName(longName(fmt.Sprintf("role-%d-", i))))
	}
	return out
}

// asking is the Telling of a Request that so many are asked to answer, and
// whose requester has so much open.
func asking(r *broker.Request, n, open int) broker.Telling {
	t := broker.Telling{Request: r, Approvers: approvers(n), Able: n, Open: holding(open)}
	for _, g := range r.Needs.By {
		t.Asked = append(t.Asked, policy.Group{Name: g})
	}
	return t
}

// put is a guarded Request in a state, with two yeses unless it waits.
func put(state broker.State, change func(*broker.Request)) broker.Request {
	r := guarded("prod-admin", true, state == broker.StateDenied)
	r.State = state
	if state != broker.StatePending && state != broker.StateDenied && state != broker.StateLapsed {
		r.Approvals = append(r.Approvals, broker.Approval{User: "ida", UserID: "01IDA", Yes: true, At: noon})
	}
	if change != nil {
		change(&r)
	}
	return r
}

// TestGoldenApproval keeps what approvers and requesters see of a Request, in
// each of its states.
func TestGoldenApproval(t *testing.T) {
	longest := guarded(policy.RoleName(longName("role-")), false, false)
	longest.User, longest.Account = policy.UserName(strings.Repeat("u", 32)), policy.AccountName(longName("account-"))
	longest.Ticket, longest.Reason, longest.Path = strings.Repeat("T", 500), strings.Repeat("🔥", 499), strings.Repeat("p → ", 500)
	longest.Needs.By = nil
	for i := range 30 {
		longest.Needs.By = append(longest.Needs.By, policy.GroupName(longName(fmt.Sprintf("group-%02d-", i))))
	}
	hostile := guarded("x`*bold*`<!channel>", false, false)
	hostile.Ticket, hostile.Reason = "*INC-1*", "first\n✅  *mallory* asks for `root` <!channel> <https://evil.example|Approve> \u202eoops\u202c &amp;"
	linking := guarded("prod-admin", false, false)
	linking.TicketLink, linking.Link = ourTicket, ourMessage
	linking.Reason = "as in INC-4711, and INC-4711 itself: " + ourMessage + " and " + ourMessage
	for name, c := range map[string]struct {
		r         broker.Request
		approvers int
		open      int
	}{
		"pending-0-of-2":    {guarded("prod-admin", false, false), 2, 1},
		"pending-1-of-2":    {put(broker.StatePending, nil), 1, 0},
		"pending-many":      {guarded("prod-admin", false, false), 11, 0},
		"pending-nobody":    {guarded("prod-admin", false, false), 0, 0},
		"pending-shortest":  {put(broker.StatePending, func(r *broker.Request) { r.Duration = policy.MinDuration }), 1, 0},
		"pending-no-person": {put(broker.StatePending, func(r *broker.Request) { r.Slack, r.User = broker.SlackID{}, "ci-deploy" }), 1, 0},
		"pending-hostile":   {hostile, 1, 0},
		"pending-longest":   {longest, 25, 7},
		"pending-links":     {linking, 2, 0},
		"approved":          {put(broker.StateApproved, nil), 0, 0},
		"revealed":          {put(broker.StateOpen, nil), 0, 0},
		"revealed-late":     {put(broker.StateOpen, func(r *broker.Request) { r.WindowEnd = noon.Add(10 * time.Minute) }), 0, 0},
		"revealed-unseen":   {put(broker.StateOpen, func(r *broker.Request) { r.Sessions[0].UndeliveredAt = noon }), 0, 0},
		"over":              {put(broker.StateClosed, nil), 0, 0},
		"denied":            {put(broker.StateDenied, nil), 0, 0},
		"denied-wordless":   {put(broker.StateDenied, func(r *broker.Request) { r.Approvals[1].Reason = "" }), 0, 0},
		"withdrawn":         {put(broker.StateWithdrawn, nil), 0, 0},
		"lapsed":            {put(broker.StateLapsed, nil), 0, 0},
		"lapsed-unclaimed": {put(broker.StateLapsed, func(r *broker.Request) {
			r.Approvals = append(r.Approvals, broker.Approval{User: "ida", Yes: true})
		}), 0, 0},
		"void":           {put(broker.StateVoid, func(r *broker.Request) { r.Rule = broker.RuleChanged }), 0, 0},
		"void-approver":  {put(broker.StateVoid, func(r *broker.Request) { r.Rule = policy.RuleApprovalRequired }), 0, 0},
		"void-ended":     {put(broker.StateVoid, func(r *broker.Request) { r.Rule = broker.RuleEnded }), 0, 0},
		"void-requester": {put(broker.StateVoid, func(r *broker.Request) { r.Rule = policy.RuleUserDisabled }), 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			compare(t, "approval-"+name, posted(t, approvalMessage(asking(&c.r, c.approvers, c.open))))
			compare(t, "outcome-"+name, posted(t, outcomeMessage(&c.r, noon)))
			if c.r.State != broker.StatePending {
				compare(t, "settled-"+name, answered(t, settledRequest(&c.r), false))
			}
		})
	}
	first, second := guarded("prod-admin", false, false), put(broker.StatePending, nil)
	second.Needs.Count = 4
	rising := guarded("prod-admin", false, false)
	rising.Needs.EscalateTo = []policy.GroupName{"platform"}
	risen := asking(&rising, 3, 0)
	risen.Asked = append(risen.Asked, policy.Group{Name: "platform"})
	many := asking(&rising, 25, 0)
	many.Asked = risen.Asked
	grouped := asking(&first, 2, 0)
	grouped.Asked[0].SlackGroup, grouped.Approvers[0].Groups = "S0LEADS", []policy.GroupName{"sre-leads"}
	// More are called than there is room for.
	crowded := asking(&first, 1, 0)
	crowded.Asked = nil
	for i := range 160 {
		name := policy.GroupName(fmt.Sprintf("group-%03d", i))
		crowded.Asked = append(crowded.Asked, policy.Group{Name: name, SlackGroup: fmt.Sprintf("S0GROUP%03d", i)})
		crowded.Approvers[0].Groups = append(crowded.Approvers[0].Groups, name)
	}
	nobody := guarded("prod-admin", false, false)
	nobody.Needs.By, nobody.Needs.EscalateTo = longest.Needs.By, longest.Needs.By
	unable := broker.Telling{Request: &nobody, Able: 1}
	for _, name := range nobody.Needs.By {
		unable.Asked = append(unable.Asked, policy.Group{Name: name})
	}
	for name, m := range map[string]broker.Telling{
		"user-group":        grouped,
		"too-many-called":   crowded,
		"too-many-cannot":   unable,
		"one-of-two-can":    asking(&first, 1, 0),
		"two-of-three-more": asking(&second, 2, 0),
		"nobody-yet":        {Request: &rising, Able: 2, Asked: []policy.Group{{Name: "sre-leads"}, {Name: "security"}}},
	} {
		t.Run(name, func(t *testing.T) { compare(t, "approval-pending-"+name, posted(t, approvalMessage(m))) })
	}
	waiting, approved, denied := guarded("prod-admin", false, false), put(broker.StateApproved, nil), put(broker.StateDenied, nil)
	half := put(broker.StatePending, func(r *broker.Request) { r.Approvals[0].Duration = 0 })
	revealed, late := put(broker.StateOpen, nil), put(broker.StateOpen, func(r *broker.Request) { r.WindowEnd = noon.Add(10 * time.Minute) })
	neverShown := put(broker.StateClosed, func(r *broker.Request) { r.Sessions[0].UndeliveredAt = noon })
	notShown := put(broker.StateOpen, func(r *broker.Request) {
		r.WindowEnd, r.Sessions[0].BeganAt, r.Sessions[0].UndeliveredAt = noon.Add(4*time.Hour), noon.Add(-2*time.Hour), noon
	})
	for name, m := range map[string]message{
		"waiting":            pendingMessage(&waiting, true),
		"waiting-no-channel": pendingMessage(&waiting, false),
		"waiting-longest":    pendingMessage(&longest, true),
		"reminder":           reminder(asking(&waiting, 2, 0)),
		"reminder-many":      reminder(asking(&waiting, 25, 0)),
		"escalated":          escalation(risen),
		"escalated-many":     escalation(many),
		"answered-first":     answeredMessage(&half, broker.Answer{Yes: true}),
		"answered-last":      answeredMessage(&approved, broker.Answer{Yes: true}),
		"answered-less":      answeredMessage(&approved, broker.Answer{Yes: true, Duration: 30 * time.Minute}),
		"answered-no":        answeredMessage(&denied, broker.Answer{}),
		"revealed-already":   revealedAlready(&revealed, noon),
		"revealed-late":      revealedAlready(&late, noon),
		"never-shown":        revealedAlready(&neverShown, noon),
		"not-shown":          revealedAlready(&notShown, noon),
		"foreign":            say(identityWords[broker.RuleForeign], ""),
	} {
		t.Run(name, func(t *testing.T) { compare(t, "approvals-"+name, answered(t, m, false)) })
	}
	for _, name := range []broker.EventName{
		broker.EventPending, broker.EventApproved, broker.EventDeclined, broker.EventWithdrawn, broker.EventLapsed, broker.EventVoid, broker.EventIssued,
		broker.EventDenied, broker.EventFailed, broker.EventUndelivered, broker.EventEndAsked, broker.EventEnded, broker.EventClosed,
	} {
		t.Run("progress-"+string(name), func(t *testing.T) {
			e := broker.Event{
				Event: name, Time: noon, Actor: "lea", Duration: 7200, ExpiresAt: noon.Add(time.Hour), Rule: broker.RuleChanged,
				Detail: "*freeze* <!channel>", Outcome: string(broker.FaultAccess), SessionID: "01JDCKQ0000000000000000000", AccessKeyID: "ASIAZZZZZZZZZZZZZZZZ",
			}
			if name == broker.EventIssued {
				e.Actor, e.Rule, e.Path = "alice", policy.RuleApproved, "alice ∈ dev → prod-admin"
			}
			compare(t, "progress-"+string(name), posted(t, progress(&waiting, []broker.Notice{{Event: &e}})))
			compare(t, "progress-audit-"+string(name), posted(t, timeline([]broker.Notice{{Event: &e}})))
		})
	}
	for name, notices := range map[string][]broker.Notice{
		"progress-renewed":      {{Event: &broker.Event{Event: broker.EventIssued, Time: noon, SessionID: "01JDCKQ0000000000000000001", ExpiresAt: noon.Add(time.Hour)}}},
		"progress-window-ended": {{Event: &broker.Event{Event: broker.EventEndAsked, Time: noon, Actor: "alice"}}},
		"progress-longest":      events(200),
	} {
		t.Run(name, func(t *testing.T) { compare(t, name, posted(t, progress(&waiting, notices))) })
	}
	for name, r := range map[string]*broker.Request{"deny-form": &waiting, "deny-form-blind": nil} {
		t.Run(name, func(t *testing.T) {
			compareView(t, name, denyView("SEALED", r), nil)
		})
	}
}

// TestSealedFormFits holds that the work which waits for a form fits a view's
// metadata, with the longest of everything.
func TestSealedFormFits(t *testing.T) {
	d := newDesk(t)
	packed, err := d.Sealer.pack(work{
		Kind: workButton, Caller: broker.SlackID{Team: "E" + strings.Repeat("0", 31), User: "W" + strings.Repeat("0", 31)}, Key: strings.Repeat("k", 255),
		Received: noon, Channel: strings.Repeat("C", 32), Action: actionDeny, Value: openRequest("x").ID, ResponseURL: broker.NewSecret(strings.Repeat("u", 300)),
	})
	const most = 3000 // of a view's private_metadata. Source: Slack's reference of views.
	if err != nil || len(packed) > most {
		t.Errorf("%d characters, %v", len(packed), err)
	}
	if w, err := d.Sealer.unpack(packed); err != nil || w.Action != actionDeny || strings.Contains(packed, "uuu") {
		t.Errorf("unpacked %+v, %v", w, err)
	}
}
