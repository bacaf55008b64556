package api_test

import (
	"hash/crc32"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/api"
	"github.com/starback/starback/broker"
	"github.com/starback/starback/broker/policy"
)

const (
	credentials = "/v1/credentials"
	readonly    = `{"role": "readonly"}`
	guarded     = `{"role": "guarded", "duration": "1h", "reason": "the disk is full"}`
)

// Who is not let in, by what they send.
func TestWhoIsLetIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite)
	for _, tt := range []struct {
		name    string
		token   string
		headers []string
		path    string
		says    string
	}{
		{name: "nobody", says: "Send a token"},
		{name: "an empty header", headers: []string{"Authorization", " "}, says: "Send one token"},
		{name: "no token", headers: []string{"Authorization", "Bearer"}, says: "not a token"},
		{name: "an empty token", headers: []string{"Authorization", "Bearer "}, says: "not a token"},
		{name: "another scheme", headers: []string{"Authorization", "Basic " + w.token}, says: "Send one token"},
		{name: "the token alone", headers: []string{"Authorization", w.token}, says: "Send one token"},
		{name: "garbage", token: "abc", says: "not a token"},
		{name: "a token and more", token: w.token + " " + w.token, says: "not a token"},
		{name: "part of a token", token: w.token[:56], says: "not a token"},
		{name: "a token with a letter changed", token: strings.Replace(w.token, w.token[30:31], "-", 1), says: "not a token"},
		{name: "two headers", token: w.token, headers: []string{"Authorization", "Bearer " + w.token}, says: "Send one token"},
		{name: "in the query", path: credentials + "?token=" + w.token + "&access_token=" + w.token, says: "Send a token"},
		{name: "nobody has it", token: forged(broker.TokenPrefix + strings.Repeat("A", 42)), says: "does not know this token"},
		{name: "an ID that somebody has", token: forged(w.token[:21] + strings.Repeat("A", 30)), says: "does not know this token"},
	} {
		path := tt.path
		if path == "" {
			path = credentials
		}
		got := w.callAs(tt.token, http.MethodPost, path, readonly, tt.headers...)
		var rule policy.Rule
		if strings.Contains(tt.says, "know") {
			rule = broker.RuleTokenUnknown
		}
		w.wants(got, http.StatusUnauthorized, "unauthorized", rule)
		if !strings.Contains(got.word("detail"), tt.says) {
			t.Errorf("%s: %s", tt.name, got.text)
		}
	}
	if got := w.callAs(w.token, http.MethodPost, credentials+"?token=nonsense", readonly); got.status != http.StatusOK {
		t.Errorf("with a query that means nothing: %d", got.status)
	}
	if got := w.callAs("", http.MethodPost, credentials, readonly, "Authorization", "bearer "+w.token); got.status != http.StatusOK {
		t.Errorf("with the scheme in small letters: %d", got.status)
	}
	for _, path := range []string{"/v1/roles", "/v1/whoami", "/v1/requests/00000000000000000000"} {
		w.wants(w.callAs("", http.MethodGet, path, ""), http.StatusUnauthorized, "unauthorized", "")
	}
	if w.mint.made != 2 {
		t.Errorf("%d sessions were made", w.mint.made)
	}
}

// forged gives what begins like a token a checksum that fits: CRC-32, in base 62.
func forged(body string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var sum [6]byte
	for i, n := 5, crc32.ChecksumIEEE([]byte(body)); i >= 0; i, n = i-1, n/62 {
		sum[i] = digits[n%62]
	}
	return body + string(sum[:])
}

