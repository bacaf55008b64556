package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// testTokens tests how Users are found by their Tokens.
func testTokens(t *testing.T, open func(*testing.T) Store) {
	cases(t, open, []promise{
		{"an ID that is nobody's finds nobody", func(t *testing.T, s Store) {
			ctx := t.Context()
			for _, id := range []string{tokenID, "", "%"} {
				wantSame(t, must(s.IdentifyToken(ctx, id))(t), broker.Facts{})
			}
			withToken(t, s, alice())
			must(s.PutIdentity(ctx, aliceIdentity()))(t)
			wantNoErr(t, apply(s, 1, aDocument("first")))
			for _, id := range []string{"", "%", "token00000000", "TOKEN0000001", "token_______", "token000000"} {
				wantToken(t, s, id, broker.Facts{PolicyVersion: 1})
			}
		}},
		{"each part may be missing", func(t *testing.T, s Store) {
			ctx := t.Context()
			wantNoErr(t, s.NameToken(ctx, tokenID, "alice"))
			wantToken(t, s, tokenID, broker.Facts{})
			user := must(s.PutUser(ctx, alice()))(t)
			wantToken(t, s, tokenID, broker.Facts{})
			user.Tokens = []broker.Token{aToken("other0000001"), aToken(tokenID)}
			user = must(s.PutUser(ctx, user))(t)
			want := broker.Facts{User: user}
			wantToken(t, s, tokenID, want)
			wantNoErr(t, apply(s, 1, aDocument("first")))
			want.PolicyVersion = 1
			wantToken(t, s, tokenID, want)
			want.Identity = must(s.PutIdentity(ctx, aliceIdentity()))(t)
			wantToken(t, s, tokenID, want)
			if doc := must(s.IdentifyToken(ctx, tokenID))(t).Policy; doc.Digest() != aDocument("first").Digest() {
				t.Error("another document")
			}
			user.Slack = broker.SlackID{}
			want.User, want.Identity = must(s.PutUser(ctx, user))(t), broker.Identity{}
			wantToken(t, s, tokenID, want)
		}},
		{"it counts who has the Token, not who is said to", func(t *testing.T, s Store) {
			ctx := t.Context()
			must(s.PutIdentity(ctx, aliceIdentity()))(t)
			must(s.PutUser(ctx, broker.User{Name: "bob", ID: "x", Slack: aliceID, IsApp: true, Owner: "alice"}))(t)
			wantNoErr(t, s.NameToken(ctx, tokenID, "bob"))
			user := alice()
			user.Tokens = []broker.Token{aToken(tokenID)}
			must(s.PutUser(ctx, user))(t)
			wantToken(t, s, tokenID, broker.Facts{})
		}},
		{"a Token that is no longer of use still finds its User", func(t *testing.T, s Store) {
			user := withToken(t, s, alice())
			user.Tokens[0].Expires, user.Tokens[0].RevokedAt = clock.Add(-time.Hour), clock
			user.Enabled, user.Expires = false, clock.Add(-time.Hour)
			user = must(s.PutUser(t.Context(), user))(t)
			wantToken(t, s, tokenID, broker.Facts{User: user})
		}},
		{"an application's Owner is read too, as it is", func(t *testing.T, s Store) {
			ctx := t.Context()
			app := withToken(t, s, broker.User{Name: "ci", ID: "x", IsApp: true, Owner: "alice"})
			wantToken(t, s, tokenID, broker.Facts{User: app})
			owner := must(s.PutUser(ctx, alice()))(t)
			wantToken(t, s, tokenID, broker.Facts{User: app, Owner: owner})
			owner.Removed = true
			owner = must(s.PutUser(ctx, owner))(t)
			wantToken(t, s, tokenID, broker.Facts{User: app, Owner: owner})
			must(s.PutIdentity(ctx, aliceIdentity()))(t) // the Owner's, not the application's
			wantToken(t, s, tokenID, broker.Facts{User: app, Owner: owner})
		}},
		{"who is no application has no Owner, and one may be its own", func(t *testing.T, s Store) {
			ctx := t.Context()
			must(s.PutUser(ctx, alice()))(t)
			user := withToken(t, s, broker.User{Name: "bob", ID: "x", Owner: "alice"})
			wantToken(t, s, tokenID, broker.Facts{User: user})
			user.IsApp, user.Owner = true, "bob"
			user = must(s.PutUser(ctx, user))(t)
			wantToken(t, s, tokenID, broker.Facts{User: user, Owner: user})
		}},
		{"the Identity is the one that the User names", func(t *testing.T, s Store) {
			ctx := t.Context()
			// Whether the Identity names the User too is not the store's question.
			identity := aliceIdentity()
			identity.User = "bob"
			identity = must(s.PutIdentity(ctx, identity))(t)
			user := withToken(t, s, alice())
			wantToken(t, s, tokenID, broker.Facts{User: user, Identity: identity})
		}},
		{"follows every change at once", testTokenChanges},
		{"an ID is named for good", func(t *testing.T, s Store) {
			ctx := t.Context()
			user := withToken(t, s, alice())
			for range 2 {
				wantNoErr(t, s.NameToken(ctx, tokenID, "alice"))
				wantErr(t, s.NameToken(ctx, tokenID, "mallory"), broker.ErrConflict)
				wantErr(t, s.NameToken(ctx, tokenID, "Alice"), broker.ErrConflict)
			}
			wantNoErr(t, s.NameToken(ctx, "TOKEN0000001", "mallory")) // another ID
			wantToken(t, s, tokenID, broker.Facts{User: user})
		}},
		{"an ID is named once among many writers", func(t *testing.T, s Store) {
			ctx := t.Context()
			var winner atomic.Pointer[policy.UserName]
			together(writers, func(i int) {
				name := policy.UserName(fmt.Sprint("user-", i%8)) // four writers each
				err := s.NameToken(ctx, tokenID, name)
				if err == nil {
					if was := winner.Swap(&name); was != nil && *was != name {
						t.Errorf("it was named for %s and for %s", *was, name)
					}
				} else if !errors.Is(err, broker.ErrConflict) {
					t.Error(err)
				}
			})
			if winner.Load() == nil {
				t.Fatal("it was named for nobody")
			}
			user := broker.User{Name: *winner.Load(), ID: "x", Tokens: []broker.Token{aToken(tokenID)}}
			wantToken(t, s, tokenID, broker.Facts{User: must(s.PutUser(ctx, user))(t)})
		}},
		{"without an ID or a User there is nothing to name", func(t *testing.T, s Store) {
			wantErr(t, s.NameToken(t.Context(), "", "alice"), broker.ErrInvalid)
			wantErr(t, s.NameToken(t.Context(), tokenID, ""), broker.ErrInvalid)
		}},
	})
}

