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

// What people are told of what they have open, and of ending it.

// shownSessions is how many Sessions of one Request a list shows.
const shownSessions = 5

// live returns the Sessions of a Request whose keys work at now, as far as is
// known: neither expired nor denied.
func live(r *broker.Request, now time.Time) []broker.Session {
	var found []broker.Session
	for _, s := range r.Sessions {
		if s.State == broker.SessionIssued && s.EndedAt.IsZero() && now.Before(s.ExpiresAt) {
			found = append(found, s)
		}
	}
	return found
}

// lastExpiry is when the last of some Sessions expires by itself.
func lastExpiry(sessions []broker.Session) (last time.Time) {
	for _, s := range sessions {
		if s.ExpiresAt.After(last) {
			last = s.ExpiresAt
		}
	}
	return last
}

// sessionsMessage lists what somebody has open, or asked for and not got yet,
// with what can be done about it. A lead says what was not understood.
func sessionsMessage(requests []broker.Request, me broker.Me, now time.Time, lead string) message {
	head := count(len(requests), "request of yours is", "requests of yours are") + " open or waiting."
	if slices.ContainsFunc(requests, func(r broker.Request) bool { return !own(&r, me) }) {
		head = count(len(requests), "request of yours or of your applications is", "requests of yours or of your applications are") + " open or waiting."
	}
	if len(requests) == 0 {
		head = "Nothing of yours is open or waiting."
	}
	if lead != "" {
		head = lead
	}
	m := say(head, "")
	items := make([]string, len(requests))
	for i, r := range requests {
		items[i] = whose(&r, me) + requestWhat(&r, now)
	}
	m.text = aloud(head, items)
	for i, r := range requests {
		next := m
		next.blocks = append(next.blocks[:len(next.blocks):len(next.blocks)], sessionBlocks(&r, me, now)...)
		if len(next.blocks) >= maxBlocks || next.size() > maxList {
			m.blocks = append(m.blocks, small(fmt.Sprintf("And %d more, for which there is no room here", len(requests)-i)))
			break
		}
		m = next
	}
	return m
}

// sessionBlocks show one Request, with its buttons.
func sessionBlocks(r *broker.Request, me broker.Me, now time.Time) []slack.Block {
	what := requestMark(r) + "  " + whose(r, me) + requestWhat(r, now)
	var buttons []slack.BlockElement
	switch r.State {
	case broker.StatePending, broker.StateApproved:
		if r.State == broker.StateApproved && r.TokenID == "" {
			buttons = append(buttons, button(actionReveal, r.ID, "Reveal", slack.StylePrimary))
		}
		if own(r, me) {
			buttons = append(buttons, button(actionWithdraw, r.ID, "Withdraw", ""))
		} else {
			buttons = append(buttons, button(actionEnd, r.ID, "End", slack.StyleDanger))
		}
	default:
		what += "\n" + strings.Join(sessionLines(live(r, now)), "\n")
		buttons = openButtons(r, me, now)
	}
	blocks := []slack.Block{section(what)}
	if len(buttons) > 0 {
		blocks = append(blocks, slack.NewActionBlock("", buttons...))
	}
	return append(blocks, small(requestLine(r.ID)))
}

// own says whether a Request is of whoever is told of it, rather than of an
// application that they answer for.
func own(r *broker.Request, me broker.Me) bool { return r.UserID == me.User.ID }

// whose says before what is to be said of a Request which application it is of.
func whose(r *broker.Request, me broker.Me) string {
	if own(r, me) {
		return ""
	}
	return word(string(r.User)) + ": "
}

// neverHad is said of credentials that an application was gone for.
const neverHad = "The application was gone before it had the credentials, and can ask for them anew."

