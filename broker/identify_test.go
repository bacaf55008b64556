package broker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// Invariant 5: disabled, expired, unbound, removed: nothing, on the very next
// request, whichever way it comes.
func TestWhoIsNotEntitledGetsNothingOnTheNextRequest(t *testing.T) {
	t.Parallel()
	user := func(f func(*broker.User)) func(*testing.T, *world) {
		return func(t *testing.T, w *world) { w.change(t, "alice", f) }
	}
	tests := []struct {
		name   string
		change func(*testing.T, *world)
		want   policy.Rule // "": nothing changes
	}{
		{"nothing", user(func(*broker.User) {}), ""},
		{"disabled", user(func(u *broker.User) { u.Enabled = false }), policy.RuleUserDisabled},
		{"expires now", user(func(u *broker.User) { u.Expires = began }), policy.RuleUserExpired},
		{"expires in 15 minutes", user(func(u *broker.User) { u.Expires = began.Add(15 * time.Minute) }), ""},
		{"expires within 15 minutes", user(func(u *broker.User) { u.Expires = began.Add(15*time.Minute - 1) }), policy.RuleEndsSoon},
		{"no expiry", user(func(u *broker.User) { u.Expires = time.Time{} }), policy.RuleUserExpired},
		{"removed", user(func(u *broker.User) { u.Removed = true }), policy.RuleUserUnknown},
		{"without the group", user(func(u *broker.User) { u.Groups = nil }), policy.RuleNotGranted},
		{"the user names no identity", user(func(u *broker.User) { u.Slack = broker.SlackID{} }), broker.RuleUnbound},
		{"the user names another identity", user(func(u *broker.User) { u.Slack = erin }), broker.RuleUnbound},
		{"the user is another of the name", user(func(u *broker.User) { u.ID = "01ANOTHER" }), broker.RuleUnbound},
		{"the identity names another user", func(t *testing.T, w *world) {
			w.changeIdentity(t, func(i *broker.Identity) { i.User = "bob" })
		}, broker.RuleUnbound},
		{"the identity names nobody there is", func(t *testing.T, w *world) {
			w.changeIdentity(t, func(i *broker.Identity) { i.User = "nobody" })
		}, broker.RuleUnbound},
		{"the identity names another's id", func(t *testing.T, w *world) {
			w.changeIdentity(t, func(i *broker.Identity) { i.UserID = "01ANOTHER" })
		}, broker.RuleUnbound},
		{"guest", standing(broker.Guest), broker.RuleGuest},
		{"bot", standing(broker.Bot), broker.RuleBot},
		{"deleted", standing(broker.Deleted), broker.RuleDeleted},
		{"foreign", standing(broker.Foreign), broker.RuleForeign},
		{"of no known standing", standing("retired"), broker.RuleStanding},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			first := w.mustIssue(t, w.ask("1", "readonly"))
			tt.change(t, w)
			minted := len(w.assumed())
			ask := w.ask("2", "readonly")
			_, err := w.Issue(t.Context(), ask)
			_, again := w.IssueAgain(t.Context(), w.again("3", first.Request.ID))
			if tt.want == "" {
				if err != nil || again != nil {
					t.Errorf("err = %v, again: %v", err, again)
				}
				return
			}
			if rule(err) != tt.want || rule(again) != tt.want {
				t.Errorf("rules %q and %q, want %q (%v, %v)", rule(err), rule(again), tt.want, err, again)
			}
			if len(w.assumed()) != minted {
				t.Error("AWS was asked")
			}
			r := w.request(t, ask.RequestID())
			if e := r.Trail.Events; r.State != broker.StateDenied || r.Rule != tt.want || e[1].Event != broker.EventDenied ||
				e[1].Rule != tt.want || e[1].Decision != "deny" {
				t.Errorf("recorded %+v", r)
			}
			if _, err := w.Whoami(t.Context(), alice, "4"); tt.want != policy.RuleNotGranted && tt.want != policy.RuleEndsSoon && rule(err) != tt.want {
				t.Errorf("whoami: %v", err)
			}
		})
	}
}

