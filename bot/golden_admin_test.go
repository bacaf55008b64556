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

const day = 24 * time.Hour

// carol has all that a User can have.
func carol() broker.User {
	return broker.User{
		Name: "carol", ID: "01JDCKQ00000000000000CAR01", Enabled: true, Expires: noon.Add(60 * day), Email: "carol@example.com",
		Slack: broker.SlackID{Team: "T012AB", User: "U0789"}, Groups: []policy.GroupName{"dev", "sre"}, Manual: []string{"expires", "groups"},
		Grants: []policy.Grant{{Role: "prod-admin", Expires: noon.Add(day)}, {Role: "prod-readonly"}},
		Tokens: []broker.Token{
			{ID: "7Qm2xK9fLp0a", Label: "*laptop* <!channel>", Expires: noon.Add(30 * day)},
			{ID: "8Rn3yL0gMq1b", Expires: noon.Add(30 * day), RevokedAt: noon.Add(-day)},
			{ID: "9So4zM1hNr2c", Label: "old", Expires: noon},
		},
	}
}

// robot is an application of carol's.
func robot() broker.User {
	return broker.User{Name: "ci-deploy", ID: "01JDCKQ00000000000000CI001", IsApp: true, Owner: "carol", Enabled: true, Expires: noon.Add(day)}
}

// holds are Roles that somebody may ask for.
func holds(n int) []policy.Hold {
	out := make([]policy.Hold, n)
	for i := range out {
		out[i] = policy.Hold{
			Path: []string{"carol", "∈", "sre", "→", "prod-admin", "→", "includes", fmt.Sprintf("role-%d", i)}, Expires: noon.Add(60 * day), NeedsApproval: i%2 == 1,
		}
	}
	return out
}

// people are n Users, each with the longest names there are.
func people(n int) []broker.User {
	out := make([]broker.User, n)
	for i := range out {
		out[i] = carol()
		out[i].Name, out[i].Groups = policy.UserName(fmt.Sprintf("%032d", i)), nil
		for g := range 10 {
			out[i].Groups = append(out[i].Groups, policy.GroupName(longName(fmt.Sprintf("g%d-", g))))
		}
	}
	return out
}

// proposal is a change that benefits alice and waits.
func proposal(i int) broker.Proposal {
	return broker.Proposal{
		ID:     fmt.Sprintf("01JDCKQ%019d", i),
		Change: broker.Change{Op: broker.OpGrantAdd, Group: "dev", Role: "prod-admin", Message: "*now* <!channel>"},
		Detail: []string{"groups.dev.grants.prod-admin: added", "<!channel> *forged*"}, Benefit: "alice gains prod-admin",
		Author: "alice", User: "alice", MadeAt: noon, Expires: noon.Add(3 * day), State: broker.ProposalWaiting,
	}
}

func proposals(n int) []broker.Proposal {
	out := make([]broker.Proposal, n)
	for i := range out {
		out[i] = proposal(i)
	}
	return out
}

// versions are n versions of the Policy, newest first.
func versions(n int) []broker.Head {
	out := make([]broker.Head, n)
	for i := range out {
		out[i] = broker.Head{
			Version: int64(20 - i), Author: "root@build-1", AppliedAt: noon.Add(time.Duration(-i) * time.Hour), How: broker.HowFile,
			Message: strings.Repeat("*why* <!channel> ", i*30),
		}
	}
	return out
}

// document has two groups, one of which does everything that groups can.
func document(t failer) *policy.Document {
	return &policy.Document{
		Groups: map[policy.GroupName]policy.Group{
			"dev":       {Name: "dev"},
			"sre-leads": {Name: "sre-leads", Grants: []policy.Grant{{Role: "prod-admin", Expires: noon.Add(day)}, {Role: "prod-readonly"}}},
		},
		Roles:  map[policy.RoleName]*policy.Role{"prod-admin": strict(t), "prod-readonly": readonly()},
		Admins: []policy.GroupName{"sre-leads"},
	}
}

