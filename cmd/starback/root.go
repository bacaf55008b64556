package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"runtime/debug"
	"strings"

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
)

// A program is what a command runs with.
type program struct {
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// run is the whole program: arguments in, an exit code out.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{getenv: getenv, stdin: stdin, stdout: stdout, stderr: stderr}
	root := p.command()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	p.complain(err)
	return exitCode(err)
}

// complain prints an error, in full where there is more than a line to say.
func (p *program) complain(err error) {
	var file policy.Errors
	if errors.As(err, &file) {
		for _, e := range file {
			fmt.Fprintln(p.stderr, e.Detail())
		}
		return
	}
	fmt.Fprintln(p.stderr, "starback: "+err.Error())
	var usage usageError
	if errors.As(err, &usage) {
		fmt.Fprintln(p.stderr, "Try: starback help")
	}
}

// A usageError is a command line that makes no sense.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func exitCode(err error) int {
	var usage usageError
	switch {
	case errors.As(err, &usage):
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
Set it up:                              starback init, then starback apply -f policy.yaml`,
		Version:           version(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              noArgs,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddCommand(p.serveCommand(), p.demoCommand(), p.initCommand(), p.applyCommand(), p.storeCommand(), p.versionCommand())
	return root
}

// noArgs refuses arguments where none belong, an unknown command among them.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasSubCommands() {
		words := fmt.Sprintf("there is no command %q", args[0])
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			words += "; did you mean " + strings.Join(near, " or ") + "?"
		}
		return usageError{errors.New(words)}
	}
	return usageError{fmt.Errorf("%s takes no argument %q", cmd.CommandPath(), args[0])}
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

// author names whoever runs the command line, as the operating system does.
func author() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil && h != "" {
		host = h
	}
	return name + "@" + host
}
