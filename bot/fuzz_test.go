package bot

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/broker"
	"github.com/starback/starback/sandbox"
)

// body reads the body of a request made in these tests.
func body(r *http.Request) string {
	b, _ := io.ReadAll(r.Body) // of a string
	return string(b)
}

// FuzzVerify tries stamps, signatures and bodies, and what Slack signed that
// many seconds away.
func FuzzVerify(f *testing.F) {
	stamp := strconv.FormatInt(noon.Unix(), 10)
	for _, seed := range []struct {
		stamp, signature string
		away             int64
	}{
		{stamp, sandbox.Sign(signingSecret, noon, []byte(form())).Get("X-Slack-Signature"), 0},
		{"+" + stamp, "v0=", 300}, {"0" + stamp, "v0=00", 301}, {"", "", -300}, {"9223372036854775807", "x", -301}, {"-1", "v0", 1 << 40}, {stamp + " ", "v1=", -1 << 40},
	} {
		f.Add(seed.stamp, seed.signature, []byte(form()), seed.away)
	}
	secret := broker.NewSecret(signingSecret)
	f.Fuzz(func(t *testing.T, stamp, signature string, body []byte, away int64) {
		header := http.Header{"X-Slack-Request-Timestamp": {stamp}, "X-Slack-Signature": {signature}}
		if verify(secret, header, body, noon) == nil {
			mac := hmac.New(sha256.New, []byte(signingSecret))
			mac.Write(append([]byte("v0:"+stamp+":"), body...))
			seconds, err := strconv.ParseInt(stamp, 10, 64)
			if err != nil || max(seconds-noon.Unix(), noon.Unix()-seconds) > 300 || signature != "v0="+hex.EncodeToString(mac.Sum(nil)) {
				t.Fatalf("accepted %q at %q", signature, stamp)
			}
		}
		away %= 1 << 32
		good := sandbox.Sign(signingSecret, noon.Add(time.Duration(away)*time.Second), body)
		if err := verify(secret, good, body, noon); (err == nil) != (max(away, -away) <= 300) {
			t.Fatalf("%d seconds away: %v", away, err)
		}
		if verify(secret, good, append(body, 0), noon) == nil {
			t.Fatal("accepted a body that was added to")
		}
		if err := verify(broker.NewSecret("another"), good, body, noon); err == nil || strings.Contains(err.Error(), good.Get("X-Slack-Signature")) {
			t.Fatalf("another secret: %v", err)
		}
	})
}

// checkTaken sends a signed request, and fails if the answer or what is queued
// could do harm further on.
func checkTaken(t *testing.T, r *http.Request) {
	d := newDesk(t)
	w := d.send(r)
	if !slices.Contains([]int{200, 400}, w.Code) {
		t.Fatalf("status %d", w.Code)
	}
	if w.Code != 200 && len(d.queue.jobs) > 0 {
		t.Fatal("refused, and queued")
	}
	if w.Body.Len() > 0 && !json.Valid(w.Body.Bytes()) {
		t.Fatalf("answered %q", w.Body)
	}
	if len(d.queue.jobs) == 0 {
		return
	}
	todo := d.opened(t)
	if todo.Key == "" || todo.Caller.User == "" {
		t.Fatalf("queued what nobody did: %+v", todo)
	}
	switch todo.Kind {
	case workStanding:
		if !slices.Contains([]broker.Standing{"", broker.Active, broker.Guest, broker.Bot, broker.Deleted, broker.Foreign}, todo.Standing) {
			t.Fatalf("queued an unknown standing: %+v", todo)
		}
	case workButton:
		_, shell := shellOf(todo.Action)
		if _, answers := verdictOf(todo.Action); shell == answers {
			t.Fatalf("queued an unknown button: %+v", todo)
		}
		fallthrough
	default:
		if _, err := broker.ParseSlackID(todo.Caller.String()); err != nil {
			t.Fatalf("queued for %+v", todo.Caller)
		}
	}
}

func FuzzSlash(f *testing.F) {
	for _, seed := range []string{
		form(), form("text", "help"), form("text", "\xff`<!channel>`"), form("team_id", "TOTHER"), form("enterprise_id", "E012AB"), form("user_id", "U1/U2"),
		"", "ssl_check=1", "text=1&text=2", "text=%zz", "a;b", form() + "&user_id=U1",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) { checkTaken(t, signed(PathCommands, formType, string(body))) })
}

func FuzzInteraction(f *testing.F) {
	for _, seed := range []*http.Request{
		click("T012AB"), click("TOTHER"), click("T012AB", "shell:fish", "console"), click("T012AB", "shell:fish", "confirm:01JDCKQ0000000000000000009"), click("T012AB", "shell:fish", "reject:x"), click("T012AB", `"enterprise":null`, `"enterprise":{"id":"E012AB"}`),
		clicked(`{"type":"view_submission"}`), clicked(`{"type":"block_actions","actions":[{},{}]}`), clicked(`[]`), clicked("\xff"), clicked(`{"actions":null}`),
	} {
		fields, err := url.ParseQuery(body(seed))
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(fields.Get("payload")))
	}
	f.Fuzz(func(t *testing.T, payload []byte) { checkTaken(t, clicked(string(payload))) })
}

func FuzzEvent(f *testing.F) {
	for _, seed := range []*http.Request{
		changed(), changed(`"deleted":false`, `"deleted":true`), changed("user_change", "team_join"), changed(`"enterprise_id":null`, `"enterprise_id":"E012AB"`),
		changed("U0456", "USLACKBOT"), changed(`"is_restricted"`, `"is_invited_user"`), changed(`"team_id":"T012AB","deleted"`, `"enterprise_user":{"enterprise_id":"E012AB"},"deleted"`),
	} {
		f.Add([]byte(body(seed)))
	}
	for _, seed := range []string{`{"type":"url_verification","challenge":"x"}`, "", "null", "[]", "\xff", `{"type":"event_callback","event":{"type":"user_change","user":"U1"}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) { checkTaken(t, signed(PathEvents, "application/json", string(body))) })
}