// route is a way to prod-readonly.
func route(via policy.GroupName, expires time.Time, expired bool) policy.Route {
	return policy.Route{Path: []string{"alice", "∈", string(via), "→", "prod-readonly"}, Via: via, Granted: "prod-readonly", Expires: expires, Expired: expired}
}

// ending is the Telling of the end of u's access, told so long before it: the
// last of before is how long before it is now.
func ending(u, to broker.User, before ...time.Duration) broker.Telling {
	u.Expires = noon.Add(before[len(before)-1])
	t := broker.Telling{Kind: broker.NoticeExpiring, User: &u, To: &to}
	for _, d := range before {
		t.Notices = append(t.Notices, broker.Notice{Kind: broker.NoticeExpiring, About: u.Expires, Due: u.Expires.Add(-d)})
	}
	return t
}

// TestGoldenAdmin keeps what administrators are told.
func TestGoldenAdmin(t *testing.T) {
	done := broker.Done{Change: broker.Change{Op: broker.OpGrantAdd}, Detail: []string{"groups.dev.grants.prod-admin: added", "roles.x.ticket: `*` → <!channel>"}, PolicyVersion: 13}
	loud := done
	loud.Loud = "This benefits its author alice: alice gains prod-admin."
	owner := broker.Done{
		Change: broker.Change{Op: broker.OpUserRemove, Users: []policy.UserName{"carol"}}, Detail: []string{"carol: enabled: true → false; removed"},
		Bereft: []string{"carol answers for these applications, which lose their access too: ci-deploy, nightly"}, PolicyVersion: 13,
	}
	rollback := broker.Done{
		Change: broker.Change{Op: broker.OpRollback, Version: 12}, PolicyVersion: 13, Loud: "The removed group data comes back.",
		Detail: []string{"the removed group data comes back, with its members alice, bob", "alice and bob gain prod-readonly", "groups.data: added"},
	}
	many := done
	for i := range 200 {
		many.Detail = append(many.Detail, fmt.Sprintf("groups.%s.grants.%d: added", longName("g"), i))
	}
	long := many
	long.Change = rollback.Change
	waits := proposal(1)
	hold := holds(3)
	removed := broker.User{Name: "carol", ID: "01JDCKQ00000000000000CAR01", Removed: true}
	off := carol()
	off.Enabled = false
	whole := document(t) // with all groups that carol is in
	whole.Groups["sre"] = policy.Group{Name: "sre"}
	holders := []policy.Holder{{User: "carol", Path: hold[0].Path, Expires: noon.Add(day)}, {User: "bob", Path: hold[1].Path, Expires: noon.Add(day), NeedsApproval: true}}
	usage := &broker.UsageError{Command: &broker.Commands[0], Problem: "\"*<!channel>\" is not a user's name."}
	for name, m := range map[string]message{
		"help":              adminHelp(nil),
		"help-family":       adminHelp([]string{"Change"}),
		"help-user-bind":    adminHelp([]string{"user", "bind"}),
		"done":              doneMessage(done),
		"done-loud":         doneMessage(loud),
		"done-longest":      doneMessage(many),
		"done-owner":        doneMessage(owner),
		"done-already":      doneMessage(broker.Done{Change: done.Change, Same: true}),
		"done-waits":        doneMessage(broker.Done{Change: done.Change, Proposal: &waits}),
		"preview":           previewMessage(rollback, ""),
		"preview-waits":     previewMessage(rollback, "alice gains prod-admin"),
		"preview-longest":   previewMessage(long, ""),
		"preview-same":      previewMessage(broker.Done{Change: rollback.Change, Same: true}, ""),
		"confirmed":         confirmedMessage(done, proposal(1).ID),
		"confirmed-before":  confirmedBefore(proposal(1).ID),
		"confirmed-in-vain": notCarriedOut(fmt.Errorf("there is no group *x* (%w)", broker.ErrNotFound), proposal(1).ID),
		"rejected":          rejectedMessage(proposal(1).ID),
		"no-token":          noTokenHere(),
		"misused-question":  questions[0].misused(),

		"usage":          usageMessage(usage.Problem, usage.Command.Usage()),
		"near-miss":      unknownAdmin([]string{"user", "ad", "bob"}),
		"near-question":  unknownAdmin([]string{"chagnes"}),
		"no-command":     unknownAdmin([]string{"<!channel>", "now"}),
		"unclosed":       unclosedMessage(),
		"late":           lateChange(),
		"cannot":         adminProblem(fmt.Errorf("there is no group *x*; did you mean <!channel>? (%w)", broker.ErrNotFound)),
		"cannot-invalid": adminProblem(fmt.Errorf("2026-11-22 00:00 UTC has passed already: %w", broker.ErrInvalid)),
		"no-store":       adminProblem(fmt.Errorf("store: SECRET: %w", broker.ErrUnavailable)),
		"anything-else":  adminProblem(errors.New("SECRET")),
		"nobody-bound":   adminProblem(nobody{alice}),

		"users-none":       usersMessage(nil, document(t), "dev", noon, "starback user list --group dev"),
		"users":            usersMessage([]broker.User{carol(), robot(), off}, whole, "", noon, "starback user list"),
		"users-longest":    usersMessage(people(200), document(t), "", noon, "starback user list"),
		"expiring-none":    expiringMessage(nil, document(t), "14d", noon),
		"expiring":         expiringMessage([]broker.User{robot(), carol()}, whole, "60d", noon.Add(2*day)),
		"expiring-longest": expiringMessage(people(200), document(t), "14d", noon),
		"user":             userMessage(broker.Membership{User: carol(), Admin: true, Holds: hold, PolicyVersion: 13}, noon),
		"user-application": userMessage(broker.Membership{User: robot(), Owner: carol(), PolicyVersion: 13}, noon),
		"user-ownerless":   userMessage(broker.Membership{User: robot(), PolicyVersion: 13}, noon.Add(day)),
		"user-removed":     userMessage(broker.Membership{User: removed, PolicyVersion: 13}, noon),
		"user-group-gone":  userMessage(broker.Membership{User: carol(), Removed: carol().RemovedGroups(document(t)), PolicyVersion: 13}, noon),
		"users-group-gone": usersMessage([]broker.User{carol()}, document(t), "", noon, "starback user list"),
		"user-longest":     userMessage(broker.Membership{User: people(1)[0], Removed: people(1)[0].Groups, Holds: holds(300), PolicyVersion: 13}, noon),
		"group":            groupMessage("sre-leads", whole, []broker.User{carol()}, noon),
		"group-longest":    groupMessage("sre-leads", document(t), people(200), noon),
		"no-group":         noGroup("drv", document(t)),
		"no-group-forged":  noGroup("*`<!channel>", document(t)),
		"groups":           groupsMessage(document(t)),
		"who-can":          whoCanMessage("prod-readonly", holders),
		"who-can-nobody":   whoCanMessage("prod-readonly", nil),
		"history":          historyMessage(versions(3)),
		"history-longest":  historyMessage(versions(15)),
		"changes-none":     openMessage(nil),
		"changes":          openMessage(proposals(2)),
		"changes-longest":  openMessage(proposals(30)),
	} {
		t.Run(name, func(t *testing.T) {
			sent := answered(t, m, false)
			if strings.Contains(string(sent), "SECRET") {
				t.Error("the cause is shown")
			}
			compare(t, "admin-"+name, sent)
		})
	}
}

