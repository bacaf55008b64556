package bot_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starback/starback/bot"
	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

const policyFile = `
version: 1
accounts:
  prod: {id: "111122223333"}
groups:
  dev: {grants: [prod-readonly, prod-admin]}
  platform: {}
admins: [platform]
roles:
  prod-readonly:
    account: prod
    iam_role: starback/ReadOnly
    max_duration: 8h
    default_duration: 1h
    console: true
  prod-admin:
    account: prod
    iam_role: starback/Admin
    max_duration: 1h
    reason: required
    ticket: '[A-Z]+-[0-9]+'
  staging-admin:
    account: prod
    iam_role: starback/Staging
    max_duration: 1h
users:
  alice: {slack: T0SANDBOX/U1, groups: [dev, platform]}
  bob: {slack: T0SANDBOX/U2, groups: [dev]}
`

// A clock is moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A buffer is a log that several goroutines write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A mint makes credentials that differ each time.
type mint struct {
	clock *clock
	mu    sync.Mutex
	made  int
	fault error
	held  func() // called while AWS is being asked
}

func (m *mint) AssumeRole(_ context.Context, a broker.Assumption) (broker.Credentials, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held != nil {
		m.held()
	}
	if m.fault != nil {
		return broker.Credentials{}, m.fault
	}
	m.made++
	return broker.Credentials{
		AccessKeyID: fmt.Sprintf("ASIA%016d", m.made), SecretKey: broker.NewSecret(sandbox.Marker + "Key"),
		SessionToken: broker.NewSecret(sandbox.Marker + "Token"), ExpiresAt: m.clock.Now().Add(a.Duration),
		AssumedRoleID: "AROAZZZZZZZZZZZZZZZZ:" + a.SessionName,
	}, nil
}

func (m *mint) SignIn(context.Context, broker.Credentials, *policy.Role) (broker.Secret, error) {
	return broker.NewSecret("https://signin.aws.amazon.com/federation?SigninToken=" + sandbox.Marker), nil
}

// A world is a workspace, a store, a broker and the bot between them.
type world struct {
	*sandbox.Slack
	t      *testing.T
	clock  *clock
	url    string // of Slack
	store  store.Store
	broker *broker.Broker
	mint   *mint
	ends   *revoker // what ends Sessions, if anything does
	client *bot.Client
	front  *bot.Front
	worker *bot.Worker
	log    *buffer
}

// newWorld is a world on SQLite.
func newWorld(t *testing.T, opts store.SQLiteOptions) *world {
	t.Helper()
	return newWorldOn(t, func(t *testing.T, _ func() time.Time) store.Store { return openSQLite(t, opts) })
}

// newWorldOn is a world in which alice and bob are known, eve is not, and the
// audit channel is C9. The app gets its deliveries over HTTP.
func newWorldOn(t *testing.T, open opener) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}, log: &buffer{}}
	w.mint = &mint{clock: w.clock}
	w.Slack = sandbox.NewSlack(sandbox.SlackConfig{Now: w.clock.Now})
	server := httptest.NewServer(w.Slack)
	t.Cleanup(server.Close)
	w.url = server.URL
	w.SetURL(server.URL)
	for id, name := range map[string]string{"U1": "alice", "U2": "bob", "U3": "eve"} {
		w.AddUser(sandbox.SlackUser{ID: id, Name: name})
	}
	w.AddChannel(sandbox.SlackChannel{ID: "C1", Name: "general", Members: []string{"U1", "U2", "U3"}, BotIn: true})
	w.AddChannel(sandbox.SlackChannel{ID: "C9", Name: "audit", BotIn: true})

	w.store = open(t, w.clock.Now)
	w.apply(policyFile)

	log := slog.New(slog.NewJSONHandler(w.log, nil))
	w.client = bot.NewClient(broker.NewSecret(w.BotToken()), server.URL+"/api/", "C9", server.Client())
	w.broker = broker.New(broker.Config{
		Ledger: w.store, Identities: w.store, Users: w.store, Policies: w.store, Proposals: w.store, Tokens: w.store, Archive: w.store, Requests: w.store, Paces: w.store,
		Outbox: w.store, Minter: w.mint, Directory: w.client, Teller: w.client, Journal: broker.NewJournal(w.log), Now: w.clock.Now, Entropy: rand.Reader,
	})
	sealer, err := bot.NewSealer(broker.NewSecret(w.SigningSecret()), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.front = &bot.Front{
		SigningSecret: broker.NewSecret(w.SigningSecret()), Teams: []string{"T0SANDBOX"}, Queue: w.store, Sealer: sealer,
		Version: "v1.2.3", Now: w.clock.Now, Log: log,
	}
	w.worker = &bot.Worker{
		Broker: w.broker, Sealer: sealer, Client: w.client, Now: w.clock.Now, Log: log,
		Courier: bot.NewCourier([]string{strings.TrimPrefix(server.URL, "http://")}, server.Client()),
	}
	app := httptest.NewServer(w.front)
	t.Cleanup(app.Close)
	w.SetApp(app.URL)
	t.Cleanup(func() {
		if log := w.log.String(); strings.Contains(log, sandbox.Marker) {
			t.Errorf("the log holds a secret:\n%s", log)
		}
	})
	return w
}

