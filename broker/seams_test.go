package broker_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/store"
)

// errDown is what a store says that cannot be reached.
var errDown = broker.ErrUnavailable

// A tap is a store whose calls can be watched, and made to fail before they
// are done or after: then the store has changed, and nobody is told.
type tap struct {
	*store.SQLite

	mu            sync.Mutex
	calls         []string
	before, after func(call string, n int) error // n counts the calls of that name, from 1
}

// through does one call.
func through[T any](t *tap, call string, do func() (T, error)) (T, error) {
	t.mu.Lock()
	t.calls = append(t.calls, call)
	n := 0
	for _, c := range t.calls {
		if c == call {
			n++
		}
	}
	before, after := t.before, t.after
	t.mu.Unlock()
	var none T
	if before != nil {
		if err := before(call, n); err != nil {
			return none, err
		}
	}
	got, err := do()
	if after != nil {
		if err := after(call, n); err != nil {
			return none, err
		}
	}
	return got, err
}

// only is through for a call that has no answer.
func only(t *tap, call string, do func() error) error {
	_, err := through(t, call, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

// watch forgets the calls made so far and changes what is made to fail.
func (t *tap) watch(before, after func(call string, n int) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls, t.before, t.after = nil, before, after
}

// made lists the calls made, by name.
func (t *tap) made() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(slices.Values(t.calls))
}

// nth fails the nth call of a name; 0 fails every one.
func nth(name string, at int) func(string, int) error {
	return func(call string, n int) error {
		if call == name && (n == at || at == 0) {
			return errDown
		}
		return nil
	}
}

func (t *tap) Identify(ctx context.Context, id broker.SlackID) (broker.Facts, error) {
	return through(t, "Identify", func() (broker.Facts, error) { return t.SQLite.Identify(ctx, id) })
}

func (t *tap) PutRequest(ctx context.Context, r broker.Request) (broker.Request, error) {
	return through(t, "PutRequest", func() (broker.Request, error) { return t.SQLite.PutRequest(ctx, r) })
}

func (t *tap) Request(ctx context.Context, id string) (broker.Request, error) {
	return through(t, "Request", func() (broker.Request, error) { return t.SQLite.Request(ctx, id) })
}

func (t *tap) User(ctx context.Context, name policy.UserName) (broker.User, error) {
	return through(t, "User", func() (broker.User, error) { return t.SQLite.User(ctx, name) })
}

func (t *tap) PutUser(ctx context.Context, u broker.User) (broker.User, error) {
	return through(t, "PutUser", func() (broker.User, error) { return t.SQLite.PutUser(ctx, u) })
}

func (t *tap) Identity(ctx context.Context, id broker.SlackID) (broker.Identity, error) {
	return through(t, "Identity", func() (broker.Identity, error) { return t.SQLite.Identity(ctx, id) })
}

func (t *tap) PutIdentity(ctx context.Context, i broker.Identity) (broker.Identity, error) {
	return through(t, "PutIdentity", func() (broker.Identity, error) { return t.SQLite.PutIdentity(ctx, i) })
}

func (t *tap) UsersByEmail(ctx context.Context, email string) ([]broker.User, error) {
	return through(t, "UsersByEmail", func() ([]broker.User, error) { return t.SQLite.UsersByEmail(ctx, email) })
}

func (t *tap) PutPolicy(ctx context.Context, h broker.Head, doc *policy.Document) error {
	return only(t, "PutPolicy", func() error { return t.SQLite.PutPolicy(ctx, h, doc) })
}

func (t *tap) PutPace(ctx context.Context, p broker.Pace) (broker.Pace, error) {
	return through(t, "PutPace", func() (broker.Pace, error) { return t.SQLite.PutPace(ctx, p) })
}

func (t *tap) Append(ctx context.Context, events []broker.Event) error {
	return only(t, "Append", func() error { return t.SQLite.Append(ctx, events) })
}

func (t *tap) Settle(ctx context.Context, ref broker.Ref, s broker.Settlement) error {
	return only(t, "Settle", func() error { return t.SQLite.Settle(ctx, ref, s) })
}

// A minter is a Minter whose calls can be watched. Its hooks run before.
type minter struct {
	broker.Minter
	onAssume func(context.Context, broker.Assumption)
	onSignIn func(context.Context)
}

func (m *minter) AssumeRole(ctx context.Context, a broker.Assumption) (broker.Credentials, error) {
	if m.onAssume != nil {
		m.onAssume(ctx, a)
	}
	return m.Minter.AssumeRole(ctx, a)
}

func (m *minter) SignIn(ctx context.Context, c broker.Credentials, role *policy.Role) (broker.Secret, error) {
	if m.onSignIn != nil {
		m.onSignIn(ctx)
	}
	return m.Minter.SignIn(ctx, c, role)
}

// A directory knows everybody by the same profile.
type directory struct {
	mu      sync.Mutex
	profile broker.Profile
	err     error
	asked   []broker.SlackID
	hook    func() // runs before the answer
}

func (d *directory) Profile(_ context.Context, id broker.SlackID) (broker.Profile, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, id)
	if d.hook != nil {
		d.hook()
	}
	return d.profile, d.err
}

// A teller remembers what it was told to tell. Its answer is "thread", unless
// there is another.
type teller struct {
	mu     sync.Mutex // of told, while it is told
	told   []broker.Telling
	answer func(broker.Telling) (string, error)
}

func (t *teller) Tell(_ context.Context, telling broker.Telling) (string, error) {
	t.mu.Lock()
	t.told = append(t.told, telling)
	t.mu.Unlock()
	if t.answer != nil {
		return t.answer(telling)
	}
	return "thread", nil
}

// notices lists what was told, one line a Notice: its Kind and its Event.
func (t *teller) notices() []string {
	var lines []string
	for _, telling := range t.told {
		for _, n := range telling.Notices {
			lines = append(lines, string(telling.Kind)+" "+string(n.Event.Event))
		}
	}
	return lines
}

// meeting returns a function that returns once two goroutines are in it: what
// runs one after the other never comes out of it, and fails the test.
func meeting(t *testing.T) func() {
	var both sync.WaitGroup
	both.Add(2)
	return func() {
		both.Done()
		met := make(chan struct{})
		go func() { both.Wait(); close(met) }()
		select {
		case <-met:
		case <-time.After(5 * time.Second):
			t.Error("two steps that should run side by side run one after the other")
		}
	}
}
