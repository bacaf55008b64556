package bot_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starback/starback/bot"
	"github.com/starback/starback/broker"
	"github.com/starback/starback/sandbox"
)

// TestStaleForm leaves a form alone that has changed since its role was chosen.
func TestStaleForm(t *testing.T) {
	w := newFormWorld(t)
	w.sends("U1", "")
	old := w.modal("U1")
	w.chooses("U1", "prod-admin")
	payload := fmt.Sprintf(`{"type":"block_actions","team":{"id":"T0SANDBOX"},"user":{"id":"U1","team_id":"T0SANDBOX"},"trigger_id":"9.9.x",
		"view":{"id":%q,"hash":%q,"callback_id":"request_form","state":{"values":{"role":{"role":{"selected_option":{"value":"prod-readonly"}}}}}},
		"actions":[{"action_id":"role","block_id":"role","selected_option":{"value":"prod-readonly"}}]}`, old.ID, old.Hash)
	if status := w.posts("/slack/interactions", "application/x-www-form-urlencoded", url.Values{"payload": {payload}}.Encode()); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	if now := w.modal("U1"); now.Updated != 1 || !strings.Contains(w.shownTo("U1"), "prod-admin") || strings.Contains(w.log.String(), "up to date") {
		t.Errorf("the form was updated %d times:\n%s\n%s", now.Updated, w.shownTo("U1"), w.log.String())
	}
}

// TestRoleGone submits forms whose role is not what it was when they opened.
func TestRoleGone(t *testing.T) {
	w := newFormWorld(t)
	w.sends("U1", "")
	w.chooses("U1", "prod-readonly")

	// The role now wants a ticket, for which the form has no room.
	w.apply(strings.Replace(policyFile, "    console: true\n", "    ticket: 'INC-[0-9]+'\n", 1))
	has(t, w.submits("U1", map[string]string{"reason": "to see"}), "Ticket: ________", "Reason (optional): to see")

	// It may be had for less.
	w.apply(strings.NewReplacer("    console: true\n", "    ticket: 'INC-[0-9]+'\n", "max_duration: 8h", "max_duration: 1h").Replace(policyFile))
	has(t, w.submits("U1", map[string]string{"duration:prod-readonly": "4h", "ticket": "INC-1"}), "! duration:prod-readonly: This role can be had for 1h at most.")

	// It is not granted any more.
	w.apply(strings.Replace(policyFile, "[prod-readonly, prod-admin]", "[prod-admin]", 1))
	has(t, w.submits("U1", map[string]string{"duration:prod-readonly": "1h"}), "! role: There is no such role that you may ask for any more.")
	has(t, w.chooses("U1", "prod-admin"), "Role: [ prod-admin v ]")
	if w.mint.made != 0 {
		t.Error("something was issued")
	}
}

// TestDecidedAnew refuses a form that was fit when it was submitted.
func TestDecidedAnew(t *testing.T) {
	w := newFormWorld(t)
	w.sends("U1", "")
	w.chooses("U1", "prod-readonly")
	w.submits("U1", nil)
	w.apply(strings.Replace(policyFile, "[prod-readonly, prod-admin]", "[prod-admin]", 1))
	w.work()
	has(t, bare(w.shownTo("U1")), "There is no role prod-readonly that you may ask for.", "[ Close ]")
}

