package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/broker/policy"
)

func (p *program) roleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "role",
		Short: "Show the roles of a policy and their past, and make their IAM roles",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		SuggestionsMinimumDistance: 2,
	}
	cmd.AddCommand(p.roleRenderCommand(), p.roleListCommand(), p.roleShowCommand(), p.roleHistoryCommand())
	return cmd
}

// A policySource is where a command takes the policy from: a file, or the store.
type policySource struct {
	*program
	file, store string
}

// policyFlags lets a command choose its policySource.
func (p *program) policyFlags(cmd *cobra.Command) *policySource {
	s := &policySource{program: p}
	cmd.Flags().StringVarP(&s.file, "file", "f", "", "the policy file; without it, the policy is the store's")
	cmd.Flags().StringVar(&s.store, "store", "", storeUsage)
	_ = cmd.MarkFlagFilename("file", "yaml", "yml")
	return s
}

// document reads the policy.
func (s *policySource) document(ctx context.Context) (*policy.Document, error) {
	if s.file != "" && s.store != "" {
		return nil, usageError{errors.New("give --file or --store, not both")}
	}
	if s.file != "" {
		parsed, err := loadPolicy(s.file)
		if err != nil {
			return nil, err
		}
		return parsed.Document, nil
	}
	spec, err := s.storeSpec(s.store)
	if err != nil {
		return nil, fmt.Errorf("give a policy file with -f, or the store: %w", err)
	}
	db, err := openExisting(ctx, spec)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	_, doc, err := db.Head(ctx)
	if err == nil && doc == nil {
		err = fmt.Errorf("%s has no policy yet; apply one with: starback apply -f policy.yaml", spec)
	}
	return doc, err
}

// roleNamed returns a Role of doc.
func roleNamed(doc *policy.Document, name string) (*policy.Role, error) {
	if r := doc.Roles[policy.RoleName(name)]; r != nil {
		return r, nil
	}
	words := fmt.Sprintf("there is no role %q in the policy", name)
	if near, ok := policy.Suggest(name, slices.Collect(maps.Keys(doc.Roles))); ok {
		words += fmt.Sprintf("; did you mean %q?", near)
	}
	return nil, errors.New(words)
}

// sortedRoles returns the Roles of doc by name.
func sortedRoles(doc *policy.Document) []*policy.Role {
	var roles []*policy.Role
	for _, name := range slices.Sorted(maps.Keys(doc.Roles)) {
		roles = append(roles, doc.Roles[name])
	}
	return roles
}

// roleArgs refuses a number of role names outside of least and most; 0 is no
// limit.
func roleArgs(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usageError{fmt.Errorf("%s needs the name of a role; as in:\n%s", cmd.CommandPath(), cmd.Example)}
		case most > 0 && len(args) > most:
			return usageError{fmt.Errorf("%s takes one role, not also %q", cmd.CommandPath(), args[most])}
		}
		return nil
	}
}

// complete offers the names of Roles that are not on the command line yet, up
// to most of them; 0 is no limit.
func (s *policySource) complete(most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		doc, err := s.document(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var offers []cobra.Completion
		for _, r := range sortedRoles(doc) {
			if !slices.Contains(args, string(r.Name)) {
				offers = append(offers, cobra.CompletionWithDesc(string(r.Name), r.Description))
			}
		}
		return offers, cobra.ShellCompDirectiveNoFileComp
	}
}

