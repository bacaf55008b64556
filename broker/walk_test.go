package broker_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/store"
)

// A walker takes the Requests of Bob, and of an application of Lea's, along a
// random way, and keeps its own account of what may come of them.
type walker struct {
	*world
	account
	t      *testing.T
	store  store.Store
	b      *broker.Broker
	admin  *broker.Admin
	ends   *revoker
	robot  broker.Secret // its token
	random *mathrand.Rand
	way    []string
}

// newWalker begins a walk. Bob has asked for the role for four hours.
func newWalker(t *testing.T, seed uint64, engine func(*testing.T, *world) store.Store) *walker {
	t.Helper()
	w := &walker{t: t, account: newAccount(1 + int(seed%3)/2), random: mathrand.New(mathrand.NewPCG(seed, 7)), ends: &revoker{}}
	w.world = newWorld(t)
	w.apply(t, w.file(true))
	w.addPointing()
	w.store = engine(t, w.world)
	w.b = w.ending(w.store, w.ends)
	w.admin = broker.NewAdmin(w.store, w.Now, rand.Reader, root)
	var err error
	if _, w.robot, err = w.admin.CreateToken(t.Context(), broker.TokenWish{User: "robot", AnyRole: true}); err != nil {
		t.Fatal(err)
	}
	w.asks("bob", 4*time.Hour)
	return w
}

// step does one thing at random.
func (w *walker) step() {
	q := w.requests[w.random.IntN(len(w.requests))]
	if q.state.Over() { // rather another
		q = w.requests[w.random.IntN(len(w.requests))]
	}
	switch w.random.IntN(32) {
	case 0, 1, 2, 3, 4, 5, 6, 7:
		who := w.one("lea", "mia", "ida", "lea", "mia", "ida", "root", "bob", "alice")
		w.answers(q, who, w.random.IntN(10) > 0, []time.Duration{0, 0, 30 * time.Minute, 2 * time.Hour}[w.random.IntN(4)])
	case 8, 9, 10, 11, 12, 13, 14, 15:
		w.reveals(q)
	case 16, 17:
		w.renews(q)
	case 18:
		if w.random.IntN(3) == 0 {
			w.withdraws(q)
		}
	case 19, 20:
		d := []time.Duration{time.Minute, time.Minute, time.Minute, 20 * time.Minute, time.Hour, 3 * time.Hour}[w.random.IntN(6)]
		w.note("%s passes", d)
		w.advance(d)
	case 21:
		w.changes()
	case 22:
		if w.random.IntN(2) == 0 {
			w.switches()
		}
	case 23, 24:
		w.misses(q)
	case 25:
		w.endsOne(q)
	case 26:
		w.endsAll(q, w.one("bob", "lea", "alice", "root", "alice"))
	case 27:
		if w.random.IntN(4) == 0 {
			w.endsBob()
		}
	case 28:
		w.asks(w.one("bob", "bob", "robot"), []time.Duration{time.Hour, 4 * time.Hour}[w.random.IntN(2)])
	default:
		w.sweeps()
	}
}

func (w *walker) one(names ...string) string { return names[w.random.IntN(len(names))] }

func (w *walker) note(format string, args ...any) {
	w.way = append(w.way, fmt.Sprintf(format, args...))
}

// slack is somebody's account.
func slack(name string) broker.SlackID { return person("U" + strings.ToUpper(name)) }

// asks has Bob, or the application, ask for the role.
func (w *walker) asks(who string, d time.Duration) {
	w.note("%s asks for %s", who, d)
	ask := broker.Ask{
		Caller: bob, Surface: broker.SurfaceCommand, Key: fmt.Sprint("ask ", len(w.way)), Role: "guarded", Duration: d, Words: "disk is full",
		Deadline: w.Now().Add(time.Minute),
	}
	if who == "robot" {
		ask.Caller, ask.Token = broker.SlackID{}, w.robot
	}
	issued, err := w.b.Issue(w.t.Context(), ask)
	w.want(!released(issued), "released at once")
	q := &walked{who: who, asked: w.role, duration: d, yes: map[string]time.Duration{}, state: broker.StatePending, keys: map[string]string{}, ended: map[string]bool{}, until: map[string]time.Time{}}
	if why := w.refuses(q); why != "" {
		w.want(rule(err) == why, "refused by %s: %v", why, err)
		return
	}
	var waiting *broker.Waiting
	w.want(errors.As(err, &waiting), "waits: %v", err)
	q.id, q.lapses = waiting.Request.ID, w.Now().Add(2*time.Hour)
	w.requests = append(w.requests, q)
}

