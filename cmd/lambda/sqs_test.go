package main

import (
	"context"
	"crypto/md5" // SQS checks messages by it
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// A queue is SQS with a function behind it, as far as the functions use it:
// SendMessage, ChangeMessageVisibility, delivery at least once, partial batch
// failures, and a dead-letter queue. Waiting is cut short: a message that is
// not done comes back after redeliver.
type queue struct {
	t         *testing.T
	consume   func(context.Context, events.SQSEvent) (events.SQSEventResponse, error)
	redeliver time.Duration

	mu     sync.Mutex
	sent   int
	hidden []int // seconds, as asked for by ChangeMessageVisibility
	dead   []events.SQSMessage
	fault  func(action string) int // a status to answer with, or 0
	busy   sync.WaitGroup
}

// ServeHTTP is SQS's JSON protocol.
func (q *queue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	action := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
	q.mu.Lock()
	fault := q.fault
	q.mu.Unlock()
	if fault != nil {
		if status := fault(action); status != 0 {
			w.Header().Set("X-Amzn-Query-Error", "ServiceUnavailable;Receiver")
			w.WriteHeader(status)
			return
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	switch action {
	case "SendMessage":
		var in struct{ MessageBody string }
		if json.Unmarshal(body, &in) != nil || in.MessageBody == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		id := q.send(in.MessageBody)
		sum := md5.Sum([]byte(in.MessageBody))
		fmt.Fprintf(w, `{"MessageId":%q,"MD5OfMessageBody":%q}`, id, hex.EncodeToString(sum[:]))
	case "ChangeMessageVisibility":
		var in struct{ VisibilityTimeout int }
		_ = json.Unmarshal(body, &in)
		q.mu.Lock()
		q.hidden = append(q.hidden, in.VisibilityTimeout)
		q.mu.Unlock()
		fmt.Fprint(w, `{}`)
	default:
		w.WriteHeader(http.StatusNotImplemented)
	}
}

// send queues a message, and has it delivered.
func (q *queue) send(body string) string {
	q.mu.Lock()
	q.sent++
	m := events.SQSMessage{MessageId: fmt.Sprintf("message-%d", q.sent), ReceiptHandle: fmt.Sprintf("receipt-%d", q.sent), Body: body}
	q.mu.Unlock()
	q.busy.Go(func() { q.deliver(m) })
	return m.MessageId
}

// deliver hands a message over until it is done or dead.
func (q *queue) deliver(m events.SQSMessage) {
	for received := 1; received <= deliveries; received++ {
		m.Attributes = map[string]string{"ApproximateReceiveCount": strconv.Itoa(received)}
		out, err := q.consume(context.Background(), events.SQSEvent{Records: []events.SQSMessage{m}})
		if err == nil && len(out.BatchItemFailures) == 0 {
			return
		}
		time.Sleep(q.redeliver)
	}
	q.mu.Lock()
	q.dead = append(q.dead, m)
	q.mu.Unlock()
}
