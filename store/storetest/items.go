package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// A kind is one kind of item, as all that can be put and got.
type kind[T any] struct {
	put func(context.Context, T) (T, error)
	get func(context.Context) (T, error)
	// fresh returns an item that was not stored yet.
	fresh func() T
	// mark leaves a word in the item, and marks returns those left so far.
	mark    func(*T, string)
	marks   func(T) []string
	version func(*T) *int64
}

func testRequests(t *testing.T, open func(*testing.T) Store) {
	testKind(t, open, func(s Store) kind[broker.Request] {
		return kind[broker.Request]{
			put: s.PutRequest,
			get: func(ctx context.Context) (broker.Request, error) { return s.Request(ctx, "REQ1") },
			fresh: func() broker.Request {
				return aRequest("REQ1")
			},
			mark: func(r *broker.Request, w string) { r.Sessions = append(r.Sessions, broker.Session{ID: w}) },
			marks: func(r broker.Request) (words []string) {
				for _, session := range r.Sessions[1:] {
					words = append(words, session.ID)
				}
				return words
			},
			version: func(r *broker.Request) *int64 { return &r.Version },
		}
	})
}

func testUsers(t *testing.T, open func(*testing.T) Store) {
	testKind(t, open, func(s Store) kind[broker.User] {
		return kind[broker.User]{
			put:   s.PutUser,
			get:   func(ctx context.Context) (broker.User, error) { return s.User(ctx, "alice") },
			fresh: alice,
			mark:  func(u *broker.User, w string) { u.Groups = append(u.Groups, policy.GroupName(w)) },
			marks: func(u broker.User) (words []string) {
				for _, group := range u.Groups[2:] {
					words = append(words, string(group))
				}
				return words
			},
			version: func(u *broker.User) *int64 { return &u.Version },
		}
	})
	cases(t, open, []promise{
		{"a tombstone stays, and its name is taken", func(t *testing.T, s Store) {
			ctx := t.Context()
			removed := must(s.PutUser(ctx, alice()))(t)
			removed.Removed, removed.Enabled = true, false
			removed = must(s.PutUser(ctx, removed))(t)
			wantSame(t, must(s.User(ctx, "alice"))(t), removed)

			again := alice()
			again.ID = "01JBXQ5A3M8V6T4E2R0Z9YBBBB"
			stored, err := s.PutUser(ctx, again)
			wantErr(t, err, broker.ErrConflict)
			wantSame(t, stored, removed)
		}},
		{"all of them in order of name, tombstones included", func(t *testing.T, s Store) {
			ctx := t.Context()
			var want []policy.UserName
			for i := range 130 { // 1.3 MB: more than DynamoDB reads at once
				u := broker.User{Name: policy.UserName(fmt.Sprintf("user-%03d", i)), ID: large(10_000), Removed: i%7 == 0}
				want = append(want, u.Name)
				must(s.PutUser(ctx, u))(t)
			}
			var got []policy.UserName
			wantNoErr(t, s.Users(ctx, func(u broker.User) bool {
				if u.Version != 1 {
					t.Errorf("%s has version %d, want 1", u.Name, u.Version)
				}
				got = append(got, u.Name)
				return true
			}))
			wantSame(t, got, want)
		}},
		{"listing stops when told to", func(t *testing.T, s Store) {
			ctx := t.Context()
			for _, name := range []policy.UserName{"cy", "al", "bo"} {
				must(s.PutUser(ctx, broker.User{Name: name, ID: "x"}))(t)
			}
			var got []policy.UserName
			wantNoErr(t, s.Users(ctx, func(u broker.User) bool {
				got = append(got, u.Name)
				return len(got) < 2
			}))
			wantSame(t, got, []policy.UserName{"al", "bo"})
		}},
		{"listing may change what it lists", func(t *testing.T, s Store) {
			ctx := t.Context()
			for i := range 8 { // several at once, each with the store in use
				must(s.PutUser(ctx, broker.User{Name: policy.UserName(fmt.Sprint("user-", i)), ID: "x"}))(t)
			}
			together(8, func(int) {
				err := s.Users(ctx, func(u broker.User) bool {
					u.Enabled = true
					_, err := s.PutUser(ctx, u)
					if err != nil && !errors.Is(err, broker.ErrConflict) {
						t.Error(err)
					}
					return true
				})
				if err != nil {
					t.Error(err)
				}
			})
			wantNoErr(t, s.Users(ctx, func(u broker.User) bool {
				if !u.Enabled {
					t.Errorf("%s was not changed", u.Name)
				}
				return true
			}))
		}},
	})
}

