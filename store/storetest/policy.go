package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// testPolicy tests the versions of the Policy.
func testPolicy(t *testing.T, open func(*testing.T) Store) {
	cases(t, open, []promise{
		{"before the first version there is none", func(t *testing.T, s Store) {
			head, doc, err := s.Head(t.Context())
			wantNoErr(t, err)
			wantSame(t, head, broker.Head{})
			if doc != nil {
				t.Error("there is a document")
			}
			_, _, err = s.Policy(t.Context(), 1)
			wantErr(t, err, broker.ErrNotFound)
		}},
		{"the newest version is the head, and every one stays as it was", func(t *testing.T, s Store) {
			ctx := t.Context()
			// The fourth is the first again, as after a rollback.
			words := []string{"first", "second", "third", "first"}
			for i, word := range words {
				version, doc := int64(i+1), aDocument(word)
				wantNoErr(t, apply(s, version, doc))
				head, got, err := s.Head(ctx)
				wantNoErr(t, err)
				wantPolicy(t, head, got, version, doc)
			}
			for i, word := range words {
				head, got, err := s.Policy(ctx, int64(i+1))
				wantNoErr(t, err)
				wantPolicy(t, head, got, int64(i+1), aDocument(word))
			}
			_, _, err := s.Policy(ctx, int64(len(words)+1))
			wantErr(t, err, broker.ErrNotFound)
			_, _, err = s.Policy(ctx, 0)
			wantErr(t, err, broker.ErrNotFound)
		}},
		{"the versions are listed, newest first", func(t *testing.T, s Store) {
			ctx := t.Context()
			list := func(before int64, limit int) (versions []int64) {
				t.Helper()
				heads, err := s.Versions(ctx, before, limit)
				wantNoErr(t, err)
				for _, h := range heads {
					wantSame(t, h, aHead(h.Version, aDocument(fmt.Sprint("document ", h.Version))))
					versions = append(versions, h.Version)
				}
				return versions
			}
			wantSame(t, list(0, 10), []int64(nil))
			for v := range int64(12) {
				wantNoErr(t, apply(s, v+1, aDocument(fmt.Sprint("document ", v+1))))
			}
			wantSame(t, list(0, 3), []int64{12, 11, 10})
			wantSame(t, list(0, 1), []int64{12})
			wantSame(t, list(10, 3), []int64{9, 8, 7})
			wantSame(t, list(3, 10), []int64{2, 1})
			wantSame(t, list(1, 10), []int64(nil))
			wantSame(t, list(99, 2), []int64{12, 11})
			wantSame(t, list(0, 0), []int64(nil))
			wantSame(t, list(0, 100), []int64{12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1})
		}},
		{"versions follow one another without a gap", func(t *testing.T, s Store) {
			for _, version := range []int64{-1, 0, 2, 3} {
				wantErr(t, apply(s, version, aDocument("early")), broker.ErrConflict)
			}
			wantNoErr(t, apply(s, 1, aDocument("first")))
			wantNoErr(t, apply(s, 2, aDocument("second")))
			for _, version := range []int64{0, 1, 2, 4} {
				wantErr(t, apply(s, version, aDocument("late")), broker.ErrConflict)
			}
			head, doc, err := s.Head(t.Context())
			wantNoErr(t, err)
			wantPolicy(t, head, doc, 2, aDocument("second"))
		}},
		{"a digest that is not the document's is refused", func(t *testing.T, s Store) {
			head := aHead(1, aDocument("one"))
			wantErr(t, s.PutPolicy(t.Context(), head, aDocument("another")), broker.ErrInvalid)
			got, _, err := s.Head(t.Context())
			wantNoErr(t, err)
			wantSame(t, got, broker.Head{})
		}},
		{"a race for a version has one winner", func(t *testing.T, s Store) {
			for version := range int64(3) {
				version++
				var winner atomic.Pointer[policy.Document]
				var winners atomic.Int32
				together(writers/2, func(i int) {
					doc := aDocument(fmt.Sprintf("version %d of writer %d", version, i))
					err := apply(s, version, doc)
					if err == nil {
						winners.Add(1)
						winner.Store(doc)
					} else if !errors.Is(err, broker.ErrConflict) {
						t.Error(err)
					}
				})
				if n := winners.Load(); n != 1 {
					t.Fatalf("%d writers made version %d, want 1", n, version)
				}
				head, doc, err := s.Head(t.Context())
				wantNoErr(t, err)
				wantPolicy(t, head, doc, version, winner.Load())
			}
		}},
		{"readers never mix versions", func(t *testing.T, s Store) {
			ctx := t.Context()
			must(s.PutIdentity(ctx, aliceIdentity()))(t)
			const last = 15
			// Description holds the version, so a mixture shows.
			versioned := func(v int64) *policy.Document { return aDocument(strconv.FormatInt(v, 10)) }
			wantNoErr(t, apply(s, 1, versioned(1)))
			together(5, func(i int) {
				if i == 0 {
					for v := int64(2); v <= last; v++ {
						if err := apply(s, v, versioned(v)); err != nil {
							t.Error(err)
						}
					}
					return
				}
				for seen := int64(0); seen < last && !t.Failed(); {
					facts, err := s.Identify(ctx, aliceID)
					if err != nil {
						t.Error(err)
						return
					}
					if facts.PolicyVersion < seen {
						t.Errorf("version %d after version %d", facts.PolicyVersion, seen)
					}
					seen = facts.PolicyVersion
					if got := facts.Policy.Roles["prod-readonly"].Description; got != strconv.FormatInt(seen, 10) {
						t.Errorf("document %s as version %d", got, seen)
					}
				}
			})
		}},
		{"a large document is kept whole", func(t *testing.T, s Store) {
			doc := aDocument("large")
			for i := range 1500 {
				name := policy.GroupName(fmt.Sprintf("group-%04d-%s", i, strings.Repeat(strconv.Itoa(i*7919), 4)))
				doc.Groups[name] = policy.Group{Name: name}
			}
			if plain := must(doc.Encode())(t); len(plain) < 100_000 {
				t.Fatalf("the document has %d bytes: not large", len(plain))
			}
			wantNoErr(t, apply(s, 1, doc))
			head, got, err := s.Head(t.Context())
			wantNoErr(t, err)
			wantPolicy(t, head, got, 1, doc)
		}},
	})
}

