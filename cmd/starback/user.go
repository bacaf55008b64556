package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

func (p *program) userCommand() *cobra.Command {
	return p.family("user", "People, and applications with an owner", p.userShowCommand(), p.userListCommand(), p.userHistoryCommand())
}

// A userView is what a User is as JSON.
type userView struct {
	Name      policy.UserName    `json:"name"`
	ID        string             `json:"id"`
	Owner     policy.UserName    `json:"owner,omitempty"` // of an application
	Enabled   bool               `json:"enabled"`
	Removed   bool               `json:"removed,omitempty"`
	Expires   time.Time          `json:"expires"`
	Groups    []policy.GroupName `json:"groups"` // those that there are
	Grants    []policy.Grant     `json:"grants"`
	Slack     string             `json:"slack,omitempty"`
	Email     string             `json:"email,omitempty"`
	Manual    []string           `json:"changed_by_commands,omitempty"` // what a policy file may lack
	CreatedAt time.Time          `json:"created_at"`
	Tokens    []tokenView        `json:"tokens"`

	// Groups that were removed while the User was in them: worth nothing, unless
	// a rollback brings them back.
	RemovedGroups []policy.GroupName `json:"removed_groups,omitempty"`
}

func viewUser(u broker.User, removed []policy.GroupName) userView {
	v := userView{
		Name: u.Name, ID: u.ID, Owner: u.Owner, Enabled: u.Enabled, Removed: u.Removed, Expires: u.Expires,
		Groups: []policy.GroupName{}, Grants: append([]policy.Grant{}, u.Grants...), RemovedGroups: removed,
		Slack: u.Slack.String(), Email: u.Email, Manual: u.Manual, CreatedAt: u.CreatedAt, Tokens: []tokenView{},
	}
	for _, g := range u.Groups {
		if !slices.Contains(removed, g) {
			v.Groups = append(v.Groups, g)
		}
	}
	for _, t := range u.Tokens {
		v.Tokens = append(v.Tokens, viewToken(u.Name, t))
	}
	return v
}

// userState says in a word whether a User's own entry lets them in.
func (p *program) userState(u broker.User) string {
	switch {
	case u.Removed:
		return "removed"
	case !u.Enabled:
		return "disabled"
	case !p.now().Before(u.Expires):
		return "expired"
	default:
		return "active"
	}
}

// userEnd writes when a User's access ends; of a removed one it has.
func userEnd(u broker.User) string {
	if u.Removed {
		return ""
	}
	return end(u.Expires)
}

func (p *program) userListCommand() *cobra.Command {
	var group, expiring string
	var f broker.UserFilter
	cmd := &cobra.Command{
		Use: "list", Short: "List users", Example: "  starback user list --expiring 14d", Args: noArgs,
	}
	cmd.Flags().StringVar(&expiring, "expiring", "", "those alone whose access ends within this (14d, 12h), or has ended")
	cmd.Flags().StringVar(&group, "group", "", "the members of this group alone")
	cmd.Flags().BoolVar(&f.Removed, "removed", false, "removed users too, whose names are never used again")
	asJSON := cmd.Flags().Bool("json", false, "print them as JSON")
	p.completeFlag(cmd, "group", "GROUP")
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		f.Group = policy.GroupName(group)
		if expiring == "" {
			return nil
		}
		if f.Expiring, err = policy.ParseLifetime(expiring); err != nil {
			return usageError{fmt.Errorf("--expiring: %q is not a length of time such as 14d or 12h", expiring)}
		}
		return nil
	}
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, _ []string) error {
		newest := a.Policies.Head
		if f.Group != "" {
			newest = a.Policy // there must be one
		}
		_, doc, err := newest(ctx)
		if err != nil {
			return err
		}
		if f.Group != "" {
			if err := known("group", f.Group, doc.Groups); err != nil {
				return err
			}
		}
		users, err := a.ListUsers(ctx, f)
		if err != nil {
			return err
		}
		p.printUsers(users, doc, *asJSON)
		return nil
	})
}

