package broker_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

// rules is the policy file that the tests begin with.
const rules = `
version: 1
accounts:
  prod: {id: "111122223333"}
groups:
  admins: {}
  leads: {}
  dev: {grants: [readonly, plain, ticketed]}
  sre: {grants: [guarded]}
admins: [admins]
roles:
  readonly:  {account: prod, iam_role: starback/ReadOnly, max_duration: 8h, console: true}
  plain:     {account: prod, iam_role: starback/Plain, max_duration: 4h, tags: false, source_identity: false}
  ticketed:  {account: prod, iam_role: starback/ReadOnly, max_duration: 2h, reason: required, ticket: '^[A-Z]+-[0-9]+$'}
  guarded:   {account: prod, iam_role: starback/ReadOnly, max_duration: 1h, approval: {by: [leads]}}
  readonly2: {account: prod, iam_role: starback/ReadOnly, max_duration: 1h}
settings: {bind_by_email: true}
users:
  alice: {slack: T0AB/UALICE, groups: [dev]}
  bob:   {slack: T0AB/UBOB, groups: [sre]}
  erin:  {email: erin@example.com, groups: [dev]}
  root:  {slack: T0AB/UROOT, groups: [admins]}
`

var (
	alice = broker.SlackID{Team: "T0AB", User: "UALICE"}
	bob   = broker.SlackID{Team: "T0AB", User: "UBOB"}
	erin  = broker.SlackID{Team: "T0AB", User: "UERIN"}

	// began is when every world begins. The SDK signs by the machine's clock,
	// which the sandbox compares with the world's.
	began = time.Now().UTC().Truncate(time.Second)
)

// A clock stands still until it is moved.
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

// A world is a Broker on a real store and a real Minter, with AWS in the
// sandbox.
type world struct {
	*broker.Broker
	*clock
	path      string
	store     *store.SQLite
	tap       *tap
	aws       *sandbox.AWS
	minter    *minter
	directory *directory
	teller    *teller
	journal   *buffer
}

