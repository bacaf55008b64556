package sandbox_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/sandbox"
)

// control serves a workspace's control handler, and answers commands with a
// message that has buttons and clicks with nothing but a replacement.
func (w *slackWorld) control(t *testing.T) *sandbox.Control {
	t.Helper()
	w.app(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slack/commands" {
			slackSay(`{"text":"x","blocks":`+slackButtons+`}`)(rw, r)
			return
		}
		payload := r.FormValue("payload")
		if strings.Contains(payload, "view_submission") {
			return
		}
		_, after, _ := strings.Cut(payload, `"response_url":"`)
		to, _, _ := strings.Cut(after, `"`)
		go func() {
			time.Sleep(50 * time.Millisecond) // after the answer, as a worker would
			resp, err := http.Post(to, "application/json", strings.NewReader(`{"replace_original":true,"text":"done, <@U1>"}`))
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
		}()
	})
	server := httptest.NewServer(w.Control())
	t.Cleanup(server.Close)
	return &sandbox.Control{Base: server.URL, HTTP: http.DefaultClient}
}

func TestControl(t *testing.T) {
	w := newSlackWorld(t)
	c := w.control(t)
	ctx := t.Context()
	steps := []struct {
		name string
		do   func() ([]string, error)
		want []string
	}{
		{"a command", func() ([]string, error) { return c.Type(ctx, "alice", "general", "/starback prod 1h") },
			[]string{"[* Approve *]  [ Deny ]"}},
		{"a click by label", func() ([]string, error) { return c.Click(ctx, "alice", "approve") }, []string{"done, @alice"}},
		{"plain text", func() ([]string, error) { return c.Type(ctx, "U1", "#general", "hello @bob") }, []string{"hello @bob"}},
		{"a channel", func() ([]string, error) { return c.Channel(ctx, "general") }, []string{"hello @bob"}},
		{"an empty channel", func() ([]string, error) { return c.Channel(ctx, "#quiet") }, []string{}},
	}
	for _, s := range steps {
		got, err := s.do()
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if diff := cmp.Diff(s.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.name, diff)
		}
	}
}

func TestControlOfForms(t *testing.T) {
	w := newSlackWorld(t)
	v := w.openModal(t)
	c := w.control(t)
	if _, err := c.Click(t.Context(), "alice", "Send"); err == nil || !strings.Contains(err.Error(), `input "Role" is required`) {
		t.Errorf("an empty form: %v", err)
	}
	got, err := c.Submit(t.Context(), "alice", map[string]string{"Role": "read"})
	if err != nil || len(got) != 0 {
		t.Errorf("submit: %q, %v", got, err)
	}
	for _, left := range w.Views("U1") {
		t.Errorf("view %s of %s is still open", left.ID, v.ID)
	}
}

func TestControlRefuses(t *testing.T) {
	w := newSlackWorld(t)
	c := w.control(t)
	ctx := t.Context()
	first := func(_ []string, err error) string { return fmt.Sprint(err) }
	for name, tt := range map[string]struct{ got, want string }{
		"unknown user":    {first(c.Type(ctx, "mallory", "general", "/starback")), `unknown user "mallory": there is alice, bob, eve`},
		"unknown channel": {first(c.Type(ctx, "alice", "nowhere", "/starback")), `unknown channel "nowhere": alice is in general, quiet`},
		"other command":   {first(c.Type(ctx, "alice", "general", "/giphy")), "unknown command /giphy: there is /starback"},
		"nothing":         {first(c.Type(ctx, "alice", "general", " ")), "nothing was typed"},
		"unknown button":  {first(c.Click(ctx, "alice", "Approve")), `unknown button "Approve": alice sees none`},
		"no form":         {first(c.Submit(ctx, "bob", nil)), "bob has no form open"},
		"channel":         {first(c.Channel(ctx, "nowhere")), `unknown channel "nowhere": there is general, quiet`},
	} {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, tt := range []struct {
		name, origin, body string
		want               int
	}{
		{"a web page", "http://127.0.0.1", `{"as":"alice","text":"hi"}`, http.StatusForbidden},
		{"unknown field", "", `{"as":"alice","txt":"hi"}`, http.StatusBadRequest},
		{"not JSON", "", `as=alice`, http.StatusBadRequest},
	} {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Base+"/sandbox/type", strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		if tt.origin != "" {
			req.Header.Set("Origin", tt.origin)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s: status %d, want %d", tt.name, resp.StatusCode, tt.want)
		}
	}
	if seen := w.Seen("U1"); len(seen) != 0 {
		t.Errorf("alice sees %v", seen)
	}
}
