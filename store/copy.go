package store

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/starback/starback/broker"
)

const (
	// copyAtOnce is how many items Copy writes at a time.
	copyAtOnce = 16
	// copyBatch is how many Events it appends at a time.
	copyBatch = 100
	// copyReport is after how many items it reports.
	copyReport = 500
)

// Counts are how many items of each kind there are.
type Counts struct {
	Users      int `json:"users"` // tombstones included
	Identities int `json:"identities"`
	Policies   int `json:"policies"` // versions
	Requests   int `json:"requests"`
	Proposals  int `json:"proposals"`
	Fences     int `json:"fences"`
	Paces      int `json:"paces"`
	Events     int `json:"events"`
}

func (c Counts) total() int {
	return c.Users + c.Identities + c.Policies + c.Requests + c.Proposals + c.Fences + c.Paces + c.Events
}

// CopyOptions are choices for Copy.
type CopyOptions struct {
	// Resume lets the target hold what a Copy that was cut off wrote.
	Resume bool
	// Force copies although Jobs wait in the source. They are not copied.
	Force bool
	// Report, if not nil, is told now and then how much is on its way.
	Report func(Counts)
}

// Copy makes the store to an installation like the one in from: Users with
// their Tokens and tombstones, Identities, all versions of the Policy, Requests
// and Proposals with their Trails, Fences, Paces and Events. Afterwards it reads both and
// compares them, and finds every User of the target by each of their Tokens.
// Nothing else may use either of them meanwhile.
//
// Jobs are not copied: where some wait, Copy refuses with broker.ErrConflict,
// unless it is forced. So it does where the target holds anything or, when it
// resumes, anything that differs, and where source and target differ in the
// end.
//
// Users come last, so that a target whose Copy was cut off lets nobody do what
// the source does not.
func Copy(ctx context.Context, from, to Store, opts CopyOptions) (Counts, error) {
	jobs, err := from.Waiting(ctx)
	if err != nil {
		return Counts{}, fmt.Errorf("the source: %w", err)
	}
	if jobs > 0 && !opts.Force {
		return Counts{}, fmt.Errorf("store: jobs are waiting in the source (%d), and would not be copied: %w", jobs, broker.ErrConflict)
	}
	if !opts.Resume {
		if err := wantEmpty(ctx, to); err != nil {
			return Counts{}, fmt.Errorf("the target: %w", err)
		}
	}
	c := &copier{from: from, to: to, report: opts.Report}
	if err := c.run(ctx); err != nil {
		return c.done, err
	}
	return c.done, compare(ctx, from, to)
}

// errSome ends a Walk that looks for anything at all.
var errSome = errors.New("there is something")

// wantEmpty refuses a store that holds anything.
func wantEmpty(ctx context.Context, s Store) error {
	err := s.Walk(ctx, Visitor{
		User:     func(broker.User) error { return errSome },
		Identity: func(broker.Identity) error { return errSome },
		Request:  func(broker.Request) error { return errSome },
		Proposal: func(broker.Proposal) error { return errSome },
		Fence:    func(broker.Fence) error { return errSome },
		Pace:     func(broker.Pace) error { return errSome },
		Event:    func(broker.Event) error { return errSome },
	})
	some := errors.Is(err, errSome)
	if err != nil && !some {
		return err
	}
	head, _, err := s.Head(ctx)
	if err != nil {
		return err
	}
	jobs, err := s.Waiting(ctx)
	if err != nil {
		return err
	}
	if some || head.Version > 0 || jobs > 0 {
		return fmt.Errorf("store: it is not empty: %w", broker.ErrConflict)
	}
	return nil
}

// A copier copies from one store to another.
type copier struct {
	from, to Store
	report   func(Counts)
	done     Counts // on its way, or written
}