func (p *program) roleRenderCommand() *cobra.Command {
	var trust, permissionARNs []string
	var permissions, output string
	var noBoundary bool
	cmd := &cobra.Command{
		Use:   "render NAME...",
		Short: "Print the CloudFormation template that makes a role's IAM role",
		Long: `Print the CloudFormation template that makes the IAM role behind a role: whom
it trusts, what it may do, and the boundary by which sessions are ended early.

What it may do is the role's "permissions" and "permission_arns" in the policy
file, or else what --permissions and --permission-arn say.

Whom it trusts is who Starback acts as. To find out, run the first command of
the example with Starback's base credentials. If it answers with an
assumed-role, give the role itself: arn:aws:iam::ACCOUNT:role/PATH/NAME.

Other roles of the policy that are the same IAM role are served by the same
template. Several names make one template for IAM roles with the same path and
name in several accounts.`,
		Example: `  aws sts get-caller-identity --query Arn --output text
  starback role render prod-readonly -f policy.yaml --trust arn:aws:iam::999988887777:user/starback-base -o role.yaml`,
		Args: roleArgs(1, 0),
	}
	source := p.policyFlags(cmd)
	cmd.Flags().StringArrayVar(&trust, "trust", nil, "the ARN of the IAM user or role that Starback acts as; may be repeated")
	cmd.Flags().StringVar(&permissions, "permissions", "", "a file with the IAM policy document that says what the IAM role may do")
	cmd.Flags().StringArrayVar(&permissionARNs, "permission-arn", nil, "a managed policy that says what the IAM role may do; may be repeated")
	cmd.Flags().BoolVar(&noBoundary, "no-boundary", false, "leave the permissions boundary out: sessions can't be ended early")
	cmd.Flags().StringVarP(&output, "output", "o", "", "write the template to a file")
	_ = cmd.MarkFlagFilename("permissions", "json")
	_ = cmd.MarkFlagFilename("output", "yaml", "yml")
	cmd.ValidArgsFunction = source.complete(0)
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		for _, arn := range trust {
			if err := cloud.CheckTrust(arn); err != nil {
				return usageError{fmt.Errorf("--trust: %w", err)}
			}
		}
		return needFlags("trust")(cmd, args)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		doc, err := source.document(cmd.Context())
		if err != nil {
			return err
		}
		roles, err := p.sameIAMRole(doc, args)
		if err != nil {
			return err
		}
		options := cloud.TemplateOptions{Trust: trust, PermissionARNs: permissionARNs, NoBoundary: noBoundary}
		if permissions != "" {
			document, err := os.ReadFile(permissions)
			if err != nil {
				return err
			}
			if err := cloud.CheckPermissions(document); err != nil {
				return fmt.Errorf("%s: %w", permissions, err)
			}
			options.Permissions = string(document)
		}
		text, err := cloud.RoleTemplate(roles, options)
		if errors.Is(err, cloud.ErrNoPermissions) {
			return fmt.Errorf("%w, or --permissions FILE or --permission-arn ARN here", err)
		}
		if err != nil {
			return err
		}
		if noBoundary {
			fmt.Fprintln(p.stderr, "note: without the boundary, no session of this role can be ended early")
		}
		if output == "" {
			_, err = p.stdout.Write(text)
			return err
		}
		if err := os.WriteFile(output, text, 0o600); err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "%s is written.\nNext, in the account of the role: aws cloudformation deploy --template-file %s --stack-name %s --capabilities CAPABILITY_NAMED_IAM\n",
			output, output, stackName(args[0]))
		return nil
	}
	return cmd
}

// sameIAMRole returns the named Roles, and says which others are the same IAM
// roles: those too.
func (p *program) sameIAMRole(doc *policy.Document, names []string) ([]*policy.Role, error) {
	named := map[string]bool{} // by ARN
	for _, name := range names {
		r, err := roleNamed(doc, name)
		if err != nil {
			return nil, err
		}
		named[r.ARN] = true
	}
	var roles []*policy.Role
	for _, r := range sortedRoles(doc) {
		if !named[r.ARN] {
			continue
		}
		roles = append(roles, r)
		if !slices.Contains(names, string(r.Name)) {
			fmt.Fprintf(p.stderr, "note: %s is the same IAM role, so the template is for it too: %s\n", r.Name, r.ARN)
		}
	}
	return roles, nil
}

// stackName makes a stack's name of a Role's: CloudFormation takes letters,
// digits and dashes.
func stackName(role string) string {
	return "starback-role-" + strings.NewReplacer(".", "-", "_", "-").Replace(role)
}

func (p *program) roleListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the roles of a policy",
		Example: "  starback role list -f policy.yaml",
		Args:    noArgs,
	}
	source := p.policyFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print them as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		doc, err := source.document(cmd.Context())
		if err != nil {
			return err
		}
		lines := []roleLine{}
		for _, r := range sortedRoles(doc) {
			lines = append(lines, newRoleLine(doc, r))
		}
		if asJSON {
			writeJSON(p.stdout, lines)
			return nil
		}
		var rows [][]string
		for _, l := range lines {
			rows = append(rows, []string{string(l.Name), string(l.Account), span(l.MaxSeconds), l.ARN})
		}
		p.printTable([]string{"ROLE", "ACCOUNT", "LONGEST", "IAM ROLE"}, rows)
		return nil
	}
	return cmd
}

func (p *program) roleShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show NAME",
		Short:   "Show what a policy says of a role",
		Example: "  starback role show prod-readonly -f policy.yaml",
		Args:    roleArgs(1, 1),
	}
	source := p.policyFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	cmd.ValidArgsFunction = source.complete(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		doc, err := source.document(cmd.Context())
		if err != nil {
			return err
		}
		r, err := roleNamed(doc, args[0])
		if err != nil {
			return err
		}
		l := newRoleLine(doc, r)
		if asJSON {
			writeJSON(p.stdout, l)
			return nil
		}
		return l.print(p.stdout)
	}
	return cmd
}

