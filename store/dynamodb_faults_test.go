package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/store"
)

// first lets f come between at the first call of the operation.
func (w *wire) first(op string, f func(send func() (*http.Response, error)) (*http.Response, error)) {
	w.meet(func(c call, send func() (*http.Response, error)) (*http.Response, error) {
		if c.op != op {
			return send()
		}
		w.meet(nil)
		return f(send)
	})
}

// What passes is tried again and not noticed.
func TestDynamoDBPassingFailure(t *testing.T) {
	for name, response := range map[string]func() *http.Response{
		"throttled":     func() *http.Response { return failure(400, "ProvisionedThroughputExceededException") },
		"too many":      func() *http.Response { return failure(400, "RequestLimitExceeded") },
		"throttled too": func() *http.Response { return failure(400, "ThrottlingException") },
		"broken":        func() *http.Response { return failure(500, "InternalServerError") },
		"away":          func() *http.Response { return answer(503, "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, w := newDynamoDB(t)
			failing := func(func() (*http.Response, error)) (*http.Response, error) { return response(), nil }
			w.first("PutItem", failing)
			r, err := s.PutRequest(t.Context(), broker.Request{ID: "REQ1"})
			if err != nil || r.Version != 1 {
				t.Errorf("writing: version %d (%v), want 1", r.Version, err)
			}
			w.first("GetItem", failing)
			if got, err := s.Request(t.Context(), "REQ1"); err != nil || got.Version != 1 {
				t.Errorf("reading: version %d (%v), want 1", got.Version, err)
			}
		})
	}
}

// What does not pass is ErrUnavailable, with its cause, whatever is asked for.
func TestDynamoDBLastingFailure(t *testing.T) {
	s, w := newDynamoDB(t)
	fillDynamoDB(t, s)
	ctx := t.Context()
	doc := document()
	uses := map[string]func() error{
		"Identify":      func() error { _, err := s.Identify(ctx, bobID); return err },
		"Request":       func() error { _, err := s.Request(ctx, "REQ1"); return err },
		"PutRequest":    func() error { _, err := s.PutRequest(ctx, broker.Request{ID: "REQ2"}); return err },
		"PutUser":       func() error { _, err := s.PutUser(ctx, broker.User{Name: "carol", Email: "c@example.com"}); return err },
		"PutIdentity":   func() error { _, err := s.PutIdentity(ctx, broker.Identity{Slack: bobID}); return err },
		"Users":         func() error { return s.Users(ctx, func(broker.User) bool { return true }) },
		"UsersByEmail":  func() error { _, err := s.UsersByEmail(ctx, "bob@example.com"); return err },
		"OpenRequests":  func() error { _, err := s.OpenRequests(ctx, "bob", time.Unix(1, 0)); return err },
		"Fence":         func() error { _, err := s.Fence(ctx, fenceARN); return err },
		"PutFence":      func() error { _, err := s.PutFence(ctx, broker.Fence{RoleARN: fenceARN}); return err },
		"Pace":          func() error { _, err := s.Pace(ctx, "prod-admin"); return err },
		"PutPace":       func() error { _, err := s.PutPace(ctx, broker.Pace{Role: "prod-admin"}); return err },
		"IdentifyToken": func() error { _, err := s.IdentifyToken(ctx, bobToken); return err },
		"NameToken":     func() error { return s.NameToken(ctx, "token0000002", "bob") },
		"Proposal":      func() error { _, err := s.Proposal(ctx, "01P"); return err },
		"PutProposal":   func() error { _, err := s.PutProposal(ctx, broker.Proposal{ID: "01Q"}); return err },
		"Proposals":     func() error { return s.Proposals(ctx, func(broker.Proposal) bool { return true }) },
		"Head":          func() error { _, _, err := s.Head(ctx); return err },
		"Policy":        func() error { _, _, err := s.Policy(ctx, 1); return err },
		"PutPolicy":     func() error { return s.PutPolicy(ctx, broker.Head{Version: 2, Digest: doc.Digest()}, doc) },
		"Append":        func() error { return s.Append(ctx, []broker.Event{{ID: "01B"}}) },
		"Events":        func() error { _, err := s.Events(ctx, broker.EventQuery{}); return err },
		"Pending":       func() error { _, err := s.Pending(ctx, time.Unix(1, 0), 1); return err },
		"Settle": func() error {
			return s.Settle(ctx, broker.Ref{Kind: broker.RefRequest, Key: "REQ1"}, broker.Settlement{})
		},
		"Enqueue": func() error { return s.Enqueue(ctx, broker.Job{ID: "a"}) },
		"Claim":   func() error { _, _, err := s.Claim(ctx, time.Unix(1, 0), time.Minute); return err },
		"Retry":   func() error { return s.Retry(ctx, "a", time.Unix(1, 0)) },
		"Done":    func() error { return s.Done(ctx, "a") },
		"Waiting": func() error { _, err := s.Waiting(ctx); return err },
		"Walk":    func() error { return s.Walk(ctx, store.Visitor{}) },
		"Schema":  func() error { _, err := s.Schema(ctx); return err },
		"Ping":    func() error { return s.Ping(ctx) },
	}
	for cause, response := range map[string]func() (*http.Response, error){
		"ProvisionedThroughputExceededException": func() (*http.Response, error) {
			return failure(400, "ProvisionedThroughputExceededException"), nil
		},
		"RequestLimitExceeded":  func() (*http.Response, error) { return failure(400, "RequestLimitExceeded"), nil },
		"ThrottlingException":   func() (*http.Response, error) { return failure(400, "ThrottlingException"), nil },
		"InternalServerError":   func() (*http.Response, error) { return failure(500, "InternalServerError"), nil },
		"AccessDeniedException": func() (*http.Response, error) { return failure(400, "AccessDeniedException"), nil },
		"there is no table":     func() (*http.Response, error) { return failure(400, "ResourceNotFoundException"), nil },
		"line is dead":          func() (*http.Response, error) { return nil, errors.New("line is dead") },
		"":                      func() (*http.Response, error) { return answer(200, `hunter2 {"Item": {"hunter2`), nil },
	} {
		w.meet(func(call, func() (*http.Response, error)) (*http.Response, error) { return response() })
		for name, use := range uses {
			if err := use(); !errors.Is(err, broker.ErrUnavailable) || !strings.Contains(err.Error(), cause) {
				t.Errorf("%s: %v, want ErrUnavailable that says %q", name, err, cause)
			} else if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: the error tells what was answered: %v", name, err)
			}
		}
	}
}