// tellClosedForm brings what came of a form to somebody who has closed it, but
// never credentials.
func tellClosedForm(t *testing.T, begin beginning) {
	w := begin(t)
	w.AddChannel(sandbox.SlackChannel{ID: approvals, Name: "approvals", Members: []string{"U1"}, BotIn: true})
	submit := func() {
		t.Helper()
		w.sends("U1", "")
		w.chooses("U1", "prod-readonly")
		w.submits("U1", map[string]string{"duration:prod-readonly": "15m"})
		if _, err := w.CloseView(t.Context(), "U1", w.modal("U1").ID); err != nil {
			t.Fatal(err)
		}
		w.work()
		if err := w.due(); err != nil {
			t.Fatal(err)
		}
	}
	submit()
	w.nowhere()
	has(t, bare(w.sees("U1")), "I had credentials for prod-readonly for you, but Slack did not confirm that it showed them.",
		"press Reveal. You get new ones, for 15m from when you press it, and those from before are ended where AWS can end them. The button works until today at 1:00 PM.", "[ Reveal ]")
	seen := w.Seen("U1")
	dm := seen[len(seen)-1]
	if dm.Ephemeral {
		t.Error("the message is gone on reload")
	}
	if !slices.Contains(w.events(), broker.EventUndelivered) {
		t.Errorf("the trail says %q", w.events())
	}
	// The window of what was not shown is over when the button is pressed.
	w.clock.add(40 * time.Minute)
	if err := w.due(); err != nil {
		t.Fatal(err)
	}
	has(t, bare(w.types("U1", "sessions")), "prod-readonly in prod (111122223333): its time is over", "[ Reveal ]")
	has(t, w.does(t, "U1", dm, "reveal", ""), "AWS_ACCESS_KEY_ID='ASIA0000000000000002'", sandbox.Marker, "Ends today at 12:55 PM",
		"These are new keys, and your time begins now. Those from before are ended where AWS can end them.")
	has(t, w.shows(w.direct(t, "U1")), "Your request for prod-readonly in prod (111122223333) was issued. It ends today at 12:55 PM, too soon for new keys.")
	has(t, w.late(t, "U1", "reveal", w.open(t, "alice")[0].ID), "You have revealed this already, and nothing is issued twice for it.", "ask again: /starback prod-readonly")
	seen = w.private("U1")
	if w.mint.made != 2 {
		t.Errorf("%d credentials were made", w.mint.made)
	}
	if stays := w.Channel(seen[len(seen)-1].Channel); slices.ContainsFunc(stays, func(m sandbox.Message) bool {
		return !m.Ephemeral && strings.Contains(string(m.Blocks)+m.Text, sandbox.Marker)
	}) {
		t.Error("a message that stays holds credentials")
	}

	// What was never shown cannot be revealed for ever, and nobody is told that
	// they have revealed it.
	submit()
	dm = w.direct(t, "U1")
	w.clock.add(time.Hour)
	if err := w.due(); err != nil {
		t.Fatal(err)
	}
	has(t, w.does(t, "U1", dm, "reveal", ""), "It is too late to reveal this. If you do not see the credentials, ask again: /starback prod-readonly")
	has(t, w.shows(w.direct(t, "U1")), "Your request for prod-readonly in prod (111122223333) is over since today at 12:55 PM.", "[ Ask again ]")

	// What holds no secret is told as it is.
	w.mint.fault = &broker.Fault{Code: broker.FaultThrottled, Err: errors.New("slow down")}
	submit()
	has(t, w.sees("U1"), "AWS is being asked too much at the moment")
}

// TestFormSlackFails tries again to show what came of a form.
func TestFormSlackFails(t *testing.T) {
	w := newFormWorld(t)
	w.sends("U1", "")
	w.chooses("U1", "prod-readonly")
	w.submits("U1", nil)
	failed := 0
	w.SetFault(func(method string) *sandbox.SlackFault {
		if method == "views.update" && failed < 2 {
			failed++
			return &sandbox.SlackFault{Status: 500}
		}
		return nil
	})
	w.work()
	has(t, w.shownTo("U1"), "AWS_ACCESS_KEY_ID='ASIA0000000000000001'")
	if failed != 2 || w.mint.made != 1 {
		t.Errorf("%d failures, %d sets of keys", failed, w.mint.made)
	}
}

