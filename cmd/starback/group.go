package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

func (p *program) groupCommand() *cobra.Command {
	return p.family("group", "Groups of users, and who is in them", p.groupListCommand(), p.groupShowCommand())
}

func (p *program) adminsCommand() *cobra.Command {
	return p.family("admins", "Who administers Starback", p.adminsListCommand())
}

// A groupView is what a Group is as JSON.
type groupView struct {
	Name     policy.GroupName  `json:"name"`
	Members  []memberView      `json:"members"`
	Grants   []policy.Grant    `json:"grants"`
	Admin    bool              `json:"admin"`    // its members administer Starback
	Approves []policy.RoleName `json:"approves"` // for which its members may approve requests

	SlackGroup string `json:"slack_group,omitempty"` // the user group of Slack's that calls them
}

// A memberView is one User of a Group.
type memberView struct {
	Name    policy.UserName `json:"name"`
	State   string          `json:"state"` // active, disabled or expired
	Expires time.Time       `json:"expires"`
}

// words writes a member, with their state unless they are active.
func (m memberView) words() string {
	if m.State == "active" {
		return string(m.Name)
	}
	return fmt.Sprintf("%s (%s)", m.Name, m.State)
}

func memberWords(members []memberView) string {
	words := make([]string, len(members))
	for i, m := range members {
		words[i] = m.words()
	}
	return listed(words)
}

// groups returns every Group by name, with its members.
func (p *program) groups(ctx context.Context, a *broker.Admin) ([]groupView, *policy.Document, error) {
	_, doc, err := a.Policy(ctx)
	if err != nil {
		return nil, nil, err
	}
	users, err := a.ListUsers(ctx, broker.UserFilter{})
	if err != nil {
		return nil, nil, err
	}
	members := map[policy.GroupName][]memberView{}
	for _, u := range users {
		for _, g := range u.Groups {
			members[g] = append(members[g], memberView{u.Name, p.userState(u), u.Expires})
		}
	}
	views := []groupView{}
	for _, name := range slices.Sorted(maps.Keys(doc.Groups)) {
		v := groupView{
			Name: name, Members: append([]memberView{}, members[name]...), Grants: append([]policy.Grant{}, doc.Groups[name].Grants...),
			Admin: slices.Contains(doc.Admins, name), Approves: append([]policy.RoleName{}, doc.ApprovedBy(name)...),
			SlackGroup: doc.Groups[name].SlackGroup,
		}
		views = append(views, v)
	}
	return views, doc, nil
}

func (p *program) groupListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List groups", Example: "  starback group list", Args: noArgs}
	asJSON := cmd.Flags().Bool("json", false, "print them as JSON")
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, _ []string) error {
		groups, _, err := p.groups(ctx, a)
		if err != nil {
			return err
		}
		if *asJSON {
			writeJSON(p.stdout, groups)
			return nil
		}
		var rows [][]string
		for _, g := range groups {
			rows = append(rows, []string{string(g.Name), strconv.Itoa(len(g.Members)), yesIf(g.Admin), listed(g.Approves), grantWords(g.Grants)})
		}
		p.printTable([]string{"GROUP", "MEMBERS", "ADMIN", "APPROVES", "GRANTS"}, rows)
		return nil
	})
}

func (p *program) groupShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show GROUP", Short: "Show a group: its grants, its members, and what it is for", Example: "  starback group show sre",
		Args: takes("GROUP"), ValidArgsFunction: p.completeArgs("GROUP"),
	}
	asJSON := cmd.Flags().Bool("json", false, jsonUsage)
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, args []string) error {
		name := policy.GroupName(args[0])
		groups, doc, err := p.groups(ctx, a)
		if err != nil {
			return err
		}
		if err := known("group", name, doc.Groups); err != nil {
			return err
		}
		g := groups[slices.IndexFunc(groups, func(g groupView) bool { return g.Name == name })]
		if *asJSON {
			writeJSON(p.stdout, g)
			return nil
		}
		var c card
		c.add("group", string(g.Name))
		c.add("grants", grantWords(g.Grants))
		c.add("members", memberWords(g.Members))
		c.add("administers", yesIf(g.Admin))
		c.add("approves", listed(g.Approves))
		c.add("called by", g.SlackGroup)
		p.printCard(c)
		return nil
	})
}

func (p *program) adminsListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the groups whose members administer Starback", Example: "  starback admins list", Args: noArgs,
	}
	asJSON := cmd.Flags().Bool("json", false, "print them as JSON")
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, _ []string) error {
		groups, _, err := p.groups(ctx, a)
		if err != nil {
			return err
		}
		groups = slices.DeleteFunc(groups, func(g groupView) bool { return !g.Admin })
		if *asJSON {
			writeJSON(p.stdout, groups)
			return nil
		}
		var rows [][]string
		for _, g := range groups {
			rows = append(rows, []string{string(g.Name), memberWords(g.Members)})
		}
		p.printTable([]string{"GROUP", "MEMBERS"}, rows)
		return nil
	})
}
