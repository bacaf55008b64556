package broker_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// bearer is an ask with a token.
func (w *world) bearer(key string, token broker.Secret, role policy.RoleName) broker.Ask {
	return broker.Ask{Token: token, Surface: broker.SurfaceAPI, Key: key, Role: role, Deadline: w.Now().Add(time.Minute)}
}

// Whoever has a Token gets what its user may ask for, less what the Token is
// not for; and nothing once anything is amiss.
func TestIssueWithToken(t *testing.T) {
	const cascade = "readonly2: {account: prod, iam_role: starback/ReadOnly, max_duration: 1h, includes: [plain]}"
	for _, tt := range []struct {
		name  string
		wish  broker.TokenWish
		then  []string // TOKEN stands for its ID
		wait  time.Duration
		slack broker.Standing
		role  policy.RoleName
		want  policy.Rule // "" for credentials
	}{
		{name: "any role", wish: broker.TokenWish{User: "ci", AnyRole: true}, role: "readonly2"},
		{name: "any role, by cascade", wish: broker.TokenWish{User: "ci", AnyRole: true}, role: "plain"},
		{name: "a person's", wish: broker.TokenWish{User: "alice", AnyRole: true}, role: "readonly"},
		{name: "for the role", wish: broker.TokenWish{User: "ci", Roles: []policy.RoleName{"readonly2"}}, role: "readonly2"},
		{name: "for another role", wish: broker.TokenWish{User: "ci", Roles: []policy.RoleName{"plain"}}, role: "readonly2", want: policy.RuleTokenLimited},
		{name: "not widened by what its role includes", wish: broker.TokenWish{User: "ci", Roles: []policy.RoleName{"readonly2"}}, role: "plain", want: policy.RuleTokenLimited},
		{name: "for a role its user may not ask for", wish: broker.TokenWish{User: "ci", Roles: []policy.RoleName{"readonly"}}, role: "readonly", want: policy.RuleNotGranted},
		{name: "revoked", wish: broker.TokenWish{User: "ci", AnyRole: true}, then: []string{"token revoke ci TOKEN"}, role: "readonly2", want: broker.RuleTokenRevoked},
		{name: "expired", wish: broker.TokenWish{User: "ci", AnyRole: true, Life: time.Hour}, wait: time.Hour, role: "readonly2", want: broker.RuleTokenExpired},
		{name: "its user disabled", wish: broker.TokenWish{User: "ci", AnyRole: true}, then: []string{"user disable ci"}, role: "readonly2", want: policy.RuleUserDisabled},
		{name: "its user removed", wish: broker.TokenWish{User: "ci", AnyRole: true}, then: []string{"user remove ci"}, role: "readonly2", want: broker.RuleTokenUnknown},
		{name: "its user expired", wish: broker.TokenWish{User: "alice", AnyRole: true}, then: []string{"user renew alice --until 1h"}, wait: time.Hour, role: "readonly", want: policy.RuleUserExpired},
		{name: "the owner disabled", wish: broker.TokenWish{User: "ci", AnyRole: true}, then: []string{"user disable alice"}, role: "readonly2", want: policy.RuleOwnerDisabled},
		{name: "the owner removed", wish: broker.TokenWish{User: "ci", AnyRole: true}, then: []string{"user remove alice"}, role: "readonly2", want: policy.RuleOwnerDisabled},
		{name: "the owner expired", wish: broker.TokenWish{User: "ci", AnyRole: true}, then: []string{"user renew alice --until 1h"}, wait: time.Hour, role: "readonly2", want: policy.RuleOwnerExpired},
		{name: "the owner has left Slack", wish: broker.TokenWish{User: "ci", AnyRole: true}, wait: 6 * time.Minute, slack: broker.Deleted, role: "readonly2", want: broker.RuleDeleted},
		{name: "a person who has become a guest", wish: broker.TokenWish{User: "alice", AnyRole: true}, wait: 6 * time.Minute, slack: broker.Guest, role: "readonly", want: broker.RuleGuest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.apply(t, replace(rules, "readonly2: {account: prod, iam_role: starback/ReadOnly, max_duration: 1h}", cascade))
			admin := w.admin(w.tap)
			do(t, admin, "user add ci --owner alice", "grant add readonly2 --user ci")
			made, token, err := admin.CreateToken(t.Context(), tt.wish)
			if err != nil {
				t.Fatal(err)
			}
			for _, words := range tt.then {
				do(t, admin, strings.ReplaceAll(words, "TOKEN", made.ID))
			}
			w.advance(tt.wait)
			if tt.slack != "" {
				w.directory.profile.Standing = tt.slack
			}
			issued, err := w.Issue(t.Context(), w.bearer("1", token, tt.role))
			if rule(err) != tt.want || released(issued) != (tt.want == "") {
				t.Fatalf("issued %v, err = %v", released(issued), err)
			}
			if tt.want != "" {
				return
			}
			r := w.request(t, issued.Request.ID)
			if r.TokenID != made.ID || !r.Slack.IsZero() || r.User != tt.wish.User {
				t.Errorf("request %+v", r)
			}
			for _, e := range r.Trail.Events {
				if e.TokenID != made.ID {
					t.Errorf("event %+v", e)
				}
			}
			if _, err := w.Issue(t.Context(), w.bearer("1", token, tt.role)); !errors.As(err, new(*broker.AlreadyIssued)) {
				t.Errorf("the same again: %v", err)
			}
		})
	}
}

