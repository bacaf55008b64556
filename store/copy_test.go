package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/store"
)

// installed is what fillAll stores.
var installed = store.Counts{Users: 30, Identities: 20, Policies: 4, Requests: 40, Proposals: 12, Fences: 9, Paces: 8, Events: 250}

// fillAll stores items of every kind, in every state that matters to a copy.
func fillAll(t *testing.T, s store.Store) {
	t.Helper()
	ctx := t.Context()
	now := time.Date(2026, time.November, 5, 9, 30, 0, 0, time.UTC)
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range installed.Users {
		name := policy.UserName(fmt.Sprintf("user-%02d", i))
		var tokens []broker.Token
		for n := range i % 4 {
			tokens = append(tokens, broker.Token{ID: tokenOf(name, n), Expires: now})
			try(s.NameToken(ctx, tokens[n].ID, name))
		}
		u, err := s.PutUser(ctx, broker.User{
			Name: name, ID: fmt.Sprint("ID", i), Email: string(name) + "@example.com", Enabled: true, Expires: now, Tokens: tokens, Trail: oneEvent,
		})
		try(err)
		if i%3 == 0 { // a tombstone, at its second version
			u.Removed, u.Trail = true, broker.Trail{Thread: "1.5"}
			_, err := s.PutUser(ctx, u)
			try(err)
		}
	}
	for i := range installed.Identities {
		id := broker.SlackID{Team: "T012AB", User: fmt.Sprint("U", i)}
		_, err := s.PutIdentity(ctx, broker.Identity{Slack: id, User: policy.UserName(fmt.Sprintf("user-%02d", i)), SeenAt: now})
		try(err)
	}
	for i := range installed.Requests {
		r := broker.Request{ID: fmt.Sprint("REQ", i), User: "user-01", Role: "prod-readonly", Words: "<b> & 検査", AskedAt: now}
		r.State = broker.StateClosed
		if i%2 == 0 {
			r.State, r.Trail = broker.StatePending, oneEvent
		}
		_, err := s.PutRequest(ctx, r)
		try(err)
	}
	for i := range installed.Proposals {
		p := broker.Proposal{ID: fmt.Sprintf("01P%02d", i), Author: "ops", MadeAt: now, State: broker.ProposalWaiting}
		if i%3 == 0 {
			p.Trail = oneEvent
		}
		_, err := s.PutProposal(ctx, p)
		try(err)
	}
	for i := range installed.Fences {
		f := broker.Fence{RoleARN: fmt.Sprintf("arn:aws:iam::%012d:role/starback/ReadOnly", i), Holder: "janitor", Lease: now}
		for n := range i {
			f.Ended = append(f.Ended, broker.Ended{SessionID: fmt.Sprint("SESSION", n), Until: now})
		}
		_, err := s.PutFence(ctx, f)
		try(err)
	}
	for i := range installed.Paces {
		p := broker.Pace{Role: policy.RoleName(fmt.Sprintf("role-%02d", i))}
		for n := range i {
			p.Answers = append(p.Answers, broker.PaceAnswer{RequestID: fmt.Sprint("REQ", n), At: now, Took: time.Minute})
		}
		_, err := s.PutPace(ctx, p)
		try(err)
	}
	// The fourth version is the second again. The first was settled after it
	// was superseded, the second before, and the third not yet.
	for i, n := range []int64{1, 2, 3, 2} {
		version, doc := int64(i+1), numbered(n)
		try(s.PutPolicy(ctx, broker.Head{Version: version, Digest: doc.Digest(), Author: "ops", AppliedAt: now, Trail: oneEvent}, doc))
		if version == 2 {
			for _, key := range []string{"1", "2"} {
				ref := broker.Ref{Kind: broker.RefPolicy, Key: key}
				try(s.Settle(ctx, ref, broker.Settlement{Indexed: []string{"01A"}, Thread: "1.6"}))
			}
		}
	}
	for i := range installed.Events {
		e := broker.Event{ID: fmt.Sprintf("01A%03d", i), Time: now.Add(time.Duration(i) * time.Hour), Actor: "alice", Role: "prod-readonly"}
		try(s.Append(ctx, []broker.Event{e}))
	}
}

// tokenOf is the ID of the User's nth Token.
func tokenOf(name policy.UserName, n int) string { return fmt.Sprintf("%s-%d", name, n) }

