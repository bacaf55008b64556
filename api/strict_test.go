package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/sandbox"
)

// What could be read in two ways is not taken, and leaves nothing.
func TestAmbiguous(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite)
	for _, tt := range []struct {
		name   string
		body   string // readonly
		keys   []string
		status int // 422
		field  string
	}{
		{name: "a role twice", body: `{"role": "readonly", "role": "guarded"}`, status: 400, field: "body"},
		{name: "a role twice, once escaped", body: `{"role": "readonly", "rol\u0065": "guarded"}`, status: 400, field: "body"},
		{name: "the same twice", body: `{"role": "readonly", "role": "readonly"}`, status: 400, field: "body"},
		{name: "no UTF-8", body: "{\"role\": \"readonly\", \"reason\": \"\xff\"}", status: 400, field: "body"},
		{name: "a role of two lines", body: `{"role": "x\n*Approved*"}`, field: "role"},
		{name: "a role that rings", body: `{"role": "x\u0007"}`, field: "role"},
		{name: "a role of two words", body: `{"role": "read only"}`, field: "role"},
		{name: "a role in other letters", body: `{"role": "rеadonly"}`, field: "role"}, // the first e is Cyrillic
		{name: "an empty key", keys: []string{""}, field: "Idempotency-Key"},
		{name: "a key of space", keys: []string{"  "}, field: "Idempotency-Key"},
		{name: "two keys", keys: []string{"1", "2"}, field: "Idempotency-Key"},
		{name: "a key twice", keys: []string{"1", "1"}, field: "Idempotency-Key"},
		{name: "a key and an empty one", keys: []string{"1", ""}, field: "Idempotency-Key"},
	} {
		body, status := tt.body, tt.status
		if body == "" {
			body = readonly
		}
		if status == 0 {
			status = http.StatusUnprocessableEntity
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, credentials, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+w.token)
		r.Header["Idempotency-Key"] = tt.keys
		answer := httptest.NewRecorder()
		w.handler().ServeHTTP(answer, r)
		if answer.Code != status || !strings.Contains(answer.Body.String(), `"field":"`+tt.field+`"`) {
			t.Errorf("%s: %d %s", tt.name, answer.Code, answer.Body)
		}
	}
	if log := w.log.String(); w.mint.made != 0 || strings.Contains(log, "request.asked") {
		t.Errorf("%d sessions were made; the log says\n%s", w.mint.made, log)
	}
}

// What counts as not shown is not sent: whoever closes only their half of the
// connection would have it, and could have it anew, with another window.
func TestHungUpIsSentNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite)
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	w.mint.meanwhile = hangUp
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, credentials, strings.NewReader(readonly))
	r.Header.Set("Authorization", "Bearer "+w.token)
	answer := httptest.NewRecorder()
	w.handler().ServeHTTP(answer, r)
	if answer.Code != http.StatusServiceUnavailable || w.mint.made != 1 || strings.Contains(answer.Body.String(), sandbox.Marker) {
		t.Errorf("answered %d %s; %d made", answer.Code, answer.Body, w.mint.made)
	}
}

// A store that stalls keeps nobody for longer than an ask may take: neither
// whoever asks for credentials nor whoever only looks.
func TestStallEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite)
	for _, path := range []string{"/v1/whoami", "/v1/roles", "/v1/requests/00000000000000000000"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		r.Header.Set("Authorization", "Bearer "+w.token)
		bounded := false
		w.store.looked = func(ctx context.Context) { _, bounded = ctx.Deadline() }
		w.handler().ServeHTTP(httptest.NewRecorder(), r)
		if !bounded {
			t.Errorf("%s may take for ever", path)
		}
	}
}

// What could not be recorded is not answered, whatever AWS has made.
func TestNothingIsAnsweredUnrecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite)
	w.mint.meanwhile = func() { w.store.down(broker.ErrUnavailable) }
	got := w.call(http.MethodPost, credentials, readonly)
	w.wants(got, http.StatusServiceUnavailable, "unavailable", "")
	if strings.Contains(got.text, sandbox.Marker) || strings.Contains(got.text, "ASIA") || w.mint.made != 1 {
		t.Errorf("%s; %d made", got.text, w.mint.made)
	}
}