// testTokenChanges changes everything that a Token leads to, and looks at it
// twice after each change: what was known before must not stand for what is.
func testTokenChanges(t *testing.T, s Store) {
	ctx := t.Context()
	owners := map[policy.UserName]broker.User{}
	for _, name := range []policy.UserName{"bob", "carol"} {
		owners[name] = must(s.PutUser(ctx, broker.User{Name: name, ID: "x"}))(t)
	}
	identities := map[broker.SlackID]broker.Identity{}
	for _, id := range []broker.SlackID{aliceID, {Team: "T012AB", User: "U0457"}, {Team: "T999ZZ", User: "U0456"}} {
		identities[id] = must(s.PutIdentity(ctx, broker.Identity{Slack: id, User: "alice"}))(t)
	}
	user := withToken(t, s, alice())
	held := user.Tokens
	for version, change := range []func(){
		func() {},
		func() { user.IsApp, user.Owner = true, "bob" },
		func() { user.Owner = "carol" },
		func() { user.Owner = "nobody" },
		func() { user.Owner, user.Slack = "bob", broker.SlackID{Team: "T012AB", User: "U0457"} },
		func() { user.Slack.Team = "T999ZZ" }, // nobody's
		func() { user.Slack.User = "U0456" },
		func() { user.IsApp = false },
		func() { user.Tokens = []broker.Token{aToken("other0000001")} },
		func() { user.Tokens = held },
		func() { user.Slack = broker.SlackID{} },
		func() { user.Tokens = nil },
		func() { user.Tokens, user.Removed = held, true },
	} {
		change()
		user = must(s.PutUser(ctx, user))(t)
		wantNoErr(t, apply(s, int64(version+1), aDocument(fmt.Sprint(version))))
		want := broker.Facts{PolicyVersion: int64(version + 1)}
		if len(user.Tokens) > 0 && user.Tokens[0].ID == tokenID {
			want.User, want.Identity = user, identities[user.Slack]
			if user.IsApp {
				want.Owner = owners[user.Owner]
			}
		}
		for range 2 {
			wantToken(t, s, tokenID, want)
		}
		for name, u := range owners {
			u.Enabled = !u.Enabled
			owners[name] = must(s.PutUser(ctx, u))(t)
		}
		for id, i := range identities {
			i.SeenAt = i.SeenAt.Add(time.Second)
			identities[id] = must(s.PutIdentity(ctx, i))(t)
		}
	}
}

// tokenID is the ID of a Token.
const tokenID = "token0000001"

// aToken is a Token with something in every kind of field.
func aToken(id string) broker.Token {
	return broker.Token{
		ID: id, Hash: "6f0c", Label: "CI <main>", Roles: []policy.RoleName{"prod-readonly"},
		May: []broker.Capability{broker.MayApprove}, CreatedAt: clock, CreatedBy: "alice", Expires: clock.Add(time.Hour),
	}
}

// withToken stores u with a Token, which is named before.
func withToken(t *testing.T, s Store, u broker.User) broker.User {
	t.Helper()
	wantNoErr(t, s.NameToken(t.Context(), tokenID, u.Name))
	u.Tokens = []broker.Token{aToken(tokenID)}
	return must(s.PutUser(t.Context(), u))(t)
}

// wantToken fails the test unless the Token finds what is in want, whose Policy
// is left out.
func wantToken(t *testing.T, s Store, id string, want broker.Facts) {
	t.Helper()
	got, err := s.IdentifyToken(t.Context(), id)
	wantNoErr(t, err)
	if (got.Policy != nil) != (want.PolicyVersion > 0) {
		t.Fatalf("a document: %v, with version %d", got.Policy != nil, want.PolicyVersion)
	}
	got.Policy = nil
	wantSame(t, got, want)
}
