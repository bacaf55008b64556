package bot

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// maxMentions is how many approvers are called by name. Of more, their groups
// are named, up to maxGroups of them. Our own choice.
const (
	maxMentions = 10
	maxGroups   = 30
)

// callRoom is how much of a paragraph those who are called may take, in
// characters. What else is said of them takes less than the rest.
const callRoom = maxSection - 500

// maxOpen is how many open Requests are named. Our own choice.
const maxOpen = 5

// approvalMessage is a Request in the approvals channel, as it is now: with the
// buttons to answer it, and a mention of those who may, as long as it waits.
func approvalMessage(t broker.Telling) message {
	r := t.Request
	m := message{
		text:   bare(fmt.Sprintf("%s asks for %s in %s for %s. %s", r.User, word(string(r.Role)), accountName(r), span(r.Duration), howItStands(r))),
		blocks: []slack.Block{asksFor(r), section(howItStands(r))},
	}
	if r.Ticket != "" {
		m.blocks = append(m.blocks, quote("Ticket", r.Ticket, linksOf(r)...))
	}
	if r.Reason != "" {
		m.blocks = append(m.blocks, quote("Reason", r.Reason, linksOf(r)...))
	}
	if no := declined(r); no != nil && no.Reason != "" {
		m.blocks = append(m.blocks, quote("Why not", no.Reason))
	}
	if r.State == broker.StatePending {
		if len(t.Open) > 0 {
			m.blocks = append(m.blocks, section(alreadyOpen(r, t.Open)))
		}
		m.blocks = append(m.blocks, callApprovers(t), answerButtons(r))
	}
	foot := requestLine(r.ID)
	if r.Path != "" {
		foot += "  ·  " + word(cut(r.Path, 400))
	}
	m.blocks = append(m.blocks, small(foot))
	return m
}

// asksFor says who asks for what. The person is mentioned by their account.
func asksFor(r *broker.Request) slack.Block {
	parts := []slack.RichTextSectionElement{rich(requestMark(r) + "  ")}
	if !r.Slack.IsZero() {
		parts = append(parts, slack.NewRichTextSectionUserElement(r.Slack.User, nil), rich(" "))
	}
	parts = append(parts,
		slack.NewRichTextSectionTextElement(string(r.User), &slack.RichTextSectionTextStyle{Bold: true}), rich(" asks for "),
		slack.NewRichTextSectionTextElement(string(r.Role), &slack.RichTextSectionTextStyle{Code: true}),
		rich(fmt.Sprintf(" in %s for %s", accountName(r), span(r.Duration))))
	return slack.NewRichTextBlock("", slack.NewRichTextSection(parts...))
}

// alreadyOpen says what the requester has open besides.
func alreadyOpen(r *broker.Request, open []broker.Request) string {
	var roles []string
	for _, o := range open[:min(len(open), maxOpen)] {
		roles = append(roles, fmt.Sprintf("%s until %s", word(string(o.Role)), when(o.WindowEnd)))
	}
	if rest := len(open) - maxOpen; rest > 0 {
		roles = append(roles, fmt.Sprintf("and %d more", rest))
	}
	return fmt.Sprintf("`%s` has open already: %s.", r.User, strings.Join(roles, ", "))
}

// rich is a piece of rich text of our own words.
func rich(text string) slack.RichTextSectionElement {
	return slack.NewRichTextSectionTextElement(text, nil)
}

// accountName names the account of a Request: its own name, then AWS's.
func accountName(r *broker.Request) string {
	return accountOf(&policy.Role{Account: r.Account, AccountID: r.AccountID})
}

// howItStands says in a sentence or two how far a Request has come that somebody
// must approve.
func howItStands(r *broker.Request) string {
	switch r.State {
	case broker.StatePending:
		yes, needed := r.Answered()
		words := fmt.Sprintf("%d of %s so far", yes, count(needed, "approval", "approvals"))
		if yes > 0 {
			words += ", by " + approvedBy(r)
		}
		return fmt.Sprintf("%s. It lapses %s.", words, when(r.LapsesAt))
	case broker.StateApproved:
		return fmt.Sprintf("Approved by %s. It waits for `%s` to %s the credentials, and lapses %s.", approvedBy(r), r.User, taking(r), when(r.LapsesAt))
	case broker.StateOpen:
		if until := r.RevealUntil(); !until.IsZero() && r.TokenID != "" {
			return revealedBy(r) + ". " + neverHad
		} else if !until.IsZero() {
			return fmt.Sprintf("%s, but Slack did not confirm that it showed the credentials. `%s` can reveal them anew until %s.", revealedBy(r), r.User, when(until))
		}
		return fmt.Sprintf("%s. It ends %s.", revealedBy(r), when(r.WindowEnd))
	case broker.StateClosed:
		if r.OpenedAt.IsZero() {
			return "It failed, and nothing was issued."
		}
		return fmt.Sprintf("%s. It ended %s.", revealedBy(r), when(r.WindowEnd))
	case broker.StateDenied:
		if no := declined(r); no != nil {
			return fmt.Sprintf("Denied by `%s`.", no.User)
		}
		return "It was refused."
	case broker.StateWithdrawn:
		return fmt.Sprintf("Withdrawn by `%s`.", r.User)
	case broker.StateLapsed:
		return "It has lapsed" + lapsedWhy(r) + "."
	case broker.StateVoid:
		return "It is void: " + voidOf(r.Rule).they + "."
	default:
		return "Nothing was decided yet."
	}
}

