package broker_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/store"
)

// crowd is how many do the same at the same moment: fewer under the race
// detector, without which scripts/test has them all.
func crowd() int {
	switch {
	case testing.Short():
		return 12
	case raceDetector:
		return 30
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

// later returns a Broker like b, whose clock is ahead, and which tells nobody
// anything.
func later(b *broker.Broker, ahead time.Duration) *broker.Broker {
	config := b.Config
	config.Now, config.Teller = func() time.Time { return b.Now().Add(ahead) }, silent{}
	return broker.New(config)
}

// silent tells nobody anything, and says that it did.
type silent struct{}

func (silent) Tell(context.Context, broker.Telling) (string, error) { return "thread", nil }

// A deed is what one of a crowd does to a Request, and what they are told.
type deed struct {
	what string
	who  policy.UserName
	do   func() (broker.Request, error)
	told broker.Request // as it is, says the answer
	err  error
}

// atOnce has all of a crowd do what they do at once.
func atOnce(deeds []*deed) {
	var ready, all sync.WaitGroup
	ready.Add(len(deeds))
	for _, d := range deeds {
		all.Go(func() {
			ready.Done()
			ready.Wait()
			d.told, d.err = d.do()
		})
	}
	all.Wait()
}

// honest fails unless what was told at a deed agrees with what became of the
// Request.
func (d *deed) honest(t *testing.T, after broker.Request) {
	t.Helper()
	var settled *broker.Settled
	said := d.told.State
	if errors.As(d.err, &settled) {
		said = settled.Request.State
	}
	given := slices.IndexFunc(after.Approvals, func(a broker.Approval) bool { return a.User == d.who })
	switch {
	case d.err != nil && settled == nil:
		t.Errorf("%s by %s: %v", d.what, d.who, d.err)
	case d.what == "sweep": // which nobody waits for
	case said.Over() && said != after.State:
		t.Errorf("%s by %s: told that it is %s, and it is %s", d.what, d.who, said, after.State)
	case settled != nil && given >= 0:
		t.Errorf("%s by %s: told that it came too late, and it counts", d.what, d.who)
	case settled != nil && !said.Over() && said != broker.StateApproved:
		t.Errorf("%s by %s: told that it came too late for what is %s", d.what, d.who, said)
	}
	if yes, needed := after.Answered(); said == broker.StateApproved && yes < needed {
		t.Errorf("%s by %s: told that it is approved, by %d of %d", d.what, d.who, yes, needed)
	}
	if d.err != nil {
		return
	}
	switch d.what {
	case "approval":
		if given < 0 || !after.Approvals[given].Yes || said != broker.StatePending && said != broker.StateApproved {
			t.Errorf("the approval by %s: told that it is %s, and it does not count", d.who, said)
		}
	case "denial":
		if given < 0 || after.Approvals[given].Yes || said != broker.StateDenied {
			t.Errorf("the denial by %s: told that it is %s, and it does not count", d.who, said)
		}
	case "withdrawal":
		if said != broker.StateWithdrawn {
			t.Errorf("the withdrawal: told that it is %s", said)
		}
	}
}

// A crowd that approves, denies and withdraws one Request while its time runs
// out makes one outcome of it, and everybody is told the truth. Two Brokers, each
// with a handle of its own on the store, as two processes have, serve it by turns.
func TestCrowdOfAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		role  policy.RoleName
		deeds []string // which are done by turns
		many  int      // deeds in all
	}{
		{"guarded", []string{"approval", "sweep"}, crowd()},
		{"guarded", []string{"approval", "denial", "withdrawal", "sweep"}, crowd()},
		{"doubly", []string{"approval", "denial"}, crowd()},
		{"doubly", []string{"sweep", "withdrawal", "denial", "approval"}, 4 * crowd()},
	} {
		t.Run(fmt.Sprintf("%s %s", tt.role, strings.Join(tt.deeds, " ")), func(t *testing.T) {
			t.Parallel()
			for name, open := range handles {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					w, r := pending(t, tt.role)
					var leads strings.Builder
					for i := range tt.many {
						if what := tt.deeds[i%len(tt.deeds)]; what != "approval" && what != "denial" {
							continue
						}
						fmt.Fprintf(&leads, "  lead%02d: {slack: T0AB/ULEAD%02d, groups: [leads]}\n", i, i)
					}
					w.apply(t, approvals+leads.String())
					swept(t, w.Broker)
					stores := open(t, w)
					w.advance(r.LapsesAt.Add(-time.Minute).Sub(w.Now()))
					s, brokers := stores[0], [2]*broker.Broker{w.at(stores[0]), w.at(stores[1])}
					lapsing := [2]*broker.Broker{later(brokers[0], 2*time.Minute), later(brokers[1], 2*time.Minute)} // for which its time is up
					var deeds []*deed
					for i := range tt.many {
						turn := i / len(tt.deeds) % 2 // each does all kinds of deeds
						b, sweeper := brokers[turn], lapsing[turn]
						d := &deed{what: tt.deeds[i%len(tt.deeds)], who: policy.UserName(fmt.Sprintf("lead%02d", i))}
						switch d.what {
						case "withdrawal":
							d.who = "bob"
							d.do = func() (broker.Request, error) {
								return b.Withdraw(t.Context(), bob, r.ID, w.Now().Add(time.Minute))
							}
						case "sweep":
							d.who = "starback"
							d.do = func() (broker.Request, error) {
								_, err := sweeper.Due(t.Context())
								return broker.Request{}, err
							}
						default:
							answer := w.answer(person(fmt.Sprintf("ULEAD%02d", i)), r, d.what == "approval")
							d.do = func() (broker.Request, error) { return b.Answer(t.Context(), answer) }
						}
						deeds = append(deeds, d)
					}
					atOnce(deeds)
					after, err := s.Request(t.Context(), r.ID)
					if err != nil {
						t.Fatal(err)
					}
					counted := map[string]int{}
					for _, d := range deeds {
						d.honest(t, after)
						if d.err == nil {
							counted[d.what]++
						}
					}
					yes, needed := after.Answered()
					if counted["approval"] != yes || counted["approval"]+counted["denial"] != len(after.Approvals) || yes > needed ||
						counted["denial"] > 1 || counted["withdrawal"] > 1 {
						t.Errorf("%v counted, of which %+v are stored", counted, after.Approvals)
					}
					if after.State == broker.StatePending || after.State == broker.StateApproved && yes != needed {
						t.Errorf("the request is %s, with %d of %d", after.State, yes, needed)
					}
					b := brokers[0]
					w.advance(time.Second) // Events of one moment and of several Brokers are in no order
					if issued, err := b.Reveal(t.Context(), w.reveal(r, "1")); released(issued) != (after.State == broker.StateApproved) {
						t.Errorf("what is %s was released: %v, %v", after.State, released(issued), err)
					}
					want := []string{"request.asked by unknown", "request.pending by bob"}
					for i, a := range after.Approvals {
						if !a.Yes && i < len(after.Approvals)-1 {
							t.Errorf("a no is not the last of %+v", after.Approvals)
						}
						want = append(want, fmt.Sprintf("%s by %s", map[bool]broker.EventName{true: broker.EventApproved, false: broker.EventDeclined}[a.Yes], a.User))
					}
					if after.State == broker.StateWithdrawn {
						want = append(want, "request.withdrawn by bob")
					}
					got, answered := w.trailOf(t, b, r.ID), len(want)
					switch after.State {
					case broker.StateApproved:
						want = append(want, "request.asked by bob", "session.issued by bob")
					case broker.StateLapsed:
						want = append(want, "request.lapsed by bob")
					}
					for _, trail := range [][]string{want, got} { // two Brokers, at one moment
						slices.Sort(trail[min(2, len(trail)):min(answered, len(trail))])
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("the trail of what is %s (-want +got):\n%s", after.State, diff)
					}
				})
			}
		})
	}
}

