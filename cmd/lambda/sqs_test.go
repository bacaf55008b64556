package main

import (
	"context"
	"crypto/md5" // SQS checks messages by it
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// A queue is SQS with a function behind it, as far as the functions use it:
// SendMessage, ChangeMessageVisibility, delivery at least once, partial batch
// failures, a dead-letter queue and redrive. A message that is not done comes
// back after redeliver, which stands for the 90 s of the real queue, or when
// ChangeMessageVisibility says.
type queue struct {
	t         *testing.T
	consume   func(context.Context, events.SQSEvent) (events.SQSEventResponse, error)
	redeliver time.Duration
	before    int // deliveries that every message has had already

	mu     sync.Mutex
	sent   int
	hidden map[string]time.Duration // by receipt, as asked for
	dead   []events.SQSMessage
	busy   sync.WaitGroup
}

// ServeHTTP is SQS's JSON protocol.
func (q *queue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	switch strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.") {
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
		var in struct {
			ReceiptHandle     string
			VisibilityTimeout int
		}
		if json.Unmarshal(body, &in) != nil || in.ReceiptHandle == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		q.mu.Lock()
		if q.hidden == nil {
			q.hidden = map[string]time.Duration{}
		}
		q.hidden[in.ReceiptHandle] = time.Duration(in.VisibilityTimeout) * time.Second
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
	m := events.SQSMessage{MessageId: fmt.Sprintf("message-%d", q.sent), Body: body}
	q.mu.Unlock()
	q.busy.Go(func() { q.deliver(m, q.before) })
	return m.MessageId
}

// deliver hands a message over until it is done or dead.
func (q *queue) deliver(m events.SQSMessage, before int) {
	for received := before + 1; received <= deliveries; received++ {
		m.ReceiptHandle = fmt.Sprintf("receipt-%s-%d", m.MessageId, received)
		m.Attributes = map[string]string{"ApproximateReceiveCount": strconv.Itoa(received)}
		out, err := q.consume(context.Background(), events.SQSEvent{Records: []events.SQSMessage{m}})
		if err == nil && len(out.BatchItemFailures) == 0 {
			return
		}
		q.mu.Lock()
		wait, asked := q.hidden[m.ReceiptHandle]
		q.mu.Unlock()
		if !asked {
			wait = q.redeliver
		}
		time.Sleep(wait)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dead = append(q.dead, m)
}

// redrive moves the dead messages back, to be delivered anew.
func (q *queue) redrive() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range q.dead {
		q.busy.Go(func() { q.deliver(m, 0) })
	}
	q.dead = nil
}

// hiddenFor returns for how long messages were hidden that were asked to be.
func (q *queue) hiddenFor() []time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Collect(maps.Values(q.hidden))
}

// count returns how many messages were sent, and how many are dead.
func (q *queue) count() (sent, dead int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.sent, len(q.dead)
}
