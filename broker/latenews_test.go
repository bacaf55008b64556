package broker_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// News of a person may be late: an old "active" must not outlive a newer
// "guest", nor save asking Slack.
func TestGoodNewsIsNotBelieved(t *testing.T) {
	w := newWorld(t)
	if err := w.StandingChanged(t.Context(), alice, broker.Guest); err != nil {
		t.Fatal(err)
	}
	if err := w.StandingChanged(t.Context(), alice, broker.Active); err != nil { // late
		t.Fatal(err)
	}
	w.directory.profile.Standing = broker.Guest // as it is
	if _, err := w.Issue(t.Context(), w.ask("1", "plain")); rule(err) != broker.RuleGuest {
		t.Errorf("after late news: %v", err)
	}
	w.directory.profile.Standing = broker.Active // back again
	if err := w.StandingChanged(t.Context(), alice, broker.Active); err != nil {
		t.Fatal(err)
	}
	w.mustIssue(t, w.ask("2", "plain"))
}

// A Request stays whose it was, whoever presses its buttons: a Slack account
// that has come to be somebody else's opens nothing with it, once or twice.
func TestRequestStaysWhoseItWas(t *testing.T) {
	w := newWorld(t)
	ask := w.ask("1", "readonly")
	ask.Words = "alice's own reason"
	first := w.mustIssue(t, ask)
	w.rebind(t, alice, "bob")
	for i, key := range []string{"2", "3"} {
		if _, err := w.IssueAgain(t.Context(), w.again(key, first.Request.ID)); !errors.Is(err, broker.ErrDenied) {
			t.Errorf("press %d: %v", i+1, err)
		}
	}
	if r := w.request(t, first.Request.ID); r.User != "alice" || r.UserID != first.Request.UserID {
		t.Errorf("the request is now %s's", r.User)
	}
	if n := len(w.assumed()); n != 1 {
		t.Errorf("AssumeRole was called %d times", n)
	}
}

// A window has only so many Sessions, and a refusal past that adds none.
func TestWindowIsBounded(t *testing.T) {
	w := newWorld(t)
	ask := w.ask("1", "readonly")
	ask.Duration = 8 * time.Hour
	first := w.mustIssue(t, ask)
	r := w.request(t, first.Request.ID)
	for len(r.Sessions) < 100 {
		s := r.Sessions[0]
		s.Key = "another"
		r.Sessions = append(r.Sessions, s)
	}
	if _, err := w.store.PutRequest(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if _, err := w.IssueAgain(t.Context(), w.again("2", r.ID)); rule(err) != broker.RuleWindowEnding {
		t.Errorf("one more: %v", err)
	}
	if n := len(w.request(t, r.ID).Sessions); n != 100 {
		t.Errorf("%d sessions", n)
	}
}

// Beyond what anybody types, asking leaves a line in the log and nothing else.
func TestFloodIsNotStored(t *testing.T) {
	w := newWorld(t)
	var refused int
	for i := range 150 {
		var r *broker.Refusal
		ask := w.ask(strings.Repeat("x", i+1), "guarded")
		if _, err := w.Issue(t.Context(), ask); errors.As(err, &r) && r.Decision.Rule == broker.RuleRate {
			refused++
			if _, err := w.store.Request(t.Context(), ask.RequestID()); !errors.Is(err, broker.ErrNotFound) {
				t.Errorf("the flood is stored: %v", err)
			}
			if !strings.Contains(w.journal.String(), r.RequestID) {
				t.Error("the flood is not logged")
			}
		}
	}
	if refused != 50 {
		t.Errorf("%d of 150 were refused for their number", refused)
	}
	if _, err := w.Whoami(t.Context(), alice, "1"); rule(err) != broker.RuleRate {
		t.Errorf("whoami: %v", err)
	}
}

// A neighbour that panics fails one request, and not the program.
func TestPanicsOfNeighbours(t *testing.T) {
	w := newWorld(t)
	w.tap.watch(func(call string, _ int) error {
		if call == "Identify" {
			panic("the store has a bug")
		}
		return nil
	}, nil)
	var fault *broker.Fault
	if _, err := w.Issue(t.Context(), w.ask("1", "plain")); !errors.As(err, &fault) || fault.Code != broker.FaultStore {
		t.Errorf("issue: %v", err)
	}
	if n := len(w.assumed()); n != 0 {
		t.Errorf("AssumeRole was called %d times", n)
	}
}

// What administrators do is logged by whoever passes it on.
func TestAdministrationIsLogged(t *testing.T) {
	w := newWorld(t)
	w.change(t, "alice", func(u *broker.User) { u.Groups = append(u.Groups, "nowhere") })
	user, err := w.store.User(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	e := broker.Event{ID: "01JDCKQ0000000000000000000", Event: broker.EventUserChanged, Time: w.Now(), Actor: "carol@host", Subject: "alice"}
	user.Trail.Events = append(user.Trail.Events, e)
	user.Trail.Notices = append(user.Trail.Notices, broker.Notice{ID: e.ID, Kind: broker.NoticeAudit, Due: w.Now(), Event: &e})
	if _, err := w.store.PutUser(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := w.Due(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(w.journal.String(), e.ID); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
}

// rebind makes a Slack account another User's.
func (w *world) rebind(t *testing.T, id broker.SlackID, name policy.UserName) {
	t.Helper()
	user, err := w.store.User(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	user.Slack = id
	if user, err = w.store.PutUser(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	identity, err := w.store.Identity(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	identity.User, identity.UserID = user.Name, user.ID
	if _, err := w.store.PutIdentity(t.Context(), identity); err != nil {
		t.Fatal(err)
	}
}