// seeded is the bytes of a store in which the rules were applied.
var seeded = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "seed")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "seed.db")
	s, err := store.OpenSQLite(context.Background(), path, store.SQLiteOptions{})
	if err != nil {
		return nil, err
	}
	file, err := policy.Parse("rules.yaml", []byte(rules), nil)
	if err != nil {
		return nil, err
	}
	a := broker.NewAdmin(s, func() time.Time { return began }, rand.Reader, root)
	if _, err := applied(context.Background(), a, file, "the rules"); err != nil {
		return nil, err
	}
	for _, id := range []broker.SlackID{alice, bob} {
		i, err := s.Identity(context.Background(), id)
		if err != nil {
			return nil, err
		}
		i.Standing, i.SeenAt = broker.Active, began
		if _, err := s.PutIdentity(context.Background(), i); err != nil {
			return nil, err
		}
	}
	once := broker.New(broker.Config{
		Ledger: s, Users: s, Requests: s, Archive: s, Outbox: s, Teller: &teller{}, Journal: broker.NewJournal(io.Discard), Now: func() time.Time { return began },
	})
	if _, err := once.Due(context.Background()); err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := seeded()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		clock: &clock{now: began}, path: filepath.Join(t.TempDir(), "starback.db"),
		directory: &directory{profile: broker.Profile{Standing: broker.Active}}, teller: &teller{}, journal: &buffer{},
	}
	if err := os.WriteFile(w.path, db, 0o600); err != nil {
		t.Fatal(err)
	}
	w.store = w.open(t)
	w.tap = &tap{SQLite: w.store}
	w.aws = sandbox.NewAWS(sandbox.AWSConfig{Now: w.Now})
	base := w.aws.AddUser("111122223333", "starback")
	for _, name := range []string{"ReadOnly", "Plain"} {
		full := name == "ReadOnly"
		w.aws.AddRole(sandbox.Role{
			ARN:                "arn:aws:iam::111122223333:role/starback/" + name,
			Trust:              sandbox.Trust{Principals: []string{base.ARN}, TagSession: full, SetSourceIdentity: full},
			MaxSessionDuration: 8 * time.Hour,
		})
	}
	server := httptest.NewServer(w.aws)
	t.Cleanup(server.Close)
	atAWS, err := cloud.New(cloud.Config{
		AWS: aws.Config{
			Region: "eu-west-1", BaseEndpoint: aws.String(server.URL), HTTPClient: server.Client(),
			Credentials: credentials.NewStaticCredentialsProvider(base.AccessKeyID, base.SecretAccessKey, ""),
			Retryer: func() aws.Retryer {
				return retry.NewStandard(func(o *retry.StandardOptions) {
					o.MaxAttempts = 2 // a moved clock costs one
					o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
				})
			},
		},
		Base: "default", SignInURL: server.URL + "/federation", Issuer: "https://slack.example/", HTTP: server.Client(), Now: w.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.minter = &minter{Minter: atAWS}
	w.Broker = w.on(w.tap)
	return w
}

// open opens the world's store once more, as another process would.
func (w *world) open(t *testing.T) *store.SQLite {
	t.Helper()
	s, err := store.OpenSQLite(t.Context(), w.path, store.SQLiteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// on returns a Broker of the world that works on s.
func (w *world) on(s *tap) *broker.Broker {
	return broker.New(broker.Config{
		Ledger: s, Identities: s, Users: s, Policies: s, Proposals: s, Tokens: s, Requests: s, Fences: s, Paces: s, Archive: s, Outbox: s,
		Minter: w.minter, Directory: w.directory, Teller: w.teller,
		Journal: broker.NewJournal(w.journal), Now: w.Now, Entropy: rand.Reader,
	})
}

// ask is Alice asking for a role.
func (w *world) ask(key string, role policy.RoleName) broker.Ask {
	return broker.Ask{
		Caller: alice, Surface: broker.SurfaceCommand, Key: key, Role: role, Deadline: w.Now().Add(time.Minute),
	}
}

// again is Alice asking for more of a Request.
func (w *world) again(key, request string) broker.AskAgain {
	return broker.AskAgain{Caller: alice, RequestID: request, Key: key, Deadline: w.Now().Add(time.Minute)}
}

// mustIssue is Issue where nothing may go wrong.
func (w *world) mustIssue(t *testing.T, ask broker.Ask) broker.Issued {
	t.Helper()
	issued, err := w.Issue(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

// request is a Request as it is stored.
func (w *world) request(t *testing.T, id string) broker.Request {
	t.Helper()
	r, err := w.store.Request(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// change rewrites a User.
func (w *world) change(t *testing.T, name policy.UserName, f func(*broker.User)) {
	t.Helper()
	u, err := w.store.User(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	f(&u)
	if _, err := w.store.PutUser(t.Context(), u); err != nil {
		t.Fatal(err)
	}
}

// apply makes a policy file the law.
func (w *world) apply(t *testing.T, file string) {
	t.Helper()
	if _, err := applied(t.Context(), w.admin(w.tap), parse(t, file), "a change"); err != nil {
		t.Fatal(err)
	}
}

func (w *world) admin(s *tap) *broker.Admin {
	return broker.NewAdmin(s, w.Now, rand.Reader, root)
}

// root is who administers from the command line.
var root = broker.Author{Name: "os:root"}

// applied plans a file and applies the plan, whatever it takes from people.
func applied(ctx context.Context, a *broker.Admin, file *policy.File, message string) (*broker.Plan, error) {
	plan, err := a.Plan(ctx, file, false)
	if err != nil {
		return nil, err
	}
	return plan, a.Apply(ctx, plan, broker.ApplyOptions{Message: message, AllowShrink: true})
}

// assumed lists the successful AssumeRole calls.
func (w *world) assumed() []sandbox.Call {
	return slices.DeleteFunc(w.aws.Calls(), func(c sandbox.Call) bool {
		return c.Action != "AssumeRole" || c.IssuedAccessKeyID == ""
	})
}

// events names the Events of a Request that still wait to be indexed.
func events(r broker.Request) []broker.EventName {
	var names []broker.EventName
	for _, e := range r.Trail.Events {
		names = append(names, e.Event)
	}
	return names
}

func parse(t *testing.T, text string) *policy.File {
	t.Helper()
	file, err := policy.Parse("rules.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// released says whether an answer holds anything that could be used.
func released(i broker.Issued) bool {
	return i.Credentials != (broker.Credentials{}) || !i.Console.IsZero()
}

// faultCode is the code of a Fault, "" for any other error.
func faultCode(err error) broker.FaultCode {
	var f *broker.Fault
	if errors.As(err, &f) {
		return f.Code
	}
	return ""
}

// rule is the rule of a Refusal, "" for any other error.
func rule(err error) policy.Rule {
	var r *broker.Refusal
	if errors.As(err, &r) {
		return r.Decision.Rule
	}
	return ""
}

// A buffer is a bytes.Buffer that may be shared.
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

// without is text less a part that must be in it.
func without(text, part string) string { return replace(text, part, "") }

// replace is text with a part that must be in it changed.
func replace(text, old, now string) string {
	before, after, ok := strings.Cut(text, old)
	if !ok {
		panic("the rules do not hold " + old)
	}
	return before + now + after
}
