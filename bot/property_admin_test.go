package bot

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// TestAdminHoldsWordsAsText draws what administrators type and what a policy
// holds, and puts it into every message that shows some of it.
func TestAdminHoldsWordsAsText(t *testing.T) {
	states := []broker.ProposalState{broker.ProposalWaiting, broker.ProposalConfirmed, broker.ProposalDone, broker.ProposalRejected}
	reasons := []error{broker.ErrInvalid, broker.ErrNotFound, broker.ErrConflict, broker.ErrDenied, broker.ErrUnavailable, errors.New("SECRET")}
	rapid.Check(t, func(rt *rapid.T) {
		text := typed(1000)
		lines := rapid.SliceOfN(text, 0, 60).Draw(rt, "lines")

		p := proposal(1)
		p.Author, p.Benefit, p.AnswerBy, p.Detail = typed(100).Draw(rt, "author"), text.Draw(rt, "benefit"), typed(100).Draw(rt, "answered by"), lines
		p.State = rapid.SampledFrom(states).Draw(rt, "state")
		checkSafe(rt, answered(rt, openMessage([]broker.Proposal{p, p, p, p, p}), false), "")
		checkSafe(rt, answered(rt, waitingMessage(p), false), "")
		checkSafe(rt, posted(rt, settledMessage(p)), "")

		done := broker.Done{Change: p.Change, Detail: lines, Loud: text.Draw(rt, "loud"), PolicyVersion: 7}
		checkSafe(rt, answered(rt, doneMessage(done), false), "")
		reason := rapid.SampledFrom(reasons).Draw(rt, "reason")
		checkSafe(rt, answered(rt, adminProblem(fmt.Errorf("%s: %w", text.Draw(rt, "problem"), reason)), false), "")
		checkSafe(rt, answered(rt, usageMessage(text.Draw(rt, "usage problem"), broker.Commands[0].Usage()), false), "")
		if words, err := splitWords(cleanText(text.Draw(rt, "words"))); err == nil && len(words) > 0 {
			checkSafe(rt, answered(rt, unknownAdmin(words), false), "")
		}

		heads := versions(rapid.IntRange(1, 15).Draw(rt, "versions"))
		for i := range heads {
			heads[i].Author, heads[i].Message = p.Author, text.Draw(rt, "message")
		}
		checkSafe(rt, answered(rt, historyMessage(heads), false), "")

		u := carol()
		u.Email, u.Tokens[0].Label = text.Draw(rt, "address"), typed(64).Draw(rt, "label")
		checkSafe(rt, answered(rt, userMessage(broker.Membership{User: u, Holds: holds(5)}, noon), false), "")

		role := typedRole(rt)
		x := policy.Explanation{Rule: policy.RuleRoleUnknown}
		checkSafe(rt, answered(rt, whyMessage(role, x, me()), false), role)
		x = policy.Explanation{Rule: policy.RuleGranted, Effect: rapid.SampledFrom([]policy.Effect{policy.Allow, policy.NeedsApproval, policy.Deny}).Draw(rt, "effect"), Needs: lines}
		checkSafe(rt, answered(rt, explanation("You", role, x, "Policy version 7"), false), role)
		checkSafe(rt, answered(rt, noGroup(policy.GroupName(role), document(rt)), false), role)

		e := broker.Event{
			ID: "01JDCKQ0000000000000000009", Event: broker.EventPolicyChanged, Time: noon, Actor: p.Author, Subject: string(role),
			Detail: text.Draw(rt, "detail"), Loud: done.Loud, ProposalID: p.ID, TokenID: "7Qm2xK9fLp0a",
		}
		checkSafe(rt, posted(rt, eventMessage(e)), role)
	})
}

// TestAdminListsFit draws lists of every length, with the longest names there
// are.
func TestAdminListsFit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, 300).Draw(rt, "n")
		users := people(n)
		doc := document(rt)
		for i := range n {
			name := policy.GroupName(longName(fmt.Sprintf("group-%03d-", i)))
			doc.Groups[name] = policy.Group{Name: name, Grants: doc.Groups["sre-leads"].Grants}
			role := *doc.Roles["prod-admin"]
			doc.Roles[policy.RoleName(longName(fmt.Sprintf("role-%03d-", i)))] = &role
		}
		u := people(1)[0]
		for i := range rapid.IntRange(0, 30).Draw(rt, "groups") {
			u.Groups = append(u.Groups, policy.GroupName(longName(fmt.Sprintf("more-%02d-", i))))
			u.Grants = append(u.Grants, policy.Grant{Role: policy.RoleName(longName(fmt.Sprintf("more-%02d-", i))), Expires: noon})
		}
		for len(u.Tokens) < 20 {
			u.Tokens = append(u.Tokens, broker.Token{ID: "7Qm2xK9fLp0a", Label: longName("label"), Expires: noon})
		}
		holders := make([]policy.Holder, n)
		hold := holds(n)
		for i := range n {
			hold[i].Path[2], hold[i].Path[7] = longName("group-"), longName("role-")
			holders[i] = policy.Holder{Path: hold[i].Path, Expires: noon, NeedsApproval: true}
		}
		for _, m := range []message{
			adminHelp(nil), openMessage(proposals(n)), usersMessage(users, doc, "", noon, "starback user list"), expiringMessage(users, doc, "14d", noon),
			groupsMessage(doc), groupMessage("sre-leads", doc, users, noon), whoCanMessage("prod-admin", holders),
			userMessage(broker.Membership{User: u, Removed: u.Groups, Admin: true, Holds: hold}, noon),
		} {
			checkSafe(rt, answered(rt, m, false), "")
		}
	})
}
