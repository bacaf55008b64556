package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/sandbox"
)

// slackForm is a form with a menu of the app's, one of its own and a text.
const slackForm = `{"type":"modal","callback_id":"ask","title":{"type":"plain_text","text":"Request"},
	"submit":{"type":"plain_text","text":"Send"},"blocks":[
	{"type":"input","block_id":"role","dispatch_action":true,"label":{"type":"plain_text","text":"Role"},
	 "element":{"type":"external_select","action_id":"r","min_query_length":0}},
	{"type":"input","block_id":"long","label":{"type":"plain_text","text":"Length"},"element":{"type":"static_select","action_id":"l",
	 "initial_option":{"text":{"type":"plain_text","text":"1h"},"value":"1h"},"options":[{"text":{"type":"plain_text","text":"1h"},"value":"1h"},
	 {"text":{"type":"plain_text","text":"2h"},"value":"2h"}]}},
	{"type":"input","block_id":"why","optional":true,"label":{"type":"plain_text","text":"Reason"},
	 "element":{"type":"plain_text_input","action_id":"w"}}]}`

// slackSaid is what an app is told of an interaction.
type slackSaid struct {
	Type       string
	CallbackID string `json:"callback_id"`
	TriggerID  string `json:"trigger_id"`
	MessageTS  string `json:"message_ts"`
	BlockID    string `json:"block_id"`
	ActionID   string `json:"action_id"`
	Value      string
	View       struct {
		ID    string
		State struct {
			Values map[string]map[string]struct {
				Value          string
				SelectedOption struct{ Value string } `json:"selected_option"`
			}
		}
	}
	Actions []struct {
		SelectedOption struct{ Value string } `json:"selected_option"`
	}
}

// openForm opens slackForm for alice. The app answers with what answer returns.
func (w *slackWorld) openForm(t *testing.T, answer func(slackSaid) string) sandbox.View {
	t.Helper()
	_, trigger := w.command(t)
	if _, got := w.call(t, "views.open", w.BotToken(), url.Values{"trigger_id": {trigger}, "view": {slackForm}}); got["ok"] != true {
		t.Fatalf("views.open: %v", got)
	}
	w.app(t, func(rw http.ResponseWriter, r *http.Request) {
		var said slackSaid
		if err := json.Unmarshal([]byte(r.FormValue("payload")), &said); err != nil {
			t.Error(err)
		}
		fmt.Fprint(rw, answer(said))
	})
	return w.Views("U1")[0]
}

// slackOptions writes n options, as a menu's app answers.
func slackOptions(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`{"text":{"type":"plain_text","text":"o%d"},"value":"o%d"}`, i, i))
	}
	return "[" + strings.Join(all, ",") + "]"
}

func TestSuggest(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string
		want   []sandbox.Option
		err    string
	}{
		"options": {`{"options":` + slackOptions(2) + `}`, []sandbox.Option{{Text: "o0", Value: "o0"}, {Text: "o1", Value: "o1"}}, ""},
		"groups": {`{"option_groups":[{"label":{"type":"plain_text","text":"g"},"options":` + slackOptions(1) + `}]}`,
			[]sandbox.Option{{Group: "g", Text: "o0", Value: "o0"}}, ""},
		"none":          {`{"options":[]}`, nil, ""},
		"too many":      {`{"options":` + slackOptions(101) + `}`, nil, "no more than 100"},
		"too many all":  {`{"option_groups":[{"label":{"type":"plain_text","text":"g"},"options":` + slackOptions(60) + `},{"label":{"type":"plain_text","text":"h"},"options":` + slackOptions(60) + `}]}`, nil, "no more than 100"},
		"an empty list": {`{"option_groups":[]}`, nil, "at least 1"},
		"both":          {`{"options":[],"option_groups":[]}`, nil, "either"},
		"neither":       {`{}`, nil, "either"},
		"nothing":       {``, nil, "not an object"},
		"a text of 76":  {`{"options":[{"text":{"type":"plain_text","text":"` + strings.Repeat("x", 76) + `"},"value":"x"}]}`, nil, "less than 76"},
		"markup":        {`{"options":[{"text":{"type":"mrkdwn","text":"x"},"value":"x"}]}`, nil, "must be one of"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSlackWorld(t)
			var told slackSaid
			v := w.openForm(t, func(said slackSaid) string { told = said; return tt.answer })
			got, err := w.Suggest(t.Context(), "U1", v.ID, "r", "pro")
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
			if told.Type != "block_suggestion" || told.BlockID != "role" || told.ActionID != "r" || told.Value != "pro" || told.View.ID != v.ID || told.TriggerID != "" {
				t.Errorf("the app is told %+v", told)
			}
		})
	}
	w := newSlackWorld(t)
	v := w.openForm(t, func(slackSaid) string { return `{"options":[]}` })
	if _, err := w.Suggest(t.Context(), "U1", v.ID, "l", ""); err == nil {
		t.Error("a menu with options of its own asks the app")
	}
}

