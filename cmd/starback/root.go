package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// Exit codes. They are part of the command line's contract.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitDenied      = 3
	exitUnavailable = 4
	exitWaiting     = 5 // for somebody's approval
	exitChanges     = 6 // there would be some
)

// A program is what a command runs with.
type program struct {
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
	now            func() time.Time
}

// run is the whole program: arguments in, an exit code out.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{getenv: getenv, stdin: stdin, stdout: stdout, stderr: stderr, now: time.Now}
	root := p.command()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	ran, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	p.complain(ran.CommandPath(), err)
	return exitCode(err)
}

// complain prints an error of a command, in full where there is more than a line
// to say.
func (p *program) complain(command string, err error) {
	var (
		file   policy.Errors
		change *broker.UsageError
		code   status
		usage  usageError
	)
	switch {
	case errors.As(err, &code): // all has been said
	case errors.As(err, &file):
		fmt.Fprintln(p.stderr, file.Detail())
	case errors.As(err, &change):
		problem, _, _ := strings.Cut(change.Problem, " As in: ")
		fmt.Fprintln(p.stderr, "starback: "+problem)
		if change.Command != nil {
			fmt.Fprintln(p.stderr, "As in: starback "+change.Command.Example)
		}
	case errors.As(err, &usage):
		fmt.Fprintf(p.stderr, "starback: %s\nTry: %s --help\n", sentence(err), command)
	default:
		fmt.Fprintln(p.stderr, "starback: "+sentence(err))
	}
}

// sentence is an error's text without the sentinel at its end, which is for
// programs.
func sentence(err error) string {
	s := err.Error()
	for _, sentinel := range []error{broker.ErrInvalid, broker.ErrDenied, broker.ErrNotFound, broker.ErrConflict} {
		s = strings.TrimSuffix(strings.TrimSuffix(s, " ("+sentinel.Error()+")"), ": "+sentinel.Error())
	}
	return printable(s)
}

// A usageError is a command line that makes no sense.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// A status ends the program with an exit code other than 0 although nothing
// failed: all that there is to say has been said.
type status int

func (s status) Error() string { return fmt.Sprintf("exit code %d", int(s)) }

func exitCode(err error) int {
	var (
		usage   usageError
		command *broker.UsageError
		code    status
	)
	switch {
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &usage), errors.As(err, &command):
		return exitUsage
	case errors.Is(err, broker.ErrDenied):
		return exitDenied
	case errors.Is(err, broker.ErrUnavailable):
		return exitUnavailable
	default:
		return exitFailed
	}
}

func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "starback",
		Short: "Short-term AWS credentials through Slack",
		Long: `Starback hands out short-term, role-based AWS credentials through Slack.

Try it without an account of any kind:  starback demo
Run it:                                 starback serve
Set it up:                              starback init, then starback apply -f policy.yaml

Exit codes: 0 done, 1 failed, 2 the command makes no sense, 3 denied,
4 something does not answer, 5 waiting for somebody's approval, 6 there are
changes.`,
		Version:           version(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              noArgs,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(flagError())
	root.SetVersionTemplate("{{.Version}}\n")
	for _, g := range []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"run", "Run it:", []*cobra.Command{p.serveCommand(), p.demoCommand()}},
		{"file", "Administer by a file under review:", []*cobra.Command{
			p.initCommand(), p.planCommand(), p.applyCommand(), p.policyCommand(), p.roleCommand(),
		}},
		{"commands", "Administer by commands:", []*cobra.Command{
			p.userCommand(), p.groupCommand(), p.grantCommand(), p.adminsCommand(), p.tokenCommand(), p.proposalCommand(),
		}},
		{"ask", "Ask who may do what, and who did:", []*cobra.Command{p.canCommand(), p.whoCanCommand(), p.reviewCommand(), p.auditCommand()}},
		{"keep", "Look after the store:", []*cobra.Command{p.storeCommand()}},
	} {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, cmd := range g.commands {
			cmd.GroupID = g.id
			root.AddCommand(cmd)
		}
	}
	root.AddCommand(p.versionCommand())
	return root
}

// family is a command that holds others: first those of broker.Commands whose
// first word it is.
func (p *program) family(word, short string, more ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: word, Short: short, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, c := range broker.Commands {
		if first, verb, _ := strings.Cut(string(c.Op), " "); first == word {
			cmd.AddCommand(p.changeCommand(verb, c))
		}
	}
	cmd.AddCommand(more...)
	return cmd
}

// noArgs refuses arguments where none belong, an unknown command among them.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasSubCommands() {
		words := fmt.Sprintf("there is no command %q", args[0])
		var names []string
		for _, sub := range cmd.Commands() {
			names = append(names, sub.Name())
		}
		if near, ok := policy.Suggest(args[0], names); ok {
			words += "; did you mean " + near + "?"
		}
		return usageError{errors.New(words)}
	}
	return usageError{fmt.Errorf("%s takes no argument %q", cmd.CommandPath(), args[0])}
}

// takes refuses other arguments than those named, of which one in brackets may
// be left out.
func takes(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		for _, name := range names[min(len(args), len(names)):] {
			if !strings.HasPrefix(name, "[") {
				return usageError{fmt.Errorf("%s needs a %s; as in:\n%s", cmd.CommandPath(), strings.ToLower(name), cmd.Example)}
			}
		}
		if len(args) > len(names) {
			return usageError{fmt.Errorf("%s takes no argument %q", cmd.CommandPath(), args[len(names)])}
		}
		return nil
	}
}

// needFlags refuses a command line that lacks one of the flags.
func needFlags(names ...string) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		for _, name := range names {
			if !cmd.Flags().Changed(name) {
				return usageError{fmt.Errorf("%s needs --%s; as in:\n%s", cmd.CommandPath(), name, cmd.Example)}
			}
		}
		return nil
	}
}

// flagError says what is wrong with a flag, and which of flags was likely
// meant where there is no such one.
func flagError(flags ...string) func(*cobra.Command, error) error {
	return func(_ *cobra.Command, err error) error {
		wrong, unknown := strings.CutPrefix(err.Error(), "unknown flag: --")
		if near, ok := policy.Suggest(wrong, flags); unknown && ok {
			err = fmt.Errorf("%w; did you mean --%s?", err, near)
		}
		return usageError{err}
	}
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print which Starback this is", Args: noArgs,
		Run: func(*cobra.Command, []string) { fmt.Fprintln(p.stdout, version()) },
	}
}

// buildVersion is set by the linker for a release.
var buildVersion string

// version is the release, or what Go knows of the build.
func version() string {
	if buildVersion != "" {
		return buildVersion
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
