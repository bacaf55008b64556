package broker_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/internal/dynamolocal"
	"github.com/starback/starback/store"
)

// Ten thousand deliveries of some thousand asks, in any order, repeated, late,
// by two workers, with some that die before they recorded what they made: each
// ask releases credentials once at most, and each that was released is
// recorded. On DynamoDB Local ten thousand take more than a minute where the
// machine has other work, so there are fewer.
func TestTenThousandDeliveries(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		deliveries int
		under      int // the race detector
		store      func(*testing.T, *world) store.Store
	}{
		{"SQLite", 10_000, 1_000, func(_ *testing.T, w *world) store.Store { return w.store }},
		{"DynamoDB", 2_000, 200, copyToDynamoDB},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			deliveries := tt.deliveries
			switch {
			case testing.Short():
				deliveries = 200
			case raceDetector:
				deliveries = tt.under // scripts/test runs them all, without the race detector
			}
			w := newWorld(t)
			storm(t, w, tt.store(t, w), deliveries)
		})
	}
}

// copyToDynamoDB returns a store in a table that holds what the world's does.
func copyToDynamoDB(t *testing.T, w *world) store.Store {
	t.Helper()
	cfg, table := dynamolocal.Config(t), dynamolocal.TableName()
	if _, err := store.CreateTable(t.Context(), cfg, table, store.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	s, err := store.OpenDynamoDB(cfg, table, store.DynamoDBOptions{Now: w.Now, Entropy: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Copy(t.Context(), w.store, s, store.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	return s
}

// A mortal is a worker's store. The worker dies when it writes a Request for
// the last time.
type mortal struct {
	store.Store
	writes int // until it dies; 0: it lives
}

// death is what a dying worker panics with.
type death struct{}

// PutRequest implements broker.Ledger.
func (m *mortal) PutRequest(ctx context.Context, r broker.Request) (broker.Request, error) {
	if m.writes > 0 {
		if m.writes--; m.writes == 0 {
			panic(death{})
		}
	}
	return m.Store.PutRequest(ctx, r)
}

// storm makes the deliveries.
func storm(t *testing.T, w *world, db store.Store, deliveries int) {
	stores := [2]*mortal{{Store: db}, {Store: db}}
	var workers [2]*broker.Broker
	for i, s := range stores {
		workers[i] = broker.New(broker.Config{
			Ledger: s, Identities: s, Users: s, Policies: s, Proposals: s, Tokens: s, Requests: s, Fences: s, Archive: s, Outbox: s,
			Minter: w.minter, Directory: w.directory, Teller: w.teller,
			Journal: broker.NewJournal(w.journal), Now: w.Now, Entropy: rand.Reader,
		})
	}
	random := mathrand.New(mathrand.NewPCG(1, 2))
	released, deaths := map[string]int{}, 0
	refused := map[policy.Rule]int{}
	seen := map[string]broker.Ask{}
	for i := range deliveries {
		key := fmt.Sprint(i/8 + random.IntN(12))
		ask, again := seen[key]
		if !again {
			ask = w.ask(key, "plain") // its deadline counts from here
			seen[key] = ask
		}
		worker := workers[i%2]
		switch random.IntN(20) {
		case 0: // a worker that dies once AWS has answered
			stores[i%2].writes = 2
		case 1:
			w.advance(broker.LeaseFor + time.Second)
		default:
			w.advance(time.Duration(random.IntN(10_000)) * time.Millisecond)
		}
		issued, err := deliver(t.Context(), worker, ask)
		stores[i%2].writes = 0
		var refusal *broker.Refusal
		var already *broker.AlreadyIssued
		switch {
		case err == nil:
			released[key]++
			r, err := db.Request(t.Context(), issued.Request.ID)
			if err != nil {
				t.Fatal(err)
			}
			if s := r.Sessions; s[len(s)-1].AccessKeyID != issued.Credentials.AccessKeyID {
				t.Fatalf("delivery %d: what was released is not what is recorded", i)
			}
		case errors.Is(err, errDied):
			deaths++
		case errors.As(err, &refusal):
			refused[refusal.Decision.Rule]++
		case errors.As(err, &already), errors.Is(err, broker.ErrConflict), errors.Is(err, broker.ErrUnavailable):
		default:
			t.Fatalf("delivery %d: %v", i, err)
		}
	}
	for key, n := range released {
		if n != 1 {
			t.Errorf("the ask %s released %d sets of credentials", key, n)
		}
	}
	if len(released) < deliveries/20 || deaths == 0 && deliveries >= 1_000 {
		t.Errorf("only %d asks released anything, and %d workers died: %v", len(released), deaths, refused)
	}
}

// errDied says that a worker did not live to see its answer.
var errDied = errors.New("the worker died")

// deliver has a worker carry out an ask.
func deliver(ctx context.Context, worker *broker.Broker, ask broker.Ask) (issued broker.Issued, err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case death{}:
			issued, err = broker.Issued{}, errDied
		default:
			panic(p)
		}
	}()
	return worker.Issue(ctx, ask)
}