// trailOf is the whole trail of a Request: what, and by whom.
func (w *world) trailOf(t *testing.T, b *broker.Broker, id string) (trail []string) {
	t.Helper()
	for _, e := range w.eventsOf(t, b, id) {
		trail = append(trail, fmt.Sprintf("%s by %s", e.Event, e.Actor))
	}
	return trail
}

// eventsOf passes on what is left on a Request's trail, and reads it.
func (w *world) eventsOf(t *testing.T, b *broker.Broker, id string) []broker.Event {
	t.Helper()
	w.advance(5 * time.Minute) // whoever held an item has let it go
	swept(t, b)
	found, err := b.Archive.Events(t.Context(), broker.EventQuery{RequestID: id})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A crowd that reveals what was approved gets one set of credentials; and one
// more if that was not shown. Everybody else is told what has become of it, and
// the trail says the same.
func TestCrowdOfReveals(t *testing.T) {
	t.Parallel()
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, r := pending(t, "guarded")
			s := engine(t, w)
			b, other := w.at(s), w.at(s)
			w.advance(time.Second) // Events of one moment and of several Brokers are in no order
			if _, err := b.Answer(t.Context(), w.answer(lea, r, true)); err != nil {
				t.Fatal(err)
			}
			w.advance(time.Second)
			first := crowdOfReveals(t, w, r, b, other, 1)
			w.advance(time.Second)
			if err := b.Undelivered(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			w.advance(5 * time.Minute) // a burst's worth of the limits
			second := crowdOfReveals(t, w, r, b, other, 2)
			var got []string
			for _, e := range w.eventsOf(t, b, r.ID) {
				line := fmt.Sprintf("%s by %s", e.Event, e.Actor)
				for which, issued := range map[string]broker.Issued{"first": first, "second": second} {
					if e.SessionID == issued.Session.ID {
						line += " for the " + which
					}
					if e.AccessKeyID != "" && e.AccessKeyID == issued.Credentials.AccessKeyID {
						line += ", which is " + which
					}
				}
				got = append(got, line)
			}
			want := []string{
				"request.asked by unknown", "request.pending by bob", "approval.given by lea",
				"request.asked by bob for the first", "session.issued by bob for the first, which is first", "session.undelivered by bob for the first, which is first",
				"request.asked by bob for the second", "session.issued by bob for the second, which is second", "session.end_asked by bob for the first",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("trail (-want +got):\n%s", diff)
			}
		})
	}
}

