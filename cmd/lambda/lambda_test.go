package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/internal/dynamolocal"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

const testPolicy = `
version: 1
accounts:
  prod: {id: "111122223333"}
groups:
  dev: {grants: [prod-readonly]}
  platform: {}
admins: [platform]
roles:
  prod-readonly:
    account: prod
    iam_role: starback/ReadOnly
    max_duration: 8h
    default_duration: 1h
    console: true
users:
  alice: {slack: T0TEST/U0ALICE, groups: [dev], expires: 2099-12-31}
  carol: {slack: T0TEST/U0CAROL, groups: [platform], expires: 2099-12-31}
`

const (
	general = "C0GENERAL"
	audit   = "C0AUDIT"
)

// build builds the bootstrap, once.
var build = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "starback-bootstrap-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "bootstrap")
	cmd := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if !testing.Short() {
		if path, err := build(); err == nil {
			_ = os.RemoveAll(filepath.Dir(path))
		}
	}
	os.Exit(code)
}

// A cloud is everything around the functions: a workspace, AWS, a table with
// the test policy in it, and what stands for API Gateway and SQS.
type cloud struct {
	t     *testing.T
	slack *sandbox.Slack
	aws   *sandbox.AWS
	db    *store.DynamoDB
	table string
	queue *queue
	env   []string // of every function
	front *function

	mu     sync.Mutex
	broker *function
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	dynamo := dynamolocal.Config(t)
	bootstrap, err := build()
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{t: t, table: dynamolocal.TableName()}
	c.newTable(dynamo)

	c.slack = sandbox.NewSlack(sandbox.SlackConfig{Now: time.Now, TeamID: "T0TEST"})
	slackURL := c.serve(c.slack)
	c.slack.SetURL(slackURL)
	c.slack.AddUser(sandbox.SlackUser{ID: "U0ALICE", Name: "alice"})
	c.slack.AddUser(sandbox.SlackUser{ID: "U0CAROL", Name: "carol"})
	c.slack.AddChannel(sandbox.SlackChannel{ID: general, Name: "general", Members: []string{"U0ALICE", "U0CAROL"}})
	c.slack.AddChannel(sandbox.SlackChannel{ID: audit, Name: "starback-audit", Members: []string{"U0CAROL"}, BotIn: true})

	c.aws = sandbox.NewAWS(sandbox.AWSConfig{Now: time.Now, TokenSize: 4096})
	awsURL := c.serve(c.aws)
	key := c.aws.AddUser("999988887777", "starback")
	c.aws.AddRole(sandbox.Role{
		ARN: "arn:aws:iam::111122223333:role/starback/ReadOnly", MaxSessionDuration: 12 * time.Hour,
		Trust: sandbox.Trust{Principals: []string{key.ARN}, TagSession: true, SetSourceIdentity: true},
	})
	c.aws.PutParameter("/starback/test/base", fmt.Sprintf(`{"access_key_id":%q,"secret_access_key":%q}`, key.AccessKeyID, key.SecretAccessKey), true)
	c.aws.PutParameter("/starback/test/slack-signing-secret", c.slack.SigningSecret(), true)
	c.aws.PutParameter("/starback/test/slack-bot-token", c.slack.BotToken(), true)

	c.queue = &queue{t: t, redeliver: 50 * time.Millisecond, consume: c.consume}
	c.env = []string{
		"AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=" + key.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + key.SecretAccessKey,
		"AWS_ENDPOINT_URL=" + awsURL, "AWS_ENDPOINT_URL_DYNAMODB=" + loopback(aws.ToString(dynamo.BaseEndpoint)),
		"AWS_ENDPOINT_URL_SQS=" + c.serve(c.queue), "STARBACK_SIGNIN_URL=" + awsURL + "/federation", "SLACK_API_URL=" + slackURL + "/api/",
		"SLACK_SIGNING_SECRET=ssm:/starback/test/slack-signing-secret", "SLACK_BOT_TOKEN=ssm:/starback/test/slack-bot-token",
		"STARBACK_SLACK_TEAMS=T0TEST", "STARBACK_RESPONSE_HOSTS=" + strings.TrimPrefix(slackURL, "http://"), "STARBACK_AUDIT_CHANNEL=" + audit,
		"STARBACK_STORE=dynamodb:" + c.table, "STARBACK_BASE=ssm:/starback/test/base",
		"STARBACK_QUEUE_URL=http://127.0.0.1/123456789012/jobs",
	}
	c.front = startFunction(t, bootstrap, 5*time.Second, append(c.env, "STARBACK_FUNCTION=front")...)
	c.broker = startFunction(t, bootstrap, 75*time.Second, append(c.env, "STARBACK_FUNCTION=broker")...)
	c.slack.SetApp(c.serve(http.HandlerFunc(c.gateway)))
	return c
}

