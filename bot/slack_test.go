package bot_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/bot"
	"github.com/starback/starback/broker"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

// TestProfile reads what Slack's users.info says of people.
func TestProfile(t *testing.T) {
	team, enterprise := broker.SlackID{Team: "T1", User: "U1"}, broker.SlackID{Team: "E1", User: "U1"}
	for name, c := range map[string]struct {
		asked broker.SlackID
		user  string // in JSON
		want  broker.Profile
	}{
		"a member":           {team, `{"id":"U1","team_id":"T1"}`, broker.Profile{Standing: broker.Active}},
		"with an address":    {team, `{"id":"U1","team_id":"T1","is_email_confirmed":true,"profile":{"email":"Al@Example.COM"}}`, broker.Profile{Standing: broker.Active, Email: "al@example.com", EmailConfirmed: true}},
		"not confirmed":      {team, `{"id":"U1","team_id":"T1","profile":{"email":"al@example.com"}}`, broker.Profile{Standing: broker.Active, Email: "al@example.com"}},
		"an administrator":   {team, `{"id":"U1","team_id":"T1","is_admin":true,"is_owner":true}`, broker.Profile{Standing: broker.Active}},
		"of the enterprise":  {enterprise, `{"id":"U1","team_id":"T7","enterprise_user":{"id":"U1","enterprise_id":"E1"}}`, broker.Profile{Standing: broker.Active}},
		"of another":         {enterprise, `{"id":"U1","team_id":"T7","enterprise_user":{"id":"U1","enterprise_id":"E2"}}`, broker.Profile{Standing: broker.Foreign}},
		"of no enterprise":   {enterprise, `{"id":"U1","team_id":"T7"}`, broker.Profile{Standing: broker.Foreign}},
		"of another team":    {team, `{"id":"U1","team_id":"T2"}`, broker.Profile{Standing: broker.Foreign}},
		"of no team":         {team, `{"id":"U1"}`, broker.Profile{Standing: broker.Foreign}},
		"a stranger":         {team, `{"id":"U1","team_id":"T1","is_stranger":true}`, broker.Profile{Standing: broker.Foreign}},
		"a foreign guest":    {team, `{"id":"U1","team_id":"T2","is_restricted":true}`, broker.Profile{Standing: broker.Foreign}},
		"a guest":            {team, `{"id":"U1","team_id":"T1","is_restricted":true}`, broker.Profile{Standing: broker.Guest}},
		"of one channel":     {team, `{"id":"U1","team_id":"T1","is_restricted":true,"is_ultra_restricted":true}`, broker.Profile{Standing: broker.Guest}},
		"only ultra":         {team, `{"id":"U1","team_id":"T1","is_ultra_restricted":true}`, broker.Profile{Standing: broker.Guest}},
		"deleted":            {team, `{"id":"U1","team_id":"T1","deleted":true}`, broker.Profile{Standing: broker.Deleted}},
		"a deleted bot":      {team, `{"id":"U1","team_id":"T1","deleted":true,"is_bot":true}`, broker.Profile{Standing: broker.Deleted}},
		"a bot":              {team, `{"id":"U1","team_id":"T1","is_bot":true}`, broker.Profile{Standing: broker.Bot}},
		"an app's user":      {team, `{"id":"U1","team_id":"T1","is_app_user":true}`, broker.Profile{Standing: broker.Bot}},
		"a connector":        {team, `{"id":"U1","team_id":"T1","is_connector_bot":true}`, broker.Profile{Standing: broker.Bot}},
		"a workflow":         {team, `{"id":"U1","team_id":"T1","is_workflow_bot":true}`, broker.Profile{Standing: broker.Bot}},
		"Slackbot":           {broker.SlackID{Team: "T1", User: "USLACKBOT"}, `{"id":"USLACKBOT","team_id":"T1","is_bot":false}`, broker.Profile{Standing: broker.Bot}},
		"invited, not there": {team, `{"id":"U1","team_id":"T1","is_invited_user":true}`, broker.Profile{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := profile(t, c.asked, `{"ok":true,"user":`+c.user+`}`)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for name, answer := range map[string]string{
		"somebody else": `{"ok":true,"user":{"id":"U2","team_id":"T1"}}`,
		"in capitals":   `{"ok":true,"user":{"id":"u1","team_id":"T1"}}`,
		"nobody":        `{"ok":true}`,
		"refused":       `{"ok":false,"error":"account_inactive"}`,
		"no JSON":       `<html>`,
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := profile(t, team, answer); !errors.Is(err, broker.ErrUnavailable) || got != (broker.Profile{}) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// TestNobody is somebody whom Slack does not know, or does not show: that is an
// answer, and a refusal.
func TestNobody(t *testing.T) {
	for _, code := range []string{"user_not_found", "user_not_visible"} {
		got, err := profile(t, broker.SlackID{Team: "T1", User: "U1"}, `{"ok":false,"error":"`+code+`"}`)
		if err != nil || got.Standing == broker.Active || got != (broker.Profile{}) {
			t.Errorf("%s: %+v, %v", code, got, err)
		}
	}
}

// profile asks a Slack that answers everything with answer.
func profile(t *testing.T, id broker.SlackID, answer string) (broker.Profile, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/users.info" || r.PostFormValue("user") != id.User {
			t.Errorf("%s for %s", r.URL.Path, r.PostFormValue("user"))
		}
		fmt.Fprint(w, answer)
	}))
	defer server.Close()
	return bot.NewClient(broker.NewSecret("xoxb-1"), server.URL+"/", "", server.Client()).Profile(t.Context(), id)
}

// TestClientErrors holds that no error of the Client's shows the token or a
// URL.
func TestClientErrors(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	if err := w.client.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, fault := range map[string]sandbox.SlackFault{
		"refused": {Error: "invalid_auth"}, "down": {Status: 503}, "dropped": {Drop: true}, "garbage": {Garbage: true}, "limited": {RetryAfter: time.Second},
	} {
		w.fails(fault, "auth.test")
		err := w.client.Ready(t.Context())
		if !errors.Is(err, broker.ErrUnavailable) || strings.Contains(err.Error(), sandbox.Marker) || strings.Contains(err.Error(), "http://") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// audit returns the audit channel's messages, rendered: the replies after a
// line of their own.
func audit(w *world) (messages, replies []string) {
	for _, m := range w.Channel("C9") {
		text := sandbox.Text(m, w.RenderOptions())
		if m.ThreadTS != "" {
			replies = append(replies, text)
		} else {
			messages = append(messages, text)
		}
	}
	return messages, replies
}

// TestTellRequest follows a Request in the audit channel.
func TestTellRequest(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	if err := w.due(); err != nil {
		t.Fatal(err)
	}
	before, _ := audit(w) // of the policy and the users
	w.types("U1", "prod-readonly 1h looking <!channel> *around*")
	if err := w.due(); err != nil {
		t.Fatal(err)
	}
	messages, replies := audit(w)
	if len(messages) != len(before)+1 || len(replies) != 1 {
		t.Fatalf("%d messages more and %d replies", len(messages)-len(before), len(replies))
	}
	has(t, messages[len(before)], "🟢 *alice* asked for `prod-readonly` in `111122223333` for 1h", "Issued, until today at 1:00 PM",
		"*Reason* looking <!channel> *around*", "Key `ASIA0000000000000001`")
	has(t, replies[0], "asked", "issued by the rule `grant.held`", "key `ASIA0000000000000001`")

	w.presses("U1", "shell:fish")
	if err := w.due(); err != nil {
		t.Fatal(err)
	}
	messages, replies = audit(w)
	if len(messages) != len(before)+1 || len(replies) != 2 {
		t.Fatalf("then %d messages more and %d replies", len(messages)-len(before), len(replies))
	}
	has(t, messages[len(before)], "Issued 2 times", "Key `ASIA0000000000000002`")
	has(t, replies[1], "key `ASIA0000000000000002`")
	if strings.Contains(replies[1], "ASIA0000000000000001") {
		t.Error("the timeline repeats itself")
	}
	calls := w.Calls()
	if err := w.due(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(calls, w.Calls()); diff != "" {
		t.Errorf("told again (-before +after):\n%s", diff)
	}
}

func TestTellAdministration(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	w.apply(strings.Replace(policyFile, "bob: {", "bob: {disabled: true, ", 1))
	if err := w.due(); err != nil {
		t.Fatal(err)
	}
	messages, replies := audit(w)
	if len(replies) != 0 {
		t.Errorf("%d replies", len(replies))
	}
	has(t, strings.Join(messages, "\n"), "A new policy was applied (version 1)", "A user was added: `alice`", "A user was added: `bob`",
		"A user was switched off: `bob`", "*By* root@build-1", "enabled: true → false")
}

// TestTellPatience has Slack ask for patience, with the message itself and
// with the reply only.
func TestTellPatience(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	request := broker.Request{ID: "R1", Slack: broker.SlackID{Team: "T0SANDBOX", User: "U1"}, User: "alice", Role: "prod-readonly", State: broker.StateAsked}
	telling := broker.Telling{
		Kind: broker.NoticeAudit, Request: &request,
		Notices: []broker.Notice{{ID: "1", Kind: broker.NoticeAudit, Event: &broker.Event{ID: "1", Event: broker.EventAsked, Time: w.clock.Now()}}},
	}
	var patience *broker.Patience

	w.fails(sandbox.SlackFault{RetryAfter: 7 * time.Second}, "chat.postMessage")
	thread, err := w.client.Tell(t.Context(), telling)
	if !errors.As(err, &patience) || patience.After != 7*time.Second || thread != "" {
		t.Errorf("message: %q, %v", thread, err)
	}

	posts := 0
	w.SetFault(func(method string) *sandbox.SlackFault {
		if posts++; posts == 2 {
			return &sandbox.SlackFault{RetryAfter: 3 * time.Second}
		}
		return nil
	})
	thread, err = w.client.Tell(t.Context(), telling)
	if !errors.As(err, &patience) || patience.After != 3*time.Second || thread == "" {
		t.Errorf("reply: %q, %v", thread, err)
	}

	telling.Thread = thread
	w.fails(sandbox.SlackFault{RetryAfter: 5 * time.Second}, "chat.update")
	again, err := w.client.Tell(t.Context(), telling)
	if !errors.As(err, &patience) || patience.After != 5*time.Second || again != thread {
		t.Errorf("update: %q, %v", again, err)
	}
	w.SetFault(nil)
	if again, err = w.client.Tell(t.Context(), telling); err != nil || again != thread {
		t.Errorf("at last: %q, %v", again, err)
	}
	if messages, replies := audit(w); len(messages) != 1 || len(replies) != 1 {
		t.Errorf("%d messages and %d replies", len(messages), len(replies))
	}
}

// TestTellLater keeps what cannot be told until it can.
func TestTellLater(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	w.fails(sandbox.SlackFault{Error: "channel_not_found"}, "chat.postMessage")
	w.types("U1", "prod-readonly")
	if err := w.due(); err == nil || !strings.Contains(err.Error(), "channel_not_found") {
		t.Errorf("due: %v", err)
	}
	w.SetFault(nil)
	w.clock.add(10 * time.Second)
	if err := w.due(); err != nil {
		t.Fatal(err)
	}
	messages, replies := audit(w)
	if len(replies) != 1 || !strings.Contains(strings.Join(messages, "\n"), "*alice* asked for `prod-readonly`") {
		t.Errorf("the notice is lost: %q %q", messages, replies)
	}
}

// TestTellNobody holds that without an audit channel nothing is posted, and
// that an unknown kind is no success.
func TestTellNobody(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	quiet := bot.NewClient(broker.NewSecret(w.BotToken()), w.url+"/api/", "", http.DefaultClient)
	request := broker.Request{ID: "R1", Role: "prod-readonly"}
	if _, err := quiet.Tell(t.Context(), broker.Telling{Kind: broker.NoticeAudit, Request: &request}); err != nil {
		t.Error(err)
	}
	for _, telling := range []broker.Telling{{Kind: "newer", Request: &request}, {Kind: broker.NoticeUndelivered}} {
		if _, err := w.client.Tell(t.Context(), telling); !errors.Is(err, broker.ErrInvalid) {
			t.Errorf("%+v: %v", telling, err)
		}
	}
	if calls := w.Calls(); len(calls) != 0 {
		t.Errorf("calls: %v", calls)
	}
}
