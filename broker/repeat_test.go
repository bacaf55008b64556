package broker_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
)

// Invariant 2: one key, one released set.
func TestOneKeyReleasesOneSetOfCredentials(t *testing.T) {
	w := newWorld(t)
	brokers := []*broker.Broker{w.Broker, w.on(&tap{SQLite: w.open(t)})}
	ask := w.ask("1", "readonly")
	var sets atomic.Int32
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			got, err := brokers[i%2].Issue(t.Context(), ask)
			var busy *broker.Busy
			var already *broker.AlreadyIssued
			switch {
			case err == nil && released(got):
				sets.Add(1)
			case released(got):
				t.Errorf("credentials beside %v", err)
			case errors.As(err, &busy), errors.As(err, &already):
			default:
				t.Errorf("err = %v", err)
			}
		})
	}
	all.Wait()
	if n := sets.Load(); n != 1 || len(w.assumed()) != 1 {
		t.Errorf("%d sets released and %d sessions at AWS, want one", n, len(w.assumed()))
	}
	if r := w.request(t, ask.RequestID()); len(r.Sessions) != 1 || r.Sessions[0].State != broker.SessionIssued {
		t.Errorf("sessions %+v", r.Sessions)
	}
}

// What came to an end, well or badly, is not begun again under the same key.
func TestRedelivery(t *testing.T) {
	tests := []struct {
		name  string
		ask   func(*world) broker.Ask
		first func(error) bool
	}{
		{"of what was issued", func(w *world) broker.Ask { return w.ask("1", "readonly") }, func(err error) bool { return err == nil }},
		{"of what was refused", func(w *world) broker.Ask { return w.ask("1", "guarded") }, func(err error) bool { return errors.Is(err, broker.ErrDenied) }},
		{"of what failed", func(w *world) broker.Ask {
			ask := w.ask("1", "readonly")
			ask.Deadline = w.Now()
			return ask
		}, func(err error) bool { return errors.Is(err, broker.ErrUnavailable) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			ask := tt.ask(w)
			if _, err := w.Issue(t.Context(), ask); !tt.first(err) {
				t.Fatalf("err = %v", err)
			}
			minted := len(w.assumed())
			before := w.request(t, ask.RequestID())
			for range 2 {
				got, err := w.Issue(t.Context(), ask)
				var already *broker.AlreadyIssued
				if !errors.As(err, &already) || already.RequestID != ask.RequestID() || !errors.Is(err, broker.ErrConflict) || released(got) {
					t.Errorf("again: err = %v", err)
				}
				w.advance(2 * broker.LeaseFor)
			}
			if len(w.assumed()) != minted {
				t.Error("AWS was asked again")
			}
			if diff := cmp.Diff(before, w.request(t, ask.RequestID())); diff != "" {
				t.Errorf("the request changed (-before +after):\n%s", diff)
			}
		})
	}
}

func TestSameKeyWithOtherContent(t *testing.T) {
	tests := []struct {
		name   string
		change func(*broker.Ask)
	}{
		{"role", func(a *broker.Ask) { a.Role = "plain" }},
		{"duration", func(a *broker.Ask) { a.Duration = time.Hour }},
		{"words", func(a *broker.Ask) { a.Words = "something else" }},
	}
	w := newWorld(t)
	ask := w.ask("1", "readonly")
	w.mustIssue(t, ask)
	for _, tt := range tests {
		other := ask
		tt.change(&other)
		if _, err := w.Issue(t.Context(), other); !errors.Is(err, broker.ErrInvalid) {
			t.Errorf("another %s: err = %v", tt.name, err)
		}
	}
	if n := len(w.assumed()); n != 1 {
		t.Errorf("%d sessions at AWS", n)
	}
}

// Callers, surfaces and keys never share a Request.
func TestRequestID(t *testing.T) {
	base := broker.Ask{Caller: alice, Surface: broker.SurfaceCommand, Key: "1", Role: "readonly"}
	seen := map[string]string{base.RequestID(): "base"}
	for name, change := range map[string]func(*broker.Ask){
		"caller":  func(a *broker.Ask) { a.Caller = bob },
		"team":    func(a *broker.Ask) { a.Caller.Team = "T0CD" },
		"surface": func(a *broker.Ask) { a.Surface = broker.SurfaceButton },
		"key":     func(a *broker.Ask) { a.Key = "2" },
	} {
		other := base
		change(&other)
		if same, taken := seen[other.RequestID()]; taken {
			t.Errorf("another %s gives the ID of %s", name, same)
		}
		seen[other.RequestID()] = name
	}
	content := base
	content.Role, content.Words, content.Duration = "plain", "words", time.Hour
	if content.RequestID() != base.RequestID() {
		t.Error("another content gives another ID")
	}
	if id := base.RequestID(); len(id) != 20 {
		t.Errorf("ID %q has %d characters", id, len(id))
	}
}

