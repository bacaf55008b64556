package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/starback/starback/bot"
	"github.com/starback/starback/broker"
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
	// dueBudget is how long a batch may spend on the trail.
	dueBudget = 5 * time.Second
	// deliveries is how often SQS delivers a Job before it is put aside. It is
	// maxReceiveCount of the queue in deploy/aws/storage.yml.
	deliveries = 5
)

// errNoTable refuses a store that is no table.
var errNoTable = errors.New("STARBACK_STORE: the functions keep everything in DynamoDB: dynamodb:TABLE")

// A brokerFunction carries out Jobs as SQS hands them over.
type brokerFunction struct {
	worker *bot.Worker
	broker *broker.Broker
	queue  *jobQueue
	log    *slog.Logger
}

func newBroker(ctx context.Context, getenv func(string) string, out io.Writer) (*brokerFunction, error) {
	p, awsQueue, err := newParts(ctx, getenv, out)
	if err != nil {
		return nil, err
	}
	worker, err := p.Worker()
	if err != nil {
		return nil, err
	}
	return &brokerFunction{worker: worker, broker: p.Broker, queue: awsQueue, log: p.Log}, nil
}

// newParts puts together what broker and janitor share.
func newParts(ctx context.Context, getenv func(string) string, out io.Writer) (*parts.Parts, *jobQueue, error) {
	awsCfg, err := config.LoadAWS(ctx)
	if err != nil {
		return nil, nil, err
	}
	awsCfg.HTTPClient = awshttp.NewBuildableClient().WithTimeout(callTimeout)
	settings := config.Read(getenv)
	if err := resolve(ctx, settings, awsCfg); err != nil {
		return nil, nil, err
	}
	check := settings.Check
	if getenv("STARBACK_FUNCTION") == "janitor" {
		check = settings.CheckJanitor
	}
	cfg, err := check()
	if err != nil {
		return nil, nil, err
	}
	if cfg.Table == "" {
		return nil, nil, errNoTable
	}
	db, err := store.OpenDynamoDB(awsCfg, cfg.Table, store.DynamoDBOptions{Now: time.Now, Entropy: rand.Reader})
	if err != nil {
		return nil, nil, err
	}
	p, err := parts.New(cfg, awsCfg, db, out)
	if err != nil {
		return nil, nil, err
	}
	return p, &jobQueue{client: sqs.NewFromConfig(awsCfg), url: getenv("STARBACK_QUEUE_URL")}, nil
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
	// The trail is passed on at once where there is time; the janitor sees to
	// the rest. The next batch does not wait long for Slack.
	ctx, stopDue := context.WithTimeout(ctx, dueBudget)
	defer stopDue()
	if _, err := b.broker.Due(ctx); err != nil {
		b.log.Warn("part of the trail is left to the janitor", "err", err)
	}
	return out, nil
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

// withMargin ends ctx a little before the function's own time does.
func withMargin(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-margin))
}