// TestFormTwice carries a form out once, however often its Job comes, and never
// shows anything over the credentials.
func TestFormTwice(t *testing.T) {
	w := newFormWorld(t)
	w.sends("U1", "")
	w.chooses("U1", "prod-readonly")
	w.submits("U1", nil)
	job, ok, err := w.store.Claim(t.Context(), w.clock.Now(), time.Minute)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	for range 2 {
		if err := w.worker.Do(t.Context(), job); err != nil {
			t.Fatal(err)
		}
	}
	has(t, w.shownTo("U1"), "AWS_ACCESS_KEY_ID='ASIA0000000000000001'")
	has(t, w.sees("U1"), "Your request was carried out already", "[ Renew ]")
	w.nowhere()
	if w.mint.made != 1 {
		t.Errorf("%d sets of keys were made", w.mint.made)
	}

	// The same of a button in the modal.
	if _, err := w.ClickView(t.Context(), "U1", w.modal("U1").ID, "shell:fish"); err != nil {
		t.Fatal(err)
	}
	again, ok, err := w.store.Claim(t.Context(), w.clock.Now().Add(2*time.Minute), time.Minute)
	for again.ID == job.ID && err == nil && ok {
		again, ok, err = w.store.Claim(t.Context(), w.clock.Now().Add(2*time.Minute), time.Minute)
	}
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	for range 2 {
		if err := w.worker.Do(t.Context(), again); err != nil {
			t.Fatal(err)
		}
	}
	has(t, w.shownTo("U1"), "set -gx AWS_ACCESS_KEY_ID 'ASIA0000000000000002'")

	// A Job given up hides nothing that was issued for it, nor what its button
	// stands below.
	w.worker.GiveUp(t.Context(), job, errors.New("for the test"))
	has(t, w.sees("U1"), "Your request was carried out already", "[ Renew ]")
	w.worker.GiveUp(t.Context(), again, errors.New("for the test"))
	has(t, w.sees("U1"), "Your command failed time and again")
	has(t, w.shownTo("U1"), "set -gx AWS_ACCESS_KEY_ID 'ASIA0000000000000002'")
}

// TestFormGivenUp says in the form that nothing comes of it, or in a message if
// it was closed.
func TestFormGivenUp(t *testing.T) {
	for name, closed := range map[string]bool{"open": false, "closed": true} {
		t.Run(name, func(t *testing.T) {
			w := newFormWorld(t)
			w.sends("U1", "")
			w.chooses("U1", "prod-readonly")
			w.submits("U1", nil)
			job, ok, err := w.store.Claim(t.Context(), w.clock.Now(), time.Minute)
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			if closed {
				if _, err := w.CloseView(t.Context(), "U1", w.modal("U1").ID); err != nil {
					t.Fatal(err)
				}
			}
			w.worker.GiveUp(t.Context(), job, errors.New("for the test"))
			said := w.sees("U1")
			if !closed {
				said = w.shownTo("U1")
			}
			has(t, said, "Your command failed time and again")
		})
	}
}

// TestViewHash shows nothing over what a view shows since: what was pressed
// twice has one answer there, and the other, if it holds keys, counts as not
// shown.
func TestViewHash(t *testing.T) {
	w := newFormWorld(t)
	w.sends("U1", "")
	w.chooses("U1", "prod-readonly")
	w.submits("U1", nil)
	w.work()
	id := w.modal("U1").ID
	for range 2 {
		if _, err := w.ClickView(t.Context(), "U1", id, "shell:fish"); err != nil {
			t.Fatal(err)
		}
	}
	w.work()
	if err := w.due(); err != nil {
		t.Fatal(err)
	}
	has(t, w.shownTo("U1"), "set -gx AWS_ACCESS_KEY_ID 'ASIA0000000000000002'")
	has(t, w.sees("U1"), "Slack did not confirm that it showed them.", "press *Renew* for new ones.", "[ Renew ]")
	w.nowhere()
	if n := len(slices.DeleteFunc(w.events(), func(e broker.EventName) bool { return e != broker.EventUndelivered })); n != 1 || w.mint.made != 3 {
		t.Errorf("%d of %d sets of keys were not shown", n, w.mint.made)
	}
}