// TestGoldenWhy keeps how access is explained.
func TestGoldenWhy(t *testing.T) {
	me := me(readonly(), strict(t))
	allowed := policy.Explanation{
		Effect: policy.Allow, Rule: policy.RuleGranted, Reason: "The role is granted.", Longest: 8 * time.Hour, Expires: noon.Add(90 * day),
		Routes: []policy.Route{route("dev", noon.Add(90*day), false)},
	}
	several := allowed
	for _, via := range []policy.GroupName{"sre", "ops", "data"} {
		several.Routes = append(several.Routes, route(via, noon.Add(-day), true))
	}
	approval := allowed
	approval.Effect, approval.Rule, approval.Reason = policy.NeedsApproval, policy.RuleApprovalRequired, "The role is granted; somebody must approve the request."
	approval.Needs = []string{"a ticket that matches `*<!channel>`", "a reason", "2 approvals from sre-leads (not your own)"}
	expired := policy.Explanation{
		Rule: policy.RuleGrantExpired, Reason: "The grant has expired.", Routes: several.Routes[1:],
		Needs: []string{"an administrator to renew the grant of prod-readonly to sre"},
	}
	for name, m := range map[string]message{
		"allowed":  whyMessage("prod-readonly", allowed, me),
		"several":  whyMessage("prod-readonly", several, me),
		"approval": whyMessage("prod-readonly", approval, me),
		"expired":  whyMessage("prod-readonly", expired, me),
		"no-role":  whichRole(me),
		"nothing":  whichRole(broker.Me{User: broker.User{Name: "al"}, Slack: alice}),
		"unknown":  whyMessage("prod-radonly", policy.Explanation{Rule: policy.RuleRoleUnknown}, me),
		"can-not": explanation("*bob*", "prod-readonly", policy.Explanation{
			Rule: policy.RuleNotGranted, Reason: "The role is not granted.", Needs: []string{"membership of dev, or a grant to the user"},
		}, "As things are now"),
	} {
		t.Run(name, func(t *testing.T) { compare(t, "why-"+name, answered(t, m, false)) })
	}
}