// What is asked for, and what comes of it, on each store.
func TestAsk(t *testing.T) {
	t.Parallel()
	for engine, open := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, open)
			for _, tt := range []struct {
				name   string
				body   string
				status int
				code   string
				rule   policy.Rule
				says   string
			}{
				{name: "a role", body: readonly, status: 200},
				{name: "for a time", body: `{"role": "readonly", "duration": "15m"}`, status: 200},
				{name: "with a ticket", body: `{"role": "ticketed", "ticket": "INC-1", "reason": "looking"}`, status: 200},
				{name: "with the ticket before the reason", body: `{"role": "ticketed", "reason": "INC-1 looking"}`, status: 200},
				{name: "to be approved", body: guarded, status: 202},
				{name: "a role that is not granted", body: `{"role": "secluded"}`, status: 403, code: "denied", rule: policy.RuleNotGranted, says: "There is no role secluded"},
				{name: "a role that is not there", body: `{"role": "readnly"}`, status: 403, code: "denied", rule: policy.RuleNotGranted, says: "Did you mean readonly?"},
				{name: "too long", body: `{"role": "readonly", "duration": "9h"}`, status: 403, code: "denied", rule: policy.RuleDurationLong, says: "8h at most"},
				{name: "too short", body: `{"role": "readonly", "duration": "14m"}`, status: 403, code: "denied", rule: policy.RuleDurationShort, says: "15m or more"},
				{name: "without a ticket", body: `{"role": "ticketed", "reason": "looking"}`, status: 403, code: "denied", rule: policy.RuleTicketMissing, says: "matches [A-Z]+-[0-9]+"},
				{name: "another ticket", body: `{"role": "ticketed", "ticket": "inc1", "reason": "looking"}`, status: 403, code: "denied", rule: policy.RuleTicketMissing, says: "matches [A-Z]+-[0-9]+"},
				{name: "without a reason", body: `{"role": "ticketed", "ticket": "INC-1"}`, status: 403, code: "denied", rule: policy.RuleReasonMissing, says: "Give one as reason"},
			} {
				got := w.call(http.MethodPost, credentials, tt.body)
				w.wants(got, tt.status, tt.code, tt.rule)
				if !strings.Contains(got.word("detail"), tt.says) || got.word("request_id") == "" {
					t.Errorf("%s: %s", tt.name, got.text)
				}
			}
			r := w.request(w.call(http.MethodPost, credentials, `{"role": "ticketed", "ticket": "INC-2", "reason": "two\n lines"}`).word("request_id"))
			if r.Ticket != "INC-2" || r.Reason != "two lines" || r.User != "ci" || r.Surface != broker.SurfaceAPI || !r.Slack.IsZero() || r.TokenID != w.token[9:21] {
				t.Errorf("stored is %+v", r)
			}
			limited := w.newToken(broker.TokenWish{User: "ci", Roles: []policy.RoleName{"ticketed"}})
			// Roles that its user does not hold are not told from those that do not exist.
			for _, role := range []string{"secluded", "nonsense"} {
				w.wants(w.callAs(limited, http.MethodPost, credentials, `{"role": "`+role+`"}`), http.StatusForbidden, "denied", policy.RuleNotGranted)
			}
			got := w.callAs(limited, http.MethodPost, credentials, readonly)
			w.wants(got, http.StatusForbidden, "denied", policy.RuleTokenLimited)
			if got.word("may_ask") != "[ticketed]" {
				t.Errorf("it may ask for %s", got.word("may_ask"))
			}
		})
	}
}

