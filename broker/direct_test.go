package broker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/store"
)

// A mailbox is a Teller that names the message by which a requester is told to
// reveal, as Slack does.
type mailbox struct {
	told []string // the Kinds for the requester, and the state at that time
	tell func(broker.Telling)
}

func (m *mailbox) Tell(_ context.Context, t broker.Telling) (string, error) {
	if m.tell != nil {
		m.tell(t)
	}
	switch t.Kind {
	case broker.NoticeOutcome:
		m.told = append(m.told, fmt.Sprintf("outcome: %s", t.Request.State))
		if t.Request.State == broker.StateApproved {
			return "D1/1.5", nil
		}
		return "", nil
	case broker.NoticeOver:
		m.told = append(m.told, fmt.Sprintf("over: %s at %s", t.Request.State, t.Direct))
		return "", nil
	default:
		return "thread", nil
	}
}

// mailed is a world in which Bob has asked for a role that needs approval, and
// what his Broker tells him.
func mailed(t *testing.T, engine func(*testing.T, *world) store.Store) (*world, store.Store, *broker.Broker, *mailbox, broker.Request) {
	t.Helper()
	w, r := pending(t, "guarded")
	s := engine(t, w)
	b, m := w.ending(s, &revoker{}), &mailbox{}
	b.Teller = m
	return w, s, b, m, r
}

// approvedBy has an approver say yes.
func (w *world) approvedBy(t *testing.T, b *broker.Broker, who broker.SlackID, r broker.Request) {
	t.Helper()
	if _, err := b.Answer(t.Context(), w.answer(who, r, true)); err != nil {
		t.Fatal(err)
	}
}

// The message that told the requester to reveal says so when there is nothing
// more to reveal, whatever else they are told: once, and on either store.
func TestDirectMessageIsRefreshed(t *testing.T) {
	t.Parallel()
	withdraw := func(t *testing.T, w *world, b *broker.Broker, r broker.Request) {
		if _, err := b.Withdraw(t.Context(), bob, r.ID, w.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	reveal := func(t *testing.T, w *world, b *broker.Broker, r broker.Request) {
		if _, err := b.Reveal(t.Context(), w.reveal(r, "1")); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		ends func(*testing.T, *world, *broker.Broker, broker.Request)
		want []string
	}{
		"withdrawn": {withdraw, []string{"over: withdrawn at D1/1.5"}},
		"lapsed": {func(_ *testing.T, w *world, _ *broker.Broker, _ broker.Request) { w.advance(time.Hour) },
			[]string{"outcome: lapsed", "over: lapsed at D1/1.5"}},
		"void, as its reveal finds": {func(t *testing.T, w *world, b *broker.Broker, r broker.Request) {
			do(t, broker.NewAdmin(b.Users.(store.Store), w.Now, nonsense{}, root), "grant remove guarded --group sre")
			if _, err := b.Reveal(t.Context(), w.reveal(r, "1")); rule(err) == "" {
				t.Fatal(err)
			}
		}, []string{"outcome: void", "over: void at D1/1.5"}},
		"void, as it is ended": {func(t *testing.T, _ *world, b *broker.Broker, _ broker.Request) {
			if n, err := b.EndUser(t.Context(), "bob", rootHerself); n != 1 || err != nil {
				t.Fatalf("%d requests, %v", n, err)
			}
		}, []string{"outcome: void", "over: void at D1/1.5"}},
		"revealed, and not over": {reveal, nil},
		"revealed, and over": {func(t *testing.T, w *world, b *broker.Broker, r broker.Request) {
			reveal(t, w, b, r)
			w.advance(4 * time.Hour)
		}, []string{"over: closed at D1/1.5"}},
		"revealed, and ended": {func(t *testing.T, w *world, b *broker.Broker, r broker.Request) {
			reveal(t, w, b, r)
			if _, err := b.End(t.Context(), broker.Ending{Caller: bob, RequestID: r.ID, Deadline: w.Now().Add(time.Minute)}); err != nil {
				t.Fatal(err)
			}
		}, []string{"over: closed at D1/1.5"}},
	} {
		for on, engine := range engines {
			t.Run(name+", "+on, func(t *testing.T) {
				t.Parallel()
				w, s, b, m, r := mailed(t, engine)
				w.approvedBy(t, b, lea, r)
				swept(t, b)
				if stored, err := s.Request(t.Context(), r.ID); err != nil || stored.Trail.Direct != "D1/1.5" {
					t.Fatalf("the message is at %q, %v", stored.Trail.Direct, err)
				}
				m.told = nil
				c.ends(t, w, b, r)
				swept(t, b)
				swept(t, b)
				w.advance(time.Minute)
				swept(t, b)
				if diff := cmp.Diff(c.want, m.told); diff != "" {
					t.Errorf("told (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// Where nobody was told to reveal, there is nothing to refresh: what was never
// approved, or ended before that was told, or was stored before Starback knew
// where the message is.
func TestNoDirectMessage(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*testing.T, *world, store.Store, *broker.Broker, broker.Request)
		want   []string
	}{
		"never approved": {func(*testing.T, *world, store.Store, *broker.Broker, broker.Request) {}, nil},
		"approved, and not told yet": {func(t *testing.T, w *world, _ store.Store, b *broker.Broker, r broker.Request) {
			w.approvedBy(t, b, lea, r)
		}, []string{"outcome: withdrawn"}},
		"told before that was kept": {func(t *testing.T, w *world, s store.Store, b *broker.Broker, r broker.Request) {
			w.approvedBy(t, b, lea, r)
			swept(t, b)
			old, err := s.Request(t.Context(), r.ID)
			if err == nil {
				old.Trail.Direct = ""
				_, err = s.PutRequest(t.Context(), old)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, []string{"outcome: approved"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, s, b, m, r := mailed(t, engines["SQLite"])
			c.before(t, w, s, b, r)
			if _, err := b.Withdraw(t.Context(), bob, r.ID, w.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				swept(t, b)
				w.advance(time.Minute)
			}
			if diff := cmp.Diff(c.want, m.told); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
			after, err := s.Request(t.Context(), r.ID)
			if err != nil || len(after.Trail.Notices) != 0 {
				t.Errorf("left over: %+v, %v", after.Trail, err)
			}
		})
	}
}

// A Request is withdrawn at the moment at which its requester is told to reveal
// it: the message is refreshed once it is known where it is.
func TestWithdrawnWhileTold(t *testing.T) {
	w, _, b, m, r := mailed(t, engines["SQLite"])
	w.approvedBy(t, b, lea, r)
	m.tell = func(told broker.Telling) {
		if told.Kind == broker.NoticeOutcome {
			m.tell = nil
			if _, err := b.Withdraw(t.Context(), bob, r.ID, w.Now().Add(time.Minute)); err != nil {
				t.Error(err)
			}
		}
	}
	for range 3 {
		swept(t, b)
		w.advance(time.Minute)
	}
	if diff := cmp.Diff([]string{"outcome: approved", "over: withdrawn at D1/1.5"}, m.told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}
