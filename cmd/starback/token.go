package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

func (p *program) tokenCommand() *cobra.Command {
	return p.family("token", "Access tokens, for applications and the command line", p.tokenCreateCommand(), p.tokenListCommand())
}

// A tokenView is what is kept of a Token as JSON: never the token.
type tokenView struct {
	ID        string              `json:"id"`
	User      policy.UserName     `json:"user"`
	Label     string              `json:"label,omitempty"`
	AnyRole   bool                `json:"any_role"`
	Roles     []policy.RoleName   `json:"roles"`
	May       []broker.Capability `json:"may"` // beyond requesting
	CreatedAt time.Time           `json:"created_at"`
	CreatedBy string              `json:"created_by"`
	Expires   time.Time           `json:"expires"`
	LastUsed  time.Time           `json:"last_used,omitzero"` // to the hour
	RevokedAt time.Time           `json:"revoked_at,omitzero"`
}

func viewToken(user policy.UserName, t broker.Token) tokenView {
	return tokenView{
		ID: t.ID, User: user, Label: t.Label, AnyRole: t.AnyRole,
		Roles: append([]policy.RoleName{}, t.Roles...), May: append([]broker.Capability{}, t.May...),
		CreatedAt: t.CreatedAt, CreatedBy: t.CreatedBy, Expires: t.Expires, LastUsed: t.LastUsed, RevokedAt: t.RevokedAt,
	}
}

// roles says in words what the Token is for.
func (t tokenView) roles() string {
	if t.AnyRole {
		return "any role"
	}
	return listed(t.Roles)
}

func (p *program) tokenCreateCommand() *cobra.Command {
	var ttl string
	var roles, may []string
	var asJSON bool
	var wish broker.TokenWish
	cmd := &cobra.Command{
		Use:   "create USER",
		Short: "Make an access token of a user, and print it once",
		Long: `Make an access token of a user. It is for the roles that --role names, and not
for what those include; or, with --any-role, for whatever its user may ask for.
It lasts as long as the policy's token_lifetime and its user allow, or for
--ttl, if that is less.

The token alone is on stdout, and is never shown again: only a hash is kept.`,
		Example: "  TOKEN=$(starback token create ci-deploy --role test-poweruser --ttl 30d --label 'the nightly build')",
		Args:    takes("USER"), ValidArgsFunction: p.completeArgs("USER"),
	}
	cmd.Flags().StringVar(&ttl, "ttl", "", "how long it lasts (30d, 12h)")
	cmd.Flags().StringArrayVar(&roles, "role", nil, "a role it is for; may be repeated")
	cmd.Flags().BoolVar(&wish.AnyRole, "any-role", false, "it is for every role of its user")
	cmd.Flags().StringSliceVar(&may, "may", nil, "what it may do besides requesting: "+listed(broker.Capabilities))
	cmd.Flags().StringVar(&wish.Label, "label", "", "what it is for, at most 64 characters")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it, and what is known of it, as JSON")
	p.completeFlag(cmd, "role", "ROLE")
	_ = cmd.RegisterFlagCompletionFunc("may", func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return strings.Split(listed(broker.Capabilities), ", "), cobra.ShellCompDirectiveNoFileComp
	})
	cmd.PreRunE = func(_ *cobra.Command, args []string) (err error) {
		if len(roles) == 0 && !wish.AnyRole {
			return usageError{errors.New("which roles is it for? Name them with --role, or give --any-role")}
		}
		if ttl != "" {
			if wish.Life, err = policy.ParseLifetime(ttl); err != nil {
				return usageError{fmt.Errorf("--ttl: %q is not a length of time such as 30d or 12h", ttl)}
			}
		}
		wish.User = policy.UserName(args[0])
		for _, r := range roles {
			wish.Roles = append(wish.Roles, policy.RoleName(r))
		}
		for _, c := range may {
			wish.May = append(wish.May, broker.Capability(c))
		}
		return nil
	}
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, _ []string) error {
		t, token, err := a.CreateToken(ctx, wish)
		if err != nil {
			return err
		}
		view := viewToken(wish.User, t)
		if asJSON {
			writeJSON(p.stdout, struct {
				Token string `json:"token"`
				tokenView
			}{token.Reveal(), view})
			return nil
		}
		fmt.Fprintf(p.stderr, "Token %s of %s, for %s, until %s. It is shown this once: put it where secrets are kept.\n",
			t.ID, wish.User, view.roles(), moment(t.Expires))
		fmt.Fprintln(p.stdout, token.Reveal())
		return nil
	})
}

func (p *program) tokenListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list [USER]", Short: "List access tokens, or those of a user; never the tokens themselves", Example: "  starback token list ci-deploy",
		Args: takes("[USER]"), ValidArgsFunction: p.completeArgs("USER"),
	}
	asJSON := cmd.Flags().Bool("json", false, "print them as JSON")
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, args []string) error {
		users, err := p.tokenUsers(ctx, a, args)
		if err != nil {
			return err
		}
		views, rows := []tokenView{}, [][]string{}
		for _, u := range users {
			for _, t := range u.Tokens {
				v := viewToken(u.Name, t)
				views = append(views, v)
				rows = append(rows, []string{
					v.ID, string(v.User), v.Label, v.roles(), listed(v.May), p.tokenState(t), orNever(moment(v.LastUsed)),
				})
			}
		}
		switch {
		case *asJSON:
			writeJSON(p.stdout, views)
		case len(rows) == 0:
			fmt.Fprintln(p.stdout, "There is no token.")
		default:
			p.printTable([]string{"TOKEN", "USER", "LABEL", "FOR", "MAY ALSO", "STATE", "LAST USED"}, rows)
		}
		return nil
	})
}

// tokenUsers returns the one User named, or all.
func (p *program) tokenUsers(ctx context.Context, a *broker.Admin, args []string) ([]broker.User, error) {
	if len(args) == 0 {
		return a.ListUsers(ctx, broker.UserFilter{})
	}
	m, err := a.User(ctx, policy.UserName(args[0]))
	return []broker.User{m.User}, err
}

// tokenState says in words whether a Token is good, and until when.
func (p *program) tokenState(t broker.Token) string {
	switch {
	case !t.RevokedAt.IsZero():
		return "revoked " + moment(t.RevokedAt)
	case !t.Live(p.now()):
		return "expired " + moment(t.Expires)
	default:
		return "until " + moment(t.Expires)
	}
}

func orNever(s string) string {
	if s == "" {
		return "never"
	}
	return s
}