// taking is what a requester does to have what was approved: press Reveal, or
// ask for it with the Token.
func taking(r *broker.Request) string {
	if r.TokenID != "" {
		return "fetch"
	}
	return "reveal"
}

// revealedBy says how a Request came to be open.
func revealedBy(r *broker.Request) string {
	if r.Needs == nil {
		return "Issued"
	}
	if r.TokenID != "" {
		return fmt.Sprintf("Approved by %s, and issued", approvedBy(r))
	}
	return fmt.Sprintf("Approved by %s, and revealed", approvedBy(r))
}

// approvedBy names those who agreed to a Request, and to how much, if that is
// less than was asked.
func approvedBy(r *broker.Request) string {
	var who []string
	for _, a := range r.Approvals {
		switch {
		case !a.Yes:
		case a.Duration > 0:
			who = append(who, fmt.Sprintf("`%s` (for %s)", a.User, span(a.Duration)))
		default:
			who = append(who, "`"+string(a.User)+"`")
		}
	}
	return strings.Join(who, ", ")
}

// declined returns the no to a Request, or nil.
func declined(r *broker.Request) *broker.Approval {
	for i, a := range r.Approvals {
		if !a.Yes {
			return &r.Approvals[i]
		}
	}
	return nil
}

// lapsedWhy says what did not happen in time, as the end of a sentence.
func lapsedWhy(r *broker.Request) string {
	if yes, needed := r.Answered(); yes < needed {
		return fmt.Sprintf(", with %d of %s", yes, count(needed, "approval", "approvals"))
	}
	return fmt.Sprintf(": approved by %s, and not %sed in time", approvedBy(r), taking(r))
}

// callApprovers mentions those who are asked to answer. Where too few can
// answer, that is said. It is markup of Slack's, since that shows a mention of
// nobody as it is: rich text with one is refused whole.
func callApprovers(t broker.Telling) slack.Block {
	r := t.Request
	var words string
	yes, needed := r.Answered()
	switch {
	case t.Able == 0:
		words = fmt.Sprintf("Nobody in %s can answer this. An administrator has to add somebody.", someOf(listed(r.Needs.Groups()), maxGroups, callRoom))
	case len(t.Approvers) == 0: // and it has not escalated yet
		words = fmt.Sprintf("Nobody in %s can answer this. When it escalates it is put to %s.",
			someOf(listed(groupNames(t.Asked)), maxGroups, callRoom/2), someOf(listed(r.Needs.EscalateTo), maxGroups, callRoom/2))
	default:
		words = "To answer: " + calledBy(t)
	}
	if missing := needed - yes; t.Able > 0 && t.Able < missing {
		more := ""
		if yes > 0 {
			more = " more"
		}
		words += fmt.Sprintf("\nIt needs %s%s, and only %d can answer. An administrator has to add somebody.",
			count(missing, "approval", "approvals"), more, t.Able)
	}
	return section(words)
}

// calledBy mentions those who are asked to answer: by the user groups of
// Slack's that the policy gives their groups, and whoever is in no such group by
// name. Where those are many, their groups are named. Whom there is no room for
// is counted.
func calledBy(t broker.Telling) string {
	all := len(t.Approvers) <= broker.MaxApprovers // are in t
	people := slices.Clone(t.Approvers)
	var words []string
	var others []policy.GroupName
	for _, g := range t.Asked {
		member := func(u broker.User) bool { return slices.Contains(u.Groups, g.Name) }
		switch {
		case g.SlackGroup == "":
			others = append(others, g.Name)
			continue
		case all && !slices.ContainsFunc(t.Approvers, member):
			continue // none of them can answer
		}
		people = slices.DeleteFunc(people, member)
		if mention := "<!subteam^" + g.SlackGroup + ">"; !slices.Contains(words, mention) {
			words = append(words, mention)
		}
	}
	if len(others) > 0 && (len(people) > maxMentions || !all) {
		return someOf(append(words, listed(others)...), len(words)+maxGroups, callRoom)
	}
	for _, u := range people {
		words = append(words, "<@"+u.Slack.User+">")
	}
	return someOf(words, len(words), callRoom)
}

