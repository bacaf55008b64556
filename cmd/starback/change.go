package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/starback/starback/broker"
)

// changeCommand is the command, called verb in its family, for one of
// broker.Commands.
func (p *program) changeCommand(verb string, c broker.Command) *cobra.Command {
	var change broker.Change
	cmd := &cobra.Command{
		Use:     verb + " " + strings.Join(c.Args, " "),
		Short:   c.Short,
		Example: "  starback " + c.Example,
		Args:    cobra.ArbitraryArgs, // Change looks at them

		ValidArgsFunction: p.completeArgs(c.Args...),
	}
	flags := []string{"store", "json"}
	given := map[string]*values{}
	for _, f := range c.Flags {
		short := ""
		if f.Name == "message" {
			short = "m"
		}
		given[f.Name] = &values{kind: f.Value}
		cmd.Flags().VarP(given[f.Name], f.Name, short, f.Usage)
		p.completeFlag(cmd, f.Name, f.Value)
		flags = append(flags, f.Name)
	}
	cmd.SetFlagErrorFunc(flagError(flags...))
	asJSON := cmd.Flags().Bool("json", false, "print what was done as JSON")
	cmd.PreRunE = func(_ *cobra.Command, args []string) (err error) {
		said := map[string][]string{}
		for name, v := range given {
			if len(v.given) > 0 {
				said[name] = v.given
			}
		}
		change, err = c.Change(args, said)
		return err
	}
	return p.onStore(cmd, func(ctx context.Context, a *broker.Admin, _ []string) error {
		done, err := a.Do(ctx, change)
		if err != nil {
			return err
		}
		return p.printDone(done, *asJSON)
	})
}

// values are a flag's, as often as it is given. It is a pflag.Value.
type values struct {
	kind  string // as broker.Flag has it
	given []string
}

// String is what help shows as the default: nothing.
func (v *values) String() string { return "" }

// Type is what help shows for the value.
func (v *values) Type() string { return v.kind }

// Set takes one value.
func (v *values) Set(s string) error {
	v.given = append(v.given, s)
	return nil
}

// printDone says what came of a Change. One that waits for a second
// administrator ends the program with exitWaiting.
func (p *program) printDone(done broker.Done, asJSON bool) error {
	switch {
	case asJSON:
		writeJSON(p.stdout, done)
	case done.Proposal != nil:
		fmt.Fprintf(p.stdout, "This waits for a second administrator, because it benefits you: %s.\n", printable(done.Proposal.Benefit))
		p.printLines(done.Detail)
		fmt.Fprintf(p.stdout, "Another administrator confirms it by %s with: starback change confirm %s\n",
			moment(done.Proposal.Expires), shortID(*done.Proposal))
	case done.Same:
		fmt.Fprintln(p.stdout, "Nothing changes: it is so already.")
	default:
		p.printLines(done.Detail)
		for _, line := range done.Bereft {
			fmt.Fprintln(p.stdout, printable(line)+".")
		}
		if len(done.Change.Users) == 0 {
			fmt.Fprintf(p.stdout, "The policy is at version %d.\n", done.PolicyVersion)
		}
		if done.Loud != "" {
			fmt.Fprintln(p.stdout, "Everybody is told: "+printable(done.Loud))
		}
	}
	if done.Proposal != nil {
		return status(exitWaiting)
	}
	return nil
}

func (p *program) printLines(lines []string) {
	for _, line := range lines {
		fmt.Fprintln(p.stdout, printable(line))
	}
}