// loopback writes an endpoint as the functions take it.
func loopback(endpoint string) string {
	return strings.Replace(endpoint, "localhost", "127.0.0.1", 1)
}

func (c *cloud) serve(h http.Handler) string {
	server := httptest.NewServer(h)
	c.t.Cleanup(server.Close)
	return server.URL
}

// newTable makes a table with the test policy and its people.
func (c *cloud) newTable(cfg aws.Config) {
	c.t.Helper()
	ctx := c.t.Context()
	if _, err := store.CreateTable(ctx, cfg, c.table, store.TableOptions{}); err != nil {
		c.t.Fatal(err)
	}
	db, err := store.OpenDynamoDB(cfg, c.table, store.DynamoDBOptions{Now: time.Now, Entropy: rand.Reader})
	if err != nil {
		c.t.Fatal(err)
	}
	c.db = db
	file, err := policy.Parse("policy.yaml", []byte(testPolicy), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	admin := &broker.Admin{Users: db, Identities: db, Policies: db, Now: time.Now, Entropy: rand.Reader, Author: "test"}
	if _, err := admin.Apply(ctx, file, ""); err != nil {
		c.t.Fatal(err)
	}
}

// gateway hands a request over as an HTTP API does: payload format 2.0, form
// bodies in base64.
func (c *cloud) gateway(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e := events.APIGatewayV2HTTPRequest{
		Version: "2.0", RouteKey: r.Method + " " + r.URL.Path, RawPath: r.URL.Path, RawQueryString: r.URL.RawQuery,
		Headers: map[string]string{}, Body: base64.StdEncoding.EncodeToString(body), IsBase64Encoded: true,
	}
	for name, values := range r.Header {
		e.Headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	answer, err := c.front.invoke(r.Context(), e)
	var out events.APIGatewayV2HTTPResponse
	if err != nil || json.Unmarshal(answer, &out) != nil {
		http.Error(w, `{"message":"Internal Server Error"}`, http.StatusInternalServerError)
		return
	}
	for name, value := range out.Headers {
		w.Header().Set(name, value)
	}
	w.WriteHeader(out.StatusCode)
	_, _ = io.WriteString(w, out.Body)
}

// consume hands a batch to the broker.
func (c *cloud) consume(ctx context.Context, e events.SQSEvent) (events.SQSEventResponse, error) {
	c.mu.Lock()
	function := c.broker
	c.mu.Unlock()
	answer, err := function.invoke(ctx, e)
	var out events.SQSEventResponse
	if err == nil {
		err = json.Unmarshal(answer, &out)
	}
	return out, err
}

// replace has another function take the broker's place, as Lambda starts a new
// one for the next event.
func (c *cloud) replace(function *function) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broker = function
}

// output is all that both functions have printed.
func (c *cloud) output() string { return c.front.output() + c.broker.output() }

// answer waits for the nth ephemeral message that Alice sees.
func (c *cloud) answer(n int) sandbox.Message {
	c.t.Helper()
	return c.answerWithin(n, 20*time.Second)
}

// answerWithin is answer, with more patience.
func (c *cloud) answerWithin(n int, patience time.Duration) sandbox.Message {
	c.t.Helper()
	ctx, stop := context.WithTimeout(c.t.Context(), patience)
	defer stop()
	var seen []sandbox.Message
	_, err := c.slack.WaitFor(ctx, "U0ALICE", func(all []sandbox.Message) bool {
		seen = nil
		for _, m := range all {
			if m.Ephemeral {
				seen = append(seen, m)
			}
		}
		return len(seen) >= n
	})
	if err != nil {
		c.t.Fatalf("there are %d answers, not %d: %v\n%s", len(seen), n, err, c.output())
	}
	return seen[n-1]
}

// audited counts the audit lines of the broker's log with this name.
func (c *cloud) audited(event string) int {
	return strings.Count(c.broker.output(), `"event":"`+event+`"`)
}

// assumed counts the AssumeRole calls so far.
func (c *cloud) assumed() int {
	n := 0
	for _, call := range c.aws.Calls() {
		if call.Action == "AssumeRole" {
			n++
		}
	}
	return n
}

// TestMainJob is the main job through the real bootstrap: API Gateway, front,
// SQS, broker, DynamoDB, STS, Slack.
func TestMainJob(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	ack, err := c.slack.Command(t.Context(), "U0ALICE", general, "prod-readonly 1h checking queue depth")
	if err != nil || ack.Status != http.StatusOK || len(ack.Body) != 0 {
		t.Fatalf("the command was answered %d %q, %v\n%s", ack.Status, ack.Body, err, c.output())
	}
	message := c.answer(1)
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
	if n := c.assumed(); n != 1 {
		t.Errorf("AssumeRole was called %d times for one command", n)
	}
	if n := c.audited("session.issued"); n != 1 {
		t.Errorf("%d sessions were issued\n%s", n, c.broker.output())
	}

	// The trail reached the channel, and no secret reached the log.
	told := ""
	for _, m := range c.slack.Channel(audit) {
		told += sandbox.Text(m, sandbox.RenderOptions{Width: 1000})
	}
	if !strings.Contains(told, "checking queue depth") || !strings.Contains(told, "Issued") {
		t.Errorf("the audit channel says\n%s", told)
	}
	if strings.Contains(c.output(), sandbox.Marker) {
		t.Error("a secret was printed")
	}
}

// TestHelpNeedsNobody is answered by the front alone, however broken the rest.
func TestHelpNeedsNobody(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.broker.kill()
	ack, err := c.slack.Command(t.Context(), "U0ALICE", general, "help")
	if err != nil || !strings.Contains(string(ack.Body), "/starback ROLE") {
		t.Errorf("help was answered %d %s, %v", ack.Status, ack.Body, err)
	}
}

// TestFrontSpeaksWhenTheQueueFails tells the person that nothing was done.
func TestFrontSpeaksWhenTheQueueFails(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.queue.mu.Lock()
	c.queue.fault = func(string) int { return http.StatusServiceUnavailable }
	c.queue.mu.Unlock()
	ack, err := c.slack.Command(t.Context(), "U0ALICE", general, "prod-readonly")
	if err != nil || ack.Problem != "" || !strings.Contains(string(ack.Body), "nothing was done") || !strings.Contains(string(ack.Body), "Request `") {
		t.Errorf("the command was answered %d %q %s, %v\n%s", ack.Status, ack.Problem, ack.Body, err, c.output())
	}
	if n := c.assumed(); n != 0 {
		t.Errorf("AssumeRole was called %d times", n)
	}
}

// TestFrontIsInTimeHoweverSlowTheQueue answers within Slack's 3 s.
func TestFrontIsInTimeHoweverSlowTheQueue(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	c.queue.mu.Lock()
	c.queue.fault = func(string) int { <-hold; return http.StatusServiceUnavailable }
	c.queue.mu.Unlock()
	ack, err := c.slack.Command(t.Context(), "U0ALICE", general, "prod-readonly")
	if err != nil || ack.Problem != "" || !strings.Contains(string(ack.Body), "nothing was done") {
		t.Errorf("the command was answered %d %q %s, %v", ack.Status, ack.Problem, ack.Body, err)
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
	if c.queue.sent != 0 {
		t.Errorf("%d jobs were queued", c.queue.sent)
	}
}

// TestPoison is put aside after its last delivery, without taking others of
// its batch with it.
func TestPoison(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.queue.send(`{"id":"","body":"bm90IGEgam9i"}`)
	c.queue.send(`not JSON at all`)
	c.queue.busy.Wait()
	if len(c.queue.dead) != 2 {
		t.Errorf("%d messages were put aside, want 2\n%s", len(c.queue.dead), c.broker.output())
	}
	if _, err := c.slack.Command(t.Context(), "U0ALICE", general, "prod-readonly"); err != nil {
		t.Fatal(err)
	}
	c.answer(1)
}

// TestJanitor passes on what nobody else has.
func TestJanitor(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	bootstrap, err := build()
	if err != nil {
		t.Fatal(err)
	}
	j := startFunction(t, bootstrap, 55*time.Second, append(c.env, "STARBACK_FUNCTION=janitor")...)
	answer, err := j.invoke(t.Context(), events.EventBridgeEvent{DetailType: "Scheduled Event", Source: "aws.events"})
	if err != nil || string(answer) != "null" {
		t.Fatalf("the janitor answered %s, %v\n%s", answer, err, j.output())
	}
	told := ""
	for _, m := range c.slack.Channel(audit) {
		told += sandbox.Text(m, sandbox.RenderOptions{Width: 1000})
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
	bootstrap, err := build()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ env, says string }{
		{"STARBACK_FUNCTION=api", "none of front, broker and janitor"},
		{"AWS_ENDPOINT_URL_STS=https://evil.example", "AWS_ENDPOINT_URL_STS: the functions take no other endpoint"},
		{"AWS_ENDPOINT_URL=http://127.0.0.1:80@evil.example/", "AWS_ENDPOINT_URL: the functions take no other endpoint"},
		{"SLACK_API_URL=https://evil.example/", "SLACK_API_URL: the functions take no other endpoint"},
		{"STARBACK_FUNCTION=front", "STARBACK_QUEUE_URL: not set"},
	} {
		cmd := exec.Command(bootstrap)
		cmd.Env = []string{"AWS_REGION=eu-west-1", "AWS_LAMBDA_RUNTIME_API=" + freePort(t), tt.env}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), tt.says) {
			t.Errorf("with %s: %v, %s", tt.env, err, out)
		}
	}
}
