package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// limitFlag gives cmd a flag that bounds what it lists.
func limitFlag(cmd *cobra.Command) *int {
	limit := cmd.Flags().Int("limit", 20, "at most so many")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if *limit < 1 {
			return usageError{errors.New("--limit: at least 1")}
		}
		return nil
	}
	return limit
}

// A pastView is one change of a User, as JSON.
type pastView struct {
	ID     string           `json:"id"` // of its event in the trail
	Time   time.Time        `json:"time"`
	Event  broker.EventName `json:"event"`
	Actor  string           `json:"actor,omitempty"`
	Detail string           `json:"detail,omitempty"`
}

func (p *program) userHistoryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "history USER", Short: "List what was changed about a user, newest first",
		Long: `List what was changed about a user, newest first: when, by whom, what was and
what is, and why. It reads the whole trail, and knows removed users too.`,
		Example: "  starback user history alice",
		Args:    takes("USER"), ValidArgsFunction: p.completeArgs("USER"),
	}
	limit := limitFlag(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print them as JSON")
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, args []string) error {
		events, err := a.UserHistory(ctx, policy.UserName(args[0]))
		if err != nil {
			return err
		}
		views, rows := []pastView{}, [][]string{}
		for _, e := range events[:min(*limit, len(events))] {
			views = append(views, pastView{e.ID, e.Time, e.Event, e.Actor, e.Detail})
			rows = append(rows, []string{moment(e.Time), string(e.Event), e.Actor, e.Detail})
		}
		switch {
		case *asJSON:
			writeJSON(p.stdout, views)
		case len(rows) == 0:
			fmt.Fprintf(p.stdout, "The trail holds no change of %s.\n", args[0])
		default:
			p.printTable([]string{"WHEN", "WHAT", "AUTHOR", "CHANGE"}, rows)
		}
		return nil
	})
}

// ofRole leaves out what a new role is: that it is new says enough.
func ofRole(differences []policy.Difference) []policy.Difference {
	isNew := func(d policy.Difference) bool {
		return d.Kind == policy.Added && d.Path[0] == "roles" && len(d.Path) == 2
	}
	if !slices.ContainsFunc(differences, isNew) {
		return differences
	}
	return slices.DeleteFunc(slices.Clone(differences), func(d policy.Difference) bool { return d.Path[0] == "roles" && !isNew(d) })
}

// A roleChangeView is what one version of the Policy changed about a Role, as
// JSON.
type roleChangeView struct {
	versionView
	Differences []policy.Difference `json:"differences"`
}

func (p *program) roleHistoryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "history NAME", Short: "List what was changed about a role, newest first",
		Long: `List what was changed about a role, newest first: in which version of the policy,
when, by whom and why; what the role is, and which groups were granted it. What
single users were granted is in user history.`,
		Example: "  starback role history prod-admin",
		Args:    roleArgs(1, 1), ValidArgsFunction: p.completeArgs("ROLE"),
	}
	limit := limitFlag(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print them as JSON")
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, args []string) error {
		changes, err := a.RoleHistory(ctx, policy.RoleName(args[0]), *limit)
		if err != nil {
			return err
		}
		views, rows := []roleChangeView{}, [][]string{}
		for _, c := range changes {
			h := c.Head
			views = append(views, roleChangeView{viewVersion(h), c.Differences})
			for _, d := range ofRole(c.Differences) {
				rows = append(rows, []string{strconv.FormatInt(h.Version, 10), moment(h.AppliedAt), h.Author, d.String(), h.Message})
			}
		}
		if *asJSON {
			writeJSON(p.stdout, views)
			return nil
		}
		p.printTable([]string{"VERSION", "WHEN", "AUTHOR", "CHANGE", "WHY"}, rows)
		return nil
	})
}