// wantPolicy fails the test unless head and got are what apply stored.
func wantPolicy(t *testing.T, head broker.Head, got *policy.Document, version int64, doc *policy.Document) {
	t.Helper()
	wantSame(t, head, aHead(version, doc))
	if got == nil || got.Digest() != doc.Digest() {
		t.Fatalf("version %d has another document", version)
	}
}

// testIdentify tests what issuing reads of a caller. Each part must be as it is
// when it is read; the parts need not be of one instant, so that an Identity may
// be seen beside a User as it was just before or after. Package broker takes
// the two for bound only where they name each other.
func testIdentify(t *testing.T, open func(*testing.T) Store) {
	cases(t, open, []promise{
		{"what does not exist is zero", func(t *testing.T, s Store) {
			for _, id := range []broker.SlackID{aliceID, {}} {
				wantSame(t, must(s.Identify(t.Context(), id))(t), broker.Facts{})
			}
		}},
		{"each part may be missing", func(t *testing.T, s Store) {
			ctx := t.Context()
			wantNoErr(t, apply(s, 1, aDocument("first")))
			facts := must(s.Identify(ctx, aliceID))(t)
			wantSame(t, []any{facts.Identity, facts.User, facts.PolicyVersion}, []any{broker.Identity{}, broker.User{}, int64(1)})

			identity := must(s.PutIdentity(ctx, aliceIdentity()))(t)
			facts = must(s.Identify(ctx, aliceID))(t)
			wantSame(t, []any{facts.Identity, facts.User}, []any{identity, broker.User{}})

			user := must(s.PutUser(ctx, alice()))(t)
			facts = must(s.Identify(ctx, aliceID))(t)
			wantSame(t, []any{facts.Identity, facts.User, facts.PolicyVersion}, []any{identity, user, int64(1)})
			if facts.Policy == nil || facts.Policy.Digest() != aDocument("first").Digest() {
				t.Error("another document")
			}
		}},
		{"the User is the one that the Identity names", func(t *testing.T, s Store) {
			ctx := t.Context()
			// alice claims the Slack id, but the Identity names bob. Whether
			// they agree is not the store's question.
			must(s.PutUser(ctx, alice()))(t)
			bob := must(s.PutUser(ctx, broker.User{Name: "bob", ID: "x"}))(t)
			identity := aliceIdentity()
			identity.User = "bob"
			must(s.PutIdentity(ctx, identity))(t)
			wantSame(t, must(s.Identify(ctx, aliceID))(t).User, bob)
		}},
		{"sees every write that was acknowledged", func(t *testing.T, s Store) {
			ctx := t.Context()
			user := must(s.PutUser(ctx, alice()))(t)
			identity := must(s.PutIdentity(ctx, aliceIdentity()))(t)
			for i := range int64(10) {
				wantNoErr(t, apply(s, i+1, aDocument(fmt.Sprint(i))))
				user.Enabled = !user.Enabled
				user = must(s.PutUser(ctx, user))(t)
				identity.SeenAt = identity.SeenAt.Add(1)
				identity = must(s.PutIdentity(ctx, identity))(t)
				facts := must(s.Identify(ctx, aliceID))(t)
				wantSame(t, []any{facts.Identity, facts.User, facts.PolicyVersion}, []any{identity, user, i + 1})
				if got := facts.Policy.Roles["prod-readonly"].Description; got != fmt.Sprint(i) {
					t.Errorf("document %s with version %d", got, i+1)
				}
			}
		}},
		{"sees what was acknowledged while others write", func(t *testing.T, s Store) {
			ctx := t.Context()
			user := must(s.PutUser(ctx, alice()))(t)
			identity := must(s.PutIdentity(ctx, aliceIdentity()))(t)
			var acknowledged atomic.Int64 // the version that both have reached
			acknowledged.Store(1)
			done, stop := context.WithCancel(ctx)
			together(4, func(i int) {
				if i == 0 {
					defer stop()
					for range 25 {
						var err, err2 error
						user, err = s.PutUser(ctx, user)
						identity, err2 = s.PutIdentity(ctx, identity)
						if err := errors.Join(err, err2); err != nil {
							t.Error(err)
							return
						}
						acknowledged.Store(user.Version)
					}
					return
				}
				for done.Err() == nil {
					least := acknowledged.Load()
					facts, err := s.Identify(ctx, aliceID)
					if err != nil {
						t.Error(err)
						return
					}
					if u, i := facts.User.Version, facts.Identity.Version; u < least || i < least {
						t.Errorf("User %d beside Identity %d, want %d or newer", u, i, least)
					}
				}
			})
		}},
	})
}
