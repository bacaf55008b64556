package broker_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

func TestBindByEmail(t *testing.T) {
	t.Parallel()
	confirmed := broker.Profile{Standing: broker.Active, Email: "erin@example.com", EmailConfirmed: true}
	tests := []struct {
		name    string
		prepare func(*testing.T, *world)
		profile broker.Profile
		want    policy.Rule // "": bound
	}{
		{"confirmed", nil, confirmed, ""},
		{"turned off", func(t *testing.T, w *world) { w.apply(t, without(rules, "settings: {bind_by_email: true}\n")) }, confirmed, broker.RuleUnbound},
		{"not confirmed", nil, broker.Profile{Standing: broker.Active, Email: "erin@example.com"}, broker.RuleEmailMissing},
		{"no address", nil, broker.Profile{Standing: broker.Active, EmailConfirmed: true}, broker.RuleEmailMissing},
		{"nobody's address", nil, broker.Profile{Standing: broker.Active, Email: "eve@example.com", EmailConfirmed: true}, broker.RuleEmailUnknown},
		{"two users' address", func(t *testing.T, w *world) {
			w.change(t, "alice", func(u *broker.User) { u.Email = "erin@example.com" })
		}, confirmed, broker.RuleEmailAmbiguous},
		{"the address of somebody bound", func(t *testing.T, w *world) {
			w.change(t, "erin", func(u *broker.User) { u.Slack = broker.SlackID{Team: "T0AB", User: "UOTHER"} })
		}, confirmed, broker.RuleEmailPinned},
		{"an application's address", func(t *testing.T, w *world) {
			w.change(t, "erin", func(u *broker.User) { u.IsApp, u.Owner = true, "alice" })
		}, confirmed, broker.RuleEmailUnknown},
		{"a removed user's address", func(t *testing.T, w *world) {
			w.change(t, "erin", func(u *broker.User) { u.Removed = true })
		}, confirmed, broker.RuleEmailUnknown},
		{"a disabled user's address", func(t *testing.T, w *world) {
			w.change(t, "erin", func(u *broker.User) { u.Enabled = false })
		}, confirmed, policy.RuleUserDisabled},
		{"a guest", nil, broker.Profile{Standing: broker.Guest, Email: "erin@example.com", EmailConfirmed: true}, broker.RuleGuest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			if tt.prepare != nil {
				tt.prepare(t, w)
			}
			w.directory.profile = tt.profile
			before, err := w.store.User(t.Context(), "erin")
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.Issue(t.Context(), w.erins("1"))
			u, _ := w.store.User(t.Context(), "erin")
			i, identityErr := w.store.Identity(t.Context(), erin)
			if tt.want == "" {
				if err != nil || u.Slack != erin || i.User != "erin" || i.UserID != u.ID || i.BoundBy != "email" || i.Standing != broker.Active {
					t.Errorf("err = %v, user %+v, identity %+v", err, u, i)
				}
				if e := u.Trail.Events; len(e) == 0 || e[len(e)-1].Event != broker.EventIdentityBound || e[len(e)-1].Slack != erin.String() {
					t.Errorf("trail %+v", e)
				}
				return
			}
			if rule(err) != tt.want {
				t.Errorf("err = %v, want rule %q", err, tt.want)
			}
			if u.Version != before.Version || !errors.Is(identityErr, broker.ErrNotFound) {
				t.Errorf("something was bound: user %+v, identity %+v", u, i)
			}
		})
	}
}

// erins is Erin, whom Starback knows by her address alone, asking for a role.
func (w *world) erins(key string) broker.Ask {
	ask := w.ask(key, "readonly")
	ask.Caller = erin
	return ask
}

// A binding is two writes. Cut off between them, it binds nobody, and the next
// request completes it.
func TestBindByEmailCutOff(t *testing.T) {
	for _, call := range []string{"PutUser", "PutIdentity"} {
		for _, lost := range []bool{false, true} {
			w := newWorld(t)
			w.directory.profile = broker.Profile{Standing: broker.Active, Email: "erin@example.com", EmailConfirmed: true}
			if lost {
				w.tap.watch(nil, nth(call, 1))
			} else {
				w.tap.watch(nth(call, 1), nil)
			}
			if _, err := w.Issue(t.Context(), w.erins("1")); faultCode(err) != broker.FaultStore {
				t.Errorf("%s fails (lost: %v): %v", call, lost, err)
			}
			w.tap.watch(nil, nil)
			if got, err := w.Issue(t.Context(), w.erins("2")); err != nil || !released(got) {
				t.Errorf("after %s failed (lost: %v): %v", call, lost, err)
			}
			u, err := w.store.User(t.Context(), "erin")
			if err != nil || u.Slack != erin {
				t.Errorf("user %+v, %v", u, err)
			}
		}
	}
}

// Two people with one address race for its user: one is bound, once.
func TestBindByEmailRace(t *testing.T) {
	w := newWorld(t)
	w.directory.profile = broker.Profile{Standing: broker.Active, Email: "erin@example.com", EmailConfirmed: true}
	var sets atomic.Int32
	var all sync.WaitGroup
	for _, id := range []broker.SlackID{erin, {Team: "T0AB", User: "UEVE"}} {
		ask := w.erins("1")
		ask.Caller = id
		all.Go(func() {
			if got, _ := w.Issue(t.Context(), ask); released(got) {
				sets.Add(1)
			}
		})
	}
	all.Wait()
	if n := sets.Load(); n != 1 {
		t.Errorf("%d of two people became erin", n)
	}
}

// One person's two first commands may both succeed.
func TestBindByEmailTwiceAtOnce(t *testing.T) {
	w := newWorld(t)
	w.directory.profile = broker.Profile{Standing: broker.Active, Email: "erin@example.com", EmailConfirmed: true}
	meet := meeting(t)
	w.tap.watch(func(call string, n int) error {
		if call == "PutUser" && n <= 2 {
			meet()
		}
		return nil
	}, nil)
	var all sync.WaitGroup
	for _, key := range []string{"1", "2"} {
		all.Go(func() {
			if _, err := w.Issue(t.Context(), w.erins(key)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