func testIdentities(t *testing.T, open func(*testing.T) Store) {
	testKind(t, open, func(s Store) kind[broker.Identity] {
		return kind[broker.Identity]{
			put:   s.PutIdentity,
			get:   func(ctx context.Context) (broker.Identity, error) { return s.Identity(ctx, aliceID) },
			fresh: aliceIdentity,
			mark:  func(i *broker.Identity, w string) { i.BoundBy += " " + w },
			marks: func(i broker.Identity) (words []string) {
				return strings.Fields(i.BoundBy)[1:]
			},
			version: func(i *broker.Identity) *int64 { return &i.Version },
		}
	})
	cases(t, open, []promise{
		{"team and user together are the key", func(t *testing.T, s Store) {
			ctx := t.Context()
			other := aliceIdentity()
			other.Slack.Team, other.User = "T999ZZ", "mallory"
			must(s.PutIdentity(ctx, aliceIdentity()))(t)
			must(s.PutIdentity(ctx, other))(t)
			if got := must(s.Identity(ctx, aliceID))(t).User; got != "alice" {
				t.Errorf("%s is %q, want alice", aliceID, got)
			}
			if got := must(s.Identity(ctx, other.Slack))(t).User; got != "mallory" {
				t.Errorf("%s is %q, want mallory", other.Slack, got)
			}
		}},
	})
}

// testKind tests what every Put promises.
func testKind[T any](t *testing.T, open func(*testing.T) Store, of func(Store) kind[T]) {
	with := func(holds func(*testing.T, context.Context, kind[T])) func(*testing.T, Store) {
		return func(t *testing.T, s Store) { holds(t, t.Context(), of(s)) }
	}
	cases(t, open, []promise{
		{"what is not there is not found", with(func(t *testing.T, ctx context.Context, k kind[T]) {
			_, err := k.get(ctx)
			wantErr(t, err, broker.ErrNotFound)
		})},
		{"is read as it was written, with its version", with(func(t *testing.T, ctx context.Context, k kind[T]) {
			want := k.fresh()
			*k.version(&want) = 1
			wantSame(t, must(k.put(ctx, k.fresh()))(t), want)
			wantSame(t, must(k.get(ctx))(t), want)

			k.mark(&want, "again")
			want = must(k.put(ctx, want))(t)
			if got := *k.version(&want); got != 2 {
				t.Errorf("version %d after the second write, want 2", got)
			}
			wantSame(t, must(k.get(ctx))(t), want)
		})},
		{"a conflict returns what is stored, and changes nothing", with(func(t *testing.T, ctx context.Context, k kind[T]) {
			stored := must(k.put(ctx, k.fresh()))(t)
			k.mark(&stored, "second")
			stored = must(k.put(ctx, stored))(t)
			for _, version := range []int64{0, 1, 3, -1} {
				item := k.fresh()
				*k.version(&item) = version
				got, err := k.put(ctx, item)
				wantErr(t, err, broker.ErrConflict)
				wantSame(t, got, stored)
				wantSame(t, must(k.get(ctx))(t), stored)
			}
		})},
		{"what does not exist cannot be replaced", with(func(t *testing.T, ctx context.Context, k kind[T]) {
			item := k.fresh()
			*k.version(&item) = 1
			got, err := k.put(ctx, item)
			wantErr(t, err, broker.ErrConflict)
			var none T
			wantSame(t, got, none)
			_, err = k.get(ctx)
			wantErr(t, err, broker.ErrNotFound)
		})},
		{"is created once among many writers", with(func(t *testing.T, ctx context.Context, k kind[T]) {
			var winners atomic.Int32
			results := make([]T, writers)
			together(writers, func(i int) {
				item := k.fresh()
				k.mark(&item, fmt.Sprint("writer-", i))
				got, err := k.put(ctx, item)
				if err == nil {
					winners.Add(1)
				} else if !errors.Is(err, broker.ErrConflict) {
					t.Error(err)
				}
				results[i] = got
			})
			if n := winners.Load(); n != 1 {
				t.Fatalf("%d of %d writers created the item, want 1", n, writers)
			}
			stored := must(k.get(ctx))(t)
			for _, got := range results { // winner and losers all learn the same
				wantSame(t, got, stored)
			}
		})},
		{"no update is lost among many writers", with(func(t *testing.T, ctx context.Context, k kind[T]) {
			const each = 3
			must(k.put(ctx, k.fresh()))(t)
			together(8, func(i int) {
				item, err := k.get(ctx)
				for n := 0; n < each && err == nil; {
					k.mark(&item, fmt.Sprintf("writer-%d-%d", i, n))
					item, err = k.put(ctx, item)
					if err == nil {
						n++
					} else if errors.Is(err, broker.ErrConflict) {
						err = nil // item is what is stored
					}
				}
				if err != nil {
					t.Error(err)
				}
			})
			stored := must(k.get(ctx))(t)
			seen := map[string]int{}
			for _, word := range k.marks(stored) {
				seen[word]++
			}
			for i := range 8 {
				for n := range each {
					if word := fmt.Sprintf("writer-%d-%d", i, n); seen[word] != 1 {
						t.Errorf("%s is there %d times, want once", word, seen[word])
					}
				}
			}
			if got := *k.version(&stored); got != 1+8*each {
				t.Errorf("version %d, want %d", got, 1+8*each)
			}
		})},
	})
}