// contents is everything in a store, by key.
func contents(t *testing.T, s store.Store) map[string]any {
	t.Helper()
	ctx, all := t.Context(), map[string]any{}
	keep := func(key string, item any) error {
		if _, twice := all[key]; twice {
			return fmt.Errorf("%s is shown twice", key)
		}
		all[key] = item
		return nil
	}
	err := s.Walk(ctx, store.Visitor{
		User: func(u broker.User) error {
			u.Version = 0
			return keep("user "+string(u.Name), u)
		},
		Identity: func(i broker.Identity) error {
			i.Version = 0
			return keep("identity "+i.Slack.String(), i)
		},
		Request: func(r broker.Request) error {
			r.Version = 0
			return keep("request "+r.ID, r)
		},
		Proposal: func(p broker.Proposal) error {
			p.Version = 0
			return keep("proposal "+p.ID, p)
		},
		Fence: func(f broker.Fence) error {
			f.Version = 0
			return keep("fence "+f.RoleARN, f)
		},
		Pace: func(p broker.Pace) error {
			p.Version = 0
			return keep("pace "+string(p.Role), p)
		},
		Event: func(e broker.Event) error { return keep("event "+e.ID, e) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for version := int64(1); ; version++ {
		head, doc, err := s.Policy(ctx, version)
		if errors.Is(err, broker.ErrNotFound) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all[fmt.Sprint("policy ", version)] = []any{head, doc.Digest()}
	}
}

func wantContents(t *testing.T, s store.Store, want map[string]any) {
	t.Helper()
	if diff := cmp.Diff(want, contents(t, s)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// An installation that moves to DynamoDB and back is what it was.
func TestCopyThereAndBack(t *testing.T) {
	ctx := t.Context()
	file := open(t, newPath(t))
	fillAll(t, file)
	want := contents(t, file)
	total := installed.Users + installed.Identities + installed.Policies + installed.Requests + installed.Proposals + installed.Fences + installed.Paces + installed.Events
	if len(want) != total {
		t.Fatalf("%d items to copy, want %d", len(want), total)
	}
	table, _ := newDynamoDB(t)
	var reports []store.Counts
	counts, err := store.Copy(ctx, file, table, store.CopyOptions{Report: func(c store.Counts) { reports = append(reports, c) }})
	if err != nil || counts != installed {
		t.Fatalf("copied %+v (%v), want %+v", counts, err, installed)
	}
	if len(reports) == 0 || reports[len(reports)-1] != installed {
		t.Errorf("reported %+v, want %+v in the end", reports, installed)
	}
	wantContents(t, table, want)
	// What is looked up by other ways than its key is found there too.
	if users, err := table.UsersByEmail(ctx, "user-01@example.com"); err != nil || len(users) != 1 {
		t.Errorf("%d users by their address (%v), want 1", len(users), err)
	}
	if facts, err := table.IdentifyToken(ctx, tokenOf("user-07", 2)); err != nil || facts.User.Name != "user-07" {
		t.Errorf("the token finds %q (%v), want user-07", facts.User.Name, err)
	}
	if open, err := table.OpenRequests(ctx, "user-01", time.Unix(1, 0)); err != nil || len(open) != 20 {
		t.Errorf("the user has %d open requests (%v), want 20", len(open), err)
	}
	if events, err := table.Events(ctx, broker.EventQuery{Role: "prod-readonly", Limit: 1000}); err != nil || len(events) != installed.Events {
		t.Errorf("%d events of the role (%v), want %d", len(events), err, installed.Events)
	}
	for name, s := range map[string]store.Store{"file": file, "table": table} {
		pending, err := s.Pending(ctx, time.Unix(1, 0), 100)
		if want := 20 + 20 + 4 + 2; err != nil || len(pending) != want { // users, requests, proposals, policies
			t.Errorf("%s: %d trails are pending (%v), want %d", name, len(pending), err, want)
		}
	}

	back := open(t, newPath(t))
	if counts, err := store.Copy(ctx, table, back, store.CopyOptions{}); err != nil || counts != installed {
		t.Fatalf("copied %+v back (%v), want %+v", counts, err, installed)
	}
	wantContents(t, back, want)
	if counts, err := store.Count(ctx, back); err != nil || counts != installed {
		t.Errorf("counted %+v (%v), want %+v", counts, err, installed)
	}
}

// A target that holds anything is refused, and stays as it is.
func TestCopyRefusesTarget(t *testing.T) {
	source := open(t, newPath(t))
	fillAll(t, source)
	doc := document()
	for name, put := range map[string]func(context.Context, store.Store) error{
		"a user": func(ctx context.Context, s store.Store) error {
			_, err := s.PutUser(ctx, broker.User{Name: "eve"})
			return err
		},
		"a request": func(ctx context.Context, s store.Store) error {
			_, err := s.PutRequest(ctx, broker.Request{ID: "EVE"})
			return err
		},
		"a proposal": func(ctx context.Context, s store.Store) error {
			_, err := s.PutProposal(ctx, broker.Proposal{ID: "EVE"})
			return err
		},
		"a fence": func(ctx context.Context, s store.Store) error {
			_, err := s.PutFence(ctx, broker.Fence{RoleARN: "EVE"})
			return err
		},
		"a pace": func(ctx context.Context, s store.Store) error {
			_, err := s.PutPace(ctx, broker.Pace{Role: "eve"})
			return err
		},
		"an event": func(ctx context.Context, s store.Store) error { return s.Append(ctx, []broker.Event{{ID: "EVE"}}) },
		"a job":    func(ctx context.Context, s store.Store) error { return s.Enqueue(ctx, broker.Job{ID: "EVE"}) },
		"a policy": func(ctx context.Context, s store.Store) error {
			return s.PutPolicy(ctx, broker.Head{Version: 1, Digest: doc.Digest()}, doc)
		},
		"an identity": func(ctx context.Context, s store.Store) error {
			_, err := s.PutIdentity(ctx, broker.Identity{Slack: bobID})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			target := open(t, newPath(t))
			if err := put(t.Context(), target); err != nil {
				t.Fatal(err)
			}
			before := contents(t, target)
			_, err := store.Copy(t.Context(), source, target, store.CopyOptions{})
			wantErr(t, err, broker.ErrConflict, "not empty")
			wantContents(t, target, before)
		})
	}
}

// Jobs that wait are not left behind unasked.
func TestCopyRefusesWaitingJobs(t *testing.T) {
	source, target := open(t, newPath(t)), open(t, newPath(t))
	if err := source.Enqueue(t.Context(), broker.Job{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	_, err := store.Copy(t.Context(), source, target, store.CopyOptions{})
	wantErr(t, err, broker.ErrConflict, "jobs are waiting in the source (1)")
	if _, err := store.Copy(t.Context(), source, target, store.CopyOptions{Force: true}); err != nil {
		t.Errorf("forced: %v", err)
	}
}

// A failing store fails some of its writes, or forgets them.
type failing struct {
	store.Store
	left   atomic.Int32 // how many Requests can be written
	forget string       // what is: a User, a Proposal, a Fence, a Pace or a Token
}

var errCut = errors.New("cut off")

func (f *failing) PutRequest(ctx context.Context, r broker.Request) (broker.Request, error) {
	if f.left.Add(-1) < 0 {
		return broker.Request{}, errCut
	}
	return f.Store.PutRequest(ctx, r)
}

func (f *failing) PutUser(ctx context.Context, u broker.User) (broker.User, error) {
	if f.forget == string(u.Name) {
		return u, nil
	}
	return f.Store.PutUser(ctx, u)
}

func (f *failing) PutProposal(ctx context.Context, p broker.Proposal) (broker.Proposal, error) {
	if f.forget == p.ID {
		return p, nil
	}
	return f.Store.PutProposal(ctx, p)
}

func (f *failing) PutPace(ctx context.Context, p broker.Pace) (broker.Pace, error) {
	if f.forget == string(p.Role) {
		return p, nil
	}
	return f.Store.PutPace(ctx, p)
}

func (f *failing) PutFence(ctx context.Context, fence broker.Fence) (broker.Fence, error) {
	if f.forget == fence.RoleARN {
		return fence, nil
	}
	return f.Store.PutFence(ctx, fence)
}

func (f *failing) NameToken(ctx context.Context, id string, user policy.UserName) error {
	if f.forget == id {
		return nil
	}
	return f.Store.NameToken(ctx, id, user)
}

// A copy that was cut off can be resumed, and not mistaken for a whole one.
func TestCopyResume(t *testing.T) {
	ctx := t.Context()
	source := open(t, newPath(t))
	fillAll(t, source)
	want := contents(t, source)
	target, _ := newDynamoDB(t)
	cut := &failing{Store: target}
	cut.left.Store(10)
	_, err := store.Copy(ctx, source, cut, store.CopyOptions{})
	wantErr(t, err, errCut, "")
	for key := range contents(t, target) {
		if strings.HasPrefix(key, "user ") {
			t.Fatalf("%s is there before the rest", key)
		}
	}
	_, err = store.Copy(ctx, source, target, store.CopyOptions{})
	wantErr(t, err, broker.ErrConflict, "not empty")
	for range 2 { // the second time, all is there already
		if _, err := store.Copy(ctx, source, target, store.CopyOptions{Resume: true}); err != nil {
			t.Fatalf("resuming: %v", err)
		}
		wantContents(t, target, want)
	}

	// What differs is somebody else's.
	r, err := target.Request(ctx, "REQ7")
	if err != nil {
		t.Fatal(err)
	}
	r.Words = "another"
	if _, err := target.PutRequest(ctx, r); err != nil {
		t.Fatal(err)
	}
	_, err = store.Copy(ctx, source, target, store.CopyOptions{Resume: true})
	wantErr(t, err, broker.ErrConflict, `the target has another: store: request "REQ7"`)
}

// A target whose Policy is another's is not resumed.
func TestCopyResumeAnotherPolicy(t *testing.T) {
	source, target := open(t, newPath(t)), open(t, newPath(t))
	for s, doc := range map[store.Store]*policy.Document{source: numbered(1), target: numbered(2)} {
		if err := s.PutPolicy(t.Context(), broker.Head{Version: 1, Digest: doc.Digest()}, doc); err != nil {
			t.Fatal(err)
		}
	}
	_, err := store.Copy(t.Context(), source, target, store.CopyOptions{Resume: true})
	wantErr(t, err, broker.ErrConflict, `the target has another: store: policy "1"`)
}

// A Token that is somebody else's in the target is not taken from them.
func TestCopyResumeAnothersToken(t *testing.T) {
	source, target := open(t, newPath(t)), open(t, newPath(t))
	fillAll(t, source)
	if err := target.NameToken(t.Context(), tokenOf("user-07", 2), "mallory"); err != nil {
		t.Fatal(err)
	}
	_, err := store.Copy(t.Context(), source, target, store.CopyOptions{Resume: true})
	wantErr(t, err, broker.ErrConflict, `the target: store: token "user-07-2"`)
	if _, err := target.User(t.Context(), "user-07"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("the user was copied without the token (%v)", err)
	}
}

// What did not arrive is noticed.
func TestCopyVerifies(t *testing.T) {
	source := open(t, newPath(t))
	fillAll(t, source)
	for forget, says := range map[string]string{
		"user-07": "the users in the target are not those in the source",
		"01P07":   "the proposals in the target are not those in the source",
		"arn:aws:iam::000000000007:role/starback/ReadOnly": "the fences in the target are not those in the source",
		"role-07":             "the paces in the target are not those in the source",
		tokenOf("user-07", 2): `the target: store: token "user-07-2" does not lead to user "user-07"`,
	} {
		t.Run(forget, func(t *testing.T) {
			target := &failing{Store: open(t, newPath(t)), forget: forget}
			target.left.Store(1000)
			_, err := store.Copy(t.Context(), source, target, store.CopyOptions{})
			wantErr(t, err, broker.ErrConflict, says)
		})
	}
}

// Counting notices a Token that does not lead to its User.
func TestCountLostToken(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	fillAll(t, s)
	if counts, err := store.Count(t.Context(), s); err != nil || counts != installed {
		t.Fatalf("counted %+v (%v), want %+v", counts, err, installed)
	}
	rawExec(t, path, `DROP TRIGGER tokens_keep`, `DELETE FROM tokens WHERE id = 'user-07-2'`)
	_, err := store.Count(t.Context(), s)
	wantErr(t, err, broker.ErrConflict, `token "user-07-2" does not lead to user "user-07"`)
}