// A roleLine is what role list and role show say of a Role.
type roleLine struct {
	Name             policy.RoleName    `json:"name"`
	Description      string             `json:"description,omitempty"`
	Account          policy.AccountName `json:"account"`
	AccountID        string             `json:"account_id"`
	ARN              string             `json:"arn"`
	BoundaryARN      string             `json:"boundary_arn"` // if its template was rendered with one
	SameIAMRole      []policy.RoleName  `json:"same_iam_role,omitempty"`
	MaxSeconds       int                `json:"max_duration_seconds"`
	DefaultSeconds   int                `json:"default_duration_seconds"`
	Includes         []policy.RoleName  `json:"includes,omitempty"`
	ReasonRequired   bool               `json:"reason_required"`
	Ticket           string             `json:"ticket,omitempty"`
	TicketURL        string             `json:"ticket_url,omitempty"` // its own, or the settings'
	Approvals        int                `json:"approvals"`            // how many must agree
	ApprovedBy       []policy.GroupName `json:"approved_by,omitempty"`
	EscalatesTo      []policy.GroupName `json:"escalates_to,omitempty"` // whose members may answer too
	Console          bool               `json:"console"`
	SessionPolicy    json.RawMessage    `json:"session_policy,omitempty"`
	SessionARNs      []string           `json:"session_policy_arns,omitempty"`
	Tags             map[string]string  `json:"tags,omitempty"`
	NoTags           bool               `json:"no_tags,omitempty"`
	NoSourceIdentity bool               `json:"no_source_identity,omitempty"`
	Permissions      json.RawMessage    `json:"permissions,omitempty"`
	PermissionARNs   []string           `json:"permission_arns,omitempty"`
}

func newRoleLine(doc *policy.Document, r *policy.Role) roleLine {
	l := roleLine{
		Name: r.Name, Description: r.Description, Account: r.Account, AccountID: r.AccountID,
		ARN: r.ARN, BoundaryARN: cloud.BoundaryARN(r),
		MaxSeconds: int(r.MaxDuration / time.Second), DefaultSeconds: int(r.DefaultDuration / time.Second),
		Includes: r.Includes, ReasonRequired: r.ReasonRequired, Ticket: r.Ticket.String(), Console: r.Console,
		SessionPolicy: json.RawMessage(r.SessionPolicy), SessionARNs: r.SessionPolicyARNs,
		Tags: r.Tags, NoTags: r.NoTags, NoSourceIdentity: r.NoSourceIdentity,
		Permissions: json.RawMessage(r.Permissions), PermissionARNs: r.PermissionARNs,
	}
	if r.Ticket != nil {
		l.TicketURL = cmp.Or(r.TicketURL, doc.Settings.TicketURL)
	}
	if r.Approval != nil {
		l.Approvals, l.ApprovedBy, l.EscalatesTo = r.Approval.Count, r.Approval.By, r.Approval.EscalateTo
	}
	for _, other := range sortedRoles(doc) {
		if other.ARN == r.ARN && other.Name != r.Name {
			l.SameIAMRole = append(l.SameIAMRole, other.Name)
		}
	}
	return l
}

// print writes what there is to say, a line each.
func (l roleLine) print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", key, value)
		}
	}
	line("role", string(l.Name))
	line("description", l.Description)
	line("account", fmt.Sprintf("%s (%s)", l.Account, l.AccountID))
	line("IAM role", l.ARN)
	line("also behind", listed(l.SameIAMRole))
	line("boundary", l.BoundaryARN+", unless rendered without")
	line("lasts", span(l.DefaultSeconds)+", at most "+span(l.MaxSeconds))
	line("includes", listed(l.Includes))
	if l.ReasonRequired {
		line("reason", "required")
	}
	line("ticket", l.Ticket)
	line("tickets are at", l.TicketURL)
	if l.Approvals > 0 {
		line("approval", fmt.Sprintf("%d of %s", l.Approvals, listed(l.ApprovedBy)))
	}
	line("escalates to", listed(l.EscalatesTo))
	line("session policy", string(l.SessionPolicy))
	line("session policies", listed(l.SessionARNs))
	for _, key := range slices.Sorted(maps.Keys(l.Tags)) {
		line("tag", key+"="+l.Tags[key])
	}
	line("permissions", string(l.Permissions))
	line("managed policies", listed(l.PermissionARNs))
	return table.Flush()
}

// listed lists names.
func listed[T ~string](names []T) string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = string(n)
	}
	return strings.Join(all, ", ")
}

// span writes seconds as hours and minutes: 8h, 1h30m, 45m.
func span(seconds int) string {
	text := strings.TrimSuffix((time.Duration(seconds) * time.Second).Round(time.Minute).String(), "0s")
	if whole, ok := strings.CutSuffix(text, "h0m"); ok {
		return whole + "h"
	}
	return text
}
