package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// lease is how long the tests claim Jobs for.
const lease = time.Minute

// testQueue tests both ends of the queue.
func testQueue(t *testing.T, open func(*testing.T) Store) {
	cases(t, open, []promise{
		{"is empty at first", func(t *testing.T, s Store) {
			wantNoJob(t, s, clock)
			wantWaiting(t, s, 0)
			wantNoErr(t, s.Done(t.Context(), "never there"))
			wantNoErr(t, s.Retry(t.Context(), "never there", clock))
			wantWaiting(t, s, 0)
		}},
		{"a Job is claimed as it was queued", func(t *testing.T, s Store) {
			for _, j := range []broker.Job{
				{ID: "a", Body: []byte("sealed \x00\xff"), Deadline: clock.Add(25 * time.Minute)},
				{ID: "large", Body: []byte(large(300_000)), Deadline: clock},
				{ID: "ключ 🔑", Body: []byte("{}"), Deadline: time.Time{}},
			} {
				wantNoErr(t, s.Enqueue(t.Context(), j))
				wantSame(t, wantJob(t, s, clock, j.ID), j)
			}
		}},
		{"the oldest comes first", func(t *testing.T, s Store) {
			enqueue(t, s, "c", "a", "b")
			for _, id := range []string{"c", "a", "b"} {
				wantJob(t, s, clock, id)
			}
			wantNoJob(t, s, clock)
		}},
		{"a claimed Job is hidden until its lease ends, then counted as tried", func(t *testing.T, s Store) {
			enqueue(t, s, "a")
			for tries := range 3 {
				now := clock.Add(time.Duration(tries) * lease)
				if tries > 0 {
					wantNoJob(t, s, now.Add(-time.Millisecond))
				}
				if got := wantJob(t, s, now, "a").Tries; got != tries {
					t.Errorf("tries %d, want %d", got, tries)
				}
				wantNoJob(t, s, now)
			}
			wantWaiting(t, s, 1)
		}},
		{"a Job whose lease ended is older than those behind it", func(t *testing.T, s Store) {
			enqueue(t, s, "a", "b")
			wantJob(t, s, clock, "a")
			wantJob(t, s, clock.Add(lease), "a")
			wantJob(t, s, clock.Add(lease), "b")
		}},
		{"Retry delays a Job, or brings it forward", func(t *testing.T, s Store) {
			enqueue(t, s, "a")
			wantJob(t, s, clock, "a")
			at := clock.Add(10 * lease)
			wantNoErr(t, s.Retry(t.Context(), "a", at))
			wantNoJob(t, s, at.Add(-time.Millisecond))
			if got := wantJob(t, s, at, "a").Tries; got != 1 {
				t.Errorf("tries %d, want 1", got)
			}
			wantNoErr(t, s.Retry(t.Context(), "a", at))
			wantJob(t, s, at, "a")
		}},
		{"Done is for good, and may be said again", func(t *testing.T, s Store) {
			enqueue(t, s, "a", "b")
			wantJob(t, s, clock, "a")
			for range 2 {
				wantNoErr(t, s.Done(t.Context(), "a"))
				wantWaiting(t, s, 1)
			}
			wantNoErr(t, s.Retry(t.Context(), "a", clock))
			wantJob(t, s, clock.Add(time.Hour), "b")
			wantNoJob(t, s, clock.Add(time.Hour))
		}},
		{"the same Job is queued once, whether claimed or not", func(t *testing.T, s Store) {
			enqueue(t, s, "a")
			second := broker.Job{ID: "a", Body: []byte("another"), Deadline: clock.Add(time.Hour)}
			wantNoErr(t, s.Enqueue(t.Context(), second))
			if got := string(wantJob(t, s, clock, "a").Body); got != "body of a" {
				t.Errorf("body %q, want the first one", got)
			}
			wantNoErr(t, s.Enqueue(t.Context(), second))
			wantNoJob(t, s, clock)
			wantWaiting(t, s, 1)
			// Once it is done, its ID is free.
			wantNoErr(t, s.Done(t.Context(), "a"))
			wantNoErr(t, s.Enqueue(t.Context(), second))
			wantSame(t, wantJob(t, s, clock, "a"), second)
		}},
		{"a full queue refuses, but for what it holds", func(t *testing.T, s Store) {
			for i := range MaxJobs {
				enqueue(t, s, fmt.Sprint("job-", i))
			}
			wantWaiting(t, s, MaxJobs)
			wantErr(t, s.Enqueue(t.Context(), broker.Job{ID: "more"}), broker.ErrUnavailable)
			enqueue(t, s, "job-3")
			wantWaiting(t, s, MaxJobs)
			wantJob(t, s, clock, "job-0") // being worked on, it still takes its place
			wantErr(t, s.Enqueue(t.Context(), broker.Job{ID: "more"}), broker.ErrUnavailable)
			wantNoErr(t, s.Done(t.Context(), "job-0"))
			wantWaiting(t, s, MaxJobs-1)
			enqueue(t, s, "more")
			wantWaiting(t, s, MaxJobs)
		}},
		{"the limit holds against many writers, those of one moment aside", func(t *testing.T, s Store) {
			var accepted atomic.Int32
			together(writers, func(i int) {
				err := s.Enqueue(context.Background(), broker.Job{ID: fmt.Sprint("job-", i)})
				if err == nil {
					accepted.Add(1)
				} else if !errors.Is(err, broker.ErrUnavailable) {
					t.Error(err)
				}
			})
			n := int(accepted.Load())
			if n < MaxJobs {
				t.Errorf("%d were accepted, want %d or more", n, MaxJobs)
			}
			wantWaiting(t, s, n)
			wantErr(t, s.Enqueue(t.Context(), broker.Job{ID: "more"}), broker.ErrUnavailable)
		}},
		{"many workers never hold one Job together, and lose none", testWorkers},
	})
}

