package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
	"github.com/starback/starback/sandbox"
)

// The same ask again, by what came of the first: its answer may have been lost, so
// it is told how that ended, and what leads on. Nothing is issued for either.
func TestSameAskAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		body  string
		first func(*world) // what comes before the ask
		then  func(*world, string)
		code  string
		state string
		rule  policy.Rule
		says  string
	}{
		{name: "denied", body: `{"role": "secluded"}`, code: "settled", state: "denied", rule: policy.RuleNotGranted, says: "was denied"},
		{name: "failed", body: readonly, first: func(w *world) { w.mint.fault = &broker.Fault{Code: broker.FaultAWS, Err: errors.New("no")} }, code: "settled", state: "closed", says: "is over"},
		{name: "too many", body: readonly, first: func(w *world) {
			for w.call(http.MethodPost, credentials, readonly).status == http.StatusOK {
			}
		}, code: "settled", state: "denied", rule: broker.RuleRate, says: "was denied"},
		{name: "denied by an approver", body: guarded, then: func(w *world, id string) { w.answers(id, false) }, code: "settled", state: "denied", rule: broker.RuleDeclined, says: "was denied"},
		{name: "approved", body: guarded, then: func(w *world, id string) { w.answers(id, true) }, code: "already_issued", says: "Nothing was issued for this"},
		{name: "lapsed", body: guarded, then: func(w *world, _ string) {
			w.advance(2 * time.Hour)
			if _, err := w.Due(w.t.Context()); err != nil {
				w.t.Fatal(err)
			}
		}, code: "settled", state: "lapsed", rule: policy.RuleApprovalRequired, says: "has lapsed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, onSQLite)
			if tt.first != nil {
				tt.first(w)
			}
			ask := func() reply { return w.call(http.MethodPost, credentials, tt.body, "Idempotency-Key", "1") }
			id := ask().word("request_id")
			if tt.then != nil {
				tt.then(w, id)
			}
			w.mint.fault = nil
			w.advance(time.Minute)
			made := w.mint.made
			again := ask()
			w.wants(again, http.StatusConflict, tt.code, tt.rule)
			if again.word("request_id") != id || again.word("state") != tt.state || w.mint.made != made {
				t.Errorf("%s; %d made", again.text, w.mint.made-made)
			}
			if detail := again.word("detail"); !strings.Contains(detail, tt.says) || !strings.Contains(detail, "with another") {
				t.Errorf("it is told %q", detail)
			}
		})
	}
}

// Of any number of asks with one key, at two processes with one store, one is
// given credentials, and the others are told to wait or that there is no more.
func TestOneKeyManyAsks(t *testing.T) {
	t.Parallel()
	const asks = 100
	for engine, open := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, open)
			other := httptest.NewServer(w.another().handler())
			defer other.Close()
			var all sync.WaitGroup
			codes := make(chan string, asks)
			for i := range asks {
				url := w.url
				if i%2 == 0 {
					url = other.URL
				}
				all.Go(func() {
					r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+credentials, strings.NewReader(readonly))
					if err != nil {
						t.Error(err)
						return
					}
					r.Header.Set("Authorization", "Bearer "+w.token)
					r.Header.Set("Idempotency-Key", "1")
					res, err := http.DefaultClient.Do(r)
					if err != nil {
						t.Error(err)
						return
					}
					defer res.Body.Close()
					var body struct {
						Code string
						Key  string `json:"access_key_id"`
					}
					if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
						t.Error(err)
					}
					codes <- body.Code + body.Key
				})
			}
			all.Wait()
			close(codes)
			given := 0
			for code := range codes {
				switch code {
				case "busy", "already_issued", "rate":
				case "ASIA0000000000000001":
					given++
				default:
					t.Errorf("one is answered %q", code)
				}
			}
			if given != 1 || w.mint.made != 1 {
				t.Errorf("%d were given credentials, %d made", given, w.mint.made)
			}
		})
	}
}