// Invariant 2: an attempt that died is repeated, and the trail shows both. Its
// worker, should it still live, releases nothing.
func TestDeadAttemptIsTakenOver(t *testing.T) {
	w := newWorld(t)
	ask := w.ask("1", "readonly")
	ask.Deadline = w.Now().Add(time.Hour)
	arrived, carryOn := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	w.minter.onAssume = func(context.Context, broker.Assumption) {
		if first.CompareAndSwap(false, true) {
			close(arrived)
			<-carryOn
		}
	}
	type answer struct {
		issued broker.Issued
		err    error
	}
	old := make(chan answer)
	go func() {
		got, err := w.Issue(t.Context(), ask)
		old <- answer{got, err}
	}()
	<-arrived

	second := w.on(&tap{SQLite: w.open(t)})
	w.advance(broker.LeaseFor - time.Millisecond)
	var busy *broker.Busy
	if _, err := second.Issue(t.Context(), ask); !errors.As(err, &busy) || busy.RequestID != ask.RequestID() || !errors.Is(err, broker.ErrConflict) {
		t.Errorf("within the lease: err = %v", err)
	}
	w.advance(time.Millisecond)
	got, err := second.Issue(t.Context(), ask)
	if err != nil || !released(got) {
		t.Fatalf("after the lease: err = %v", err)
	}
	close(carryOn)
	late := <-old
	if faultCode(late.err) != broker.FaultLost || released(late.issued) {
		t.Errorf("the old worker: err = %v, released: %v", late.err, released(late.issued))
	}

	r := w.request(t, ask.RequestID())
	var states []broker.SessionState
	for _, s := range r.Sessions {
		states = append(states, s.State)
	}
	if diff := cmp.Diff([]broker.SessionState{broker.SessionLost, broker.SessionIssued}, states); diff != "" {
		t.Errorf("sessions (-want +got):\n%s", diff)
	}
	if r.Sessions[0].ID == r.Sessions[1].ID {
		t.Error("both attempts bear one name at AWS")
	}
	want := []broker.EventName{broker.EventAsked, broker.EventTakenOver, broker.EventIssued}
	if diff := cmp.Diff(want, events(r)); diff != "" {
		t.Errorf("trail (-want +got):\n%s", diff)
	}
	if e := r.Trail.Events; e[0].SessionID != r.Sessions[0].ID || e[1].SessionID != r.Sessions[1].ID {
		t.Error("the trail does not tell the attempts apart")
	}
}

// Of many workers that find a dead attempt, one takes it over.
func TestDeadAttemptIsTakenOverOnce(t *testing.T) {
	w := newWorld(t)
	ask := w.ask("1", "readonly")
	ask.Deadline = w.Now().Add(time.Hour)
	w.tap.watch(nil, nth("PutRequest", 1)) // recorded, and the worker died
	if _, err := w.Issue(t.Context(), ask); faultCode(err) != broker.FaultStore {
		t.Fatalf("err = %v", err)
	}
	w.advance(broker.LeaseFor)
	var sets atomic.Int32
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if got, _ := w.Issue(t.Context(), ask); released(got) {
				sets.Add(1)
			}
		})
	}
	all.Wait()
	if n := sets.Load(); n != 1 || len(w.assumed()) != 1 {
		t.Errorf("%d sets released and %d sessions at AWS, want one", n, len(w.assumed()))
	}
}

// A worker whose own lease is over withholds what it has, even if nobody has
// taken the attempt over yet.
func TestOutcomeAfterTheLease(t *testing.T) {
	w := newWorld(t)
	ask := w.ask("1", "plain")
	w.minter.onAssume = func(context.Context, broker.Assumption) { w.advance(broker.LeaseFor) }
	got, err := w.Issue(t.Context(), ask)
	if faultCode(err) != broker.FaultLost || released(got) {
		t.Errorf("err = %v, released: %v", err, released(got))
	}
}

// A worker whose clock is behind still believes in its lease when another has
// taken over. What is stored decides.
func TestAttemptIsLostWhateverTheClockSays(t *testing.T) {
	w := newWorld(t)
	ask := w.ask("1", "plain")
	ask.Deadline = w.Now().Add(time.Hour)
	ahead := w.on(&tap{SQLite: w.open(t)})
	ahead.Now = func() time.Time { return w.Now().Add(broker.LeaseFor) }
	var first atomic.Bool
	w.minter.onAssume = func(ctx context.Context, _ broker.Assumption) {
		if first.CompareAndSwap(false, true) {
			if got, err := ahead.Issue(ctx, ask); err != nil || !released(got) {
				t.Errorf("the other worker: %v", err)
			}
		}
	}
	if got, err := w.Issue(t.Context(), ask); faultCode(err) != broker.FaultLost || released(got) {
		t.Errorf("err = %v, released: %v", err, released(got))
	}
}

// The sweeper settles the ask while AWS is being asked: the item has another
// version, and the attempt is still held.
func TestSweeperDoesNotLoseTheAttempt(t *testing.T) {
	w := newWorld(t)
	ask := w.ask("1", "readonly")
	w.minter.onAssume = func(ctx context.Context, _ broker.Assumption) {
		r := w.request(t, ask.RequestID())
		s := broker.Settlement{Told: []string{r.Trail.Notices[0].ID}, Indexed: []string{r.Trail.Events[0].ID}, Thread: "thread"}
		if err := w.store.Settle(ctx, broker.Ref{Kind: broker.RefRequest, Key: r.ID}, s); err != nil {
			t.Error(err)
		}
	}
	got := w.mustIssue(t, ask)
	r := w.request(t, ask.RequestID())
	if got.Request.Version != r.Version || r.Trail.Thread != "thread" || !slices.Equal(events(r), []broker.EventName{broker.EventIssued}) {
		t.Errorf("request %+v", r)
	}
}
