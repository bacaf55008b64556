package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/starback/starback/internal/faultproxy"
	"github.com/starback/starback/internal/story"
)

// TestSecretsStall starts a front while the Parameter Store is silent. Slack is
// answered in time that the front failed, and nothing is queued; once the store
// is back, so is the same front.
func TestSecretsStall(t *testing.T) {
	if testing.Short() {
		t.Skip("unit tests wait for no time-out")
	}
	t.Parallel()
	c := newCloud(t)
	<-c.broker.ready
	c.via.aws.SetRule(faultproxy.On(faultproxy.Stall(faultproxy.NewGate()), "GetParameter"))
	c.replace(&c.front, "front")
	select {
	case <-c.front.ready:
	case <-time.After(20 * time.Second):
		t.Fatalf("the front waits for its secrets\n%s", c.output())
	}
	c.waitForOutput("the front's secrets cannot be read yet")

	ack, err := c.slack.Command(t.Context(), "U0ALICE", story.General, "prod-readonly 1h")
	if err != nil || ack.Status != http.StatusInternalServerError || ack.Problem != "dispatch_failed" { // Slack's 3 s among them
		t.Errorf("the command was answered %d %q, %v\n%s", ack.Status, ack.Problem, err, c.output())
	}

	// A request that the API took in a while ago, before a cold start, is not
	// begun: Slack waits for it no more.
	c.via.aws.Reset()
	late := httptest.NewRequest(http.MethodPost, "/slack/commands", nil)
	late.Header = ack.Request.Header
	answer, err := c.front.invoke(t.Context(), apiEvent(late, ack.Request.Body, time.Now().Add(-10*time.Second)))
	if n := c.via.aws.Counts()["GetParameter"]; err == nil || n != 0 {
		t.Errorf("a late request was answered %s, with %d secrets asked for", answer, n)
	}

	c.via.aws.SetRule(nil)
	if ack, err := c.slack.Command(t.Context(), "U0ALICE", story.General, "prod-readonly 1h"); err != nil || ack.Problem != "" || len(ack.Body) != 0 {
		t.Errorf("the next command was answered %d %s %q, %v", ack.Status, ack.Body, ack.Problem, err)
	}
	c.answer("U0ALICE", 1)
	c.queue.busy.Wait()
	if sent, dead := c.queue.count(); sent != 1 || dead != 0 || c.assumed() != 1 {
		t.Errorf("%d jobs were queued, and AWS was asked for %d sessions", sent, c.assumed())
	}

	// With the secrets at hand a late command is told that it was not taken.
	answer, err = c.front.invoke(t.Context(), apiEvent(late, ack.Request.Body, time.Now().Add(-10*time.Second)))
	if sent, _ := c.queue.count(); err != nil || !strings.Contains(string(answer), "could not take your command") || sent != 1 {
		t.Errorf("a late command was answered %s, %v; %d jobs were queued", answer, err, sent)
	}
}

// TestCameIn goes by the API's clock, unless that makes no sense.
func TestCameIn(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct{ at, want time.Time }{
		"just now":       {now, now},
		"a while ago":    {now.Add(-1500 * time.Millisecond), now.Add(-1500 * time.Millisecond)},
		"given up on":    {now.Add(-31 * time.Second), now},
		"in the future":  {now.Add(time.Second), now},
		"no time at all": {time.UnixMilli(0), now},
	} {
		t.Run(name, func(t *testing.T) {
			e := events.APIGatewayV2HTTPRequest{RequestContext: events.APIGatewayV2HTTPRequestContext{TimeEpoch: tt.at.UnixMilli()}}
			if got := cameIn(e, now); !got.Equal(tt.want) {
				t.Errorf("came in at %s, want %s", got, tt.want)
			}
		})
	}
}
