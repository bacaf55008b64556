package bot

import (
	"fmt"
	"slices"
	"time"

	"github.com/slack-go/slack"

	"github.com/starback/starback/broker"
)

// What a requester is told of a Request that somebody must approve.

// pendingMessage answers a Request that waits for approvers. Where there is no
// channel to ask them in, it says that nobody is asked.
func pendingMessage(r *broker.Request, channel bool) message {
	_, needed := r.Answered()
	wants := fmt.Sprintf("%s in %s for %s needs %s from %s", word(string(r.Role)), accountName(r), span(r.Duration),
		count(needed, "approval", "approvals"), names(r.Needs.Groups(), 5))
	words := fmt.Sprintf("⏳  %s. They are asked now. I send you a message once they have answered; your request lapses %s.", wants, when(r.LapsesAt))
	if !channel {
		words = fmt.Sprintf("⚠️  %s, and this Starback has no approvals channel, so nobody is asked. "+
			"Ask an administrator to set one, then ask again. This request lapses %s.", wants, when(r.LapsesAt))
	}
	m := say(words, requestLine(r.ID)).withTicket(r)
	m.blocks = append(m.blocks, slack.NewActionBlock("", button(actionWithdraw, r.ID, "Withdraw", "")))
	return m
}

// outcomeMessage tells the requester how a Request stands at now: with the
// button that reveals what was approved, or the one for new keys once that was
// pressed.
func outcomeMessage(r *broker.Request, now time.Time) message {
	role := word(string(r.Role))
	your := fmt.Sprintf("Your request for %s in %s", role, accountName(r))
	again := "If you still need it, ask again: " + word("/starback "+string(r.Role))
	askAgain := []slack.BlockElement{button(actionAskAgain, r.ID, "Ask again", "")}
	var words string
	var buttons []slack.BlockElement
	switch r.State {
	case broker.StatePending:
		words = "⏳  " + your + ": " + howItStands(r)
	case broker.StateApproved:
		words = fmt.Sprintf("✅  %s was approved by %s. Press *Reveal* for credentials for %s: they are made only then. It lapses %s.",
			your, approvedBy(r), span(r.ApprovedFor()), when(r.LapsesAt))
		buttons = append(buttons, button(actionReveal, r.ID, "Reveal", slack.StylePrimary))
	case broker.StateOpen:
		words, buttons = openOutcome(r, your, now)
	case broker.StateClosed:
		words = fmt.Sprintf("☑️  %s is over since %s. %s", your, when(r.WindowEnd), again)
		if r.OpenedAt.IsZero() {
			words = fmt.Sprintf("⚠️  %s failed, and nothing was issued. %s", your, again)
		}
		buttons = askAgain
	case broker.StateWithdrawn:
		words = fmt.Sprintf("☑️  %s is withdrawn.", your)
	case broker.StateLapsed:
		words = fmt.Sprintf("⌛  %s has lapsed%s. %s", your, lapsedWhy(r), again)
		buttons = askAgain
	case broker.StateVoid:
		why := voidOf(r.Rule)
		words = fmt.Sprintf("⚠️  %s does not hold any more: %s.", your, why.you)
		if why.again {
			words += " " + again
			buttons = askAgain
		}
	default:
		words = fmt.Sprintf("⛔  %s was refused. %s", your, again)
		buttons = askAgain
	}
	no := declined(r)
	if r.State == broker.StateDenied && no != nil {
		words = fmt.Sprintf("⛔  %s was denied by `%s`. %s", your, no.User, again)
	}
	m := say(words, requestLine(r.ID)).withTicket(r)
	if no != nil && no.Reason != "" {
		m.text += " Open the message to read why."
		m.blocks = append(m.blocks, quote("Why not", no.Reason))
	}
	return m.with(buttons)
}

