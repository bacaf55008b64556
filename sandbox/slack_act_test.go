package sandbox_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"github.com/starback/starback/sandbox"
)

func TestSign(t *testing.T) {
	// The example in Slack's guide to verifying requests.
	body := "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V" +
		"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=" +
		"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN" +
		"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	h := sandbox.Sign("8f742231b10e8888abcd99yyyzzz85a5", time.Unix(1531420618, 0), []byte(body))
	want := http.Header{
		"X-Slack-Request-Timestamp": {"1531420618"},
		"X-Slack-Signature":         {"v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"},
	}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestCommandForm(t *testing.T) {
	tests := []struct {
		name, enterprise, channel string
		want                      map[string]string
	}{
		{"in a workspace", "", "C1", map[string]string{"team_id": "T0SANDBOX", "team_domain": "sandbox",
			"channel_id": "C1", "channel_name": "general", "user_id": "U1", "user_name": "alice",
			"command": "/starback", "text": "prod 1h a&amp;b &lt;@U2&gt; <@U2>", "api_app_id": "A0STARBACK",
			"is_enterprise_install": "false"}},
		{"in an organisation", "E1", "C1", map[string]string{"enterprise_id": "E1", "enterprise_name": "Sandbox Org"}},
		{"in a direct message", "", "D1", map[string]string{"channel_id": "D1", "channel_name": "directmessage"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newSlackWorld(t, func(c *sandbox.SlackConfig) { c.EnterpriseID = tt.enterprise })
			w.AddChannel(sandbox.SlackChannel{ID: "D1", Members: []string{"U1"}, BotIn: true})
			form := make(chan url.Values, 1)
			w.app(t, func(_ http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				signed := sandbox.Sign(w.SigningSecret(), w.clock.Now(), body)
				if got := r.Header.Get("X-Slack-Signature"); got != signed.Get("X-Slack-Signature") {
					t.Errorf("signature %s", got)
				}
				if got := r.Method + " " + r.URL.Path + " " + r.Header.Get("Content-Type"); got !=
					"POST /slack/commands application/x-www-form-urlencoded" {
					t.Errorf("request %s", got)
				}
				values, err := url.ParseQuery(string(body))
				if err != nil {
					t.Error(err)
				}
				form <- values
			})
			ack, err := w.Command(t.Context(), "U1", tt.channel, "prod 1h a&b <@U2> @bob")
			if err != nil || ack.Status != 200 || ack.Problem != "" {
				t.Fatalf("ack %+v, %v", ack, err)
			}
			got := <-form
			for k, v := range tt.want {
				if got.Get(k) != v {
					t.Errorf("%s = %q, want %q", k, got.Get(k), v)
				}
			}
			if _, has := got["enterprise_id"]; has != (tt.enterprise != "") {
				t.Errorf("enterprise_id sent: %v", has)
			}
			if u := got.Get("response_url"); !strings.HasPrefix(u, w.url+"/commands/T0SANDBOX/") || !strings.Contains(u, sandbox.Marker) {
				t.Errorf("response_url %q", u)
			}
			if len(w.Seen("U1")) != 0 {
				t.Errorf("an empty answer was shown: %v", w.Seen("U1"))
			}
			again, err := ack.Request.Send(t.Context())
			if err != nil || again.Status != 200 || (<-form).Encode() != got.Encode() {
				t.Errorf("sent again: %+v, %v", again, err)
			}
		})
	}
}

func TestCommandAnswers(t *testing.T) {
	tests := []struct {
		name      string
		app       http.HandlerFunc
		alice     string // what alice sees, or "" for nothing
		ephemeral bool
	}{
		{"nothing", func(http.ResponseWriter, *http.Request) {}, "", false},
		{"plain text", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "one moment") }, "one moment", true},
		{"ephemeral", slackSay(`{"text":"just you"}`), "just you", true},
		{"in channel", slackSay(`{"response_type":"in_channel","text":"everyone"}`), "everyone", false},
		{"bad blocks", slackSay(`{"blocks":[{"type":"x"}]}`), `/starback failed with the error "invalid_blocks"`, true},
		{"status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
			`/starback failed with the error "dispatch_failed"`, true},
		{"too slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			`/starback failed with the error "operation_timeout"`, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newSlackWorld(t, func(c *sandbox.SlackConfig) {
				if tt.name == "too slow" {
					c.AckTimeout = 50 * time.Millisecond
				}
			})
			w.app(t, func(rw http.ResponseWriter, r *http.Request) {
				// The server notices a client that gives up once the body is read.
				if _, err := io.Copy(io.Discard, r.Body); err != nil {
					t.Error(err)
				}
				tt.app(rw, r)
			})
			if _, err := w.Command(t.Context(), "U1", "C1", "x"); err != nil {
				t.Fatal(err)
			}
			var got string
			for _, m := range w.Seen("U1") {
				got += m.Text
				if m.Ephemeral != tt.ephemeral {
					t.Errorf("ephemeral %v, want %v", m.Ephemeral, tt.ephemeral)
				}
			}
			if got != tt.alice {
				t.Errorf("alice sees %q, want %q", got, tt.alice)
			}
			if bob := len(w.Seen("U2")) > 0; bob != (tt.alice != "" && !tt.ephemeral) {
				t.Errorf("bob sees it: %v", bob)
			}
		})
	}
}

