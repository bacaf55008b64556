package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
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
	"github.com/starback/starback/internal/faultproxy"
	"github.com/starback/starback/internal/story"
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

// build builds the programs, once, and returns the folder that they are in: each
// is the bootstrap in a folder that has the name of its archive.
var build = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "starback-bootstrap-")
	if err != nil {
		return "", err
	}
	return folder, errors.Join(compile(folder, "lambda", "."), compile(folder, "front", "."))
})

// compile builds one program into a folder, as scripts/bundle does, but for this
// machine.
func compile(folder, archive, pkg string) error {
	tags := "lambda.norpc,nosqlite"
	if archive == "front" {
		tags += ",nobroker"
	}
	cmd := exec.Command("go", "build", "-trimpath", "-tags", tags, "-ldflags", "-s -w", "-o", filepath.Join(folder, archive, "bootstrap"), pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// bootstrap is the program that serverless.yml says a function is.
func bootstrap(t *testing.T, function string) string {
	t.Helper()
	folder, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, serverless(t).archive(t, function), "bootstrap")
}

func TestMain(m *testing.M) {
	code := m.Run()
	if !testing.Short() {
		if folder, err := build(); err == nil {
			_ = os.RemoveAll(folder)
		}
	}
	os.Exit(code)
}

// A cloud is everything around the functions: a workspace, AWS, a table with
// a policy in it, and what stands for API Gateway and SQS. What the
// functions call, they call through proxies.
type cloud struct {
	t     *testing.T
	slack *sandbox.Slack
	aws   *sandbox.AWS
	db    *store.DynamoDB
	table string
	queue *queue
	via   neighbours
	url   string   // of what stands for API Gateway
	env   []string // of all functions, of which each is told its part

	mu            sync.Mutex
	front, broker *function
	api, janitor  *function // once they are called
	gone          string    // what functions printed that are no more
}

func newCloud(t *testing.T) *cloud { return newCloudOf(t, testPolicy, time.Now) }

// newCloudOf is newCloud with a policy, and with a workspace whose clock is its
// own.
func newCloudOf(t *testing.T, policy string, slackNow func() time.Time) *cloud {
	t.Helper()
	dynamo := dynamolocal.Config(t)
	c := &cloud{t: t, table: dynamolocal.TableName()}
	c.newTable(dynamo, policy)

	c.slack = story.NewSlack(slackNow)
	c.via.slack = c.proxy(c.serve(c.slack))
	c.slack.SetURL(c.via.slack.URL)

	c.aws = sandbox.NewAWS(sandbox.AWSConfig{Now: time.Now, TokenSize: 4096})
	c.via.aws = c.proxy(c.serve(c.aws))
	key := story.Furnish(c.aws, "/starback/test/base")
	c.setSigningSecret(c.slack.SigningSecret())
	c.aws.PutParameter("/starback/test/slack-bot-token", c.slack.BotToken(), true)

	c.queue = &queue{t: t, redeliver: 50 * time.Millisecond, consume: c.consume}
	c.via.queue = c.proxy(c.serve(c.queue))
	c.via.table = c.proxy(aws.ToString(dynamo.BaseEndpoint))
	c.via.lambda = c.proxy(c.serve(http.HandlerFunc(c.runs)))
	c.env = []string{
		"AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=" + key.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + key.SecretAccessKey,
		"AWS_ENDPOINT_URL=" + c.via.aws.URL, "AWS_ENDPOINT_URL_DYNAMODB=" + c.via.table.URL, "AWS_ENDPOINT_URL_SQS=" + c.via.queue.URL,
		"AWS_ENDPOINT_URL_LAMBDA=" + c.via.lambda.URL, "STARBACK_BROKER_FUNCTION=starback-test-broker",
		"STARBACK_SIGNIN_URL=" + c.via.aws.URL + "/federation", "SLACK_API_URL=" + c.via.slack.URL + "/api/",
		"SLACK_SIGNING_SECRET=ssm:" + signingSecret, "SLACK_BOT_TOKEN=ssm:/starback/test/slack-bot-token",
		"STARBACK_SLACK_TEAMS=" + story.Team, "STARBACK_RESPONSE_HOSTS=" + strings.TrimPrefix(c.via.slack.URL, "http://"), "STARBACK_AUDIT_CHANNEL=" + story.Audit, "STARBACK_APPROVALS_CHANNEL=" + story.Approvals,
		"STARBACK_STORE=dynamodb:" + c.table, "STARBACK_BASE=ssm:/starback/test/base",
		"STARBACK_QUEUE_URL=" + jobsURL,
	}
	c.front, c.broker = c.start("front"), c.start("broker")
	c.url = c.serve(http.HandlerFunc(c.gateway))
	c.slack.SetApp(c.url)
	return c
}

const (
	signingSecret = "/starback/test/slack-signing-secret"
	jobsURL       = "http://127.0.0.1/123456789012/jobs"
)

// start starts a function that nothing is sent to yet, with the time and the
// settings that serverless.yml gives it, and more if there are any.
func (c *cloud) start(name string, more ...string) *function {
	c.t.Helper()
	s := serverless(c.t)
	return startFunction(c.t, bootstrap(c.t, name), s.timeout(c.t, name), append(s.settings(name, c.env), more...)...)
}

// replace has a new function take another's place, and then ends that at once:
// Lambda starts a new one for the next event.
func (c *cloud) replace(place **function, name string) {
	c.t.Helper()
	fresh := c.start(name)
	c.mu.Lock()
	old := *place
	*place = fresh
	c.mu.Unlock()
	old.kill()
	c.mu.Lock()
	c.gone += old.output()
	c.mu.Unlock()
}

// now returns who is in a place.
func (c *cloud) now(place **function) *function {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *place
}

// setSigningSecret is what functions are given that start from now on.
func (c *cloud) setSigningSecret(secret string) { c.aws.PutParameter(signingSecret, secret, true) }

// proxy puts a proxy before a neighbour.
func (c *cloud) proxy(target string) *faultproxy.Proxy {
	return faultproxy.New(c.t, target, callName)
}

func (c *cloud) serve(h http.Handler) string {
	server := httptest.NewServer(h)
	c.t.Cleanup(server.Close)
	return server.URL
}

// newTable makes a table with a policy and its people.
func (c *cloud) newTable(cfg aws.Config, text string) {
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
	file, err := policy.Parse("policy.yaml", []byte(text), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	admin := broker.NewAdmin(db, time.Now, rand.Reader, broker.Author{Name: "test"})
	plan, err := admin.Plan(ctx, file, false)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := admin.Apply(ctx, plan, broker.ApplyOptions{}); err != nil {
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
	fn := c.now(&c.front)
	if strings.HasPrefix(r.URL.Path, "/v1/") {
		fn = c.now(&c.api)
	}
	answer, err := fn.invoke(r.Context(), apiEvent(r, body, time.Now()))
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

// runs is Lambda's own API, as far as one function has another run, and waits.
func (c *cloud) runs(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/2015-03-31/functions/starback-test-broker/invocations" || r.Header.Get("X-Amz-Invocation-Type") == "Event" {
		http.Error(w, "{}", http.StatusNotFound)
		return
	}
	answer, err := c.now(&c.broker).invoke(r.Context(), json.RawMessage(body))
	if err != nil {
		w.Header().Set("X-Amz-Function-Error", "Unhandled")
		answer = []byte(`{"errorMessage": "it failed", "errorType": "error"}`)
	}
	_, _ = w.Write(answer)
}

// apiEvent is the event of a request that came in at a time.
func apiEvent(r *http.Request, body []byte, at time.Time) events.APIGatewayV2HTTPRequest {
	e := events.APIGatewayV2HTTPRequest{
		Version: "2.0", RouteKey: r.Method + " " + r.URL.Path, RawPath: r.URL.Path, RawQueryString: r.URL.RawQuery,
		Headers: map[string]string{}, Body: base64.StdEncoding.EncodeToString(body), IsBase64Encoded: true,
	}
	e.RequestContext.TimeEpoch, e.RequestContext.HTTP.Method = at.UnixMilli(), r.Method
	for name, values := range r.Header {
		e.Headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	return e
}

// consume hands a batch to the broker.
func (c *cloud) consume(ctx context.Context, e events.SQSEvent) (events.SQSEventResponse, error) {
	answer, err := c.now(&c.broker).invoke(ctx, e)
	var out events.SQSEventResponse
	if err == nil {
		err = json.Unmarshal(answer, &out)
	}
	return out, err
}

// output is all that the functions have printed.
func (c *cloud) output() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.gone + c.front.output() + c.broker.output()
	for _, fn := range []*function{c.api, c.janitor} {
		if fn != nil {
			all += fn.output()
		}
	}
	return all
}

// answer waits for the nth ephemeral message that somebody sees.
func (c *cloud) answer(who string, n int) sandbox.Message {
	c.t.Helper()
	var m sandbox.Message
	c.waitFor(who, 20*time.Second, func(seen []sandbox.Message) bool {
		if len(seen) >= n {
			m = seen[n-1]
		}
		return len(seen) >= n
	})
	return m
}

// waitFor waits until the ephemeral messages that somebody sees are as wanted.
func (c *cloud) waitFor(who string, patience time.Duration, done func([]sandbox.Message) bool) {
	c.t.Helper()
	ctx, stop := context.WithTimeout(c.t.Context(), patience)
	defer stop()
	var seen []sandbox.Message
	_, err := c.slack.WaitFor(ctx, who, func(all []sandbox.Message) bool {
		seen = story.Ephemerals(all)
		return done(seen)
	})
	if err != nil {
		said := ""
		for _, m := range seen {
			said += m.Text + "\n"
		}
		c.t.Fatalf("%s sees\n%s%v\n%s", who, said, err, c.output())
	}
}