// testWorkers lets workers claim Jobs while others enqueue them. The clock
// stands still, so that no lease ends.
func testWorkers(t *testing.T, s Store) {
	ctx := t.Context()
	const producers, each, workers = 3, 10, 4
	var mu sync.Mutex
	claims := map[string]int{}
	var finished atomic.Int32
	together(producers+workers, func(i int) {
		if i < producers {
			for n := 0; n < each && !t.Failed(); {
				err := s.Enqueue(ctx, broker.Job{ID: fmt.Sprintf("job-%d-%d", i, n)})
				switch {
				case err == nil:
					n++
				case !errors.Is(err, broker.ErrUnavailable): // full for the moment
					t.Error(err)
				}
			}
			return
		}
		for finished.Load() < producers*each && !t.Failed() {
			job, ok, err := s.Claim(ctx, clock, lease)
			if err != nil {
				t.Error(err)
			}
			if !ok {
				continue
			}
			mu.Lock()
			claims[job.ID]++
			mu.Unlock()
			if err := s.Done(ctx, job.ID); err != nil {
				t.Error(err)
			}
			finished.Add(1)
		}
	})
	for id, n := range claims {
		if n != 1 {
			t.Errorf("%s was claimed %d times within its lease", id, n)
		}
	}
	if len(claims) != producers*each {
		t.Errorf("%d Jobs were claimed, want %d", len(claims), producers*each)
	}
	wantWaiting(t, s, 0)
}

// enqueue puts Jobs with the IDs on the queue.
func enqueue(t *testing.T, s Store, ids ...string) {
	t.Helper()
	for _, id := range ids {
		wantNoErr(t, s.Enqueue(t.Context(), broker.Job{ID: id, Body: []byte("body of " + id), Deadline: clock}))
	}
}

// wantJob claims a Job at now, sooner or later, and fails the test unless it is
// the one with id.
func wantJob(t *testing.T, s Store, now time.Time, id string) (job broker.Job) {
	t.Helper()
	wantSoon(t, id, func(ctx context.Context) (string, error) {
		if job.ID != "" {
			return job.ID, nil // claimed the wrong one
		}
		var err error
		job, _, err = s.Claim(ctx, now, lease)
		return job.ID, err
	})
	return job
}

// wantNoJob fails the test if a Job may be claimed at now.
func wantNoJob(t *testing.T, s Store, now time.Time) {
	t.Helper()
	job, ok, err := s.Claim(t.Context(), now, lease)
	wantNoErr(t, err)
	if ok {
		t.Fatalf("claimed %q, want none", job.ID)
	}
}

// wantWaiting fails the test unless n Jobs are waiting, sooner or later.
func wantWaiting(t *testing.T, s Store, n int) {
	t.Helper()
	wantSoon(t, n, s.Waiting)
}

