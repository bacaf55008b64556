package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

func (p *program) proposalCommand() *cobra.Command {
	return p.family("change", "Changes that wait for a second administrator",
		p.proposalListCommand(), p.proposalShowCommand(), p.proposalConfirmCommand(), p.proposalRejectCommand())
}

// shortIDSize is how much of a Proposal's ID people are shown: more than
// broker asks for, and too much for two that wait at once to share.
const shortIDSize = 8

// shortID is the end of a Proposal's ID, which is enough to name it.
func shortID(change broker.Proposal) string {
	return change.ID[max(0, len(change.ID)-shortIDSize):]
}

// A proposalView is what a Proposal is as JSON.
type proposalView struct {
	ID       string               `json:"id"`
	Change   broker.Change        `json:"change"`
	Detail   []string             `json:"detail"`
	Benefit  string               `json:"benefit"`
	Author   string               `json:"author"`
	User     policy.UserName      `json:"user,omitempty"`
	MadeAt   time.Time            `json:"made_at"`
	Expires  time.Time            `json:"expires"`
	State    broker.ProposalState `json:"state"`
	AnswerBy string               `json:"answer_by,omitempty"`
}

func viewProposal(c broker.Proposal) proposalView {
	return proposalView{
		c.ID, c.Change, append([]string{}, c.Detail...), c.Benefit, c.Author, c.User, c.MadeAt, c.Expires, c.State, c.AnswerBy,
	}
}

func (p *program) proposalListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the changes that wait", Example: "  starback change list", Args: noArgs,
	}
	asJSON := cmd.Flags().Bool("json", false, jsonUsage)
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, _ []string) error {
		open, err := a.OpenProposals(ctx)
		if err != nil {
			return err
		}
		views, rows := []proposalView{}, [][]string{}
		for _, c := range open {
			views = append(views, viewProposal(c))
			rows = append(rows, []string{shortID(c), c.Author, moment(c.Expires), c.Summary()})
		}
		switch {
		case *asJSON:
			writeJSON(p.stdout, views)
		case len(rows) == 0:
			fmt.Fprintln(p.stdout, "Nothing waits.")
		default:
			p.printTable([]string{"CHANGE", "WANTED BY", "UNTIL", "WHAT"}, rows)
		}
		return nil
	})
}

func (p *program) proposalShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show CHANGE", Short: "Show a change that waits, or did", Example: "  starback change show 7K2M9QXD",
		Args: takes("CHANGE"), ValidArgsFunction: p.completeArgs("CHANGE"),
	}
	asJSON := cmd.Flags().Bool("json", false, jsonUsage)
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, args []string) error {
		c, err := a.Proposal(ctx, args[0])
		if err != nil {
			return err
		}
		if *asJSON {
			writeJSON(p.stdout, viewProposal(c))
			return nil
		}
		var lines card
		lines.add("change", c.ID)
		lines.add("what", string(c.Change.Op))
		for _, line := range c.Detail {
			lines.add("", line)
		}
		lines.add("why", c.Change.Message)
		lines.add("benefit", c.Benefit)
		lines.add("wanted by", c.Author)
		lines.add("made", moment(c.MadeAt))
		lines.add("state", p.proposalState(c))
		p.printCard(lines)
		return nil
	})
}

// proposalState says in words how far a Proposal has come.
func (p *program) proposalState(c broker.Proposal) string {
	switch {
	case c.State == broker.ProposalWaiting && c.Open(p.now()):
		return "waits until " + moment(c.Expires)
	case c.State == broker.ProposalWaiting:
		return "lapsed at " + moment(c.Expires)
	default:
		return fmt.Sprintf("%s, by %s", c.State, c.AnswerBy)
	}
}

func (p *program) proposalConfirmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "confirm CHANGE", Short: "Carry out another administrator's change, as things are now", Example: "  starback change confirm 7K2M9QXD",
		Args: takes("CHANGE"), ValidArgsFunction: p.completeArgs("CHANGE"),
	}
	asJSON := cmd.Flags().Bool("json", false, "print what was done as JSON")
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, args []string) error {
		done, err := a.Confirm(ctx, args[0])
		if err != nil {
			return err
		}
		return p.printDone(done, *asJSON)
	})
}

func (p *program) proposalRejectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "reject CHANGE", Short: "Drop a change that waits: another's, or your own", Example: "  starback change reject 7K2M9QXD",
		Args: takes("CHANGE"), ValidArgsFunction: p.completeArgs("CHANGE"),
	}
	asJSON := cmd.Flags().Bool("json", false, jsonUsage)
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, args []string) error {
		c, err := a.Reject(ctx, args[0])
		if err != nil {
			return err
		}
		if *asJSON {
			writeJSON(p.stdout, viewProposal(c))
			return nil
		}
		fmt.Fprintf(p.stdout, "Dropped: %s\n", oneLine(c.Summary()))
		return nil
	})
}
