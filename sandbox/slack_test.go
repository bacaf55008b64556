package sandbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"github.com/starback/starback/sandbox"
)

// slackClock is a clock that tests move by hand.
type slackClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *slackClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *slackClock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// slackWorld is a workspace with two people, a guest from elsewhere, a channel
// with the bot in it and one without.
type slackWorld struct {
	*sandbox.Slack
	clock *slackClock
	url   string
	api   *slack.Client
}

func newSlackWorld(t *testing.T, configure ...func(*sandbox.SlackConfig)) *slackWorld {
	t.Helper()
	w := &slackWorld{clock: &slackClock{now: time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)}}
	cfg := sandbox.SlackConfig{Now: w.clock.Now}
	for _, f := range configure {
		f(&cfg)
	}
	w.Slack = sandbox.NewSlack(cfg)
	server := httptest.NewServer(w.Slack)
	t.Cleanup(server.Close)
	w.url = server.URL
	w.SetURL(server.URL)
	w.api = slack.New(w.BotToken(), slack.OptionAPIURL(server.URL+"/api/"))
	w.AddUser(sandbox.SlackUser{ID: "U1", Name: "alice", RealName: "Alice A", Email: "alice@example.com",
		EmailConfirmed: true, TZ: "Europe/Zurich"})
	w.AddUser(sandbox.SlackUser{ID: "U2", Name: "bob", Email: "bob@example.com", Restricted: true})
	w.AddUser(sandbox.SlackUser{ID: "U3", Name: "eve", TeamID: "TOTHER", Stranger: true})
	w.AddUserGroup(sandbox.SlackUserGroup{ID: "S1", Handle: "leads"})
	w.AddChannel(sandbox.SlackChannel{ID: "C1", Name: "general", Members: []string{"U1", "U2", "U3"}, BotIn: true})
	w.AddChannel(sandbox.SlackChannel{ID: "C2", Name: "quiet", Members: []string{"U1"}})
	return w
}

// app starts an app that answers every delivery with handle.
func (w *slackWorld) app(t *testing.T, handle http.HandlerFunc) {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	w.SetApp(server.URL)
}

