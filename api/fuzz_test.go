package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// FuzzBody sends bodies and keys of any kind: each is answered in JSON, with no
// more than what was asked for, and none brings anything down.
func FuzzBody(f *testing.F) {
	for _, body := range []string{
		readonly, guarded, `{"role":"ticketed","ticket":"INC-1","reason":"looking"}`, `{"role":"readonly","duration":"1h30m"}`, `{"role":null}`, `{"Role":"readonly"}`,
		`{"role":"readonly","role":"guarded"}`, `{"role":"readonly","duration":"99999h99999m"}`, `{"role":"\u0000","reason":"\ud800"}`, `[]`, `null`, `"role"`, `{`, "", "\xff",
		`{"":{}}`, `{"role":"readonly","a.b":1}`, `{"role":{"role":"readonly"}}`, `{"role":"readonly","reason":"` + strings.Repeat("é", 799) + `"}`,
	} {
		f.Add([]byte(body), "")
		f.Add([]byte(body), "a key")
	}
	w := newWorld(f, onSQLite)
	handler := w.handler()
	f.Fuzz(func(t *testing.T, body []byte, key string) {
		w.advance(15 * time.Second) // the rate allows one more
		made := w.mint.made
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, credentials, strings.NewReader(string(body)))
		r.Header["Authorization"] = []string{"Bearer " + w.token}
		r.Header["Idempotency-Key"] = []string{key}
		out := httptest.NewRecorder()
		handler.ServeHTTP(out, r)
		var answer struct {
			Code            string
			Status          int
			SecretAccessKey string `json:"secret_access_key"`
			RequestID       string `json:"request_id"`
			Role            string
		}
		if err := json.Unmarshal(out.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%q is answered %d %q", body, out.Code, out.Body)
		}
		switch issued := answer.SecretAccessKey != ""; {
		case out.Code >= 500, issued != (out.Code == http.StatusOK), w.mint.made-made != map[bool]int{true: 1}[issued], out.Code >= 400 && (answer.Code == "" || answer.Status != out.Code):
			t.Errorf("%q is answered %d %s", body, out.Code, out.Body)
		case !issued:
			return
		}
		stored, err := w.store.Request(t.Context(), answer.RequestID)
		if err != nil || string(stored.Role) != answer.Role || stored.User != "ci" || stored.WindowEnd.Sub(w.Now()) > 8*time.Hour {
			t.Errorf("%q has %+v stored, %v", body, stored, err)
		}
	})
}
