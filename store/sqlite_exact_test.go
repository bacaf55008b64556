package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/store/storetest"
)

// What a store on one machine promises beyond storetest.

// Identify reads all parts at one instant.
func TestSQLiteIdentifyOneInstant(t *testing.T) {
	ctx := t.Context()
	s := open(t, newPath(t))
	// The User is always written before the Identity, so that no instant has an
	// Identity ahead of its User.
	user, err := s.PutUser(ctx, broker.User{Name: "bob", ID: "01B", Slack: bobID})
	if err != nil {
		t.Fatal(err)
	}
	identity, err := s.PutIdentity(ctx, broker.Identity{Slack: bobID, User: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	writing, stop := context.WithCancel(ctx)
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for writing.Err() == nil {
				facts, err := s.Identify(ctx, bobID)
				if err != nil {
					t.Error(err)
					return
				}
				if u, i := facts.User.Version, facts.Identity.Version; u != i && u != i+1 {
					t.Errorf("User %d beside Identity %d", u, i)
				}
			}
		})
	}
	for range 25 {
		if user, err = s.PutUser(ctx, user); err != nil {
			t.Error(err)
		}
		if identity, err = s.PutIdentity(ctx, identity); err != nil {
			t.Error(err)
		}
	}
	stop()
	readers.Wait()
}

// IdentifyToken reads all parts at one instant.
func TestSQLiteIdentifyTokenOneInstant(t *testing.T) {
	ctx := t.Context()
	s := open(t, newPath(t))
	if err := s.NameToken(ctx, bobToken, "ci"); err != nil {
		t.Fatal(err)
	}
	// The Owner is always written first, then the application, then the
	// Identity, so that no instant has one of them ahead of those before it.
	owner, app, identity := broker.User{Name: "bob"}, broker.User{
		Name: "ci", IsApp: true, Owner: "bob", Slack: bobID, Tokens: []broker.Token{{ID: bobToken}},
	}, broker.Identity{Slack: bobID}
	write := func() {
		t.Helper()
		var ownerErr, appErr, identityErr error
		owner, ownerErr = s.PutUser(ctx, owner)
		app, appErr = s.PutUser(ctx, app)
		identity, identityErr = s.PutIdentity(ctx, identity)
		if err := errors.Join(ownerErr, appErr, identityErr); err != nil {
			t.Fatal(err)
		}
	}
	write()
	writing, stop := context.WithCancel(ctx)
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for writing.Err() == nil {
				facts, err := s.IdentifyToken(ctx, bobToken)
				if err != nil {
					t.Error(err)
					return
				}
				o, a, i := facts.Owner.Version, facts.User.Version, facts.Identity.Version
				if o < a || a < i || o > i+1 {
					t.Errorf("Owner %d, application %d and Identity %d at one instant", o, a, i)
				}
			}
		})
	}
	for range 25 {
		write()
	}
	stop()
	readers.Wait()
}

// No more Jobs than the limit are accepted, even of those that come at once.
func TestSQLiteExactLimit(t *testing.T) {
	s := open(t, newPath(t))
	var writers sync.WaitGroup
	var accepted atomic.Int32
	for i := range 2 * storetest.MaxJobs {
		writers.Go(func() {
			if s.Enqueue(t.Context(), broker.Job{ID: fmt.Sprint("job-", i)}) == nil {
				accepted.Add(1)
			}
		})
	}
	writers.Wait()
	if n := accepted.Load(); n != storetest.MaxJobs {
		t.Errorf("%d were accepted, want %d", n, storetest.MaxJobs)
	}
}