// slackSay is an app that answers everything with a JSON body.
func slackSay(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, body)
	}
}

func TestCannotAct(t *testing.T) {
	w := newSlackWorld(t)
	w.app(t, slackSay(""))
	_, ts, err := w.api.PostMessage("C1", slackBlocks(t, slackButtons))
	if err != nil {
		t.Fatal(err)
	}
	m := w.Channel("C1")[0]
	stale := m
	stale.TS = "1.2"
	ctx := t.Context()
	command := func(user, channel string) error { _, err := w.Command(ctx, user, channel, "x"); return err }
	click := func(user string, m sandbox.Message, action string) error {
		_, err := w.Click(ctx, user, m, action)
		return err
	}
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"unknown user":       {command("U9", "C1"), "no user U9"},
		"unknown channel":    {command("U1", "C9"), "no channel C9"},
		"not in the channel": {command("U2", "C2"), "not in channel"},
		"from elsewhere":     {command("U3", "C1"), "not shared"},
		"no such message":    {click("U1", stale, "yes"), "sees no message"},
		"no such button":     {click("U1", m, "maybe"), "no element"},
		"user unknown":       {click("U9", m, "yes"), "sees no message"},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, tt.err, tt.want)
		}
	}
	if ts != m.TS {
		t.Errorf("ts %s, want %s", m.TS, ts)
	}
	w.SetApp("")
	if err := command("U1", "C1"); err == nil {
		t.Error("a command without an app succeeded")
	}
}

// slackBlocks passes blocks through slack-go as they are.
func slackBlocks(t *testing.T, blocks string) slack.MsgOption {
	t.Helper()
	var b slack.Blocks
	if err := json.Unmarshal([]byte(blocks), &b); err != nil {
		t.Fatal(err)
	}
	return slack.MsgOptionBlocks(b.BlockSet...)
}

func TestClick(t *testing.T) {
	for _, ephemeral := range []bool{false, true} {
		t.Run(fmt.Sprintf("ephemeral %v", ephemeral), func(t *testing.T) {
			w := newSlackWorld(t)
			got := make(chan slack.InteractionCallback, 1)
			w.app(t, func(_ http.ResponseWriter, r *http.Request) {
				ic, err := slack.InteractionCallbackParse(r)
				if err != nil {
					t.Error(err)
				}
				got <- ic
			})
			var err error
			if ephemeral {
				_, err = w.api.PostEphemeral("C1", "U1", slackBlocks(t, slackButtons))
			} else {
				_, _, err = w.api.PostMessage("C1", slackBlocks(t, slackButtons))
			}
			if err != nil {
				t.Fatal(err)
			}
			m := w.Seen("U1")[0]
			if _, err := w.Click(t.Context(), "U1", m, "yes"); err != nil {
				t.Fatal(err)
			}
			ic := <-got
			action := ic.ActionCallback.BlockActions[0]
			text := action.Text.Text
			have := []any{string(ic.Type), ic.User.ID, ic.User.TeamID, ic.Team.ID, ic.APIAppID, ic.Channel.ID, ic.Channel.Name,
				ic.Container.Type, ic.Container.MessageTs, ic.Container.IsEphemeral, ic.Message.Timestamp,
				action.ActionID, action.BlockID, action.Value, string(action.Type), text}
			messageTS := m.TS
			if ephemeral {
				messageTS = ""
			}
			want := []any{"block_actions", "U1", "T0SANDBOX", "T0SANDBOX", "A0STARBACK", "C1", "general",
				"message", m.TS, ephemeral, messageTS, "yes", "b", "v1", "button", "Approve"}
			if diff := cmp.Diff(want, have); diff != "" {
				t.Errorf("payload (-want +got):\n%s", diff)
			}
			// The click's response URL replaces what was clicked, as it was.
			if status, body := slackPost(t, ic.ResponseURL, `{"replace_original":true,"text":"done"}`); status != 200 {
				t.Fatalf("replace: %d %s", status, body)
			}
			after := w.Seen("U1")
			if len(after) != 1 || after[0].Text != "done" || after[0].Edited != 1 || after[0].Ephemeral != ephemeral {
				t.Errorf("after replacing: %+v", after)
			}
			if status, body := slackPost(t, ic.ResponseURL, `{"delete_original":true}`); status != 200 {
				t.Fatalf("delete: %d %s", status, body)
			}
			if left := w.Seen("U1"); len(left) != 0 {
				t.Errorf("after deleting: %+v", left)
			}
		})
	}
}

