package store_test

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/store"
)

// fillDynamoDB stores bob, his Identity, a Request and a Policy.
func fillDynamoDB(t testing.TB, s store.Store) {
	t.Helper()
	ctx := t.Context()
	nameErr := s.NameToken(ctx, bobToken, "bob")
	_, userErr := s.PutUser(ctx, broker.User{
		Name: "bob", ID: "01B", Email: "bob@example.com", Slack: bobID, Tokens: []broker.Token{{ID: bobToken}},
	})
	_, proposalErr := s.PutProposal(ctx, broker.Proposal{ID: "01P", Author: "bob"})
	_, identityErr := s.PutIdentity(ctx, broker.Identity{Slack: bobID, User: "bob", UserID: "01B"})
	_, requestErr := s.PutRequest(ctx, broker.Request{ID: "REQ1", Role: "prod-readonly", Trail: oneEvent})
	doc := document()
	policyErr := s.PutPolicy(ctx, broker.Head{Version: 1, Digest: doc.Digest(), Author: "ops"}, doc)
	if err := errors.Join(nameErr, userErr, proposalErr, identityErr, requestErr, policyErr); err != nil {
		t.Fatal(err)
	}
}

// oneEvent is a Trail that needs attention.
var oneEvent = broker.Trail{Events: []broker.Event{{ID: "01A", Event: broker.EventAsked}}}