// crowdOfReveals has a crowd reveal a Request, which then has so many Sessions.
// It returns the one set that was released.
func crowdOfReveals(t *testing.T, w *world, r broker.Request, b, other *broker.Broker, sessions int) (got broker.Issued) {
	t.Helper()
	var mu sync.Mutex
	var sets, rated int
	var deeds []*deed
	for i := range crowd() {
		worker := b
		if i%2 == 1 {
			worker = other
		}
		ask := w.reveal(r, fmt.Sprint(sessions, " click ", i/2))
		deeds = append(deeds, &deed{what: "reveal", who: "bob", do: func() (broker.Request, error) {
			issued, err := worker.Reveal(t.Context(), ask)
			mu.Lock()
			defer mu.Unlock()
			if released(issued) {
				sets++
				got = issued
			}
			return issued.Request, err
		}})
	}
	atOnce(deeds)
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
	if sets != 1 || issued != sessions || after.State != broker.StateOpen {
		t.Fatalf("%d sets were released, %d sessions issued, the request is %s", sets, issued, after.State)
	}
	last := after.Sessions[len(after.Sessions)-1]
	if last.ID != got.Session.ID || last.AccessKeyID != got.Credentials.AccessKeyID || !after.WindowEnd.Equal(got.Request.WindowEnd) {
		t.Errorf("session %s is stored, with the key %s; %s was released", last.ID, last.AccessKeyID, got.Session.ID)
	}
	for _, d := range deeds {
		var busy *broker.Busy
		switch {
		case d.err == nil, errors.As(d.err, new(*broker.AlreadyIssued)): // and so it is
		case errors.As(d.err, &busy):
			if !busy.Until.After(w.Now()) || busy.Until.After(w.Now().Add(broker.LeaseFor)) {
				t.Errorf("told to wait until %s, at %s", busy.Until, w.Now())
			}
		case rule(d.err) == broker.RuleRate:
			rated++
		default:
			t.Errorf("err = %v", d.err)
		}
	}
	if rated > 0 {
		t.Errorf("%d were told that they ask too often, at one press of a button each", rated)
	}
	return got
}

// Of those who reveal and those who withdraw what was approved, at once, one
// kind has its way: what was released is not withdrawn.
func TestCrowdOfRevealsAndWithdrawals(t *testing.T) {
	t.Parallel()
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rounds := 3
			if testing.Short() {
				rounds = 1
			}
			for range rounds {
				w, r := pending(t, "guarded")
				s := engine(t, w)
				b := w.at(s)
				if _, err := b.Answer(t.Context(), w.answer(lea, r, true)); err != nil {
					t.Fatal(err)
				}
				var mu sync.Mutex
				var sets int
				var deeds []*deed
				for i := range 20 {
					d := &deed{what: "withdrawal", who: "bob", do: func() (broker.Request, error) {
						return b.Withdraw(t.Context(), bob, r.ID, w.Now().Add(time.Minute))
					}}
					if ask := w.reveal(r, fmt.Sprint("click ", i)); i%2 == 0 {
						d.what, d.do = "reveal", func() (broker.Request, error) {
							issued, err := b.Reveal(t.Context(), ask)
							mu.Lock()
							defer mu.Unlock()
							if released(issued) {
								sets++
							}
							return issued.Request, err
						}
					}
					deeds = append(deeds, d)
				}
				atOnce(deeds)
				after, err := s.Request(t.Context(), r.ID)
				if err != nil {
					t.Fatal(err)
				}
				withdrawn := 0
				for _, d := range deeds {
					var settled *broker.Settled
					switch {
					case d.what == "withdrawal" && d.err == nil:
						withdrawn++
					case errors.As(d.err, &settled) && settled.Request.State != after.State:
						t.Errorf("%s: told that it is %s, and it is %s", d.what, settled.Request.State, after.State)
					case errors.As(d.err, new(*broker.AlreadyIssued)) && after.State != broker.StateOpen:
						t.Errorf("%s: told that it was issued, and it is %s", d.what, after.State)
					}
				}
				if sets+withdrawn != 1 || (sets == 1) != (after.State == broker.StateOpen) || (withdrawn == 1) != (after.State == broker.StateWithdrawn) {
					t.Errorf("%d sets were released, %d withdrawals counted, the request is %s", sets, withdrawn, after.State)
				}
			}
		})
	}
}
