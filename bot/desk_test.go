package bot

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/sandbox"
)

const (
	signingSecret = "8f742231b10e8888abcd99yyyzzz85a5"
	formType      = "application/x-www-form-urlencoded"
	// What must never be logged.
	deprecatedToken = "gIkuvaNzQIHg97ATvDxqgjtO"
	responseURL     = "https://hooks.slack.com/" + secretPath
)

// A memory is a queue in memory.
type memory struct {
	mu   sync.Mutex
	jobs map[string]broker.Job
	full error
}

func (q *memory) Enqueue(_ context.Context, j broker.Job) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.full != nil {
		return q.full
	}
	if _, queued := q.jobs[j.ID]; !queued {
		q.jobs[j.ID] = j
	}
	return nil
}

// A desk is a Front with what is around it.
type desk struct {
	*Front
	queue *memory
	log   *bytes.Buffer
}

func newDesk(t testing.TB) desk {
	t.Helper()
	d := desk{queue: &memory{jobs: map[string]broker.Job{}}, log: &bytes.Buffer{}}
	sealer, err := NewSealer(broker.NewSecret(signingSecret), constant{})
	if err != nil {
		t.Fatal(err)
	}
	d.Front = &Front{
		SigningSecret: broker.NewSecret(signingSecret), Teams: []string{"T012AB", "T034CD", "E012AB"}, Queue: d.queue, Sealer: sealer,
		Version: "v1.2.3", Now: func() time.Time { return noon }, Log: slog.New(slog.NewJSONHandler(d.log, nil)),
	}
	return d
}

// constant is an endless row of zeros.
type constant struct{}

func (constant) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// send has the Front answer a request.
func (d desk) send(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}

// opened returns the work of the one Job that waits.
func (d desk) opened(t *testing.T) work {
	t.Helper()
	if len(d.queue.jobs) != 1 {
		t.Fatalf("%d jobs wait", len(d.queue.jobs))
	}
	for id, job := range d.queue.jobs {
		w, err := d.Sealer.open(job)
		if err != nil || w.id() != id {
			t.Fatalf("job %s: %+v, %v", id, w, err)
		}
		return w
	}
	return work{}
}

// signed is a request that Slack signed at noon.
func signed(path, contentType, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	for name, values := range sandbox.Sign(signingSecret, noon, []byte(body)) {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", contentType)
	return r
}

// form is a command's form, with fields changed, or taken out where empty.
func form(changes ...string) string {
	fields := url.Values{
		"token": {deprecatedToken}, "user_name": {"mallory"}, "team_id": {"T012AB"}, "channel_id": {"C1"}, "user_id": {"U0456"},
		"command": {"/starback"}, "text": {"prod-readonly 1h"}, "response_url": {responseURL}, "trigger_id": {"1.2.abc"}, "api_app_id": {"A1"},
	}
	for i := 0; i < len(changes); i += 2 {
		if fields.Set(changes[i], changes[i+1]); changes[i+1] == "" {
			fields.Del(changes[i])
		}
	}
	return fields.Encode()
}

// slashed is a command as it comes in.
func slashed(changes ...string) *http.Request {
	return signed(PathCommands, formType, form(changes...))
}

// click is a click on a shell button by somebody of team, as JSON.
func click(team string, changes ...string) *http.Request {
	payload := fmt.Sprintf(`{"type":"block_actions","token":%q,"team":{"id":"T012AB"},"enterprise":null,"user":{"id":"U0456","team_id":%q},
		"channel":{"id":"C1"},"trigger_id":"1.2.abc","response_url":%q,"actions":[{"action_id":"shell:fish","type":"button","value":"REQ"}]}`,
		deprecatedToken, team, strings.Replace(responseURL, "commands", "actions", 1))
	return clicked(strings.NewReplacer(changes...).Replace(payload))
}

// submission is the form for the reason of a no, sent in by somebody of team,
// as JSON.
func submission(team string, changes ...string) *http.Request {
	payload := fmt.Sprintf(`{"type":"view_submission","team":{"id":"T012AB"},"user":{"id":"U0456","team_id":%q},"trigger_id":"1.2.abc",
		"view":{"id":"V1","callback_id":"deny_form","private_metadata":"x"}}`, team)
	return clicked(strings.NewReplacer(changes...).Replace(payload))
}

func clicked(payload string) *http.Request {
	return signed(PathInteractions, formType, url.Values{"payload": {payload}}.Encode())
}

// changed is a user_change event, with parts replaced.
func changed(changes ...string) *http.Request {
	return signed(PathEvents, "application/json; charset=utf-8", strings.NewReplacer(changes...).Replace(
		`{"type":"event_callback","token":"`+deprecatedToken+`","team_id":"T012AB","enterprise_id":null,"event_id":"Ev1",
		"event":{"type":"user_change","user":{"id":"U0456","team_id":"T012AB","deleted":false,"is_restricted":true}}}`))
}

// with changes a request after it was signed.
func with(r *http.Request, change func(*http.Request)) *http.Request {
	change(r)
	return r
}

func header(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[name] = values }
}

// signedAt signs the request anew.
func signedAt(secret string, at time.Time) func(*http.Request) {
	return func(r *http.Request) {
		body, _ := io.ReadAll(r.Body) // of a string
		r.Body = io.NopCloser(bytes.NewReader(body))
		for name, values := range sandbox.Sign(secret, at, body) {
			r.Header[name] = values
		}
	}
}
