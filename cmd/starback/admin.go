package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"os"
	"os/user"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/store"
)

// jsonUsage describes the flag --json.
const jsonUsage = "print it as JSON"

// onStore makes cmd one that administers the store which --store or
// STARBACK_STORE names: do is run with an Admin of it.
func (p *program) onStore(cmd *cobra.Command, do func(ctx context.Context, a *broker.Admin, args []string) error) *cobra.Command {
	cmd.Flags().String("store", "", storeUsage)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return p.administer(cmd, func(a *broker.Admin) error { return do(cmd.Context(), a, args) })
	}
	return cmd
}

// administer runs do with an Admin of cmd's store, which must be there.
func (p *program) administer(cmd *cobra.Command, do func(*broker.Admin) error) error {
	flag, err := cmd.Flags().GetString("store")
	if err != nil {
		return err
	}
	spec, err := p.storeSpec(flag)
	if err != nil {
		return err
	}
	db, err := openExisting(cmd.Context(), spec)
	if err != nil {
		return err
	}
	defer db.Close()
	return do(newAdmin(db, author()))
}

func newAdmin(db store.Store, author broker.Author) *broker.Admin {
	return broker.NewAdmin(db, time.Now, rand.Reader, author)
}

// author is whoever runs the command line, as the operating system knows them:
// as NAME@HOST in the trail, and as the User of that name, if there is one.
func author() broker.Author {
	var a broker.Author
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
		if own := policy.UserName(name); own.Valid() {
			a.User = own
		}
	}
	if h, err := os.Hostname(); err == nil && h != "" {
		host = h
	}
	a.Name = name + "@" + host
	return a
}

// known refuses a name that is not among all, and says which was likely meant.
func known[K ~string, V any](what string, name K, all map[K]V) error {
	if _, ok := all[name]; ok {
		return nil
	}
	words := fmt.Sprintf("there is no %s %s", what, name)
	if near, ok := policy.Suggest(string(name), slices.Collect(maps.Keys(all))); ok {
		words += fmt.Sprintf("; did you mean %s?", near)
	}
	return fmt.Errorf("%s (%w)", words, broker.ErrNotFound)
}