// testItems tests what holds for items of all kinds, whatever is in them.
func testItems(t *testing.T, open func(*testing.T) Store) {
	cases(t, open, []promise{
		{"without a key is refused", func(t *testing.T, s Store) {
			ctx := t.Context()
			_, err := s.PutRequest(ctx, broker.Request{})
			wantErr(t, err, broker.ErrInvalid)
			_, err = s.PutUser(ctx, broker.User{})
			wantErr(t, err, broker.ErrInvalid)
			_, err = s.PutIdentity(ctx, broker.Identity{Slack: broker.SlackID{Team: "T012AB"}})
			wantErr(t, err, broker.ErrInvalid)
			_, err = s.PutProposal(ctx, broker.Proposal{})
			wantErr(t, err, broker.ErrInvalid)
			_, err = s.PutFence(ctx, broker.Fence{})
			wantErr(t, err, broker.ErrInvalid)
			_, err = s.PutPace(ctx, broker.Pace{})
			wantErr(t, err, broker.ErrInvalid)
			wantErr(t, s.Append(ctx, []broker.Event{{}}), broker.ErrInvalid)
			wantErr(t, s.Enqueue(ctx, broker.Job{}), broker.ErrInvalid)
		}},
		{"of 300 KB is kept whole", func(t *testing.T, s Store) {
			ctx := t.Context()
			r := aRequest("REQ1")
			r.Words = large(300_000)
			r = must(s.PutRequest(ctx, r))(t)
			wantSame(t, must(s.Request(ctx, "REQ1"))(t), r)
		}},
		{"keys are exact", func(t *testing.T, s Store) {
			ctx := t.Context()
			must(s.PutUser(ctx, alice()))(t)
			for _, near := range []policy.UserName{"Alice", "alice ", "alic", "alice%", "al_ce", "алice"} {
				_, err := s.User(ctx, near)
				wantErr(t, err, broker.ErrNotFound)
			}
		}},
		{"times keep their instant in any zone", func(t *testing.T, s Store) {
			ctx := t.Context()
			u := alice()
			u.Expires = clock.In(time.FixedZone("", 5*3600+1800)).Add(time.Nanosecond)
			must(s.PutUser(ctx, u))(t)
			if got := must(s.User(ctx, "alice"))(t).Expires; !got.Equal(u.Expires) {
				t.Errorf("expires %v, want %v", got, u.Expires)
			}
		}},
		{"a put does not keep hold of the caller's memory", func(t *testing.T, s Store) {
			ctx := t.Context()
			u := alice()
			must(s.PutUser(ctx, u))(t)
			u.Groups[0] = "changed"
			if got := must(s.User(ctx, "alice"))(t).Groups[0]; got != "sre" {
				t.Errorf("group %q, want sre", got)
			}
		}},
	})
}

// testEmail tests the look-up of Users by e-mail address.
func testEmail(t *testing.T, open func(*testing.T) Store) {
	cases(t, open, []promise{
		{"finds whoever has exactly the address", func(t *testing.T, s Store) {
			ctx := t.Context()
			twin := broker.User{Name: "alice2", ID: "y", Email: "alice@example.com"}
			for _, u := range []broker.User{
				alice(), twin,
				{Name: "bob", ID: "x", Email: "bob@example.com"},
				{Name: "malice", ID: "x", Email: "malice@example.com"},
				{Name: "none", ID: "x"},
				{Name: "gone", ID: "x", Email: "alice@example.com", Removed: true},
			} {
				must(s.PutUser(ctx, u))(t)
			}
			for address, want := range map[string][]policy.UserName{
				"alice@example.com":  {"alice", "alice2"},
				"bob@example.com":    {"bob"},
				"Bob@example.com":    nil,
				"bob@example.com ":   nil,
				"%@example.com":      nil,
				"alice@example.org":  nil,
				"lice@example.com":   nil,
				"":                   nil,
				"alice@example.com%": nil,
			} {
				var got []policy.UserName
				for _, u := range must(s.UsersByEmail(ctx, address))(t) {
					got = append(got, u.Name)
				}
				wantSame(t, got, want)
			}
			wantSame(t, must(s.UsersByEmail(ctx, "bob@example.com"))(t), []broker.User{must(s.User(ctx, "bob"))(t)})
		}},
		{"follows every change at once", func(t *testing.T, s Store) {
			ctx := t.Context()
			u := must(s.PutUser(ctx, alice()))(t)
			u.Email = "new@example.com"
			u = must(s.PutUser(ctx, u))(t)
			wantSame(t, must(s.UsersByEmail(ctx, "new@example.com"))(t), []broker.User{u})
			if got := must(s.UsersByEmail(ctx, "alice@example.com"))(t); len(got) != 0 {
				t.Errorf("the old address still finds %d", len(got))
			}
			u.Removed = true
			must(s.PutUser(ctx, u))(t)
			if got := must(s.UsersByEmail(ctx, "new@example.com"))(t); len(got) != 0 {
				t.Errorf("the address finds %d tombstones", len(got))
			}
		}},
	})
}
