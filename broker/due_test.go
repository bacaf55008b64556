package broker_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
)

// due is Due where nothing may go wrong.
func (w *world) due(t *testing.T) {
	t.Helper()
	if _, err := w.Due(t.Context()); err != nil {
		t.Error(err)
	}
}

// indexed names the Events of a Request in the audit index.
func (w *world) indexed(t *testing.T, id string) []broker.EventName {
	t.Helper()
	found, err := w.store.Events(t.Context(), broker.EventQuery{RequestID: id})
	if err != nil {
		t.Fatal(err)
	}
	var names []broker.EventName
	for _, e := range found {
		names = append(names, e.Event)
	}
	return names
}

func TestDue(t *testing.T) {
	w := newWorld(t)
	got := w.mustIssue(t, w.ask("1", "readonly"))
	for range 3 {
		w.due(t)
	}
	want := []broker.EventName{broker.EventAsked, broker.EventIssued}
	if diff := cmp.Diff(want, w.indexed(t, got.Request.ID)); diff != "" {
		t.Errorf("indexed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"audit request.asked", "audit session.issued"}, w.teller.notices()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if told := w.teller.told[0]; told.Thread != "" || told.Request == nil || told.Request.State != broker.StateOpen {
		t.Errorf("told of %+v", told)
	}
	if r := w.request(t, got.Request.ID); len(r.Trail.Events)+len(waits(r)) != 0 || r.Trail.Thread != "thread" {
		t.Errorf("left over: %+v", r.Trail)
	}

	// What comes later goes to the same thread.
	if _, err := w.IssueAgain(t.Context(), w.again("2", got.Request.ID)); err != nil {
		t.Fatal(err)
	}
	w.due(t)
	if n := len(w.teller.told); n != 2 || w.teller.told[1].Thread != "thread" {
		t.Errorf("told %d times: %+v", n, w.teller.told)
	}
}

// An ask is told of with its outcome, or alone once its worker has died.
func TestAskIsToldOnceItsWorkerDied(t *testing.T) {
	w := newWorld(t)
	w.tap.watch(nil, nth("PutRequest", 1))
	if _, err := w.Issue(t.Context(), w.ask("1", "readonly")); faultCode(err) != broker.FaultStore {
		t.Fatal(err)
	}
	w.advance(broker.LeaseFor - time.Millisecond)
	w.due(t)
	if n := len(w.teller.told); n != 0 {
		t.Errorf("told %d times within the lease", n)
	}
	w.advance(time.Millisecond)
	w.due(t)
	if diff := cmp.Diff([]string{"audit request.asked"}, w.teller.notices()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// Invariant 8: nothing is lost while Slack is down, however long, and what is
// tried again is tried ever more rarely.
func TestNothingIsLostWhileSlackIsDown(t *testing.T) {
	w := newWorld(t)
	down := errors.New("slack is down")
	w.teller.answer = func(broker.Telling) (string, error) { return "", down }
	got := w.mustIssue(t, w.ask("1", "plain"))
	var waits []time.Duration
	last := w.Now()
	for range 12 {
		before := len(w.teller.told)
		if _, err := w.Due(t.Context()); !errors.Is(err, down) {
			t.Fatalf("err = %v", err)
		}
		if len(w.teller.told) != before+1 {
			t.Fatalf("told %d times at once", len(w.teller.told)-before)
		}
		next := w.request(t, got.Request.ID).Trail.Notices[0].Due
		waits = append(waits, next.Sub(last))
		w.advance(next.Sub(last) - time.Millisecond)
		w.due(t) // too early: nothing is tried, and nothing fails
		w.advance(time.Millisecond)
		last = w.Now()
	}
	s := time.Second
	want := []time.Duration{2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 64 * s, 128 * s, 256 * s, 300 * s, 300 * s, 300 * s, 300 * s}
	if diff := cmp.Diff(want, waits); diff != "" {
		t.Errorf("waited (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]broker.EventName{broker.EventAsked, broker.EventIssued}, w.indexed(t, got.Request.ID)); diff != "" {
		t.Errorf("the index waited for Slack (-want +got):\n%s", diff)
	}
	w.teller.answer, w.teller.told = nil, nil
	w.due(t)
	if diff := cmp.Diff([]string{"audit request.asked", "audit session.issued"}, w.teller.notices()); diff != "" {
		t.Errorf("told in the end (-want +got):\n%s", diff)
	}
}

// A receiver that asks for patience is asked once, and then left alone for
// every aggregate.
func TestPatience(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for _, key := range []string{"1", "2", "3"} {
		ids = append(ids, w.mustIssue(t, w.ask(key, "plain")).Request.ID)
	}
	w.teller.answer = func(broker.Telling) (string, error) { return "", &broker.Patience{After: time.Minute} }
	w.due(t)
	if n := len(w.teller.told); n != 1 {
		t.Errorf("asked %d times", n)
	}
	for _, id := range ids {
		for _, n := range waits(w.request(t, id)) {
			if !n.Due.Equal(w.Now().Add(time.Minute)) {
				t.Errorf("due in %v", n.Due.Sub(w.Now()))
			}
		}
	}
	w.advance(time.Minute)
	w.teller.answer, w.teller.told = nil, nil
	w.due(t)
	if n := len(w.teller.told); n != 3 {
		t.Errorf("%d aggregates told in the end", n)
	}
	if !errors.Is(&broker.Patience{}, broker.ErrUnavailable) {
		t.Error("Patience is not ErrUnavailable")
	}
}

// Dying between telling and settling tells again: at least once, never never.
func TestDueIsAtLeastOnce(t *testing.T) {
	for _, call := range []string{"Append", "Request", "Settle"} {
		w := newWorld(t)
		got := w.mustIssue(t, w.ask("1", "plain"))
		w.tap.watch(nth(call, 1), nil)
		if _, err := w.Due(t.Context()); !errors.Is(err, broker.ErrUnavailable) {
			t.Errorf("%s fails: %v", call, err)
		}
		tries := map[string]int{"Append": 1, "Request": 1, "Settle": 2}[call]
		w.advance(30 * time.Second) // the hold of the one who died ends
		w.due(t)
		if n := len(w.teller.told); n != tries {
			t.Errorf("%s failed once: told %d times, want %d", call, n, tries)
		}
		if diff := cmp.Diff([]broker.EventName{broker.EventAsked, broker.EventIssued}, w.indexed(t, got.Request.ID)); diff != "" {
			t.Errorf("%s: indexed (-want +got):\n%s", call, diff)
		}
	}
}

// Two that pass on at once tell everything once.
func TestDueTellsOnce(t *testing.T) {
	w := newWorld(t)
	second := w.on(w.tap)
	for i := range 5 {
		w.mustIssue(t, w.ask(string(rune('a'+i)), "plain"))
	}
	var both sync.WaitGroup
	for _, b := range []*broker.Broker{w.Broker, second} {
		both.Go(func() {
			if _, err := b.Due(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if n := len(w.teller.told); n != 5 {
		t.Errorf("5 requests were told of %d times", n)
	}
}

// One aggregate that cannot be told of does not hold up the next.
func TestDueGoesOn(t *testing.T) {
	w := newWorld(t)
	bad := w.mustIssue(t, w.ask("1", "plain")).Request.ID
	w.advance(time.Second)
	good := w.mustIssue(t, w.ask("2", "plain")).Request.ID
	w.teller.answer = func(telling broker.Telling) (string, error) {
		if telling.Request.ID == bad {
			return "", errors.New("too long for Slack")
		}
		return "thread", nil
	}
	if _, err := w.Due(t.Context()); err == nil {
		t.Error("no error")
	}
	if len(w.teller.told) != 2 || w.teller.told[0].Request.ID != bad { // the longest due goes first
		t.Errorf("told %+v", w.teller.notices())
	}
	if n := waits(w.request(t, good)); len(n) != 0 {
		t.Errorf("the next one waits: %+v", n)
	}
}

func TestDueSaysThatThereIsMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 51 {
		ask := w.ask(string(rune('a'+i)), "guarded")
		if _, err := w.Issue(t.Context(), ask); err == nil {
			t.Fatal("issued")
		}
	}
	for _, want := range []bool{true, false} {
		if more, err := w.Due(t.Context()); more != want || err != nil {
			t.Errorf("more: %v, err = %v", more, err)
		}
	}
	if n := len(w.teller.told); n != 51 {
		t.Errorf("told %d times", n)
	}
}

func TestUndelivered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := w.mustIssue(t, w.ask("1", "plain"))
	w.due(t) // the version moves on
	if err := w.Undelivered(t.Context(), got); err != nil {
		t.Fatal(err)
	}
	w.teller.told = nil
	w.due(t)
	want := []string{"audit session.undelivered", "undelivered session.undelivered"}
	if diff := cmp.Diff(want, w.teller.notices()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if names := w.indexed(t, got.Request.ID); !slices.Contains(names, broker.EventUndelivered) {
		t.Errorf("indexed %v", names)
	}
	w.tap.watch(nth("PutRequest", 0), nil)
	if err := w.Undelivered(t.Context(), got); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("a store that is down: %v", err)
	}
}

// Sweep looks as soon as there is news, and reports what goes wrong.
func TestSweep(t *testing.T) {
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	told, reported, done := make(chan struct{}, 9), make(chan error, 9), make(chan struct{})
	w.teller.answer = func(broker.Telling) (string, error) {
		told <- struct{}{}
		return "", errDown
	}
	go func() {
		defer close(done)
		w.Sweep(ctx, time.Hour, func(err error) { reported <- err })
	}()
	w.mustIssue(t, w.ask("1", "plain"))
	<-told
	if err := <-reported; !errors.Is(err, errDown) {
		t.Errorf("reported %v", err)
	}
	stop()
	<-done
}

// waits lists what is to be told of a Request, apart from its window's end.
func waits(r broker.Request) []broker.Notice {
	return slices.DeleteFunc(slices.Clone(r.Trail.Notices), func(n broker.Notice) bool {
		return n.Kind == broker.NoticeClose || n.Kind == broker.NoticeEnding
	})
}

// Whoever is told that a window ends soon is told whether they may ask for more,
// as things are then.
func TestMayAskForMore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change string // an administrator's
		file   string
		want   bool
	}{
		"as it was":            {want: true},
		"with approval":        {file: replace(rules, "max_duration: 2h, reason", "max_duration: 2h, approval: {by: [leads]}, reason"), want: true},
		"not granted any more": {change: "grant remove ticketed --group dev"},
		"access ends soon":     {change: "user renew alice --until 64m"},
		"a shorter role":       {file: replace(rules, "max_duration: 2h, reason", "max_duration: 30m, reason")},
		"another ticket":       {file: replace(rules, "'^[A-Z]+-[0-9]+$'", "'^CHG[0-9]+$'")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ask := w.ask("1", "ticketed")
			ask.Duration, ask.Words = time.Hour, "INC-1 looking"
			w.mustIssue(t, ask)
			w.due(t)
			switch {
			case c.change != "":
				do(t, w.admin(w.tap), c.change)
			case c.file != "":
				w.apply(t, c.file)
			}
			w.advance(50 * time.Minute)
			w.teller.told = nil
			w.due(t)
			told := slices.DeleteFunc(w.teller.told, func(told broker.Telling) bool { return told.Kind != broker.NoticeEnding })
			if len(told) != 1 || told[0].MayAsk != c.want || !told[0].Now.Equal(w.Now()) {
				t.Errorf("told %+v", told)
			}
		})
	}
}
