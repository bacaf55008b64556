// Package storetest is one conformance suite for every store: what package
// broker's interfaces promise, one subtest a promise. It uses nothing but those
// interfaces, fixes the clock, and runs its subtests side by side.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// MaxJobs is how many Jobs the stores under test must accept. Beyond that they
// may accept only Jobs that come at the same moment.
const MaxJobs = 20

// writers is how many writers compete where many do.
const writers = 32

// clock is the time at which the tests begin.
var clock = time.Date(2026, time.November, 5, 9, 30, 0, int(250*time.Millisecond), time.UTC)

// A Store is everything that Starback keeps.
type Store interface {
	broker.Ledger
	broker.Registry
	broker.IdentityBook
	broker.RequestBook
	broker.FenceBook
	broker.PaceBook
	broker.TokenBook
	broker.ProposalBook
	broker.PolicyBook
	broker.Archive
	broker.Outbox
	Queue
}

// A Queue is both ends of the queue of Jobs.
type Queue interface {
	broker.Queue
	// Claim takes the oldest Job that may be seen at now and hides it until
	// now+lease; ok is false if there is none. What other processes did a
	// moment ago may not be seen yet.
	Claim(ctx context.Context, now time.Time, lease time.Duration) (job broker.Job, ok bool, err error)
	// Retry lets a Job be claimed again at the given time.
	Retry(ctx context.Context, id string, at time.Time) error
	// Done removes a Job, if it is there.
	Done(ctx context.Context, id string) error
	// Waiting returns how many Jobs there are, claimed ones included. It may
	// lag behind the newest writes.
	Waiting(ctx context.Context) (int, error)
}

// Run runs the suite. Each subtest calls open once, for an empty store whose
// queue is limited to MaxJobs. What open acquires, it gives back with
// t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) Store) {
	for _, group := range []struct {
		name string
		run  func(*testing.T, func(*testing.T) Store)
	}{
		{"requests", testRequests},
		{"users", testUsers},
		{"identities", testIdentities},
		{"open requests", testOpenRequests},
		{"proposals", testProposals},
		{"fences", testFences},
		{"paces", testPaces},
		{"every item", testItems},
		{"nothing is lost", testWhole},
		{"email", testEmail},
		{"identify", testIdentify},
		{"tokens", testTokens},
		{"policy", testPolicy},
		{"archive", testArchive},
		{"outbox", testOutbox},
		{"due", testDue},
		{"queue", testQueue},
		{"cancelled", testCancelled},
	} {
		t.Run(group.name, func(t *testing.T) { group.run(t, open) })
	}
}

// cases runs each promise as a subtest, with an empty store.
func cases(t *testing.T, open func(*testing.T) Store, promises []promise) {
	for _, p := range promises {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.holds(t, open(t))
		})
	}
}

// A promise is one thing that a store promises, and the test of it.
type promise struct {
	name  string
	holds func(*testing.T, Store)
}

// together calls f n times at once, with 0 to n-1, and waits for all.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}

// must fails the test unless err is nil, and returns v.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// wantErr fails the test unless err wraps want.
func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error: %v, want one that is: %v", err, want)
	}
}

// wantNoErr fails the test unless err is nil.
func wantNoErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantSame fails the test unless got is want.
func wantSame(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.Comparer(bytes.Equal)); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
}

// patience is how long a read that may lag behind the newest writes is repeated
// before it counts as wrong.
const patience = 5 * time.Second