// call calls a Web API method with a form and returns the decoded answer.
func (w *slackWorld) call(t *testing.T, method, token string, form url.Values) (int, map[string]any) {
	t.Helper()
	form = url.Values(http.Header(form).Clone())
	if form == nil {
		form = url.Values{}
	}
	if token != "" {
		form.Set("token", token)
	}
	resp, err := http.PostForm(w.url+"/api/"+method, form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, out
}

// post posts a JSON body and returns the status and the body of the answer.
func slackPost(t *testing.T, to, body string) (int, string) {
	t.Helper()
	resp, err := http.Post(to, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// slackButtons is an actions block with two buttons.
const slackButtons = `[{"type":"actions","block_id":"b","elements":[
	{"type":"button","action_id":"yes","value":"v1","text":{"type":"plain_text","text":"Approve"},"style":"primary"},
	{"type":"button","action_id":"no","text":{"type":"plain_text","text":"Deny"}}]}]`

func TestSecretsCarryTheMarker(t *testing.T) {
	w := newSlackWorld(t)
	for prefix, secret := range map[string]string{"": w.SigningSecret(), "xoxb-": w.BotToken(), "xapp-": w.AppToken()} {
		if !strings.HasPrefix(secret, prefix) || !strings.Contains(secret, sandbox.Marker) {
			t.Errorf("secret %q: want prefix %q and the marker", secret, prefix)
		}
	}
	if w.BotToken() == newSlackWorld(t).BotToken() {
		t.Error("two workspaces have the same token")
	}
}

func TestWebAPIErrors(t *testing.T) {
	w := newSlackWorld(t)
	ephemeral, err := w.api.PostEphemeral("C1", "U1", slack.MsgOptionText("hi", false))
	if err != nil {
		t.Fatal(err)
	}
	said, err := w.Say("U1", "C1", "typed by a person")
	if err != nil {
		t.Fatal(err)
	}
	_, ts, err := w.api.PostMessage("C1", slack.MsgOptionText("hi", false))
	if err != nil {
		t.Fatal(err)
	}
	bot := w.BotToken()
	long := strings.Repeat("x", 4001)
	tests := []struct {
		name, method, token string
		form                url.Values
		want                string
	}{
		{"no token", "auth.test", "", nil, "not_authed"},
		{"wrong token", "auth.test", "xoxb-other", nil, "invalid_auth"},
		{"app token", "auth.test", w.AppToken(), nil, "not_allowed_token_type"},
		{"bot token for a socket", "apps.connections.open", bot, nil, "not_allowed_token_type"},
		{"unknown method", "chat.sing", bot, nil, "unknown_method"},
		{"argument not implemented", "chat.postMessage", bot,
			url.Values{"channel": {"C1"}, "text": {"x"}, "attachments": {"[]"}}, "invalid_arguments"},
		{"unknown channel", "chat.postMessage", bot, url.Values{"channel": {"C9"}, "text": {"x"}}, "channel_not_found"},
		{"bot not in channel", "chat.postMessage", bot, url.Values{"channel": {"C2"}, "text": {"x"}}, "not_in_channel"},
		{"no text", "chat.postMessage", bot, url.Values{"channel": {"C1"}}, "no_text"},
		{"blank text", "chat.postMessage", bot, url.Values{"channel": {"C1"}, "text": {" "}, "blocks": {"[]"}}, "no_text"},
		{"text of 40,001", "chat.postMessage", bot,
			url.Values{"channel": {"C1"}, "text": {strings.Repeat("x", 40_001)}}, "msg_too_long"},
		{"blocks not JSON", "chat.postMessage", bot,
			url.Values{"channel": {"C1"}, "blocks": {"{"}}, "invalid_blocks_format"},
		{"blocks not valid", "chat.postMessage", bot,
			url.Values{"channel": {"C1"}, "blocks": {`[{"type":"marquee"}]`}}, "invalid_blocks"},
		{"a user group that there is none of", "chat.postMessage", bot, url.Values{"channel": {"C1"}, "blocks": {slackMention("S9")}}, "invalid_blocks"},
		{"too much text in blocks", "chat.postMessage", bot,
			url.Values{"channel": {"C1"}, "blocks": {slackSections(5, 2700)}}, "msg_blocks_too_long"},
		{"ephemeral, unknown channel", "chat.postEphemeral", bot,
			url.Values{"channel": {"C9"}, "user": {"U1"}, "text": {"x"}}, "channel_not_found"},
		{"ephemeral, bot not in channel", "chat.postEphemeral", bot,
			url.Values{"channel": {"C2"}, "user": {"U1"}, "text": {"x"}}, "not_in_channel"},
		{"ephemeral, unknown user", "chat.postEphemeral", bot,
			url.Values{"channel": {"C1"}, "user": {"U9"}, "text": {"x"}}, "user_not_found"},
		{"ephemeral, user elsewhere", "chat.postEphemeral", bot,
			url.Values{"channel": {"C1"}, "user": {"U0STARBACK"}, "text": {"x"}}, "user_not_in_channel"},
		{"update, unknown channel", "chat.update", bot, url.Values{"channel": {"C9"}, "ts": {ts}}, "channel_not_found"},
		{"update, unknown message", "chat.update", bot, url.Values{"channel": {"C1"}, "ts": {"1.2"}}, "message_not_found"},
		{"update of an ephemeral message", "chat.update", bot,
			url.Values{"channel": {"C1"}, "ts": {ephemeral}, "text": {"x"}}, "message_not_found"},
		{"update of a person's message", "chat.update", bot,
			url.Values{"channel": {"C1"}, "ts": {said.TS}, "text": {"x"}}, "cant_update_message"},
		{"update to nothing", "chat.update", bot, url.Values{"channel": {"C1"}, "ts": {ts}}, "no_text"},
		{"update, text of 4,001", "chat.update", bot,
			url.Values{"channel": {"C1"}, "ts": {ts}, "text": {long}}, "msg_too_long"},
		{"unknown user", "users.info", bot, url.Values{"user": {"U9"}}, "user_not_found"},
		{"unknown email", "users.lookupByEmail", bot, url.Values{"email": {"x@example.com"}}, "users_not_found"},
		{"unknown conversation", "conversations.info", bot, url.Values{"channel": {"C9"}}, "channel_not_found"},
		{"direct message to nobody", "conversations.open", bot, url.Values{"users": {"U9"}}, "user_not_found"},
		{"direct message to a bot", "conversations.open", bot, url.Values{"users": {"U0STARBACK"}}, "cannot_dm_bot"},
		{"trigger never made", "views.open", bot,
			url.Values{"trigger_id": {"1.2"}, "view": {slackModal}}, "invalid_trigger_id"},
		{"view not valid", "views.open", bot, url.Values{"trigger_id": {"1.2"}, "view": {"{}"}}, "invalid_arguments"},
		{"update of no view", "views.update", bot, url.Values{"view_id": {"V9"}, "view": {slackModal}}, "not_found"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, got := w.call(t, tt.method, tt.token, tt.form)
			if status != http.StatusOK || got["ok"] != false || got["error"] != tt.want {
				t.Errorf("%s: status %d, ok %v, error %v; want error %s", tt.method, status, got["ok"], got["error"], tt.want)
			}
			if tt.want == "invalid_blocks" && got["response_metadata"] == nil {
				t.Error("invalid_blocks without response_metadata")
			}
		})
	}
	if n := len(w.Seen("U1")); n != 3 {
		t.Errorf("alice sees %d messages after the refusals, want the 3 from before", n)
	}
}

// slackSections is n sections of some characters each.
func slackSections(n, chars int) string {
	section := fmt.Sprintf(`{"type":"section","text":{"type":"mrkdwn","text":%q}}`, strings.Repeat("x", chars))
	return "[" + strings.TrimSuffix(strings.Repeat(section+",", n), ",") + "]"
}

func TestChat(t *testing.T) {
	w := newSlackWorld(t)
	ctx := t.Context()
	channel, ts, err := w.api.PostMessageContext(ctx, "C1", slack.MsgOptionText("first", false))
	if err != nil || channel != "C1" {
		t.Fatalf("post: channel %q, %v", channel, err)
	}
	if _, _, err := w.api.PostMessageContext(ctx, "C1", slack.MsgOptionText("reply", false), slack.MsgOptionTS(ts)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.api.PostMessageContext(ctx, "C1", slack.MsgOptionText("orphan", false), slack.MsgOptionTS("1.2")); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := w.api.UpdateMessageContext(ctx, "C1", ts, slack.MsgOptionText("second", false)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.api.PostEphemeralContext(ctx, "C1", "U2", slack.MsgOptionText("secret", false)); err != nil {
		t.Fatal(err)
	}
	direct, _, err := w.api.PostMessageContext(ctx, "U1", slack.MsgOptionText("direct", false))
	if err != nil {
		t.Fatal(err)
	}
	opened, _, already, err := w.api.OpenConversation(&slack.OpenConversationParameters{Users: []string{"U1"}})
	if err != nil || opened.ID != direct || !already {
		t.Errorf("conversations.open: %v, already %v, %v; want %s", opened, already, err, direct)
	}

	type line struct {
		Text   string
		Thread bool
		Edited int
	}
	lines := func(ms []sandbox.Message) (out []line) {
		for _, m := range ms {
			out = append(out, line{m.Text, m.ThreadTS == ts, m.Edited})
		}
		return out
	}
	shared := []line{{"second", false, 1}, {"reply", true, 0}, {"orphan", false, 0}}
	for name, tt := range map[string]struct{ got, want []line }{
		"channel": {lines(w.Channel("C1")), shared},
		"alice":   {lines(w.Seen("U1")), append(shared[:3:3], line{"direct", false, 0})},
		"bob":     {lines(w.Seen("U2")), append(shared[:3:3], line{"secret", false, 0})},
	} {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestJSONBodyNeedsTheHeader(t *testing.T) {
	w := newSlackWorld(t)
	for _, tt := range []struct{ header, want string }{{"", "not_authed"}, {"Bearer " + w.BotToken(), ""}} {
		body := fmt.Sprintf(`{"token":%q,"channel":"C1","text":"x","blocks":[]}`, w.BotToken())
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/api/chat.postMessage", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
		req.Header.Set("Authorization", tt.header)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Error string }
		err = json.NewDecoder(resp.Body).Decode(&got)
		resp.Body.Close()
		if err != nil || got.Error != tt.want {
			t.Errorf("with header %q: error %q, %v; want %q", tt.header, got.Error, err, tt.want)
		}
	}
}

func TestUsersInfo(t *testing.T) {
	w := newSlackWorld(t, func(c *sandbox.SlackConfig) { c.EnterpriseID = "E1" })
	u, err := w.api.GetUserInfo("U1")
	if err != nil {
		t.Fatal(err)
	}
	got := []any{u.Name, u.Profile.Email, u.TeamID, u.Enterprise.EnterpriseID, u.TZ, u.TZOffset, u.IsRestricted}
	if diff := cmp.Diff([]any{"alice", "alice@example.com", "T0SANDBOX", "E1", "Europe/Zurich", 3600, false}, got); diff != "" {
		t.Errorf("alice (-want +got):\n%s", diff)
	}
	if err := w.SetUser("U2", func(u *sandbox.SlackUser) { u.Deleted = true }); err != nil {
		t.Fatal(err)
	}
	if u, err = w.api.GetUserInfo("U2"); err != nil || !u.Deleted || !u.IsRestricted {
		t.Errorf("bob: %+v, %v; want deleted and restricted", u, err)
	}
	if u, err = w.api.GetUserInfo("U3"); err != nil || !u.IsStranger || u.TeamID != "TOTHER" {
		t.Errorf("eve: %+v, %v; want a stranger of TOTHER", u, err)
	}
	if u, err = w.api.GetUserByEmail("ALICE@example.com"); err != nil || u.ID != "U1" {
		t.Errorf("by email: %v, %v; want U1", u, err)
	}
	if err := w.SetUser("U9", func(*sandbox.SlackUser) {}); err == nil {
		t.Error("SetUser of an unknown user succeeded")
	}
	auth, err := w.api.AuthTest()
	if err != nil || auth.TeamID != "T0SANDBOX" || auth.EnterpriseID != "E1" {
		t.Errorf("auth.test: %+v, %v", auth, err)
	}
}

func TestWaitFor(t *testing.T) {
	w := newSlackWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var posting sync.WaitGroup
	for range 5 {
		posting.Go(func() {
			if _, err := w.Say("U1", "C1", "<hello> @bob #quiet @nobody"); err != nil {
				t.Error(err)
			}
		})
	}
	seen, err := w.WaitFor(ctx, "U2", func(ms []sandbox.Message) bool { return len(ms) == 5 })
	posting.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if want := "&lt;hello&gt; <@U2> <#C2|quiet> @nobody"; seen[0].Text != want {
		t.Errorf("text %q, want %q", seen[0].Text, want)
	}
	for i := 1; i < len(seen); i++ {
		if seen[i-1].TS >= seen[i].TS {
			t.Errorf("timestamps out of order: %s, %s", seen[i-1].TS, seen[i].TS)
		}
	}
	cancel()
	if _, err := w.WaitFor(ctx, "U2", func([]sandbox.Message) bool { return false }); err == nil {
		t.Error("WaitFor succeeded though its condition never held")
	}
}

// slackMention is rich text that mentions a user group.
func slackMention(group string) string {
	return `[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"usergroup","usergroup_id":"` + group + `"}]}]}]`
}

// TestSlackUserGroups mentions user groups. In mrkdwn one that there is none of
// is shown as its id.
func TestSlackUserGroups(t *testing.T) {
	w := newSlackWorld(t)
	for name, c := range map[string]struct{ blocks, want string }{
		"rich text":       {slackMention("S1"), "@leads"},
		"mrkdwn":          {`[{"type":"section","text":{"type":"mrkdwn","text":"<!subteam^S1>","verbatim":true}}]`, "@leads"},
		"mrkdwn, unknown": {`[{"type":"section","text":{"type":"mrkdwn","text":"<!subteam^S9>","verbatim":true}}]`, "@S9"},
	} {
		if _, got := w.call(t, "chat.postMessage", w.BotToken(), url.Values{"channel": {"C1"}, "blocks": {c.blocks}}); got["ok"] != true {
			t.Errorf("%s: %v", name, got)
			continue
		}
		posted := w.Channel("C1")
		if got := sandbox.Text(posted[len(posted)-1], w.RenderOptions()); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