// openOutcome is how an open Request stands.
func openOutcome(r *broker.Request, your string, now time.Time) (words string, buttons []slack.BlockElement) {
	lead := "✅  " + your + " was issued"
	if r.Needs != nil {
		lead = fmt.Sprintf("✅  %s was approved by %s, and you have revealed the credentials", your, approvedBy(r))
	}
	if now.Before(r.RevealUntil()) {
		how, buttons := unseenKeys(r, now)
		return lead + ". Slack did not confirm that it showed the credentials. If you do not see them, " + how, buttons
	}
	if !now.Before(r.RenewUntil()) {
		return fmt.Sprintf("%s. It ends %s, too soon for new keys.", lead, when(r.WindowEnd)), nil
	}
	return fmt.Sprintf("%s. You can have new keys until %s.", lead, when(r.RenewUntil())), renewButton(r)
}

// unseenKeys says what somebody can do who does not see the keys of a Request,
// as the end of a sentence, and more, with the button for it.
func unseenKeys(r *broker.Request, now time.Time) (words string, buttons []slack.BlockElement) {
	switch {
	case now.Before(r.RevealUntil()):
		return fmt.Sprintf("press *Reveal*. You get new ones, for %s from when you press it, and those from before are ended where AWS can end them. The button works until %s.",
			span(r.Duration), when(r.RevealUntil())), []slack.BlockElement{button(actionReveal, r.ID, "Reveal", slack.StylePrimary)}
	case now.Before(r.RenewUntil()):
		return fmt.Sprintf("press *Renew* for new ones. The button works until %s.", when(r.RenewUntil())), renewButton(r)
	case r.Role == "": // it could not be looked up
		return "ask again.", nil
	default:
		return "ask again: " + word("/starback "+string(r.Role)), nil
	}
}

// renewButton asks for new keys in the window of an open Request.
func renewButton(r *broker.Request) []slack.BlockElement {
	return []slack.BlockElement{button(actionRenew, r.ID, "Renew", "")}
}

// withTicket adds the ticket of a Request below what is said of it.
func (m message) withTicket(r *broker.Request) message {
	if r.Ticket != "" {
		m.blocks = slices.Insert(m.blocks, 1, quote("Ticket", r.Ticket, linksOf(r)...))
	}
	return m
}

// with adds buttons, if there are any.
func (m message) with(buttons []slack.BlockElement) message {
	if len(buttons) > 0 {
		m.blocks = append(m.blocks, slack.NewActionBlock("", buttons...))
	}
	return m
}

// revealedAlready answers a press of Reveal that comes after another, or too
// late for what was never shown.
func revealedAlready(r *broker.Request, now time.Time) message {
	lead := "You have revealed this already, and nothing is issued twice for it. If you cannot see the credentials, "
	if unseen(r) {
		lead = "It is too late to reveal this. If you do not see the credentials, "
	}
	words, buttons := unseenKeys(r, now)
	return say(lead+words, requestLine(r.ID)).with(buttons)
}

// unseen says whether nothing that was issued under a Request was shown, as far
// as is known.
func unseen(r *broker.Request) bool {
	return !slices.ContainsFunc(r.Sessions, func(s broker.Session) bool { return s.State == broker.SessionIssued && s.UndeliveredAt.IsZero() })
}

// moreAlready answers a second press of the button that asks for more: with how
// what the first asked for stands.
func moreAlready(r *broker.Request, now time.Time) message {
	lead := "You have asked for more already, and this button asks once. This is how that stands."
	m := outcomeMessage(r, now)
	return message{text: lead + " " + m.text, blocks: append([]slack.Block{section(lead)}, m.blocks...)}
}

// undeliveredMessage tells a requester that credentials could not be shown, as
// far as is known.
func undeliveredMessage(r *broker.Request, now time.Time) message {
	words, buttons := unseenKeys(r, now)
	return say(fmt.Sprintf("I had credentials for %s for you, but Slack did not confirm that it showed them. If you do not see them, %s",
		word(string(r.Role)), words), requestLine(r.ID)).with(buttons)
}

// carriedOutMessage tells somebody that what they did in a modal was carried out
// before, where its answer may have been seen or not.
func carriedOutMessage(r *broker.Request, now time.Time) message {
	words, buttons := unseenKeys(r, now)
	return say("Your request was carried out already, and nothing is issued twice for it. If you did not see its answer, "+words, requestLine(r.ID)).with(buttons)
}
