package bot_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starback/starback/bot"
	"github.com/starback/starback/broker"
	"github.com/starback/starback/sandbox"
	"github.com/starback/starback/store"
)

func TestCommands(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	for _, c := range []struct {
		name, user, text string
		want             []string
	}{
		{"a role", "U1", "prod-readonly", []string{"Open the AWS console", "*prod-readonly* in *prod (111122223333)*", "Ends today at 1:00 PM", "export AWS_ACCESS_KEY_ID='ASIA"}},
		{"with everything", "U1", "prod-admin 30m INC-1 why not", []string{"*prod-admin*", "Ends today at 12:30 PM"}},
		{"roles", "U1", "roles", []string{"You may ask for 2 roles.", "`prod-admin` prod (111122223333), up to 1h, with a ticket, with a reason", "`prod-readonly` prod (111122223333), up to 8h"}},
		{"a role without a name", "U1", "role", []string{"You may ask for 2 roles."}},
		{"whoami", "U1", "whoami", []string{"You are *alice* to Starback", "Groups: `dev`, `platform`", "You administer Starback.", "Slack `T0SANDBOX/U1`"}},
		{"whoami of another", "U2", "whoami", []string{"You are *bob* to Starback", "Groups: `dev`"}},
		{"a near miss", "U1", "prod-readonyl", []string{"There is no role `prod-readonyl` that you may ask for. Did you mean `prod-readonly`?"}},
		{"somebody else's role", "U1", "staging-admin", []string{"There is no role `staging-admin` that you may ask for. You may ask for `prod-admin`, `prod-readonly`."}},
		{"too long", "U1", "prod-admin 2h INC-1 why", []string{"`prod-admin` can be had for 1h at most."}},
		{"too short", "U1", "prod-readonly 5m", []string{"Ask for `15m` or more."}},
		{"no ticket", "U1", "prod-admin 1h why not", []string{"`prod-admin` needs a ticket that looks like `[A-Z]+-[0-9]+`"}},
		{"no reason", "U1", "prod-admin 1h INC-1", []string{"`prod-admin` needs a reason"}},
		{"too many words", "U1", "prod-readonly " + strings.Repeat("x", 1001), []string{"a reason may have 1,000"}},
		{"too long a name", "U1", strings.Repeat("x", 65), []string{"the name of a role has at most 63"}},
		{"a stranger", "U3", "prod-readonly", []string{"Starback does not know you yet.", "Your Slack id is `T0SANDBOX/U3`"}},
		{"a stranger's roles", "U3", "roles", []string{"Starback does not know you yet."}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(w.Seen(c.user))
			has(t, w.types(c.user, c.text), c.want...)
			if got := len(w.Seen(c.user)) - before; got != 1 {
				t.Errorf("%d messages", got)
			}
		})
	}
	for _, user := range []string{"U2", "U3"} {
		for _, m := range w.Seen(user) {
			if strings.Contains(string(m.Blocks), sandbox.Marker) {
				t.Errorf("%s sees credentials", user)
			}
		}
	}
	if w.mint.made != 2 {
		t.Errorf("%d credentials were made", w.mint.made)
	}
}

func TestFailureIsToldInOurWords(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	w.mint.fault = &broker.Fault{Code: broker.FaultAccess, Err: errors.New("User: arn:aws:iam::1:user/x is not authorized")}
	text := w.types("U1", "prod-readonly")
	has(t, text, "AWS refused to let Starback assume that role, so nothing was issued.", "Request `")
	if strings.Contains(text, "arn:aws") {
		t.Errorf("the cause is shown:\n%s", text)
	}
	if log := w.log.String(); !strings.Contains(log, "not authorized") {
		t.Error("the cause is not logged")
	}
}

