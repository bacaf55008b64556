package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/starback/starback/bot"
	"github.com/starback/starback/cmd/internal/config"
	"github.com/starback/starback/cmd/internal/parts"
	"github.com/starback/starback/store"
)

const (
	// frontBudget is how long the front may take to read its secrets before it
	// gives up on a request.
	frontBudget = 2 * time.Second
	// gatewayTimeout is how long API Gateway waits for a function.
	gatewayTimeout = 30 * time.Second
)

// A front answers API Gateway with what bot.Front says.
type front struct {
	settings config.Settings
	aws      aws.Config
	queue    *jobQueue
	out      io.Writer

	mu    sync.Mutex
	front *bot.Front // made once its secrets have been read
}

func newFront(ctx context.Context, getenv func(string) string, out io.Writer) (*front, error) {
	awsCfg, err := config.LoadAWS(ctx)
	if err != nil {
		return nil, err
	}
	queue, err := newQueue(getenv, awsCfg)
	if err != nil {
		return nil, err
	}
	f := &front{settings: config.Read(getenv), aws: awsCfg, out: out, queue: queue}
	// The secrets are read now, so that the first command need not wait for
	// them. If that fails, each request tries again.
	if _, err := f.ready(ctx); err != nil {
		slog.New(slog.NewJSONHandler(out, nil)).Error("the front's secrets cannot be read yet", "err", err)
	}
	return f, nil
}

// ready returns the bot.Front, made if it has not been yet.
func (f *front) ready(ctx context.Context) (*bot.Front, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.front != nil {
		return f.front, nil
	}
	ctx, stop := context.WithTimeout(ctx, frontBudget)
	defer stop()
	settings := maps.Clone(f.settings)
	if err := resolve(ctx, settings, f.aws); err != nil {
		return nil, err
	}
	cfg, err := settings.CheckFront()
	if err != nil {
		return nil, err
	}
	if cfg.Table == "" {
		return nil, errNoTable
	}
	db, err := store.OpenDynamoDB(f.aws, cfg.Table, store.DynamoDBOptions{Now: time.Now, Entropy: rand.Reader})
	if err != nil {
		return nil, err
	}
	f.front, err = parts.Front(cfg, f.queue, db, buildVersion, f.out)
	return f.front, err
}

// Invoke answers one HTTP API event, in payload format 2.0.
func (f *front) Invoke(ctx context.Context, e events.APIGatewayV2HTTPRequest) (events.APIGatewayV2HTTPResponse, error) {
	ctx, stop := context.WithDeadline(ctx, cameIn(e, time.Now()).Add(bot.AnswerWithin))
	defer stop()
	ready, err := f.ready(ctx)
	if err != nil {
		// The API answers 500, and the function's own metrics show it.
		return events.APIGatewayV2HTTPResponse{}, fmt.Errorf("a request could not be taken in: %w", err)
	}
	header := http.Header{}
	for name, value := range e.Headers {
		header.Set(name, value)
	}
	reply := ready.Handle(ctx, bot.Incoming{
		Path: e.RawPath, Header: header, Body: []byte(e.Body), Base64: e.IsBase64Encoded,
	})
	out := events.APIGatewayV2HTTPResponse{
		StatusCode: reply.Status, Body: string(reply.Body), Headers: map[string]string{"Cache-Control": "no-store"},
	}
	if len(reply.Body) > 0 {
		out.Headers["Content-Type"] = "application/json"
	}
	return out, nil
}

// cameIn is when the API took a request in. With a cold start that is well
// before the function hears of it, at now. A time that cannot be, by the
// function's clock, is left aside.
func cameIn(e events.APIGatewayV2HTTPRequest, now time.Time) time.Time {
	at := time.UnixMilli(e.RequestContext.TimeEpoch)
	if waited := now.Sub(at); waited < 0 || waited > gatewayTimeout {
		return now
	}
	return at
}