func TestChooseView(t *testing.T) {
	w := newSlackWorld(t)
	var told []slackSaid
	v := w.openForm(t, func(said slackSaid) string {
		told = append(told, said)
		if said.Type == "block_suggestion" {
			return `{"options":` + slackOptions(3) + `}`
		}
		return ""
	})
	if _, err := w.ChooseView(t.Context(), "U1", v.ID, "r", "o2"); err != nil {
		t.Fatal(err)
	}
	if last := told[len(told)-1]; last.Type != "block_actions" || last.Actions[0].SelectedOption.Value != "o2" ||
		last.View.State.Values["role"]["r"].SelectedOption.Value != "o2" || last.View.State.Values["long"]["l"].SelectedOption.Value != "1h" {
		t.Errorf("the app is told %+v", last)
	}
	before := len(told)
	if _, err := w.ChooseView(t.Context(), "U1", v.ID, "l", "2h"); err != nil || len(told) != before {
		t.Errorf("a choice that the app did not ask to be told: %d deliveries, %v", len(told)-before, err)
	}
	for _, wrong := range [][2]string{{"r", "o3"}, {"l", "3h"}, {"w", "x"}, {"none", "x"}} {
		if _, err := w.ChooseView(t.Context(), "U1", v.ID, wrong[0], wrong[1]); err == nil {
			t.Errorf("chose %q in %s", wrong[1], wrong[0])
		}
	}

	// What was chosen stays when the app changes the view, as long as it can.
	without2h := strings.Replace(slackForm, `,
	 {"text":{"type":"plain_text","text":"2h"},"value":"2h"}`, "", 1)
	if _, got := w.call(t, "views.update", w.BotToken(), url.Values{"view_id": {v.ID}, "view": {without2h}}); got["ok"] != true {
		t.Fatalf("views.update: %v", got)
	}
	if _, err := w.Submit(t.Context(), "U1", v.ID, map[string]string{"why": "x"}); err != nil {
		t.Fatal(err)
	}
	values := told[len(told)-1].View.State.Values
	if values["role"]["r"].SelectedOption.Value != "o2" || values["long"]["l"].SelectedOption.Value != "1h" || values["why"]["w"].Value != "x" {
		t.Errorf("submitted %+v", values)
	}
}

func TestChosenMustBeOffered(t *testing.T) {
	w := newSlackWorld(t)
	v := w.openForm(t, func(slackSaid) string { return "" })
	if _, err := w.Submit(t.Context(), "U1", v.ID, nil); err == nil || !strings.Contains(err.Error(), `"Role" is required`) {
		t.Errorf("without a role: %v", err)
	}
	if _, err := w.Submit(t.Context(), "U1", v.ID, map[string]string{"role": "o1"}); err == nil || !strings.Contains(err.Error(), "no option") {
		t.Errorf("with a role that nobody offered: %v", err)
	}
}

func TestShortcut(t *testing.T) {
	w := newSlackWorld(t)
	var told slackSaid
	w.app(t, func(_ http.ResponseWriter, r *http.Request) {
		told = slackSaid{}
		if err := json.Unmarshal([]byte(r.FormValue("payload")), &told); err != nil {
			t.Error(err)
		}
	})
	if _, err := w.Shortcut(t.Context(), "U1", "ask"); err != nil || told.Type != "shortcut" || told.CallbackID != "ask" || told.TriggerID == "" {
		t.Errorf("the app is told %+v, %v", told, err)
	}
	m, err := w.Say("U1", "C1", "look")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.MessageShortcut(t.Context(), "U1", m, "about"); err != nil || told.Type != "message_action" || told.CallbackID != "about" ||
		told.MessageTS != m.TS || told.TriggerID == "" {
		t.Errorf("the app is told %+v, %v", told, err)
	}
	if _, err := w.Shortcut(t.Context(), "U9", "ask"); err == nil {
		t.Error("nobody chose a shortcut")
	}
	m.TS = "1.000000"
	if _, err := w.MessageShortcut(t.Context(), "U1", m, "about"); err == nil {
		t.Error("a shortcut was chosen on a message that is not there")
	}
}

func TestControlForm(t *testing.T) {
	w := newSlackWorld(t)
	w.app(t, func(rw http.ResponseWriter, r *http.Request) {
		var said slackSaid
		if err := json.Unmarshal([]byte(r.FormValue("payload")), &said); err != nil {
			t.Error(err)
		}
		switch said.Type {
		case "shortcut":
			w.call(t, "views.open", w.BotToken(), url.Values{"trigger_id": {said.TriggerID}, "view": {slackForm}})
		case "block_suggestion":
			fmt.Fprint(rw, `{"options":`+slackOptions(2)+`}`)
		case "block_actions":
			view := strings.Replace(slackForm, `"Request"`, `"For `+said.Actions[0].SelectedOption.Value+`"`, 1)
			w.call(t, "views.update", w.BotToken(), url.Values{"view_id": {said.View.ID}, "view": {view}})
		}
	})
	server := httptest.NewServer(w.Control())
	t.Cleanup(server.Close)
	c := &sandbox.Control{Base: server.URL, HTTP: http.DefaultClient}
	if _, err := c.Choose(t.Context(), "alice", "r", "o1"); err == nil || !strings.Contains(err.Error(), "no form open") {
		t.Errorf("without a form: %v", err)
	}
	if seen, err := c.Shortcut(t.Context(), "alice", "ask"); err != nil || !strings.Contains(strings.Join(seen, "\n"), "== Request ==") {
		t.Errorf("alice sees %q, %v", seen, err)
	}
	if seen, err := c.Choose(t.Context(), "alice", "r", "o1"); err != nil || !strings.Contains(strings.Join(seen, "\n"), "== For o1 ==") {
		t.Errorf("alice sees %q, %v", seen, err)
	}
	if _, err := c.Shortcut(t.Context(), "nobody", "ask"); err == nil {
		t.Error("nobody chose a shortcut")
	}
}