// groupWords lists the groups that a User is in, and says which were removed.
func groupWords(groups, removed []policy.GroupName) string {
	words := make([]string, len(groups))
	for i, g := range groups {
		words[i] = string(g)
		if slices.Contains(removed, g) {
			words[i] += " (removed)"
		}
	}
	return strings.Join(words, ", ")
}

func (p *program) printUsers(users []broker.User, doc *policy.Document, asJSON bool) {
	views, rows := []userView{}, [][]string{}
	for _, u := range users {
		removed := u.RemovedGroups(doc)
		views = append(views, viewUser(u, removed))
		account := u.Slack.String()
		switch {
		case u.IsApp:
			account = "application of " + string(u.Owner)
		case account == "":
			account = u.Email
		}
		rows = append(rows, []string{string(u.Name), p.userState(u), userEnd(u), groupWords(u.Groups, removed), account})
	}
	switch {
	case asJSON:
		writeJSON(p.stdout, views)
	case len(rows) == 0:
		fmt.Fprintln(p.stdout, "There is no such user.")
	default:
		p.printTable([]string{"USER", "STATE", "UNTIL", "GROUPS", "KNOWN AS"}, rows)
	}
}

// A holdView is one role that a User may ask for, as JSON.
type holdView struct {
	Role          policy.RoleName `json:"role"`
	Path          string          `json:"path"`
	Since         time.Time       `json:"since,omitzero"` // absent: not known
	Expires       time.Time       `json:"expires"`        // when the authority ends
	NeedsApproval bool            `json:"needs_approval"`
}

func (p *program) userShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show USER", Short: "Show a user, and what they may ask for", Example: "  starback user show alice",
		Args: takes("USER"), ValidArgsFunction: p.completeArgs("USER"),
	}
	asJSON := cmd.Flags().Bool("json", false, jsonUsage)
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, args []string) error {
		m, err := a.User(ctx, policy.UserName(args[0]))
		if err != nil {
			return err
		}
		since, err := a.HoldsSince(ctx, m.User, m.Holds)
		if err != nil {
			return err
		}
		holds := []holdView{}
		for i, h := range m.Holds {
			holds = append(holds, holdView{h.Role.Name, strings.Join(h.Path, " "), since[i], h.Expires, h.NeedsApproval})
		}
		if *asJSON {
			writeJSON(p.stdout, struct {
				userView
				Admin         bool       `json:"admin"`
				MayAskFor     []holdView `json:"may_ask_for"`
				PolicyVersion int64      `json:"policy_version"`
			}{viewUser(m.User, m.Removed), m.Admin, holds, m.PolicyVersion})
			return nil
		}
		p.printCard(p.userCard(m))
		p.printHolds(holds)
		return nil
	})
}

// userCard is what is known of a User.
func (p *program) userCard(m broker.Membership) card {
	u := m.User
	state := p.userState(u)
	if u.IsApp && m.Owner.Name != "" {
		if of := p.userState(m.Owner); of != "active" {
			state += fmt.Sprintf(", but its owner is %s", of)
		}
	}
	live := 0
	for _, t := range u.Tokens {
		if t.Live(p.now()) {
			live++
		}
	}
	var c card
	c.add("user", string(u.Name))
	c.add("state", state)
	c.add("until", userEnd(u))
	c.add("application of", string(u.Owner))
	c.add("groups", groupWords(u.Groups, m.Removed))
	c.add("grants", grantWords(u.Grants))
	c.add("slack", u.Slack.String())
	c.add("e-mail", u.Email)
	c.add("administrator", yesIf(m.Admin))
	if live > 0 {
		c.add("tokens", fmt.Sprintf("%d; see: starback token list %s", live, u.Name))
	}
	c.add("by command", listed(u.Manual))
	return c
}

func (p *program) printHolds(holds []holdView) {
	if len(holds) == 0 {
		fmt.Fprintln(p.stdout, "\nMay ask for nothing.")
		return
	}
	var rows [][]string
	for _, h := range holds {
		rows = append(rows, []string{string(h.Role), moment(h.Since), end(h.Expires), yesIf(h.NeedsApproval), h.Path})
	}
	fmt.Fprintln(p.stdout)
	p.printTable([]string{"MAY ASK FOR", "SINCE", "UNTIL", "APPROVAL", "BECAUSE"}, rows)
}
