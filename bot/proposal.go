package bot

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/oklog/ulid/v2"
	"github.com/slack-go/slack"

	"github.com/starback/starback/broker"
)

// The action ids of the buttons that answer a Proposal; its ID follows.
const (
	actionConfirm = "confirm:"
	actionReject  = "reject:"
)

// A verdict is what an administrator says to a Proposal.
type verdict struct {
	proposal string // its ID
	yes      bool
}

// verdictOf returns the verdict that a button gives.
func verdictOf(action string) (verdict, bool) {
	for prefix, yes := range map[string]bool{actionConfirm: true, actionReject: false} {
		if id, ok := strings.CutPrefix(action, prefix); ok {
			_, err := ulid.ParseStrict(id)
			return verdict{id, yes}, err == nil
		}
	}
	return verdict{}, false
}

// answerProposal carries out a press of one of a Proposal's buttons. Whoever
// can see them can press them: only an administrator changes anything by it.
func (w *Worker) answerProposal(ctx context.Context, todo work, given verdict) error {
	a, err := w.Broker.AsAdmin(ctx, todo.Caller, todo.Key)
	if err != nil {
		return w.refused(ctx, todo, command{verb: verbAdmin}, err)
	}
	if w.late(todo) {
		return w.answer(ctx, todo, lateChange())
	}
	carryOut := w.reject
	if given.yes {
		carryOut = w.confirm
	}
	m, err := carryOut(ctx, a, []string{given.proposal})
	if err != nil {
		m = w.failed(todo, err)
	}
	return w.answer(ctx, todo, m)
}

// confirm carries a Proposal out.
func (w *Worker) confirm(ctx context.Context, a *broker.Admin, args []string) (message, error) {
	done, err := a.Confirm(ctx, args[0])
	p := w.settled(ctx, a, args[0])
	switch {
	case err == nil:
		return confirmedMessage(done, p.ID), nil
	case p.State == broker.ProposalDone && p.AnswerBy == a.Author.Name && errors.Is(err, broker.ErrConflict):
		return confirmedBefore(p.ID), nil
	case p.State == broker.ProposalConfirmed:
		return notCarriedOut(err, p.ID), nil
	default:
		return message{}, err
	}
}

func confirmedMessage(done broker.Done, id string) message {
	m := doneMessage(done)
	m.blocks = append(m.blocks, small(proposalLine(id)+"  ·  confirmed by you"))
	return m
}

func confirmedBefore(id string) message {
	return say("You have confirmed this, and it was carried out.", proposalLine(id))
}

// notCarriedOut says that a confirmed Proposal could not be carried out.
func notCarriedOut(err error, id string) message {
	m := explain(err, command{verb: verbAdmin})
	m.blocks = append(m.blocks, small(proposalLine(id)+"  ·  confirmed, but not carried out: confirm it again once it can be"))
	return m
}

// reject ends a Proposal.
func (w *Worker) reject(ctx context.Context, a *broker.Admin, args []string) (message, error) {
	_, err := a.Reject(ctx, args[0])
	p := w.settled(ctx, a, args[0])
	if err == nil || p.State == broker.ProposalRejected && p.AnswerBy == a.Author.Name {
		return rejectedMessage(p.ID), nil
	}
	return message{}, err
}

func rejectedMessage(id string) message {
	return say("❌  You have rejected this, and nothing was changed.", proposalLine(id))
}

// settled returns a Proposal as it is now. Once it cannot be answered any more,
// its message in the audit channel loses its buttons; where that fails, they
// answer nothing.
func (w *Worker) settled(ctx context.Context, a *broker.Admin, id string) broker.Proposal {
	p, err := a.Proposal(ctx, id)
	if err == nil && !p.Open(w.Now()) && p.Trail.Thread != "" {
		err = w.Client.replaceAudit(context.WithoutCancel(ctx), p.Trail.Thread, settledMessage(p))
	}
	if err != nil {
		w.Log.Warn("could not bring a proposal's message up to date", "proposal", id, "err", err)
	}
	return p
}

// proposalLine is the small print that names a Proposal.
func proposalLine(id string) string { return "Proposal `" + id + "`" }

// proposalButtons answer a Proposal.
func proposalButtons(id string) slack.Block {
	label := func(text string) *slack.TextBlockObject {
		return slack.NewTextBlockObject(slack.PlainTextType, text, false, false)
	}
	confirm := slack.NewButtonBlockElement(actionConfirm+id, "", label("Confirm"))
	confirm.Style = slack.StylePrimary
	reject := slack.NewButtonBlockElement(actionReject+id, "", label("Reject"))
	reject.Style = slack.StyleDanger
	return slack.NewActionBlock("", confirm, reject)
}

// settledMessage stands in place of a Proposal's message once it cannot be
// answered any more.
func settledMessage(p broker.Proposal) message {
	head := map[broker.ProposalState]string{
		broker.ProposalDone:     "✅  A proposed change was confirmed and carried out",
		broker.ProposalRejected: "❌  A proposed change was rejected",
	}[p.State]
	if head == "" {
		head = "⌛  A proposed change was not answered in time, and lapsed"
	}
	m := message{text: bare(head + ": `" + string(p.Change.Op) + "`. " + proposalLine(p.ID) + "."), blocks: []slack.Block{
		section(head), quote("", p.Summary()), quote("Benefit", p.Benefit), quote("Proposed by", p.Author),
	}}
	if p.AnswerBy != "" {
		m.blocks = append(m.blocks, quote("Answered by", p.AnswerBy))
	}
	m.blocks = append(m.blocks, small(proposalLine(p.ID)))
	return m
}

// openProposals lists the Proposals that wait, with the buttons to answer them.
func (w *Worker) openProposals(ctx context.Context, a *broker.Admin, _ []string) (message, error) {
	open, err := a.OpenProposals(ctx)
	if err != nil {
		return message{}, err
	}
	return openMessage(open), nil
}

func openMessage(open []broker.Proposal) message {
	if len(open) == 0 {
		return say("No change waits for a second administrator.", "")
	}
	m := say(count(len(open), "change waits", "changes wait")+" for a second administrator.", "")
	items := make([]string, len(open))
	for i, p := range open {
		items[i] = fmt.Sprintf("%s, proposal %s, which lapses %s", p.Change.Op, p.ID, when(p.Expires))
	}
	m.text = aloud(m.text, items)
	for i, p := range open {
		next := m
		next.blocks = append(next.blocks[:len(next.blocks):len(next.blocks)],
			quote("", p.Author+" wants "+p.Summary()), quote("Benefit", p.Benefit), proposalButtons(p.ID),
			small(proposalLine(p.ID)+"  ·  proposed "+when(p.MadeAt)+", lapses "+when(p.Expires)))
		if len(next.blocks) >= maxBlocks || next.size() > maxList {
			m.blocks = append(m.blocks, more(len(open)-i, "starback change list"))
			break
		}
		m = next
	}
	return m
}
