package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/starback/starback/sandbox"
)

func (p *program) demoCommand() *cobra.Command {
	var addr, as, channel, click, logFile string
	cmd := &cobra.Command{
		Use:   "demo [--as PERSON 'TEXT']",
		Short: "See Starback at work, without an account of any kind",
		Long: `See Starback at work. Nothing in it is real.

Alone, it starts a sandbox, plays a short scene with several people, prints
what each of them sees in Slack, and ends.

With --as, it types a command into a sandbox that runs (starback serve
--sandbox), and prints what that person then sees. With --click, it presses a
button that person sees. With --channel, it prints a channel.`,
		Example: "  starback demo\n  starback demo --as alice '/starback prod-readonly 1h INC-1 looking'\n  starback demo --as alice --click 'New keys for fish'\n  starback demo --channel starback-audit",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 && as == "" {
				return usageError{errors.New("who types that? Say --as alice")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			control := &sandbox.Control{Base: "http://" + addr, HTTP: &http.Client{Timeout: 20 * time.Second}}
			text := strings.Join(args, " ")
			switch {
			case channel != "":
				return p.show(control.Channel(ctx, channel))
			case as != "" && click != "":
				return p.show(control.Click(ctx, as, click))
			case as != "" && text != "":
				return p.show(control.Type(ctx, as, "", text))
			case as != "":
				return usageError{fmt.Errorf("what does %s type? As in: starback demo --as %s '/starback roles'", as, as)}
			}
			return p.scene(ctx, logFile)
		},
	}
	cmd.Flags().StringVar(&addr, "addr", defaultAddr, "where the sandbox listens")
	cmd.Flags().StringVar(&as, "as", "", "who types or clicks: alice, bob, carol, dave, erin or grace")
	cmd.Flags().StringVar(&click, "click", "", "the button to press, by its label or action id")
	cmd.Flags().StringVar(&channel, "channel", "", "print this channel")
	cmd.Flags().StringVar(&logFile, "log", "", "append the scene's audit and log lines to this file")
	_ = cmd.RegisterFlagCompletionFunc("as", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		names := make([]string, len(people))
		for i, person := range people {
			names[i] = person.Name
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

// show prints messages as a person reads them.
func (p *program) show(messages []string, err error) error {
	if unreached := (*url.Error)(nil); errors.As(err, &unreached) {
		return fmt.Errorf("%w (is a sandbox running? Start one with: starback serve --sandbox)", err)
	} else if err != nil {
		return err
	}
	for _, m := range messages {
		fmt.Fprintln(p.stdout, indent(m))
	}
	return nil
}

// indent sets a message off from what is said about it.
func indent(text string) string {
	return "  | " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  | ") + "\n"
}

// shorten cuts long lines, such as those that hold a session token: in the
// scene nobody pastes them.
func shorten(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if r := []rune(line); len(r) > sceneWidth {
			lines[i] = fmt.Sprintf("%s… (%d characters)", string(r[:sceneWidth-20]), len(r))
		}
	}
	return strings.Join(lines, "\n")
}

const sceneWidth = 110 // characters

// A step of the scene: what is happening, who types what.
type step struct{ about, as, text string }

var scene = []step{
	{"Alice needs to look at production. The answer is a message only she can see.", "alice", "/starback prod-readonly 1h looking at the queue, INC-4711"},
	{"She tries her luck.", "alice", "/starback prod-admin 1h INC-4711 same queue"},
	{"Bob may ask for prod-admin, which includes the lower roles. He mistypes one.", "bob", "/starback prod-operater 30m INC-4711 restart the consumer"},
	{"Once more.", "bob", "/starback prod-operator 30m INC-4711 restart the consumer"},
	{"He wants more time than the role gives.", "bob", "/starback prod-operator 9h INC-4711 restart the consumer"},
	{"Dave is in Slack, but nobody has added him to Starback.", "dave", "/starback prod-readonly"},
	{"Erin's access ended some time ago.", "erin", "/starback prod-readonly"},
	{"Grace is a guest of the workspace.", "grace", "/starback prod-readonly"},
}

// scene starts a sandbox, plays the scene and ends.
func (p *program) scene(ctx context.Context, logFile string) (err error) {
	out := io.Discard
	if logFile != "" {
		f, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		out = f
	}
	w, err := newWorld(ctx, "127.0.0.1:0", out)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- w.run(ctx) }()
	defer func() {
		stop()
		err = errors.Join(err, <-done)
	}()

	fmt.Fprint(p.stdout, "A short scene in a sandbox. Nothing here is real: neither the Slack, nor the AWS, nor the credentials.\n\n")
	control := &sandbox.Control{Base: "http://" + w.addr(), HTTP: &http.Client{Timeout: 20 * time.Second}}
	for _, s := range scene {
		fmt.Fprintf(p.stdout, "%s\n\n  %s types: %s\n\n", s.about, s.as, s.text)
		messages, err := control.Type(ctx, s.as, "general", s.text)
		if err != nil {
			return err
		}
		if len(messages) == 0 {
			return fmt.Errorf("%s saw no answer to %s", s.as, s.text)
		}
		for _, m := range messages {
			fmt.Fprintln(p.stdout, indent(shorten(m)))
		}
	}
	if err := w.settle(ctx); err != nil {
		return err
	}
	fmt.Fprint(p.stdout, "Meanwhile, in #starback-audit:\n\n")
	return p.show(control.Channel(ctx, "starback-audit"))
}

// settle waits until the trail has been passed on.
func (w *world) settle(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	for {
		// What is held or retried is due within a minute; what is due later is
		// the end of a window.
		pending, err := w.service.store.Pending(ctx, time.Now().Add(time.Minute), 1)
		if err != nil {
			return err
		}
		if len(pending) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the audit channel lags behind")
		case <-time.After(50 * time.Millisecond):
		}
	}
}
