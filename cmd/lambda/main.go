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
	"os"
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

// newHandler makes the handler of the function that STARBACK_FUNCTION names.
func newHandler(ctx context.Context, getenv func(string) string, environ []string, out io.Writer) (any, error) {
	if err := refuseOverrides(environ); err != nil {
		return nil, err
	}
	switch name := getenv("STARBACK_FUNCTION"); name {
	case "front":
		f, err := newFront(ctx, getenv, out)
		if err != nil {
			return nil, err
		}
		return f.Invoke, nil
	case "broker":
		b, err := newBroker(ctx, getenv, out)
		if err != nil {
			return nil, err
		}
		return b.Handle, nil
	case "api":
		a, err := newAPI(ctx, getenv, out)
		if err != nil {
			return nil, err
		}
		return a.Invoke, nil
	case "janitor":
		j, err := newJanitor(ctx, getenv, out)
		if err != nil {
			return nil, err
		}
		return j.Invoke, nil
	default:
		return nil, fmt.Errorf("STARBACK_FUNCTION: %q is none of front, broker, api and janitor", name)
	}
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
