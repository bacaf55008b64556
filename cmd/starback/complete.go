package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// completeArgs completes arguments: each is of the kind that broker.Command
// has for it, and a last one that ends in "..." may be repeated.
func (p *program) completeArgs(kinds ...string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		at := len(args)
		if last := len(kinds) - 1; at > last && strings.HasSuffix(kinds[last], "...") {
			at = last
		}
		if at >= len(kinds) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return p.complete(cmd, strings.TrimSuffix(kinds[at], "..."), args)
	}
}

// completeFlag completes the value of a flag, which is of a kind.
func (p *program) completeFlag(cmd *cobra.Command, flag, kind string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return p.complete(cmd, kind, args)
	})
}

// complete offers what is in the store of a kind, less what is in args
// already. Where there is no store to look into, it offers nothing.
func (p *program) complete(cmd *cobra.Command, kind string, args []string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var offers []cobra.Completion
	err := p.administer(cmd, func(a *broker.Admin) (err error) {
		offers, err = offered(cmd.Context(), a, kind, args)
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	offers = slices.DeleteFunc(offers, func(offer cobra.Completion) bool {
		name, _, _ := strings.Cut(offer, "\t")
		return slices.Contains(args, name)
	})
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// offeredVersions is how far back versions are offered.
const offeredVersions = 50

// offered returns what is in the store of a kind, with what tells each from
// the others.
func offered(ctx context.Context, a *broker.Admin, kind string, args []string) (offers []cobra.Completion, err error) {
	offer := func(name, about string) {
		offers = append(offers, cobra.CompletionWithDesc(name, oneLine(about)))
	}
	switch kind {
	case "USER":
		_, doc, err := a.Policies.Head(ctx)
		if err != nil {
			return nil, err
		}
		users, err := a.ListUsers(ctx, broker.UserFilter{})
		for _, u := range users {
			offer(string(u.Name), groupWords(u.Groups, u.RemovedGroups(doc)))
		}
		return offers, err
	case "GROUP", "ROLE":
		_, doc, err := a.Policy(ctx)
		if err != nil {
			return nil, err
		}
		if kind == "ROLE" {
			for _, r := range sortedRoles(doc) {
				offer(string(r.Name), r.Description)
			}
			return offers, nil
		}
		for _, name := range slices.Sorted(maps.Keys(doc.Groups)) {
			offer(string(name), grantWords(doc.Groups[name].Grants))
		}
	case "VERSION":
		heads, err := a.History(ctx, offeredVersions)
		for _, h := range heads {
			offer(strconv.FormatInt(h.Version, 10), fmt.Sprintf("%s, %s %s", moment(h.AppliedAt), h.Author, h.Message))
		}
		return offers, err
	case "TOKEN": // of the user named before it
		if len(args) == 0 {
			return nil, nil
		}
		m, err := a.User(ctx, policy.UserName(args[0]))
		for _, t := range m.User.Tokens {
			offer(t.ID, t.Label)
		}
		return offers, err
	case "CHANGE":
		open, err := a.OpenProposals(ctx)
		for _, change := range open {
			offer(shortID(change), change.Summary())
		}
		return offers, err
	}
	return offers, nil
}