// What no ask can be, with the field that is wrong.
func TestMalformed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite)
	key := func(s string) []string { return []string{"Idempotency-Key", s} }
	for _, tt := range []struct {
		name    string
		method  string // POST
		path    string
		body    string
		headers []string
		status  int
		code    string
		field   string
	}{
		{name: "nothing", status: 400, code: "invalid", field: "body"},
		{name: "no JSON", body: "role=readonly", status: 400, code: "invalid", field: "body"},
		{name: "half of it", body: `{"role": "read`, status: 400, code: "invalid", field: "body"},
		{name: "more after it", body: readonly + "{}", status: 400, code: "invalid", field: "body"},
		{name: "a list", body: "[]", status: 422, code: "invalid", field: "body"},
		{name: "null", body: "null", status: 422, code: "invalid", field: "body"},
		{name: "no role", body: "{}", status: 422, code: "invalid", field: "role"},
		{name: "an empty role", body: `{"role": ""}`, status: 422, code: "invalid", field: "role"},
		{name: "a role that is null", body: `{"role": null}`, status: 422, code: "invalid", field: "role"},
		{name: "a role that is a number", body: `{"role": 1}`, status: 422, code: "invalid", field: "role"},
		{name: "a long role", body: `{"role": "` + strings.Repeat("a", 65) + `"}`, status: 422, code: "invalid", field: "role"},
		{name: "a role in capitals", body: `{"Role": "readonly"}`, status: 422, code: "invalid"},
		{name: "a field there is not", body: `{"role": "readonly", "colour": "red"}`, status: 422, code: "invalid", field: "colour"},
		{name: "a field that is no name", body: `{"role": "readonly", "<script>": 1}`, status: 422, code: "invalid", field: "body"},
		{name: "a duration in days", body: `{"role": "readonly", "duration": "1d"}`, status: 422, code: "invalid", field: "duration"},
		{name: "a duration in seconds", body: `{"role": "readonly", "duration": 3600}`, status: 422, code: "invalid", field: "duration"},
		{name: "a negative duration", body: `{"role": "readonly", "duration": "-1h"}`, status: 422, code: "invalid", field: "duration"},
		{name: "a ticket of two words", body: `{"role": "ticketed", "ticket": "INC-1 x", "reason": "y"}`, status: 422, code: "invalid", field: "ticket"},
		{name: "a ticket on two lines", body: `{"role": "ticketed", "ticket": "INC-1\n", "reason": "y"}`, status: 422, code: "invalid", field: "ticket"},
		{name: "a long ticket", body: `{"role": "ticketed", "ticket": "` + strings.Repeat("A", 201) + `"}`, status: 422, code: "invalid", field: "ticket"},
		{name: "a long reason", body: `{"role": "readonly", "reason": "` + strings.Repeat("x", 800) + `"}`, status: 422, code: "invalid", field: "reason"},
		{name: "a reason that rings", body: `{"role": "readonly", "reason": "a\u0007"}`, status: 422, code: "invalid", field: "reason"},
		{name: "a reason that turns around", body: `{"role": "readonly", "reason": "a\u202eb"}`, status: 422, code: "invalid", field: "reason"},
		{name: "a long key", body: readonly, headers: key(strings.Repeat("k", 256)), status: 422, code: "invalid", field: "Idempotency-Key"},
		{name: "a key that is no ASCII", body: readonly, headers: key("schlüssel"), status: 422, code: "invalid", field: "Idempotency-Key"},
		{name: "more than 16 KiB", body: `{"role": "readonly", "reason": "` + strings.Repeat("x", 16<<10) + `"}`, status: 413, code: "too_large"},
		{name: "a form", body: "role=readonly", headers: []string{"Content-Type", "", "Content-Type", "application/x-www-form-urlencoded"}, status: 415, code: "media_type"},
		{name: "text", body: readonly, headers: []string{"Content-Type", "", "Content-Type", "text/plain"}, status: 415, code: "media_type"},
		{name: "another method", method: http.MethodGet, status: 405, code: "method"},
		{name: "a method of no operation", method: http.MethodDelete, path: "/v1/roles", status: 405, code: "method"},
		{name: "another address", path: "/v1/credential", body: readonly, status: 404, code: "not_found"},
		{name: "the address of all", method: http.MethodGet, path: "/v1/", status: 404, code: "not_found"},
		{name: "what is no request", method: http.MethodGet, path: "/v1/requests/x", status: 404, code: "not_found"},
		{name: "what is no request, for more", path: "/v1/requests/%2e%2e/credentials", status: 404, code: "not_found"},
		{name: "no request of this token", method: http.MethodGet, path: "/v1/requests/00000000000000000000", status: 404, code: "not_found"},
	} {
		method, path := tt.method, tt.path
		if method == "" {
			method = http.MethodPost
		}
		if path == "" {
			path = credentials
		}
		got := w.call(method, path, tt.body, tt.headers...)
		if got.word("code") != tt.code || got.status != tt.status || tt.field != "" && got.word("field") != tt.field {
			t.Errorf("%s: %d %s", tt.name, got.status, got.text)
		}
		w.wants(got, tt.status, tt.code, "")
		if tt.code == "method" && got.header.Get("Allow") == "" {
			t.Errorf("%s: which method is not said", tt.name)
		}
		if strings.Contains(got.text, "script") || strings.Contains(got.text, "unmarshal") || strings.Contains(got.text, "invalid character") {
			t.Errorf("%s: %s", tt.name, got.text)
		}
	}
	if w.mint.made != 0 {
		t.Errorf("%d sessions were made", w.mint.made)
	}
	// What fits is taken: 16 KiB, of which most is space.
	if got := w.call(http.MethodPost, credentials, readonly+strings.Repeat(" ", 16<<10-len(readonly))); got.status != http.StatusOK {
		t.Errorf("16 KiB are answered %d %s", got.status, got.text)
	}
}

