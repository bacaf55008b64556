package broker_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

// addBoundary gives the ReadOnly role the boundary that its template has, and
// its account the revoker. It returns what publishes the boundary.
func (w *world) addBoundary() *cloud.Revoker {
	const (
		allowAll = `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}`
		base     = "arn:aws:iam::111122223333:user/starback"
	)
	role := &policy.Role{ARN: "arn:aws:iam::111122223333:role/starback/ReadOnly"}
	w.aws.AddPolicy(cloud.BoundaryARN(role), allowAll)
	w.aws.AddRole(sandbox.Role{
		ARN: role.ARN, MaxSessionDuration: 8 * time.Hour, Permissions: allowAll, Boundary: cloud.BoundaryARN(role),
		Trust: sandbox.Trust{Principals: []string{base}, TagSession: true, SetSourceIdentity: true},
	})
	w.aws.AddRole(sandbox.Role{
		ARN: "arn:aws:iam::111122223333:role/" + cloud.RevokerRole, Permissions: allowAll, Trust: sandbox.Trust{Principals: []string{base}},
	})
	return cloud.NewRevoker(w.atAWS())
}

func (w *world) atAWS() *cloud.Minter { return w.minter.Minter.(*cloud.Minter) }

// may says whether AWS lets a Session do anything: not to be denied is enough.
func (w *world) may(t *testing.T, c broker.Credentials) bool {
	t.Helper()
	config := w.atAWS().AWS
	config.Credentials = credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretKey.Reveal(), c.SessionToken.Reveal())
	_, err := iam.NewFromConfig(config).ListAccountAliases(t.Context(), nil)
	var refused smithy.APIError
	if err != nil && (!errors.As(err, &refused) || refused.ErrorCode() != "AccessDenied") {
		t.Fatal(err)
	}
	return err == nil
}

// endingAtAWS is a world in which Alice has two Sessions of one Request, and Bob
// one of his own, all of one IAM role, and AWS allows them all. Its ends are
// AWS's.
func endingAtAWS(t *testing.T, engine func(*testing.T, *world) store.Store) (w *world, b *broker.Broker, one, two, other broker.Issued) {
	t.Helper()
	w, s, _, _, one, two, other := ending(t, engine)
	// What counts at AWS is the boundary that the role has when a Session acts.
	b = w.ending(s, w.addBoundary())
	w.allows(t, map[string]bool{"one": true, "two": true, "other": true}, one, two, other)
	return w, b, one, two, other
}

// allows compares what AWS lets the three Sessions do.
func (w *world) allows(t *testing.T, want map[string]bool, one, two, other broker.Issued) {
	t.Helper()
	got := map[string]bool{"one": w.may(t, one.Credentials), "two": w.may(t, two.Credentials), "other": w.may(t, other.Credentials)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what AWS allows (-want +got):\n%s", diff)
	}
}

// An action that AWS allows a Session before its end is denied after it, while
// a sibling of the same Request, and somebody else's of the same IAM role, go
// on.
func TestEndAtAWS(t *testing.T) {
	t.Parallel()
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, b, one, two, other := endingAtAWS(t, engine)
			for _, step := range []struct {
				session string // "": all that is left of the Request
				want    map[string]bool
			}{
				{one.Session.ID, map[string]bool{"one": false, "two": true, "other": true}},
				{"", map[string]bool{"one": false, "two": false, "other": true}},
			} {
				e := broker.Ending{Caller: alice, RequestID: one.Request.ID, SessionID: step.session, Deadline: w.Now().Add(time.Minute)}
				if _, err := b.End(t.Context(), e); err != nil {
					t.Fatal(err)
				}
				w.allows(t, step.want, one, two, other)
			}
		})
	}
}

