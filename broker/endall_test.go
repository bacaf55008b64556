package broker_test

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

// swept passes on all that is due.
func swept(t *testing.T, b *broker.Broker) {
	t.Helper()
	for range 3 {
		for more := true; more; {
			var err error
			if more, err = b.Due(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// ended lists who was told of ends, and whose ends they were.
func (t *teller) ended() (told []string) {
	for _, telling := range t.told {
		for _, n := range telling.Notices {
			if telling.Kind == broker.NoticeEnded {
				told = append(told, n.Event.Slack+" by "+n.Event.Actor)
			}
		}
	}
	return told
}

// An application's Sessions end with its owner's: when somebody ends those, and
// when the owner is switched off.
func TestEndApplications(t *testing.T) {
	t.Parallel()
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, s, b, r, one, two, other := ending(t, engine)
			admin := broker.NewAdmin(s, w.Now, rand.Reader, root)
			do(t, admin, "user add ci --owner alice", "grant add readonly --user ci", "user add cd --owner bob", "grant add readonly --user cd")
			holds := func(app policy.UserName) broker.Issued {
				t.Helper()
				_, token, err := admin.CreateToken(t.Context(), broker.TokenWish{User: app, AnyRole: true})
				if err != nil {
					t.Fatal(err)
				}
				issued, err := b.Issue(t.Context(), w.bearer(string(app), token, "readonly"))
				if err != nil {
					t.Fatal(err)
				}
				return issued
			}
			ci, cd := holds("ci"), holds("cd")
			if n, err := b.EndUser(t.Context(), "alice", rootHerself); n != 2 || err != nil {
				t.Errorf("%d requests, %v", n, err)
			}
			for _, ended := range []broker.Issued{one, two, ci} {
				if !r.denies(ended.Session.ID) {
					t.Errorf("a session of %s is not denied", ended.Request.User)
				}
			}
			if r.denies(other.Session.ID) || r.denies(cd.Session.ID) {
				t.Errorf("denied %v", r.denied)
			}
			do(t, admin, "user disable bob")
			swept(t, b)
			if !r.denies(other.Session.ID) || !r.denies(cd.Session.ID) {
				t.Errorf("bob is switched off: denied %v", r.denied)
			}
		})
	}
}

// Whoever is told that an end takes time hears of it when it has come; a
// requester hears of an end that somebody else wanted. Nobody else does.
func TestEndsAreTold(t *testing.T) {
	t.Parallel()
	throttled := &broker.Fault{Code: broker.FaultThrottled, Err: errDown}
	for _, tt := range []struct {
		name string
		by   broker.SlackID // ends Alice's; nobody: the command line switches her off
		err  error          // of the first try
		want []string
	}{
		{"her own, at once", alice, nil, nil},
		{"her own, late", alice, throttled, []string{alice.String() + " by alice"}},
		{"an administrator's, at once", rootHerself.Slack, nil, []string{alice.String() + " by root"}},
		{"an administrator's, late", rootHerself.Slack, throttled, []string{alice.String() + " by root", rootHerself.Slack.String() + " by root"}},
		{"switched off", broker.SlackID{}, nil, []string{alice.String() + " by " + broker.ActorStarback}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, s, b, r, one, _, _ := ending(t, engines["SQLite"])
			r.err = tt.err
			if tt.by.IsZero() {
				do(t, broker.NewAdmin(s, w.Now, nonsense{}, root), "user disable alice")
			} else if _, err := b.End(t.Context(), broker.Ending{
				Caller: tt.by, RequestID: one.Request.ID, Deadline: w.Now().Add(time.Minute),
			}); faultCode(err) != faultCode(tt.err) {
				t.Fatal(err)
			}
			swept(t, b)
			r.err = nil
			w.advance(31 * time.Second)
			swept(t, b)
			got := w.teller.ended()
			slices.Sort(got)
			slices.Sort(tt.want)
			if !slices.Equal(got, tt.want) {
				t.Errorf("told %q, want %q", got, tt.want)
			}
		})
	}
}

// Lagging hides what is open and what was issued from whoever looks for the
// first time, as an index may that has not caught up.
type lagging struct {
	broker.RequestBook
	broker.Archive
	looks int
}

func (l *lagging) OpenRequests(ctx context.Context, user policy.UserName, now time.Time) ([]broker.Request, error) {
	if l.looks++; l.looks == 1 {
		return nil, nil
	}
	return l.RequestBook.OpenRequests(ctx, user, now)
}

func (l *lagging) Events(ctx context.Context, q broker.EventQuery) ([]broker.Event, error) {
	if l.looks++; l.looks == 1 {
		return nil, nil
	}
	return l.Archive.Events(ctx, q)
}

// What an index does not name yet is found at the second look, and what was
// found is counted once.
func TestEndWhatAnIndexLacks(t *testing.T) {
	t.Parallel()
	for _, lag := range []time.Duration{0, time.Millisecond} {
		for name, tt := range map[string]struct {
			end  func(*broker.Broker) (int, error)
			want int
		}{
			"a user's": {func(b *broker.Broker) (int, error) { return b.EndUser(t.Context(), "alice", rootHerself) }, 1},
			"a role's": {func(b *broker.Broker) (int, error) { return b.EndRole(t.Context(), "readonly", rootHerself) }, 2},
		} {
			w, _, b, r, one, two, _ := ending(t, engines["SQLite"])
			swept(t, b)
			config := b.Config
			index := &lagging{RequestBook: config.Requests, Archive: config.Archive}
			config.Requests, config.Archive, config.Lag = index, index, lag
			b = broker.New(config)
			n, err := tt.end(b)
			if err != nil || (n == tt.want) != (lag > 0) || r.denies(one.Session.ID) != (lag > 0) || r.denies(two.Session.ID) != (lag > 0) {
				t.Errorf("%s, lag %v: %d requests, denied %v, %v", name, lag, n, r.denied, err)
			}
			index.looks = 0
			e, err := b.FindIssued(t.Context(), one.Session.ID)
			if found := e.RequestID == one.Request.ID; found != (lag > 0) || found == errors.Is(err, broker.ErrNotFound) {
				t.Errorf("%s, lag %v: found %+v, %v", name, lag, e, err)
			}
			if e, err = b.FindIssued(t.Context(), one.Credentials.AccessKeyID); err != nil || e.SessionID != one.Session.ID {
				t.Errorf("by its key: %+v, %v", e, err)
			}
			if got := w.request(t, one.Request.ID); lag > 0 && got.State != broker.StateClosed {
				t.Errorf("%s: the request is %s", name, got.State)
			}
		}
	}
}