// One key gives credentials once.
func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	for engine, open := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, open)
			ask := func(body, key string) reply {
				return w.call(http.MethodPost, credentials, body, "Idempotency-Key", key)
			}
			first := ask(readonly, "deploy 1")
			w.wants(first, http.StatusOK, "", "")
			again := ask(readonly, "deploy 1")
			w.wants(again, http.StatusConflict, "already_issued", "")
			if again.word("request_id") != first.word("request_id") || w.mint.made != 1 {
				t.Errorf("the same again: %s; %d made", again.text, w.mint.made)
			}
			other := ask(`{"role": "readonly", "duration": "1h"}`, "deploy 1")
			w.wants(other, http.StatusUnprocessableEntity, "key_reused", "")
			if other.word("field") != "Idempotency-Key" {
				t.Error(other.text)
			}
			w.wants(ask(readonly, "deploy 2"), http.StatusOK, "", "")
			// Without a key each is another.
			one, two := ask(readonly, ""), ask(readonly, "")
			if one.status != http.StatusOK || two.status != http.StatusOK || one.word("request_id") == two.word("request_id") {
				t.Errorf("without a key: %s and %s", one.text, two.text)
			}
			// Another token's key is another key.
			mine := w.newToken(broker.TokenWish{User: "alice", AnyRole: true})
			w.wants(w.callAs(mine, http.MethodPost, credentials, readonly, "Idempotency-Key", "deploy 1"), http.StatusOK, "", "")

			// While one is at it, the others wait.
			var busy reply
			w.mint.meanwhile = func() { busy = ask(readonly, "deploy 3") }
			w.wants(ask(readonly, "deploy 3"), http.StatusOK, "", "")
			w.mint.meanwhile = nil
			w.wants(busy, http.StatusConflict, "busy", "")
			if busy.header.Get("Retry-After") != "30" {
				t.Errorf("to be tried again after %q s", busy.header.Get("Retry-After"))
			}
		})
	}
}

// A Request that somebody must approve, from the ask to the end of its window.
func TestApproval(t *testing.T) {
	t.Parallel()
	for engine, open := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, open)
			asked := w.call(http.MethodPost, credentials, guarded, "Idempotency-Key", "1")
			w.wants(asked, http.StatusAccepted, "", "")
			golden(t, "waiting", asked)
			id := asked.word("request_id")
			at := asked.header.Get("Location")
			more := func() reply { return w.call(http.MethodPost, at+"/credentials", "") }
			stands := func() reply { return w.call(http.MethodGet, at, "") }
			golden(t, "request-pending", stands())
			for name, got := range map[string]reply{"the same again": w.call(http.MethodPost, credentials, guarded, "Idempotency-Key", "1"), "more of it": more()} {
				if got.status != http.StatusAccepted || got.text != asked.text {
					t.Errorf("%s: %d %s", name, got.status, got.text)
				}
			}
			w.answers(id, true)
			golden(t, "request-approved", stands())
			if w.mint.made != 0 {
				t.Fatal("approving has made credentials")
			}
			w.advance(time.Minute)
			revealed := w.call(http.MethodPost, at+"/credentials", "", "Idempotency-Key", "2")
			w.wants(revealed, http.StatusOK, "", "")
			golden(t, "revealed", revealed)
			w.wants(w.call(http.MethodPost, at+"/credentials", "", "Idempotency-Key", "2"), http.StatusConflict, "already_issued", "")
			w.advance(30 * time.Minute)
			renewed := more()
			w.wants(renewed, http.StatusOK, "", "")
			if renewed.word("session_id") == revealed.word("session_id") || renewed.word("window_end") != revealed.word("window_end") || renewed.word("expiration") != revealed.word("window_end") {
				t.Errorf("renewed: %s", renewed.text)
			}
			golden(t, "request-open", stands())
			w.advance(16 * time.Minute)
			w.wants(more(), http.StatusForbidden, "denied", broker.RuleWindowEnding)
			w.advance(14 * time.Minute)
			if _, err := w.Due(t.Context()); err != nil {
				t.Fatal(err)
			}
			over := more()
			w.wants(over, http.StatusConflict, "settled", broker.RuleWindowEnding) // which refused last
			if over.word("state") != "closed" {
				t.Error(over.text)
			}

			// Whoever else has a token has none of it.
			other := w.newToken(broker.TokenWish{User: "ci", AnyRole: true})
			w.wants(w.callAs(other, http.MethodGet, at, ""), http.StatusNotFound, "not_found", "")
			w.wants(w.callAs(other, http.MethodPost, at+"/credentials", ""), http.StatusNotFound, "not_found", "")
			found, err := w.store.Events(t.Context(), broker.EventQuery{RequestID: id})
			if err != nil {
				t.Fatal(err)
			}
			refused := 0
			for _, e := range found {
				if e.Event == broker.EventLookupDenied && e.Rule == broker.RuleNotYours && e.TokenID == other[9:21] && e.Actor == "ci" {
					refused++
				}
			}
			if refused != 2 {
				t.Errorf("%d lookups are recorded as refused", refused)
			}
		})
	}
}

