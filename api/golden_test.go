package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares an answer with the file of that name: its status, the headers
// that say something, and its body.
func golden(t *testing.T, name string, got reply) {
	t.Helper()
	var text bytes.Buffer
	fmt.Fprintf(&text, "%d %s\n", got.status, http.StatusText(got.status))
	for _, header := range []string{"Allow", "Content-Type", "Location", "Retry-After", "WWW-Authenticate"} {
		if v := got.header.Get(header); v != "" {
			fmt.Fprintf(&text, "%s: %s\n", header, v)
		}
	}
	text.WriteByte('\n')
	if err := json.Indent(&text, []byte(got.text), "", "  "); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "answers", name+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(kept), text.String()); diff != "" {
		t.Errorf("%s changed; if that is right, run the test with -update (-kept +now):\n%s", path, diff)
	}
}

// The answers that say who somebody is, what they may ask for, and what they
// are given.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for engine, open := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, open)
			golden(t, "whoami", w.call(http.MethodGet, "/v1/whoami", ""))
			golden(t, "roles", w.call(http.MethodGet, "/v1/roles", ""))
			issued := w.call(http.MethodPost, credentials, readonly, "Idempotency-Key", "1")
			golden(t, "issued", issued)
			golden(t, "already-issued", w.call(http.MethodPost, credentials, readonly, "Idempotency-Key", "1"))
			golden(t, "issued-elsewhere", w.call(http.MethodPost, credentials, `{"role": "ticketed", "ticket": "INC-1", "reason": "looking"}`, "Idempotency-Key", "2"))
			golden(t, "denied", w.call(http.MethodPost, credentials, `{"role": "secluded"}`, "Idempotency-Key", "3"))
			golden(t, "malformed", w.call(http.MethodPost, credentials, `{"role": "readonly", "duration": "a while"}`))
			golden(t, "nobody", w.callAs("", http.MethodGet, "/v1/whoami", ""))
			limited := w.newToken(broker.TokenWish{User: "alice", Roles: []policy.RoleName{"ticketed"}})
			golden(t, "whoami-person", w.callAs(limited, http.MethodGet, "/v1/whoami", ""))
			golden(t, "roles-limited", w.callAs(limited, http.MethodGet, "/v1/roles", ""))
		})
	}
}

// The description of the interface is for everybody.
func TestDescription(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite)
	got := w.callAs("", http.MethodGet, "/v1/openapi.json", "")
	if got.status != http.StatusOK || got.word("openapi") != "3.1.0" {
		t.Fatalf("%d %s", got.status, got.text)
	}
	golden(t, "openapi", got)
}