// testCancelled tests that a call whose context has ended does nothing and says
// that the store is unavailable, and why.
func testCancelled(t *testing.T, open func(*testing.T) Store) {
	s := open(t)
	ctx := context.Background()
	must(s.PutUser(ctx, alice()))(t)
	must(s.PutRequest(ctx, aRequest("REQ1")))(t)
	wantNoErr(t, apply(s, 1, aDocument("first")))
	enqueue(t, s, "a")
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	bob := broker.User{Name: "bob", ID: "x"}
	for name, call := range map[string]func(context.Context) error{
		"Identify":     func(ctx context.Context) error { _, err := s.Identify(ctx, aliceID); return err },
		"Request":      func(ctx context.Context) error { _, err := s.Request(ctx, "REQ1"); return err },
		"PutRequest":   func(ctx context.Context) error { _, err := s.PutRequest(ctx, aRequest("REQ2")); return err },
		"User":         func(ctx context.Context) error { _, err := s.User(ctx, "alice"); return err },
		"PutUser":      func(ctx context.Context) error { _, err := s.PutUser(ctx, bob); return err },
		"Users":        func(ctx context.Context) error { return s.Users(ctx, func(broker.User) bool { return true }) },
		"Identity":     func(ctx context.Context) error { _, err := s.Identity(ctx, aliceID); return err },
		"PutIdentity":  func(ctx context.Context) error { _, err := s.PutIdentity(ctx, aliceIdentity()); return err },
		"UsersByEmail": func(ctx context.Context) error { _, err := s.UsersByEmail(ctx, "alice@example.com"); return err },
		"Proposal":     func(ctx context.Context) error { _, err := s.Proposal(ctx, "01P"); return err },
		"PutProposal":  func(ctx context.Context) error { _, err := s.PutProposal(ctx, aProposal("01P")); return err },
		"Proposals": func(ctx context.Context) error {
			return s.Proposals(ctx, func(broker.Proposal) bool { return true })
		},
		"OpenRequests":  func(ctx context.Context) error { _, err := s.OpenRequests(ctx, "alice", clock); return err },
		"Fence":         func(ctx context.Context) error { _, err := s.Fence(ctx, fenceARN); return err },
		"PutFence":      func(ctx context.Context) error { _, err := s.PutFence(ctx, aFence(fenceARN)); return err },
		"Pace":          func(ctx context.Context) error { _, err := s.Pace(ctx, "prod-admin"); return err },
		"PutPace":       func(ctx context.Context) error { _, err := s.PutPace(ctx, aPace("prod-admin")); return err },
		"IdentifyToken": func(ctx context.Context) error { _, err := s.IdentifyToken(ctx, tokenID); return err },
		"NameToken":     func(ctx context.Context) error { return s.NameToken(ctx, tokenID, "mallory") },
		"Head":          func(ctx context.Context) error { _, _, err := s.Head(ctx); return err },
		"Policy":        func(ctx context.Context) error { _, _, err := s.Policy(ctx, 1); return err },
		"PutPolicy": func(ctx context.Context) error {
			doc := aDocument("second")
			return s.PutPolicy(ctx, aHead(2, doc), doc)
		},
		"Append":  func(ctx context.Context) error { return s.Append(ctx, []broker.Event{anEvent("e")}) },
		"Events":  func(ctx context.Context) error { _, err := s.Events(ctx, broker.EventQuery{}); return err },
		"Pending": func(ctx context.Context) error { _, err := s.Pending(ctx, clock, 10); return err },
		"Settle": func(ctx context.Context) error {
			return s.Settle(ctx, broker.Ref{Kind: broker.RefRequest, Key: "REQ1"}, broker.Settlement{Indexed: []string{"e1"}})
		},
		"Enqueue": func(ctx context.Context) error { return s.Enqueue(ctx, broker.Job{ID: "b"}) },
		"Claim":   func(ctx context.Context) error { _, _, err := s.Claim(ctx, clock, lease); return err },
		"Retry":   func(ctx context.Context) error { return s.Retry(ctx, "a", clock.Add(time.Hour)) },
		"Done":    func(ctx context.Context) error { return s.Done(ctx, "a") },
		"Waiting": func(ctx context.Context) error { _, err := s.Waiting(ctx); return err },
	} {
		t.Run(name, func(t *testing.T) {
			err := call(cancelled)
			wantErr(t, err, broker.ErrUnavailable)
			wantErr(t, err, context.Canceled)
		})
	}
	t.Run("changes nothing", func(t *testing.T) {
		_, err := s.Request(ctx, "REQ2")
		wantErr(t, err, broker.ErrNotFound)
		_, err = s.User(ctx, bob.Name)
		wantErr(t, err, broker.ErrNotFound)
		_, err = s.Identity(ctx, aliceID)
		wantErr(t, err, broker.ErrNotFound)
		wantSame(t, must(s.Fence(ctx, fenceARN))(t), broker.Fence{})
		wantSame(t, must(s.Pace(ctx, "prod-admin"))(t), broker.Pace{})
		_, _, err = s.Policy(ctx, 2)
		wantErr(t, err, broker.ErrNotFound)
		wantEvents(t, s, broker.EventQuery{}, nil)
		wantSame(t, must(s.Request(ctx, "REQ1"))(t).Trail, aRequest("REQ1").Trail)
		wantSame(t, must(s.User(ctx, "alice"))(t).Name, policy.UserName("alice"))
		wantWaiting(t, s, 1)
		wantJob(t, s, clock, "a")
	})
}
