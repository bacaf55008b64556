package broker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/store"
)

// A revoker remembers what it was told to deny. It holds so many.
type revoker struct {
	mu     sync.Mutex
	denied map[string][]string // by IAM role
	calls  int
	fits   int // 0: all
	err    error
	during func() // runs while AWS is asked
}

func (r *revoker) Fence(_ context.Context, role *policy.Role, ended []broker.Ended) (int, error) {
	if r.during != nil {
		r.during()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if r.err != nil {
		return 0, r.err
	}
	n := len(ended)
	if r.fits > 0 {
		n = min(n, r.fits)
	}
	var ids []string
	for _, e := range ended[:n] {
		ids = append(ids, e.SessionID)
	}
	if r.denied == nil {
		r.denied = map[string][]string{}
	}
	r.denied[role.ARN] = ids
	return n, nil
}

func (r *revoker) denies(session string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ids := range r.denied {
		if slices.Contains(ids, session) {
			return true
		}
	}
	return false
}

// ending is a world in which Alice has two Sessions of one Request, and Bob
// one of his own, all of one IAM role.
func ending(t *testing.T, engine func(*testing.T, *world) store.Store) (w *world, s store.Store, b *broker.Broker, r *revoker, one, two, other broker.Issued) {
	t.Helper()
	w = newWorld(t)
	do(t, w.admin(w.tap), "grant add readonly --user bob")
	s, r = engine(t, w), &revoker{}
	b = w.ending(s, r)
	issue := func(key string, who broker.SlackID) broker.Issued {
		ask := w.ask(key, "readonly")
		ask.Caller = who
		issued, err := b.Issue(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		return issued
	}
	one, other = issue("1", alice), issue("2", bob)
	two, err := b.IssueAgain(t.Context(), w.again("again", one.Request.ID))
	if err != nil {
		t.Fatal(err)
	}
	return w, s, b, r, one, two, other
}

// ending returns a Broker of the world on s that ends Sessions through r.
func (w *world) ending(s store.Store, r broker.Revoker) *broker.Broker {
	b := w.at(s)
	config := b.Config
	config.Revoker = r
	return broker.New(config)
}

// Ending a Session ends it alone: its siblings go on. Ending a Request ends all
// of its Sessions and its window.
func TestEnd(t *testing.T) {
	t.Parallel()
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, _, b, r, one, two, other := ending(t, engine)
			end := func(who broker.SlackID, session string) (broker.Request, error) {
				return b.End(t.Context(), broker.Ending{Caller: who, RequestID: one.Request.ID, SessionID: session, Deadline: w.Now().Add(time.Minute)})
			}
			if _, err := end(bob, ""); rule(err) != broker.RuleNotYours {
				t.Errorf("somebody else's: %v", err)
			}
			after, err := end(alice, one.Session.ID)
			if err != nil {
				t.Fatal(err)
			}
			if !r.denies(one.Session.ID) || r.denies(two.Session.ID) || r.denies(other.Session.ID) || after.State != broker.StateOpen {
				t.Errorf("denied %v, the request is %s", r.denied, after.State)
			}
			if _, err := end(alice, one.Session.ID); !errors.Is(err, broker.ErrNotFound) {
				t.Errorf("twice: %v", err)
			}
			if after, err = end(alice, ""); err != nil || after.State != broker.StateClosed {
				t.Errorf("the rest: %+v, %v", after, err)
			}
			if !r.denies(one.Session.ID) || !r.denies(two.Session.ID) || r.denies(other.Session.ID) {
				t.Errorf("denied %v", r.denied)
			}
			if _, err := b.IssueAgain(t.Context(), w.again("more", one.Request.ID)); rule(err) != broker.RuleWindowEnding {
				t.Errorf("renewed after the end: %v", err)
			}
			var names []broker.EventName
			for range 2 {
				if _, err := b.Due(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			found, err := b.Archive.Events(t.Context(), broker.EventQuery{RequestID: one.Request.ID})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range found {
				names = append(names, e.Event)
			}
			for _, want := range []broker.EventName{broker.EventEndAsked, broker.EventEnded} {
				if n := len(slices.DeleteFunc(slices.Clone(names), func(e broker.EventName) bool { return e != want })); n != 2 {
					t.Errorf("%s is on the trail %d times: %v", want, n, names)
				}
			}
		})
	}
}

// An administrator ends anybody's, by person and by role; switching somebody
// off ends what they hold.
func TestEndByAdministrator(t *testing.T) {
	w, _, b, r, one, two, other := ending(t, engines["SQLite"])
	if _, err := b.End(t.Context(), broker.Ending{Caller: rootHerself.Slack, RequestID: other.Request.ID, Deadline: w.Now().Add(time.Minute)}); err != nil || !r.denies(other.Session.ID) {
		t.Errorf("denied %v, %v", r.denied, err)
	}
	if n, err := b.EndUser(t.Context(), "alice", rootHerself); n != 1 || err != nil || !r.denies(one.Session.ID) || !r.denies(two.Session.ID) {
		t.Errorf("%d requests, denied %v, %v", n, r.denied, err)
	}

	_, _, b, r, one, _, other = ending(t, engines["SQLite"])
	for range 2 {
		if _, err := b.Due(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := b.EndRole(t.Context(), "readonly", rootHerself); n != 2 || err != nil || !r.denies(one.Session.ID) || !r.denies(other.Session.ID) {
		t.Errorf("%d requests, denied %v, %v", n, r.denied, err)
	}

	w, s, b, r, one, _, other := ending(t, engines["SQLite"])
	do(t, broker.NewAdmin(s, w.Now, nonsense{}, root), "user disable alice")
	if _, err := b.Due(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !r.denies(one.Session.ID) || r.denies(other.Session.ID) {
		t.Errorf("switched off: denied %v", r.denied)
	}
}

// What AWS does not do at once is tried again, and said; what it cannot do at
// all is said.
func TestEndFails(t *testing.T) {
	w, _, b, r, one, _, _ := ending(t, engines["SQLite"])
	end := func() error {
		_, err := b.End(t.Context(), broker.Ending{Caller: alice, RequestID: one.Request.ID, Deadline: w.Now().Add(time.Minute)})
		return err
	}
	r.err = &broker.Fault{Code: broker.FaultThrottled, Err: errDown}
	if err := end(); faultCode(err) != broker.FaultThrottled {
		t.Errorf("err = %v", err)
	}
	r.err = nil
	w.advance(31 * time.Second)
	if _, err := b.Due(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !r.denies(one.Session.ID) {
		t.Error("it was not tried again")
	}
	if got := w.request(t, one.Request.ID); got.Sessions[0].EndedAt.IsZero() {
		t.Errorf("session %+v", got.Sessions[0])
	}

	w, _, b, r, one, _, _ = ending(t, engines["SQLite"])
	r.err = &broker.Fault{Code: broker.FaultNoBoundary, Err: errDown}
	if _, err := b.End(t.Context(), broker.Ending{Caller: alice, RequestID: one.Request.ID, Deadline: w.Now().Add(time.Minute)}); faultCode(err) != broker.FaultNoBoundary {
		t.Errorf("err = %v", err)
	}
	w.advance(31 * time.Second)
	calls := r.calls
	for range 3 {
		if _, err := b.Due(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.advance(time.Hour)
	}
	if r.calls > calls+1 {
		t.Errorf("tried %d times what cannot be done", r.calls-calls)
	}
}

// Many ends at once lose none, with one publishing at a time.
func TestManyEnds(t *testing.T) {
	t.Parallel()
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := 30
			if testing.Short() {
				n = 6
			}
			w := newWorld(t)
			s, r := engine(t, w), &revoker{}
			var publishing sync.Mutex
			r.during = func() {
				if !publishing.TryLock() {
					t.Error("two publish at once")
					return
				}
				defer publishing.Unlock()
				time.Sleep(20 * time.Millisecond)
			}
			b := w.ending(s, r)
			var sessions []broker.Issued
			for i := range n {
				w.advance(16 * time.Second)
				issued, err := b.Issue(t.Context(), w.ask(fmt.Sprint(i), "readonly"))
				if err != nil {
					t.Fatal(err)
				}
				sessions = append(sessions, issued)
			}
			var all sync.WaitGroup
			for _, i := range sessions {
				all.Go(func() {
					if _, err := b.End(t.Context(), broker.Ending{Caller: alice, RequestID: i.Request.ID, Deadline: w.Now().Add(time.Minute)}); err != nil {
						t.Errorf("err = %v", err)
					}
				})
			}
			all.Wait()
			for _, i := range sessions {
				if !r.denies(i.Session.ID) {
					t.Errorf("%s is not denied", i.Session.ID)
				}
			}
			// What has expired by itself makes room.
			w.advance(12 * time.Hour)
			last, err := b.Issue(t.Context(), w.ask("last", "readonly"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.End(t.Context(), broker.Ending{Caller: alice, RequestID: last.Request.ID, Deadline: w.Now().Add(time.Minute)}); err != nil {
				t.Fatal(err)
			}
			if got := r.denied[last.Request.RoleARN]; len(got) != 1 || got[0] != last.Session.ID {
				t.Errorf("denied %v", got)
			}
		})
	}
}

// A boundary that is full says so, and takes the rest in as others expire.
func TestBoundaryIsFull(t *testing.T) {
	w, _, b, r, one, _, other := ending(t, engines["SQLite"])
	r.fits = 2
	if _, err := b.EndUser(t.Context(), "alice", rootHerself); err != nil {
		t.Fatal(err)
	}
	if _, err := b.End(t.Context(), broker.Ending{Caller: bob, RequestID: other.Request.ID, Deadline: w.Now().Add(time.Minute)}); faultCode(err) != broker.FaultBoundaryFull {
		t.Errorf("err = %v", err)
	}
	if !r.denies(one.Session.ID) || r.denies(other.Session.ID) {
		t.Errorf("denied %v", r.denied)
	}
}

// A window that ends closes its Request, and its requester hears before.
func TestWindowEnds(t *testing.T) {
	w, _, b, _, one, _, _ := ending(t, engines["SQLite"])
	sweep := func() (kinds []broker.NoticeKind) {
		t.Helper()
		w.teller.told = nil
		for range 2 {
			if _, err := b.Due(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for _, telling := range w.teller.told {
			if telling.Request != nil && telling.Request.ID == one.Request.ID && telling.Kind != broker.NoticeAudit {
				kinds = append(kinds, telling.Kind)
			}
		}
		return kinds
	}
	sweep()
	w.advance(50 * time.Minute)
	if got := sweep(); !slices.Equal(got, []broker.NoticeKind{broker.NoticeEnding}) {
		t.Errorf("ten minutes before: %v", got)
	}
	open, _, err := b.Sessions(t.Context(), alice, "1")
	if err != nil || len(open) != 1 || open[0].ID != one.Request.ID {
		t.Errorf("open: %+v, %v", open, err)
	}
	w.advance(10 * time.Minute)
	if got := sweep(); len(got) != 0 {
		t.Errorf("at the end: %v", got)
	}
	if got := w.request(t, one.Request.ID); got.State != broker.StateClosed {
		t.Errorf("request %+v", got)
	}
	if open, _, err = b.Sessions(t.Context(), alice, "2"); err != nil || len(open) != 0 {
		t.Errorf("open: %+v, %v", open, err)
	}
}

// A Session is ended at the IAM role that it is of, whatever its Role has
// become since.
func TestEndAfterTheRoleHasMoved(t *testing.T) {
	w, _, b, r, one, _, _ := ending(t, engines["SQLite"])
	moved := replace(rules, "readonly:  {account: prod, iam_role: starback/ReadOnly", "readonly:  {account: prod, iam_role: starback/Elsewhere")
	if err := w.admin(w.tap).Apply(t.Context(), plan(t, w.admin(w.tap), moved), broker.ApplyOptions{Overwrite: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.IssueAgain(t.Context(), w.again("moved", one.Request.ID)); err == nil {
		t.Error("a role that is not there was assumed")
	}
	if _, err := b.End(t.Context(), broker.Ending{Caller: alice, RequestID: one.Request.ID, Deadline: w.Now().Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	if got := r.denied["arn:aws:iam::111122223333:role/starback/ReadOnly"]; !slices.Contains(got, one.Session.ID) || len(r.denied) != 1 {
		t.Errorf("denied %v", r.denied)
	}
}

// Ending all that somebody holds ends what waits, too: for approvers, or to be
// revealed.
func TestEndWhatWaits(t *testing.T) {
	for _, approved := range []bool{false, true} {
		w, request := pending(t, "guarded")
		if approved {
			request = w.approve(t, lea, request)
		}
		b := w.ending(w.store, &revoker{})
		if n, err := b.EndUser(t.Context(), "bob", rootHerself); n != 1 || err != nil {
			t.Errorf("%d requests, %v", n, err)
		}
		if got := w.request(t, request.ID); got.State != broker.StateVoid || got.Rule != broker.RuleEnded {
			t.Errorf("request %+v", got)
		}
		if issued, err := w.Reveal(t.Context(), w.reveal(request, "1")); err == nil || released(issued) {
			t.Errorf("revealed: %v", err)
		}
	}
}

// Whoever is switched off while something is minted for them does not keep it.
func TestDisabledWhileMinting(t *testing.T) {
	w := newWorld(t)
	r := &revoker{}
	b := w.ending(w.store, r)
	w.minter.onAssume = func(context.Context, broker.Assumption) {
		do(t, w.admin(w.tap), "user disable alice")
		if _, err := b.Due(t.Context()); err != nil {
			t.Error(err)
		}
	}
	issued, err := b.Issue(t.Context(), w.ask("1", "readonly"))
	if err != nil {
		t.Fatal(err)
	}
	w.advance(broker.LeaseFor)
	for range 2 {
		if _, err := b.Due(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !r.denies(issued.Session.ID) {
		t.Errorf("denied %v", r.denied)
	}
}
