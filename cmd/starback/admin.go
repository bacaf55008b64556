package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// needFlags refuses a command line that lacks one of the flags.
func needFlags(names ...string) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		for _, name := range names {
			if !cmd.Flags().Changed(name) {
				return usageError{fmt.Errorf("%s needs --%s; as in:\n%s", cmd.CommandPath(), name, cmd.Example)}
			}
		}
		return nil
	}
}

func (p *program) initCommand() *cobra.Command {
	var storeFlag, name, slack string
	cmd := &cobra.Command{
		Use:   "init --admin NAME --slack TEAM/USER",
		Short: "Make a store and its first administrator",
		Long: `Make a store and its first administrator. It works once: after that, people
are added with apply.

Your Slack ids: the team's stands in the URL of Slack in a browser (T…), your
own under your profile, "Copy member ID" (U…).`,
		Example: "  STARBACK_STORE=file:starback.db starback init --admin alice --slack T012AB/U0456",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			id, err := broker.ParseSlackID(slack)
			if err != nil {
				return usageError{fmt.Errorf("--slack: %w", err)}
			}
			if !policy.UserName(name).Valid() {
				return usageError{fmt.Errorf("--admin: %q is not a name such as alice: 2 to 32 small letters, digits, dots, dashes and underscores", name)}
			}
			db, err := p.openStore(cmd.Context(), storeFlag)
			if err != nil {
				return err
			}
			defer db.Close()
			user, err := newAdmin(db).Init(cmd.Context(), policy.UserName(name), id)
			if errors.Is(err, broker.ErrConflict) {
				return fmt.Errorf("this store has users already; change them with: starback apply -f policy.yaml (%w)", err)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(p.stdout, "%s administers Starback, until %s.\nNext: write a policy that keeps %s in an admin group, and run: starback apply -f policy.yaml\n",
				user.Name, user.Expires.Format("2 Jan 2006"), user.Name)
			return nil
		},
	}
	cmd.Flags().StringVar(&storeFlag, "store", "", storeUsage)
	cmd.Flags().StringVar(&name, "admin", "", "the administrator's name in Starback")
	cmd.Flags().StringVar(&slack, "slack", "", "the administrator in Slack, as T012AB/U0456")
	cmd.PreRunE = needFlags("admin", "slack")
	return cmd
}

func (p *program) applyCommand() *cobra.Command {
	var storeFlag, file, message string
	var yes, asJSON bool
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Make the policy and users what a file says",
		Long: `Make the policy and users what a file says. What would change is shown first;
nothing changes until that is agreed to, or --yes is given. Users whom the file
does not name stay as they are. A running server follows from its next request.`,
		Example: "  STARBACK_STORE=file:starback.db starback apply -f policy.yaml -m 'add the data team'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			parsed, err := loadPolicy(file)
			if err != nil {
				return err
			}
			db, err := p.openStore(ctx, storeFlag)
			if err != nil {
				return err
			}
			defer db.Close()
			admin := newAdmin(db)
			plan, err := admin.Plan(ctx, parsed)
			if err != nil {
				return err
			}
			changes := plan.PolicyChanged || len(plan.Users) > 0
			if !asJSON {
				p.printPlan(plan)
			}
			if changes && !yes {
				if err := p.agree(); err != nil {
					return err
				}
			}
			// Even without changes: an apply that was cut off is completed here.
			done, err := admin.Apply(ctx, parsed, message)
			if err != nil {
				return err
			}
			if asJSON {
				writeJSON(p.stdout, done)
			} else if changes {
				fmt.Fprintf(p.stdout, "Applied. The policy is at version %d.\n", done.PolicyVersion)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the policy file")
	cmd.Flags().StringVarP(&message, "message", "m", "", "why, for the trail")
	cmd.Flags().StringVar(&storeFlag, "store", "", storeUsage)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was done as JSON (needs --yes)")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml")
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if asJSON && !yes {
			return usageError{errors.New("--json needs --yes: there is nobody to ask")}
		}
		return needFlags("file")(cmd, args)
	}
	return cmd
}

// loadPolicy reads a policy file and the session policies beside it. A link
// that leads out of the file's folder is not followed.
func loadPolicy(file string) (*policy.File, error) {
	folder, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	return policy.Load(folder.FS(), filepath.Base(file))
}

// printPlan says what an apply changes.
func (p *program) printPlan(plan broker.Applied) {
	if !plan.PolicyChanged && len(plan.Users) == 0 {
		fmt.Fprintf(p.stdout, "Nothing changes: the policy is at version %d and says this already.\n", plan.PolicyVersion)
		return
	}
	if plan.PolicyChanged {
		fmt.Fprintf(p.stdout, "policy: becomes version %d\n", plan.PolicyVersion)
	}
	words := map[broker.EventName]string{
		broker.EventUserCreated: "added", broker.EventUserChanged: "changed", broker.EventUserDisabled: "switched off",
	}
	for _, u := range plan.Users {
		fmt.Fprintf(p.stdout, "user %s: %s (%s)\n", u.Name, words[u.Event], u.Detail)
	}
}

// agree asks whether to go on.
func (p *program) agree() error {
	fmt.Fprint(p.stdout, "Apply this? [y/N] ")
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