// TestOpenedTwice draws a form once, and not over what was filled in since.
func TestOpenedTwice(t *testing.T) {
	w := newFormWorld(t)
	if ack, err := w.Shortcut(t.Context(), "U2", "request_access"); err != nil || ack.Problem != "" {
		t.Fatal(ack.Problem, err)
	}
	job, ok, err := w.store.Claim(t.Context(), w.clock.Now(), time.Minute)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	for range 2 {
		if err := w.worker.Do(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(w.shownTo("U2"), "prod-admin") {
			w.chooses("U2", "prod-admin")
		}
	}
	w.worker.GiveUp(t.Context(), job, errors.New("for the test"))
	has(t, w.shownTo("U2"), "Role: [ prod-admin v ]")
}

// TestFormOvertaken has a worker carry a form out before Slack has shown what
// the Front answered: that does not hide the credentials.
func TestFormOvertaken(t *testing.T) {
	for name, fault := range map[string]error{"issued": nil, "failed": &broker.Fault{Code: broker.FaultThrottled, Err: errors.New("slow down")}} {
		t.Run(name, func(t *testing.T) {
			w := newFormWorld(t)
			w.sends("U1", "")
			w.chooses("U1", "prod-readonly")
			w.mint.fault = fault
			worked := make(chan struct{})
			app := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				w.front.ServeHTTP(rw, r)
				go func() {
					defer close(worked)
					w.work()
				}()
				for asked := w.Calls()["views.update"]; w.Calls()["views.update"] == asked; {
					time.Sleep(time.Millisecond) // until the worker would show something
				}
			}))
			t.Cleanup(app.Close)
			w.SetApp(app.URL)
			w.submits("U1", nil)
			<-worked
			want := "AWS_ACCESS_KEY_ID='ASIA0000000000000001'"
			if fault != nil {
				want = "AWS is being asked too much"
			}
			has(t, w.shownTo("U1"), want)
		})
	}
}

// TestOpeningNotQueued does not leave somebody waiting for a form that nobody
// will draw.
func TestOpeningNotQueued(t *testing.T) {
	w := newFormWorld(t)
	w.front.Queue = full{}
	w.sends("U2", "") // whom Starback has not met
	has(t, w.shownTo("U2"), "Starback could not take your command for certain.")
	if n := len(w.Seen("U2")); n != 0 {
		t.Errorf("%d answers beside the modal", n)
	}
}

// TestQueueFull keeps the form open where it could not be queued.
func TestQueueFull(t *testing.T) {
	w := newFormWorld(t)
	w.sends("U1", "")
	w.chooses("U1", "prod-readonly")
	w.front.Queue = full{}
	has(t, w.submits("U1", nil), "! role: Starback could not take your request for certain.", "[ Request ]")
	w.front.Queue = w.store
	has(t, w.submits("U1", nil), "Working on it…")
	w.front.Queue, w.front.Views = full{}, nil
	if later := w.work(); later != nil {
		t.Errorf("again in %s", later.After)
	}
	has(t, w.shownTo("U1"), "AWS_ACCESS_KEY_ID='ASIA0000000000000001'")
}

// full is a queue that takes nothing.
type full struct{}

func (full) Enqueue(_ context.Context, _ broker.Job) error { return broker.ErrUnavailable }

// TestFormsOfOthers answers nothing that comes from another workspace.
func TestFormsOfOthers(t *testing.T) {
	w := newFormWorld(t)
	for i, kind := range []string{"shortcut", "message_action", "block_suggestion", "view_submission", "block_actions", "shortcut", "message_action", "block_suggestion", "view_submission", "block_actions"} {
		team := "TOTHER"
		if i >= 5 { // somebody of another workspace, in ours
			team = "T0SANDBOX"
		}
		payload, err := json.Marshal(map[string]any{
			"type": kind, "team": map[string]string{"id": team}, "user": map[string]string{"id": "U1", "team_id": "TOTHER"}, "trigger_id": "1.2.x",
			"callback_id": "request_access", "action_id": "role", "view": map[string]string{"id": "V1", "callback_id": "request_form"},
			"actions": []map[string]string{{"action_id": "role"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		reply := w.front.Handle(t.Context(), w.incoming("/slack/interactions", "application/x-www-form-urlencoded", url.Values{"payload": {string(payload)}}.Encode()))
		if reply.Status != http.StatusOK || len(reply.Body) != 0 {
			t.Errorf("%s: %d %s", kind, reply.Status, reply.Body)
		}
	}
	if calls := w.Calls(); calls["views.open"]+calls["views.update"] != 0 {
		t.Errorf("Slack was called: %v", calls)
	}
	if later := w.work(); later != nil || w.mint.made != 0 {
		t.Error("something was carried out")
	}
}

// incoming is a request as Slack signs it.
func (w *world) incoming(path, contentType, body string) bot.Incoming {
	header := sandbox.Sign(w.SigningSecret(), w.clock.Now(), []byte(body))
	header.Set("Content-Type", contentType)
	return bot.Incoming{Path: path, Header: header, Body: []byte(body)}
}
