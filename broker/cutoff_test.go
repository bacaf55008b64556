package broker_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/store"
)

// engines are the stores that a world's is copied to.
var engines = map[string]func(*testing.T, *world) store.Store{
	"SQLite":   func(_ *testing.T, w *world) store.Store { return w.store },
	"DynamoDB": copyToDynamoDB,
}

// handles open each of the engines twice, as two processes do.
var handles = map[string]func(*testing.T, *world) [2]store.Store{
	"SQLite": func(t *testing.T, w *world) [2]store.Store { return [2]store.Store{w.store, w.open(t)} },
	"DynamoDB": func(t *testing.T, w *world) [2]store.Store {
		open := dynamoTable(t, w)
		return [2]store.Store{open(), open()}
	},
}

// A dying store dies at one of the writes of an administrator, before it is
// done or after.
type dying struct {
	store.Store
	writes int  // so far
	at     int  // 0: never
	after  bool // the write is done, and nobody is told
}

func write[T any](d *dying, do func() (T, error)) (T, error) {
	d.writes++
	var none T
	if d.at > 0 && (d.writes > d.at || d.writes == d.at && !d.after) {
		return none, errDown
	}
	got, err := do()
	if d.at > 0 && d.writes == d.at {
		return none, errDown
	}
	return got, err
}

func (d *dying) PutUser(ctx context.Context, u broker.User) (broker.User, error) {
	return write(d, func() (broker.User, error) { return d.Store.PutUser(ctx, u) })
}

func (d *dying) PutIdentity(ctx context.Context, i broker.Identity) (broker.Identity, error) {
	return write(d, func() (broker.Identity, error) { return d.Store.PutIdentity(ctx, i) })
}

func (d *dying) PutPolicy(ctx context.Context, h broker.Head, doc *policy.Document) error {
	_, err := write(d, func() (struct{}, error) { return struct{}{}, d.Store.PutPolicy(ctx, h, doc) })
	return err
}

// An apply that is cut off at any write never leaves anybody with more than
// before or after, and a second one completes the first.
func TestApplyNeverGrantsMoreThanEitherEnd(t *testing.T) {
	t.Parallel()
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := func() (*dying, func() error) {
				w := newWorld(t)
				d := &dying{Store: engine(t, w)}
				return d, func() error {
					d.writes = 0
					_, err := applied(t.Context(), broker.NewAdmin(d, w.Now, rand.Reader, root), parse(t, changed), "a change")
					return err
				}
			}
			d, apply := begin()
			before := rights(t, d)
			if err := apply(); err != nil {
				t.Fatal(err)
			}
			after, writes := rights(t, d), d.writes
			if len(before) == 0 || len(after) == 0 || writes < 9 {
				t.Fatalf("before %v, after %v, %d writes", before, after, writes)
			}
			for at := 1; at <= writes; at++ {
				for _, done := range []bool{false, true} {
					if (testing.Short() || raceDetector) && at%4 != 1 {
						continue
					}
					d, apply := begin()
					d.at, d.after = at, done
					if err := apply(); !errors.Is(err, broker.ErrUnavailable) {
						t.Errorf("write %d: err = %v", at, err)
					}
					for right := range rights(t, d) {
						if !before[right] && !after[right] {
							t.Errorf("dead at write %d (done: %v), %s", at, done, right)
						}
					}
					d.at = 0
					if err := apply(); err != nil {
						t.Errorf("completing what died at write %d: %v", at, err)
					}
					if diff := cmp.Diff(after, rights(t, d)); diff != "" {
						t.Errorf("completed after dying at write %d (-want +got):\n%s", at, diff)
					}
				}
			}
		})
	}
}

// Many administrators at once lose nothing of each other's: neither of what is
// one document to all, nor of one user.
func TestManyAdministrators(t *testing.T) {
	t.Parallel()
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			writers, each := 6, 5
			if testing.Short() || raceDetector { // scripts/test has them all without it
				writers, each = 4, 2
			}
			w := newWorld(t)
			s := engine(t, w)
			var all sync.WaitGroup
			for i := range writers {
				all.Go(func() {
					admin := broker.NewAdmin(s, w.Now, rand.Reader, broker.Author{Name: fmt.Sprint("admin-", i)})
					for j := range each {
						group := fmt.Sprintf("group-%d-%d", i, j)
						for _, words := range []string{
							"group add " + group, "grant add plain --group " + group,
							"group add-member " + group + " alice", fmt.Sprintf("user add user-%d-%d --group %s", i, j, group),
						} {
							if _, err := admin.Do(t.Context(), change(t, words)); err != nil {
								t.Errorf("%s: %v", words, err)
							}
						}
					}
				})
			}
			all.Wait()
			head, doc, err := s.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			alice, err := s.User(t.Context(), "alice")
			if err != nil {
				t.Fatal(err)
			}
			if want := writers * each; len(doc.Groups) != 4+want || len(alice.Groups) != 1+want || head.Version != int64(1+2*want) {
				t.Errorf("%d groups, alice in %d, version %d; %d were added", len(doc.Groups), len(alice.Groups), head.Version, want)
			}
			for name, g := range doc.Groups {
				if len(name) > 5 && name[:5] == "group" && len(g.Grants) != 1 {
					t.Errorf("%s was granted %v", name, g.Grants)
				}
			}
		})
	}
}