// requestWhat says what somebody has open or waiting, and for how long.
func requestWhat(r *broker.Request, now time.Time) string {
	words := fmt.Sprintf("*%s* in *%s*", r.Role, accountName(r))
	if r.State != broker.StateOpen {
		return fmt.Sprintf("%s for %s. %s", words, span(r.Duration), howItStands(r))
	}
	if left := r.WindowEnd.Sub(now); left > 0 {
		words += fmt.Sprintf(": %s left, until %s", span(left), when(r.WindowEnd))
	} else {
		words += ": its time is over"
	}
	switch {
	case !now.Before(r.RevealUntil()):
	case r.TokenID != "":
		words += "\n" + neverHad
	default:
		how, _ := unseenKeys(r, now)
		words += "\nSlack did not confirm that it showed the credentials. If you do not see them, " + how
	}
	return words
}

// sessionLines are Sessions, one a line, the newest first.
func sessionLines(sessions []broker.Session) []string {
	if len(sessions) == 0 {
		return []string{"No keys of it work now."}
	}
	var lines []string
	for _, s := range slices.Backward(sessions) {
		if len(lines) == shownSessions {
			return append(lines, fmt.Sprintf("and %d older", len(sessions)-shownSessions))
		}
		line := fmt.Sprintf("Key `%s` until %s, session `%s`", s.AccessKeyID, when(s.ExpiresAt), s.ID)
		if !s.EndAsked.IsZero() {
			line += ", to be ended"
		}
		lines = append(lines, line)
	}
	return lines
}

// openButtons are what can be done with a Request that is open. What the
// broker would refuse is not offered.
func openButtons(r *broker.Request, me broker.Me, now time.Time) (buttons []slack.BlockElement) {
	// What a token has asked for is its bearer's alone to have.
	at := slices.IndexFunc(me.Roles, func(role *policy.Role) bool { return role.Name == r.Role && r.TokenID == "" })
	if at >= 0 && now.Before(r.RevealUntil()) {
		buttons = append(buttons, button(actionReveal, r.ID, "Reveal", slack.StylePrimary))
	}
	if at >= 0 && now.Before(r.RenewUntil()) {
		if me.Roles[at].Console {
			buttons = append(buttons, button(actionOpenConsole, r.ID, "Console", ""))
		}
		buttons = append(buttons, button(actionRenew, r.ID, "Renew", ""))
	}
	sessions := live(r, now)
	if len(sessions) == 0 {
		return buttons
	}
	if len(sessions) > 1 {
		var one []*slack.OptionBlockObject
		for _, s := range slices.Backward(sessions[max(0, len(sessions)-shownSessions):]) {
			one = append(one, slack.NewOptionBlockObject(r.ID+" "+s.ID, plain(s.AccessKeyID+", until "+s.ExpiresAt.UTC().Format("15:04 UTC")), nil))
		}
		buttons = append(buttons, slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, plain("End one session"), actionEndOne, one...))
	}
	return append(buttons, button(actionEnd, r.ID, "End", slack.StyleDanger))
}

// endedMessage says that a Session, or without one all of a Request's, is
// ended.
func endedMessage(r *broker.Request, session string, now time.Time) message {
	what := fmt.Sprintf("%s in %s is ended", word(string(r.Role)), accountName(r))
	if session != "" {
		what = fmt.Sprintf("The session `%s` of %s", session, what)
	}
	words := "✅  " + what + ". AWS denies it everything from now on; it can take AWS some seconds to hold everywhere."
	if rest := live(r, now); session != "" && len(rest) > 0 {
		words += " " + count(len(rest), "other session goes", "other sessions go") + " on, until " + when(lastExpiry(rest)) + " at the latest."
	}
	return say(words, requestLine(r.ID))
}