// A write whose answer is lost is tried again, finds itself done, and counts
// once.
func TestDynamoDBLostAnswer(t *testing.T) {
	s, w := newDynamoDB(t)
	fillDynamoDB(t, s)
	ctx := t.Context()
	lose := func(send func() (*http.Response, error)) (*http.Response, error) {
		response, err := send()
		if err != nil {
			return nil, err
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("the call whose answer is lost failed: %s", response.Status)
		}
		return nil, io.ErrUnexpectedEOF
	}
	version := func(v int64, want int64, err error) {
		t.Helper()
		if err != nil || v != want {
			t.Errorf("version %d (%v), want %d", v, err, want)
		}
	}
	w.first("PutItem", lose)
	r, err := s.PutRequest(ctx, broker.Request{ID: "REQ2", Words: "first"})
	version(r.Version, 1, err)
	r.Words = "second"
	w.first("PutItem", lose)
	r, err = s.PutRequest(ctx, r)
	version(r.Version, 2, err)
	stored, err := s.Request(ctx, "REQ2")
	version(stored.Version, 2, err)
	if diff := cmp.Diff(r, stored); diff != "" {
		t.Errorf("(-returned +stored)\n%s", diff)
	}
	w.first("PutItem", lose)
	u, err := s.PutUser(ctx, broker.User{Name: "carol"})
	version(u.Version, 1, err)
	w.first("PutItem", lose)
	i, err := s.PutIdentity(ctx, broker.Identity{Slack: broker.SlackID{Team: "T1", User: "U1"}, User: "carol"})
	version(i.Version, 1, err)

	w.first("PutItem", lose)
	p, err := s.PutProposal(ctx, broker.Proposal{ID: "01Q"})
	version(p.Version, 1, err)
	w.first("PutItem", lose)
	f, err := s.PutFence(ctx, broker.Fence{RoleARN: fenceARN})
	version(f.Version, 1, err)
	w.first("PutItem", lose)
	pace, err := s.PutPace(ctx, broker.Pace{Role: "prod-admin"})
	version(pace.Version, 1, err)
	w.first("PutItem", lose)
	if err := s.NameToken(ctx, "token0000002", "carol"); err != nil {
		t.Errorf("NameToken: %v", err)
	}

	// A Policy is settled before its writer learns that it was written.
	doc := numbered(2)
	w.meet(func(c call, send func() (*http.Response, error)) (*http.Response, error) {
		if c.op != "PutItem" || !strings.Contains(c.body, `"head"`) {
			return send()
		}
		w.meet(nil)
		_, err := lose(send)
		ref := broker.Ref{Kind: broker.RefPolicy, Key: "2"}
		return nil, errors.Join(err, w.open().Settle(ctx, ref, broker.Settlement{Indexed: []string{"01A"}}))
	})
	if err := s.PutPolicy(ctx, broker.Head{Version: 2, Digest: doc.Digest(), Trail: oneEvent}, doc); err != nil {
		t.Errorf("PutPolicy: %v", err)
	}
	if head, _, err := s.Head(ctx); err != nil || head.Version != 2 || !head.Trail.IsZero() {
		t.Errorf("the head is %+v (%v), want version 2, settled", head, err)
	}

	w.first("PutItem", lose)
	if err := s.Enqueue(ctx, broker.Job{ID: "a"}); err != nil {
		t.Errorf("Enqueue: %v", err)
	}
	w.first("UpdateItem", lose)
	job, ok, err := s.Claim(ctx, time.Unix(1, 0), time.Minute)
	if err != nil || !ok || job.ID != "a" || job.Tries != 0 {
		t.Errorf("claimed %q (%v, %v) after %d tries, want a", job.ID, ok, err, job.Tries)
	}
	w.first("PutItem", lose)
	event := broker.Event{ID: "01B", Actor: "bob"}
	if err := s.Append(ctx, []broker.Event{event}); err != nil {
		t.Errorf("Append: %v", err)
	}
}

