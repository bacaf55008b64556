package store_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/store"
	"github.com/starback/starback/store/storetest"
)

// Two stores on one file keep every promise together: each call goes to the
// other one than the call before.
func TestSQLitePair(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store {
		path := newPath(t)
		return &pair{stores: [2]*store.SQLite{open(t, path), open(t, path)}}
	})
}

type pair struct {
	stores [2]*store.SQLite
	calls  atomic.Uint32
}

func (p *pair) next() *store.SQLite { return p.stores[p.calls.Add(1)%2] }

func (p *pair) Identify(ctx context.Context, id broker.SlackID) (broker.Facts, error) {
	return p.next().Identify(ctx, id)
}

func (p *pair) PutRequest(ctx context.Context, r broker.Request) (broker.Request, error) {
	return p.next().PutRequest(ctx, r)
}

func (p *pair) Request(ctx context.Context, id string) (broker.Request, error) {
	return p.next().Request(ctx, id)
}

func (p *pair) User(ctx context.Context, name policy.UserName) (broker.User, error) {
	return p.next().User(ctx, name)
}

func (p *pair) PutUser(ctx context.Context, u broker.User) (broker.User, error) {
	return p.next().PutUser(ctx, u)
}

func (p *pair) Users(ctx context.Context, yield func(broker.User) bool) error {
	return p.next().Users(ctx, yield)
}

func (p *pair) Identity(ctx context.Context, id broker.SlackID) (broker.Identity, error) {
	return p.next().Identity(ctx, id)
}

func (p *pair) PutIdentity(ctx context.Context, i broker.Identity) (broker.Identity, error) {
	return p.next().PutIdentity(ctx, i)
}

func (p *pair) UsersByEmail(ctx context.Context, email string) ([]broker.User, error) {
	return p.next().UsersByEmail(ctx, email)
}

func (p *pair) OpenRequests(ctx context.Context, user policy.UserName, now time.Time) ([]broker.Request, error) {
	return p.next().OpenRequests(ctx, user, now)
}

func (p *pair) Fence(ctx context.Context, roleARN string) (broker.Fence, error) {
	return p.next().Fence(ctx, roleARN)
}

func (p *pair) PutFence(ctx context.Context, f broker.Fence) (broker.Fence, error) {
	return p.next().PutFence(ctx, f)
}

func (p *pair) Pace(ctx context.Context, role policy.RoleName) (broker.Pace, error) {
	return p.next().Pace(ctx, role)
}

func (p *pair) PutPace(ctx context.Context, pace broker.Pace) (broker.Pace, error) {
	return p.next().PutPace(ctx, pace)
}

func (p *pair) IdentifyToken(ctx context.Context, id string) (broker.Facts, error) {
	return p.next().IdentifyToken(ctx, id)
}

func (p *pair) NameToken(ctx context.Context, id string, user policy.UserName) error {
	return p.next().NameToken(ctx, id, user)
}

func (p *pair) Proposal(ctx context.Context, id string) (broker.Proposal, error) {
	return p.next().Proposal(ctx, id)
}

func (p *pair) PutProposal(ctx context.Context, proposal broker.Proposal) (broker.Proposal, error) {
	return p.next().PutProposal(ctx, proposal)
}

func (p *pair) Proposals(ctx context.Context, yield func(broker.Proposal) bool) error {
	return p.next().Proposals(ctx, yield)
}

func (p *pair) Head(ctx context.Context) (broker.Head, *policy.Document, error) {
	return p.next().Head(ctx)
}

func (p *pair) PutPolicy(ctx context.Context, h broker.Head, doc *policy.Document) error {
	return p.next().PutPolicy(ctx, h, doc)
}

func (p *pair) Policy(ctx context.Context, version int64) (broker.Head, *policy.Document, error) {
	return p.next().Policy(ctx, version)
}

func (p *pair) Versions(ctx context.Context, before int64, limit int) ([]broker.Head, error) {
	return p.next().Versions(ctx, before, limit)
}

func (p *pair) Append(ctx context.Context, events []broker.Event) error {
	return p.next().Append(ctx, events)
}

func (p *pair) Events(ctx context.Context, q broker.EventQuery) ([]broker.Event, error) {
	return p.next().Events(ctx, q)
}

func (p *pair) Pending(ctx context.Context, now time.Time, limit int) ([]broker.Pending, error) {
	return p.next().Pending(ctx, now, limit)
}

func (p *pair) Settle(ctx context.Context, ref broker.Ref, s broker.Settlement) error {
	return p.next().Settle(ctx, ref, s)
}

func (p *pair) Hold(ctx context.Context, ref broker.Ref, now, until time.Time) (bool, error) {
	return p.next().Hold(ctx, ref, now, until)
}

func (p *pair) Enqueue(ctx context.Context, j broker.Job) error {
	return p.next().Enqueue(ctx, j)
}

func (p *pair) Claim(ctx context.Context, now time.Time, lease time.Duration) (broker.Job, bool, error) {
	return p.next().Claim(ctx, now, lease)
}

func (p *pair) Retry(ctx context.Context, id string, at time.Time) error {
	return p.next().Retry(ctx, id, at)
}

func (p *pair) Done(ctx context.Context, id string) error {
	return p.next().Done(ctx, id)
}

func (p *pair) Waiting(ctx context.Context) (int, error) {
	return p.next().Waiting(ctx)
}