// standing is Slack saying something of Alice by itself.
func standing(s broker.Standing) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		if err := w.StandingChanged(t.Context(), alice, s); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) changeIdentity(t *testing.T, f func(*broker.Identity)) {
	t.Helper()
	i, err := w.store.Identity(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	f(&i)
	if _, err := w.store.PutIdentity(t.Context(), i); err != nil {
		t.Fatal(err)
	}
}

func TestUnknownCaller(t *testing.T) {
	w := newWorld(t)
	w.apply(t, without(rules, "settings: {bind_by_email: true}\n"))
	ask := w.ask("1", "readonly")
	ask.Caller = broker.SlackID{Team: "T0AB", User: "USTRANGER"}
	_, err := w.Issue(t.Context(), ask)
	var refusal *broker.Refusal
	if rule(err) != broker.RuleUnbound || !errors.As(err, &refusal) || len(refusal.MayAsk) != 0 {
		t.Errorf("err = %v", err)
	}
	if len(w.directory.asked) != 0 {
		t.Error("Slack was asked about somebody nobody knows")
	}
	if e := w.request(t, ask.RequestID()).Trail.Events[1]; e.Actor != broker.ActorUnknown || e.Slack != "T0AB/USTRANGER" {
		t.Errorf("recorded %+v", e)
	}
}

func TestStandingIsRefreshedWhenOld(t *testing.T) {
	tests := []struct {
		name  string
		after time.Duration // since it was seen
		asked int
	}{
		{"of this moment", 0, 0},
		{"5 minutes old", broker.StandingAge, 0},
		{"more than 5 minutes old", broker.StandingAge + time.Millisecond, 1},
		{"from the future", -time.Millisecond, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.changeIdentity(t, func(i *broker.Identity) { i.SeenAt = began.Add(-tt.after) })
			w.mustIssue(t, w.ask("1", "plain"))
			w.mustIssue(t, w.ask("2", "plain"))
			if n := len(w.directory.asked); n != tt.asked {
				t.Errorf("Slack was asked %d times in two requests, want %d", n, tt.asked)
			}
		})
	}
}

// Who was never seen is looked up before anything is given.
func TestStandingThatWasNeverSeen(t *testing.T) {
	w := newWorld(t)
	w.directory.profile.Standing = broker.Guest
	ask := w.ask("1", "readonly")
	ask.Caller = broker.SlackID{Team: "T0AB", User: "UROOT"}
	if _, err := w.Issue(t.Context(), ask); rule(err) != broker.RuleGuest {
		t.Errorf("err = %v", err)
	}
}

// Within 5 minutes of Slack's change the person gets nothing, though nobody
// told Starback.
func TestStandingThatWentBad(t *testing.T) {
	w := newWorld(t)
	w.mustIssue(t, w.ask("1", "plain"))
	w.directory.profile.Standing = broker.Deleted
	w.advance(broker.StandingAge + time.Millisecond)
	if _, err := w.Issue(t.Context(), w.ask("2", "plain")); rule(err) != broker.RuleDeleted {
		t.Errorf("err = %v", err)
	}
}

func TestStandingFailsClosed(t *testing.T) {
	w := newWorld(t)
	w.directory.err = errors.New("slack is down")
	w.advance(broker.StandingAge + time.Millisecond)
	ask := w.ask("1", "plain")
	got, err := w.Issue(t.Context(), ask)
	if faultCode(err) != broker.FaultDirectory || released(got) || len(w.assumed()) != 0 {
		t.Errorf("err = %v", err)
	}
	if r := w.request(t, ask.RequestID()); r.State != broker.StateClosed || r.Sessions[0].Outcome != string(broker.FaultDirectory) {
		t.Errorf("recorded %+v", r)
	}
	if _, err := w.Whoami(t.Context(), alice, "2"); faultCode(err) != broker.FaultDirectory {
		t.Errorf("whoami: %v", err)
	}
}

// What Slack said by itself while it was being asked is newer than its answer.
func TestRefreshThatLostTheRace(t *testing.T) {
	w := newWorld(t)
	w.advance(broker.StandingAge + time.Millisecond)
	w.directory.hook = func() { standing(broker.Deleted)(t, w) }
	if _, err := w.Issue(t.Context(), w.ask("1", "plain")); rule(err) != broker.RuleDeleted {
		t.Errorf("err = %v", err)
	}
	if i, err := w.store.Identity(t.Context(), alice); err != nil || i.Standing != broker.Deleted {
		t.Errorf("stored %+v, %v", i, err)
	}
}

// An identity that was bound to somebody else while Slack was being asked does
// not get what its last user had.
func TestRefreshThatLostTheBinding(t *testing.T) {
	w := newWorld(t)
	w.advance(broker.StandingAge + time.Millisecond)
	w.directory.hook = func() {
		w.changeIdentity(t, func(i *broker.Identity) {
			i.User, i.UserID, i.Standing, i.SeenAt = "bob", "01BOB", broker.Active, w.Now()
		})
	}
	if _, err := w.Issue(t.Context(), w.ask("1", "plain")); rule(err) != broker.RuleUnbound {
		t.Errorf("err = %v", err)
	}
}