func TestClickByAnOutsider(t *testing.T) {
	w := newSlackWorld(t)
	got := make(chan slack.InteractionCallback, 1)
	w.app(t, func(_ http.ResponseWriter, r *http.Request) {
		ic, err := slack.InteractionCallbackParse(r)
		if err != nil {
			t.Error(err)
		}
		got <- ic
	})
	if _, _, err := w.api.PostMessage("C1", slackBlocks(t, slackButtons)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Click(t.Context(), "U3", w.Seen("U3")[0], "yes"); err != nil {
		t.Fatal(err)
	}
	if ic := <-got; ic.User.ID != "U3" || ic.User.TeamID != "TOTHER" || ic.Team.ID != "T0SANDBOX" {
		t.Errorf("user %s of %s in %s, want U3 of TOTHER in T0SANDBOX", ic.User.ID, ic.User.TeamID, ic.Team.ID)
	}
}

func TestChoose(t *testing.T) {
	w := newSlackWorld(t)
	bodies := make(chan string, 1)
	w.app(t, func(_ http.ResponseWriter, r *http.Request) { bodies <- r.FormValue("payload") })
	menu := `[{"type":"section","text":{"type":"mrkdwn","text":"x"},"accessory":{"type":"static_select","action_id":"a",
		"options":[{"text":{"type":"plain_text","text":"One"},"value":"1"}]}}]`
	if _, _, err := w.api.PostMessage("C1", slackBlocks(t, menu)); err != nil {
		t.Fatal(err)
	}
	m := w.Channel("C1")[0]
	if _, err := w.Choose(t.Context(), "U1", m, "a", "2"); err == nil {
		t.Error("chose an option that is not there")
	}
	if _, err := w.Choose(t.Context(), "U1", m, "a", "1"); err != nil {
		t.Fatal(err)
	}
	if body := <-bodies; !strings.Contains(body, `"selected_option":{"text":{"text":"One","type":"plain_text"},"value":"1"}`) {
		t.Errorf("payload %s", body)
	}
}

func TestEvents(t *testing.T) {
	tests := []struct {
		name    string
		fail    int // how many attempts the app fails
		noRetry bool
		want    []string // the retry headers of each attempt
	}{
		{"accepted", 0, false, []string{" "}},
		{"second time", 1, false, []string{" ", "1 http_error"}},
		{"never", 9, false, []string{" ", "1 http_error", "2 http_error", "3 http_error"}},
		{"asked to stop", 9, true, []string{" "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newSlackWorld(t)
			var got []string
			var ids []string
			w.app(t, func(rw http.ResponseWriter, r *http.Request) {
				var wrapper struct {
					Type    string
					EventID string `json:"event_id"`
					Event   struct {
						Type string
						User struct{ ID string }
					}
				}
				if err := json.NewDecoder(r.Body).Decode(&wrapper); err != nil {
					t.Error(err)
				}
				if wrapper.Type != "event_callback" || wrapper.Event.Type != "user_change" || wrapper.Event.User.ID != "U2" {
					t.Errorf("event %+v", wrapper)
				}
				ids = append(ids, wrapper.EventID)
				got = append(got, r.Header.Get("X-Slack-Retry-Num")+" "+r.Header.Get("X-Slack-Retry-Reason"))
				if tt.noRetry {
					rw.Header().Set("X-Slack-No-Retry", "1")
				}
				if len(got) <= tt.fail {
					rw.WriteHeader(http.StatusInternalServerError)
				}
			})
			acks, err := w.UserChanged(t.Context(), "U2")
			if err != nil || len(acks) != len(tt.want) {
				t.Fatalf("%d acks, %v; want %d", len(acks), err, len(tt.want))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("attempts (-want +got):\n%s", diff)
			}
			if n := len(slices.Compact(ids)); n != 1 {
				t.Errorf("%d event ids, want the same every time", n)
			}
		})
	}
}

func TestURLVerification(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(challenge string) string
		ok     bool
	}{
		"text": {func(c string) string { return c }, true},
		"json": {func(c string) string { return `{"challenge":"` + c + `"}` }, true},
		"none": {func(string) string { return "" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSlackWorld(t)
			w.app(t, func(rw http.ResponseWriter, r *http.Request) {
				var in struct{ Challenge string }
				if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
					t.Error(err)
				}
				fmt.Fprint(rw, tt.answer(in.Challenge))
			})
			if _, err := w.URLVerification(t.Context()); (err == nil) != tt.ok {
				t.Errorf("error %v, want success %v", err, tt.ok)
			}
		})
	}
}
