package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

func (p *program) grantCommand() *cobra.Command {
	return p.family("grant", "Grants: who may ask for which role", p.grantListCommand())
}

// A grantView is one Grant as JSON, of a Group or of a User.
type grantView struct {
	Role    policy.RoleName  `json:"role"`
	Group   policy.GroupName `json:"group,omitempty"`
	User    policy.UserName  `json:"user,omitempty"`
	Expires time.Time        `json:"expires,omitzero"` // absent: it has no end of its own
}

// holder says whose the Grant is.
func (g grantView) holder() string {
	if g.Group != "" {
		return "group " + string(g.Group)
	}
	return "user " + string(g.User)
}

func (p *program) grantListCommand() *cobra.Command {
	var only string
	cmd := &cobra.Command{Use: "list", Short: "List grants", Example: "  starback grant list --role prod-admin", Args: noArgs}
	cmd.Flags().StringVar(&only, "role", "", "the grants of this role alone; see who-can for those of roles above it too")
	asJSON := cmd.Flags().Bool("json", false, "print them as JSON")
	p.completeFlag(cmd, "role", "ROLE")
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, _ []string) error {
		_, doc, err := a.Policy(ctx)
		if err != nil {
			return err
		}
		if only != "" {
			if err := known("role", policy.RoleName(only), doc.Roles); err != nil {
				return err
			}
		}
		users, err := a.ListUsers(ctx, broker.UserFilter{})
		if err != nil {
			return err
		}
		grants := slices.DeleteFunc(allGrants(doc, users), func(g grantView) bool { return only != "" && string(g.Role) != only })
		var rows [][]string
		for _, g := range grants {
			rows = append(rows, []string{string(g.Role), g.holder(), end(g.Expires)})
		}
		switch {
		case *asJSON:
			writeJSON(p.stdout, grants)
		case len(rows) == 0:
			fmt.Fprintln(p.stdout, "There is no such grant.")
		default:
			p.printTable([]string{"ROLE", "TO", "UNTIL"}, rows)
		}
		return nil
	})
}

// allGrants returns every Grant by role: those of groups, then those of users.
func allGrants(doc *policy.Document, users []broker.User) []grantView {
	all := []grantView{}
	for _, name := range slices.Sorted(maps.Keys(doc.Groups)) {
		for _, g := range doc.Groups[name].Grants {
			all = append(all, grantView{Role: g.Role, Group: name, Expires: g.Expires})
		}
	}
	for _, u := range users {
		for _, g := range u.Grants {
			all = append(all, grantView{Role: g.Role, User: u.Name, Expires: g.Expires})
		}
	}
	slices.SortStableFunc(all, func(x, y grantView) int { return strings.Compare(string(x.Role), string(y.Role)) })
	return all
}
