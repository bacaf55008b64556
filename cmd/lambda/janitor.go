package main

import (
	"context"
	"io"
	"log/slog"

	"github.com/aws/aws-lambda-go/events"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/cmd/internal/config"
)

// A janitor passes on, every minute, whatever is due.
type janitor struct {
	broker *broker.Broker
	log    *slog.Logger
}

func newJanitor(ctx context.Context, getenv func(string) string, out io.Writer) (*janitor, error) {
	awsCfg, err := loadAWS(ctx)
	if err != nil {
		return nil, err
	}
	p, err := newParts(ctx, getenv, awsCfg, config.Settings.CheckJanitor, out)
	if err != nil {
		return nil, err
	}
	return &janitor{broker: p.Broker, log: p.Log}, nil
}

// Invoke answers the schedule. What fails stays due; the error makes the
// failure visible in the function's own metrics.
func (j *janitor) Invoke(ctx context.Context, _ events.EventBridgeEvent) error {
	ctx, stop := withMargin(ctx)
	defer stop()
	for ctx.Err() == nil {
		more, err := j.broker.Due(ctx)
		if err != nil {
			j.log.Warn("part of the trail could not be passed on", "err", err)
			return err
		}
		if !more {
			return nil
		}
	}
	return nil
}