// A role that is not granted is never told from one that there is not: not by the
// answer to the ask, nor by what is said of its request later.
func TestRolesAreNotProbed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite)
	told := map[string]string{}
	for _, role := range []string{"secluded", "nonsense"} {
		ask := func() reply {
			return w.call(http.MethodPost, credentials, `{"role": "`+role+`"}`, "Idempotency-Key", role)
		}
		first := ask()
		at := "/v1/requests/" + first.word("request_id")
		all := first.text + ask().text + w.call(http.MethodGet, at, "").text + w.call(http.MethodPost, at+"/credentials", "").text
		told[role] = strings.NewReplacer(role, "ROLE", first.word("request_id"), "ID").Replace(all)
	}
	if diff := cmp.Diff(told["secluded"], told["nonsense"]); diff != "" {
		t.Errorf("they are told apart:\n%s", diff)
	}
}

// More of a request, again and again: a try that failed gives nothing under its
// key, and the next key does.
func TestMoreAfterFailure(t *testing.T) {
	t.Parallel()
	for engine, open := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, open)
			for _, body := range []string{readonly, guarded} {
				asked := w.call(http.MethodPost, credentials, body)
				id := asked.word("request_id")
				if asked.status == http.StatusAccepted {
					w.answers(id, true)
				}
				more := func(key string) reply {
					return w.call(http.MethodPost, "/v1/requests/"+id+"/credentials", "", "Idempotency-Key", key)
				}
				w.mint.fault = &broker.Fault{Code: broker.FaultAWS, Err: errors.New("no")}
				w.wants(more("1"), http.StatusServiceUnavailable, "unavailable", "")
				w.mint.fault = nil
				same := more("1")
				w.wants(same, http.StatusConflict, "already_issued", "")
				if detail := same.word("detail"); !strings.Contains(detail, "Nothing was issued") || !strings.Contains(detail, "with another") {
					t.Errorf("it is told %q", detail)
				}
				w.wants(more("2"), http.StatusOK, "", "")
			}
		})
	}
}

// More of what is being decided at this moment has to wait, and does not hear that
// it is over.
func TestMoreWhileItIsDecided(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite)
	var early reply
	w.mint.meanwhile = func() {
		found, err := w.store.Pending(t.Context(), w.Now().Add(time.Hour), 100)
		if err != nil {
			t.Error(err)
		}
		for _, p := range found {
			if p.Ref.Kind == broker.RefRequest {
				early = w.call(http.MethodPost, "/v1/requests/"+p.Ref.Key+"/credentials", "")
			}
		}
	}
	w.wants(w.call(http.MethodPost, credentials, readonly), http.StatusOK, "", "")
	w.mint.meanwhile = nil
	w.wants(early, http.StatusConflict, "busy", "")
}

// A token that is revoked while AWS answers has nothing of it, asked for at first or
// once more; the trail has what was made and thrown away.
func TestRevokedMeanwhile(t *testing.T) {
	t.Parallel()
	for engine, open := range engines {
		for _, more := range []bool{false, true} {
			t.Run(fmt.Sprint(engine, more), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, open)
				path, body, state := credentials, readonly, broker.StateClosed
				if more {
					path, body, state = "/v1/requests/"+w.call(http.MethodPost, credentials, readonly).word("request_id")+"/credentials", "", broker.StateOpen
				}
				w.mint.meanwhile = func() { w.does("token revoke ci " + w.token[9:21]) }
				got := w.call(http.MethodPost, path, body)
				w.wants(got, http.StatusServiceUnavailable, "unavailable", "")
				if strings.Contains(got.text, sandbox.Marker) {
					t.Error(got.text)
				}
				r := w.request(got.word("request_id"))
				if last := r.Sessions[len(r.Sessions)-1]; r.State != state || last.State != broker.SessionFailed || last.Outcome != string(broker.FaultOver) {
					t.Errorf("stored is %+v", r)
				}
				if last := r.Trail.Events[len(r.Trail.Events)-1]; last.Event != broker.EventFailed || last.AccessKeyID == "" {
					t.Errorf("the trail ends with %+v", last)
				}
			})
		}
	}
}