// Who knows a Token's ID, and not the rest, has nothing.
func TestForgedToken(t *testing.T) {
	w := newWorld(t)
	admin := w.admin(w.tap)
	_, token, err := admin.CreateToken(t.Context(), broker.TokenWish{User: "alice", AnyRole: true})
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := admin.CreateToken(t.Context(), broker.TokenWish{User: "alice", AnyRole: true})
	if err != nil {
		t.Fatal(err)
	}
	forged := reseal(token.Reveal()[:21] + other.Reveal()[21:51])
	if _, err := w.Issue(t.Context(), w.bearer("1", forged, "readonly")); rule(err) != broker.RuleTokenUnknown {
		t.Errorf("err = %v", err)
	}
	unknown := reseal(broker.TokenPrefix + strings.Repeat("A", 42))
	if _, err := w.Issue(t.Context(), w.bearer("1", unknown, "readonly")); rule(err) != broker.RuleTokenUnknown {
		t.Errorf("err = %v", err)
	}
	if _, err := w.Issue(t.Context(), w.bearer("1", broker.NewSecret("nonsense"), "readonly")); !errors.Is(err, broker.ErrInvalid) {
		t.Errorf("err = %v", err)
	}
	both := w.bearer("1", token, "readonly")
	both.Caller = bob
	if _, err := w.Issue(t.Context(), both); !errors.Is(err, broker.ErrInvalid) {
		t.Errorf("a token and a Slack account: %v", err)
	}
}

// reseal gives what begins like a token a checksum that fits: the form of a
// token is no secret.
func reseal(body string) broker.Secret {
	return broker.NewSecret(body + broker.TokenSum(body))
}

