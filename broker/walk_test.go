package broker_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// A walker takes one Request along a random way, and keeps its own account of
// what may come of it.
type walker struct {
	*world
	b      *broker.Broker
	admin  *broker.Admin
	random *rand.Rand
	t      *testing.T
	id     string
	way    []string

	asked    string          // the role as it was when it was asked for
	role     string          // as it is
	disabled map[string]bool // who is switched off
	out      map[string]bool // who is no lead any more
	yes      map[string]bool // who approved
	state    broker.State
	lapses   time.Time
	window   time.Time
	sets     int
	last     broker.Issued // the last set, and
	unseen   bool          // whether it, and all before it, may not have been shown
	claim    time.Time     // until when it can be revealed anew then
}

// The role that is asked for, and what it may be pointed to instead.
var pointings = []string{"starback/ReadOnly", "starback/Plain"}

// approvers are those who may approve, as long as they are leads and enabled.
var approvers = map[string]broker.SlackID{"lea": lea, "mia": mia, "ida": ida}

// counts says how many approvals count now.
func (w *walker) counts() (n int) {
	for name := range w.yes {
		if !w.disabled[name] && !w.out[name] {
			n++
		}
	}
	return n
}

// good says whether the policy would issue what was asked, to Bob, now.
func (w *walker) good() bool { return !w.disabled["bob"] && w.role == w.asked && w.counts() >= 1 }

// tick lets a Request lapse whose time is up.
func (w *walker) tick() {
	if (w.state == broker.StatePending || w.state == broker.StateApproved) && !w.Now().Before(w.lapses) {
		w.state = broker.StateLapsed
	}
}

