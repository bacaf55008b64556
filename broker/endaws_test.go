package broker_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/cloud"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
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

// 150 Sessions of one role that are ended at once, half of them by an
// administrator, are all denied by AWS, in far fewer publications; one more goes
// on. Once they have expired, they take no room.
func TestManyEndsAtAWS(t *testing.T) {
	t.Parallel()
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := 150
			if testing.Short() {
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
			if calls := published(); calls >= n {
				t.Errorf("the boundary was published %d times for %d sessions", calls, n)
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
