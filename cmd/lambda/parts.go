package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/starback/starback/cmd/internal/config"
	"github.com/starback/starback/cmd/internal/parts"
	"github.com/starback/starback/store"
)

const (
	// margin is what is left of the function's time when work stops, to report
	// what was done in.
	margin = 5 * time.Second
	// callTimeout is how long one try of a call to AWS may take. The SDK tries
	// three times, so a connection that has gone silent costs this long and not
	// all of the 20 s that AWS has of an attempt.
	callTimeout = 5 * time.Second
)

// errNoTable refuses a store that is no table.
var errNoTable = errors.New("STARBACK_STORE: the functions keep everything in DynamoDB: dynamodb:TABLE")

// loadAWS is how broker and janitor call AWS.
func loadAWS(ctx context.Context) (aws.Config, error) {
	cfg, err := config.LoadAWS(ctx)
	cfg.HTTPClient = awshttp.NewBuildableClient().WithTimeout(callTimeout)
	return cfg, err
}

// newParts puts together what broker and janitor share, with the settings that
// check wants.
func newParts(
	ctx context.Context, getenv func(string) string, awsCfg aws.Config, check func(config.Settings) (config.Config, error), out io.Writer,
) (*parts.Parts, error) {
	settings := config.Read(getenv)
	if err := resolve(ctx, settings, awsCfg); err != nil {
		return nil, err
	}
	cfg, err := check(settings)
	if err != nil {
		return nil, err
	}
	if cfg.Table == "" {
		return nil, errNoTable
	}
	db, err := store.OpenDynamoDB(awsCfg, cfg.Table, store.DynamoDBOptions{Now: time.Now, Entropy: rand.Reader})
	if err != nil {
		return nil, err
	}
	return parts.New(cfg, awsCfg, db, out)
}

// withMargin ends ctx a little before the function's own time does.
func withMargin(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-margin))
}
