package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/starback/starback/internal/dynamolocal"
	"github.com/starback/starback/internal/faultproxy"
	"github.com/starback/starback/internal/story"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

// The stories, told of the functions: API Gateway, front, SQS, broker, DynamoDB,
// STS, Slack.

func TestMainJob(t *testing.T)                { tell(t, story.MainJob) }
func TestPeopleWhoAreRefused(t *testing.T)    { tell(t, story.PeopleWhoAreRefused) }
func TestRequestsThatAreRefused(t *testing.T) { tell(t, story.RequestsThatAreRefused) }
func TestReplays(t *testing.T)                { tell(t, story.Replays) }
func TestForms(t *testing.T)                  { tell(t, story.Forms) }
func TestApproval(t *testing.T)               { tell(t, story.Approval) }
func TestShortcuts(t *testing.T)              { tell(t, story.Shortcuts) }
func TestLess(t *testing.T)                   { tell(t, story.Less) }
func TestVoid(t *testing.T)                   { tell(t, story.Void) }
func TestReminders(t *testing.T)              { tell(t, story.Reminders) }

func TestSessions(t *testing.T) {
	tell(t, func(h *story.House) {
		story.AddBoundary(h.AWS, "Console")
		story.Sessions(h)
	})
}

func TestEnd(t *testing.T) {
	tell(t, func(h *story.House) {
		story.AddBoundary(h.AWS, "ReadOnly")
		story.End(h)
	})
}

func TestWindows(t *testing.T) {
	tell(t, func(h *story.House) {
		story.AddBoundary(h.AWS, "ReadOnly")
		story.Windows(h)
	})
}

func TestUnshown(t *testing.T) {
	tell(t, func(h *story.House) {
		story.AddBoundary(h.AWS, "ReadOnly")
		story.Unshown(h)
	})
}

// TestDeliveredTwice has SQS deliver a message again that was carried out.
func TestDeliveredTwice(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	h := c.house()
	h.Gets("prod-readonly 1h looking")
	c.queue.busy.Wait()
	c.queue.send(c.jobs()[0])
	c.queue.busy.Wait()
	if asked, shown := h.Assumed(), h.Shown("U0ALICE"); asked != 1 || len(shown) != 1 {
		t.Errorf("AWS was asked for %d sessions, and the keys %q were shown", asked, shown)
	}
	h.TrueTrail()
	c.noLeak()
}

// tell tells a story of the functions, whose janitor is called every second.
func tell(t *testing.T, tale func(*story.House)) {
	t.Parallel()
	c := newCloudOf(t, story.Policy, time.Now)
	c.schedule()
	tale(c.house())
}

// house is the cloud as stories know it.
func (c *cloud) house() *story.House {
	return &story.House{
		T: c.t, Slack: c.slack, AWS: c.aws, SlackWire: c.via.slack, AWSWire: c.via.aws, StoreWire: c.via.table, Gate: faultproxy.NewGate(),
		URL:     c.url,
		Store:   func(*testing.T) store.Store { return c.db },
		Kept:    func() string { return dynamolocal.Contents(c.t, c.table) + sent(c.via.queue) + c.jobBodies() },
		Printed: c.output,
		Stop:    c.queue.busy.Wait,
	}
}

// schedule calls the janitor every second, until the test ends. It starts with
// the first call.
func (c *cloud) schedule() {
	c.janitor = c.start("janitor")
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	c.t.Cleanup(func() { stop(); <-done })
	go func() {
		defer close(done)
		for tick := time.Tick(time.Second); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick:
				_, _ = c.janitor.invoke(ctx, scheduled) // what it fails to do, it does the next time
			}
		}
	}()
}

// scheduled is the event of a schedule.
var scheduled = events.EventBridgeEvent{DetailType: "Scheduled Event", Source: "aws.events"}

// noLeak finds no secret in what was printed, or written to the queue and the
// table.
func (c *cloud) noLeak() {
	c.t.Helper()
	for place, text := range map[string]string{
		"the log": c.output(), "the table": sent(c.via.table), "the queue": sent(c.via.queue), "a job": c.jobBodies(),
	} {
		for _, secret := range []string{sandbox.Marker, c.slack.SigningSecret(), c.slack.BotToken(), "/commands/T0TEST/"} {
			if text == "" || strings.Contains(text, secret) {
				c.t.Errorf("a secret is in %s, or nothing", place)
			}
		}
	}
	// The search does find what is there: Slack is sent the bot's token.
	if !strings.Contains(sent(c.via.slack), sandbox.Marker) {
		c.t.Error("the search for secrets finds none where there is one")
	}
}

// jobBodies is what the jobs say that the front has sent.
func (c *cloud) jobBodies() string {
	c.t.Helper()
	all := ""
	for _, body := range c.jobs() {
		var job jobMessage
		if err := json.Unmarshal([]byte(body), &job); err != nil {
			c.t.Fatal(err)
		}
		all += string(job.Body) + "\n"
	}
	return all
}

// jobs is the messages that the front has sent.
func (c *cloud) jobs() []string {
	c.t.Helper()
	var jobs []string
	for _, call := range c.via.queue.Calls() {
		var in struct{ MessageBody string }
		if call.Name != "SendMessage" {
			continue
		}
		if err := json.Unmarshal([]byte(call.Body), &in); err != nil {
			c.t.Fatal(err)
		}
		jobs = append(jobs, in.MessageBody)
	}
	return jobs
}

// sent is all that a neighbour was sent.
func sent(p *faultproxy.Proxy) string {
	all := ""
	for _, call := range p.Calls() {
		all += call.Body + "\n"
	}
	return all
}
