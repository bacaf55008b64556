//go:build !nobroker

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/starback/starback/api"
	"github.com/starback/starback/bot"
	"github.com/starback/starback/broker"
	"github.com/starback/starback/cmd/internal/config"
)

const (
	// dueBudget is how long a batch may spend on the trail.
	dueBudget = 5 * time.Second
	// deliveries is how often SQS delivers a Job before it is put aside. It is
	// maxReceiveCount of the queue in deploy/aws/storage.yml.
	deliveries = 5
)

// brokerFunctions are those that only the whole program can be.
var brokerFunctions = map[string]maker{
	"broker": func(ctx context.Context, getenv func(string) string, out io.Writer) (any, error) {
		b, err := newBroker(ctx, getenv, out)
		if err != nil {
			return nil, err
		}
		return b.Handle, nil
	},
	"api": func(ctx context.Context, getenv func(string) string, out io.Writer) (any, error) {
		a, err := newAPI(ctx, getenv, out)
		if err != nil {
			return nil, err
		}
		return a.Invoke, nil
	},
}

// A brokerFunction carries out Jobs as SQS hands them over, and answers
// applications as the api function does.
type brokerFunction struct {
	worker       *bot.Worker
	broker       *broker.Broker
	queue        *jobQueue
	log          *slog.Logger
	applications func() http.Handler // made when one first asks
}

func newBroker(ctx context.Context, getenv func(string) string, out io.Writer) (*brokerFunction, error) {
	awsCfg, err := loadAWS(ctx)
	if err != nil {
		return nil, err
	}
	queue, err := newQueue(getenv, awsCfg)
	if err != nil {
		return nil, err
	}
	p, err := newParts(ctx, getenv, awsCfg, config.Settings.Check, out)
	if err != nil {
		return nil, err
	}
	worker, err := p.Worker()
	if err != nil {
		return nil, err
	}
	return &brokerFunction{
		worker: worker, broker: p.Broker, queue: queue, log: p.Log,
		applications: sync.OnceValue(func() http.Handler {
			return api.New(api.Config{Broker: p.Broker, Version: buildVersion, Now: time.Now, Entropy: rand.Reader, Log: p.Log})
		}),
	}, nil
}

// Handle does what it is called for.
func (b *brokerFunction) Handle(ctx context.Context, e brokerEvent) (any, error) {
	if e.Application != nil {
		return b.answer(ctx, *e.Application)
	}
	return b.Invoke(ctx, e.SQSEvent)
}

// Invoke carries out a batch of Jobs side by side, and names those that SQS is
// to deliver again.
func (b *brokerFunction) Invoke(ctx context.Context, e events.SQSEvent) (events.SQSEventResponse, error) {
	ctx, stop := withMargin(ctx)
	defer stop()
	var mu sync.Mutex
	var out events.SQSEventResponse
	var jobs sync.WaitGroup
	for _, m := range e.Records {
		jobs.Go(func() {
			if err := b.do(ctx, m); err != nil {
				mu.Lock()
				defer mu.Unlock()
				out.BatchItemFailures = append(out.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
			}
		})
	}
	jobs.Wait()
	b.passOn(ctx)
	return out, nil
}

// passOn passes the trail on at once where there is time; the janitor sees to the
// rest. What comes next does not wait long for Slack.
func (b *brokerFunction) passOn(ctx context.Context) {
	ctx, stop := context.WithTimeout(ctx, dueBudget)
	defer stop()
	if _, err := b.broker.Due(ctx); err != nil {
		b.log.Warn("part of the trail is left to the janitor", "err", err)
	}
}

// do carries out one message's Job. An error says that it is to be delivered
// again; the last time, that it is put aside.
func (b *brokerFunction) do(ctx context.Context, m events.SQSMessage) error {
	job, err := jobOf(m)
	if err != nil {
		b.log.Error("put a message aside", "message", m.MessageId, "err", err)
		return err
	}
	err = b.worker.Do(ctx, job)
	var later *bot.Later
	switch {
	case err == nil:
	case job.Tries+1 >= deliveries:
		b.worker.GiveUp(ctx, job, err)
	case errors.As(err, &later):
		if hidden := b.queue.hide(ctx, m, later.After); hidden != nil {
			b.log.Warn("a job comes back later than it need", "job", job.ID, "err", hidden)
		}
	default:
		b.log.Error("a job failed; it will be delivered again", "job", job.ID, "err", err)
	}
	return err
}
