package broker_test

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/internal/dynamolocal"
	"github.com/starback/starback/store"
)

var stormSeed = flag.Uint64("storm", 0, "the seed of TestTenThousandDeliveries; 0: another each time")

const (
	stormWorkers = 4  // at once
	stormPeople  = 40 // who ask
)

// Ten thousand deliveries of some thousand asks, repeated, late, in any order
// and by several workers at once: two Brokers, each with a handle of its own on
// the store. Some workers die, before or after they wrote what they made, some
// dawdle until their lease is over, and to some the store is closed. Each ask
// releases credentials once at most, and every AssumeRole is accounted for.
//
// The seed, which a failure tells, decides what is delivered to whom, and what
// becomes of the worker. How the workers get in each other's way is the
// machine's.
func TestTenThousandDeliveries(t *testing.T) {
	t.Parallel()
	// How many there are under the race detector: scripts/test runs them all
	// without it.
	under := map[string]int{"SQLite": 1_000, "DynamoDB": 500}
	for name, open := range handles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			deliveries := 10_000
			switch {
			case testing.Short():
				deliveries = 200
			case raceDetector:
				deliveries = under[name]
			}
			seed := *stormSeed
			if seed == 0 {
				seed = mathrand.Uint64()
			}
			t.Logf("again with -storm %d", seed)
			w := newWorld(t)
			w.apply(t, rules+people(stormPeople))
			s := &storm{world: w, released: map[string][]string{}, refused: map[policy.Rule]int{}, asks: map[string]broker.Ask{}}
			stores := open(t, w)
			s.blow(t, stores, fates(seed, deliveries))
			s.account(t, stores[0])
			if len(s.released) < deliveries/20 || deliveries >= 10_000 && (s.died == 0 || s.withheld == 0) {
				t.Errorf("that was no storm: %d asks released anything, %d workers died with what they made, %d threw it away; %d came to nothing before, and %v were refused",
					len(s.released), s.died, s.withheld, s.nothing, s.refused)
			}
		})
	}
}

// people are more users of the rules, who may all ask for the role plain.
func people(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "  storm%02d: {slack: T0AB/USTORM%02d, groups: [dev]}\n", i, i)
	}
	return text.String()
}

// A fate is what becomes of the worker that has a delivery.
type fate int

const (
	lives       fate = iota
	diesAsked        // once it has written that it begins
	diesMinted       // once AWS has answered, before that is written
	diesWritten      // once that is written, before anything is released
	dawdles          // until its lease is over, once AWS has answered
	unheard          // by the store, which takes nothing of it
)

// A delivery is of one ask, to one worker.
type delivery struct {
	key    string
	person int
	fate   fate
	after  time.Duration // what the clock moves before
}

// fates are so many deliveries. Those of one ask lie near each other.
func fates(seed uint64, n int) []delivery {
	random := mathrand.New(mathrand.NewPCG(seed, seed))
	all := make([]delivery, n)
	for i := range all {
		key := i/8 + random.IntN(12)
		d := delivery{key: fmt.Sprint(key), person: key % stormPeople, after: time.Duration(random.IntN(500)) * time.Millisecond}
		switch chance := random.IntN(100); {
		case chance < 5:
			d.fate = diesAsked
		case chance < 15:
			d.fate = diesMinted
		case chance < 20:
			d.fate = diesWritten
		case chance < 25:
			d.fate = dawdles
		case chance < 26:
			d.after = broker.LeaseFor + time.Second
		case chance < 28:
			d.fate = unheard
		}
		all[i] = d
	}
	return all
}

// A life is one worker's, with one delivery.
type life struct {
	fate   fate
	minted bool // AWS has answered
}

type lifeKey struct{}

func lifeOf(ctx context.Context) *life { return ctx.Value(lifeKey{}).(*life) }

// death is what a dying worker panics with.
type death struct{}

// A mortal is the store of workers who may die.
type mortal struct{ store.Store }

// PutRequest implements broker.Ledger.
func (m mortal) PutRequest(ctx context.Context, r broker.Request) (broker.Request, error) {
	l := lifeOf(ctx)
	switch {
	case l.fate == diesMinted && l.minted:
		panic(death{})
	case l.fate == unheard:
		return broker.Request{}, errDown
	}
	stored, err := m.Store.PutRequest(ctx, r)
	if err == nil && (l.fate == diesAsked || l.fate == diesWritten && l.minted) {
		panic(death{})
	}
	return stored, err
}

// A stormMinter notes that AWS has answered.
type stormMinter struct {
	broker.Minter
	clock *clock
}

func (m stormMinter) AssumeRole(ctx context.Context, a broker.Assumption) (broker.Credentials, error) {
	c, err := m.Minter.AssumeRole(ctx, a)
	if l := lifeOf(ctx); err == nil {
		l.minted = true
		if l.fate == dawdles {
			m.clock.advance(broker.LeaseFor + time.Second)
		}
	}
	return c, err
}

// A storm is what became of the deliveries.
type storm struct {
	*world

	mu       sync.Mutex
	asks     map[string]broker.Ask
	released map[string][]string // access key ids, by the ask's key
	died     int                 // with what AWS had answered
	written  int                 // of those, after they wrote it
	withheld int                 // what AWS had answered
	nothing  int                 // was asked of AWS: too late, or not written
	refused  map[policy.Rule]int
}

