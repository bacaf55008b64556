package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

func (p *program) policyExportCommand() *cobra.Command {
	var output string
	var version int64
	var withUsers bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write a version of the policy as a policy file",
		Long: `Write a version of the policy as a policy file, to go on with under review.
With --users it names the users too, as they are now. Session policies are
written in place.`,
		Example: "  starback policy export --users -o policy.yaml",
		Args:    noArgs,
	}
	cmd.Flags().BoolVar(&withUsers, "users", false, "with the users, as they are now")
	cmd.Flags().Int64Var(&version, "version", 0, "this version, instead of the newest")
	cmd.Flags().StringVarP(&output, "output", "o", "", "write it to a file")
	_ = cmd.MarkFlagFilename("output", "yaml", "yml")
	p.completeFlag(cmd, "version", "VERSION")
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, _ []string) error {
		_, doc, err := a.PolicyVersion(ctx, version)
		if err != nil {
			return err
		}
		var users []policy.User
		if withUsers {
			if users, err = fileUsers(ctx, a, doc); err != nil {
				return err
			}
		}
		text := policy.Export(doc, users)
		// What commands have made of users need not be what a file can say.
		var wrong policy.Errors
		if _, err := policy.Parse("export", text, nil); errors.As(err, &wrong) {
			fmt.Fprintln(p.stderr, "warning: before this can be applied, it must be mended:\n"+wrong.Detail())
		}
		return p.deliver(output, text)
	})
}

// fileUsers returns every User as a policy file names them. What they were
// granted of groups and roles that doc does not have is left out.
func fileUsers(ctx context.Context, a *broker.Admin, doc *policy.Document) ([]policy.User, error) {
	stored, err := a.ListUsers(ctx, broker.UserFilter{})
	users := []policy.User{}
	for _, u := range stored {
		users = append(users, policy.User{
			Name: u.Name, App: u.IsApp, Owner: u.Owner, Slack: u.Slack.String(), Email: u.Email, Expires: u.Expires, Disabled: !u.Enabled,
			Groups: slices.DeleteFunc(slices.Clone(u.Groups), func(g policy.GroupName) bool { _, there := doc.Groups[g]; return !there }),
			Grants: slices.DeleteFunc(slices.Clone(u.Grants), func(g policy.Grant) bool { return doc.Roles[g.Role] == nil }),
		})
	}
	return users, err
}

// A checkView is what policy check says, as JSON.
type checkView struct {
	Roles    int             `json:"roles"`
	Groups   int             `json:"groups"`
	Users    int             `json:"users"`
	Errors   []*policy.Error `json:"errors"`
	Warnings []*policy.Error `json:"warnings"`
}

func (p *program) policyCheckCommand() *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check -f FILE",
		Short: "Check a policy file, without a store",
		Long: `Check a policy file, without a store: for the review of a change to it. What is
wrong ends it with 1; what can hardly be meant is a warning.`,
		Example: "  starback policy check -f policy.yaml",
		Args:    noArgs,
		PreRunE: needFlags("file"),
		RunE: func(*cobra.Command, []string) error {
			file, err := loadPolicy(path)
			view := checkView{Errors: []*policy.Error{}, Warnings: []*policy.Error{}}
			var wrong policy.Errors
			switch {
			case errors.As(err, &wrong) && asJSON:
				view.Errors = wrong
				writeJSON(p.stdout, view)
				return status(exitFailed)
			case err != nil:
				return err
			}
			view.Roles, view.Groups, view.Users = len(file.Document.Roles), len(file.Document.Groups), len(file.Users)
			view.Warnings = append(view.Warnings, file.Warnings(p.now())...)
			if asJSON {
				writeJSON(p.stdout, view)
				return nil
			}
			p.warn(view.Warnings)
			fmt.Fprintf(p.stdout, "%s is a policy: roles: %d, groups: %d, users: %d\n", path, view.Roles, view.Groups, view.Users)
			return nil
		},
	}
	cmd.Flags().StringVarP(&path, "file", "f", "", "the policy file")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what is found as JSON")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml")
	return cmd
}

func (p *program) policySchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print a JSON Schema of policy files, for editors",
		Long: `Print a JSON Schema of policy files, for editors that check and complete what is
typed. policy check refuses more.`,
		Example: "  starback policy schema > starback.schema.json",
		Args:    noArgs,
		RunE:    func(*cobra.Command, []string) error { return p.deliver("", policy.Schema()) },
	}
}