// A Request that is over gives nothing.
func TestSettled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		state string
		rule  policy.Rule
		then  func(*world, string)
	}{
		{"denied", broker.RuleDeclined, func(w *world, id string) { w.answers(id, false) }},
		{"lapsed", policy.RuleApprovalRequired, func(w *world, _ string) { w.advance(time.Hour) }},
		{"lapsed", policy.RuleApprovalRequired, func(w *world, id string) { w.answers(id, true); w.advance(time.Hour) }},
		{"void", broker.RuleEnded, func(w *world, id string) {
			if _, err := w.End(w.t.Context(), broker.Ending{Caller: alice, RequestID: id, Deadline: w.Now().Add(time.Minute)}); err != nil {
				w.t.Fatal(err)
			}
		}},
		{"withdrawn", policy.RuleApprovalRequired, func(w *world, id string) {
			if _, err := w.Withdraw(w.t.Context(), alice, id, w.Now().Add(time.Minute)); err != nil {
				w.t.Fatal(err)
			}
		}},
	} {
		for engine, open := range engines {
			t.Run(tt.state+" "+engine, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, open)
				w.token = w.newToken(broker.TokenWish{User: "alice", AnyRole: true})
				asked := w.call(http.MethodPost, credentials, guarded, "Idempotency-Key", "1")
				tt.then(w, asked.word("request_id"))
				got := w.call(http.MethodPost, asked.header.Get("Location")+"/credentials", "")
				w.wants(got, http.StatusConflict, "settled", tt.rule)
				if got.word("state") != tt.state || w.mint.made != 0 {
					t.Errorf("%s; %d made", got.text, w.mint.made)
				}
				golden(t, "settled-"+tt.state, got)
			})
		}
	}
}

// Whatever takes an application's access takes it at the very next call, to
// whatever operation, and from what was asked before.
func TestAccessThatEnds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		then   func(*world)
		status int
		code   string
		rule   policy.Rule
	}{
		{"revoked", func(w *world) { w.does("token revoke ci " + w.token[9:21]) }, 401, "unauthorized", broker.RuleTokenRevoked},
		{"expired", func(w *world) { w.advance(366 * 24 * time.Hour) }, 401, "unauthorized", broker.RuleTokenExpired},
		{"its user removed", func(w *world) { w.does("user remove ci") }, 401, "unauthorized", broker.RuleTokenUnknown},
		{"its user switched off", func(w *world) { w.does("user disable ci") }, 403, "denied", policy.RuleUserDisabled},
		{"its owner switched off", func(w *world) { w.does("user disable alice") }, 403, "denied", policy.RuleOwnerDisabled},
		{"its owner has left Slack", func(w *world) { w.slack.standing = broker.Deleted; w.advance(6 * time.Minute) }, 403, "denied", broker.RuleDeleted},
	} {
		for engine, open := range engines {
			t.Run(tt.name+" "+engine, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, open)
				issued := w.call(http.MethodPost, credentials, readonly, "Idempotency-Key", "1")
				w.wants(issued, http.StatusOK, "", "")
				waits := w.call(http.MethodPost, credentials, guarded, "Idempotency-Key", "2")
				tt.then(w)
				at := "/v1/requests/" + issued.word("request_id")
				for name, got := range map[string]reply{
					"ask":                w.call(http.MethodPost, credentials, readonly),
					"the same again":     w.call(http.MethodPost, credentials, readonly, "Idempotency-Key", "1"),
					"what waits, again":  w.call(http.MethodPost, credentials, guarded, "Idempotency-Key", "2"),
					"more":               w.call(http.MethodPost, at+"/credentials", ""),
					"more of what waits": w.call(http.MethodPost, waits.header.Get("Location")+"/credentials", ""),
					"how it stands":      w.call(http.MethodGet, at, ""),
					"roles":              w.call(http.MethodGet, "/v1/roles", ""),
					"whoami":             w.call(http.MethodGet, "/v1/whoami", ""),
				} {
					if got.status != tt.status {
						t.Errorf("%s is answered %d %s", name, got.status, got.text)
					}
					w.wants(got, tt.status, tt.code, tt.rule)
				}
				if w.mint.made != 1 {
					t.Errorf("%d sessions were made", w.mint.made)
				}
			})
		}
	}
}

