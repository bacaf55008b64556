package api_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starback/starback/api"
	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/internal/dynamolocal"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

// rules is the policy of the tests.
const rules = `
version: 1
accounts:
  prod: {id: "111122223333"}
groups:
  dev: {grants: [readonly, ticketed, guarded]}
  leads: {}
  platform: {}
admins: [platform]
roles:
  readonly: {account: prod, iam_role: starback/ReadOnly, max_duration: 8h, default_duration: 1h30m, console: true, description: to look}
  ticketed: {account: prod, iam_role: starback/Ticketed, region: eu-central-1, max_duration: 2h, reason: required, ticket: '[A-Z]+-[0-9]+'}
  guarded:  {account: prod, iam_role: starback/Guarded, max_duration: 4h, default_duration: 2h, approval: {by: [leads], within: 1h, claim_within: 1h}}
  secluded: {account: prod, iam_role: starback/Secluded, max_duration: 1h}
users:
  alice: {slack: T0AB/UALICE, groups: [dev], expires: 2099-12-31}
  lea:   {slack: T0AB/ULEA, groups: [leads], expires: 2099-12-31}
  root:  {slack: T0AB/UROOT, groups: [platform], expires: 2099-12-31}
  ci:    {app: true, owner: alice, groups: [dev], expires: 2099-12-31}
`

var (
	alice = broker.SlackID{Team: "T0AB", User: "UALICE"}
	lea   = broker.SlackID{Team: "T0AB", User: "ULEA"}
)

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

func (c *clock) advance(d time.Duration) {
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

// A dice is random bytes that are the same in every run.
type dice struct {
	mu sync.Mutex
	r  *mathrand.ChaCha8
}

func (d *dice) Read(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.Read(p)
}

// A mint stands for AWS. Its hook runs while it is asked.
type mint struct {
	mu        sync.Mutex
	clock     *clock
	made      int
	fault     error // of AssumeRole
	noLink    error // of SignIn
	meanwhile func()
}

func (m *mint) AssumeRole(_ context.Context, a broker.Assumption) (broker.Credentials, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.meanwhile != nil {
		m.meanwhile()
	}
	if m.fault != nil {
		return broker.Credentials{}, m.fault
	}
	m.made++
	return broker.Credentials{
		AccessKeyID: fmt.Sprintf("ASIA%016d", m.made), SecretKey: broker.NewSecret(sandbox.Marker + "/Key+" + fmt.Sprint(m.made)),
		SessionToken: broker.NewSecret(sandbox.Marker + "/Token=="), ExpiresAt: m.clock.Now().Add(a.Duration),
		AssumedRoleID: "AROAZZZZZZZZZZZZZZZZ:" + a.SessionName,
	}, nil
}

func (m *mint) SignIn(context.Context, broker.Credentials, *policy.Role) (broker.Secret, error) {
	if m.noLink != nil {
		return broker.Secret{}, m.noLink
	}
	return broker.NewSecret("https://signin.aws.amazon.com/federation?Action=login&SigninToken=" + sandbox.Marker), nil
}

// A slack says that everybody is active, unless told otherwise, and takes
// whatever there is to tell.
type slack struct{ standing broker.Standing }

func (s *slack) Profile(context.Context, broker.SlackID) (broker.Profile, error) {
	return broker.Profile{Standing: s.standing}, nil
}

func (s *slack) Tell(context.Context, broker.Telling) (string, error) { return "", nil }

// A breakable store fails where it is told to.
type breakable struct {
	store.Store
	mu     sync.Mutex
	err    error
	looked func(context.Context) // when a token is looked up; nil: nothing
}

func (b *breakable) IdentifyToken(ctx context.Context, id string) (broker.Facts, error) {
	if b.looked != nil {
		b.looked(ctx)
	}
	return b.Store.IdentifyToken(ctx, id)
}

func (b *breakable) down(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *breakable) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *breakable) PutRequest(ctx context.Context, r broker.Request) (broker.Request, error) {
	if err := b.failure(); err != nil {
		return broker.Request{}, err
	}
	return b.Store.PutRequest(ctx, r)
}

// An opener opens a store.
type opener func(t testing.TB, now func() time.Time) store.Store

// engines are the stores that there are.
var engines = map[string]opener{"SQLite": onSQLite, "DynamoDB": onDynamoDB}

