package main

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/starback/starback/bot"
	"github.com/starback/starback/broker"
	"github.com/starback/starback/internal/story"
	"github.com/starback/starback/sandbox"
)

// TestPoison is put aside after its last delivery, without taking others of
// its batch with it.
func TestPoison(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.queue.send(`{"id":"","body":"bm90IGEgam9i"}`)
	c.queue.send(`not JSON at all`)
	c.queue.busy.Wait()
	if _, dead := c.queue.count(); dead != 2 || strings.Count(c.output(), `"msg":"put a message aside"`) != 2*deliveries {
		t.Errorf("%d messages were put aside, want 2\n%s", dead, c.output())
	}
	if _, err := c.slack.Command(t.Context(), "U0ALICE", story.General, "prod-readonly"); err != nil {
		t.Fatal(err)
	}
	c.answer("U0ALICE", 1)
}

// TestGivenUp is killed at the last delivery but one, and finds its Request
// held at the last. It is put aside, and that is said: in the log, with the
// request's id, and to the person.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	<-c.broker.ready
	c.queue.before = deliveries - 2
	h := newHold("AssumeRole", 1, false)
	c.via.setRule(h.rule)
	if _, err := c.slack.Command(t.Context(), "U0ALICE", story.General, "prod-readonly 1h"); err != nil {
		t.Fatal(err)
	}
	h.wait(t, c)
	c.replace(&c.broker, "broker")
	c.via.setRule(nil)
	m := c.answer("U0ALICE", 1)
	c.queue.busy.Wait()
	asked := c.trail("request.asked")
	if len(asked) != 1 || !strings.Contains(m.Text, "failed time and again") {
		t.Fatalf("Alice is told\n%s\n%s", m.Text, c.output())
	}
	if said := c.broker.output(); !strings.Contains(said, `"msg":"gave a job up"`) || !strings.Contains(said, asked[0].RequestID) {
		t.Errorf("the log says\n%s", said)
	}
	if _, dead := c.queue.count(); dead != 1 || len(c.released("U0ALICE")) != 0 || len(c.trail("session.issued")) != 0 {
		t.Errorf("%d messages were put aside", dead)
	}
}

// TestRedrive puts a Job aside because the broker has another signing secret,
// and moves it back once that is mended: in time it is carried out, and late it
// mints nothing. The person is told either way.
func TestRedrive(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		typed  time.Duration // ago
		says   string
		minted int
	}{
		{"in time", 0, "AWS_SECRET_ACCESS_KEY", 1},
		{"late", 6 * time.Minute, "waited too long", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			then := func() time.Time { return time.Now().Add(-tt.typed) }
			c := newCloudOf(t, testPolicy, then)
			c.slack.SetApp(c.serve(c.frontAt(then)))
			c.setSigningSecret("another")
			c.replace(&c.broker, "broker")
			ack, err := c.slack.Command(t.Context(), "U0ALICE", story.General, "prod-readonly 1h")
			if err != nil || ack.Problem != "" || len(ack.Body) != 0 {
				t.Fatalf("the command was answered %d %s, %v", ack.Status, ack.Body, err)
			}
			c.queue.busy.Wait()
			if _, dead := c.queue.count(); dead != 1 || len(c.trail("request.asked")) != 0 || !strings.Contains(c.output(), `"msg":"gave a job up"`) {
				t.Fatalf("%d messages were put aside\n%s", dead, c.output())
			}

			c.setSigningSecret(c.slack.SigningSecret())
			c.replace(&c.broker, "broker")
			for range 2 { // a second time changes nothing
				c.queue.redrive()
				c.queue.busy.Wait()
			}
			m := c.answer("U0ALICE", 1)
			if said := m.Text + string(m.Blocks); !strings.Contains(said, tt.says) {
				t.Errorf("Alice is told\n%s", said)
			}
			if _, dead := c.queue.count(); dead != 0 || c.assumed() != tt.minted || len(c.trail("session.issued")) != tt.minted {
				t.Errorf("AWS was asked for %d sessions, and %d messages put aside\n%s", c.assumed(), dead, c.output())
			}
			if strings.Contains(c.output(), sandbox.Marker) {
				t.Error("a secret was printed")
			}
		})
	}
}