// TestGoldenTold keeps what people are told unasked: that their access ends,
// and, loudly, what everybody should look at.
func TestGoldenTold(t *testing.T) {
	event := func(name broker.EventName, change func(*broker.Event)) broker.Event {
		e := broker.Event{
			ID: "01JDCKQ0000000000000000009", Event: name, Time: noon, Actor: "alice", Detail: "on call <!channel>. groups: dev → dev, *sre*",
			Loud: "This benefits its author alice: alice gains prod-admin. This weakens a rule: roles.x.ticket: `<!here>` → *\u202e.",
		}
		change(&e)
		return e
	}
	wants := eventMessage(event(broker.EventProposed, func(e *broker.Event) { e.ProposalID = proposal(1).ID }))
	wants.blocks = append(wants.blocks, proposalButtons(proposal(1).ID))
	settled := func(state broker.ProposalState, by string) message {
		p := proposal(1)
		p.State, p.AnswerBy = state, by
		return settledMessage(p)
	}
	for name, m := range map[string]message{
		"loud-user":   eventMessage(event(broker.EventUserChanged, func(e *broker.Event) { e.Subject = "alice" })),
		"loud-policy": eventMessage(event(broker.EventPolicyChanged, func(e *broker.Event) { e.PolicyVersion = 13 })),
		"loud-longest": eventMessage(event(broker.EventPolicyChanged, func(e *broker.Event) {
			e.Subject, e.Loud = strings.Repeat("<&", 200), strings.Repeat("loud 🔥 ", 1000)
		})),
		"loud-token":        eventMessage(event(broker.EventTokenCreated, func(e *broker.Event) { e.Subject, e.TokenID = "alice", "7Qm2xK9fLp0a" })),
		"proposal":          wants,
		"proposal-done":     settled(broker.ProposalDone, "bob"),
		"proposal-rejected": settled(broker.ProposalRejected, "bob"),
		"proposal-lapsed":   settled(broker.ProposalWaiting, ""),

		"ending-in-7-days":   endingMessage(ending(carol(), carol(), 7*day)),
		"ending-in-1-day":    endingMessage(ending(carol(), carol(), day)),
		"ending-told-late":   endingMessage(ending(carol(), carol(), 7*day, 90*time.Minute)),
		"ending-application": endingMessage(ending(robot(), carol(), 7*day)),
	} {
		t.Run(name, func(t *testing.T) {
			sent := posted(t, m)
			compare(t, "told-"+name, sent)
			if calls := strings.Count(string(sent), `"broadcast"`); calls > 1 || (calls == 1) != (strings.HasPrefix(name, "loud") || name == "proposal") {
				t.Errorf("everybody is called %d times", calls)
			}
		})
	}
}