// The last use of a Token is known to the hour, for one write an hour.
func TestTokenLastUse(t *testing.T) {
	w := newWorld(t)
	admin := w.admin(w.tap)
	_, token, err := admin.CreateToken(t.Context(), broker.TokenWish{User: "alice", AnyRole: true})
	if err != nil {
		t.Fatal(err)
	}
	uses := func(wait time.Duration, writes int) {
		t.Helper()
		w.advance(wait)
		w.tap.watch(nil, nil)
		w.mustIssue(t, w.bearer(fmt.Sprint(w.Now()), token, "readonly"))
		n := 0
		for _, call := range w.tap.wrote() {
			if call == "PutUser" {
				n++
			}
		}
		if n != writes {
			t.Errorf("%d writes of the user, want %d", n, writes)
		}
	}
	uses(0, 1)
	first := w.Now()
	uses(59*time.Minute, 0)
	if u, err := w.store.User(t.Context(), "alice"); err != nil || !u.Tokens[0].LastUsed.Equal(first) {
		t.Errorf("used at %v, %v", u.Tokens[0].LastUsed, err)
	}
	uses(time.Minute, 1)
	// An administrator at the same time loses none of it, nor is held up.
	do(t, admin, "user renew alice --until 30d")
	if u, err := w.store.User(t.Context(), "alice"); err != nil || !u.Tokens[0].LastUsed.Equal(first.Add(time.Hour)) {
		t.Errorf("used at %v, %v", u.Tokens[0].LastUsed, err)
	}
}

// With the very Token that asked, and with nothing else, more is had of a
// Request: by exactly one caller, and while the Token is good.
func TestUseWithToken(t *testing.T) {
	t.Parallel()
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := engine(t, w)
			b := w.ending(s, &revoker{})
			admin := broker.NewAdmin(s, w.Now, rand.Reader, root)
			made, token, err := admin.CreateToken(t.Context(), broker.TokenWish{User: "bob", AnyRole: true})
			if err != nil {
				t.Fatal(err)
			}
			_, other, err := admin.CreateToken(t.Context(), broker.TokenWish{User: "bob", AnyRole: true})
			if err != nil {
				t.Fatal(err)
			}
			do(t, admin, "grant add readonly --user bob")
			issued, err := b.Issue(t.Context(), w.bearer("1", token, "readonly"))
			if err != nil {
				t.Fatal(err)
			}
			typed := w.ask("typed", "readonly")
			typed.Caller = bob
			byHand, err := b.Issue(t.Context(), typed)
			if err != nil {
				t.Fatal(err)
			}
			key := 0
			more := func(request string, slack broker.SlackID, token broker.Secret) broker.AskAgain {
				key++
				return broker.AskAgain{Caller: slack, Token: token, RequestID: request, Key: fmt.Sprint(key), Deadline: w.Now().Add(time.Minute)}
			}
			notFound := func(err error) bool { return errors.Is(err, broker.ErrNotFound) }
			invalid := func(err error) bool { return errors.Is(err, broker.ErrInvalid) }
			id := issued.Request.ID
			for _, tt := range []struct {
				name string
				ask  broker.AskAgain
				is   func(error) bool // nil for credentials
			}{
				{"the token that asked", more(id, broker.SlackID{}, token), nil},
				{"another of the same user", more(id, broker.SlackID{}, other), notFound},
				{"the user, in Slack", more(id, bob, broker.Secret{}), notFound},
				{"somebody else", more(id, alice, broker.Secret{}), notFound},
				{"nobody", more(id, broker.SlackID{}, broker.Secret{}), invalid},
				{"both", more(id, bob, token), invalid},
				{"no token", more(id, broker.SlackID{}, broker.NewSecret("nonsense")), invalid},
				{"what was typed, with a token", more(byHand.Request.ID, broker.SlackID{}, token), notFound},
				{"what there is not", more("00000000000000000000", broker.SlackID{}, token), notFound},
			} {
				for way, issue := range map[string]func(context.Context, broker.AskAgain) (broker.Issued, error){"use": b.Use, "again": b.IssueAgain} {
					ask := tt.ask
					ask.Key += way
					got, err := issue(t.Context(), ask)
					if released(got) != (tt.is == nil) || tt.is != nil && !tt.is(err) {
						t.Errorf("%s, %s: %v", tt.name, way, err)
					}
				}
			}
			if _, err := b.Asked(t.Context(), other, id); !notFound(err) {
				t.Errorf("seen by another: %v", err)
			}
			if r, err := b.Asked(t.Context(), token, id); err != nil || r.ID != id || len(r.Sessions) != 3 {
				t.Errorf("seen by its own: %d sessions, %v", len(r.Sessions), err)
			}
			do(t, admin, "token revoke bob "+made.ID)
			before, err := s.Request(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			for name, err := range map[string]error{
				"use":            second(b.Use(t.Context(), more(id, broker.SlackID{}, token))),
				"the same again": second(b.Issue(t.Context(), w.bearer("1", token, "readonly"))),
				"asked":          second(b.Asked(t.Context(), token, id)),
				"who bears":      second(b.WhoBears(t.Context(), token, "1")),
			} {
				if rule(err) != broker.RuleTokenRevoked {
					t.Errorf("%s, once revoked: %v", name, err)
				}
			}
			if after, err := s.Request(t.Context(), id); err != nil || len(after.Sessions) != len(before.Sessions) {
				t.Errorf("sessions %+v, %v", after.Sessions, err)
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

// Whoever answers for an application sees what it has open, and ends it; nobody
// else does.
func TestOwnerSeesAndEnds(t *testing.T) {
	t.Parallel()
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := engine(t, w)
			b := w.ending(s, &revoker{})
			admin := broker.NewAdmin(s, w.Now, rand.Reader, root)
			do(t, admin, "user add ci --owner alice", "grant add plain --user ci")
			_, token, err := admin.CreateToken(t.Context(), broker.TokenWish{User: "ci", AnyRole: true})
			if err != nil {
				t.Fatal(err)
			}
			issued, err := b.Issue(t.Context(), w.bearer("1", token, "plain"))
			if err != nil {
				t.Fatal(err)
			}
			sees := func(who broker.SlackID, want int) {
				t.Helper()
				open, _, err := b.Sessions(t.Context(), who, "1")
				if err != nil || len(open) != want || want > 0 && open[0].ID != issued.Request.ID {
					t.Errorf("%s sees %+v, %v", who, open, err)
				}
			}
			ending := broker.Ending{RequestID: issued.Request.ID, Deadline: w.Now().Add(time.Minute)}
			sees(bob, 0)
			ending.Caller = bob
			if _, err := b.End(t.Context(), ending); rule(err) != broker.RuleNotYours {
				t.Errorf("ended by somebody else: %v", err)
			}
			sees(alice, 1)
			ending.Caller = alice
			if r, err := b.End(t.Context(), ending); err != nil || r.State != broker.StateClosed || r.Sessions[0].EndedAt.IsZero() {
				t.Errorf("ended by its owner: %+v, %v", r, err)
			}
			sees(alice, 0)
		})
	}
}