// run copies everything. The Policy comes after what it does not concern, and
// before the Users.
func (c *copier) run(ctx context.Context) error {
	var events []broker.Event
	flush := func(ctx context.Context) error {
		batch := events
		events = nil
		return c.to.Append(ctx, batch)
	}
	err := c.walk(ctx, func(ctx context.Context, later func(func() error) error) Visitor {
		return Visitor{
			Identity: func(i broker.Identity) error {
				c.count(&c.done.Identities)
				i.Version = 0
				return later(func() error { return copied(ctx, "identity", i.Slack.String(), i, c.to.PutIdentity) })
			},
			Request: func(r broker.Request) error {
				c.count(&c.done.Requests)
				r.Version = 0
				return later(func() error { return copied(ctx, "request", r.ID, r, c.to.PutRequest) })
			},
			Proposal: func(p broker.Proposal) error {
				c.count(&c.done.Proposals)
				p.Version = 0
				return later(func() error { return copied(ctx, "proposal", p.ID, p, c.to.PutProposal) })
			},
			Fence: func(f broker.Fence) error {
				c.count(&c.done.Fences)
				f.Version = 0
				return later(func() error { return copied(ctx, "fence", f.RoleARN, f, c.to.PutFence) })
			},
			Pace: func(p broker.Pace) error {
				c.count(&c.done.Paces)
				p.Version = 0
				return later(func() error { return copied(ctx, "pace", string(p.Role), p, c.to.PutPace) })
			},
			Event: func(e broker.Event) error {
				c.count(&c.done.Events)
				if events = append(events, e); len(events) < copyBatch {
					return nil
				}
				return flush(ctx)
			},
		}
	})
	if err == nil {
		err = flush(ctx)
	}
	if err == nil {
		err = c.policies(ctx)
	}
	if err != nil {
		return err
	}
	err = c.walk(ctx, func(ctx context.Context, later func(func() error) error) Visitor {
		return Visitor{User: func(u broker.User) error {
			c.count(&c.done.Users)
			u.Version = 0
			return later(func() error { return c.user(ctx, u) })
		}}
	})
	if err == nil && c.report != nil {
		c.report(c.done)
	}
	return err
}

// user copies a User. That the Tokens are the User's is said before, as
// broker.TokenBook wants it.
func (c *copier) user(ctx context.Context, u broker.User) error {
	for _, t := range u.Tokens {
		if err := c.to.NameToken(ctx, t.ID, u.Name); err != nil {
			return fmt.Errorf("the target: %w", err)
		}
	}
	return copied(ctx, "user", string(u.Name), u, c.to.PutUser)
}

// walk walks through the source. What the visitor puts off until later is done
// by several at once.
func (c *copier) walk(ctx context.Context, visitor func(ctx context.Context, later func(func() error) error) Visitor) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(copyAtOnce)
	later := func(f func() error) error {
		group.Go(f)
		return ctx.Err()
	}
	err := c.from.Walk(ctx, visitor(ctx, later))
	if failed := group.Wait(); failed != nil {
		return failed
	}
	return err
}

// count counts an item that is on its way.
func (c *copier) count(n *int) {
	*n++
	if c.report != nil && c.done.total()%copyReport == 0 {
		c.report(c.done)
	}
}

// copied puts a new item. One that is there already must be the same.
func copied[T any](ctx context.Context, kind, name string, item T, put func(context.Context, T) (T, error)) error {
	stored, err := put(ctx, item)
	if !errors.Is(err, broker.ErrConflict) {
		return err
	}
	if fingerprintOf(stored) != fingerprintOf(item) {
		return fmt.Errorf("the target has another: %w", conflict(kind, name))
	}
	return nil
}

