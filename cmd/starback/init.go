package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

func (p *program) initCommand() *cobra.Command {
	var storeFlag, name, slack string
	var id broker.SlackID
	cmd := &cobra.Command{
		Use:   "init --admin NAME --slack TEAM/USER",
		Short: "Make a store and its first administrator",
		Long: `Make a store and its first administrator. It works once: after that, people
are added with apply, or with user add.

Your Slack ids: the team's stands in the URL of Slack in a browser (T…), your
own under your profile, "Copy member ID" (U…).`,
		Example: "  STARBACK_STORE=file:starback.db starback init --admin alice --slack T012AB/U0456",
		Args:    noArgs,
	}
	cmd.Flags().StringVar(&storeFlag, "store", "", storeUsage)
	cmd.Flags().StringVar(&name, "admin", "", "the administrator's name in Starback")
	cmd.Flags().StringVar(&slack, "slack", "", "the administrator in Slack, as T012AB/U0456")
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if err := needFlags("admin", "slack")(cmd, args); err != nil {
			return err
		}
		if !policy.UserName(name).Valid() {
			return usageError{fmt.Errorf("--admin: %q is not a name such as alice: 2 to 32 small letters, digits, dots, dashes and underscores", name)}
		}
		var err error
		if id, err = broker.ParseSlackID(slack); err != nil {
			return usageError{fmt.Errorf("--slack: %w", err)}
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		db, err := p.openStore(cmd.Context(), storeFlag)
		if err != nil {
			return err
		}
		defer db.Close()
		user, err := newAdmin(db, author()).Init(cmd.Context(), policy.UserName(name), id)
		if errors.Is(err, broker.ErrConflict) {
			return fmt.Errorf("this store has users already; change them with: starback apply -f policy.yaml (%w)", broker.ErrConflict)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "%s administers Starback, until %s.\nNext: write a policy that keeps %s in an admin group, and run: starback apply -f policy.yaml\n",
			user.Name, end(user.Expires), user.Name)
		return nil
	}
	return cmd
}