// apply applies a policy file.
func (w *world) apply(source string) {
	w.t.Helper()
	file, err := policy.Parse("policy.yaml", []byte(source), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	admin := w.admin("root@build-1")
	plan, err := admin.Plan(w.t.Context(), file, false)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := admin.Apply(w.t.Context(), plan, broker.ApplyOptions{Message: "for the test", Overwrite: true, AllowShrink: true}); err != nil {
		w.t.Fatal(err)
	}
}

// admin administers the world from the command line.
func (w *world) admin(author string) *broker.Admin {
	return broker.NewAdmin(w.store, w.clock.Now, rand.Reader, broker.Author{Name: author})
}

// work carries out every Job that waits. It returns the last Later, if there
// is one: that Job stays.
func (w *world) work() (later *bot.Later) {
	w.t.Helper()
	for {
		job, ok, err := w.store.Claim(w.t.Context(), w.clock.Now(), time.Minute)
		if err != nil {
			w.t.Fatal(err)
		}
		if !ok {
			return later
		}
		err = w.worker.Do(w.t.Context(), job)
		switch {
		case errors.As(err, &later):
			err = w.store.Retry(w.t.Context(), job.ID, w.clock.Now().Add(later.After))
		case err == nil:
			err = w.store.Done(w.t.Context(), job.ID)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// types has a user type a command, and carries it out. It returns what they
// see last.
func (w *world) types(user, text string) string {
	w.t.Helper()
	w.sends(user, text)
	w.work()
	return w.sees(user)
}

// sends has a user type a command that the app takes.
func (w *world) sends(user, text string) {
	w.t.Helper()
	if ack, err := w.Command(w.t.Context(), user, "C1", text); err != nil || ack.Problem != "" {
		w.t.Fatalf("%s: %s, %v", text, ack.Problem, err)
	}
}

// sees is what a user sees last, rendered.
func (w *world) sees(user string) string {
	w.t.Helper()
	seen := w.Seen(user)
	if len(seen) == 0 {
		return ""
	}
	return sandbox.Text(seen[len(seen)-1], w.RenderOptions())
}

// presses has a user press a button of the last message they see.
func (w *world) presses(user, action string) string {
	w.t.Helper()
	seen := w.Seen(user)
	if ack, err := w.Click(w.t.Context(), user, seen[len(seen)-1], action); err != nil || ack.Problem != "" {
		w.t.Fatalf("%s: %s, %v", action, ack.Problem, err)
	}
	w.work()
	return w.sees(user)
}

// fails has requests to some methods of Slack's fail.
func (w *world) fails(fault sandbox.SlackFault, methods ...string) {
	w.SetFault(func(method string) *sandbox.SlackFault {
		for _, m := range methods {
			if m == method {
				return &fault
			}
		}
		return nil
	})
}

// due passes on what is due.
func (w *world) due() error {
	_, err := w.broker.Due(w.t.Context())
	return err
}

// events returns the names of the Events in the audit index, sorted, since the
// clock stands still; without those of the policy's coming about.
func (w *world) events() []broker.EventName {
	w.t.Helper()
	found, err := w.store.Events(w.t.Context(), broker.EventQuery{})
	if err != nil {
		w.t.Fatal(err)
	}
	var names []broker.EventName
	for _, e := range found {
		if e.Subject == "" && e.Event != broker.EventPolicyApplied {
			names = append(names, e.Event)
		}
	}
	slices.Sort(names)
	return names
}

// has fails unless text has each of parts.
func has(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		// Lines break where the terminal ends.
		if !strings.Contains(strings.Join(strings.Fields(text), " "), part) {
			t.Errorf("%q is not in:\n%s", part, text)
		}
	}
}

// posts sends a body to the Front as Slack signs it.
func (w *world) posts(path, contentType, body string) int {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	for name, values := range sandbox.Sign(w.SigningSecret(), w.clock.Now(), []byte(body)) {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", contentType)
	out := httptest.NewRecorder()
	w.front.ServeHTTP(out, r)
	return out.Code
}