func onSQLite(t testing.TB, _ func() time.Time) store.Store {
	t.Helper()
	s, err := store.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "store.db"), store.SQLiteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func onDynamoDB(t testing.TB, now func() time.Time) store.Store {
	t.Helper()
	cfg, table := dynamolocal.Config(t), dynamolocal.TableName()
	if _, err := store.CreateTable(t.Context(), cfg, table, store.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	s, err := store.OpenDynamoDB(cfg, table, store.DynamoDBOptions{Now: now, Entropy: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A world is a Starback whose interface listens.
type world struct {
	*broker.Broker
	*clock
	t     testing.TB
	store *breakable
	mint  *mint
	slack *slack
	dice  *dice
	log   *buffer
	url   string
	token string // of ci, for any role
}

// began is when every world begins.
var began = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// newWorld is a world on a store, in which ci has a token for whatever it may
// ask for. No secret is in its log when it ends.
func newWorld(t testing.TB, open opener) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{now: began}, slack: &slack{broker.Active}, log: &buffer{}, dice: &dice{r: mathrand.NewChaCha8([32]byte{1})}}
	w.mint = &mint{clock: w.clock}
	w.store = &breakable{Store: open(t, w.Now)}
	w.Broker = w.broker()
	file, err := policy.Parse("rules.yaml", []byte(rules), nil)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := w.admin().Plan(t.Context(), file, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.admin().Apply(t.Context(), plan, broker.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	w.token = w.newToken(broker.TokenWish{User: "ci", AnyRole: true, Label: "the nightly build"})
	server := httptest.NewServer(w.handler())
	t.Cleanup(server.Close)
	w.url = server.URL
	t.Cleanup(func() {
		log := w.log.String()
		for _, secret := range []string{sandbox.Marker, w.token, w.token[21:]} {
			if strings.Contains(log, secret) {
				t.Errorf("the log holds a secret:\n%s", log)
			}
		}
	})
	return w
}

func (w *world) broker() *broker.Broker {
	return broker.New(broker.Config{
		Ledger: w.store, Identities: w.store, Users: w.store, Policies: w.store, Proposals: w.store, Tokens: w.store, Archive: w.store,
		Requests: w.store, Fences: w.store, Paces: w.store, Outbox: w.store,
		Minter: w.mint, Directory: w.slack, Teller: w.slack, Journal: broker.NewJournal(w.log), Now: w.Now, Entropy: w.dice,
	})
}

// another is a second process on the same store.
func (w *world) another() *world {
	other := *w
	other.Broker = w.broker()
	return &other
}

func (w *world) handler() http.Handler {
	return api.New(api.Config{Broker: w.Broker, Version: "v1.2.3", Now: w.Now, Entropy: w.dice, Log: slog.New(slog.NewJSONHandler(w.log, nil))})
}

func (w *world) admin() *broker.Admin {
	return broker.NewAdmin(w.store, w.Now, w.dice, broker.Author{Name: "os:root"})
}

func (w *world) newToken(wish broker.TokenWish) string {
	w.t.Helper()
	_, token, err := w.admin().CreateToken(w.t.Context(), wish)
	if err != nil {
		w.t.Fatal(err)
	}
	return token.Reveal()
}

// does carries out an administrator's commands.
func (w *world) does(commands ...string) {
	w.t.Helper()
	for _, words := range commands {
		change, err := broker.ParseCommand(strings.Fields(words))
		if err == nil {
			_, err = w.admin().Do(w.t.Context(), change)
		}
		if err != nil {
			w.t.Fatalf("%s: %v", words, err)
		}
	}
}

// A reply is what the interface answers.
type reply struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

// word is a member of the answer, as text; empty if there is none.
func (r reply) word(name string) string {
	if v, ok := r.body[name]; ok {
		return fmt.Sprint(v)
	}
	return ""
}

// call calls with the token of ci. Headers are given as NAME, VALUE.
func (w *world) call(method, path, body string, headers ...string) reply {
	w.t.Helper()
	return w.callAs(w.token, method, path, body, headers...)
}

func (w *world) callAs(token, method, path, body string, headers ...string) reply {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
		} else {
			r.Header.Add(headers[i], headers[i+1])
		}
	}
	res, err := http.DefaultTransport.RoundTrip(r) // no redirect is followed
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	out := reply{status: res.StatusCode, header: res.Header, text: string(text)}
	if err := json.Unmarshal(text, &out.body); err != nil {
		w.t.Errorf("%s %s is answered %d, not in JSON: %q", method, path, res.StatusCode, text)
	}
	if got := res.Header.Get("Cache-Control"); got != "no-store" {
		w.t.Errorf("%s %s may be kept: %q", method, path, got)
	}
	return out
}

// wants fails the test unless the answer has this status, code and rule.
func (w *world) wants(got reply, status int, code string, rule policy.Rule) {
	w.t.Helper()
	if got.status != status || got.word("code") != code || got.word("rule") != string(rule) {
		w.t.Errorf("answered %d %s, want %d %q %q", got.status, got.text, status, code, rule)
	}
	if code == "" {
		return
	}
	if got.header.Get("Content-Type") != "application/problem+json" || int(got.body["status"].(float64)) != status || got.word("title") == "" || got.word("detail") == "" {
		w.t.Errorf("that is no problem: %v %s", got.header, got.text)
	}
	if challenge := got.header.Get("WWW-Authenticate"); (challenge != "") != (status == http.StatusUnauthorized) {
		w.t.Errorf("%d with the challenge %q", status, challenge)
	}
	retries := code == "busy" || code == "rate" || code == "unavailable"
	if after := got.header.Get("Retry-After"); (after != "") != retries {
		w.t.Errorf("%s with Retry-After %q", code, after)
	}
}

// request is a Request as it is stored.
func (w *world) request(id string) broker.Request {
	w.t.Helper()
	r, err := w.store.Request(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// answers has an approver answer a Request.
func (w *world) answers(id string, yes bool) {
	w.t.Helper()
	if _, err := w.Answer(w.t.Context(), broker.Answer{
		Caller: lea, RequestID: id, Yes: yes, Reason: map[bool]string{false: "not on a Friday"}[yes], Key: "1", Deadline: w.Now().Add(time.Minute),
	}); err != nil {
		w.t.Fatal(err)
	}
}