// policies copies the versions of the Policy, the oldest first.
func (c *copier) policies(ctx context.Context) error {
	newest, _, err := c.from.Head(ctx)
	if err != nil {
		return err
	}
	for version := int64(1); version <= newest.Version; version++ {
		head, doc, err := c.from.Policy(ctx, version)
		if err != nil {
			return err
		}
		c.count(&c.done.Policies)
		err = c.to.PutPolicy(ctx, head, doc)
		if errors.Is(err, broker.ErrConflict) {
			stored, _, readErr := c.to.Policy(ctx, version)
			if readErr != nil && !errors.Is(readErr, broker.ErrNotFound) {
				return readErr
			}
			if fingerprintOf(stored) != fingerprintOf(head) {
				return fmt.Errorf("the target has another: %w", conflict("policy", strconv.FormatInt(version, 10)))
			}
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A fingerprint is the SHA-256 of an item's content, its Version aside; or of
// several items', whatever their order.
type fingerprint [sha256.Size]byte

// fingerprintOf returns the fingerprint of what parts hold.
func fingerprintOf(parts ...any) fingerprint {
	body, err := json.Marshal(parts)
	if err != nil {
		panic(err) // it was read from a store
	}
	return sha256.Sum256(body)
}

// A summary tells the contents of two stores apart.
type summary struct {
	counts Counts
	prints map[string]fingerprint // by the kind of item
}

// add adds an item. Those of one kind differ in their keys, so that none
// cancels another out.
func (s *summary) add(kind string, n *int, parts ...any) {
	*n++
	sum, one := s.prints[kind], fingerprintOf(parts...)
	subtle.XORBytes(sum[:], sum[:], one[:])
	s.prints[kind] = sum
}

// summarise reads everything in a store.
func summarise(ctx context.Context, from Store) (summary, error) {
	s := summary{prints: map[string]fingerprint{}}
	err := from.Walk(ctx, Visitor{
		User:     func(u broker.User) error { s.add("users", &s.counts.Users, u); return nil },
		Identity: func(i broker.Identity) error { s.add("identities", &s.counts.Identities, i); return nil },
		Request:  func(r broker.Request) error { s.add("requests", &s.counts.Requests, r); return nil },
		Proposal: func(p broker.Proposal) error { s.add("proposals", &s.counts.Proposals, p); return nil },
		Fence:    func(f broker.Fence) error { s.add("fences", &s.counts.Fences, f); return nil },
		Pace:     func(p broker.Pace) error { s.add("paces", &s.counts.Paces, p); return nil },
		Event:    func(e broker.Event) error { s.add("events", &s.counts.Events, e); return nil },
	})
	if err != nil {
		return summary{}, err
	}
	newest, _, err := from.Head(ctx)
	if err != nil {
		return summary{}, err
	}
	for version := int64(1); version <= newest.Version; version++ {
		head, doc, err := from.Policy(ctx, version)
		if err != nil {
			return summary{}, err
		}
		s.add("policies", &s.counts.Policies, head, doc.Digest())
	}
	return s, nil
}

// Count reads everything in a store, and returns how much there is. What cannot
// be read is an error, and so is a User who is not found by one of their Tokens.
func Count(ctx context.Context, s Store) (Counts, error) {
	all, err := summarise(ctx, s)
	if err == nil {
		err = checkTokens(ctx, s)
	}
	return all.counts, err
}

// checkTokens refuses a store in which a User is not found by one of their
// Tokens.
func checkTokens(ctx context.Context, s Store) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(copyAtOnce)
	err := s.Users(ctx, func(u broker.User) bool {
		for _, t := range u.Tokens {
			group.Go(func() error {
				facts, err := s.IdentifyToken(ctx, t.ID)
				if err == nil && facts.User.Name != u.Name {
					err = fmt.Errorf("store: token %q does not lead to user %q: %w", t.ID, u.Name, broker.ErrConflict)
				}
				return err
			})
		}
		return ctx.Err() == nil
	})
	if failed := group.Wait(); failed != nil {
		return failed
	}
	return err
}

// compare refuses two stores whose contents differ.
func compare(ctx context.Context, from, to Store) error {
	source, err := summarise(ctx, from)
	if err != nil {
		return fmt.Errorf("reading the source again: %w", err)
	}
	target, err := summarise(ctx, to)
	if err != nil {
		return fmt.Errorf("reading the target again: %w", err)
	}
	for _, kind := range []string{"users", "identities", "policies", "requests", "proposals", "fences", "paces", "events"} {
		if source.prints[kind] != target.prints[kind] {
			return fmt.Errorf("store: the %s in the target are not those in the source, which has %+v and the target %+v; "+
				"something else may have used them meanwhile: %w", kind, source.counts, target.counts, broker.ErrConflict)
		}
	}
	if err := checkTokens(ctx, to); err != nil {
		return fmt.Errorf("the target: %w", err)
	}
	return nil
}
