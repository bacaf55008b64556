package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/starback/starback/broker"
)

// A jobQueue is the SQS queue between front and broker. It is not bounded: the
// API's throttle bounds what comes in, and a Job that has waited too long is
// refused. SQS delivers at least once; the Request's idempotency does the rest.
type jobQueue struct {
	client *sqs.Client
	url    string
}

// newQueue returns the queue that the function is told of. It touches no network.
func newQueue(getenv func(string) string, cfg aws.Config) (*jobQueue, error) {
	url := getenv("STARBACK_QUEUE_URL")
	if url == "" {
		return nil, errors.New("STARBACK_QUEUE_URL: not set")
	}
	return &jobQueue{client: sqs.NewFromConfig(cfg), url: url}, nil
}

// A jobMessage is a Job on its way through SQS. Its Body is sealed.
type jobMessage struct {
	ID       string    `json:"id"`
	Body     []byte    `json:"body"`
	Deadline time.Time `json:"deadline"`
}

// Enqueue implements broker.Queue.
func (q *jobQueue) Enqueue(ctx context.Context, j broker.Job) error {
	body, err := json.Marshal(jobMessage{j.ID, j.Body, j.Deadline})
	if err != nil {
		return err
	}
	_, err = q.client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &q.url, MessageBody: aws.String(string(body))})
	if err != nil {
		return fmt.Errorf("the queue did not take the job: %w: %w", err, broker.ErrUnavailable)
	}
	return nil
}

// hide keeps a message from being delivered again for a while: in whole
// seconds, as SQS counts, and no shorter than d.
func (q *jobQueue) hide(ctx context.Context, m events.SQSMessage, d time.Duration) error {
	_, err := q.client.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
		QueueUrl: &q.url, ReceiptHandle: &m.ReceiptHandle, VisibilityTimeout: int32((d + time.Second - 1) / time.Second),
	})
	return err
}

// jobOf reads a Job out of a message.
func jobOf(m events.SQSMessage) (broker.Job, error) {
	var in jobMessage
	if err := json.Unmarshal([]byte(m.Body), &in); err != nil || in.ID == "" {
		return broker.Job{}, fmt.Errorf("message %s is not a job", m.MessageId)
	}
	received, err := strconv.Atoi(m.Attributes["ApproximateReceiveCount"])
	if err != nil || received < 1 {
		received = 1
	}
	return broker.Job{ID: in.ID, Body: in.Body, Deadline: in.Deadline, Tries: received - 1}, nil
}