// endedFor tells the account of e that Sessions were ended: whoever wanted it
// and was told to wait, or the requester, if it was somebody else.
func endedFor(r *broker.Request, e *broker.Event) message {
	ids := strings.Split(e.SessionID, ", ")
	what, them := "the session `"+ids[0]+"`", "it"
	if len(ids) > 1 {
		what, them = fmt.Sprintf("%d sessions", len(ids)), "them"
	}
	what += fmt.Sprintf(" of %s in %s", word(string(r.Role)), accountName(r))
	end := fmt.Sprintf("AWS denies %s everything from now on.", them)
	var words string
	switch {
	case e.Slack != r.Slack.String():
		words = fmt.Sprintf("✅  Ended now, as you wanted: %s, held by `%s`. %s", what, r.User, end)
	case e.Actor == string(r.User):
		words = fmt.Sprintf("✅  Ended now, as you wanted: %s. %s", what, end)
	case e.Actor == broker.ActorStarback:
		words = fmt.Sprintf("⛔  Ended, because your access to Starback was switched off: %s. %s", what, end)
	default:
		words = fmt.Sprintf("⛔  Ended by %s: %s. %s If you still need the role, ask again.", word(e.Actor), what, end)
	}
	return say(words, requestLine(r.ID))
}

// nothingToEnd answers whoever ends what is over.
func nothingToEnd() message {
	return say("There is nothing to end: it was ended before, or has expired by itself.", "")
}

// toBeEnded returns the Sessions that are to be ended and still work.
func toBeEnded(r *broker.Request, now time.Time) []broker.Session {
	return slices.DeleteFunc(live(r, now), func(s broker.Session) bool { return s.EndAsked.IsZero() })
}

// unended says of a Request that is over until when its keys work, if they were
// to be ended and are not.
func unended(r *broker.Request) string {
	sessions := toBeEnded(r, time.Time{})
	if len(sessions) == 0 {
		return ""
	}
	return ", but its keys work until " + when(lastExpiry(sessions))
}

// notEnded says why what was to be ended still works, and what becomes of it.
func notEnded(r *broker.Request, f *broker.Fault, now time.Time) message {
	waiting := toBeEnded(r, now)
	if len(waiting) == 0 { // it was not even recorded
		return say("Starback could not take this in, so nothing is ended. Try again in a minute, and tell an administrator if it is urgent.", requestLine(f.RequestID))
	}
	role, until := fmt.Sprintf("%s in %s", word(string(r.Role)), accountName(r)), when(lastExpiry(waiting))
	var words string
	switch f.Code {
	case broker.FaultNoBoundary:
		words = fmt.Sprintf("⚠️  %s can't be ended early: its IAM role has no boundary of Starback's. The keys work until %s. If somebody else may have them, tell an administrator now.", role, until)
	case broker.FaultBoundaryFull:
		words = fmt.Sprintf("⚠️  %s is not ended yet: AWS denies as many sessions of its IAM role as it can. This one follows as others expire, or ends by itself %s. If somebody else may have the keys, tell an administrator now.", role, until)
	default:
		words = fmt.Sprintf("⏳  %s is not ended yet: AWS did not take it. Starback keeps trying, until AWS denies it or it ends by itself %s.", role, until)
	}
	return say(words, requestLine(r.ID))
}

// windowEnding tells a requester that a window ends soon and, if they may ask
// for the same once more, how to.
func windowEnding(r *broker.Request, mayAsk bool) message {
	words := fmt.Sprintf("⏰  Your %s in %s ends %s.", word(string(r.Role)), accountName(r), when(r.WindowEnd))
	end := button(actionEnd, r.ID, "End", slack.StyleDanger)
	if !mayAsk {
		return say(words, requestLine(r.ID)).with([]slack.BlockElement{end})
	}
	m := say(fmt.Sprintf("%s *Ask for more* asks for %s more, from when you press it; what you have goes on to its end.", words, span(r.Duration)), requestLine(r.ID))
	if r.Words != "" {
		m.blocks = append(m.blocks, quote("With", r.Words, linksOf(r)...))
	}
	return m.with([]slack.BlockElement{button(actionMore, r.ID, "Ask for more", slack.StylePrimary), end})
}
