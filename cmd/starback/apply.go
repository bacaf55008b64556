package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// A planning is what plan and apply have in common: a policy file, and what it
// comes to.
type planning struct {
	*program
	path   string
	prune  bool
	asJSON bool
	file   *policy.File
	warned []*policy.Error
}

// planFlags gives cmd the flags of a planning, which reads its file before the
// store is looked at.
func (p *program) planFlags(cmd *cobra.Command) *planning {
	l := &planning{program: p}
	cmd.Flags().StringVarP(&l.path, "file", "f", "", "the policy file")
	cmd.Flags().BoolVar(&l.prune, "prune", false, "switch off the users whom the file does not name")
	cmd.Flags().BoolVar(&l.asJSON, "json", false, jsonUsage)
	_ = cmd.MarkFlagFilename("file", "yaml", "yml")
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if err := needFlags("file")(cmd, args); err != nil {
			return err
		}
		return l.load()
	}
	return l
}

// load reads the file, and says what in it can hardly be meant.
func (l *planning) load() (err error) {
	if l.file, err = loadPolicy(l.path); err != nil {
		return err
	}
	if l.prune && l.file.Users == nil {
		return usageError{fmt.Errorf("--prune: %s has no section users, so it does not say whom to keep", l.path)}
	}
	l.warned = l.file.Warnings(l.now())
	l.warn(l.warned)
	return nil
}

// warn prints warnings about a policy file.
func (p *program) warn(warnings []*policy.Error) {
	for _, w := range warnings {
		fmt.Fprintln(p.stderr, "warning: "+w.Detail())
	}
}

// loadPolicy reads a policy file and the session policies beside it. A link
// that leads out of the file's folder is not followed.
func loadPolicy(file string) (*policy.File, error) {
	folder, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return nil, unreadable(file, err)
	}
	defer folder.Close()
	parsed, err := policy.Load(folder.FS(), filepath.Base(file))
	return parsed, unreadable(file, err)
}

// unreadable says that a file cannot be read, without how that was tried.
func unreadable(file string, err error) error {
	var wrong policy.Errors
	var failed *fs.PathError
	if !errors.As(err, &wrong) && errors.As(err, &failed) {
		return fmt.Errorf("%s cannot be read: %w", file, failed.Err)
	}
	return err
}

// A planView is what a plan is as JSON.
type planView struct {
	*broker.Plan
	Reservation string          `json:"reservation,omitempty"` // why it is not applied
	Warnings    []*policy.Error `json:"warnings,omitempty"`    // about the file
}

// show prints a plan and what speaks against it.
func (l *planning) show(plan *broker.Plan, reservation error) {
	if !l.asJSON {
		l.printPlan(plan)
		return
	}
	view := planView{Plan: plan, Warnings: l.warned}
	if reservation != nil {
		view.Reservation = sentence(reservation)
	}
	writeJSON(l.stdout, view)
}

func (p *program) planCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan -f FILE",
		Short: "Show what applying a policy file would change, and do nothing",
		Long: `Show what applying a policy file would change, and do nothing: what becomes of
the policy and of users, what that means for people, and what commands have
changed that the file lacks.

With --exit-code it ends with 6 where there are changes, and with 0 where there
are none.`,
		Example: "  starback plan -f policy.yaml --exit-code",
		Args:    noArgs,
	}
	l := p.planFlags(cmd)
	tell := cmd.Flags().Bool("exit-code", false, "end with 6 if there are changes")
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, _ []string) error {
		plan, err := a.Plan(ctx, l.file, l.prune)
		if err != nil {
			return err
		}
		reservation := plan.Reservation(broker.ApplyOptions{})
		l.show(plan, reservation)
		if reservation != nil && !l.asJSON {
			fmt.Fprintf(p.stdout, "\nIt would not be applied just so: %s.\n", sentence(reservation))
		}
		if *tell && plan.Changes() {
			return status(exitChanges)
		}
		return nil
	})
}

func (p *program) applyCommand() *cobra.Command {
	var options broker.ApplyOptions
	var yes bool
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Make the policy and users what a file says",
		Long: `Make the policy and users what a file says. What would change is shown first;
nothing changes until that is agreed to, or --yes is given, and nothing if
somebody else changes something meanwhile. Users whom the file does not name
stay as they are, unless --prune switches them off. A running server follows
from its next request.

A file that lacks what commands have changed is refused, with what to merge
into it; --overwrite undoes the commands instead. One that takes something from
more than a fifth of all people is refused too, unless --allow-shrink is given.`,
		Example: "  starback apply -f policy.yaml -m 'add the data team'",
		Args:    noArgs,
	}
	l := p.planFlags(cmd)
	cmd.Flags().StringVarP(&options.Message, "message", "m", "", "why, for the trail")
	cmd.Flags().BoolVar(&options.Overwrite, "overwrite", false, "undo what commands have changed and the file lacks")
	cmd.Flags().BoolVar(&options.AllowShrink, "allow-shrink", false, "take something from many people")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	load := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if l.asJSON && !yes {
			return usageError{errors.New("--json needs --yes: there is nobody to ask")}
		}
		return load(cmd, args)
	}
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, _ []string) error {
		plan, err := a.Plan(ctx, l.file, l.prune)
		if err != nil {
			return err
		}
		reservation := plan.Reservation(options)
		l.show(plan, reservation)
		if reservation != nil {
			return reservation
		}
		if plan.Changes() && !yes {
			if err := p.agree(); err != nil {
				return err
			}
		}
		// Even without changes: an apply that was cut off is completed here.
		if err := a.Apply(ctx, plan, options); err != nil {
			return err
		}
		if plan.Changes() && !l.asJSON {
			fmt.Fprintf(p.stdout, "\nApplied. The policy is at version %d.\n", plan.PolicyVersion)
		}
		return nil
	})
}

// agree asks whether to go on, if there is a terminal to ask on.
func (p *program) agree() error {
	if !isTerminal(p.stdin) {
		return usageError{errors.New("nothing was changed: give --yes to apply this where there is no terminal to ask on")}
	}
	fmt.Fprint(p.stdout, "\nApply this? [y/N] ")
	answer, err := bufio.NewReader(p.stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was changed; give --yes to apply without being asked")
}