// answers has somebody answer, perhaps for less.
func (w *walker) answers(q *walked, name string, yes bool, less time.Duration) {
	w.note("%s says %v to %s, for %s", name, yes, q.id, less)
	q.tick(w.Now())
	_, err := w.b.Answer(w.t.Context(), broker.Answer{
		Caller: slack(name), RequestID: q.id, Yes: yes, Duration: less, Key: fmt.Sprint(len(w.way)), Deadline: w.Now().Add(time.Minute),
	})
	_, twice := q.yes[name]
	switch {
	case w.disabled[name]:
		w.want(rule(err) == policy.RuleUserDisabled, "disabled: %v", err)
	case q.state != broker.StatePending:
		w.want(errors.As(err, new(*broker.Settled)), "past it: %v", err)
	case w.changed(q) || w.refuses(q) != "":
		w.want(errors.As(err, new(*broker.Settled)), "void: %v", err)
		q.state = broker.StateVoid
	case name == q.person():
		w.want(rule(err) == broker.RuleApproveOwn, "their own: %v", err)
	case twice:
		w.want(rule(err) == broker.RuleAnsweredTwice, "twice: %v", err)
	case !w.leads(name):
		w.want(rule(err) == broker.RuleNotApprover, "no approver: %v", err)
	case !yes:
		w.want(err == nil, "a no: %v", err)
		q.state = broker.StateDenied
	default:
		w.want(err == nil, "a yes: %v", err)
		q.yes[name] = less
		if w.agreed(q) {
			q.state, q.lapses = broker.StateApproved, w.Now().Add(time.Hour)
		}
	}
}

// reveals has Bob press Reveal.
func (w *walker) reveals(q *walked) {
	w.note("reveal %s", q.id)
	issued, err := w.b.Reveal(w.t.Context(), broker.AskAgain{
		Caller: bob, RequestID: q.id, Key: fmt.Sprint("reveal ", len(w.way)), Deadline: w.Now().Add(time.Minute),
	})
	if q.who != "bob" {
		w.want(errors.Is(err, broker.ErrNotFound) && !released(issued), "not his: %v", err)
		return
	}
	q.tick(w.Now())
	switch {
	case q.state == broker.StateApproved && w.good(q):
		w.want(err == nil && released(issued), "approved: %v", err)
		q.claim = w.Now().Add(time.Hour)
		w.opens(q, issued)
	case q.state == broker.StateOpen && q.claimable(w.Now()) && w.good(q):
		w.want(err == nil && released(issued), "never shown: %v", err)
		for id := range q.until { // nobody has seen those
			if !q.ended[id] {
				delete(q.until, id)
			}
		}
		w.opens(q, issued)
	case q.state == broker.StateApproved:
		w.want(errors.Is(err, broker.ErrDenied) && !released(issued), "it counts no more: %v", err)
		q.state = broker.StateVoid
	default:
		w.want(err != nil && !released(issued), "nothing to reveal: %v", err)
	}
}

// opens takes in that a window was opened: for as long as was asked, or the
// least that an approver agreed to.
func (w *walker) opens(q *walked, issued broker.Issued) {
	for _, less := range q.yes {
		if less > 0 {
			q.duration = min(q.duration, less)
		}
	}
	q.state, q.window = broker.StateOpen, w.Now().Add(q.duration)
	w.want(issued.Request.WindowEnd.Equal(q.window), "the window ends %s, and should at %s", issued.Request.WindowEnd, q.window)
	w.issues(q, issued)
}

// issues takes in one more set of credentials.
func (w *walker) issues(q *walked, issued broker.Issued) {
	w.want(!issued.Session.ExpiresAt.After(q.window.Add(time.Second)), "past the window")
	q.keys[issued.Session.ID] = issued.Credentials.AccessKeyID
	q.last, q.unseen = issued, false
	q.until[issued.Session.ID] = issued.Session.ExpiresAt
}