// TestBrokerCannotStart has the broker's secrets out of reach while it starts:
// SSM denies them, or their key is off. Each delivery fails with the function,
// which says so in its log; nobody is told, and the Job, whose command was
// acknowledged, is put aside. Once that is mended it is carried out: by the next
// delivery, or moved back, in time or not at all.
func TestBrokerCannotStart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		code   string
		typed  time.Duration // ago
		mended int           // before this delivery; 0: once the Job is put aside
		says   string
		minted int
	}{
		{"SSM denies, moved back in time", "AccessDeniedException", 0, 0, "AWS_SECRET_ACCESS_KEY", 1},
		{"SSM denies, moved back late", "AccessDeniedException", 6 * time.Minute, 0, "waited too long", 0},
		{"the key is off, moved back late", "InvalidKeyId", 6 * time.Minute, 0, "waited too long", 0},
		{"the key is off for a while", "InvalidKeyId", 0, 3, "AWS_SECRET_ACCESS_KEY", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			then := func() time.Time { return time.Now().Add(-tt.typed) }
			c := newCloudOf(t, testPolicy, then)
			<-c.front.ready // the first two have their secrets
			<-c.broker.ready
			c.slack.SetApp(c.serve(c.frontAt(then)))
			tries := 0
			c.queue.consume = func(ctx context.Context, e events.SQSEvent) (events.SQSEventResponse, error) {
				if tries++; tries == tt.mended {
					c.aws.SetFault(nil)
				}
				c.replace(&c.broker, "broker") // as Lambda does where the last one could not start
				return c.consume(ctx, e)
			}
			c.aws.SetFault(func(_, action string) *sandbox.Fault {
				if action != "GetParameter" {
					return nil
				}
				return &sandbox.Fault{Status: http.StatusBadRequest, Code: tt.code, Message: "a fault"}
			})
			ack, err := c.slack.Command(t.Context(), "U0ALICE", story.General, "prod-readonly 1h")
			if err != nil || ack.Problem != "" || len(ack.Body) != 0 {
				t.Fatalf("the command was answered %d %s, %v", ack.Status, ack.Body, err)
			}
			c.queue.busy.Wait()

			failed, dead := tt.mended-1, 0
			if tt.mended == 0 {
				failed, dead = deliveries, 1
				if seen := c.slack.Seen("U0ALICE"); len(seen) != 0 || len(c.trail("request.asked")) != 0 {
					t.Errorf("Alice is told %+v\n%s", seen, c.output())
				}
			}
			if n := strings.Count(c.output(), `"msg":"cannot start","err":"SLACK_SIGNING_SECRET: reading the SSM parameter `+signingSecret); n != failed {
				t.Errorf("the broker says %d times that it cannot start\n%s", n, c.output())
			}
			if _, n := c.queue.count(); n != dead {
				t.Errorf("%d messages were put aside", n)
			}

			c.aws.SetFault(nil)
			for range 2 { // a second time changes nothing
				c.queue.redrive()
				c.queue.busy.Wait()
			}
			m := c.answer("U0ALICE", 1)
			if said := m.Text + string(m.Blocks); !strings.Contains(said, tt.says) {
				t.Errorf("Alice is told\n%s", said)
			}
			if _, n := c.queue.count(); n != 0 || c.assumed() != tt.minted || len(c.trail("session.issued")) != tt.minted {
				t.Errorf("AWS was asked for %d sessions, and %d messages put aside\n%s", c.assumed(), n, c.output())
			}
			if strings.Contains(c.output(), sandbox.Marker) {
				t.Error("a secret was printed")
			}
		})
	}
}

// frontAt is the front with a clock of its own, which the bootstrap has not.
func (c *cloud) frontAt(now func() time.Time) http.Handler {
	c.t.Helper()
	secret := broker.NewSecret(c.slack.SigningSecret())
	sealer, err := bot.NewSealer(secret, rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	client := sqs.NewFromConfig(aws.Config{
		Region: "eu-west-1", BaseEndpoint: &c.via.queue.URL, Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
	})
	return &bot.Front{
		SigningSecret: secret, Teams: []string{"T0TEST"}, Queue: &jobQueue{client: client, url: jobsURL}, Sealer: sealer,
		Now: now, Log: slog.New(slog.NewJSONHandler(io.Discard, nil)),
	}
}
