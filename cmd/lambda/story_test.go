package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/starback/starback/internal/faultproxy"
	"github.com/starback/starback/sandbox"
)

// TestMainJob is the main job through the real bootstrap: API Gateway, front,
// SQS, broker, DynamoDB, STS, Slack.
func TestMainJob(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	ack, err := c.slack.Command(t.Context(), "U0ALICE", general, "prod-readonly 1h checking queue depth")
	if err != nil || ack.Status != http.StatusOK || len(ack.Body) != 0 {
		t.Fatalf("the command was answered %d %q, %v\n%s", ack.Status, ack.Body, err, c.output())
	}
	message := c.answer("U0ALICE", 1)
	if !strings.Contains(string(message.Blocks), "export AWS_SESSION_TOKEN") {
		t.Errorf("Alice sees\n%s", message.Text)
	}

	// The same bytes again, three times at once: nothing is minted.
	for range 3 {
		if again, err := ack.Request.Send(t.Context()); err != nil || again.Status != http.StatusOK {
			t.Errorf("the replay was answered %d, %v", again.Status, err)
		}
	}
	c.queue.busy.Wait()
	// Nor when SQS delivers its message twice.
	c.queue.send(c.jobs()[0])
	c.queue.busy.Wait()
	if n := c.assumed(); n != 1 {
		t.Errorf("AWS was asked for %d sessions for one command", n)
	}
	issued, released := c.trail("session.issued"), c.released("U0ALICE")
	if len(issued) != 1 || !slices.Equal(released, []string{issued[0].AccessKeyID}) || issued[0].Actor != "alice" {
		t.Errorf("%q was shown; the trail says %+v\n%s", released, issued, c.output())
	}
	for _, other := range []string{"U0CAROL", "U0DAVE"} {
		if seen := c.released(other); len(seen) != 0 {
			t.Errorf("%s sees %q", other, seen)
		}
	}

	// The trail reached the channel.
	if told := c.told(); !strings.Contains(told, "checking queue depth") || !strings.Contains(told, "Issued") {
		t.Errorf("the audit channel says\n%s", told)
	}
	c.noLeak()
}

// TestPeopleWhoAreRefused are told, each in a sentence of their own with a
// request id, and recorded; nothing is minted for them.
func TestPeopleWhoAreRefused(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	for i, tt := range []struct{ who, text, rule, says string }{
		{"U0DAVE", "prod-readonly 1h", "identity.unbound", "Starback does not know you yet"},
		{"U0ERIN", "prod-readonly 1h", "user.expired", "Your access to Starback has expired"},
		{"U0FRED", "prod-readonly 1h", "user.disabled", "switched off"},
		{"U0GRACE", "prod-readonly 1h", "identity.guest", "Guests"},
		{"U0CAROL", "prod-readonly 1h", "grant.none", "There is no role `prod-readonly` that you may ask for"},
		{"U0ALICE", "prod-readonli 1h", "role.unknown", "Did you mean `prod-readonly`?"},
		{"U0ALICE", "prod-readonly 9h", "duration.too_long", "8h at most"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			seen := len(ephemerals(c.slack.Seen(tt.who)))
			ack, err := c.slack.Command(t.Context(), tt.who, general, tt.text)
			if err != nil || ack.Status != http.StatusOK || len(ack.Body) != 0 {
				t.Fatalf("answered %d %s, %v", ack.Status, ack.Body, err)
			}
			c.queue.busy.Wait()
			all := ephemerals(c.slack.Seen(tt.who))
			if len(all) != seen+1 {
				t.Fatalf("%s sees %d messages\n%s", tt.who, len(all)-seen, c.output())
			}
			said := sandbox.Text(all[seen], sandbox.RenderOptions{Width: 1000})
			if !strings.Contains(said, tt.says) || !strings.Contains(said, "Request `") {
				t.Errorf("%s is told\n%s", tt.who, said)
			}
			denied := c.trail("request.denied")
			if len(denied) != i+1 || denied[i].Rule != tt.rule || !strings.Contains(said, denied[i].RequestID) {
				t.Errorf("the trail says %+v", denied)
			}
		})
	}
	if n := c.assumed(); n != 0 || len(c.trail("session.issued")) != 0 {
		t.Errorf("AWS was asked for %d sessions", n)
	}
	c.noLeak()
}

// noLeak finds no secret in what was printed, or written to the queue and the
// table.
func (c *cloud) noLeak() {
	c.t.Helper()
	places := map[string]string{"the log": c.output(), "the table": sent(c.via.table), "the queue": sent(c.via.queue), "a job": ""}
	for _, body := range c.jobs() {
		var job jobMessage
		if err := json.Unmarshal([]byte(body), &job); err != nil {
			c.t.Fatal(err)
		}
		places["a job"] += string(job.Body)
	}
	for place, text := range places {
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

// told is what the audit channel says.
func (c *cloud) told() string {
	told := ""
	for _, m := range c.slack.Channel(audit) {
		told += sandbox.Text(m, sandbox.RenderOptions{Width: 1000})
	}
	return told
}