// misses has Slack not show the last set.
func (w *walker) misses(q *walked) {
	if len(q.keys) == 0 {
		return
	}
	w.note("%s is not shown", q.id)
	if err := w.b.Undelivered(w.t.Context(), q.last); err != nil {
		w.t.Fatal(err)
	}
	missed := 0
	for _, s := range w.reads(q).Sessions {
		if !s.UndeliveredAt.IsZero() {
			missed++
		}
	}
	q.unseen = q.unseen || len(q.keys) == missed
}

// renews has Bob ask for more of the window.
func (w *walker) renews(q *walked) {
	w.note("renew %s", q.id)
	issued, err := w.b.IssueAgain(w.t.Context(), broker.AskAgain{
		Caller: bob, RequestID: q.id, Key: fmt.Sprint("renew ", len(w.way)), Deadline: w.Now().Add(time.Minute),
	})
	may := q.who == "bob" && q.state == broker.StateOpen && w.good(q) && q.window.Sub(w.Now()) >= policy.MinDuration
	w.want(released(issued) == may && (err == nil) == may, "renewed: %v", err)
	if may {
		w.issues(q, issued)
	}
}

func (w *walker) withdraws(q *walked) {
	w.note("withdraw %s", q.id)
	q.tick(w.Now())
	_, err := w.b.Withdraw(w.t.Context(), bob, q.id, w.Now().Add(time.Minute))
	switch {
	case w.disabled["bob"]:
		w.want(rule(err) == policy.RuleUserDisabled, "disabled: %v", err)
	case q.who != "bob":
		w.want(rule(err) == broker.RuleNotYours || q.state == broker.StateLapsed && errors.As(err, new(*broker.Settled)), "not his: %v", err)
	case q.waits():
		w.want(err == nil, "withdrawn: %v", err)
		q.state = broker.StateWithdrawn
	default:
		w.want(errors.As(err, new(*broker.Settled)), "too late: %v", err)
	}
}

// endsOne has Bob end one of his Sessions.
func (w *walker) endsOne(q *walked) {
	ids := slices.Sorted(func(yield func(string) bool) {
		for id := range q.until {
			if !yield(id) {
				return
			}
		}
	})
	if len(ids) == 0 {
		return
	}
	id := ids[w.random.IntN(len(ids))]
	w.note("end %s of %s", id, q.id)
	_, err := w.end(q, "bob", id)
	switch {
	case w.disabled["bob"]:
		w.want(rule(err) == policy.RuleUserDisabled, "disabled: %v", err)
	case q.ended[id] || !w.Now().Before(q.until[id]):
		w.want(errors.Is(err, broker.ErrNotFound), "over: %v", err)
	default:
		w.want(err == nil, "ended: %v", err)
		q.ended[id] = true
	}
}

// endsAll has somebody end all of a Request.
func (w *walker) endsAll(q *walked, who string) {
	w.note("%s ends %s", who, q.id)
	q.tick(w.Now())
	_, err := w.end(q, who, "")
	switch {
	case w.disabled[who]:
		w.want(rule(err) == policy.RuleUserDisabled, "disabled: %v", err)
	case who != q.person() && who != "root":
		w.want(rule(err) == broker.RuleNotYours || q.state == broker.StateLapsed && errors.As(err, new(*broker.Settled)), "not theirs: %v", err)
	case q.waits() || q.state == broker.StateOpen:
		w.want(err == nil, "ended: %v", err)
		q.over(w.Now())
	default:
		w.want(errors.Is(err, broker.ErrNotFound) || q.state == broker.StateLapsed && errors.As(err, new(*broker.Settled)), "nothing to end: %v", err)
	}
}

func (w *walker) end(q *walked, who, session string) (broker.Request, error) {
	return w.b.End(w.t.Context(), broker.Ending{Caller: slack(who), RequestID: q.id, SessionID: session, Deadline: w.Now().Add(time.Minute)})
}

// endsBob has an administrator end all that Bob holds.
func (w *walker) endsBob() {
	w.note("all of bob's is ended")
	if _, err := w.b.EndUser(w.t.Context(), "bob", rootHerself); err != nil && !errors.As(err, new(*broker.Settled)) {
		w.t.Fatal(err)
	}
	for _, q := range w.requests {
		q.tick(w.Now())
		if q.who == "bob" && (q.waits() || q.state == broker.StateOpen && (w.Now().Before(q.window) || q.claimable(w.Now()))) {
			q.over(w.Now())
		}
	}
}

