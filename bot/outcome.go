package bot

import (
	"fmt"

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
	m := say(words, requestLine(r.ID))
	m.blocks = append(m.blocks, slack.NewActionBlock("", button(actionWithdraw, r.ID, "Withdraw", "")))
	return m
}

// outcomeMessage tells the requester how a Request stands: with the button that
// reveals what was approved, or the one for new keys once that was pressed.
func outcomeMessage(r *broker.Request) message {
	role := word(string(r.Role))
	your := fmt.Sprintf("Your request for %s in %s", role, accountName(r))
	again := "If you still need it, ask again: " + word("/starback "+string(r.Role))
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
		words = fmt.Sprintf("✅  %s was approved by %s, and you have revealed the credentials. Until %s you can have new keys.",
			your, approvedBy(r), when(r.WindowEnd))
		buttons = append(buttons, button(actionRenew, r.ID, "Renew", ""))
	case broker.StateClosed:
		words = fmt.Sprintf("☑️  %s is over since %s. %s", your, when(r.WindowEnd), again)
	case broker.StateWithdrawn:
		words = fmt.Sprintf("☑️  %s is withdrawn.", your)
	case broker.StateLapsed:
		words = fmt.Sprintf("⌛  %s has lapsed%s. %s", your, lapsedWhy(r), again)
	case broker.StateVoid:
		words = fmt.Sprintf("⚠️  %s does not hold any more: %s. %s", your, voidWhy(r), again)
	default:
		words = fmt.Sprintf("⛔  %s was refused. %s", your, again)
	}
	no := declined(r)
	if r.State == broker.StateDenied && no != nil {
		words = fmt.Sprintf("⛔  %s was denied by `%s`. %s", your, no.User, again)
	}
	m := say(words, requestLine(r.ID))
	if no != nil && no.Reason != "" {
		m.blocks = append(m.blocks, quote("Why not", no.Reason))
	}
	if len(buttons) > 0 {
		m.blocks = append(m.blocks, slack.NewActionBlock("", buttons...))
	}
	return m
}

// revealedAlready answers a second press of Reveal.
func revealedAlready(id string) message {
	return say("You have revealed this already, and nothing is issued twice for it. If you cannot see the credentials, press *Renew*.", requestLine(id))
}