// What fails is told so, and when to ask again.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	for engine, open := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			unavailable(t, newWorld(t, open))
		})
	}
}

func unavailable(t *testing.T, w *world) {
	t.Helper()
	down := broker.ErrUnavailable
	w.store.down(down)
	w.wants(w.call(http.MethodPost, credentials, readonly), http.StatusServiceUnavailable, "unavailable", "")
	w.store.down(nil)
	for code, after := range map[broker.FaultCode]string{broker.FaultAccess: "60", broker.FaultThrottled: "5", broker.FaultTimeout: "5", broker.FaultBase: "60"} {
		w.mint.fault = &broker.Fault{Code: code, Err: down}
		got := w.call(http.MethodPost, credentials, readonly)
		w.wants(got, http.StatusServiceUnavailable, "unavailable", "")
		if got.header.Get("Retry-After") != after || got.word("request_id") == "" {
			t.Errorf("%s: after %q, %s", code, got.header.Get("Retry-After"), got.text)
		}
	}
	w.mint.fault, w.mint.noLink = nil, &broker.Fault{Code: broker.FaultSignIn, Err: down}
	got := w.call(http.MethodPost, credentials, readonly)
	if got.status != http.StatusOK || got.word("console_url") != "" || !strings.Contains(got.word("console_problem"), "The credentials are good") {
		t.Errorf("without a link: %d %s", got.status, got.text)
	}
}

// A token that asks too often is refused, and others are not.
func TestRate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite) // the limits are kept in no store
	for range 20 {
		w.wants(w.call(http.MethodPost, credentials, readonly), http.StatusOK, "", "")
	}
	w.wants(w.call(http.MethodPost, credentials, readonly), http.StatusTooManyRequests, "rate", broker.RuleRate)
	for w.call(http.MethodGet, "/v1/whoami", "").status == http.StatusOK {
	}
	w.wants(w.call(http.MethodGet, "/v1/whoami", ""), http.StatusTooManyRequests, "rate", broker.RuleRate)
	mine := w.newToken(broker.TokenWish{User: "alice", AnyRole: true})
	w.wants(w.callAs(mine, http.MethodPost, credentials, readonly), http.StatusOK, "", "")
}

// Whoever knows the ID of a token, which is no secret, uses up nothing of its
// bearer's, and nothing is stored for them.
func TestForgedTokensLeaveNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite)
	for range 150 {
		w.callAs(forged(w.token[:21]+strings.Repeat("A", 30)), http.MethodPost, credentials, readonly)
	}
	for more := true; more; {
		var err error
		if more, err = w.Due(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	found, err := w.store.Events(t.Context(), broker.EventQuery{Since: began.Add(-time.Minute), Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range found {
		if e.Event == broker.EventAsked || e.Event == broker.EventDenied || e.Event == broker.EventLookupDenied {
			t.Fatalf("stored is %+v", e)
		}
	}
	if n := strings.Count(w.log.String(), `"rule":"token.unknown"`); n != 150 {
		t.Errorf("the log tells of %d", n)
	}
	w.wants(w.call(http.MethodPost, credentials, readonly), http.StatusOK, "", "")
}

// Patience is less than what the way of a call allows.
func TestPatience(t *testing.T) {
	if api.Patience >= 30*time.Second || api.Patience >= broker.LeaseFor {
		t.Errorf("an ask may take %s", api.Patience)
	}
}
