package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starback/starback/broker"
)

// testHold has many workers want to pass on one aggregate.
func testHold(t *testing.T, s Store) {
	ctx := t.Context()
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	r := broker.Request{
		ID: "HOLD0000000000000000", State: broker.StateAsked, AskedAt: now,
		Trail: broker.Trail{Notices: []broker.Notice{{ID: "n1", Kind: broker.NoticeAudit, Due: now}}},
	}
	r, err := s.PutRequest(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	ref := broker.Ref{Kind: broker.RefRequest, Key: r.ID}
	hold := func(now, until time.Time) bool {
		t.Helper()
		held, err := s.Hold(ctx, ref, now, until)
		if err != nil {
			t.Error(err)
		}
		return held
	}
	if hold(now.Add(-time.Second), now) {
		t.Error("it was held before it was due")
	}
	var winners atomic.Int32
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			if hold(now, now.Add(30*time.Second+time.Duration(i)*time.Millisecond)) {
				winners.Add(1)
			}
		})
	}
	all.Wait()
	if n := winners.Load(); n != 1 {
		t.Errorf("%d workers hold it", n)
	}
	if hold(now.Add(29*time.Second), now.Add(time.Minute)) {
		t.Error("it was taken from who holds it")
	}
	if !hold(now.Add(31*time.Second), now.Add(time.Minute)) {
		t.Error("it is held for ever")
	}
	// A hold changes nothing but when: the version stays, and a change ends it.
	r.Trail.Notices = append(r.Trail.Notices, broker.Notice{ID: "n2", Kind: broker.NoticeAudit, Due: now})
	if _, err := s.PutRequest(ctx, r); err != nil {
		t.Fatal(err)
	}
	if !hold(now, now.Add(time.Minute)) {
		t.Error("what changed is still held")
	}
	if held, err := s.Hold(ctx, broker.Ref{Kind: broker.RefRequest, Key: "NOBODY00000000000000"}, now, now.Add(time.Minute)); held || err != nil {
		t.Error(fmt.Sprint("nothing was held: ", held, err))
	}
}