// step does one thing at random.
func (w *walker) step() {
	switch what := w.random.IntN(16); what {
	case 0, 1, 2:
		name := []string{"lea", "mia", "ida"}[w.random.IntN(3)]
		w.answers(name, approvers[name], what != 0)
	case 3:
		w.answers("bob", bob, true)
	case 4:
		w.answers("alice", alice, w.random.IntN(2) == 0)
	case 5, 6, 7:
		w.reveals()
	case 8:
		w.renews()
	case 9:
		if w.random.IntN(4) == 0 {
			w.withdraws()
		}
	case 10:
		d := []time.Duration{time.Minute, 20 * time.Minute, time.Hour}[w.random.IntN(3)]
		w.note("%s passes", d)
		w.advance(d)
	case 11:
		w.points()
	case 12:
		w.switches()
	case 13, 14:
		w.misses()
	default:
		w.note("a sweep")
		if _, err := w.b.Due(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
		w.tick()
		if w.disabled["bob"] { // all that he holds is ended, and what waits too
			switch w.state {
			case broker.StatePending, broker.StateApproved:
				w.state = broker.StateVoid
			case broker.StateOpen:
				w.state = broker.StateClosed
			}
		}
		if w.state == broker.StateOpen && !w.Now().Before(w.window) && !w.claimable() {
			w.state = broker.StateClosed
		}
	}
}

func (w *walker) note(format string, args ...any) {
	w.way = append(w.way, fmt.Sprintf(format, args...))
}

// answers has somebody answer.
func (w *walker) answers(name string, who broker.SlackID, yes bool) {
	w.note("%s says %v", name, yes)
	w.tick()
	_, err := w.b.Answer(w.t.Context(), broker.Answer{
		Caller: who, RequestID: w.id, Yes: yes, Key: fmt.Sprint(len(w.way)), Deadline: w.Now().Add(time.Minute),
	})
	var settled *broker.Settled
	switch {
	case w.disabled[name]:
		w.want(rule(err) == policy.RuleUserDisabled, "disabled: %v", err)
	case w.state != broker.StatePending:
		w.want(errors.As(err, &settled), "past it: %v", err)
	case w.disabled["bob"] || w.role != w.asked:
		w.want(errors.As(err, &settled), "void: %v", err)
		w.state = broker.StateVoid
	case name == "bob":
		w.want(rule(err) == broker.RuleApproveOwn, "his own: %v", err)
	case w.yes[name]:
		w.want(rule(err) == broker.RuleAnsweredTwice, "twice: %v", err)
	case approvers[name].IsZero() || w.out[name]:
		w.want(rule(err) == broker.RuleNotApprover, "no approver: %v", err)
	case !yes:
		w.want(err == nil, "a no: %v", err)
		w.state = broker.StateDenied
	default:
		w.want(err == nil, "a yes: %v", err)
		w.yes[name] = true
		w.state, w.lapses = broker.StateApproved, w.Now().Add(time.Hour)
	}
}

// reveals has Bob press Reveal.
func (w *walker) reveals() {
	w.note("reveal")
	w.tick()
	issued, err := w.b.Reveal(w.t.Context(), broker.AskAgain{
		Caller: bob, RequestID: w.id, Key: fmt.Sprint("reveal ", len(w.way)), Deadline: w.Now().Add(time.Minute),
	})
	switch {
	case w.state == broker.StateApproved && w.good():
		w.want(err == nil && released(issued), "approved: %v", err)
		w.claim = w.Now().Add(time.Hour)
		w.opens(issued)
	case w.state == broker.StateOpen && w.claimable() && w.good():
		w.want(err == nil && released(issued), "never shown: %v", err)
		w.opens(issued)
	case w.state == broker.StateApproved:
		w.want(errors.Is(err, broker.ErrDenied) && !released(issued), "it counts no more: %v", err)
		w.state = broker.StateVoid
	default:
		w.want(err != nil && !released(issued), "nothing to reveal: %v", err)
	}
}

// opens takes in that a window was opened.
func (w *walker) opens(issued broker.Issued) {
	w.want(issued.Request.WindowEnd.Equal(w.Now().Add(4*time.Hour)), "the window ends %s", issued.Request.WindowEnd)
	w.sets++
	w.state, w.window, w.last, w.unseen = broker.StateOpen, issued.Request.WindowEnd, issued, false
}

// claimable says whether nothing was shown, and can still be revealed.
func (w *walker) claimable() bool { return w.unseen && w.Now().Before(w.claim) }

// misses has Slack not show the last set.
func (w *walker) misses() {
	if w.sets == 0 {
		return
	}
	w.note("not shown")
	if err := w.b.Undelivered(w.t.Context(), w.last); err != nil {
		w.t.Fatal(err)
	}
	w.unseen = w.unseen || w.sets == w.missed()
}

// missed is how many sets may not have been shown.
func (w *walker) missed() (n int) {
	r, err := w.b.Ledger.Request(w.t.Context(), w.id)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range r.Sessions {
		if !s.UndeliveredAt.IsZero() {
			n++
		}
	}
	return n
}

// renews has Bob ask for more of the window.
func (w *walker) renews() {
	w.note("renew")
	issued, err := w.b.IssueAgain(w.t.Context(), broker.AskAgain{
		Caller: bob, RequestID: w.id, Key: fmt.Sprint("renew ", len(w.way)), Deadline: w.Now().Add(time.Minute),
	})
	may := w.state == broker.StateOpen && w.good() && w.window.Sub(w.Now()) >= policy.MinDuration
	w.want(released(issued) == may && (err == nil) == may, "renewed: %v", err)
	if may {
		w.sets++
		w.last, w.unseen = issued, false
		w.want(!issued.Session.ExpiresAt.After(w.window.Add(time.Second)), "past the window")
	}
}

func (w *walker) withdraws() {
	w.note("withdraw")
	w.tick()
	_, err := w.b.Withdraw(w.t.Context(), bob, w.id, w.Now().Add(time.Minute))
	switch {
	case w.disabled["bob"]:
		w.want(rule(err) == policy.RuleUserDisabled, "disabled: %v", err)
	case w.state == broker.StatePending || w.state == broker.StateApproved:
		w.want(err == nil, "withdrawn: %v", err)
		w.state = broker.StateWithdrawn
	default:
		w.want(errors.As(err, new(*broker.Settled)), "too late: %v", err)
	}
}

// points points the role somewhere, perhaps where it was.
func (w *walker) points() {
	w.role = pointings[w.random.IntN(len(pointings))]
	w.note("the role is %s", w.role)
	file := replace(approvals, "guarded:   {account: prod, iam_role: starback/ReadOnly", "guarded:   {account: prod, iam_role: "+w.role)
	file = file[:strings.Index(file, "users:")]
	if _, err := applied(w.t.Context(), w.admin, parse(w.t, file), ""); err != nil {
		w.t.Fatal(err)
	}
}

// switches switches somebody on or off, or in or out of the leads.
func (w *walker) switches() {
	name := []string{"lea", "mia", "ida", "bob"}[w.random.IntN(4)]
	words := "user disable " + name
	switch {
	case name != "bob" && w.random.IntN(2) == 0 && w.out[name]:
		words, w.out[name] = "group add-member leads "+name, false
	case name != "bob" && w.random.IntN(2) == 0:
		words, w.out[name] = "group remove-member leads "+name, true
	case w.disabled[name]:
		words, w.disabled[name] = "user enable "+name, false
	default:
		w.disabled[name] = true
	}
	w.note("%s", words)
	do(w.t, w.admin, words)
}

func (w *walker) want(ok bool, format string, args ...any) {
	w.t.Helper()
	if !ok {
		w.t.Fatalf("%s; the way there:\n  %s", fmt.Sprintf(format, args...), strings.Join(w.way, "\n  "))
	}
}

// check compares the Request with the walker's account of it.
func (w *walker) check(r broker.Request) {
	w.t.Helper()
	late := (r.State == broker.StatePending || r.State == broker.StateApproved) && w.state == broker.StateLapsed
	w.want(r.State == w.state || late, "the request is %s, and should be %s", r.State, w.state)
	seen := map[policy.UserName]bool{}
	for _, a := range r.Approvals {
		w.want(!seen[a.User] && a.User != "bob" && a.User != "alice", "approvals %+v", r.Approvals)
		seen[a.User] = true
	}
	issued := slices.DeleteFunc(slices.Clone(r.Sessions), func(s broker.Session) bool { return s.State != broker.SessionIssued })
	w.want(len(issued) == w.sets, "%d sessions, and %d were released", len(issued), w.sets)
}

// Whatever happens to a Request that needs approval, in whatever order:
// credentials come of it exactly when they may.
func TestRandomWalks(t *testing.T) {
	t.Parallel()
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			walks, steps := 60, 40
			switch {
			case testing.Short():
				walks = 5
			case name == "DynamoDB":
				walks = 12
			}
			released := 0
			for seed := range walks {
				world, r := pending(t, "guarded")
				s := engine(t, world)
				w := &walker{
					world: world, b: world.at(s), admin: broker.NewAdmin(s, world.Now, nonsense{}, root), random: rand.New(rand.NewPCG(uint64(seed), 7)),
					t: t, id: r.ID, asked: pointings[0], role: pointings[0], disabled: map[string]bool{}, out: map[string]bool{},
					yes: map[string]bool{}, state: broker.StatePending, lapses: r.LapsesAt,
				}
				for range steps {
					w.step()
					r, err := s.Request(t.Context(), w.id)
					if err != nil {
						t.Fatal(err)
					}
					w.check(r)
				}
				released += w.sets
			}
			if released < walks/4 {
				t.Errorf("only %d sets were released in %d walks", released, walks)
			}
		})
	}
}
