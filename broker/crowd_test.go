package broker_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/store"
)

// crowd is how many do the same at the same moment.
func crowd() int {
	if testing.Short() {
		return 12
	}
	return 100
}

// at returns a Broker of the world that works on a store.
func (w *world) at(s store.Store) *broker.Broker {
	return broker.New(broker.Config{
		Ledger: s, Identities: s, Users: s, Policies: s, Proposals: s, Tokens: s, Requests: s, Fences: s, Paces: s, Archive: s, Outbox: s,
		Minter: w.minter, Directory: w.directory, Teller: w.teller,
		Journal: broker.NewJournal(w.journal), Now: w.Now, Entropy: rand.Reader,
	})
}

// A crowd that approves, denies and withdraws one Request while its time runs
// out makes one outcome of it, and everybody is told the truth.
func TestCrowdOfAnswers(t *testing.T) {
	t.Parallel()
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, r := pending(t, "guarded")
			s := engine(t, w)
			b := w.at(s)
			w.advance(2*time.Hour - time.Minute) // lapses while they answer
			var ok, settled atomic.Int32
			outcomes := sync.Map{}
			var all sync.WaitGroup
			for i := range crowd() {
				all.Go(func() {
					var got broker.Request
					var err error
					switch i % 4 {
					case 0:
						got, err = b.Answer(t.Context(), w.answer(lea, r, true))
					case 1:
						got, err = b.Answer(t.Context(), w.answer(ida, r, false))
					case 2:
						got, err = b.Withdraw(t.Context(), bob, r.ID, w.Now().Add(time.Minute))
					default:
						if i > crowd()/2 {
							w.advance(time.Minute)
						}
						_, err = b.Due(t.Context())
					}
					var done *broker.Settled
					switch {
					case err == nil && i%4 != 3:
						ok.Add(1)
						outcomes.Store(got.State, true)
					case errors.As(err, &done):
						settled.Add(1)
						outcomes.Store(done.Request.State, true)
					}
				})
			}
			all.Wait()
			after, err := s.Request(t.Context(), r.ID)
			if err != nil {
				t.Fatal(err)
			}
			if ok.Load() > 2 || ok.Load() == 2 && after.State != broker.StateWithdrawn && after.State != broker.StateLapsed {
				t.Errorf("%d answers counted, and the request is %s", ok.Load(), after.State)
			}
			yes, no := 0, 0
			for _, a := range after.Approvals {
				if a.Yes {
					yes++
				} else {
					no++
				}
			}
			if yes > 1 || no > 1 || (after.State == broker.StateDenied) != (no == 1) || after.State == broker.StatePending {
				t.Errorf("request %s with %d yes and %d no", after.State, yes, no)
			}
			// The trail has the one way that led there.
			if _, err := b.Due(t.Context()); err != nil {
				t.Fatal(err)
			}
			found, err := s.Events(t.Context(), broker.EventQuery{RequestID: r.ID})
			if err != nil {
				t.Fatal(err)
			}
			ends := map[broker.EventName]int{}
			for _, e := range found {
				switch e.Event {
				case broker.EventApproved, broker.EventDeclined, broker.EventWithdrawn, broker.EventLapsed:
					ends[e.Event]++
				}
			}
			total := 0
			for e, n := range ends {
				if n > 1 {
					t.Errorf("%s is on the trail %d times", e, n)
				}
				total += n
			}
			if total == 0 || total > 2 {
				t.Errorf("the trail says %v", ends)
			}
		})
	}
}

// A crowd that reveals what was approved gets one set of credentials; and one
// more if that was not shown.
func TestCrowdOfReveals(t *testing.T) {
	t.Parallel()
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, r := pending(t, "guarded")
			s := engine(t, w)
			b, other := w.at(s), w.at(s)
			if _, err := b.Answer(t.Context(), w.answer(lea, r, true)); err != nil {
				t.Fatal(err)
			}
			crowdOfReveals(t, w, r, b, other, 1)
			after, err := s.Request(t.Context(), r.ID)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Undelivered(t.Context(), broker.Issued{Request: after, Session: after.Sessions[len(after.Sessions)-1]}); err != nil {
				t.Fatal(err)
			}
			w.advance(5 * time.Minute) // a burst's worth of the limits
			crowdOfReveals(t, w, r, b, other, 2)
		})
	}
}

// crowdOfReveals has a crowd reveal a Request, which then has so many Sessions.
func crowdOfReveals(t *testing.T, w *world, r broker.Request, b, other *broker.Broker, sessions int) {
	t.Helper()
	var sets atomic.Int32
	var all sync.WaitGroup
	for i := range crowd() {
		all.Go(func() {
			worker := b
			if i%2 == 1 {
				worker = other
			}
			issued, err := worker.Reveal(t.Context(), w.reveal(r, fmt.Sprint(sessions, " click ", i/2)))
			if released(issued) {
				sets.Add(1)
			}
			if err != nil && !errors.Is(err, broker.ErrConflict) && rule(err) != broker.RuleRate {
				t.Errorf("err = %v", err)
			}
		})
	}
	all.Wait()
	after, err := b.Ledger.Request(t.Context(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	issued := 0
	for _, session := range after.Sessions {
		if session.State == broker.SessionIssued {
			issued++
		}
	}
	if sets.Load() != 1 || issued != sessions || after.State != broker.StateOpen {
		t.Errorf("%d sets were released, %d sessions issued, the request is %s", sets.Load(), issued, after.State)
	}
}
