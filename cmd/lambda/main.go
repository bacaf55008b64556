// Command lambda is Starback on AWS Lambda. STARBACK_FUNCTION says which of
// the functions it is: front, broker, api or janitor. Each makes what it needs, and
// no more, once, before the first event.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/starback/starback/cmd/internal/config"
)

func main() {
	handler, err := newHandler(context.Background(), os.Getenv, os.Environ(), os.Stdout)
	if err != nil {
		slog.New(slog.NewJSONHandler(os.Stdout, nil)).Error("cannot start", "err", err)
		os.Exit(1)
	}
	lambda.Start(handler)
}

// buildVersion is set by the linker.
var buildVersion = "(devel)"

// A maker makes the handler of a function.
type maker func(ctx context.Context, getenv func(string) string, out io.Writer) (any, error)

// functions are those that the program can be however it is built. With the tag
// nobroker it can be no other: front and janitor start sooner without what only
// the others need.
var functions = map[string]maker{
	"front": func(ctx context.Context, getenv func(string) string, out io.Writer) (any, error) {
		f, err := newFront(ctx, getenv, out)
		if err != nil {
			return nil, err
		}
		return f.Invoke, nil
	},
	"janitor": func(ctx context.Context, getenv func(string) string, out io.Writer) (any, error) {
		j, err := newJanitor(ctx, getenv, out)
		if err != nil {
			return nil, err
		}
		return j.Invoke, nil
	},
}

// newHandler makes the handler of the function that STARBACK_FUNCTION names.
func newHandler(ctx context.Context, getenv func(string) string, environ []string, out io.Writer) (any, error) {
	if err := refuseOverrides(environ); err != nil {
		return nil, err
	}
	name := getenv("STARBACK_FUNCTION")
	for _, known := range []map[string]maker{functions, brokerFunctions} {
		if making, ok := known[name]; ok {
			return making(ctx, getenv, out)
		}
	}
	names := slices.Concat(slices.Collect(maps.Keys(functions)), slices.Collect(maps.Keys(brokerFunctions)))
	slices.Sort(names)
	return nil, fmt.Errorf("STARBACK_FUNCTION: %q is none of %s", name, strings.Join(names, ", "))
}

// refuseOverrides refuses endpoints other than AWS's and Slack's own: whoever
// answers there is given credentials. Only this machine itself is let by, where
// tests have their stand-ins.
func refuseOverrides(environ []string) error {
	var problems []error
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		override := strings.HasPrefix(name, "AWS_ENDPOINT_URL") || name == "SLACK_API_URL" || name == "STARBACK_SIGNIN_URL"
		if override && value != "" && config.OnLoopback(value) != nil {
			problems = append(problems, fmt.Errorf("%s: the functions take no other endpoint", name))
		}
	}
	return errors.Join(problems...)
}
