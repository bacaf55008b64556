package sandbox_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/sandbox"
)

// command types a command and returns its response URL and trigger id.
func (w *slackWorld) command(t *testing.T) (responseURL, trigger string) {
	t.Helper()
	got := make(chan url.Values, 1)
	w.app(t, func(_ http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		got <- r.PostForm
	})
	if _, err := w.Command(t.Context(), "U1", "C1", "x"); err != nil {
		t.Fatal(err)
	}
	form := <-got
	return form.Get("response_url"), form.Get("trigger_id")
}

func TestResponseURL(t *testing.T) {
	type step struct {
		after  time.Duration
		body   string
		status int
		answer string
	}
	say := `{"text":"hi"}`
	ok := step{0, say, 200, "ok"}
	tests := []struct {
		name  string
		steps []step
		want  []string // what alice sees
		bob   int      // how many messages bob sees
	}{
		{"five uses", []step{ok, ok, ok, ok, ok, {0, say, 404, "used_url"}}, []string{"hi", "hi", "hi", "hi", "hi"}, 0},
		{"just in time", []step{{30*time.Minute - 1, say, 200, "ok"}}, []string{"hi"}, 0},
		{"too late", []step{{30 * time.Minute, say, 404, "expired_url"}}, nil, 0},
		{"bad payloads are no use", []step{
			{0, `{"blocks":[{"type":"x"}]}`, 400, "invalid_blocks"}, {0, `{`, 400, "invalid_payload"}, {0, `{}`, 400, "no_text"},
			{0, `{"text":"x","response_type":"loud"}`, 400, "invalid_response_type"},
			{0, `{"text":"x","attachments":[{}]}`, 400, "invalid_attachments"},
			{0, `{"delete_original":true}`, 400, "message_not_found"}, ok, ok, ok, ok, ok, {0, say, 404, "used_url"}},
			[]string{"hi", "hi", "hi", "hi", "hi"}, 0},
		{"in channel", []step{{0, `{"text":"all","response_type":"in_channel"}`, 200, "ok"}}, []string{"all"}, 1},
		{"replaces its first message", []step{ok, {0, `{"text":"two","replace_original":true}`, 200, "ok"}}, []string{"two"}, 0},
		{"nothing to replace", []step{{0, `{"text":"two","replace_original":true}`, 200, "ok"}}, []string{"two"}, 0},
		{"deletes", []step{ok, {0, `{"delete_original":true}`, 200, "ok"}}, nil, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newSlackWorld(t)
			to, _ := w.command(t)
			for i, s := range tt.steps {
				w.clock.Add(s.after)
				if status, answer := slackPost(t, to, s.body); status != s.status || answer != s.answer {
					t.Errorf("step %d: %d %q, want %d %q", i, status, answer, s.status, s.answer)
				}
			}
			var got []string
			for _, m := range w.Seen("U1") {
				got = append(got, m.Text)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("alice sees (-want +got):\n%s", diff)
			}
			if n := len(w.Seen("U2")); n != tt.bob {
				t.Errorf("bob sees %d messages, want %d", n, tt.bob)
			}
		})
	}
}

func TestResponseURLWrongUse(t *testing.T) {
	w := newSlackWorld(t)
	to, _ := w.command(t)
	if status, answer := slackPost(t, to[:len(to)-1], `{"text":"x"}`); status != 404 || answer != "no_service" {
		t.Errorf("a wrong URL: %d %s", status, answer)
	}
	resp, err := http.Get(to)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d, want 405", resp.StatusCode)
	}
	w.SetFault(func(method string) *sandbox.SlackFault {
		if method == "response_url" {
			return &sandbox.SlackFault{Status: 500, After: true}
		}
		return nil
	})
	if status, _ := slackPost(t, to, `{"text":"x"}`); status != 500 || len(w.Seen("U1")) != 1 {
		t.Errorf("fault after: %d, %v; want 500 and the message", status, w.Seen("U1"))
	}
}

func TestReplyStaysInItsThread(t *testing.T) {
	w := newSlackWorld(t)
	_, parent, err := w.api.PostMessage("C1", slackBlocks(t, slackButtons))
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"channel": {"C1"}, "thread_ts": {parent}, "blocks": {slackButtons}}
	if _, got := w.call(t, "chat.postMessage", w.BotToken(), form); got["ok"] != true {
		t.Fatalf("reply: %v", got)
	}
	bodies := make(chan string, 1)
	w.app(t, func(_ http.ResponseWriter, r *http.Request) { bodies <- r.FormValue("payload") })
	if _, err := w.Click(t.Context(), "U1", w.Channel("C1")[1], "no"); err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(<-bodies, `"response_url":"`)
	to, _, _ := strings.Cut(after, `"`)
	if status, answer := slackPost(t, to, `{"text":"noted"}`); status != 200 {
		t.Fatalf("respond: %d %s", status, answer)
	}
	seen := w.Seen("U1")
	if last := seen[len(seen)-1]; last.Text != "noted" || last.ThreadTS != parent || last.For != "U1" {
		t.Errorf("the answer %+v, want in the thread and for alice", last)
	}
}