// groupNames are the names of groups.
func groupNames(groups []policy.Group) []policy.GroupName {
	list := make([]policy.GroupName, len(groups))
	for i, g := range groups {
		list[i] = g.Name
	}
	return list
}

// lessSteps are the durations that an approver may cut a Request to.
var lessSteps = []time.Duration{policy.MinDuration, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour}

// answerButtons answer a Request.
func answerButtons(r *broker.Request) slack.Block {
	buttons := []slack.BlockElement{button(actionApprove, r.ID, "Approve", slack.StylePrimary)}
	var less []*slack.OptionBlockObject
	for _, d := range lessSteps {
		if d < r.ApprovedFor() {
			less = append(less, slack.NewOptionBlockObject(r.ID+" "+span(d), plain("Approve for "+span(d)), nil))
		}
	}
	if len(less) > 0 {
		buttons = append(buttons, slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, plain("Approve for less"), actionLess, less...))
	}
	return slack.NewActionBlock("", append(buttons, button(actionDeny, r.ID, "Deny", slack.StyleDanger))...)
}

// button is a button.
func button(action, value, label string, style slack.Style) *slack.ButtonBlockElement {
	b := slack.NewButtonBlockElement(action, value, plain(label))
	b.Style = style
	return b
}

// reminder calls those who may still answer a Request.
func reminder(t broker.Telling) message {
	words := "⏰  " + stillWaits(t.Request)
	return message{text: bare(words), blocks: []slack.Block{section(words), callApprovers(t)}}
}

// escalation calls those to whom a Request has escalated, and the others again.
func escalation(t broker.Telling) message {
	words := fmt.Sprintf("⏫  Escalated to %s: %s", names(t.Request.Needs.EscalateTo, 5), stillWaits(t.Request))
	return message{text: bare(words), blocks: []slack.Block{section(words), callApprovers(t)}}
}

// stillWaits says who waits for an answer, on what, and how far that has come.
func stillWaits(r *broker.Request) string {
	return fmt.Sprintf("`%s` still waits for an answer on %s in %s for %s. %s",
		r.User, word(string(r.Role)), accountName(r), span(r.Duration), howItStands(r))
}

// progress is what the thread of a Request in the approvals channel says of new
// Events: a line each, and why somebody said no.
func progress(r *broker.Request, notices []broker.Notice) message {
	var lines, said []string
	for _, n := range notices {
		if n.Event != nil {
			what := progressWhat(r, *n.Event)
			said = append(said, what)
			lines = append(lines, clock(n.Event.Time)+"  "+what)
		}
	}
	return message{
		text:   aloud(fmt.Sprintf("The request of %s for %s", r.User, word(string(r.Role))), said),
		blocks: threadBlocks(lines, notices),
	}
}

// progressWhat says what happened to a Request that somebody must approve.
func progressWhat(r *broker.Request, e broker.Event) string {
	switch e.Event {
	case broker.EventPending:
		return fmt.Sprintf("asked by `%s`", r.User)
	case broker.EventIssued:
		if e.SessionID == firstIssued(r) {
			return fmt.Sprintf("%sed by `%s`: session `%s`, until %s", taking(r), r.User, e.SessionID, when(e.ExpiresAt))
		}
		return fmt.Sprintf("further session `%s` for `%s`, until %s", e.SessionID, r.User, when(e.ExpiresAt))
	case broker.EventFailed:
		return fmt.Sprintf("`%s` wanted credentials, and nothing was issued: `%s`", r.User, e.Outcome)
	case broker.EventDenied:
		return fmt.Sprintf("`%s` wanted credentials, and was refused: %s", r.User, voidOf(e.Rule).they)
	case broker.EventVoid:
		return "void: " + voidOf(e.Rule).they
	default:
		return eventWhat(e)
	}
}

// firstIssued is the id of the Session that was issued first.
func firstIssued(r *broker.Request) string {
	for _, s := range r.Sessions {
		if s.State == broker.SessionIssued {
			return s.ID
		}
	}
	return ""
}

// answeredMessage tells an approver what came of their answer.
func answeredMessage(r *broker.Request, ans broker.Answer) message {
	what := word(string(r.Role)) + " for `" + string(r.User) + "`"
	if !ans.Yes {
		return say(fmt.Sprintf("⛔  You denied %s, who is told.", what), requestLine(r.ID))
	}
	if ans.Duration > 0 {
		what += ", for " + span(ans.Duration) + " at most"
	}
	next := howItStands(r)
	if r.State == broker.StateApproved {
		next = fmt.Sprintf("`%s` can %s the credentials now, and has until %s.", r.User, taking(r), when(r.LapsesAt))
	}
	return say(fmt.Sprintf("✅  You approved %s. %s", what, next), requestLine(r.ID))
}

// settledRequest answers somebody who came too late to change a Request.
func settledRequest(r *broker.Request) message {
	return say("Nothing was changed: this request is past that. "+howItStands(r), requestLine(r.ID))
}