// sweeps passes on all that is due. With somebody who is switched off ends what
// they and their applications hold, and have asked for.
func (w *walker) sweeps() {
	w.note("a sweep")
	for more := true; more; {
		var err error
		if more, err = w.b.Due(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, q := range w.requests {
		q.tick(w.Now())
		switch {
		case w.disabled[q.person()] && (q.waits() || q.state == broker.StateOpen):
			q.over(w.Now())
		case q.state == broker.StateOpen && !w.Now().Before(q.window) && !q.claimable(w.Now()):
			q.state = broker.StateClosed
		}
	}
}

// changes makes another policy the law.
func (w *walker) changes() {
	w.note("%s", w.amend(w.random))
	file := w.file(false)
	if _, err := applied(w.t.Context(), w.admin, parse(w.t, file), ""); err != nil {
		w.t.Fatal(err)
	}
}

// switches switches somebody on or off, or in or out of the leads.
func (w *walker) switches() {
	words := w.turn(w.random)
	w.note("%s", words)
	do(w.t, w.admin, words)
}

func (w *walker) want(ok bool, format string, args ...any) {
	w.t.Helper()
	if !ok {
		w.t.Fatalf("%s; the way there:\n  %s", fmt.Sprintf(format, args...), strings.Join(w.way, "\n  "))
	}
}

func (w *walker) reads(q *walked) broker.Request {
	w.t.Helper()
	r, err := w.store.Request(w.t.Context(), q.id)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// check compares the Requests, and what AWS denies, with the account of them.
func (w *walker) check() {
	w.t.Helper()
	sets := 0
	for _, q := range w.requests {
		r := w.reads(q)
		late := (r.State == broker.StatePending || r.State == broker.StateApproved) && q.state == broker.StateLapsed
		w.want(r.State == q.state || late, "request %s is %s, and should be %s", q.id, r.State, q.state)
		seen := map[policy.UserName]bool{}
		for _, a := range r.Approvals {
			w.want(!seen[a.User] && string(a.User) != q.person() && a.User != "alice", "approvals %+v", r.Approvals)
			seen[a.User] = true
		}
		issued := 0
		for _, s := range r.Sessions {
			if s.State != broker.SessionIssued {
				continue
			}
			issued++
			if until, ok := q.until[s.ID]; ok && w.Now().Before(until) {
				w.want(q.ended[s.ID] == !s.EndedAt.IsZero(), "session %s ended at %s", s.ID, s.EndedAt)
				w.want(q.ended[s.ID] == w.ends.denies(s.ID), "AWS denies %s: %v", s.ID, w.ends.denies(s.ID))
			}
		}
		w.want(issued == len(q.keys), "%d sessions, and %d were released", issued, len(q.keys))
		sets += len(q.keys)
	}
	w.want(len(w.assumed()) == sets, "%d sets were made, and %d released", len(w.assumed()), sets)
}

// Whatever happens to Requests that need approval, in whatever order, and
// however the policy changes meanwhile: credentials come of one exactly when
// they may, what is ended is denied, and the trail tells of all that was
// released.
func TestRandomWalks(t *testing.T) {
	t.Parallel()
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			walks, steps := 40, 50
			switch {
			case testing.Short(), raceDetector:
				walks = 5
			case name == "DynamoDB":
				walks = 8
			}
			released := 0
			came := map[broker.State]int{}
			for seed := range walks {
				w := newWalker(t, uint64(seed), engine)
				for range steps {
					w.step()
					w.check()
				}
				w.audits()
				for _, q := range w.requests {
					released += len(q.keys)
					came[q.state]++
				}
			}
			if released < walks {
				t.Errorf("only %d sets were released in %d walks", released, walks)
			}
			for _, s := range []broker.State{
				broker.StateDenied, broker.StateWithdrawn, broker.StateLapsed, broker.StateVoid, broker.StateClosed, broker.StateOpen,
			} {
				if walks >= 40 && came[s] == 0 {
					t.Errorf("no request came to be %s in %d walks: %v", s, walks, came)
				}
			}
		})
	}
}