// An IAM that fails is said to fail, and asked again until it does what it is
// asked; nothing is said to be ended before.
func TestIAMFails(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]sandbox.Fault{
		"it is busy":     {Status: 400, Code: "Throttling"},
		"it is broken":   {Status: 500, Code: "ServiceFailure"},
		"it hangs up":    {Drop: true},
		"it says no":     {Status: 403, Code: "AccessDenied"},
		"a proxy's page": {Garbage: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for name, engine := range engines {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					w, b, one, two, other := endingAtAWS(t, engine)
					w.aws.SetFault(func(service, action string) *sandbox.Fault {
						if service == "iam" && action == "CreatePolicyVersion" {
							return &fault
						}
						return nil
					})
					e := broker.Ending{Caller: alice, RequestID: one.Request.ID, Deadline: w.Now().Add(time.Minute)}
					_, err := b.End(t.Context(), e)
					code := faultCode(err)
					if code == "" {
						t.Fatalf("err = %v", err)
					}
					for range 2 {
						w.allows(t, map[string]bool{"one": true, "two": true, "other": true}, one, two, other)
						w.advance(31 * time.Second)
						failed := strings.Count(w.journal.String(), string(code))
						if _, err := b.Due(t.Context()); !errors.Is(err, broker.ErrUnavailable) {
							t.Errorf("the sweep: %v", err)
						}
						if strings.Count(w.journal.String(), string(code)) == failed {
							t.Errorf("the log does not say that it failed again by %s", code)
						}
					}
					if told := w.teller.ended(); len(told) != 0 {
						t.Errorf("told %q of an end that has not come", told)
					}
					w.aws.SetFault(nil)
					for range 3 { // each try comes later than the one before
						w.advance(10 * time.Minute)
						swept(t, b)
					}
					for _, session := range []broker.Issued{one, two} {
						r, err := b.Ledger.Request(t.Context(), session.Request.ID)
						if s := sessionOf(r, session.Session.ID); err != nil || s.EndedAt.IsZero() {
							t.Errorf("session %+v, %v", s, err)
						}
					}
					if got, want := w.teller.ended(), []string{alice.String() + " by alice"}; !slices.Equal(got, want) {
						t.Errorf("told %q, want %q", got, want)
					}
					w.allows(t, map[string]bool{"one": false, "two": false, "other": true}, one, two, other)
				})
			}
		})
	}
}

// sessionOf is a Session of a Request.
func sessionOf(r broker.Request, id string) broker.Session {
	for _, s := range r.Sessions {
		if s.ID == id {
			return s
		}
	}
	return broker.Session{}
}

// 150 Sessions of one role that are ended at once, half of them by an
// administrator, are all denied by AWS, in far fewer publications; one more goes
// on. Once they have expired, they take no room.
func TestManyEndsAtAWS(t *testing.T) {
	t.Parallel()
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := 150
			if testing.Short() || raceDetector {
				n = 10
			}
			w := newWorld(t)
			s := engine(t, w)
			b := w.ending(s, w.addBoundary())
			issue := func(key string) broker.Issued {
				t.Helper()
				w.advance(16 * time.Second) // or it would be too often
				ask := w.ask(key, "readonly")
				ask.Duration = 4 * time.Hour
				issued, err := b.Issue(t.Context(), ask)
				if err != nil {
					t.Fatal(err)
				}
				return issued
			}
			var sessions []broker.Issued
			for i := range n {
				sessions = append(sessions, issue(fmt.Sprint(i)))
			}
			spared := issue("spared")
			if !w.may(t, sessions[0].Credentials) {
				t.Fatal("AWS denies a session that nobody has ended")
			}

			var all sync.WaitGroup
			for i, session := range sessions {
				by := alice
				if i%2 == 1 {
					by = rootHerself.Slack
				}
				all.Go(func() {
					_, err := b.End(t.Context(), broker.Ending{Caller: by, RequestID: session.Request.ID, Deadline: w.Now().Add(time.Minute)})
					if err != nil && !errors.Is(err, broker.ErrUnavailable) {
						t.Errorf("err = %v", err)
					}
				})
			}
			all.Wait()
			// Whoever had no turn in time, on a slow machine, leaves it to the sweep.
			w.advance(31 * time.Second)
			for more := true; more; {
				var err error
				if more, err = b.Due(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			for _, session := range sessions {
				if w.may(t, session.Credentials) {
					t.Errorf("AWS still allows %s", session.Session.ID)
				}
			}
			if !w.may(t, spared.Credentials) {
				t.Error("AWS denies a session that nobody has ended")
			}
			published := func() (calls int) {
				for _, call := range w.aws.Calls() {
					if call.Action == "CreatePolicyVersion" && call.ErrorCode == "" {
						calls++
					}
				}
				return calls
			}
			most := n / 2
			if n < 150 { // of so few, how many come in time for one publication is chance
				most = n - 1
			}
			if calls := published(); calls > most {
				t.Errorf("the boundary was published %d times for %d sessions, more than %d", calls, n, most)
			}

			w.advance(5 * time.Hour)
			last := issue("last")
			if _, err := b.End(t.Context(), broker.Ending{Caller: alice, RequestID: last.Request.ID, Deadline: w.Now().Add(time.Minute)}); err != nil || w.may(t, last.Credentials) {
				t.Errorf("the last is still allowed, %v", err)
			}
			if f, err := s.Fence(t.Context(), last.Request.RoleARN); err != nil || len(f.Ended) != 1 || f.Published != 1 || f.Holder != "" {
				t.Errorf("the fence is %+v, %v", f, err)
			}
		})
	}
}
