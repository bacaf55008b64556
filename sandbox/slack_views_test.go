package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"github.com/starback/starback/sandbox"
)

// slackModal is a form with a menu, a text that is optional, and a button.
const slackModal = `{"type":"modal","callback_id":"ask","title":{"type":"plain_text","text":"Request"},
	"submit":{"type":"plain_text","text":"Send"},"notify_on_close":true,"blocks":[
	{"type":"input","block_id":"role","label":{"type":"plain_text","text":"Role"},"element":{"type":"static_select",
	 "action_id":"r","options":[{"text":{"type":"plain_text","text":"Read"},"value":"read"}]}},
	{"type":"input","block_id":"why","optional":true,"label":{"type":"plain_text","text":"Reason"},
	 "element":{"type":"plain_text_input","action_id":"w"}},
	{"type":"actions","elements":[{"type":"button","action_id":"more","text":{"type":"plain_text","text":"More"}}]}]}`

// openModal opens slackModal for alice.
func (w *slackWorld) openModal(t *testing.T) sandbox.View {
	t.Helper()
	_, trigger := w.command(t)
	_, got := w.call(t, "views.open", w.BotToken(), url.Values{"trigger_id": {trigger}, "view": {slackModal}})
	if got["ok"] != true {
		t.Fatalf("views.open: %v", got)
	}
	views := w.Views("U1")
	return views[len(views)-1]
}