// TestBusy has a second worker come by while the first one waits for AWS.
func TestBusy(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	w.sends("U1", "prod-readonly")
	job, ok, err := w.store.Claim(t.Context(), w.clock.Now(), time.Minute)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	w.mint.held = func() {
		w.mint.held = nil
		var later *bot.Later
		if err := w.worker.Do(t.Context(), job); !errors.As(err, &later) || later.After <= 0 {
			t.Errorf("the second worker: %v", err)
		}
		if seen := len(w.Seen("U1")); seen != 0 {
			t.Errorf("the second worker said something: %s", w.sees("U1"))
		}
	}
	if err := w.worker.Do(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	has(t, w.sees("U1"), "export AWS_ACCESS_KEY_ID=")
	if err := w.worker.Do(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	has(t, w.sees("U1"), "This command was carried out already, and nothing is issued twice for it.")
	if w.mint.made != 1 {
		t.Errorf("%d credentials were made", w.mint.made)
	}
}

// TestLate carries a command out when nobody waits for its answer any more.
func TestLate(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	w.sends("U1", "prod-readonly")
	w.clock.add(5 * time.Minute)
	w.work()
	has(t, w.sees("U1"), "Your command waited too long to be carried out, so nothing was issued.")
	if w.mint.made != 0 {
		t.Error("credentials were made")
	}
}

func TestDeadResponseURL(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	w.fails(sandbox.SlackFault{Status: 404}, "response_url")
	has(t, w.types("U1", "prod-readonly"), "export AWS_ACCESS_KEY_ID=")
	if seen := w.Seen("U1"); len(seen) != 1 || !seen[0].Ephemeral || seen[0].For != "U1" || seen[0].Channel != "C1" {
		t.Errorf("seen: %+v", seen)
	}
	has(t, w.types("U1", "roles"), "You may ask for 2 roles.")
	if calls := w.Calls(); calls["chat.postEphemeral"] != 2 || calls["chat.postMessage"] != 0 {
		t.Errorf("calls: %v", calls)
	}
}

// TestUndelivered has no way to the requester work. They are told once Slack
// takes messages again, without the keys.
func TestUndelivered(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	w.fails(sandbox.SlackFault{Status: 404}, "response_url", "chat.postEphemeral")
	if text := w.types("U1", "prod-readonly"); text != "" {
		t.Fatalf("something arrived: %s", text)
	}
	w.SetFault(nil)
	if err := w.due(); err != nil {
		t.Fatal(err)
	}
	text := w.sees("U1")
	has(t, text, "I had credentials for `prod-readonly` for you, but Slack did not confirm", "[* Reveal *]")
	if strings.Contains(text, "ASIA") || strings.Contains(text, sandbox.Marker) {
		t.Errorf("the keys are shown: %s", text)
	}
	if seen := w.Seen("U1"); !strings.HasPrefix(seen[0].Channel, "D") {
		t.Errorf("told in %s", seen[0].Channel)
	}
	want := []broker.EventName{broker.EventAsked, broker.EventIssued, broker.EventUndelivered} // in alphabetical order
	if diff := cmp.Diff(want, w.events()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// TestAnswerGoesAside has the response URL dead where the bot is in no channel:
// an answer that holds no secret comes as a direct message, and only where that
// fails too is it lost.
func TestAnswerGoesAside(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	w.AddChannel(sandbox.SlackChannel{ID: "C2", Name: "elsewhere", Members: []string{"U1"}})
	for _, c := range []struct {
		name  string
		fault map[string]sandbox.SlackFault
		text  string
		want  string // empty: nothing arrives
	}{
		{"not in the channel", nil, "roles", "You may ask for 2 roles."},
		{"a channel it cannot see", map[string]sandbox.SlackFault{"chat.postEphemeral": {Error: "channel_not_found"}}, "prod-admin 2h INC-1 why", "can be had for 1h at most"},
		{"Slack fails", map[string]sandbox.SlackFault{"chat.postEphemeral": {Status: 500}}, "whoami", "You are *alice* to Starback"},
		{"nothing works", map[string]sandbox.SlackFault{"chat.postMessage": {Status: 500}}, "roles", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.SetFault(func(method string) *sandbox.SlackFault {
				if f, ok := c.fault[method]; ok {
					return &f
				}
				if method == "response_url" {
					return &sandbox.SlackFault{Status: 404}
				}
				return nil
			})
			before := len(w.Seen("U1"))
			if ack, err := w.Command(t.Context(), "U1", "C2", c.text); err != nil || ack.Problem != "" {
				t.Fatal(ack.Problem, err)
			}
			w.work()
			seen := w.Seen("U1")[before:]
			if c.want == "" {
				if len(seen) != 0 {
					t.Errorf("something arrived: %+v", seen)
				}
				has(t, w.log.String(), "could not answer")
				return
			}
			has(t, w.sees("U1"), c.want)
			if len(seen) != 1 || !strings.HasPrefix(seen[0].Channel, "D") {
				t.Errorf("seen: %+v", seen)
			}
		})
	}
}

// TestNeverShown reveals what a command has issued and could not show, in the
// window and after it.
func TestNeverShown(t *testing.T) {
	for name, after := range map[string]time.Duration{"at once": 0, "late": 50 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			w, r := newSessionWorld(t)
			w.fails(sandbox.SlackFault{Status: 404}, "response_url", "chat.postEphemeral")
			w.types("U1", "prod-readonly 15m")
			w.SetFault(nil)
			w.passOn(t)
			dm := w.direct(t, "U1")
			has(t, w.shows(dm), "press Reveal.", "[ Reveal ]")
			unseen := w.open(t, "alice")[0].Sessions[0].ID
			w.clock.add(after)
			w.passOn(t)
			has(t, w.does(t, "U1", dm, "reveal", ""), "export AWS_ACCESS_KEY_ID='ASIA0000000000000002'", "your time begins now")
			if got := w.open(t, "alice")[0]; !got.WindowEnd.Equal(w.clock.Now().Add(15 * time.Minute)) {
				t.Errorf("the window ends %s", got.WindowEnd)
			}
			if ended := slices.Contains(r.denied, unseen); ended != (after == 0) { // or has expired by itself
				t.Errorf("denied %v", r.denied)
			}
		})
	}
	// Renew, typed, does the same where there is no time for less.
	w, _ := newSessionWorld(t)
	w.fails(sandbox.SlackFault{Status: 404}, "response_url", "chat.postEphemeral")
	w.types("U1", "prod-readonly 15m")
	w.SetFault(nil)
	w.clock.add(time.Minute)
	has(t, w.types("U1", "renew"), "export AWS_ACCESS_KEY_ID='ASIA0000000000000002'", "your time begins now", "Ends today at 12:16 PM")
}

func TestChooseShell(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	has(t, w.types("U1", "prod-readonly 1h"), "export AWS_ACCESS_KEY_ID='ASIA0000000000000001'")
	has(t, w.presses("U1", "shell:fish"), "set -gx AWS_ACCESS_KEY_ID 'ASIA0000000000000002'", "These are new keys.")
	if seen := w.Seen("U1"); len(seen) != 1 || seen[0].Edited != 1 {
		t.Errorf("the message was not replaced: %d messages", len(seen))
	}
	has(t, w.types("U1", "prod-readonly 1h"), "set -gx AWS_ACCESS_KEY_ID 'ASIA0000000000000003'")
	has(t, w.presses("U1", "shell:file"), "[prod-readonly]", "aws_access_key_id = ASIA0000000000000004")
	has(t, w.presses("U1", "shell:powershell"), "$Env:AWS_ACCESS_KEY_ID = 'ASIA0000000000000005'")
	has(t, w.presses("U1", "shell:bash"), "export AWS_ACCESS_KEY_ID='ASIA0000000000000006'")
	has(t, w.types("U2", "prod-readonly"), "export AWS_ACCESS_KEY_ID='ASIA0000000000000007'")

	w.clock.add(45*time.Minute + time.Second)
	before := w.mint.made
	if w.presses("U1", "shell:fish"); w.mint.made != before {
		t.Error("keys were issued with less than 15 minutes left")
	}
	has(t, w.sees("U1"), "What you asked for is over, or will be in less than 15 minutes")
}

// TestChooseShellOfAnother has somebody press a button that is not theirs.
func TestChooseShellOfAnother(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	w.types("U1", "prod-readonly")
	_, after, _ := strings.Cut(w.sees("U1"), "Request `")
	id, _, _ := strings.Cut(after, "`")
	for user, want := range map[string]string{"U2": "That request is not known any more.", "U3": "That request is not known any more."} {
		payload := fmt.Sprintf(`{"type":"block_actions","team":{"id":"T0SANDBOX"},"user":{"id":%q,"team_id":"T0SANDBOX"},"channel":{"id":"C1"},
			"trigger_id":"9.9","response_url":%q,"actions":[{"action_id":"shell:fish","value":%q}]}`, user, w.url+"/actions/none", id)
		if code := w.posts(bot.PathInteractions, "application/x-www-form-urlencoded", url.Values{"payload": {payload}}.Encode()); code != 200 {
			t.Fatalf("status %d", code)
		}
		w.work()
		has(t, w.sees(user), want)
	}
	if w.mint.made != 1 {
		t.Errorf("%d credentials were made", w.mint.made)
	}
}

func TestStandingChanges(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	has(t, w.types("U1", "prod-readonly"), "export AWS")
	if err := w.SetUser("U1", func(u *sandbox.SlackUser) { u.Restricted = true }); err != nil {
		t.Fatal(err)
	}
	// Slack has said nothing yet, and what it said is fresh enough.
	has(t, w.types("U1", "prod-readonly"), "export AWS")
	for range 2 {
		if _, err := w.UserChanged(t.Context(), "U1"); err != nil {
			t.Fatal(err)
		}
	}
	w.work()
	has(t, w.types("U1", "prod-readonly"), "Guests of this workspace cannot use Starback.")
	if w.mint.made != 2 {
		t.Errorf("%d credentials were made", w.mint.made)
	}
	if _, err := w.UserChanged(t.Context(), "U3"); err != nil { // nobody known
		t.Fatal(err)
	}
	if later := w.work(); later != nil {
		t.Error(later)
	}
}

// TestStandingWaitsForTheStore has the store fail, so that the Job is done
// again, and given up in the end.
func TestStandingWaitsForTheStore(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	if _, err := w.UserChanged(t.Context(), "U1"); err != nil {
		t.Fatal(err)
	}
	job, ok, err := w.store.Claim(t.Context(), w.clock.Now(), time.Minute)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	var later *bot.Later
	if err := w.worker.Do(t.Context(), job); !errors.As(err, &later) {
		t.Errorf("with the store gone: %v", err)
	}
	w.clock.add(5 * time.Minute)
	if err := w.worker.Do(t.Context(), job); err != nil {
		t.Errorf("past the deadline: %v", err)
	}
	has(t, w.log.String(), "gave a job up")
}

// TestForeignJobs has Jobs on the queue that the Front did not put there.
func TestForeignJobs(t *testing.T) {
	w := newWorld(t, store.SQLiteOptions{})
	other, err := bot.NewSealer(broker.NewSecret("another installation's"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.front.Sealer = other
	w.sends("U1", "prod-readonly")
	if err := w.store.Enqueue(t.Context(), broker.Job{ID: "made-up", Body: []byte(`{"kind":"command"}`), Deadline: w.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	for {
		job, ok, err := w.store.Claim(t.Context(), w.clock.Now(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		// It is not thrown away: a worker that knows the secret may come by.
		var later *bot.Later
		if err := w.worker.Do(t.Context(), job); err == nil || errors.As(err, &later) {
			t.Errorf("job %s: %v", job.ID, err)
		}
		w.worker.GiveUp(t.Context(), job, errors.New("too often"))
	}
	if w.mint.made != 0 || len(w.Seen("U1")) != 0 || len(w.events()) != 0 {
		t.Error("a job of another installation was carried out")
	}
	has(t, w.log.String(), "gave a job up", "made-up")
}