// What each use costs: the calls on the wire, one after the other. Every one of
// them also keeps the rules of call.check.
func TestDynamoDBCalls(t *testing.T) {
	s, w := newDynamoDB(t)
	fillDynamoDB(t, s)
	ctx := t.Context()
	identify := func() error {
		facts, err := s.Identify(ctx, bobID)
		if err == nil && (facts.User.Name != "bob" || facts.Policy == nil) {
			err = errors.New("not everything was read")
		}
		return err
	}
	identifyToken := func(id string, user policy.UserName) func() error {
		return func() error {
			facts, err := s.IdentifyToken(ctx, id)
			if err == nil && (facts.User.Name != user || facts.Policy == nil) {
				err = fmt.Errorf("%q was found, want %q", facts.User.Name, user)
			}
			return err
		}
	}
	app := func() error {
		_, err := s.PutUser(ctx, broker.User{Name: "ci", IsApp: true, Owner: "bob", Slack: bobID, Tokens: []broker.Token{{ID: "app"}}})
		return errors.Join(s.NameToken(ctx, "app", "ci"), err)
	}
	proposal := broker.Proposal{ID: "01Q"}
	request := broker.Request{ID: "REQ2", Role: "prod-readonly", Trail: oneEvent}
	doc := document()
	head := broker.Head{Version: 2, Digest: doc.Digest()}
	fence := broker.Fence{RoleARN: fenceARN}
	pace := broker.Pace{Role: "prod-admin"}
	openRequests := func(user policy.UserName) func() error {
		return func() error { _, err := s.OpenRequests(ctx, user, time.Unix(1, 0)); return err }
	}
	for _, c := range []struct {
		name string
		do   func() error
		want string
	}{
		{"Identify, cold", identify, "BatchGetItem GetItem BatchGetItem"},
		{"Identify, warm", identify, "BatchGetItem"},
		{"IdentifyToken, cold", identifyToken(bobToken, "bob"), "BatchGetItem BatchGetItem BatchGetItem"},
		{"IdentifyToken, warm", identifyToken(bobToken, "bob"), "BatchGetItem"},
		{"IdentifyToken, nobody's", identifyToken("nobodys00001", ""), "BatchGetItem"},
		{"NameToken and PutUser, new", app, "PutItem PutItem"},
		{"IdentifyToken of an application, cold", identifyToken("app", "ci"), "BatchGetItem BatchGetItem BatchGetItem"},
		{"IdentifyToken of an application, warm", identifyToken("app", "ci"), "BatchGetItem"},
		{"PutProposal", func() (err error) { proposal, err = s.PutProposal(ctx, proposal); return err }, "PutItem"},
		{"Proposal", func() error { _, err := s.Proposal(ctx, "01Q"); return err }, "GetItem"},
		{"Proposals", func() error { return s.Proposals(ctx, func(broker.Proposal) bool { return true }) }, "Query"},
		{"PutRequest, new", func() (err error) { request, err = s.PutRequest(ctx, request); return err }, "PutItem"},
		{"PutRequest, changed", func() (err error) { request, err = s.PutRequest(ctx, request); return err }, "PutItem"},
		{"PutRequest, in conflict", func() error {
			stored, err := s.PutRequest(ctx, broker.Request{ID: "REQ2"})
			if !errors.Is(err, broker.ErrConflict) || stored.Version != 2 {
				return fmt.Errorf("version %d and %w, want 2 and a conflict", stored.Version, err)
			}
			return nil
		}, "PutItem"},
		{"OpenRequests, none", openRequests("bob"), "Query"},
		{"PutRequest, opened", func() (err error) {
			request.User, request.State = "bob", broker.StatePending
			request, err = s.PutRequest(ctx, request)
			return err
		}, "PutItem"},
		{"OpenRequests", openRequests("bob"), "Query BatchGetItem"},
		{"OpenRequests, nobody's", openRequests(""), ""},
		{"PutRequest, over", func() (err error) {
			request.State = broker.StateWithdrawn
			request, err = s.PutRequest(ctx, request)
			return err
		}, "PutItem"},
		{"Fence, none", func() error { _, err := s.Fence(ctx, fenceARN); return err }, "GetItem"},
		{"PutFence, new", func() (err error) { fence, err = s.PutFence(ctx, fence); return err }, "PutItem"},
		{"PutFence, changed", func() (err error) { fence, err = s.PutFence(ctx, fence); return err }, "PutItem"},
		{"Fence", func() error { _, err := s.Fence(ctx, fenceARN); return err }, "GetItem"},
		{"Pace, none", func() error { _, err := s.Pace(ctx, "prod-admin"); return err }, "GetItem"},
		{"PutPace, new", func() (err error) { pace, err = s.PutPace(ctx, pace); return err }, "PutItem"},
		{"PutPace, changed", func() (err error) { pace, err = s.PutPace(ctx, pace); return err }, "PutItem"},
		{"Pace", func() error { _, err := s.Pace(ctx, "prod-admin"); return err }, "GetItem"},
		{"Request", func() error { _, err := s.Request(ctx, "REQ2"); return err }, "GetItem"},
		{"Settle", func() error {
			return s.Settle(ctx, broker.Ref{Kind: broker.RefRequest, Key: "REQ2"}, broker.Settlement{Indexed: []string{"01A"}})
		}, "GetItem PutItem"},
		{"Pending", func() error { _, err := s.Pending(ctx, time.Unix(1, 0), 10); return err }, "Query Query Query Query BatchGetItem"},
		{"UsersByEmail", func() error { _, err := s.UsersByEmail(ctx, "bob@example.com"); return err }, "Query BatchGetItem"},
		{"Head, warm", func() error { _, _, err := s.Head(ctx); return err }, "GetItem"},
		{"PutPolicy, known document", func() error { return s.PutPolicy(ctx, head, doc) }, "GetItem PutItem PutItem PutItem"},
		{"Versions, the newest", func() error { _, err := s.Versions(ctx, 0, 1); return err }, "GetItem"},
		{"Versions", func() error { _, err := s.Versions(ctx, 0, 10); return err }, "GetItem Query"},
		{"PutPolicy, too late", func() error {
			if err := s.PutPolicy(ctx, head, doc); !errors.Is(err, broker.ErrConflict) {
				return fmt.Errorf("%w, want a conflict", err)
			}
			return nil
		}, "GetItem"},
		{"Append, a day's first", func() error {
			return s.Append(ctx, []broker.Event{{ID: "01A", Actor: "bob"}})
		}, "PutItem PutItem"},
		{"Append", func() error { return s.Append(ctx, []broker.Event{{ID: "01B", Actor: "bob"}}) }, "PutItem"},
		{"Events of one", func() error { _, err := s.Events(ctx, broker.EventQuery{Actor: "bob"}); return err }, "Query"},
		{"Waiting", func() error { _, err := s.Waiting(ctx); return err }, "Query"},
		{"Enqueue", func() error { return s.Enqueue(ctx, broker.Job{ID: "a"}) }, "Query PutItem"},
		{"Claim", func() error { _, _, err := s.Claim(ctx, time.Unix(1, 0), time.Minute); return err }, "Query UpdateItem"},
		{"Done", func() error { return s.Done(ctx, "a") }, "DeleteItem"},
		{"Ping", func() error { return s.Ping(ctx) }, "GetItem"},
		{"Schema", func() error { _, err := s.Schema(ctx); return err }, "GetItem DescribeTable"},
		{"CreateTable, of one that is there", func() error {
			_, err := store.CreateTable(ctx, w.cfg, w.table, store.TableOptions{})
			return err
		}, "CreateTable DescribeTable UpdateContinuousBackups PutItem"},
	} {
		var ops []string
		for _, call := range w.during(c.do) {
			ops = append(ops, call.op)
		}
		if got := strings.Join(ops, " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// The hint saves a call, and decides nothing: whom the Identity names is who is
// read, whatever it named before.
func TestDynamoDBHint(t *testing.T) {
	s, w := newDynamoDB(t)
	fillDynamoDB(t, s)
	ctx := t.Context()
	if _, err := s.PutUser(ctx, broker.User{Name: "carol", ID: "01C"}); err != nil {
		t.Fatal(err)
	}
	other := w.open() // another process
	identity, err := s.Identity(ctx, bobID)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		names, finds policy.UserName
		calls        []int // of the first and the second Identify
	}{
		{"bob", "bob", []int{3, 1}},
		{"carol", "carol", []int{2, 1}},
		{"nobody", "", []int{2, 2}},
		{"", "", []int{1, 1}},
		{"bob", "bob", []int{2, 1}},
	} {
		identity.User = c.names
		if identity, err = other.PutIdentity(ctx, identity); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.calls {
			calls := w.during(func() error {
				facts, err := s.Identify(ctx, bobID)
				if facts.User.Name != c.finds || facts.Identity.User != c.names {
					t.Errorf("%q: found %q by %q", c.names, facts.User.Name, facts.Identity.User)
				}
				return err
			})
			if len(calls) != want {
				t.Errorf("%q: %d calls, want %d", c.names, len(calls), want)
			}
		}
	}
}

// The same for a Token: what is read along with it saves calls, and decides
// nothing.
func TestDynamoDBTokenHint(t *testing.T) {
	s, w := newDynamoDB(t)
	fillDynamoDB(t, s)
	ctx := t.Context()
	other := w.open() // another process
	user, err := s.User(ctx, "bob")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutUser(ctx, broker.User{Name: "carol", ID: "01C"}); err != nil {
		t.Fatal(err)
	}
	held := user.Tokens
	type found struct {
		user, owner, identity policy.UserName
	}
	for i, c := range []struct {
		change func()
		finds  found
		calls  []int // of the first and the second IdentifyToken
	}{
		{func() {}, found{"bob", "", "bob"}, []int{4, 1}},
		{func() { user.Enabled = true }, found{"bob", "", "bob"}, []int{1, 1}},
		{func() { user.IsApp, user.Owner = true, "carol" }, found{"bob", "carol", "bob"}, []int{2, 1}},
		{func() { user.Owner = "nobody" }, found{"bob", "", "bob"}, []int{2, 1}},
		{func() { user.Slack = broker.SlackID{} }, found{"bob", "", ""}, []int{1, 1}},
		{func() { user.Slack = broker.SlackID{Team: "T1", User: "U1"} }, found{"bob", "", ""}, []int{2, 1}},
		{func() { user.Tokens = nil }, found{}, []int{1, 2}},
		{func() { user.Tokens = held }, found{"bob", "", ""}, []int{3, 1}},
	} {
		c.change()
		if user, err = other.PutUser(ctx, user); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.calls {
			calls := w.during(func() error {
				facts, err := s.IdentifyToken(ctx, bobToken)
				if got := (found{facts.User.Name, facts.Owner.Name, facts.Identity.User}); got != c.finds {
					t.Errorf("change %d: found %+v, want %+v", i, got, c.finds)
				}
				return err
			})
			if len(calls) != want {
				t.Errorf("change %d: %d calls, want %d", i, len(calls), want)
			}
		}
	}
}

// A process sees its own Jobs at once, however far the index lags. Nobody
// claims a Job twice because of what the index says.
func TestDynamoDBLaggingIndex(t *testing.T) {
	s, w := newDynamoDB(t)
	ctx := t.Context()
	var stale string // what the index goes on saying
	w.meet(func(c call, send func() (*http.Response, error)) (*http.Response, error) {
		if c.op == "Query" && stale != "" {
			return answer(200, stale), nil
		}
		return send()
	})
	claim := func(want string) {
		t.Helper()
		job, ok, err := s.Claim(ctx, time.Unix(1, 0), time.Minute)
		if err != nil || job.ID != want || ok != (want != "") {
			t.Errorf("claimed %q (%v, %v), want %q", job.ID, ok, err, want)
		}
	}
	stale = `{"Count":0,"Items":[]}`
	for _, id := range []string{"a", "b"} {
		if err := s.Enqueue(ctx, broker.Job{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	claim("a")
	claim("b")
	claim("")
	stale = `{"Count":2,"Items":[
		{"pk":{"S":"job#gone"},"sk":{"S":"job"},"queued":{"N":"0"},"visible":{"N":"0"}},
		{"pk":{"S":"job#a"},"sk":{"S":"job"},"queued":{"N":"1"},"visible":{"N":"0"}}]}`
	claim("")
}

// Sweepers look at aggregates as they are, not as the index remembers them.
func TestDynamoDBLaggingOutbox(t *testing.T) {
	s, w := newDynamoDB(t)
	fillDynamoDB(t, s)
	ref := broker.Ref{Kind: broker.RefRequest, Key: "REQ1"}
	pending := func() []broker.Pending {
		t.Helper()
		pending, err := s.Pending(t.Context(), time.Unix(1, 0), 10)
		if err != nil {
			t.Fatal(err)
		}
		return pending
	}
	// The index names an item, and one that is not there, for ever.
	w.meet(func(c call, send func() (*http.Response, error)) (*http.Response, error) {
		if c.op == "Query" && strings.Contains(c.body, `"outbox.0"`) {
			return answer(200, `{"Count":2,"Items":[
				{"pk":{"S":"request#REQ1"},"sk":{"S":"request"},"due":{"N":"0"}},
				{"pk":{"S":"request#NONE"},"sk":{"S":"request"},"due":{"N":"0"}}]}`), nil
		}
		if c.op == "Query" {
			return answer(200, `{"Count":0,"Items":[]}`), nil
		}
		return send()
	})
	if diff := cmp.Diff([]broker.Pending{{Ref: ref, Trail: oneEvent}}, pending()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if err := s.Settle(t.Context(), ref, broker.Settlement{Indexed: []string{"01A"}}); err != nil {
		t.Fatal(err)
	}
	if got := pending(); len(got) != 0 {
		t.Errorf("%v is pending, though it is settled", got)
	}
}

// A sweeper reads what is due, and nothing that is due in a month.
func TestDynamoDBPendingReadsWhatIsDue(t *testing.T) {
	s, w := newDynamoDB(t)
	ctx, now := t.Context(), time.Unix(1_000_000, 0)
	for i := range 20 {
		trail := broker.Trail{Notices: []broker.Notice{{ID: "n", Due: now.AddDate(0, 1, 0)}}}
		if i == 7 {
			trail.Notices = append(trail.Notices, broker.Notice{ID: "now", Due: now})
		}
		if _, err := s.PutUser(ctx, broker.User{Name: policy.UserName(fmt.Sprintf("user-%02d", i)), Trail: trail}); err != nil {
			t.Fatal(err)
		}
	}
	var read []string
	for _, c := range w.during(func() error { _, err := s.Pending(ctx, now, 10); return err }) {
		if c.op == "BatchGetItem" {
			read = regexp.MustCompile(`name#[a-z0-9-]+`).FindAllString(c.body, -1)
		}
	}
	if diff := cmp.Diff([]string{"name#user-07"}, read); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
