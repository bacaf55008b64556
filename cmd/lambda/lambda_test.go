package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"

	"github.com/starback/starback/internal/story"
)

// TestHelpNeedsNobody is answered by the front alone, however broken the rest.
func TestHelpNeedsNobody(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.broker.kill()
	ack, err := c.slack.Command(t.Context(), "U0ALICE", story.General, "help")
	if err != nil || !strings.Contains(string(ack.Body), "/starback ROLE") {
		t.Errorf("help was answered %d %s, %v", ack.Status, ack.Body, err)
	}
}

// TestUnsignedIsRefused by the front, and never queued.
func TestUnsignedIsRefused(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	answer, err := c.front.invoke(t.Context(), events.APIGatewayV2HTTPRequest{
		RawPath: "/slack/commands", Headers: map[string]string{"content-type": "application/x-www-form-urlencoded"},
		Body: base64.StdEncoding.EncodeToString([]byte("team_id=T0TEST&user_id=U0ALICE&text=prod-readonly&trigger_id=1")), IsBase64Encoded: true,
	})
	var out events.APIGatewayV2HTTPResponse
	if err != nil || json.Unmarshal(answer, &out) != nil || out.StatusCode != http.StatusUnauthorized || out.Body != "" {
		t.Errorf("it was answered %s, %v", answer, err)
	}
	if sent, _ := c.queue.count(); sent != 0 {
		t.Errorf("%d jobs were queued", sent)
	}
}

// TestJanitor passes on what nobody else has.
func TestJanitor(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	j := c.start("janitor")
	answer, err := j.invoke(t.Context(), scheduled)
	if err != nil || string(answer) != "null" {
		t.Fatalf("the janitor answered %s, %v\n%s", answer, err, j.output())
	}
	told := ""
	for _, m := range c.slack.Channel(story.Audit) {
		told += story.Text(m)
	}
	if !strings.Contains(told, "A new policy was applied") || !strings.Contains(told, "alice") {
		t.Errorf("the audit channel says\n%s", told)
	}
}

// TestRefusesToStart says why.
func TestRefusesToStart(t *testing.T) {
	if testing.Short() {
		t.Skip("unit tests build no bootstrap")
	}
	for _, tt := range []struct{ of, env, says string }{
		{"front", "STARBACK_FUNCTION=back", "none of front, janitor"},
		{"front", "STARBACK_FUNCTION=broker", "none of front, janitor"},
		{"broker", "STARBACK_FUNCTION=back", "none of api, broker, front, janitor"},
		{"broker", "AWS_ENDPOINT_URL_STS=https://evil.example", "AWS_ENDPOINT_URL_STS: the functions take no other endpoint"},
		{"broker", "AWS_ENDPOINT_URL=http://127.0.0.1:80@evil.example/", "AWS_ENDPOINT_URL: the functions take no other endpoint"},
		{"front", "SLACK_API_URL=https://evil.example/", "SLACK_API_URL: the functions take no other endpoint"},
		{"front", "STARBACK_FUNCTION=front", "STARBACK_QUEUE_URL: not set"},
		{"broker", "STARBACK_FUNCTION=broker", "STARBACK_QUEUE_URL: not set"},
		{"api", "STARBACK_FUNCTION=api", "STARBACK_BROKER_FUNCTION: not set"},
	} {
		cmd := exec.Command(bootstrap(t, tt.of))
		cmd.Env = []string{"AWS_REGION=eu-west-1", "AWS_LAMBDA_RUNTIME_API=" + freePort(t), tt.env}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), tt.says) {
			t.Errorf("with %s: %v, %s", tt.env, err, out)
		}
	}
}