func TestStandingChanged(t *testing.T) {
	w := newWorld(t)
	if err := w.StandingChanged(t.Context(), broker.SlackID{Team: "T0AB", User: "USTRANGER"}, broker.Guest); err != nil {
		t.Errorf("a stranger: %v", err)
	}
	var conflicted bool
	w.tap.watch(func(call string, n int) error {
		if call == "PutIdentity" && n == 1 { // somebody else is quicker, once
			conflicted = true
			w.changeIdentity(t, func(i *broker.Identity) { i.SeenAt = w.Now() })
		}
		return nil
	}, nil)
	standing(broker.Guest)(t, w)
	standing(broker.Guest)(t, w) // nothing new: no Event
	i, err := w.store.Identity(t.Context(), alice)
	if err != nil || i.Standing != broker.Guest || !conflicted {
		t.Errorf("stored %+v, %v", i, err)
	}
	recorded, err := w.store.Events(t.Context(), broker.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var changes []broker.Event
	for _, e := range recorded {
		if e.Event == broker.EventStanding {
			changes = append(changes, e)
		}
	}
	if len(changes) != 1 || changes[0].Subject != "alice" || changes[0].Detail != "Slack says: guest." {
		t.Errorf("events %+v", changes)
	}
	w.tap.watch(nth("Identity", 0), nil)
	if err := w.StandingChanged(t.Context(), alice, broker.Active); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("a store that is down: %v", err)
	}
}

func TestWhoami(t *testing.T) {
	w := newWorld(t)
	me, err := w.Whoami(t.Context(), alice, "1")
	if err != nil || me.User.Name != "alice" || me.Slack != alice || me.Admin || me.PolicyVersion != 1 {
		t.Errorf("%+v, %v", me, err)
	}
	var names []policy.RoleName
	for _, r := range me.Roles {
		names = append(names, r.Name)
	}
	if len(names) != 3 || names[0] != "plain" || names[1] != "readonly" || names[2] != "ticketed" {
		t.Errorf("roles %v", names)
	}
	me, err = w.Whoami(t.Context(), broker.SlackID{Team: "T0AB", User: "UROOT"}, "2")
	if err != nil || !me.Admin || len(me.Roles) != 0 {
		t.Errorf("root: %+v, %v", me, err)
	}
}

// A refused question is in the trail, or it is not answered.
func TestWhoamiRefused(t *testing.T) {
	w := newWorld(t)
	w.change(t, "alice", func(u *broker.User) { u.Enabled = false })
	_, err := w.Whoami(t.Context(), alice, "1")
	var refusal *broker.Refusal
	if !errors.As(err, &refusal) || refusal.Decision.Rule != policy.RuleUserDisabled {
		t.Fatalf("err = %v", err)
	}
	found, err := w.store.Events(t.Context(), broker.EventQuery{RequestID: refusal.RequestID})
	if err != nil || len(found) != 1 || found[0].Event != broker.EventLookupDenied || found[0].Actor != "alice" {
		t.Errorf("events %+v, %v", found, err)
	}
	w.tap.watch(nth("Append", 1), nil)
	if _, err := w.Whoami(t.Context(), alice, "2"); faultCode(err) != broker.FaultStore {
		t.Errorf("without a trail: %v", err)
	}
}

func TestSetShell(t *testing.T) {
	w := newWorld(t)
	raced := false
	w.tap.watch(func(call string, n int) error {
		if call == "PutUser" && n == 1 {
			raced = true
			w.change(t, "alice", func(u *broker.User) { u.Email = "alice@example.com" })
		}
		return nil
	}, nil)
	if err := w.SetShell(t.Context(), alice, broker.Fish); err != nil {
		t.Fatal(err)
	}
	u, err := w.store.User(t.Context(), "alice")
	if err != nil || u.Shell != broker.Fish || u.Email != "alice@example.com" || !raced {
		t.Errorf("user %+v, %v", u, err)
	}
	for _, id := range []broker.SlackID{alice, {Team: "T0AB", User: "USTRANGER"}} { // chosen already; nobody
		if err := w.SetShell(context.Background(), id, broker.Fish); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	if after, _ := w.store.User(t.Context(), "alice"); after.Version != u.Version {
		t.Error("the same choice was written again")
	}
}