// wantSoon fails the test unless look returns want, sooner or later.
func wantSoon[T any](t *testing.T, want T, look func(context.Context) (T, error)) {
	t.Helper()
	waiting, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		got := must(look(t.Context()))(t)
		diff := cmp.Diff(want, got)
		if diff == "" {
			return
		}
		select {
		case <-waiting.Done():
			t.Fatalf("(-want +got)\n%s", diff)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// alice is a User with something in every kind of field.
func alice() broker.User {
	return broker.User{
		Name: "alice", ID: "01JBXQ5A3M8V6T4E2R0Z9YAAAA", Enabled: true,
		Expires: clock.Add(90 * 24 * time.Hour), Groups: []policy.GroupName{"sre", "dev"},
		Grants: []policy.Grant{{Role: "prod-admin", Expires: clock.Add(time.Hour)}, {Role: "prod-readonly"}},
		Email:  "alice@example.com", Slack: aliceID, CreatedAt: clock,
		Trail: broker.Trail{Thread: "1762335000.000100"},
	}
}

// aliceID is alice in Slack.
var aliceID = broker.SlackID{Team: "T012AB", User: "U0456"}

// aliceIdentity binds aliceID to alice.
func aliceIdentity() broker.Identity {
	return broker.Identity{
		Slack: aliceID, User: "alice", UserID: alice().ID, Standing: broker.Active,
		SeenAt: clock, BoundAt: clock, BoundBy: "email",
	}
}

// aRequest is a Request of alice with something in every kind of field.
func aRequest(id string) broker.Request {
	return broker.Request{
		ID: id, Hash: "6f0c", Surface: broker.SurfaceCommand, Slack: aliceID,
		User: "alice", UserID: alice().ID, Role: "prod-readonly", Duration: time.Hour,
		Words: "INC-4711 checking <queue> depth & \"more\"", Ticket: "INC-4711",
		Reason: "Überprüfung 検査 🔑 \u202e\u0007", State: "open",
		AskedAt: clock, OpenedAt: clock.Add(time.Second), WindowEnd: clock.Add(time.Hour),
		AccountID: "111122223333", PolicyVersion: 7,
		Sessions: []broker.Session{{ID: "01JBXQ5A3M8V6T4E2R0Z9YSSSS", Key: "k", BeganAt: clock, Lease: clock.Add(time.Minute)}},
		Trail:    broker.Trail{Events: []broker.Event{anEvent("e1")}, Notices: []broker.Notice{aNotice("n1", clock)}, Thread: "1.5", Post: "1.6", Direct: "D1/1.7"},
	}
}

// anEvent is an Event about alice.
func anEvent(id string) broker.Event {
	return broker.Event{ID: id, Event: broker.EventAsked, Time: clock, Actor: "alice", Reason: "because"}
}

// aNotice is a Notice that is due at the given time.
func aNotice(id string, due time.Time) broker.Notice {
	event := anEvent(id)
	return broker.Notice{ID: id, Kind: broker.NoticeAudit, Due: due, Event: &event}
}

// aDocument is a Policy that differs with its word.
func aDocument(word string) *policy.Document {
	return &policy.Document{
		Accounts: map[policy.AccountName]policy.Account{"prod": {Name: "prod", ID: "111122223333", Partition: "aws"}},
		Groups:   map[policy.GroupName]policy.Group{"sre": {Name: "sre", Grants: []policy.Grant{{Role: "prod-readonly"}}}},
		Roles: map[policy.RoleName]*policy.Role{"prod-readonly": {
			Name: "prod-readonly", Description: word, Account: "prod", AccountID: "111122223333", Partition: "aws",
			ARN: "arn:aws:iam::111122223333:role/starback/ReadOnly", MaxDuration: 8 * time.Hour, DefaultDuration: time.Hour,
		}},
		Admins:   []policy.GroupName{"sre"},
		Settings: policy.Settings{UserLifetime: 365 * 24 * time.Hour},
	}
}

// apply makes doc version of the Policy.
func apply(s Store, version int64, doc *policy.Document) error {
	return s.PutPolicy(context.Background(), aHead(version, doc), doc)
}

// aHead is what apply writes beside doc.
func aHead(version int64, doc *policy.Document) broker.Head {
	return broker.Head{Version: version, Digest: doc.Digest(), Author: "ops", Message: "first", AppliedAt: clock}
}

// large is a text of n bytes.
func large(n int) string { return strings.Repeat("0123456789abcdef", n/16+1)[:n] }
