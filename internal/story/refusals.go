package story

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/sandbox"
)

// PeopleWhoAreRefused are told, each in a sentence of their own with a request
// id, and recorded; nothing is minted for them.
func PeopleWhoAreRefused(h *House) {
	// Whoever leaves a ticket out is given a form to fill in. Where it cannot be
	// opened, they are told.
	h.Slack.SetFault(func(method string) *sandbox.SlackFault {
		if method == "views.open" {
			return &sandbox.SlackFault{Error: "internal_error"}
		}
		return nil
	})
	for i, tt := range []struct{ who, text, rule, says string }{
		{"U0DAVE", "prod-readonly 1h INC-1 looking", "identity.unbound", "Starback does not know you yet"},
		{"U0ERIN", "prod-readonly 1h INC-1 looking", "user.expired", "Your access to Starback has expired"},
		{"U0FRED", "prod-readonly 1h INC-1 looking", "user.disabled", "switched off"},
		{"U0GRACE", "prod-readonly 1h INC-1 looking", "identity.guest", "Guests"},
		{"U0ROBOT", "prod-readonly 1h INC-1 looking", "identity.bot", "Bots"},
		{"U0GONE", "prod-readonly 1h INC-1 looking", "identity.deleted", "deactivated"},
		{"U0CAROL", "prod-readonly 1h INC-1 looking", "grant.none", "There is no role `prod-readonly` that you may ask for"},
		{"U0ALICE", "prod-readonli 1h INC-1 looking", "role.unknown", "Did you mean `prod-readonly`?"},
		{"U0ALICE", "prod-readonly 9h INC-1 looking", "duration.too_long", "8h at most"},
		{"U0ALICE", "prod-readonly 5m INC-1 looking", "duration.too_short", "15 minutes"},
		{"U0ALICE", "prod-readonly 1h looking", "ticket.missing", "needs a ticket"},
		{"U0ALICE", "prod-readonly \xff\xfe", "ticket.missing", "needs a ticket"},
	} {
		h.T.Run(tt.rule, func(t *testing.T) {
			seen := len(Ephemerals(h.Slack.Seen(tt.who)))
			if ack := h.Types(tt.who, tt.text); ack.Status != http.StatusOK {
				t.Fatalf("answered %d", ack.Status)
			}
			said := Text(h.Answer(tt.who, seen+1))
			if !strings.Contains(said, tt.says) || !strings.Contains(said, "Request `") {
				t.Errorf("%s is told\n%s", tt.who, said)
			}
			denied := h.WaitForTrail("request.denied", i+1)
			if last := denied[i]; last.Rule != tt.rule || !strings.Contains(said, last.RequestID) {
				t.Errorf("the trail ends with %+v", last)
			}
		})
	}
	h.Stop()
	if n := h.Assumed(); n != 0 || len(h.Trail("session.issued")) != 0 {
		h.T.Errorf("AWS was asked for %d sessions", n)
	}
	h.TrueTrail()
}

// RequestsThatAreRefused do not come from Slack, or make no sense. They are
// turned away, nothing is minted, and the next command works.
func RequestsThatAreRefused(h *House) {
	form := url.Values{
		"team_id": {Team}, "user_id": {"U0ALICE"}, "channel_id": {General}, "command": {"/starback"},
		"text": {"prod-readonly 1h INC-1 looking"}, "trigger_id": {"1.2.abc"}, "response_url": {"https://hooks.slack.com/commands/T0TEST/1/x"},
	}
	body := func(change func(url.Values)) []byte {
		f := url.Values{}
		for name, values := range form {
			f[name] = append([]string(nil), values...)
		}
		change(f)
		return []byte(f.Encode())
	}
	same := func(url.Values) {}
	signed := func(at time.Time, b []byte) http.Header {
		header := sandbox.Sign(h.Slack.SigningSecret(), at, b)
		header.Set("Content-Type", "application/x-www-form-urlencoded")
		return header
	}
	now := time.Now()
	good := func(b []byte) http.Header { return signed(now, b) }
	for name, tt := range map[string]struct {
		header func([]byte) http.Header
		body   []byte
		status int
	}{
		"unsigned": {func([]byte) http.Header {
			return http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		}, body(same), 401},
		"stale":               {func(b []byte) http.Header { return signed(now.Add(-6*time.Minute), b) }, body(same), 401},
		"from the future":     {func(b []byte) http.Header { return signed(now.Add(6*time.Minute), b) }, body(same), 401},
		"signature of others": {func(b []byte) http.Header { return signed(now, append(b, '&')) }, body(same), 401},
		"truncated":           {good, body(same)[:40], 400},
		"duplicated field":    {good, body(func(f url.Values) { f.Add("user_id", "U0BOB") }), 400},
		"malformed":           {good, []byte("team_id=%zz"), 400},
		"no user":             {good, body(func(f url.Values) { f.Del("user_id") }), 400},
		"no trigger":          {good, body(func(f url.Values) { f.Del("trigger_id") }), 400},
		"bad UTF-8 in an id":  {good, body(func(f url.Values) { f.Set("user_id", "U\xff") }), 400},
		"oversized":           {good, body(func(f url.Values) { f.Set("text", strings.Repeat("x", 1<<20)) }), 413},
		"wrong content type": {func(b []byte) http.Header {
			header := good(b)
			header.Set("Content-Type", "text/plain")
			return header
		}, body(same), 415},
		"another team":       {good, body(func(f url.Values) { f.Set("team_id", "T0OTHER") }), 200},
		"another enterprise": {good, body(func(f url.Values) { f.Set("team_id", "T0OTHER"); f.Set("enterprise_id", "E0OTHER") }), 200},
	} {
		h.T.Run(name, func(t *testing.T) {
			if status := h.posts("/slack/commands", tt.header(tt.body), tt.body); status != tt.status {
				t.Errorf("answered %d, want %d", status, tt.status)
			}
		})
	}
	if n, asked := h.Assumed(), h.Trail("request.asked"); n != 0 || len(asked) != 0 {
		h.T.Errorf("AssumeRole was called %d times, and %d asks recorded", n, len(asked))
	}
	h.Gets("prod-readonly 1h INC-1 looking")
	h.Stop()
	h.TrueTrail()
}

// posts sends bytes as they are to where Slack sends what people do.
func (h *House) posts(path string, header http.Header, body []byte) int {
	h.T.Helper()
	req, err := http.NewRequestWithContext(h.T.Context(), http.MethodPost, h.URL+path, bytes.NewReader(body))
	if err != nil {
		h.T.Fatal(err)
	}
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.T.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}