func TestTriggers(t *testing.T) {
	w := newSlackWorld(t)
	for _, tt := range []struct {
		name  string
		after time.Duration
		want  []any // the error of each use
	}{
		{"in time, once", 3*time.Second - 1, []any{nil, "exchanged_trigger_id"}},
		{"too late", 3 * time.Second, []any{"expired_trigger_id", "expired_trigger_id"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, trigger := w.command(t)
			w.clock.Add(tt.after)
			var got []any
			for range tt.want {
				_, answer := w.call(t, "views.open", w.BotToken(), url.Values{"trigger_id": {trigger}, "view": {slackModal}})
				got = append(got, answer["error"])
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func TestViewUpdate(t *testing.T) {
	w := newSlackWorld(t)
	v := w.openModal(t)
	var in slack.ModalViewRequest
	if err := json.Unmarshal([]byte(slackModal), &in); err != nil {
		t.Fatal(err)
	}
	in.Title.Text = "Second"
	resp, err := w.api.UpdateView(in, "", v.Hash, v.ID)
	if err != nil || resp.Hash == v.Hash {
		t.Fatalf("update: %v, hash %s", err, resp.Hash)
	}
	if _, err := w.api.UpdateView(in, "", v.Hash, v.ID); err == nil || err.Error() != "hash_conflict" {
		t.Errorf("with the old hash: %v", err)
	}
	if _, err := w.api.UpdateView(in, "", "", v.ID); err != nil {
		t.Errorf("without a hash: %v", err)
	}
	got := w.Views("U1")[0]
	if got.Title != "Second" || got.Updated != 2 || got.CallbackID != "ask" {
		t.Errorf("view %+v", got)
	}
}

func TestPushAndPublish(t *testing.T) {
	w := newSlackWorld(t)
	push := func() any {
		_, trigger := w.command(t)
		_, got := w.call(t, "views.push", w.BotToken(), url.Values{"trigger_id": {trigger}, "view": {slackModal}})
		return got["error"]
	}
	got := []any{push()}
	w.openModal(t)
	got = append(got, push(), push(), push())
	if diff := cmp.Diff([]any{"not_found", nil, nil, "push_limit_reached"}, got); diff != "" {
		t.Errorf("pushes (-want +got):\n%s", diff)
	}
	home := url.Values{"user_id": {"U2"}, "view": {`{"type":"home","blocks":[{"type":"divider"}]}`}}
	for range 2 {
		if _, got := w.call(t, "views.publish", w.BotToken(), home); got["ok"] != true {
			t.Errorf("publish: %v", got)
		}
	}
	if views := w.Views("U2"); len(views) != 1 || views[0].Updated != 1 || views[0].Type != "home" {
		t.Errorf("homes %+v", views)
	}
	home.Set("hash", "old")
	if _, got := w.call(t, "views.publish", w.BotToken(), home); got["error"] != "hash_conflict" {
		t.Errorf("publish with an old hash: %v", got)
	}
}

func TestSubmit(t *testing.T) {
	good := map[string]string{"Role": "read", "why": "because"}
	small := `{"type":"modal","title":{"type":"plain_text","text":"Done"},"blocks":[{"type":"divider"}]}`
	tests := []struct {
		name   string
		values map[string]string
		answer string
		err    string
		titles []string // of the views left open
	}{
		{"closes", good, "", "", nil},
		{"clears", good, `{"response_action":"clear"}`, "", nil},
		{"updates", good, `{"response_action":"update","view":` + small + `}`, "", []string{"Done"}},
		{"pushes", good, `{"response_action":"push","view":` + small + `}`, "", []string{"Request", "Done"}},
		{"errors", good, `{"response_action":"errors","errors":{"why":"too short"}}`, "", []string{"Request"}},
		{"errors elsewhere", good, `{"response_action":"errors","errors":{"x":"?"}}`, "no input", []string{"Request"}},
		{"bad view", good, `{"response_action":"update","view":{}}`, "invalid_arguments", []string{"Request"}},
		{"unknown action", good, `{"response_action":"dance"}`, "unknown response_action", []string{"Request"}},
		{"not JSON", good, `ok`, "answer to submission", []string{"Request"}},
		{"required", map[string]string{"why": "x"}, "", "is required", []string{"Request"}},
		{"no such option", map[string]string{"role": "write"}, "", "no option", []string{"Request"}},
		{"no such input", map[string]string{"role": "read", "x": "y"}, "", "no input", []string{"Request"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newSlackWorld(t)
			v := w.openModal(t)
			states := make(chan string, 1)
			w.app(t, func(rw http.ResponseWriter, r *http.Request) {
				var in struct {
					Type        string
					ResponseURL string `json:"response_url"`
					View        struct{ State json.RawMessage }
				}
				if err := json.Unmarshal([]byte(r.FormValue("payload")), &in); err != nil {
					t.Error(err)
				}
				states <- in.Type + in.ResponseURL + string(in.View.State)
				fmt.Fprint(rw, tt.answer)
			})
			_, err := w.Submit(t.Context(), "U1", v.ID, tt.values)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			if tt.values["why"] == "because" {
				want := `view_submission{"values":{"role":{"r":{"selected_option":{"text":{"text":"Read","type":"plain_text"},` +
					`"value":"read"},"type":"static_select"}},"why":{"w":{"type":"plain_text_input","value":"because"}}}}`
				if diff := cmp.Diff(want, <-states); diff != "" {
					t.Errorf("submission (-want +got):\n%s", diff)
				}
			}
			var titles []string
			for _, v := range w.Views("U1") {
				titles = append(titles, v.Title)
			}
			if diff := cmp.Diff(tt.titles, titles); diff != "" {
				t.Errorf("open views (-want +got):\n%s", diff)
			}
			if tt.name == "errors" {
				if diff := cmp.Diff(map[string]string{"why": "too short"}, w.Views("U1")[0].Errors); diff != "" {
					t.Errorf("errors (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestInsideAView(t *testing.T) {
	w := newSlackWorld(t)
	v := w.openModal(t)
	got := make(chan slack.InteractionCallback, 1)
	w.app(t, func(_ http.ResponseWriter, r *http.Request) {
		ic, err := slack.InteractionCallbackParse(r)
		if err != nil {
			t.Error(err)
		}
		got <- ic
	})
	if _, err := w.ClickView(t.Context(), "U1", v.ID, "more"); err != nil {
		t.Fatal(err)
	}
	ic := <-got
	if ic.Type != slack.InteractionTypeBlockActions || ic.View.ID != v.ID || ic.View.Hash != v.Hash || ic.ResponseURL != "" ||
		ic.Container.Type != "view" || ic.ActionCallback.BlockActions[0].ActionID != "more" {
		t.Errorf("click in a view: %+v", ic)
	}
	if _, err := w.ClickView(t.Context(), "U2", v.ID, "more"); err == nil {
		t.Error("bob clicked in alice's view")
	}
	if _, err := w.CloseView(t.Context(), "U1", v.ID); err != nil {
		t.Fatal(err)
	}
	if ic = <-got; ic.Type != slack.InteractionTypeViewClosed || ic.View.ID != v.ID || len(w.Views("U1")) != 0 {
		t.Errorf("close: %+v, open %v", ic, w.Views("U1"))
	}
}
