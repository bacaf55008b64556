package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/starback/starback/cmd/internal/config"
)

const defaultAddr = "127.0.0.1:8080"

func (p *program) serveCommand() *cobra.Command {
	var addr string
	var inSandbox bool
	flags := map[string]*string{}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run Starback on this machine",
		Long: `Run Starback on this machine, until it is told to stop.

Slack posts to /slack/commands, /slack/interactions and /slack/events. Put a
proxy with TLS in front, or set SLACK_APP_TOKEN: then Slack is reached over
Socket Mode, and nothing needs to be public. Applications ask at /v1/, with the
tokens that "starback token create" makes. /healthz says that the process is
up, /readyz that the store, Slack and AWS answer.

The environment configures it: SLACK_SIGNING_SECRET, SLACK_BOT_TOKEN,
SLACK_APP_TOKEN, STARBACK_SLACK_TEAMS, STARBACK_STORE, STARBACK_BASE,
STARBACK_AUDIT_CHANNEL, STARBACK_APPROVALS_CHANNEL and AWS's own. A value may be
file:PATH or ssm:/path. Flags override.

With --sandbox it needs nothing at all: a store of its own with example people,
and stand-ins for AWS and Slack on this machine.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if inSandbox {
				if err := refuseRealThings(p.getenv, flags); err != nil {
					return usageError{err}
				}
				return p.serveSandbox(cmd.Context(), addr)
			}
			s := config.Read(p.getenv)
			for name, value := range flags {
				if *value != "" {
					s[name] = *value
				}
			}
			return p.serve(cmd, addr, s)
		},
	}
	cmd.Flags().StringVar(&addr, "addr", defaultAddr, "HOST:PORT to listen on")
	cmd.Flags().BoolVar(&inSandbox, "sandbox", false, "stand-ins for AWS and Slack, and example people")
	for _, name := range config.Names {
		if f, ok := config.Flags[name]; ok {
			flags[name] = cmd.Flags().String(f.Flag, "", f.Usage+" ("+name+")")
		}
	}
	return cmd
}

// serve runs against the real Slack and AWS, or what stands in for them.
func (p *program) serve(cmd *cobra.Command, addr string, s config.Settings) error {
	ctx := cmd.Context()
	awsCfg, awsErr := config.LoadAWS(ctx)
	if awsErr == nil {
		if err := config.CheckEndpoints(os.Environ()); err != nil {
			return configError(err)
		}
		if err := s.Resolve(ctx, awsCfg); err != nil {
			return configError(err)
		}
	}
	cfg, err := s.Check()
	if err = errors.Join(err, awsErr); err != nil {
		return configError(err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	svc, err := newService(ctx, cfg, awsCfg, p.stdout)
	if err != nil {
		listener.Close()
		return err
	}
	return svc.run(ctx, listener, nil)
}

// configError says all that is wrong with the configuration.
func configError(err error) error {
	return usageError{fmt.Errorf("the configuration cannot be used:\n%w", err)}
}

// refuseRealThings keeps the sandbox away from a real workspace and a real
// store.
func refuseRealThings(getenv func(string) string, flags map[string]*string) error {
	for _, name := range []string{config.BotToken, config.AppToken, config.SigningSecret} {
		if getenv(name) != "" {
			return fmt.Errorf("%s is set: --sandbox has a Slack of its own, and takes no real token", name)
		}
	}
	for _, name := range config.Names {
		if getenv(name) != "" || flags[name] != nil && *flags[name] != "" {
			return fmt.Errorf("%s is set: --sandbox makes its own, and touches no other", name)
		}
	}
	return nil
}

// writeJSON writes v on one line. What a terminal would obey rather than show is
// escaped: in JSON, it stands nowhere but in strings.
func writeJSON(w io.Writer, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		return // it is never of a kind that JSON does not have
	}
	var line strings.Builder
	for _, r := range string(text) {
		if obeyed(r) {
			fmt.Fprintf(&line, `\u%04x`, r)
		} else {
			line.WriteRune(r)
		}
	}
	fmt.Fprintln(w, line.String())
}
