package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

func (p *program) policyCommand() *cobra.Command {
	return p.family("policy", "The policy and its versions",
		p.policyHistoryCommand(), p.policyShowCommand(), p.policyDiffCommand(), p.policyPreviewCommand(), p.policyExportCommand(),
		p.policyCheckCommand(), p.policySchemaCommand())
}

// A versionView is what is known of a version of the Policy, as JSON.
type versionView struct {
	Version     int64      `json:"version"`
	AppliedAt   time.Time  `json:"applied_at"`
	Author      string     `json:"author"`
	How         broker.How `json:"how"`
	Message     string     `json:"message,omitempty"`
	Changes     []string   `json:"changes,omitempty"` // the first few
	FileVersion int64      `json:"file_version"`      // which version, up to this, a file made last
	Digest      string     `json:"digest"`
}

func viewVersion(h broker.Head) versionView {
	return versionView{h.Version, h.AppliedAt, h.Author, h.How, h.Message, h.Changes, h.FileVersion, h.Digest}
}

func (p *program) policyHistoryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "history", Short: "List the versions of the policy, newest first", Example: "  starback policy history --limit 5", Args: noArgs,
	}
	limit := limitFlag(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print them as JSON")
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, _ []string) error {
		heads, err := a.History(ctx, *limit)
		if err != nil {
			return err
		}
		views, rows := []versionView{}, [][]string{}
		for _, h := range heads {
			views = append(views, viewVersion(h))
			rows = append(rows, []string{strconv.FormatInt(h.Version, 10), moment(h.AppliedAt), string(h.How), h.Author, cmp.Or(h.Message, strings.Join(h.Changes, "; "))})
		}
		if *asJSON {
			writeJSON(p.stdout, views)
			return nil
		}
		p.printTable([]string{"VERSION", "WHEN", "BY", "AUTHOR", "WHY, OR WHAT"}, rows)
		return nil
	})
}

// versionArgs reads the numbers of versions, as 12 or v12.
func versionArgs(args []string) ([]int64, error) {
	var versions []int64
	for _, arg := range args {
		n, err := strconv.ParseInt(strings.TrimPrefix(arg, "v"), 10, 64)
		if err != nil || n < 1 {
			return nil, usageError{fmt.Errorf("%q is not the number of a version", arg)}
		}
		versions = append(versions, n)
	}
	return versions, nil
}

func (p *program) policyShowCommand() *cobra.Command {
	var versions []int64
	cmd := &cobra.Command{
		Use: "show [VERSION]", Short: "Print a version of the policy as a policy file, less its users", Example: "  starback policy show 12",
		Args: takes("[VERSION]"), ValidArgsFunction: p.completeArgs("VERSION"),
	}
	cmd.PreRunE = func(_ *cobra.Command, args []string) (err error) {
		versions, err = versionArgs(args)
		return err
	}
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, _ []string) error {
		var version int64 // the newest
		if len(versions) > 0 {
			version = versions[0]
		}
		_, doc, err := a.PolicyVersion(ctx, version)
		if err != nil {
			return err
		}
		return p.deliver("", policy.Export(doc, nil))
	})
}

func (p *program) policyDiffCommand() *cobra.Command {
	var versions []int64
	cmd := &cobra.Command{
		Use:   "diff [FROM [TO]]",
		Short: "Show what one version of the policy has otherwise than another",
		Long: `Show what one version of the policy has otherwise than another. Without FROM,
it is the one before TO; without TO, it is the newest.`,
		Example: "  starback policy diff 11 12",
		Args:    takes("[FROM]", "[TO]"), ValidArgsFunction: p.completeArgs("VERSION", "VERSION"),
	}
	asJSON := cmd.Flags().Bool("json", false, jsonUsage)
	cmd.PreRunE = func(_ *cobra.Command, args []string) (err error) {
		versions, err = versionArgs(args)
		return err
	}
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, _ []string) error {
		from, to, err := twoVersions(ctx, a, versions)
		if err != nil {
			return err
		}
		_, was, err := a.PolicyVersion(ctx, from)
		if err != nil {
			return err
		}
		_, is, err := a.PolicyVersion(ctx, to)
		if err != nil {
			return err
		}
		differences := append([]policy.Difference{}, policy.Diff(was, is)...)
		switch {
		case *asJSON:
			writeJSON(p.stdout, struct {
				From        int64               `json:"from"`
				To          int64               `json:"to"`
				Differences []policy.Difference `json:"differences"`
			}{from, to, differences})
		case len(differences) == 0:
			fmt.Fprintf(p.stdout, "Versions %d and %d say the same.\n", from, to)
		default:
			fmt.Fprintf(p.stdout, "From version %d to version %d:\n", from, to)
			p.printDifferences(differences)
		}
		return nil
	})
}

func (p *program) policyPreviewCommand() *cobra.Command {
	var versions []int64
	cmd := &cobra.Command{
		Use:   "preview VERSION",
		Short: "Show what rolling back to a version would change, and do nothing",
		Long: `Show what rolling back to a version would change, and do nothing: which removed
groups would come back with whom, what it means for people, and what becomes of
the policy.`,
		Example: "  starback policy preview 12",
		Args:    takes("VERSION"), ValidArgsFunction: p.completeArgs("VERSION"),
	}
	asJSON := cmd.Flags().Bool("json", false, jsonUsage)
	cmd.PreRunE = func(_ *cobra.Command, args []string) (err error) {
		versions, err = versionArgs(args)
		return err
	}
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, _ []string) error {
		done, benefit, err := a.Preview(ctx, broker.Change{Op: broker.OpRollback, Version: versions[0]})
		switch {
		case err != nil:
			return err
		case *asJSON:
			writeJSON(p.stdout, struct {
				broker.Done
				Benefit string `json:"benefit,omitempty"` // for which it would wait for a second administrator
			}{done, benefit})
			return nil
		case done.Same:
			fmt.Fprintln(p.stdout, "Nothing would change: it is so already.")
			return nil
		}
		p.printLines(done.Detail)
		if benefit != "" {
			fmt.Fprintf(p.stdout, "It would wait for a second administrator, because it benefits you: %s.\n", printable(benefit))
		}
		if done.Loud != "" {
			fmt.Fprintln(p.stdout, "Everybody would be told: "+printable(done.Loud))
		}
		fmt.Fprintf(p.stdout, "Nothing was changed. To do it: starback policy rollback %d\n", versions[0])
		return nil
	})
}

// twoVersions says which versions are to be compared where fewer are given.
func twoVersions(ctx context.Context, a *broker.Admin, given []int64) (from, to int64, err error) {
	if len(given) == 2 {
		return given[0], given[1], nil
	}
	head, _, err := a.Policy(ctx)
	switch {
	case err != nil:
		return 0, 0, err
	case len(given) == 1:
		return given[0], head.Version, nil
	case head.Version == 1:
		return 0, 0, fmt.Errorf("there is only one version of the policy yet (%w)", broker.ErrNotFound)
	}
	return head.Version - 1, head.Version, nil
}