// A Token that is for fewer Roles than when it asked has no more of what it asked
// for then, be it open or approved.
func TestLimitedTokenHasNoMore(t *testing.T) {
	w := newWorld(t)
	w.apply(t, approvals)
	do(t, w.admin(w.tap), "grant add readonly --user robot")
	_, token, err := w.admin(w.tap).CreateToken(t.Context(), broker.TokenWish{User: "robot", AnyRole: true})
	if err != nil {
		t.Fatal(err)
	}
	open := w.mustIssue(t, w.bearer("1", token, "readonly")).Request
	ask := w.bearer("2", token, "guarded")
	ask.Words = "disk is full"
	_, err = w.Issue(t.Context(), ask)
	var waiting *broker.Waiting
	if !errors.As(err, &waiting) {
		t.Fatal(err)
	}
	approved := w.approve(t, ida, waiting.Request)
	w.change(t, "robot", func(u *broker.User) {
		u.Tokens[0].AnyRole, u.Tokens[0].Roles = false, []policy.RoleName{"plain"}
	})
	for _, r := range []broker.Request{open, approved} {
		got, err := w.Use(t.Context(), broker.AskAgain{Token: token, RequestID: r.ID, Key: "more", Deadline: w.Now().Add(time.Minute)})
		if rule(err) != policy.RuleTokenLimited || released(got) {
			t.Errorf("%s: %v", r.State, err)
		}
	}
}
