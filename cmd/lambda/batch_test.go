package main

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/internal/story"
	"github.com/starback/starback/sandbox"
)

// TestBatch hands over, as one event, a message that is no job, a job that
// cannot be opened, one whose request another worker has, and one to be carried
// out. The broker names the first three, and them alone: SQS takes what it does
// not name off the queue. The last is done once, though SQS delivers it again.
func TestBatch(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.queue.mu.Lock() // which send takes too
	c.queue.consume = func(context.Context, events.SQSEvent) (events.SQSEventResponse, error) {
		return events.SQSEventResponse{}, nil // nobody has it yet
	}
	c.queue.mu.Unlock()
	var acks []sandbox.Ack
	for _, text := range []string{"prod-readonly 1h another has it", "prod-readonly 1h to be done"} {
		ack, err := c.slack.Command(t.Context(), "U0ALICE", story.General, text)
		if err != nil || ack.Status != http.StatusOK || len(ack.Body) != 0 {
			t.Fatalf("the command was answered %d %s, %v\n%s", ack.Status, ack.Body, err, c.output())
		}
		acks = append(acks, ack)
	}
	c.queue.busy.Wait()
	jobs := c.jobs()
	bodies := map[string]string{
		"no job": `not JSON at all`, "sealed": `{"id":"x","body":"c2VhbGVkIGVsc2V3aGVyZQ=="}`, "held": jobs[0], "good": jobs[1],
	}
	// hand hands messages over and returns those that are to come back.
	hand := func(received int, ids ...string) []string {
		t.Helper()
		var e events.SQSEvent
		for _, id := range ids {
			e.Records = append(e.Records, events.SQSMessage{
				MessageId: id, Body: bodies[id], ReceiptHandle: "receipt-" + id,
				Attributes: map[string]string{"ApproximateReceiveCount": strconv.Itoa(received)},
			})
		}
		answer, err := c.now(&c.broker).invoke(t.Context(), e)
		var out events.SQSEventResponse
		if err != nil || json.Unmarshal(answer, &out) != nil {
			t.Fatalf("the broker answered %s, %v\n%s", answer, err, c.output())
		}
		var failed []string
		for _, f := range out.BatchItemFailures {
			failed = append(failed, f.ItemIdentifier)
		}
		slices.Sort(failed)
		return failed
	}

	// A worker is killed while it asks AWS, and holds the request for as long
	// as the test needs.
	h := newHold("AssumeRole", 1, false)
	c.via.setRule(h.rule)
	killed := c.now(&c.broker)
	go killed.invoke(t.Context(), events.SQSEvent{Records: []events.SQSMessage{{MessageId: "held", Body: bodies["held"]}}})
	h.wait(t, c)
	c.replace(&c.broker, "broker")
	c.via.setRule(nil)
	lease := func(until time.Time) {
		t.Helper()
		r := c.request(acks[0])
		r.Sessions[0].Lease = until
		if _, err := c.db.PutRequest(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	lease(time.Now().Add(10 * time.Minute))

	all := []string{"no job", "held", "sealed", "good"}
	if failed := hand(1, all...); !slices.Equal(failed, []string{"held", "no job", "sealed"}) {
		t.Errorf("%q are to come back\n%s", failed, c.output())
	}
	c.queue.mu.Lock()
	if len(c.queue.hidden) != 1 || c.queue.hidden["receipt-held"] < broker.LeaseFor {
		t.Errorf("hidden for a while are %v", c.queue.hidden)
	}
	c.queue.mu.Unlock()
	done := func(ack sandbox.Ack) (keys []string) {
		for _, s := range c.request(ack).Sessions {
			if s.State == broker.SessionIssued {
				keys = append(keys, s.AccessKeyID)
			}
		}
		return keys
	}
	good := done(acks[1])
	if shown := c.released("U0ALICE"); len(good) != 1 || !slices.Equal(shown, good) || len(done(acks[0])) != 0 {
		t.Errorf("%q was shown, and %q recorded\n%s", shown, good, c.output())
	}

	// All come back, the good one too, after the lease of the one killed.
	lease(time.Now().Add(-time.Second))
	if failed := hand(2, all...); !slices.Equal(failed, []string{"no job", "sealed"}) {
		t.Errorf("%q are to come back\n%s", failed, c.output())
	}
	if shown := c.released("U0ALICE"); !slices.Equal(done(acks[1]), good) || !slices.Equal(shown, append(good, done(acks[0])...)) || c.assumed() != 2 {
		t.Errorf("%q was shown, and AWS was asked for %d sessions\n%s", shown, c.assumed(), c.output())
	}
	c.noLeak()
}
