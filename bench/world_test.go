package bench_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/starback/starback/bot"
	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

// Names in the sandbox.
const (
	team    = "T0SANDBOX"
	channel = "C0GENERAL"
	audit   = "C0AUDIT"
	region  = "eu-west-1"
	people  = 10 // users, each a broker.Broker's burst of 20 issues
)

// rules is the policy that is asked of: a role with a console link, and one
// without.
const rules = `
version: 1
accounts:
  prod: {id: "111122223333"}
groups:
  dev: {grants: [readonly, plain]}
  platform: {}
admins: [platform]
roles:
  readonly: {account: prod, iam_role: starback/ReadOnly, max_duration: 8h, console: true}
  plain:    {account: prod, iam_role: starback/Plain, max_duration: 8h}
users:
  root: {slack: T0SANDBOX/U0ROOT, groups: [platform]}
`

// person returns the Slack user id of one of the people, by number.
func person(n int) string { return fmt.Sprintf("U0%03d", n%people) }

// openStore returns a store on disk in which the rules were applied and Slack
// was just asked about everybody: what a request on the warm path finds.
func openStore(t testing.TB) *store.SQLite {
	t.Helper()
	s, err := store.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "starback.db"), store.SQLiteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })

	text := rules
	for n := range people {
		text += fmt.Sprintf("  user%d: {slack: %s/%s, groups: [dev]}\n", n, team, person(n))
	}
	file, err := policy.Parse("rules.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	admin := broker.NewAdmin(s, time.Now, rand.Reader, broker.Author{Name: "bench"})
	plan, err := admin.Plan(t.Context(), file, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Apply(t.Context(), plan, broker.ApplyOptions{Message: "the rules"}); err != nil {
		t.Fatal(err)
	}
	for n := range people {
		i, err := s.Identity(t.Context(), broker.SlackID{Team: team, User: person(n)})
		if err != nil {
			t.Fatal(err)
		}
		i.Standing, i.SeenAt = broker.Active, time.Now()
		if _, err := s.PutIdentity(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// serve puts a handler on a port of its own.
func serve(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

// newHTTPClient returns a client as cmd/starback makes it, but for up to so
// many calls at once.
func newHTTPClient(t testing.TB, atOnce int) *http.Client {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = atOnce, atOnce
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Timeout: 15 * time.Second, Transport: transport}
}

// A world is Starback put together as cmd/starback does it, between a sandbox's
// Slack and AWS. Every call that it makes goes through the tap.
type world struct {
	tap    *tap
	store  *store.SQLite
	slack  *sandbox.Slack
	broker *broker.Broker
	worker *bot.Worker

	wake chan struct{} // for the worker: there is a Job
	done chan worked
}

// newWorld builds a world whose calls take as long as delays says, by the names
// of the tap's steps. Unless the audit trail is swept, the Broker is given
// nothing of the store but its Ledger: any other use of the store would panic.
func newWorld(t testing.TB, delays map[string]time.Duration, sweep bool) *world {
	t.Helper()
	w := &world{
		tap: &tap{delays: delays}, store: openStore(t), slack: sandbox.NewSlack(sandbox.SlackConfig{Now: time.Now}),
		wake: make(chan struct{}, 1), done: make(chan worked, 1),
	}
	client, log := newHTTPClient(t, 16), slog.New(slog.DiscardHandler)

	slackServer := serve(t, w.tap.handler(slackStep, w.slack))
	w.slack.SetURL(slackServer.URL)
	members := make([]string, people)
	for n := range people {
		members[n] = person(n)
		w.slack.AddUser(sandbox.SlackUser{ID: person(n), Name: fmt.Sprintf("user%d", n)})
	}
	w.slack.AddChannel(sandbox.SlackChannel{ID: channel, Name: "general", Members: members})
	w.slack.AddChannel(sandbox.SlackChannel{ID: audit, Name: "audit", BotIn: true})

	awsConfig := w.setUpAWS(t)
	minter, err := cloud.New(cloud.Config{
		AWS: awsConfig, Base: "ssm:/starback/base", SignInURL: *awsConfig.BaseEndpoint + "/federation",
		Issuer: "https://app.slack.com/", HTTP: client, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	secret := broker.NewSecret(w.slack.SigningSecret())
	sealer, err := bot.NewSealer(secret, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	slackClient := bot.NewClient(broker.NewSecret(w.slack.BotToken()), slackServer.URL+"/api/", audit, client)
	config := broker.Config{
		Ledger: ledger{w.store, w.tap}, Minter: minter, Directory: slackClient, Teller: slackClient,
		Journal: broker.NewJournal(io.Discard), Now: time.Now, Entropy: rand.Reader,
	}
	if sweep {
		config.Identities, config.Users, config.Archive, config.Outbox = w.store, w.store, w.store, w.store
	}
	w.broker = broker.New(config)
	w.worker = &bot.Worker{
		Broker: w.broker, Sealer: sealer, Client: slackClient, Now: time.Now, Log: log,
		Courier: bot.NewCourier([]string{strings.TrimPrefix(slackServer.URL, "http://")}, client),
	}
	front := &bot.Front{
		SigningSecret: secret, Teams: []string{team}, Queue: queue{w.store, w.tap, w.wake}, Sealer: sealer, Now: time.Now, Log: log,
	}
	w.slack.SetApp(serve(t, front).URL)
	w.work(t)
	if sweep {
		w.sweep(t)
	}
	return w
}

// setUpAWS starts a sandbox's AWS with the roles of the rules, and Starback's
// own key in SSM.
func (w *world) setUpAWS(t testing.TB) aws.Config {
	t.Helper()
	stand := sandbox.NewAWS(sandbox.AWSConfig{Now: time.Now})
	key := stand.AddUser("999988887777", "starback")
	for _, name := range []string{"ReadOnly", "Plain"} {
		stand.AddRole(sandbox.Role{
			ARN: "arn:aws:iam::111122223333:role/starback/" + name, MaxSessionDuration: 8 * time.Hour,
			Trust: sandbox.Trust{Principals: []string{key.ARN}, TagSession: true, SetSourceIdentity: true},
		})
	}
	value, err := json.Marshal(map[string]string{"access_key_id": key.AccessKeyID, "secret_access_key": key.SecretAccessKey})
	if err != nil {
		t.Fatal(err)
	}
	stand.PutParameter("/starback/base", string(value), true)
	return awsAt(serve(t, w.tap.handler(awsStep, stand)).URL, key.AccessKeyID, key.SecretAccessKey)
}

// awsAt is the SDK's configuration for an AWS at url.
func awsAt(url, key, secret string) aws.Config {
	return aws.Config{
		Region: region, BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider(key, secret, ""),
	}
}

// sweep passes the audit trail on, as it does beside every request.
func (w *world) sweep(t testing.TB) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.broker.Sweep(ctx, time.Second, func(err error) { t.Error("sweeping:", err) })
	}()
	t.Cleanup(func() { stop(); <-done })
}

// A worked is a Job that was carried out, and when.
type worked struct {
	began, ended time.Time // from claiming it until Slack has taken the message
	err          error
}

// work carries Jobs out as a worker of cmd/starback's does, which waits until
// the queue wakes it.
func (w *world) work(t testing.TB) {
	ctx, stop := context.WithCancel(context.Background())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			select {
			case <-ctx.Done():
				return
			case <-w.wake:
			}
			one := worked{began: time.Now()}
			job, ok, err := w.store.Claim(ctx, one.began, time.Minute)
			if err == nil && !ok {
				err = errors.New("no job is waiting")
			}
			if err == nil {
				err = w.worker.Do(ctx, job)
				one.ended = time.Now()
			}
			if err == nil {
				err = w.store.Done(ctx, job.ID)
			}
			one.err = err
			w.done <- one
		}
	}()
	t.Cleanup(func() { stop(); <-gone })
}

// A wait is how long somebody waited until Slack had taken the message.
type wait struct {
	command time.Duration // from sending the command, over HTTP
	job     time.Duration // from the Job that waits in the queue
}

// ask types a command, which the worker carries out, and returns how long that
// took. The tap then holds the calls of this one command.
func (w *world) ask(t testing.TB, user, text string) wait {
	t.Helper()
	w.tap.reset()
	before := len(w.slack.Seen(user))
	began := time.Now()
	ack, err := w.slack.Command(t.Context(), user, channel, text)
	if err != nil || ack.Problem != "" || len(ack.Body) > 0 {
		t.Fatalf("the command was not taken: %v %s%s", err, ack.Problem, ack.Body)
	}
	one := <-w.done
	if one.err != nil {
		t.Fatal(one.err)
	}
	seen := w.slack.Seen(user)
	if len(seen) != before+1 || !strings.Contains(string(seen[len(seen)-1].Blocks), "AWS_SESSION_TOKEN") {
		t.Fatal("no credentials were delivered")
	}
	return wait{command: one.ended.Sub(began), job: one.ended.Sub(one.began)}
}