// blow makes the deliveries, a share of them to each worker.
func (s *storm) blow(t *testing.T, stores [2]store.Store, all []delivery) {
	var brokers [2]*broker.Broker
	for i := range brokers {
		m := mortal{stores[i]}
		brokers[i] = broker.New(broker.Config{
			Ledger: m, Identities: m, Users: m, Policies: m, Proposals: m, Tokens: m, Requests: m, Fences: m, Paces: m, Archive: m, Outbox: m,
			Minter: stormMinter{s.minter, s.clock}, Directory: s.directory, Teller: s.teller,
			Journal: broker.NewJournal(io.Discard), Now: s.Now, Entropy: rand.Reader,
		})
	}
	var workers sync.WaitGroup
	for n := range stormWorkers {
		workers.Go(func() {
			for i := n; i < len(all) && !t.Failed(); i += stormWorkers {
				s.advance(all[i].after)
				l := &life{fate: all[i].fate}
				issued, err := deliver(context.WithValue(t.Context(), lifeKey{}, l), brokers[n%2], s.askOf(all[i]))
				if err := s.note(all[i].key, l, issued, err); err != nil {
					t.Errorf("delivery %d: %v", i, err)
				}
			}
		})
	}
	workers.Wait()
}

// askOf is the ask of a delivery. Its deadline counts from the first.
func (s *storm) askOf(d delivery) broker.Ask {
	s.mu.Lock()
	defer s.mu.Unlock()
	ask, again := s.asks[d.key]
	if !again {
		ask = s.ask(d.key, "plain")
		ask.Caller.User = fmt.Sprintf("USTORM%02d", d.person)
		s.asks[d.key] = ask
	}
	return ask
}

// note counts what came of a delivery, and returns an error that should not
// come of any.
func (s *storm) note(key string, l *life, issued broker.Issued, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	code := faultCode(err)
	switch {
	case err == nil && l.fate != lives:
		return fmt.Errorf("credentials from a worker with the fate %d", l.fate)
	case err == nil:
		s.released[key] = append(s.released[key], issued.Credentials.AccessKeyID)
	case released(issued):
		return fmt.Errorf("credentials beside %w", err)
	case errors.Is(err, errDied):
		if l.minted {
			s.died++
		}
		if l.minted && l.fate == diesWritten {
			s.written++
		}
	case l.minted:
		s.withheld++
		if code != broker.FaultRecord && code != broker.FaultLost {
			return err
		}
	case code == broker.FaultExpiredRequest, code == broker.FaultTimeout, code == broker.FaultStore:
		s.nothing++
	case rule(err) != "":
		s.refused[rule(err)]++
	case !errors.Is(err, broker.ErrConflict): // by another worker, or at an earlier time
		return err
	}
	return nil
}

// account holds what the workers saw against what AWS and the store say.
func (s *storm) account(t *testing.T, db store.Store) {
	t.Helper()
	sessions, issued := map[string]bool{}, map[string]string{} // by ID; access keys, with the ask's key
	for key, ask := range s.asks {
		r, err := db.Request(t.Context(), ask.RequestID())
		if errors.Is(err, broker.ErrNotFound) {
			continue // nobody lived to write it
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, session := range r.Sessions {
			sessions[session.ID] = true
			if session.State == broker.SessionIssued {
				issued[session.AccessKeyID] = key
			}
		}
	}
	releases := 0
	for key, ids := range s.released {
		releases += len(ids)
		if len(ids) != 1 || issued[ids[0]] != key {
			t.Errorf("the ask %s released %q, which is not what is recorded, or not once", key, ids)
		}
	}
	minted := map[string]bool{}
	for _, call := range s.assumed() {
		_, id, _ := strings.Cut(call.SessionName, "@")
		minted[id] = true // the SDK may ask twice for the same
		if !sessions[id] {
			t.Errorf("AWS was asked for the session %s, which nobody is recorded to have asked for", id)
		}
	}
	if len(minted) != releases+s.died+s.withheld {
		t.Errorf("AWS issued %d sessions: %d were released, %d workers died with theirs, %d were thrown away", len(minted), releases, s.died, s.withheld)
	}
	if len(issued) != releases+s.written {
		t.Errorf("%d sessions are recorded as issued: %d were released, and %d workers died having written that", len(issued), releases, s.written)
	}
	t.Logf("%d sessions issued: %d released, %d died, %d withheld; %d came to nothing before, %v were refused", len(minted), releases, s.died, s.withheld, s.nothing, s.refused)
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

// copyToDynamoDB returns a store in a table that holds what the world's does.
func copyToDynamoDB(t *testing.T, w *world) store.Store {
	t.Helper()
	return dynamoTable(t, w)()
}

// dynamoTable makes that table, and returns what opens it as another process
// would.
func dynamoTable(t *testing.T, w *world) (open func() store.Store) {
	t.Helper()
	cfg, table := dynamolocal.Config(t), dynamolocal.TableName()
	if _, err := store.CreateTable(t.Context(), cfg, table, store.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	open = func() store.Store {
		s, err := store.OpenDynamoDB(cfg, table, store.DynamoDBOptions{Now: w.Now, Entropy: rand.Reader})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if _, err := store.Copy(t.Context(), w.store, open(), store.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	return open
}