// Where somebody else has changed the item after a write whose answer is lost,
// the writer learns what is there now.
func TestDynamoDBLostAnswerThenChanged(t *testing.T) {
	s, w := newDynamoDB(t)
	ctx := t.Context()
	other := w.open()
	w.first("PutItem", func(send func() (*http.Response, error)) (*http.Response, error) {
		response, err := send()
		if err == nil {
			response.Body.Close()
		}
		_, err = other.PutRequest(ctx, broker.Request{ID: "REQ1", Words: "other", Version: 1})
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	})
	got, err := s.PutRequest(ctx, broker.Request{ID: "REQ1", Words: "first"})
	if !errors.Is(err, broker.ErrConflict) || got.Words != "other" || got.Version != 2 {
		t.Errorf("version %d, %q (%v), want a conflict with version 2", got.Version, got.Words, err)
	}
}

// leaveHalf makes DynamoDB leave unread all but the first of the keys that a
// BatchGetItem asks for.
func leaveHalf(c call, send func() (*http.Response, error)) (*http.Response, error) {
	if c.op != "BatchGetItem" {
		return send()
	}
	response, err := send()
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	type item = map[string]map[string]any
	var got struct {
		Responses       map[string][]item
		UnprocessedKeys map[string]any
	}
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
		return nil, err
	}
	for table, items := range got.Responses {
		if len(items) < 2 {
			continue
		}
		var keys []item
		for _, i := range items[1:] {
			keys = append(keys, item{"pk": i["pk"], "sk": i["sk"]})
		}
		got.Responses[table] = items[:1]
		got.UnprocessedKeys = map[string]any{table: map[string]any{"Keys": keys, "ConsistentRead": true}}
	}
	body, err := json.Marshal(got)
	return answer(200, string(body)), err
}

func TestDynamoDBUnprocessedKeys(t *testing.T) {
	s, w := newDynamoDB(t)
	fillDynamoDB(t, s)
	want, err := s.Identify(t.Context(), bobID)
	if err != nil {
		t.Fatal(err)
	}
	w.meet(leaveHalf)
	calls := w.during(func() error {
		got, err := s.Identify(t.Context(), bobID)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		return err
	})
	if len(calls) != 3 {
		t.Errorf("%d calls, want 3: one item each", len(calls))
	}

	keys := `[{"pk":{"S":"user"},"sk":{"S":"name#bob"}}]`
	w.meet(func(call, func() (*http.Response, error)) (*http.Response, error) {
		return answer(200, `{"Responses":{},"UnprocessedKeys":{"`+w.table+`":{"Keys":`+keys+`}}}`), nil
	})
	_, err = s.Identify(t.Context(), bobID)
	wantErr(t, err, broker.ErrUnavailable, "left 1 items unread")

	hurried, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = s.Identify(hurried, bobID)
	wantErr(t, err, broker.ErrUnavailable, "deadline")
}

// What DynamoDB will not hold is the caller's mistake, and is not repeated in
// the error.
func TestDynamoDBTooLarge(t *testing.T) {
	s, _ := newDynamoDB(t)
	ctx := t.Context()
	for name, put := range map[string]func(string) error{
		"request": func(text string) error {
			_, err := s.PutRequest(ctx, broker.Request{ID: "REQ1", Words: text})
			return err
		},
		"user":  func(text string) error { _, err := s.PutUser(ctx, broker.User{Name: "bob", ID: text}); return err },
		"event": func(text string) error { return s.Append(ctx, []broker.Event{{ID: "01A", Detail: text}}) },
		"job":   func(text string) error { return s.Enqueue(ctx, broker.Job{ID: "a", Body: []byte(text)}) },
	} {
		err := put(strings.Repeat("hunter2 ", 60_000))
		wantErr(t, err, broker.ErrInvalid, "400 KB")
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells what was to be stored", name)
		}
	}
	_, err := s.PutRequest(ctx, broker.Request{ID: strings.Repeat("R", 3000)})
	wantErr(t, err, broker.ErrInvalid, "refuses its key")
}
